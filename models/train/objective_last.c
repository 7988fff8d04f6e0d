/* objective_last: language models of which only the last tokens of a text are
 * predicted (objective.h; --predict-last): what has to be remembered until then
 * is all that is learned. Each record is a text of its own, from an empty
 * state; batches are a classifier's.
 *
 * SPDX-License-Identifier: MIT */
#include "models/train/objective.h"
#include "models/train/train.h"

#define EXAMPLE_LAST 2

/* Predictions that could be made of a record: all of its tokens but the first.
 */
static int length_of(const struct corpus *c, int32_t item)
{
    return (int)(c->start[item + 1] - c->start[item]) - 1;
}

static int last_check(const struct trainer *t, struct err *e)
{
    const struct corpus *const both[] = {&t->train, &t->valid};
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < both[k]->n_records; i++)
            if (length_of(both[k], i) < 1)
                return err_set(e, ERR_INVALID,
                               "--predict-last needs records of two tokens or "
                               "more, and record %d of %s has one",
                               i + 1, k == 0 ? "--data" : "--valid");
    return 0;
}

static struct feed_size last_most(const struct trainer *t)
{
    return classifier.most(t);
}

static int last_begin(struct course *c, const struct trainer *t, struct rng *r,
                      struct err *e)
{
    return classifier.begin(c, t, r, e);
}

static int64_t last_aim(struct course *c, const struct trainer *t, int64_t i)
{
    int64_t n = 0;
    classifier.aim(c, t, i);
    for (int k = 0; k < c->n_items; k++) {
        int all = length_of(c->corpus, c->items[k]);
        n += all < t->o.predict_last ? all : t->o.predict_last;
    }
    return n;
}

static void last_fill(const struct course *c, const struct trainer *t, int tid,
                      struct feed *f)
{
    f->n_text = 0;
    for (int i = tid; i < c->n_items; i += t->n_workers) {
        const int32_t *ids = c->corpus->ids + c->corpus->start[c->items[i]];
        f->text[f->n_text++] =
            (struct text){.ids = ids,
                          .next = ids + 1,
                          .n = length_of(c->corpus, c->items[i])};
    }
}

static void pick(struct feed *f, int last, int text, int time, int row)
{
    struct pass_batch *b = &f->batch;
    if (time + last < b->length[text])
        return;
    f->pick[b->n_target] = row;
    b->target[b->n_target++] = b->target[row];
}

/* The rows of the last predictions, as they lie. */
static void pick_last(const struct net *n, struct feed *f, int last)
{
    struct pass_batch *b = &f->batch;
    b->n_target = 0;
    b->pick = f->pick;
    if (n->family->pack != feed_pack_by_time) {
        for (int r = 0; r < b->B; r++)
            for (int t = 0; t < b->length[r]; t++)
                pick(f, last, r, t, b->start[r] + t);
        return;
    }
    for (int t = 0; t < b->steps.T; t++)
        for (int r = 0; r < b->steps.n[t]; r++)
            pick(f, last, r, t, b->steps.off[t] + r);
}

static void last_choose(const struct trainer *t, struct feed *f, uint64_t key)
{
    (void)key;
    pick_last(&t->net, f, t->o.predict_last);
}

static void last_example(const struct net *n, struct rng *r, struct feed *f)
{
    feed_example(f, r, n->V, 0);
    n->family->pack(f);
    pick_last(n, f, EXAMPLE_LAST);
}

const struct objective last_tokens = {
    .name = "last",
    .fresh = 1,
    .alone = 1,
    .check = last_check,
    .most = last_most,
    .begin = last_begin,
    .aim = last_aim,
    .fill = last_fill,
    .choose = last_choose,
    .example = last_example,
};
