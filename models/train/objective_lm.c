/* objective_lm: language models (objective.h). The records of an epoch are one
 * stream, cut into `batch` lanes that run side by side, chunk by chunk; the
 * stream is rotated by a random amount first, so that lanes and chunks fall
 * elsewhere each time. A masked model is shown the same chunks. With
 * --bptt-random a chunk of a training is as long as a normal number says, whose
 * mean is --bptt or, for one chunk in twenty, half of it (Merity et al. 2017,
 * arXiv 1708.01009, section 4.1): no word is always the last that a gradient
 * reaches.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/base/mem.h"
#include "models/train/objective.h"
#include "models/train/train.h"

/* Lane r has [first, first + length) of the predictions of a stream. The last
 * lanes are one shorter. */
static int64_t lane_first(const struct course *c, int r)
{
    int64_t each = (c->n_stream - 1) / c->lanes;
    int64_t more = (c->n_stream - 1) % c->lanes;
    return r * each + (r < more ? r : more);
}

/* Of --bptt-random. */
#define SHORT_SHARE 0.05
#define DEVIATION 5
#define SHORTEST 5
#define MOST_OVER 25 /* of --bptt: five deviations */

static struct feed_size lm_most(const struct trainer *t)
{
    return objective_share(t, t->o.bptt + (t->o.bptt_random ? MOST_OVER : 0));
}

static int draw_length(const struct trainer *t, struct rng *r)
{
    int bptt = t->o.bptt, most = bptt + MOST_OVER;
    double mean = rng_uniform(r) < SHORT_SHARE ? bptt / 2.0 : bptt;
    int n = (int)(mean + DEVIATION * rng_normal(r));
    n = n < most ? n : most;
    return n > SHORTEST ? n : SHORTEST;
}

/* Where the chunks of a lane of so many predictions begin. */
static int cut_by_chance(struct course *c, const struct trainer *t,
                         struct rng *r, int64_t lane, struct err *e)
{
    if (lane > INT32_MAX)
        return err_set(e, ERR_TOO_LARGE, "a lane of over 2^31 tokens");
    c->first = mem_array((size_t)lane / SHORTEST + 2, sizeof *c->first);
    if (c->first == NULL)
        return err_nomem(e);
    c->steps = 0;
    for (int64_t at = 0; at < lane; at += draw_length(t, r))
        c->first[c->steps++] = (int)at;
    c->first[c->steps] = (int)lane;
    return 0;
}

/* Rotate to the left by k tokens. */
static int rotate(struct course *c, int64_t k, struct err *e)
{
    int32_t *front = mem_array((size_t)k + 1, sizeof *front);
    size_t bytes = (size_t)k * sizeof *front;
    if (front == NULL)
        return err_nomem(e);
    memcpy(front, c->stream, bytes);
    memmove(c->stream, c->stream + k,
            (size_t)(c->n_stream - k) * sizeof *front);
    memcpy(c->stream + c->n_stream - k, front, bytes);
    mem_free(front);
    return 0;
}

static int lm_begin(struct course *c, const struct trainer *t, struct rng *r,
                    struct err *e)
{
    c->lanes = t->o.batch;
    if (corpus_stream(c->corpus, c->order, c->n_order,
                      tokenizer_eos(t->tokenizer), &c->stream, &c->n_stream,
                      e) != 0)
        return -1;
    if (r != NULL) {
        int64_t k = (int64_t)(rng_uniform(r) * (double)c->n_stream);
        if (k > 0 && rotate(c, k, e) != 0)
            return -1;
        if (c->n_stream <= c->lanes)
            return err_set(e, ERR_INVALID,
                           "%lld training tokens are too few for %d lanes: "
                           "more text, or a smaller --batch",
                           (long long)c->n_stream, c->lanes);
        /* whole lanes of one length */
        c->n_stream -= (c->n_stream - 1) % c->lanes;
    }
    if (r != NULL && t->o.bptt_random)
        return cut_by_chance(c, t, r, lane_first(c, 1), e);
    c->steps = (lane_first(c, 1) + t->o.bptt - 1) / t->o.bptt;
    return 0;
}

