/* tensor: a view of a tensor of a checkpoint, its types, and its numbers as
 * fp32. Whoever opened the file owns the bytes.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_TENSOR_H
#define SEQD_TENSOR_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define TENSOR_MAX_DIMS 8

/* Plain types first, then I8, numbers of 8 bits with scales (one for all, or
 * one a row or a column of a matrix), then the block-quantised ones of ggml: a
 * block is 32 elements of one row (256 for the K types) with its scales. */
enum dtype {
    DT_F32,
    DT_F16,
    DT_BF16,
    DT_F64,
    DT_I64,
    DT_I32,
    DT_U8,
    DT_I8,
    DT_Q8_0,
    DT_Q4_0,
    DT_Q4_1,
    DT_Q5_0,
    DT_Q5_1,
    DT_Q2_K,
    DT_Q3_K,
    DT_Q4_K,
    DT_Q5_K,
    DT_Q6_K,
    DT_IQ4_NL,
    N_DTYPES
};

struct tensor {
    const char *name;
    enum dtype dtype;
    int n_dims;
    int64_t dim[TENSOR_MAX_DIMS]; /* PyTorch's order: rows first (GGUF's ne
                                     reversed); blocks lie along the last */
    const void *data; /* in the mapping; alignment of the file, maybe odd */
    size_t bytes;
    /* Of I8: a number is its byte times a scale. `scales`: fp32 in the file,
     * of any alignment, one a row of a matrix or, by_column, one a column; its
     * bytes are then in -127..127. NULL: `scale` for all. */
    float scale;
    const void *scales;
    int by_column;
};

/* tensor_scale: of I8: that of row or column i. */
static inline float tensor_scale(const struct tensor *t, size_t i)
{
    float s = t->scale;

    if (t->scales)
        memcpy(&s, (const uint8_t *)t->scales + i * sizeof s, sizeof s);
    return s;
}

/* tensor_scale_fits: 1 when no number of that row or column is too large. */
int tensor_scale_fits(const struct tensor *t, size_t i);

/* tensor_read: widen elements first .. first+n-1 to fp32 (exact from F32, F16
 * and BF16; F64 is rounded; I8: one product, rounded; block types as ggml
 * dequantises them, bit for bit, from any element of a block). Unaligned data
 * is fine. */
void tensor_read(const struct tensor *t, size_t first, size_t n, float *dst);

/* tensor_fault: what is wrong with its numbers, as the end of a message, or
 * NULL: a number of a floating type, or a scale, is a NaN, an infinity, or
 * larger than fp32 can hold (F64); a byte of I8 with scales is -128. Whole
 * numbers have no fault. Reads all bytes once, as fast as memory gives them. */
const char *tensor_fault(const struct tensor *t);
#define TENSOR_NOT_FINITE "holds a number that is not finite"
#define TENSOR_BELOW "holds -128, expected -127..127"

/* tensor_same: 1 when both are of one type and shape and hold the same bytes,
 * scales too. */
int tensor_same(const struct tensor *a, const struct tensor *b);

const char *dtype_name(enum dtype d); /* "F32", "BF16" ... */
size_t dtype_bytes(enum dtype d);     /* of an element; 0 for block types */
int dtype_block(enum dtype d); /* elements of a block; 1 for plain types */
size_t dtype_block_bytes(enum dtype d);
int dtype_quantised(enum dtype d);

#endif
