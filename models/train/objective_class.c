/* objective_class: classifiers of labelled texts (objective.h). The texts of an
 * epoch are shuffled, sorted by length within pools of batches (so that little
 * of a batch ends early), and the batches shuffled again.
 *
 * SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "engine/base/mem.h"
#include "models/train/objective.h"
#include "models/train/train.h"

#define POOL_BATCHES 50 /* batches that are sorted together */

static int length_of(const struct corpus *c, int32_t item)
{
    return (int)(c->start[item + 1] - c->start[item]);
}

static int class_longest(const struct trainer *t)
{
    const struct corpus *const both[] = {&t->train, &t->valid};
    int longest = 1;
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < both[k]->n_records; i++) {
            int n = length_of(both[k], i);
            longest = n > longest ? n : longest;
        }
    return longest;
}

static int by_length(const void *a, const void *b)
{
    const int32_t *x = a, *y = b; /* length, item */
    if (x[0] != y[0])
        return x[0] < y[0] ? 1 : -1;
    return (x[1] > y[1]) - (x[1] < y[1]);
}

/* Sort items [n] by falling length; pairs [2 n] is scratch. */
static void sort_items(const struct corpus *c, int32_t *items, int n,
                       int32_t *pairs)
{
    for (int i = 0; i < n; i++) {
        pairs[2 * i] = length_of(c, items[i]);
        pairs[2 * i + 1] = items[i];
    }
    qsort(pairs, (size_t)n, 2 * sizeof *pairs, by_length);
    for (int i = 0; i < n; i++)
        items[i] = pairs[2 * i + 1];
}

static int class_begin(struct course *c, const struct trainer *t, struct rng *r,
                       struct err *e)
{
    int B = t->o.batch, n = c->n_order, steps = (n + B - 1) / B;
    int pool = r != NULL ? B * POOL_BATCHES : n;
    int32_t *pairs = mem_array((size_t)n, 2 * sizeof *pairs);
    c->steps = steps;
    c->first = mem_array((size_t)steps + 1, sizeof *c->first);
    if (pairs == NULL || c->first == NULL) {
        mem_free(pairs);
        return err_nomem(e);
    }
    for (int i = 0; i < n; i += pool)
        sort_items(c->corpus, c->order + i, n - i < pool ? n - i : pool, pairs);
    mem_free(pairs);
    for (int i = 0; i < steps; i++)
        c->first[i] = i * B;
    if (r != NULL)
        data_shuffle(r, steps, c->first);
    return 0;
}

static int64_t class_aim(struct course *c, const struct trainer *t, int64_t i)
{
    int left = c->n_order - c->first[i];
    c->items = c->order + c->first[i];
    c->n_items = left < t->o.batch ? left : t->o.batch;
    return c->n_items;
}

/* Every n_workers-th text of the batch, which is sorted by falling length. */
static void class_fill(const struct course *c, const struct trainer *t, int tid,
                       struct feed *f)
{
    f->n_text = 0;
    for (int i = tid; i < c->n_items; i += t->n_workers) {
        int32_t item = c->items[i];
        f->text[f->n_text++] =
            (struct text){.ids = c->corpus->ids + c->corpus->start[item],
                          .n = length_of(c->corpus, item),
                          .label = c->corpus->label[item]};
    }
}

static void class_example(const struct net *n, struct rng *r, struct feed *f)
{
    feed_example(f, r, n->V, n->C);
    n->family->pack(f);
}

const struct objective classifier = {
    .name = "classifier",
    .labelled = 1,
    .longest = class_longest,
    .begin = class_begin,
    .aim = class_aim,
    .fill = class_fill,
    .example = class_example,
};
