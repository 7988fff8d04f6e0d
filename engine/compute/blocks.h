/* blocks: the numbers in ggml's quantised blocks. A block is 32 elements (256
 * for the K types) of one row with their scales; each element is a small
 * integer times a scale, plus or minus an offset in some types. Bit for bit
 * what ggml's own decoders give: the same products in the same order.
 * Source: ggml, ggml-common.h (layouts) and ggml-quants.c (dequantize_row_*).
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_BLOCKS_H
#define SEQD_BLOCKS_H

#include <stddef.h>
#include <stdint.h>

#include "engine/compute/tensor.h"

#define BLOCK_MAX 256 /* elements of the largest block */

/* blocks_read: elements first .. first+n-1 of a row of blocks of type d at p
 * (any alignment) as fp32. d is a block type. */
void blocks_read(enum dtype d, const uint8_t *p, size_t first, size_t n,
                 float *dst);

/* blocks_finite: are the scales (and offsets) of n blocks finite numbers. */
int blocks_finite(enum dtype d, const uint8_t *p, size_t n);

#endif
