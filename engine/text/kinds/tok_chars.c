/* tok_chars: the models of a pipeline (pipe.h) that look at characters or whole
 * pieces: BPE over characters, with the marks that older files put on the
 * continuations or the end of a word, and WordLevel.
 *
 * Source: Hugging Face tokenizers, models/bpe/model.rs (merge_word),
 * models/wordlevel/mod.rs.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/text/kinds/tok_bpe.h"
#include "engine/text/pipe/pipe.h"

struct chars {
    struct bpe_merges merges;
    int32_t byte_id[256];
    int32_t unk; /* -1: what is no entry goes */
    int fallback, fuse, ignore_merges;
    char prefix[PIPE_MAX_TEXT + 1], suffix[PIPE_MAX_TEXT + 1];
    size_t n_prefix, n_suffix;
};

/* One text: the symbols of a word are nodes 0, 1, ... of w. */
struct coder {
    struct tok_encoder *c;
    const struct chars *m;
    struct bpe_work w;
    const char *s;
    size_t *end; /* [cap] of each symbol: where the next one begins */
    size_t cap;
    int32_t n;
    size_t at,
        stop; /* what the next symbol's place begins at; the word's end */
    size_t n_unknown; /* bytes of one that waits */
};

static int reserve(struct coder *k, size_t n)
{
    if (n > INT32_MAX / 4)
        return err_set(k->c->e, ERR_TOO_LARGE, "a word of %zu bytes", n);
    if (bpe_reserve(&k->w, n, k->c->e))
        return -1;
    if (n <= k->cap)
        return 0;
    mem_free(k->end);
    k->end = mem_array(k->w.cap, sizeof *k->end);
    k->cap = k->end ? k->w.cap : 0;
    return k->cap ? 0 : err_nomem(k->c->e);
}

/* Places follow each other, as in the reference: characters that fall away
 * move those behind them. */
static void add(struct coder *k, int32_t id, size_t len)
{
    int32_t n = k->n++;
    k->w.node[n] = (struct bpe_node){id, n - 1, n + 1, UINT32_MAX};
    k->at = len < k->stop - k->at ? k->at + len : k->stop;
    k->end[n] = k->at;
}

static void flush(struct coder *k)
{
    if (k->n_unknown)
        add(k, k->m->unk, k->n_unknown);
    k->n_unknown = 0;
}

/* A character of `len` bytes that is no entry; bytes do not end a run of them.
 */
static void add_other(struct coder *k, const char *text, size_t n, size_t len)
{
    int all = k->m->fallback;
    for (size_t i = 0; i < n && all; i++)
        all = k->m->byte_id[(unsigned char)text[i]] >= 0;
    for (size_t i = 0; i < n && all; i++)
        add(k, k->m->byte_id[(unsigned char)text[i]], 1);
    if (all)
        return;
    k->c->out->n_unknown++;
    if (k->m->unk < 0)
        return;
    if (!k->m->fuse)
        flush(k);
    k->n_unknown += len;
}

static int32_t plain(const struct tokenizer *t, const char *s, size_t n)
{
    int32_t id = tokenizer_lookup(t, s, n);
    return id >= 0 && (t->attr[id] & TOK_NOT_PLAIN) ? -1 : id;
}

/* The symbols of the word s[from, to). */
static void lay_out(struct coder *k, size_t from, size_t to)
{
    const struct chars *m = k->m;
    k->n = 0;
    k->n_unknown = 0;
    k->at = from;
    k->stop = to;
    for (size_t i = from; i < to;) {
        char text[2 * PIPE_MAX_TEXT + 4];
        uint32_t cp;
        size_t len = pipe_char(k->s, to, i, &cp), n = 0;
        if (i > from) {
            memcpy(text, m->prefix, m->n_prefix);
            n = m->n_prefix;
        }
        memcpy(text + n, k->s + i, len);
        n += len;
        if (i + len == to) {
            memcpy(text + n, m->suffix, m->n_suffix);
            n += m->n_suffix;
        }
        int32_t id = plain(k->c->t, text, n);
        if (id >= 0) {
            flush(k);
            add(k, id, len);
        } else {
            add_other(k, text, n, len);
        }
        i += len;
    }
    flush(k);
    if (k->n > 0)
        k->w.node[k->n - 1].next = -1;
}

