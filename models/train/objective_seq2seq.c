/* objective_seq2seq: pairs of texts (objective.h, pairs.h): the source is read,
 * the target predicted, each token after those before it. Batches are cut by
 * tokens: the pairs of an epoch are shuffled, sorted by length within pools,
 * and dealt to the workers in turn, until one of them has its share of
 * o.batch_tokens rows on either side; then the batches are shuffled. What a
 * worker's arrays hold is known before, and no row is wasted on padding.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/base/mem.h"
#include "models/train/objective.h"
#include "models/train/pairs.h"
#include "models/train/train.h"

#define POOL_TOKENS 50 /* batches that are sorted together, about */

static int source_of(const struct corpus *c, int32_t item)
{
    return c->n_source[item];
}

/* Rows of the target: its start and words, or its words and end. */
static int target_of(const struct corpus *c, int32_t item)
{
    return (int)(c->start[item + 1] - c->start[item]) - c->n_source[item] - 1;
}

static struct feed_size pairs_most(const struct trainer *t)
{
    const struct corpus *const both[] = {&t->train, &t->valid};
    int share = t->o.batch_tokens / t->n_workers;
    struct feed_size s = {.T = 1, .pairs = 1};
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < both[k]->n_records; i++) {
            int a = source_of(both[k], i), b = target_of(both[k], i);
            s.T = a > s.T ? a : s.T;
            s.T = b > s.T ? b : s.T;
        }
    s.N = s.B = share > s.T ? share : s.T;
    return s;
}

/* How many of the items [n] make a batch: each worker's rows stay within most,
 * which the longest pair does. */
static int count_batch(const struct corpus *c, const struct trainer *t,
                       const int32_t *items, int n, int most)
{
    int source[OPTIM_MAX_WORKERS] = {0}, target[OPTIM_MAX_WORKERS] = {0};
    for (int i = 0; i < n; i++) {
        int w = i % t->n_workers;
        source[w] += source_of(c, items[i]);
        target[w] += target_of(c, items[i]);
        if (source[w] > most || target[w] > most)
            return i;
    }
    return n;
}

static void shuffle_batches(struct course *c, struct rng *r)
{
    for (int i = 0; i < c->steps; i++)
        c->turn[i] = i;
    if (r != NULL)
        data_shuffle(r, (int)c->steps, c->turn);
}

static int pairs_begin(struct course *c, const struct trainer *t, struct rng *r,
                       struct err *e)
{
    int n = c->n_order, most = pairs_most(t).N;
    int64_t tokens = 1 + c->corpus->n / 2;
    double each = (double)tokens / (double)c->corpus->n_records;
    double wanted = POOL_TOKENS * (double)t->o.batch_tokens / each + 1;
    int pool = r != NULL && wanted < n ? (int)wanted : n;
    c->first = mem_array((size_t)n + 1, sizeof *c->first);
    c->turn = mem_array((size_t)n + 1, sizeof *c->turn);
    if (c->first == NULL || c->turn == NULL)
        return err_nomem(e);
    for (int i = 0; i < n; i += pool)
        if (objective_sort(c->corpus, c->order + i, n - i < pool ? n - i : pool,
                           e) != 0)
            return -1;
    c->steps = 0;
    for (int i = 0; i < n; c->steps++) {
        int end = i - i % pool + pool < n ? i - i % pool + pool : n;
        c->first[c->steps] = i;
        i += count_batch(c->corpus, t, c->order + i, end - i, most);
    }
    c->first[c->steps] = n;
    shuffle_batches(c, r);
    return 0;
}

static int64_t pairs_aim(struct course *c, const struct trainer *t, int64_t i)
{
    int at = c->turn[i];
    int64_t targets = 0;
    (void)t;
    c->items = c->order + c->first[at];
    c->n_items = c->first[at + 1] - c->first[at];
    for (int k = 0; k < c->n_items; k++)
        targets += target_of(c->corpus, c->items[k]);
    return targets;
}

static void pairs_fill(const struct course *c, const struct trainer *t, int tid,
                       struct feed *f)
{
    f->n_text = 0;
    for (int i = tid; i < c->n_items; i += t->n_workers) {
        int32_t item = c->items[i];
        const int32_t *ids = c->corpus->ids + c->corpus->start[item];
        int n = source_of(c->corpus, item);
        f->text[f->n_text++] = (struct text){.ids = ids + n,
                                             .next = ids + n + 1,
                                             .n = target_of(c->corpus, item),
                                             .source = ids,
                                             .n_source = n};
    }
}

static void pairs_example(const struct net *n, struct rng *r, struct feed *f)
{
    feed_example_pairs(f, r, n->V);
    n->family->pack(f);
}

const struct objective seq2seq = {
    .name = "seq2seq",
    .pairs = 1,
    .most = pairs_most,
    .begin = pairs_begin,
    .aim = pairs_aim,
    .fill = pairs_fill,
    .example = pairs_example,
};
