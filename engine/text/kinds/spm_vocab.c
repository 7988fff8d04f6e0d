/* spm_vocab: what the kinds of SentencePiece tokenizer share. Entries: marks
 * are spaces, "<0x0A>" is a byte, and control tokens come from no plain text.
 * Encoding: words of the normalised text, runs of unknown characters.
 *
 * SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/base/utf8.h"
#include "engine/checkpoint/gguf.h"
#include "engine/text/kinds/spm_norm.h"

#define BYTE_ENTRY 6 /* "<0x00>" */

/* Of a text that is normalised: the tables that SentencePiece comes with make
 * 13 times its bytes at most, one of 256 for each would fill the memory. */
#define MAX_GROWTH 32

static void find_bytes(struct spm_bytes *b, struct tokenizer *t)
{
    b->all = 1;
    for (unsigned k = 0; k < 256; k++) {
        char text[8];
        snprintf(text, sizeof(text), "<0x%02X>", k);
        b->id[k] = tokenizer_lookup(t, text, BYTE_ENTRY);
        if (b->id[k] < 0)
            b->all = 0;
        else
            t->attr[b->id[k]] |= TOK_BYTE;
    }
}

static int hex_digit(char c)
{
    return c >= 'A' ? c - 'A' + 10 : c - '0';
}

static int is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F');
}

static size_t piece_of(const struct tokenizer *t, int32_t id, char *out)
{
    const char *s = t->text[id];
    size_t n = t->len[id], len = 0;
    if (t->attr[id] & (TOK_CONTROL | TOK_ADDED)) {
        memcpy(out, s, n);
        return n;
    }
    if ((t->attr[id] & TOK_BYTE) && n == BYTE_ENTRY && is_hex(s[3]) &&
        is_hex(s[4])) {
        out[0] = (char)(16 * hex_digit(s[3]) + hex_digit(s[4]));
        return 1;
    }
    for (size_t i = 0; i < n;) {
        if (n - i >= SPM_MARK_BYTES &&
            memcmp(s + i, SPM_MARK_UTF8, SPM_MARK_BYTES) == 0) {
            out[len++] = ' ';
            i += SPM_MARK_BYTES;
        } else {
            out[len++] = s[i++];
        }
    }
    return len;
}

int spm_load(struct tokenizer *t, const struct tok_source *s)
{
    struct spm *m = t->self;
    if (m->fallback)
        find_bytes(&m->bytes, t);
    t->covers_all = m->bytes.all;
    return t->pipe ? 0 : tok_pieces(t, s, piece_of);
}

void spm_fini(struct spm *m)
{
    spm_norm_fini(&m->norm);
    mem_free(m->score);
}

/* A token without its marks. */
static int detok_unmarked(const struct tokenizer *t, struct detok *d,
                          int32_t id, struct buf *out)
{
    const char *s = t->text[id], *at;
    while ((at = strstr(s, SPM_MARK_UTF8)) != NULL) {
        if (detok_bytes(d, s, (size_t)(at - s), out))
            return -1;
        s = at + SPM_MARK_BYTES;
    }
    return detok_bytes(d, s, strlen(s), out);
}

int spm_detok(const struct tokenizer *t, struct detok *d, int32_t id,
              struct buf *out)
{
    const struct spm *m = t->self;
    size_t n;
    if (m->norm.strips == SPM_STRIP_ALL && !d->begun &&
        !(t->attr[id] & (TOK_ADDED | TOK_BYTE)))
        return detok_unmarked(t, d, id, out);
    const char *s = tokenizer_piece(t, id, &n);
    int lead = m->norm.strips == SPM_STRIP_LEAD;
    int is_prefix = m->norm.strips && !(lead ? d->run : d->begun) && n > 0 &&
                    s[0] == ' ' &&
                    (m->norm.strips == SPM_STRIP_SPACE ||
                     !(t->attr[id] & (TOK_ADDED | TOK_BYTE)));
    if (lead && n > (size_t)is_prefix)
        d->run = 1; /* the text has begun */
    return detok_bytes(d, s + is_prefix, n - (size_t)is_prefix, out);
}

