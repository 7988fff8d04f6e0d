/* tok_open: which files of a checkpoint make its tokenizer, and which kind
 * reads them. The tables below are all that knows the kinds by name.
 *
 * SPDX-License-Identifier: MIT */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/checkpoint/gguf.h"
#include "engine/text/tokenizer_impl.h"

#define FILE_NAME "tokenizer.json"
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

static int load_as(const struct kind *kinds, size_t n, const char *name,
                   struct tokenizer *t, const struct tok_source *s)
{
    for (size_t i = 0; name && i < n; i++)
        if (strcmp(name, kinds[i].name) == 0)
            return kinds[i].load(t, s);
    return tok_refuse(s, "model type", name);
}

static struct tokenizer *tok_new(struct err *e)
{
    struct tokenizer *t = mem_zalloc(sizeof *t);
    if (!t) {
        err_nomem(e);
        return NULL;
    }
    t->unk = t->bos = t->eos = t->mask = t->newline = -1;
    return t;
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

/* Files beside tokenizer.json; NULL where there is none. */
struct beside {
    struct json *setup, *config, *generation;
};

static int from_json(const struct json *root, const char *label,
                     const struct beside *b, struct tokenizer **out,
                     struct err *e)
{
    const struct json *model = json_get(root, "model");
    struct tok_source s = {.label = label,
                           .e = e,
                           .root = root,
                           .model = model,
                           .vocab = json_get(model, "vocab"),
                           .added = json_get(root, "added_tokens"),
                           .setup = b->setup};
    struct tokenizer *t = tok_new(e);
    int own = json_get(root, "seqd") != NULL;
    if (!t)
        return -1;
    if (load_as(json_kinds, sizeof(json_kinds) / sizeof(json_kinds[0]),
                model_type(root, model), t, &s) ||
        (!own && tok_special_json(t, &s, b->config, b->generation)) ||
        tok_added_index(t, &s)) {
        tokenizer_close(t);
        return -1;
    }
    *out = t;
    return 0;
}

int tokenizer_parse(const char *text, size_t n, const char *label,
                    struct tokenizer **out, struct err *e)
{
    struct json *root;
    struct err inner = ERR_INIT;
    struct beside none = {0};
    const char *name = label ? label : FILE_NAME;
    *out = NULL;
    if (json_parse(text, n, &limits, &root, &inner)) {
        enum err_code code =
            inner.code == ERR_INVALID ? ERR_FORMAT : inner.code;
        return err_set(e, code, "%.80s: %.160s", name, inner.msg);
    }
    int rc = from_json(root, name, &none, out, e);
    json_free(root);
    return rc;
}

/* ------------------------------------------------------------------ files */

/* A checkpoint's directory while it is read: the path of a file in it, and
 * the name that stands for it in messages. */
struct place {
    const char *dir, *label;
    char path[PATH_MAX], name[160];
};

static int place_file(struct place *p, const char *file, struct err *e)
{
    int named = p->label && p->label[0];
    snprintf(p->name, sizeof(p->name), "%s%s%s", named ? p->label : "",
             named ? "/" : "", file);
    int len = snprintf(p->path, sizeof(p->path), "%s/%s", p->dir, file);
    if (len < 0 || (size_t)len >= sizeof(p->path))
        return err_set(e, ERR_INVALID, "%s: path too long", p->name);
    return 0;
}

static int has_file(struct place *p, const char *file)
{
    return place_file(p, file, NULL) == 0 && file_exists(p->path);
}

/* An optional JSON file: *out is NULL without it. */
static int load_beside(struct place *p, const char *file, struct json **out,
                       struct err *e)
{
    *out = NULL;
    if (!has_file(p, file))
        return 0;
    return json_load(p->path, p->name, &limits, out, e);
}

static int open_beside(struct place *p, struct beside *b, struct err *e)
{
    return load_beside(p, "tokenizer_config.json", &b->setup, e) ||
                   load_beside(p, "generation_config.json", &b->generation,
                               e) ||
                   load_beside(p, "config.json", &b->config, e)
               ? -1
               : 0;
}

static void close_beside(struct beside *b)
{
    json_free(b->setup);
    json_free(b->config);
    json_free(b->generation);
}

static int open_json(struct place *p, struct tokenizer **out, struct err *e)
{
    struct json *root = NULL;
    struct beside b = {0};
    if (place_file(p, FILE_NAME, e) ||
        json_load(p->path, p->name, &limits, &root, e))
        return -1;
    int own = json_get(root, "seqd") != NULL;
    int rc = own ? 0 : open_beside(p, &b, e);
    if (rc == 0 && place_file(p, FILE_NAME, e) == 0)
        rc = from_json(root, p->name, &b, out, e);
    close_beside(&b);
    json_free(root);
    return rc;
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
                   tok_special_gguf(t, s) || tok_added_index(t, s)
               ? -1
               : 0;
}

static int open_gguf(const char *path, const char *label,
                     struct tokenizer **out, struct err *e)
{
    struct gguf *g;
    if (gguf_open(path, label, &g, e))
        return -1;
    struct tok_source s = {.label = label, .e = e, .gguf = g};
    struct tokenizer *t = tok_new(e);
    int rc = t ? load_gguf(t, &s) : -1;
    gguf_close(g);
    if (rc) {
        tokenizer_close(t);
        return -1;
    }
    *out = t;
    return 0;
}

/* vocab.json with merges.txt, as GPT-2 was published. */
static int open_merges(struct place *p, struct tokenizer **out, struct err *e)
{
    struct json *vocab = NULL;
    struct beside b = {0};
    char *merges = NULL;
    size_t n = 0;
    struct tokenizer *t = NULL;
    int rc = load_beside(p, "vocab.json", &vocab, e) || open_beside(p, &b, e) ||
             place_file(p, "merges.txt", e) ||
             file_read(p->path, p->name, MAX_TEXT, &merges, &n, e);
    if (rc == 0 && place_file(p, "vocab.json", e) == 0) {
        struct tok_source s = {.label = p->name,
                               .e = e,
                               .vocab = vocab,
                               .added =
                                   json_get(b.setup, "added_tokens_decoder"),
                               .setup = b.setup,
                               .merges = merges,
                               .n_merges = n};
        t = tok_new(e);
        rc = !t || tok_bpe_load(t, &s) ||
             tok_special_json(t, &s, b.config, b.generation) ||
             tok_added_index(t, &s);
    }
    mem_free(merges);
    close_beside(&b);
    json_free(vocab);
    if (rc) {
        tokenizer_close(t);
        return -1;
    }
    *out = t;
    return 0;
}

/* vocab.txt, an entry a line, as BERT was published. */
static int open_lines(struct place *p, struct tokenizer **out, struct err *e)
{
    struct beside b = {0};
    char *lines = NULL;
    size_t n = 0;
    struct tokenizer *t = NULL;
    int rc = open_beside(p, &b, e) || place_file(p, "vocab.txt", e) ||
             file_read(p->path, p->name, MAX_TEXT, &lines, &n, e);
    if (rc == 0) {
        struct tok_source s = {.label = p->name,
                               .e = e,
                               .setup = b.setup,
                               .lines = lines,
                               .n_lines = n};
        t = tok_new(e);
        rc = !t || tok_wordpiece_load(t, &s) ||
             tok_special_json(t, &s, b.config, b.generation) ||
             tok_added_index(t, &s);
    }
    mem_free(lines);
    close_beside(&b);
    if (rc) {
        tokenizer_close(t);
        return -1;
    }
    *out = t;
    return 0;
}

static int open_place(struct place *p, struct tokenizer **out, struct err *e)
{
    if (gguf_find_file(p->dir, p->path, sizeof(p->path)))
        return open_gguf(p->path, p->label, out, e);
    if (!has_file(p, FILE_NAME) && has_file(p, "merges.txt"))
        return open_merges(p, out, e);
    if (!has_file(p, FILE_NAME) && has_file(p, "vocab.txt"))
        return open_lines(p, out, e);
    return open_json(p, out, e);
}

int tokenizer_open(const char *path, const char *label, struct tokenizer **out,
                   struct err *e)
{
    struct place *p = mem_alloc(sizeof *p);
    *out = NULL;
    if (!p)
        return err_nomem(e);
    p->dir = path;
    p->label = label ? label : "";
    int rc = open_place(p, out, e);
    mem_free(p);
    return rc;
}
