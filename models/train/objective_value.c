/* objective_value: regression, a few values from a sequence of vectors
 * (objective.h, vectors.h). Batches are a classifier's.
 *
 * SPDX-License-Identifier: MIT */
#include "models/train/objective.h"
#include "models/train/train.h"

static struct feed_size value_most(const struct trainer *t)
{
    struct feed_size s = classifier.most(t);
    s.inputs = t->train.width;
    s.values = t->train.n_values;
    return s;
}

static int value_begin(struct course *c, const struct trainer *t, struct rng *r,
                       struct err *e)
{
    return classifier.begin(c, t, r, e);
}

static int64_t value_aim(struct course *c, const struct trainer *t, int64_t i)
{
    return classifier.aim(c, t, i);
}

static void value_fill(const struct course *c, const struct trainer *t, int tid,
                       struct feed *f)
{
    const struct corpus *x = c->corpus;
    f->n_text = 0;
    for (int i = tid; i < c->n_items; i += t->n_workers) {
        int32_t item = c->items[i];
        int64_t at = x->start[item];
        f->text[f->n_text++] = (struct text){
            .x = x->vectors + (size_t)at * (size_t)x->width,
            .values = x->values + (size_t)item * (size_t)x->n_values,
            .n = (int)(x->start[item + 1] - at)};
    }
}

static void value_example(const struct net *n, struct rng *r, struct feed *f)
{
    feed_example_vectors(f, r);
    n->family->pack(f);
}

const struct objective regression = {
    .name = "regression",
    .alone = 1,
    .vectors = 1,
    .most = value_most,
    .begin = value_begin,
    .aim = value_aim,
    .fill = value_fill,
    .example = value_example,
};
