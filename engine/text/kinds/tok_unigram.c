/* tok_unigram: SentencePiece's unigram model (Kudo 2018): of all ways to cut a
 * text into entries, the one of the highest sum of scores, found by Viterbi's
 * algorithm over the places where characters begin. A character that no entry
 * covers costs ten less than the lowest score. From GGUF ("t5"), from
 * tokenizer.json ("Unigram") and from sentencepiece's own file. O(n), as the
 * length of entries has a limit (tok_index.c).
 *
 * SPDX-License-Identifier: MIT */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/checkpoint/gguf.h"
#include "engine/text/kinds/spm_norm.h"
#include "engine/text/kinds/spm_proto.h"
#include "engine/text/pipe/pipe.h"

#define MAX_SCORE 1e30       /* sums stay finite */
#define UNKNOWN_PENALTY 10.0 /* sentencepiece, unigram_model.cc */

struct unigram {
    struct spm base;
    struct tok_index index;
    double unknown;
    int narrow; /* sums are rounded to fp32, as sentencepiece keeps them: ties
                   of equal entries in another order fall as there */
};

/* The best way to a place: where its last token begins, and which it is (-1:
 * an unknown character). */
struct best {
    double score;
    int32_t from, id;
};

struct coder {
    struct spm_coder base;
    struct best *best; /* [cap] */
    size_t cap;
};

/* -------------------------------------------------------------- the search */

static void offer(struct coder *k, size_t from, size_t to, int32_t id,
                  double score)
{
    const struct unigram *m = k->base.c->t->self;
    struct best *b = &k->best[to];
    score = m->narrow ? (double)(float)score : score;
    if (b->from < 0 || score > b->score)
        *b = (struct best){score, (int32_t)from, id};
}

/* All tokens that begin at byte i of s[0, n); places count from `at`. */
static void spread(struct coder *k, size_t at, size_t i, size_t n)
{
    const struct unigram *m = k->base.c->t->self;
    const char *s = k->base.s + at;
    const struct tok_entry *v = m->index.v;
    const double sum = k->best[i].score;
    uint32_t cp;
    size_t one = tok_decode(s, n, i, &cp);
    int lo = m->index.first[(unsigned char)s[i]];
    int hi = m->index.first[(unsigned char)s[i] + 1];
    int is_covered = 0;
    for (uint32_t depth = 1; lo < hi; depth++) {
        if (v[lo].len == depth) {
            offer(k, i, i + depth, v[lo].id, sum + m->base.score[v[lo].id]);
            is_covered |= depth == one;
        }
        if (i + depth == n)
            break;
        unsigned b = (unsigned char)s[i + depth];
        lo = tok_index_narrow(v, lo, hi, depth, b);
        hi = tok_index_narrow(v, lo, hi, depth, b + 1);
    }
    if (!is_covered)
        offer(k, i, i + one, -1, sum + m->unknown);
}

/* Unknown characters side by side are one token, or bytes with one place. */
static int flush(struct spm_coder *k, size_t end)
{
    size_t from = k->unknown_from;
    int32_t byte = 0;
    for (size_t i = from; i < end && byte >= 0 && from != SIZE_MAX; i++)
        byte = k->m->fallback ? k->m->bytes.id[(unsigned char)k->s[i]] : -1;
    if (from == SIZE_MAX || byte < 0)
        return spm_flush_unknown(k, end);
    k->unknown_from = SIZE_MAX;
    for (size_t i = from; i < end; i++)
        if (tok_push(k->c, k->m->bytes.id[(unsigned char)k->s[i]], from, end))
            return -1;
    return 0;
}

static int emit(struct spm_coder *k, size_t from, size_t to, int32_t id)
{
    if (id >= 0)
        return flush(k, from) || tok_push(k->c, id, from, to) ? -1 : 0;
    k->c->out->n_unknown += !k->m->bytes.all;
    k->unknown_from = k->unknown_from == SIZE_MAX ? from : k->unknown_from;
    return 0;
}

static int reserve(struct coder *k, size_t n)
{
    if (n <= k->cap)
        return 0;
    mem_free(k->best);
    k->best = mem_array(n, sizeof *k->best);
    k->cap = k->best ? n : 0;
    return k->best ? 0 : err_nomem(k->base.c->e);
}

/* Reverse the path of best ends in place: best[i].from becomes the end of the
 * token that begins at i. */
static void reverse_path(struct coder *k, size_t n)
{
    int32_t at = (int32_t)n, after = -1;
    int32_t id = -1;
    while (at >= 0) {
        struct best *b = &k->best[at];
        int32_t from = at > 0 ? b->from : -1, own = b->id;
        b->from = after;
        b->id = id;
        after = at;
        id = own;
        at = from;
    }
}

