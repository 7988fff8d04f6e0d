/* gradcheck: analytic gradients against signed central differences, tensor by
 * tensor, for the nets that each family names (trainable.h): every cell, depth,
 * direction, head, pooling, kind of loss and dropout. Meaningful in the double
 * build (make gradcheck).
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_GRADCHECK_H
#define SEQD_GRADCHECK_H

#include <stdio.h>

#include "engine/base/err.h"
#include "models/train/real.h"

/* gradcheck_run: all cases, those that fail by the names of their tensors;
 * ERR_INTERNAL when one is beyond tolerance. */
int gradcheck_run(FILE *out, struct err *e);

/* gradcheck_off: the largest difference of two gradients [n] of a tensor over
 * the largest element of the numeric one (see TINY). NaN when either has
 * one. */
double gradcheck_off(size_t n, const double *numeric, const real *analytic);

#endif
