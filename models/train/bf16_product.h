/* bf16_product: matrix products of the trainer with both sides rounded to bf16
 * (to nearest, ties to even) and summed in float, for CPUs with AMX or AVX-512
 * BF16. A product of large matrices takes a third to a fifth of sgemm's time.
 * Weights, gradients and moments stay float: "mixed precision" (Micikevicius
 * et al. 2018, arXiv 1710.03740; in bf16: Kalamkar et al. 2019, 1905.12322).
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_BF16_PRODUCT_H
#define SEQD_BF16_PRODUCT_H

#include "engine/base/err.h"
#include "models/train/real.h"

enum bf16_unit { BF16_NONE, BF16_VECTORS, BF16_TILES };

/* bf16_unit_open: the best that the CPU and the system have. For BF16_TILES the
 * process asks Linux once for the registers (arch_prctl). */
enum bf16_unit bf16_unit_open(void);
const char *bf16_unit_name(enum bf16_unit u); /* "AMX", "AVX-512", "none" */

/* bf16_product: c = op(a) op(b), or c += with `add`; op is the transpose where
 * ta or tb say so. 0, and nothing is done, where the product is so small that
 * rounding and packing cost more than they win. u is not BF16_NONE. Takes
 * some 700 KB of the stack. */
int bf16_product(enum bf16_unit u, int ta, int tb, struct mat a, struct mat b,
                 int add, struct mat c);

/* The right side packed once for many products: bf16_packed_bytes of op(b)
 * [K, N], 64 bytes aligned, written by bf16_pack. */
size_t bf16_packed_bytes(int K, int N);
void bf16_pack(int tb, struct mat b, void *packed);
/* bf16_product_packed: c [m, N] = a [m, K] op(b), or +=. */
void bf16_product_packed(enum bf16_unit u, struct mat a, const void *packed,
                         int add, struct mat c);

#endif
