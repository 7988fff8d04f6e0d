/* token_mask: see token_mask.h.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/run/token_mask.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/mem.h"

#define MOST_BYTES 16 /* of a token */

struct piece {
    const char *p; /* borrowed from the tokenizer */
    int32_t id;
    uint8_t n;
    uint8_t same; /* bytes that it begins with as the one before */
};

struct token_mask {
    int n, n_vocab;
    struct piece v[];
};

static int by_bytes(const void *a, const void *b)
{
    const struct piece *x = a, *y = b;
    int rc = memcmp(x->p, y->p, x->n < y->n ? x->n : y->n);

    if (rc != 0)
        return rc;
    return x->n != y->n ? (x->n > y->n) - (x->n < y->n)
                        : (x->id > y->id) - (x->id < y->id);
}

static const char *bytes_of(const struct tokenizer *t, int32_t id, size_t *n)
{
    if (id < 0 || id >= tokenizer_size(t) || tokenizer_is_special(t, id) ||
        id == tokenizer_unk(t) || tokenizer_is_end(t, id))
        return NULL;
    return tokenizer_piece(t, id, n);
}

int token_mask_open(const struct tokenizer *t, int n_vocab,
                    struct token_mask **out, struct err *e)
{
    size_t n;

    *out = NULL;
    if (!t || tokenizer_level(t) != TOK_LEVEL_CHAR)
        return 0;
    struct token_mask *p =
        mem_alloc(sizeof *p + (size_t)n_vocab * sizeof(struct piece));
    if (!p)
        return err_nomem(e);
    p->n = 0;
    p->n_vocab = n_vocab;
    for (int32_t id = 0; id < n_vocab; id++) {
        const char *s = bytes_of(t, id, &n);
        if (!s || n < 1)
            continue;
        if (n > MOST_BYTES) {
            mem_free(p);
            return 0;
        }
        p->v[p->n++] = (struct piece){.p = s, .id = id, .n = (uint8_t)n};
    }
    qsort(p->v, (size_t)p->n, sizeof *p->v, by_bytes);
    for (int i = 1; i < p->n; i++) {
        const struct piece *a = &p->v[i - 1], *b = &p->v[i];
        int same = 0;
        while (same < a->n && same < b->n && a->p[same] == b->p[same])
            same++;
        p->v[i].same = (uint8_t)same;
    }
    *out = p;
    return 0;
}

void token_mask_close(struct token_mask *p)
{
    mem_free(p);
}

/* 1: the token may come. */
static int keep(float *row, int32_t id, int may)
{
    if (!may && row)
        row[id] = -INFINITY;
    return may && (!row || row[id] > -INFINITY);
}

int token_mask_apply(const struct token_mask *p, const struct constraint *c,
                     const void *state, const int32_t *end, int n_end,
                     float *row)
{
    /* at[k]: the state behind k bytes of the present piece, k <= good */
    _Alignas(16) char at[MOST_BYTES + 1][CONSTRAINT_STATE_BYTES];
    int good = 0, left = 0, may_end = c->may_end(state);

    for (int i = 0; i < n_end; i++)
        left += keep(row, end[i], may_end);
    memcpy(at[0], state, c->state_bytes);
    for (int i = 0; i < p->n; i++) {
        const struct piece *v = &p->v[i];
        int bad = v->same > good; /* it begins as one that was refused */
        good = v->same < good ? v->same : good;
        while (!bad && good < v->n) {
            memcpy(at[good + 1], at[good], c->state_bytes);
            bad = c->next(at[good + 1], (unsigned char)v->p[good], 0) != 0;
            good += !bad;
        }
        left += keep(row, v->id, !bad);
    }
    return left;
}

int token_mask_next(const struct tokenizer *t, const struct constraint *c,
                    void *state, int32_t id, int given)
{
    size_t n = 0;
    const char *p = bytes_of(t, id, &n);

    for (size_t i = 0; p && i < n; i++)
        if (c->next(state, (unsigned char)p[i], given))
            return -1;
    return 0;
}
