/* tok_open: which files of a checkpoint make its tokenizer, and which kind
 * reads them. The tables below are all that knows the kinds by name.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/checkpoint/checkpoint.h"
#include "engine/checkpoint/gguf.h"
#include "engine/text/kinds/spm_proto.h"
#include "engine/text/pipe/pipe.h"
#include "engine/text/tokenizer_impl.h"

#define FILE_NAME "tokenizer.json"
#define SOURCE_NAME "source_tokenizer.json"
#define SETUP_NAME "tokenizer_config.json"
#define CHAT_NAME "chat_template.jinja"
#define OWN "seqd" /* the key of files of our own */
#define MAX_TEXT ((size_t)64 << 20)

/* 64 MiB and 4 million values: room for any vocabulary in use. */
static const struct json_limits limits = {MAX_TEXT, 16, (size_t)4 << 20};

struct kind {
    const char *name;
    tok_load_fn *load;
};

/* "BPE" over characters with marks for spaces. */
#define SPM_BPE "BPE of SentencePiece"

/* By "type" of tokenizer.json's model. */
static const struct kind json_kinds[] = {
    {"WordLevel", tok_rule_load},      {"BPE", tok_bpe_load},
    {"WordPiece", tok_wordpiece_load}, {"Unigram", tok_unigram_load},
    {SPM_BPE, tok_spm_load},
};

/* By tokenizer.ggml.model. */
static const struct kind gguf_kinds[] = {
    {"gpt2", tok_bpe_load},
    {"bert", tok_wordpiece_load}, /* ggml's name for it */
    {"llama", tok_spm_load},
    {"t5", tok_unigram_load},
};

#define N_JSON_KINDS (sizeof(json_kinds) / sizeof(json_kinds[0]))

/* The same behind a pipeline that no kind knows as a whole (pipe.h). */
static const struct kind pipe_kinds[] = {
    {"WordLevel", tok_lookup_load},    {"BPE", tok_chars_load},
    {"WordPiece", tok_wordpiece_load}, {"Unigram", tok_unigram_load},
    {SPM_BPE, tok_chars_load},
};

static const struct kind *find(const struct kind *kinds, size_t n,
                               const char *name)
{
    for (size_t i = 0; name && i < n; i++)
        if (strcmp(name, kinds[i].name) == 0)
            return &kinds[i];
    return NULL;
}

static int load_as(const struct kind *kinds, size_t n, const char *name,
                   struct tokenizer *t, const struct tok_source *s)
{
    const struct kind *k = find(kinds, n, name);
    return k ? k->load(t, s) : tok_refuse(s, "model type", name);
}

/* The model's type. Files from before it was written down are told by what
 * they hold. */
static const char *model_type(const struct json *root, const struct json *model)
{
    const char *type = json_string(json_get(model, "type"));
    const char *pre =
        json_string(json_get(json_get(root, "pre_tokenizer"), "type"));
    if (!type && json_get(model, "merges"))
        type = "BPE";
    int marks = json_bool(json_get(model, "byte_fallback")) ||
                (pre && strcmp(pre, "Metaspace") == 0);
    return type && marks && strcmp(type, "BPE") == 0 ? SPM_BPE : type;
}

static int load_files(struct tokenizer *t, const struct tok_source *s)
{
    const char *type = s->merges  ? "BPE"
                       : s->lines ? "WordPiece"
                                  : model_type(s->root, s->model);
    const struct kind *kinds = t->pipe ? pipe_kinds : json_kinds;
    return load_as(kinds, N_JSON_KINDS, type, t, s) ||
                   (t->pipe && (pipe_added_index(t, s) || pipe_pieces(t, s))) ||
                   (!json_get(s->root, OWN) && tok_special_json(t, s))
               ? -1
               : 0;
}