static int word(struct coder *k, size_t from, size_t to)
{
    const struct chars *m = k->m;
    int32_t id = m->ignore_merges ? plain(k->c->t, k->s + from, to - from) : -1;
    size_t most = to - from; /* bytes, those of the marks too */
    if (id >= 0)
        return tok_push(k->c, id, from, to);
    if (m->fallback)
        most += most * m->n_prefix + m->n_suffix;
    if (reserve(k, most + 1))
        return -1;
    lay_out(k, from, to);
    if (k->n == 0)
        return 0;
    bpe_run(&m->merges, &k->w, 0);
    for (int32_t i = 0; i >= 0; i = k->w.node[i].next) {
        int32_t next = k->w.node[i].next;
        size_t end = k->end[(next >= 0 ? next : k->n) - 1];
        if (tok_push(k->c, k->w.node[i].id, i ? k->end[i - 1] : from, end))
            return -1;
    }
    return 0;
}

static int bpe_pieces(struct tok_encoder *c, const char *s, size_t n,
                      const uint8_t *cut)
{
    struct coder k = {.c = c, .m = c->t->self, .s = s};
    int rc = 0;
    for (size_t i = 0; i < n && rc == 0;) {
        size_t j = pipe_end(cut, i);
        rc = cut[i] & CUT_DROP ? 0 : word(&k, i, j);
        i = j;
    }
    bpe_work_fini(&k.w);
    mem_free(k.end);
    return rc;
}

static int word_pieces(struct tok_encoder *c, const char *s, size_t n,
                       const uint8_t *cut)
{
    const struct chars *m = c->t->self;
    for (size_t i = 0; i < n;) {
        size_t j = pipe_end(cut, i);
        int32_t id = cut[i] & CUT_DROP ? -1 : plain(c->t, s + i, j - i);
        if (id < 0 && !(cut[i] & CUT_DROP)) {
            c->out->n_unknown++;
            id = m->unk;
        }
        if (id >= 0 && tok_push(c, id, i, j))
            return -1;
        i = j;
    }
    return 0;
}

/* ----------------------------------------------------------------- loading */

static void close_chars(void *self)
{
    struct chars *m = self;
    bpe_merges_fini(&m->merges);
    mem_free(m);
}

static const struct tok_ops bpe_ops = {.name = "BPE",
                                       .level = TOK_LEVEL_SUBWORD,
                                       .pieces = bpe_pieces,
                                       .close = close_chars};
static const struct tok_ops word_ops = {.name = "WordLevel",
                                        .level = TOK_LEVEL_WORD,
                                        .pieces = word_pieces,
                                        .close = close_chars};

static int read_mark(const struct tok_source *s, const char *key, char *out,
                     size_t *n)
{
    const struct json *j = json_get(s->model, key);
    return j && json_type(j) != JSON_NULL
               ? pipe_string(s, s->model, key, out, n)
               : 0;
}

static void find_bytes(struct chars *m, const struct tokenizer *t)
{
    for (unsigned b = 0; b < 256; b++) {
        char text[8];
        snprintf(text, sizeof text, "<0x%02X>", b);
        m->byte_id[b] = tokenizer_lookup(t, text, 6);
    }
}

int tok_chars_load(struct tokenizer *t, const struct tok_source *s)
{
    struct chars *m = mem_zalloc(sizeof *m);
    if (!m)
        return err_nomem(s->e);
    t->self = m;
    t->ops = &bpe_ops;
    if (json_number(json_get(s->model, "dropout")) > 0)
        return tok_refuse(s, "model", "BPE with dropout");
    if (tok_flag(s, s->model, "byte_fallback", 0, &m->fallback) ||
        tok_flag(s, s->model, "fuse_unk", 0, &m->fuse) ||
        tok_flag(s, s->model, "ignore_merges", 0, &m->ignore_merges) ||
        read_mark(s, "continuing_subword_prefix", m->prefix, &m->n_prefix) ||
        read_mark(s, "end_of_word_suffix", m->suffix, &m->n_suffix) ||
        tok_vocab_json(t, s, 1) ||
        bpe_read_json_merges(&m->merges, t, s, m->n_prefix) ||
        tok_named(s, t, s->model, "unk_token", &m->unk))
        return -1;
    t->unk = m->unk;
    find_bytes(m, t);
    return 0;
}

int tok_lookup_load(struct tokenizer *t, const struct tok_source *s)
{
    struct chars *m = mem_zalloc(sizeof *m);
    if (!m)
        return err_nomem(s->e);
    t->self = m;
    t->ops = &word_ops;
    if (tok_vocab_json(t, s, 1) ||
        tok_named(s, t, s->model, "unk_token", &m->unk))
        return -1;
    t->unk = m->unk;
    return 0;
}
