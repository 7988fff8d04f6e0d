/* matrix_data: a tensor of random weights of any dtype, blocks included, for
 * tests and benchmarks of products. Blocks get random codes and small scales;
 * scales with a sign, zeros and -0.0 occur. I8 gets
 * all bytes and a small scale.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_MATRIX_DATA_H
#define SEQD_MATRIX_DATA_H

#include <stdint.h>

#include "engine/checkpoint/weights.h"

/* All types that a product takes. */
#define N_MATRIX_TYPES 16
extern const enum dtype matrix_types[N_MATRIX_TYPES];

/* matrix_data: a tensor [rows, K], K a multiple of the type's block. t->data
 * is from mem_alloc, one byte past its start so that nothing is aligned:
 * matrix_data_free. -1 without memory. */
int matrix_data(enum dtype type, int rows, int K, uint64_t seed,
                struct tensor *t);
void matrix_data_free(struct tensor *t);

#endif