static int load_gguf(struct tokenizer *t, const struct tok_source *s)
{
    char name[64];
    const char *text;
    size_t n;
    if (!tok_gguf_string(s, "tokenizer.ggml.model", &text, &n))
        return tok_bad(s, "the file has no tokenizer");
    snprintf(name, sizeof(name), "%.*s", n < 60 ? (int)n : 60, text);
    return load_as(gguf_kinds, sizeof(gguf_kinds) / sizeof(gguf_kinds[0]), name,
                   t, s) ||
                   tok_special_gguf(t, s)
               ? -1
               : 0;
}

static int make_as(const struct tok_source *s, int piped,
                   struct tokenizer **out)
{
    struct tokenizer *t = mem_zalloc(sizeof *t);
    if (!t)
        return err_nomem(s->e);
    t->unk = t->bos = t->eos = t->mask = t->newline = -1;
    if ((piped && pipe_open(s, &t->pipe)) ||
        (s->gguf    ? load_gguf(t, s)
         : s->proto ? tok_family_load(t, s)
                    : load_files(t, s)) ||
        tok_added_index(t, s) ||
        (s->model && !piped && !json_get(s->root, OWN) &&
         tok_added_one_pass(t, s))) {
        tokenizer_close(t);
        return -1;
    }
    tok_chat_read(t, s);
    *out = t;
    return 0;
}

/* A kind that knows the file as a whole, else the file's own pipeline. */
static int make(const struct tok_source *s, struct tokenizer **out)
{
    struct err why = ERR_INIT;
    struct tok_source first = *s;
    if (!s->model || json_get(s->root, OWN))
        return make_as(s, 0, out);
    first.e = &why;
    if (make_as(&first, 0, out) == 0)
        return 0;
    if (why.code == ERR_UNSUPPORTED &&
        find(pipe_kinds, N_JSON_KINDS, model_type(s->root, s->model)))
        return make_as(s, 1, out);
    return err_set(s->e, why.code, "%s", why.msg);
}

static void take_root(struct tok_source *s, const struct json *root)
{
    s->root = root;
    s->model = json_get(root, "model");
    s->vocab = json_get(s->model, "vocab");
    s->added = json_get(root, "added_tokens");
}

/* setup [n_setup]: tokenizer_config.json, which files of our own do without. */
static int parse(const char *text, size_t n, const char *setup, size_t n_setup,
                 struct tok_source s, struct tokenizer **out)
{
    struct json *root, *beside = NULL;
    struct err *e = s.e;
    *out = NULL;
    if (json_parse_file(text, n, s.label, &limits, &root, e))
        return -1;
    take_root(&s, root);
    int rc =
        n_setup > 0 && !json_get(root, OWN)
            ? json_parse_file(setup, n_setup, SETUP_NAME, &limits, &beside, e)
            : 0;
    s.setup = beside;
    if (rc == 0)
        rc = make(&s, out);
    json_free(beside);
    json_free(root);
    return rc;
}

int tokenizer_parse_model(const char *file, size_t n, const char *label,
                          struct tokenizer **out, struct err *e)
{
    struct spm_proto proto;
    struct tok_source s = {.label = label, .e = e, .proto = &proto};
    *out = NULL;
    int rc = spm_proto_read(&proto, file, n, label, e);
    if (rc == 0) {
        s.family = tok_family_none();
        rc = make_as(&s, 0, out);
    }
    spm_proto_fini(&proto);
    return rc ? -1 : 0;
}

int tokenizer_parse(const char *text, size_t n, const char *label,
                    struct tokenizer **out, struct err *e)
{
    struct tok_source s = {.label = label ? label : FILE_NAME, .e = e};
    return parse(text, n, NULL, 0, s, out);
}

int tokenizer_parse_both(const char *text, size_t n, const char *setup,
                         size_t n_setup, struct tokenizer **out, struct err *e)
{
    struct tok_source s = {.label = FILE_NAME, .e = e};
    return parse(text, n, setup, n_setup, s, out);
}

/* ------------------------------------------------------------ checkpoints */

/* What was read of a folder, to be freed; NULL where there is none. */
struct files {
    struct json *root, *vocab, *setup, *generation;
    char *text, *chat;
    struct spm_proto proto;
};

