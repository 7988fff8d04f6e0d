/* tok_open: which files of a checkpoint make its tokenizer, and which kind
 * reads them. The tables below are all that knows the kinds by name.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/checkpoint/checkpoint.h"
#include "engine/checkpoint/gguf.h"
#include "engine/text/pipe/pipe.h"
#include "engine/text/tokenizer_impl.h"

#define FILE_NAME "tokenizer.json"
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
        (s->gguf ? load_gguf(t, s) : load_files(t, s)) ||
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
    if (s->gguf || !s->model || json_get(s->root, OWN))
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
};

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

/* The files of a folder; `file` is the one that messages are about. */
static int read_files(struct checkpoint *c, struct files *f,
                      struct tok_source *s, const char **file)
{
    *file = FILE_NAME;
    if (checkpoint_json(c, FILE_NAME, &limits, &f->root, s->e))
        return -1;
    if (f->root) {
        take_root(s, f->root);
        return json_get(f->root, OWN) ? 0 : read_beside(c, f, s);
    }
    if (checkpoint_has(c, "merges.txt")) {
        *file = "vocab.json";
        return read_merges(c, f, s);
    }
    /* vocab.txt, an entry a line, as BERT was published; without it the
     * message is about tokenizer.json. */
    if (checkpoint_has(c, "vocab.txt"))
        *file = "vocab.txt";
    int rc = checkpoint_file(c, *file, MAX_TEXT, &f->text, &s->n_lines, s->e) ||
             read_beside(c, f, s);
    s->lines = f->text;
    return rc;
}

int tokenizer_open(struct checkpoint *c, struct tokenizer **out, struct err *e)
{
    char name[PLACE_NAME_BYTES];
    const char *file;
    struct files f = {0};
    struct tok_source s = {.e = e, .gguf = checkpoint_gguf(c), .label = name};
    *out = NULL;
    if (s.gguf) {
        s.label = gguf_label(s.gguf);
        return make(&s, out);
    }
    int rc = read_files(c, &f, &s, &file);
    if (rc == 0) {
        checkpoint_name(c, file, name);
        rc = make(&s, out);
    }
    json_free(f.root);
    json_free(f.vocab);
    json_free(f.setup);
    json_free(f.generation);
    mem_free(f.text);
    mem_free(f.chat);
    return rc ? -1 : 0;
}