static int word(struct spm_coder *base, size_t from, size_t to)
{
    struct coder *k = (struct coder *)base;
    size_t n = to - from;
    if (reserve(k, n + 1))
        return -1;
    for (size_t i = 0; i <= n; i++)
        k->best[i] = (struct best){0, -1, -1};
    for (size_t i = 0; i < n; i++)
        if (i == 0 || k->best[i].from >= 0)
            spread(k, from, i, n);
    reverse_path(k, n);
    for (size_t i = 0; i < n;) {
        size_t end = (size_t)k->best[i].from;
        if (emit(base, from + i, from + end, k->best[i].id))
            return -1;
        i = end;
    }
    return flush(base, to);
}

static int encode(struct tok_encoder *c, const char *s, size_t n)
{
    struct coder k = {.cap = 0};
    int rc = spm_encode(&k.base, c, s, n, word);
    mem_free(k.best);
    return rc;
}

static int pieces(struct tok_encoder *c, const char *s, size_t n,
                  const uint8_t *cut)
{
    struct coder k = {.base = {c, c->t->self, s, SIZE_MAX}};
    int rc = 0;
    for (size_t i = 0; i < n && rc == 0;) {
        size_t j = pipe_end(cut, i);
        rc = cut[i] & CUT_DROP ? 0 : word(&k.base, i, j);
        i = j;
    }
    mem_free(k.best);
    return rc;
}

/* ----------------------------------------------------------------- loading */

static void close_unigram(void *self)
{
    struct unigram *m = self;
    spm_fini(&m->base);
    tok_index_fini(&m->index);
    mem_free(m);
}

static const struct tok_ops ops = {.name = "Unigram",
                                   .level = TOK_LEVEL_SUBWORD,
                                   .encode = encode,
                                   .pieces = pieces,
                                   .detok = spm_detok,
                                   .close = close_unigram};

static int gguf_chars(struct unigram *m, const struct tok_source *s)
{
    int key = gguf_find(s->gguf, "tokenizer.ggml.precompiled_charsmap");
    if (key < 0)
        return 0;
    size_t n = gguf_len(s->gguf, key);
    if (gguf_type(s->gguf, key) != GGUF_ARRAY ||
        (gguf_elem(s->gguf, key) != GGUF_U8 &&
         gguf_elem(s->gguf, key) != GGUF_I8))
        return tok_bad(s, "precompiled_charsmap is not a list of bytes");
    uint8_t *raw = mem_alloc(n + 1);
    if (!raw)
        return err_nomem(s->e);
    for (size_t i = 0; i < n; i++) {
        int64_t v = 0;
        gguf_int(s->gguf, key, i, &v);
        raw[i] = (uint8_t)v;
    }
    int rc = spm_chars_read(&m->base.norm.chars, s, raw, n) ||
             spm_norm_add(&m->base.norm, s, SPM_CHARS, 0);
    mem_free(raw);
    return rc ? -1 : 0;
}

static int load_gguf(struct unigram *m, struct tokenizer *t,
                     const struct tok_source *s)
{
    int prefix = tok_gguf_int(s, "tokenizer.ggml.add_space_prefix", 1) != 0;
    int words =
        tok_gguf_int(s, "tokenizer.ggml.remove_extra_whitespaces", 0) != 0;
    t->eos = 1; /* T5's own, where the file says nothing */
    t->unk = 2;
    t->add_eos = 1;
    m->base.norm.strips = prefix || words;
    return gguf_chars(m, s) ||
                   spm_norm_add(&m->base.norm, s,
                                words ? SPM_WORDS : SPM_SPACES, SPM_MARK) ||
                   (m->base.norm.strips &&
                    spm_norm_add(&m->base.norm, s, SPM_PREPEND, SPM_MARK)) ||
                   tok_vocab_gguf(t, s) || spm_scores(t, s, &m->base.score)
               ? -1
               : 0;
}

/* User-defined entries are worth more than what their letters make. */
static int load_proto(struct unigram *m, struct tokenizer *t,
                      const struct tok_source *s)
{
    float least = FLT_MAX, most = FLT_MIN;
    if (spm_pieces(t, s))
        return -1;
    for (int id = 0; id < s->proto->n; id++) {
        const struct spm_piece *p = &s->proto->piece[id];
        if (p->type == SPM_PIECE_NORMAL) {
            least = fminf(least, p->score);
            most = fmaxf(most, p->score);
        }
    }
    for (int id = 0; id < s->proto->n; id++)
        if (s->proto->piece[id].type == SPM_PIECE_USER)
            m->base.score[id] = (float)t->len[id] * most - 0.1f;
    m->narrow = 1;
    m->unknown = least < FLT_MAX ? least - (float)UNKNOWN_PENALTY : 0;
    return 0;
}

