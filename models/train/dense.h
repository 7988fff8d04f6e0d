/* dense: a layer y = x w + b, forward and backward.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_DENSE_H
#define SEQD_DENSE_H

#include "models/train/blas.h"

struct dense {
    const struct blas *blas;
    int conv1d; /* w is [in, out], else [out, in] */
    int in, out;
    real *w, *b;
    real *gw, *gb; /* gradients, added to: for backward */
};
/* y [rows, out] = x [rows, in] w + b */
void dense_forward(const struct dense *d, int rows, real *x, real *y);
/* dense_backward: dx = gradient of x. dx may be x, or NULL. */
void dense_backward(const struct dense *d, int rows, real *x, real *dy,
                    real *dx);

#endif
