/* recur: the product of the recurrence, a few rows at every time step with the
 * same matrix, packed once for all steps of a batch: with 32 rows the engine's
 * kernels are about twice as fast as OpenBLAS, which packs its operands anew
 * in each call. In the double build, and where the CPU has no tuned kernels,
 * OpenBLAS does it. Where the trainer's products are in bf16, so are these of
 * BF16_LEAST rows or more.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_RECUR_H
#define SEQD_RECUR_H

#include "engine/compute/kernels.h"
#include "models/train/blas.h"
#include "models/train/region.h"

struct recur {
    const struct kernels *k; /* NULL: by blas */
    const struct blas *blas;
    struct packed packed;
    void *bf16;    /* NULL, or the matrix packed for bf16_product.h */
    struct mat w;  /* borrowed from recur_load on */
    int transpose; /* y = x w' without, y = x w with */
};

/* recur_init: for a matrix of these sizes. Failed memory is the region's to
 * tell. */
int recur_init(struct recur *r, struct region *mem, const struct blas *b,
               int rows, int columns, int transpose, struct err *e);
void recur_load(struct recur *r, struct mat w);
/* y = x w' (or x w), added to y when add. */
void recur_apply(const struct recur *r, struct mat x, int add, struct mat y);

#endif