/* v as the reference reads the shortest way to write it (serde_json): digits as
 * a whole number, once rounded, by a power of ten, rounded again. Cuttings of
 * equal entries in another order tie but for the last bit. */
static double read_twice_rounded(double v)
{
    char text[40], power[32], digits[24];
    int p = 14, n = 0;
    do {
        snprintf(text, sizeof text, "%.*e", p, v);
    } while (strtod(text, NULL) != v && ++p <= 16);
    if (p == 14 || p > 16)
        return v; /* as few digits as are exact */
    char *e = strchr(text, 'e');
    for (const char *c = text; e && c < e && n < 20; c++)
        if (*c >= '0' && *c <= '9')
            digits[n++] = *c;
    digits[n] = 0;
    long exponent = e ? strtol(e + 1, NULL, 10) - p : 0;
    double whole = (double)strtoull(digits, NULL, 10);
    snprintf(power, sizeof power, "1e%ld", labs(exponent));
    double ten = strtod(power, NULL);
    whole = exponent < 0 ? whole / ten : whole * ten;
    return v < 0 ? -whole : whole;
}

/* "vocab": [[text, score], ...] in the order of ids. */
static int json_vocab(struct unigram *m, struct tokenizer *t,
                      const struct tok_source *s)
{
    size_t bytes = 0;
    int64_t n = 0, id = 0;
    if (!s->vocab || json_type(s->vocab) != JSON_ARRAY)
        return tok_bad(s, "'vocab' is not a list");
    for (const struct json *j = json_child(s->vocab); j; j = json_next(j)) {
        bytes += json_string_len(json_child(j));
        n++;
    }
    tok_added_size(s, &n, &bytes);
    if (tok_vocab_begin(t, s, n, bytes))
        return -1;
    m->base.score = mem_zarray((size_t)n + 1, sizeof *m->base.score);
    if (!m->base.score)
        return err_nomem(s->e);
    for (const struct json *j = json_child(s->vocab); j; j = json_next(j)) {
        const char *text = json_string(json_child(j));
        const struct json *score = json_next(json_child(j));
        if (!text || !score || json_type(score) != JSON_NUMBER)
            return tok_bad(s, "an entry of 'vocab' is not a text and a number");
        m->base.score[id] = read_twice_rounded(json_number(score));
        if (!(fabs(m->base.score[id]) <= MAX_SCORE))
            return tok_bad(s, "a score of 'vocab' is not finite");
        if (text[0] && tok_vocab_set(t, s, id, text, strlen(text)))
            return -1;
        id++;
    }
    return tok_added_json(t, s) ? -1 : tok_vocab_end(t, s, 1);
}

static int load_json(struct unigram *m, struct tokenizer *t,
                     const struct tok_source *s)
{
    const struct json *unk = json_get(s->model, "unk_id");
    int64_t id = -1;
    if ((!t->pipe && spm_norm_json(&m->base.norm, s)) || json_vocab(m, t, s) ||
        tok_flag(s, s->model, "byte_fallback", 0, &m->base.fallback))
        return -1;
    if (unk && json_type(unk) != JSON_NULL &&
        (json_int(unk, &id) || id < 0 || id >= t->n))
        return tok_bad(s, "'unk_id' is not an id");
    t->unk = (int32_t)id;
    if (id >= 0)
        t->attr[id] |= TOK_UNKNOWN | TOK_CONTROL;
    return 0;
}

/* The entries that plain text may become, and the unknown's score. */
static int index_entries(struct unigram *m, const struct tokenizer *t,
                         const struct tok_source *s)
{
    double least = 0;
    if (tok_index_begin(&m->index, t->n, s->e))
        return -1;
    for (int id = 0; id < t->n; id++) {
        least = fmin(least, m->base.score[id]);
        if (t->len[id] > 0 && spm_plain(t, id))
            tok_index_add(&m->index, t, id, 0);
    }
    if (!m->narrow)
        m->unknown = least - UNKNOWN_PENALTY;
    return tok_index_end(&m->index, s);
}

int tok_unigram_load(struct tokenizer *t, const struct tok_source *s)
{
    struct unigram *m = mem_zalloc(sizeof *m);
    if (!m)
        return err_nomem(s->e);
    t->self = m;
    t->ops = &ops;
    if (s->gguf    ? load_gguf(m, t, s)
        : s->proto ? load_proto(m, t, s)
                   : load_json(m, t, s))
        return -1;
    return spm_load(t, s) || index_entries(m, t, s) ? -1 : 0;
}
