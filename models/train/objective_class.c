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

struct feed_size objective_share(const struct trainer *t, int T)
{
    int B = (t->o.batch + t->n_workers - 1) / t->n_workers;
    int64_t N = (int64_t)T * B;
    return (struct feed_size){
        .T = T, .N = N < INT32_MAX ? (int)N : INT32_MAX, .B = B};
}

static struct feed_size class_most(const struct trainer *t)
{
    const struct corpus *const both[] = {&t->train, &t->valid};
    int longest = 1;
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < both[k]->n_records; i++) {
            int n = length_of(both[k], i);
            longest = n > longest ? n : longest;
        }
    return objective_share(t, longest);
}

struct key {
    int length, source;
    int32_t item;
};

static int by_length(const void *a, const void *b)
{
    const struct key *x = a, *y = b;
    if (x->length != y->length)
        return x->length < y->length ? 1 : -1;
    if (x->source != y->source)
        return x->source < y->source ? 1 : -1;
    return (x->item > y->item) - (x->item < y->item);
}

int objective_sort(const struct corpus *c, int32_t *items, int n, struct err *e)
{
    struct key *key = mem_array((size_t)n + 1, sizeof *key);
    if (key == NULL)
        return err_nomem(e);
    for (int i = 0; i < n; i++) {
        int source = c->n_source[items[i]];
        key[i] =
            (struct key){length_of(c, items[i]) - source, source, items[i]};
    }
    qsort(key, (size_t)n, sizeof *key, by_length);
    for (int i = 0; i < n; i++)
        items[i] = key[i].item;
    mem_free(key);
    return 0;
}

static int class_begin(struct course *c, const struct trainer *t, struct rng *r,
                       struct err *e)
{
    int B = t->o.batch, n = c->n_order, steps = (n + B - 1) / B;
    int pool = r != NULL ? B * POOL_BATCHES : n;
    c->steps = steps;
    c->first = mem_array((size_t)steps + 1, sizeof *c->first);
    if (c->first == NULL)
        return err_nomem(e);
    for (int i = 0; i < n; i += pool)
        if (objective_sort(c->corpus, c->order + i, n - i < pool ? n - i : pool,
                           e) != 0)
            return -1;
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
    const struct corpus *from = c->corpus;
    f->n_text = 0;
    for (int i = tid; i < c->n_items; i += t->n_workers) {
        int32_t item = c->items[i];
        const float *soft =
            from->soft != NULL
                ? from->soft + (size_t)item * (size_t)from->n_labels
                : NULL;
        f->text[f->n_text++] =
            (struct text){.ids = from->ids + from->start[item],
                          .n = length_of(from, item),
                          .label = from->label[item],
                          .soft = soft};
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
    .most = class_most,
    .begin = class_begin,
    .aim = class_aim,
    .fill = class_fill,
    .example = class_example,
};