static int64_t lm_aim(struct course *c, const struct trainer *t, int64_t i)
{
    if (c->first != NULL) {
        c->position = c->first[i];
        c->T = c->first[i + 1] - c->first[i];
        return (int64_t)c->T * c->lanes;
    }
    c->position = i * t->o.bptt;
    int64_t left = lane_first(c, 1) - c->position;
    c->T = (int)(left < t->o.bptt ? left : t->o.bptt);
    return (int64_t)c->T * c->lanes;
}

static void lm_fill(const struct course *c, const struct trainer *t, int tid,
                    struct feed *f)
{
    int from = c->lanes * tid / t->n_workers;
    int to = c->lanes * (tid + 1) / t->n_workers;
    f->n_text = 0;
    for (int r = from; r < to; r++) {
        int64_t at = lane_first(c, r) + c->position;
        int64_t left = lane_first(c, r + 1) - at;
        if (left > 0)
            f->text[f->n_text++] =
                (struct text){.ids = c->stream + at,
                              .next = c->stream + at + 1,
                              .n = (int)(left < c->T ? left : c->T)};
    }
}

static void lm_example(const struct net *n, struct rng *r, struct feed *f)
{
    feed_example(f, r, n->V, 0);
    n->family->pack(f);
}

const struct objective language_model = {
    .name = "lm",
    .most = lm_most,
    .begin = lm_begin,
    .aim = lm_aim,
    .fill = lm_fill,
    .example = lm_example,
};

/* What stands for a masked token: the unknown entry where a vocabulary from
 * elsewhere has none for masks (what is learned then cannot be asked for
 * masked words). */
static int32_t mask_of(const struct trainer *t)
{
    int32_t mask = tokenizer_mask(t->tokenizer);

    return mask >= 0 ? mask : tokenizer_unk(t->tokenizer);
}

static int masked_check(const struct trainer *t, struct err *e)
{
    return mask_of(t) >= 0 ? 0
                           : err_set(e, ERR_INVALID,
                                     "masked tokens need a vocabulary with an "
                                     "entry for masked or unknown ones");
}

/* As BERT does: of the chosen tokens 80 % become the mask, 10 % any
 * entry, the rest stay. Special tokens are not chosen. */
static void masked_choose(const struct trainer *t, struct feed *f, uint64_t key)
{
    struct pass_batch *b = &f->batch;
    int32_t mask = mask_of(t);
    int n = 0;
    for (int i = 0; i < b->N; i++) {
        int32_t id = b->ids[i];
        if (rng_uniform_at(key, (uint64_t)i) >= t->o.mask_rate ||
            tokenizer_is_special(t->tokenizer, id))
            continue;
        double way = rng_uniform_at(key ^ 1, (uint64_t)i);
        double any = rng_uniform_at(key ^ 2, (uint64_t)i);
        f->pick[n] = i;
        b->target[n++] = id;
        if (way < 0.8)
            b->ids[i] = mask;
        else if (way < 0.9)
            b->ids[i] = (int32_t)(any * t->net.V);
    }
    b->pick = f->pick;
    b->n_target = n;
}

/* Every second row. */
static void masked_example(const struct net *n, struct rng *r, struct feed *f)
{
    lm_example(n, r, f);
    f->batch.n_target /= 2;
    f->batch.pick = f->pick;
    for (int i = 0; i < f->batch.n_target; i++)
        f->pick[i] = 2 * i + i % 2;
}

const struct objective masked_model = {
    .name = "masked",
    .masked = 1,
    .check = masked_check,
    .most = lm_most,
    .begin = lm_begin,
    .aim = lm_aim,
    .fill = lm_fill,
    .choose = masked_choose,
    .example = masked_example,
};
