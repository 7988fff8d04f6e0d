/* gradcheck: analytic gradients against signed central differences, for every
 * cell, depth, direction, head, pooling, kind of loss and dropout, and for the
 * Transformers, tensor by tensor. Meaningful in the double build (make
 * gradcheck).
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_GRADCHECK_H
#define SEQD_GRADCHECK_H

#include <stdio.h>

#include "models/train/pass.h"

struct grad_case {
    enum net_kind kind;
    const struct cell_grad *cell;
    int relu, L, D, P, tie, C;
    enum net_pooling pooling;
    int sampled;
    real dropout; /* at every site, variational in two-layer cases */
    real smoothing;
};

/* gradcheck_case: the number of tensors whose gradient is off by more than
 * tolerance (the largest difference over the largest numeric gradient of the
 * tensor), or -1. `worst` gets the largest such ratio. Failing tensors are
 * named on `out` (NULL: silent). */
int gradcheck_case(const struct blas *b, const struct grad_case *c,
                   double tolerance, FILE *out, double *worst, struct err *e);

/* gradcheck_run: all cases; ERR_INTERNAL when one is beyond tolerance. */
int gradcheck_run(FILE *out, struct err *e);

#endif