int spm_scores(const struct tokenizer *t, const struct tok_source *s,
               double **out)
{
    int key = gguf_find(s->gguf, "tokenizer.ggml.scores");
    *out = NULL;
    if (key < 0 || gguf_type(s->gguf, key) != GGUF_ARRAY ||
        gguf_elem(s->gguf, key) != GGUF_F32 ||
        gguf_len(s->gguf, key) < (size_t)t->n) {
        return tok_bad(s, "tokenizer.ggml.scores is not a list of a number for "
                          "each token");
    }
    double *v = mem_array((size_t)t->n + 1, sizeof *v);
    if (!v)
        return err_nomem(s->e);
    *out = v;
    for (int id = 0; id < t->n; id++) {
        double x = 0;
        gguf_float(s->gguf, key, (size_t)id, &x);
        if (!isfinite(x)) {
            return tok_bad(s, "tokenizer.ggml.scores holds a number that is "
                              "not finite");
        }
        v[id] = x;
    }
    return 0;
}

int spm_plain(const struct tokenizer *t, int32_t id)
{
    return !(t->attr[id] & (TOK_NOT_PLAIN | TOK_BYTE));
}

/* ---------------------------------------------------------------- encoding */

/* What the model does not know, the list of ids may (c->list): ~id then. */
static int32_t unknown_id(struct tok_encoder *c, const char *s, size_t n)
{
    int32_t id = c->list ? tokenizer_lookup(c->list, s, n) : -1;
    if (id < 0 || !spm_plain(c->list, id))
        return c->t->unk;
    c->out->n_unknown -= (int)utf8_count(s, n);
    return ~id;
}

int spm_flush_unknown(struct spm_coder *k, size_t end)
{
    size_t from = k->unknown_from;
    k->unknown_from = SIZE_MAX;
    if (from == SIZE_MAX || k->c->t->unk < 0)
        return 0;
    int32_t id = unknown_id(k->c, k->s + from, end - from);
    return tok_push(k->c, id, from, end);
}

int spm_push(struct spm_coder *k, int32_t id, size_t from, size_t to)
{
    return spm_flush_unknown(k, from) || tok_push(k->c, id, from, to) ? -1 : 0;
}

int spm_push_bytes(struct spm_coder *k, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++)
        if (spm_push(k, k->m->bytes.id[(unsigned char)k->s[i]], i, i + 1))
            return -1;
    return 0;
}

static int encode_words(struct spm_coder *k, size_t n,
                        int (*word)(struct spm_coder *, size_t, size_t))
{
    size_t from = 0;
    for (size_t i = 1; k->m->norm.split && i + SPM_MARK_BYTES <= n; i++) {
        if (memcmp(k->s + i, SPM_MARK_UTF8, SPM_MARK_BYTES) == 0) {
            if (word(k, from, i))
                return -1;
            from = i;
        }
    }
    return (n > from && word(k, from, n)) || spm_flush_unknown(k, n) ? -1 : 0;
}

int spm_encode(struct spm_coder *k, struct tok_encoder *c, const char *s,
               size_t n, int (*word)(struct spm_coder *, size_t, size_t))
{
    struct uni_text u = {.max = n * MAX_GROWTH + 256};
    *k = (struct spm_coder){c, c->t->self, NULL, SIZE_MAX};
    int rc = spm_norm_run(&k->m->norm, s, n, c->base == 0, &u, c->e);
    if (rc == 0 && u.n > INT32_MAX / 2)
        rc = err_set(c->e, ERR_TOO_LARGE, "text of %zu bytes", n);
    if (rc == 0) {
        k->s = u.p;
        c->map = u.at;
        c->map_end = u.end;
        rc = encode_words(k, u.n, word);
        c->map = c->map_end = NULL;
    }
    uni_text_fini(&u);
    return rc;
}
