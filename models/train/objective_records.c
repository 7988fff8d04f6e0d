/* objective_records: language models whose records are texts of their own
 * (--apart): each begins with an empty state or context and the end token, and
 * ends with that; what is over --bptt tokens goes on as a new text. Stories,
 * tunes and messages are written so when they are asked for: from their
 * beginning. Batches have texts of like length (objective_class.c).
 *
 * SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "engine/base/mem.h"
#include "models/train/objective.h"
#include "models/train/train.h"

#define POOL_BATCHES 50 /* batches that are sorted together */

static struct feed_size records_most(const struct trainer *t)
{
    return objective_share(t, t->o.bptt);
}

struct piece_of {
    int64_t at; /* in the stream */
    int n;      /* predictions */
};

static int by_length(const void *a, const void *b)
{
    const struct piece_of *x = a, *y = b;
    if (x->n != y->n)
        return x->n < y->n ? 1 : -1;
    return (x->at > y->at) - (x->at < y->at);
}

/* The texts of the stream, which is "</s> record </s> record </s>". Returns
 * their number. */
static int cut_stream(const struct course *c, const struct trainer *t,
                      struct piece_of *piece)
{
    int64_t at = 0;
    int n = 0;
    for (int i = 0; i < c->n_order; i++) {
        int64_t left = c->corpus->start[c->order[i] + 1] -
                       c->corpus->start[c->order[i]] + 1;
        while (left > 0) {
            int take = (int)(left < t->o.bptt ? left : t->o.bptt);
            piece[n++] = (struct piece_of){at, take};
            at += take;
            left -= take;
        }
    }
    return n;
}

static void shuffle_pieces(struct rng *r, int n, struct piece_of *v)
{
    for (int i = n - 1; i > 0; i--) {
        int k = (int)rng_below(r, (uint32_t)i + 1);
        struct piece_of x = v[i];
        v[i] = v[k];
        v[k] = x;
    }
}

/* course.order is of records; texts are listed by two numbers each in place of
 * it: where they begin in the stream, and how long they are. */
static int list_pieces(struct course *c, const struct trainer *t, struct rng *r,
                       struct piece_of *piece, int n, struct err *e)
{
    int B = t->o.batch, pool = r != NULL ? B * POOL_BATCHES : n;
    if (r != NULL)
        shuffle_pieces(r, n, piece);
    for (int i = 0; i < n; i += pool)
        qsort(piece + i, (size_t)(n - i < pool ? n - i : pool), sizeof *piece,
              by_length);
    c->steps = (n + B - 1) / B;
    c->first = mem_array((size_t)c->steps + 1, sizeof *c->first);
    c->text_at = mem_array((size_t)n + 1, sizeof *c->text_at);
    c->text_n = mem_array((size_t)n + 1, sizeof *c->text_n);
    if (c->first == NULL || c->text_at == NULL || c->text_n == NULL)
        return err_nomem(e);
    for (int i = 0; i < n; i++) {
        c->text_at[i] = piece[i].at;
        c->text_n[i] = piece[i].n;
    }
    c->n_texts = n;
    for (int i = 0; i < c->steps; i++)
        c->first[i] = i * B;
    if (r != NULL)
        data_shuffle(r, (int)c->steps, c->first);
    return 0;
}

static int records_begin(struct course *c, const struct trainer *t,
                         struct rng *r, struct err *e)
{
    if (corpus_stream(c->corpus, c->order, c->n_order,
                      tokenizer_eos(t->tokenizer), &c->stream, &c->n_stream,
                      e) != 0)
        return -1;
    int64_t most = c->n_stream / t->o.bptt + c->n_order + 1;
    if (most > DATA_MAX_RECORDS)
        return err_set(e, ERR_TOO_LARGE, "more than %d texts",
                       DATA_MAX_RECORDS);
    struct piece_of *piece = mem_array((size_t)most, sizeof *piece);
    if (piece == NULL)
        return err_nomem(e);
    int rc = list_pieces(c, t, r, piece, cut_stream(c, t, piece), e);
    mem_free(piece);
    return rc;
}

static int64_t records_aim(struct course *c, const struct trainer *t, int64_t i)
{
    int64_t sum = 0;
    int left = c->n_texts - c->first[i];
    c->position = c->first[i];
    c->n_items = left < t->o.batch ? left : t->o.batch;
    for (int k = 0; k < c->n_items; k++)
        sum += c->text_n[c->position + k];
    return sum;
}

/* Every n_workers-th text of the batch, which is sorted by falling length. */
static void records_fill(const struct course *c, const struct trainer *t,
                         int tid, struct feed *f)
{
    f->n_text = 0;
    for (int i = tid; i < c->n_items; i += t->n_workers) {
        int64_t k = c->position + i;
        const int32_t *ids = c->stream + c->text_at[k];
        f->text[f->n_text++] =
            (struct text){.ids = ids, .next = ids + 1, .n = c->text_n[k]};
    }
}

static void records_example(const struct net *n, struct rng *r, struct feed *f)
{
    language_model.example(n, r, f);
}

const struct objective record_model = {
    .name = "lm",
    .fresh = 1,
    .most = records_most,
    .begin = records_begin,
    .aim = records_aim,
    .fill = records_fill,
    .example = records_example,
};
