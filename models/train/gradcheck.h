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

/* gradcheck_run: all cases, those that fail by the names of their tensors;
 * ERR_INTERNAL when one is beyond tolerance. */
int gradcheck_run(FILE *out, struct err *e);

#endif
