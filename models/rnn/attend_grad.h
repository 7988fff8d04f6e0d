/* attend_grad: attention of a recurrent decoder in training, forward and
 * backward; the equations are seq2seq_rnn.h's. The weights of a row are made
 * again in the backward pass instead of being kept.
 *
 * Sources lie one after the other: text r has rows start[r] .. start[r + 1] of
 * e. Row r of a call is a query of text r: a decoder's time step over its first
 * texts.
 *
 * Dimensions: M rows of sources, C columns of e, H of a query, A of a key.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_ATTEND_GRAD_H
#define SEQD_ATTEND_GRAD_H

#include "models/train/blas.h"

enum attend_kind { ATTEND_NOT, ATTEND_ADD, ATTEND_PRODUCT, ATTEND_BILINEAR };

/* Tensors, or their gradients; NULL where the kind has none. */
struct attend_weights {
    real *key;      /* [A, C] */
    real *key_bias; /* [A], additive */
    real *query;    /* [A, H], additive */
    real *score;    /* [A], additive */
};

/* The caller owns all arrays. */
struct attend_run {
    enum attend_kind kind;
    const struct blas *blas;
    int C, H, A;
    const int *start; /* [texts + 1] */
    int M;
    struct attend_weights w, g;
    real *e, *de;     /* [M, C]; de: gradient, added to */
    real *key, *dkey; /* [M, A], but for dot */
    real *q, *dq;     /* [rows of a call, A], additive */
    real *weight;     /* [longest source] */
    real *unit;       /* [longest source, A], additive: tanh(q + key) */
};

/* attend_keys: of all sources, before the first query. */
void attend_keys(const struct attend_run *a);
/* attend_forward: context [rows, C] of queries [rows, H]. */
void attend_forward(const struct attend_run *a, struct mat query,
                    struct mat context);
/* attend_backward: from dcontext, adds to dquery, de, dkey and g. */
void attend_backward(const struct attend_run *a, struct mat query,
                     struct mat dcontext, struct mat dquery);
/* attend_keys_backward: from dkey, after the last of those; adds to de, g. */
void attend_keys_backward(const struct attend_run *a);

#endif
