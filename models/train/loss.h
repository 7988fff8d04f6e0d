/* loss: the output layer and cross-entropy, forward and backward in one go.
 * Rows are worked in blocks, so that the scores of one block stay in the cache
 * between the product, the softmax and the two products of the gradient.
 *
 * Sampled softmax (Jean et al. 2015): the denominator runs over the target and
 * a noise set shared by all rows of the step; each score is corrected by the
 * log of the expected count of its word in the set, and a row whose target is
 * in the set leaves that column out. Training only.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_LOSS_H
#define SEQD_LOSS_H

#include "engine/base/rng.h"
#include "models/train/blas.h"
#include "models/train/rows.h"

/* Where noise comes from, and the set drawn last: distinct words with the logs
 * of their expected counts. */
struct noise {
    int V;
    double *p;     /* [V] probability of one draw */
    double *alias; /* [V] threshold of the alias method (Walker 1977) */
    int32_t *other;
    int n, cap;
    int32_t *ids;   /* [n] */
    real *log_q;    /* [n] */
    int32_t *place; /* [V] position in ids, or -1 */
    double tries;
};

/* noise_init: sets of `cap` words. Probabilities in proportion to count^power;
 * NULL counts: log-uniform over ranks, p(k) = log((k + 2) / (k + 1)) / log(V +
 * 1). */
int noise_init(struct noise *s, struct region *mem, int V, int cap,
               const int64_t *counts, double power, struct err *e);
void noise_draw(struct noise *s, struct rng *r);
real noise_log_q(const struct noise *s, int32_t id);

struct loss_work {
    int block;    /* rows of a block */
    int width;    /* columns that fit */
    real *scores; /* [block, width] */
    real *w, *dw; /* [samples, Q], sampled only */
    real *b, *db; /* [samples] */
};
/* loss_work_init: failed memory is the region's to tell. */
void loss_work_init(struct loss_work *k, struct region *mem, int K, int Q,
                    int samples);

struct loss_task {
    const struct blas *blas;
    struct loss_work *work;
    struct mat y;          /* [n, Q] inputs of the output layer */
    const int32_t *target; /* [n] */
    const float **soft;    /* NULL, or [n] of [K] shares in place of targets;
                              full softmax only */
    const real *value;     /* loss_squares: [n, K] */
    struct mat w;          /* [K, Q] */
    const real *b;         /* [K] */
    real scale;            /* the gradient is of scale * sum of losses */
    real smoothing;        /* label smoothing, full softmax only */
    /* Gradients: dy.p NULL means none wanted. */
    struct mat dy;                /* [n, Q] out */
    real *dw, *db;                /* added to */
    struct rows *rows_w, *rows_b; /* sampled only: touched rows */
    real *prob; /* NULL, or [n, K] out: softmax, or the outputs of squares */
};

/* Sum over the rows of -log p(target), unscaled (with smoothing: of the
 * smoothed loss; with shares: of -sum share log p). */
double loss_full(const struct loss_task *t);
double loss_sampled(const struct loss_task *t, const struct noise *noise);
/* loss_squares: sum over the rows of the mean over the K outputs of
 * (y w' + b - value)^2. */
double loss_squares(const struct loss_task *t);

#endif