static void files_fini(struct files *f)
{
    json_free(f->root);
    json_free(f->vocab);
    json_free(f->setup);
    json_free(f->generation);
    spm_proto_fini(&f->proto);
    mem_free(f->text);
    mem_free(f->chat);
}

/* What stands about special tokens and turns beside the vocabulary. */
static int read_beside(struct checkpoint *c, struct files *f,
                       struct tok_source *s)
{
    if (checkpoint_json(c, SETUP_NAME, &limits, &f->setup, s->e) ||
        checkpoint_json(c, "generation_config.json", &limits, &f->generation,
                        s->e) ||
        (checkpoint_has(c, CHAT_NAME) &&
         checkpoint_file(c, CHAT_NAME, MAX_TEXT, &f->chat, &s->n_chat, s->e)))
        return -1;
    s->chat = f->chat;
    s->setup = f->setup;
    s->ends = json_get(f->generation, "eos_token_id");
    if (!checkpoint_has(c, "config.json"))
        return 0;
    const struct hparams *h = checkpoint_hparams(c, s->e);
    s->model_ends = h ? hparams_json(h, "eos_token_id") : NULL;
    s->model_size = h ? hparams_json(h, "vocab_size") : NULL;
    return h ? 0 : -1;
}

/* vocab.json with merges.txt, as GPT-2 was published. */
static int read_merges(struct checkpoint *c, struct files *f,
                       struct tok_source *s)
{
    if (checkpoint_json(c, "vocab.json", &limits, &f->vocab, s->e) ||
        read_beside(c, f, s) ||
        checkpoint_file(c, "merges.txt", MAX_TEXT, &f->text, &s->n_merges,
                        s->e))
        return -1;
    s->vocab = f->vocab;
    s->added = json_get(f->setup, "added_tokens_decoder");
    s->merges = f->text;
    return 0;
}

/* A SentencePiece model; with `ids` (or NULL) a list of the pieces' ids. */
static int read_proto(struct checkpoint *c, struct files *f,
                      struct tok_source *s, const char *file, const char *ids)
{
    char name[PLACE_NAME_BYTES];
    size_t n;
    checkpoint_name(c, file, name);
    if (read_beside(c, f, s) || tok_family_find(s, file) ||
        (ids && checkpoint_json(c, ids, &limits, &f->vocab, s->e)) ||
        checkpoint_file(c, file, MAX_TEXT, &f->text, &n, s->e) ||
        spm_proto_read(&f->proto, f->text, n, name, s->e))
        return -1;
    s->vocab = f->vocab;
    s->added = json_get(f->setup, "added_tokens_decoder");
    s->proto = &f->proto;
    return 0;
}

/* ------------------------------------------------------- which files it is */

enum side { TARGET, SOURCE };

/* Marian's folder: a model and a list of ids for each side, or one list. */
static int is_marian(const struct checkpoint *c)
{
    return checkpoint_has(c, "source.spm") && checkpoint_has(c, "target.spm") &&
           checkpoint_has(c, "vocab.json");
}

static int read_marian(struct checkpoint *c, struct files *f,
                       struct tok_source *s, enum side side)
{
    int two = checkpoint_has(c, "target_vocab.json");
    return read_proto(c, f, s, side == SOURCE ? "source.spm" : "target.spm",
                      two && side == TARGET ? "target_vocab.json"
                                            : "vocab.json");
}

static const char *const proto_files[] = {"spiece.model", "tokenizer.model",
                                          "sentencepiece.bpe.model", NULL};

/* The model file of a side without a list of ids, or NULL: of a usual name, or
 * as Marian itself has them. `name` is where the name may be put. */
static const char *find_proto(const struct checkpoint *c, enum side side,
                              char name[PLACE_NAME_BYTES])
{
    const char *own = side == SOURCE ? "srcvocab." : "trgvocab.";
    for (int i = 0; proto_files[i]; i++)
        if (checkpoint_has(c, proto_files[i]))
            return side == SOURCE ? NULL : proto_files[i];
    if (checkpoint_only(c, own, ".spm", name))
        return name;
    return side == TARGET && checkpoint_only(c, "", ".spm", name) ? name : NULL;
}

