/* matrix: the weights W [N, K] of a linear layer as the kernels read them:
 * panels of 16 outputs (columns of the product), K ascending, in the numbers
 * of the checkpoint: fp32, bf16, f16, int8 or ggml's blocks, re-packed once at
 * load and about as large as the file has them. Two ways to multiply:
 *
 *   exact  weights are widened (dequantised as tensor_read does, bit for bit)
 *          to a small tile, activations are fp32: the same bits as gemm_rows
 *          over widened weights
 *   fast   block types only: activations are quantised per row and block of 32
 *          to int8 (scale xs = max|x| / 127, codes x * (127 / max|x|) rounded
 *          to nearest even), products are exact in int32, and each block adds
 *          one fp32 term, ascending: u * xs, where u = s * (code - off) . xq,
 *          plus o * sum(xq) for types with an offset (two halves when the
 *          type has scales per 16: s0, then s1, then o0, then o1); every sum
 *          after the first product is one FMA (portable C: rounds twice).
 *          I8, which has one scale per output, also takes activations with
 *          one per row: then the block is the whole row, and all of its
 *          products are one sum in int32 and one term
 *
 * Both keep the promise of kernels.h: the bits depend on no m, position,
 * split, and here on no kernel family with FMA either.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_MATRIX_H
#define SEQD_MATRIX_H

#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "engine/compute/tensor.h"

struct kernels;

#define QBLOCK 32 /* activations that share a scale */

struct matrix {
    enum dtype type; /* of the packed numbers: F32, BF16, F16, I8 or blocks */
    int N, K;
    size_t bytes;
    size_t panel; /* bytes of a panel: 16 columns, all of K */
    int whole;    /* matrix_takes_whole */
    void *data;   /* 64-byte aligned panels: matrix_layout.h */
};

/* Quantised activations, block by block: b[block * m + row]. Codes beyond K
 * are zero. A block whose largest magnitude is under QBLOCK_TINY counts as
 * zero. */
#define QBLOCK_TINY 0x1p-100f
struct qblock {
    int8_t q[QBLOCK];
    float scale, sum, half[2]; /* sums of q: all, and the halves; whole */
    int32_t below;             /* -128 sum */
};
/* A row with one scale: its codes are q[row * QBLOCK * blocks] and on. */
struct qwhole {
    float scale;
    int32_t below; /* -128 times the sum of the codes */
};
struct qrows {
    int m, K, blocks;
    struct qblock *b; /* or NULL: a scale per row */
    int8_t *q;
    struct qwhole *whole;
};
size_t qrows_bytes(int m, int K); /* multiple of 64 */
/* qrows_bind: a scale per block; qrows_bind_whole: per row, for I8 weights
 * alone. */
void qrows_bind(struct qrows *q, void *mem, int m, int K);
void qrows_bind_whole(struct qrows *q, void *mem, int m, int K);
/* qrows_from: the rows from r0 on, so that row r0 is row 0. */
struct qrows qrows_from(const struct qrows *q, int r0);

/* matrix_pack: rows row0 .. row0+N-1 of a 2-dimensional tensor [rows, K];
 * `transposed`: the tensor is [K, rows] (no blocks). F64 becomes fp32, and so
 * does I8 where its scales are those of the inputs, K is no multiple of 32, or
 * over 2^17. ERR_NOMEM, ERR_UNSUPPORTED, ERR_FORMAT (tensor_fault of these
 * rows: looked at on the way). The caller has checked the shape. */
struct matrix_rows_of {
    const struct tensor *t;
    int64_t row0;
    int N, K;
    int transposed;
};
int matrix_pack(const struct matrix_rows_of *from, struct matrix *out,
                struct err *e);
/* matrix_pack_all: several tensors of one K and type below each other (query,
 * key and value in one product); ERR_UNSUPPORTED when their types differ and
 * are not all plain. Each part begins at a multiple of 16 columns: at[i] gets
 * the first column of part i. */
int matrix_pack_all(const struct matrix_rows_of *from, int n_from, int *at,
                    struct matrix *out, struct err *e);
void matrix_fini(struct matrix *w);
/* matrix_of: what pack_new or pack_tensor made, which is then the matrix's. */
struct packed;
struct matrix matrix_of(const struct packed *p);

/* matrix_quantised: 1 when the fast way exists for its type.
 * matrix_takes_whole: 1 when activations may have one scale per row: I8 with
 * one scale for all. With one per output it could be multiplied so, too, but
 * would lose more (models/SPEED.md). */
int matrix_quantised(const struct matrix *w);
int matrix_takes_whole(const struct matrix *w);

/* matrix_rows: y[r][n] = init[r][n] + sum_k x[r][k] W[n][k], r < m, n0 <= n <
 * n1 (multiples of 16, n1 may be N); init as in kernels.h. The exact way. y
 * has room for N rounded up to 16 columns. */
void matrix_rows(const struct kernels *k, const struct matrix *w, int n0,
                 int n1, int m, const float *x, size_t ldx,
                 const float *const *init, float *y, size_t ldy);
/* matrix_rows_bf16: BF16 weights only, and only where matrix_has_bf16 says 1
 * (elsewhere it is matrix_rows): activations are rounded to bf16, and the sums
 * are the CPU's own (not those of any other family). */
int matrix_has_bf16(const struct kernels *k, const struct matrix *w);
void matrix_rows_bf16(const struct kernels *k, const struct matrix *w, int n0,
                      int n1, int m, const float *x, size_t ldx,
                      const float *const *init, float *y, size_t ldy);
/* matrix_rows_q: the fast way, for rows r0 .. r0+m-1 of x: row r of x gives
 * row r of y and starts from init[r]. */
void matrix_rows_q(const struct kernels *k, const struct matrix *w, int n0,
                   int n1, int r0, int m, const struct qrows *x,
                   const float *const *init, float *y, size_t ldy);
/* matrix_quantise: fill rows r0 .. r1-1 of q from x (row r of x is row r of
 * q). A row with a NaN or infinity gives NaN scales, so that its outputs are
 * NaN and are found. */
void matrix_quantise(const struct kernels *k, const float *x, size_t ldx,
                     int r0, int r1, struct qrows *q);

#endif