/* The files of a folder; `file` is the one that messages are about. */
static int read_target(struct checkpoint *c, struct files *f,
                       struct tok_source *s, char file[PLACE_NAME_BYTES])
{
    char name[PLACE_NAME_BYTES];
    const char *proto = find_proto(c, TARGET, name);
    /* Of these transformers reads no tokenizer.json. */
    if (is_marian(c)) {
        checkpoint_name(c, "target.spm", file);
        return read_marian(c, f, s, TARGET);
    }
    /* Beside Marian's own file a tokenizer.json is somebody else's. */
    if (checkpoint_form(c) != CHECKPOINT_MARIAN &&
        checkpoint_json(c, FILE_NAME, &limits, &f->root, s->e))
        return -1;
    if (f->root) {
        take_root(s, f->root);
        return json_get(f->root, OWN) ? 0 : read_beside(c, f, s);
    }
    if (checkpoint_has(c, "merges.txt")) {
        checkpoint_name(c, "vocab.json", file);
        return read_merges(c, f, s);
    }
    if (proto) {
        checkpoint_name(c, proto, file);
        return read_proto(c, f, s, proto, NULL);
    }
    /* vocab.txt, an entry a line, as BERT was published; without it the
     * message is about tokenizer.json. */
    const char *lines =
        checkpoint_has(c, "vocab.txt") ? "vocab.txt" : FILE_NAME;
    checkpoint_name(c, lines, file);
    int rc = checkpoint_file(c, lines, MAX_TEXT, &f->text, &s->n_lines, s->e) ||
             read_beside(c, f, s);
    s->lines = f->text;
    return rc;
}

/* 1: the source has files of its own, which are read. */
static int read_source(struct checkpoint *c, struct files *f,
                       struct tok_source *s, char file[PLACE_NAME_BYTES])
{
    char name[PLACE_NAME_BYTES];
    const char *proto = find_proto(c, SOURCE, name);
    int rc = -1;
    checkpoint_name(c, SOURCE_NAME, file);
    if (checkpoint_json(c, SOURCE_NAME, &limits, &f->root, s->e))
        return -1;
    if (f->root) {
        take_root(s, f->root);
        rc = json_get(f->root, OWN) ? 0 : read_beside(c, f, s);
    } else if (is_marian(c)) {
        checkpoint_name(c, "source.spm", file);
        rc = read_marian(c, f, s, SOURCE);
    } else if (checkpoint_has(c, FILE_NAME) &&
               checkpoint_form(c) != CHECKPOINT_MARIAN) {
        return 0;
    } else if (proto) {
        checkpoint_name(c, proto, file);
        rc = read_proto(c, f, s, proto, NULL);
    } else {
        return 0;
    }
    return rc ? -1 : 1;
}

int tokenizer_open(struct checkpoint *c, struct tokenizer **out, struct err *e)
{
    char name[PLACE_NAME_BYTES];
    struct files f = {0};
    struct tok_source s = {.e = e, .gguf = checkpoint_gguf(c), .label = name};
    *out = NULL;
    if (s.gguf) {
        s.label = gguf_label(s.gguf);
        return make(&s, out);
    }
    checkpoint_name(c, FILE_NAME, name);
    int rc = read_target(c, &f, &s, name);
    if (rc == 0)
        rc = make(&s, out);
    files_fini(&f);
    return rc ? -1 : 0;
}

int tokenizer_open_source(struct checkpoint *c, struct tokenizer **out,
                          struct err *e)
{
    char name[PLACE_NAME_BYTES];
    struct files f = {0};
    struct tok_source s = {.e = e, .label = name};
    *out = NULL;
    if (checkpoint_gguf(c))
        return 0;
    int rc = read_source(c, &f, &s, name);
    if (rc == 1)
        rc = make(&s, out);
    files_fini(&f);
    return rc ? -1 : 0;
}
