/* kernels: the inner loops, one file per instruction set, chosen at run time
 * and handed down as a const table. Named by shape, not by architecture.
 *
 * The promise (architecture.md, decision 7): the bits of a result do not
 * depend on the number of rows m, on a row's position, on the split over
 * threads (n0, n1, row ranges) or on the choice between AVX2+FMA and AVX-512;
 * portable C agrees with itself. How: one accumulator per output element,
 * inner dimension ascending, one FMA per term (portable: multiply, then add);
 * columns are the vector axis; reductions over a row use 16 virtual lanes
 * (element i goes to lane i % 16, ascending) and one fixed tree (8+, 4+, 2+,
 * 1+: lane j += lane j+8, ...); exp, tanh and sigmoid are our own polynomials
 * with true division and 2^n by integer shift; tails are padded, never done
 * by another formula. All functions are thread-safe and cannot fail. Rows are
 * fp32; ld* are row strides in floats. No function reads or writes beyond
 * [m, N] except inside 64-byte aligned packed blocks.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_KERNELS_H
#define SEQD_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"

struct matrix;
struct qrows;
struct tensor;

#define ATTN_KEYS 16 /* keys of a block */
#define PACK_COLS 16 /* columns of a panel: one AVX-512 register of floats */

/* Weights W [N, K] (row n holds the weights of output n, as in PyTorch),
 * stored as panels of 16 outputs: data[N/16][K][16], zero-padded. */
struct packed {
    int N, K;
    size_t bytes;
    float *data; /* 64-byte aligned */
};

/* pack_new: from row-major fp32 W with row stride ldw. ERR_NOMEM. The packed
 * form is the same for every kernel family. perm may be NULL; else output
 * column n of the packed form is row perm[n] of W. */
int pack_new(const float *W, size_t ldw, int N, int K, const int *perm,
             struct packed *out, struct err *e);
/* pack_tensor: the same from a tensor of a checkpoint, whose rows are widened
 * one at a time: there is no copy of it in fp32. ERR_NOMEM. */
struct pack_rows {
    const struct tensor *t; /* its rows are n_parts * part numbers */
    int N;
    const int *row; /* [N] of output n, -1: zeros; NULL: row n */
    /* The inputs are pieces of part numbers, with zeros behind each up to
     * part_stride. part == part_stride: no gaps. */
    int n_parts, part, part_stride;
};
int pack_tensor(const struct pack_rows *from, struct packed *out,
                struct err *e);
void pack_fini(struct packed *p);

struct kernels {
    const char *name; /* "generic", "avx2", "avx512" */

    /* y[r][n] = init[r][n] + sum_k x[r][k] W[n][k], r < m, n0 <= n < n1.
     * n0 and n1 are multiples of 16 (n1 may be N). init is an array of m row
     * pointers, each to N floats (or NULL as a whole: start from 0); it may
     * point into y (accumulate). init[r] may be a row of a folded table. */
    void (*gemm_rows)(const struct packed *W, int n0, int n1, int m,
                      const float *x, size_t ldx, const float *const *init,
                      float *y, size_t ldy);

    /* Four gates (order i, f, g, o as in PyTorch), a [m][4H] pre-activations:
     * c <- s(f) c + s(i) tanh(g); h <- s(o) tanh(c), for units j0 <= j < j1.
     * Hochreiter and Schmidhuber 1997; Gers et al. 2000. */
    void (*gates4)(int m, int H, int j0, int j1, const float *a, size_t lda,
                   float *c, size_t ldc, float *h, size_t ldh);

    /* Three gates (order r, z, n), a [m][3H] the input part, b [m][3H] the
     * recurrent part: r = s(a_r + b_r), z = s(a_z + b_z), n = tanh(a_n + r
     * b_n), h <- (1 - z) n + z h. Cho et al. 2014, reset after the product. */
    void (*gates3)(int m, int H, int j0, int j1, const float *a, size_t lda,
                   const float *b, size_t ldb, float *h, size_t ldh);

    /* h <- tanh(a) or max(a, 0), columns j0 <= j < j1. */
    void (*act_tanh)(int m, int j0, int j1, const float *a, size_t lda,
                     float *h, size_t ldh);
    void (*act_relu)(int m, int j0, int j1, const float *a, size_t lda,
                     float *h, size_t ldh);

    /* Row helpers, n floats. */
    void (*add_to)(int n, const float *x, float *y); /* y += x */
    void (*max_to)(int n, const float *x, float *y); /* y = x > y ? x : y */
    void (*scale)(int n, float s, float *x);         /* x *= s */
    void (*divide)(int n, float s, float *x);        /* x /= s */
    float (*row_max)(int n, const float *x);         /* -inf when n is 0 */
    /* sum_i exp(x_i - max), 16 lanes, fixed tree. */
    float (*sum_exp)(int n, const float *x, float max);
    /* y_i = exp(x_i - max) / sum. y may be x. */
    void (*softmax)(int n, const float *x, float max, float sum, float *y);
    int (*all_finite)(int n, const float *x); /* 1 when no NaN or infinity */

    /* Elementwise, for tests and heads: y may be x. */
    void (*vexp)(int n, const float *x, float *y);
    void (*vtanh)(int n, const float *x, float *y);
    void (*vsigmoid)(int n, const float *x, float *y);

    /* Products over struct matrix, behind matrix.h. matrix_widen: rows k0 to
     * k1 of panel p of w, not F32, as fp32: to [k1 - k0][16], 64-byte aligned;
     * k0 is a multiple of 32, and so is k1 unless it is K. */
    void (*matrix_widen)(const struct matrix *w, int p, int k0, int k1,
                         float *to);
    /* One row of the exact product, w not F32; init NULL: from 0. NULL where
     * there is nothing better than matrix_widen and gemm_rows. */
    void (*matrix_row)(const struct matrix *w, int n0, int n1, const float *x,
                       const float *init, float *y);
    void (*matrix_rows_q)(const struct matrix *w, int n0, int n1, int r0, int m,
                          const struct qrows *x, const float *const *init,
                          float *y, size_t ldy);
    void (*quantise_rows)(const float *x, size_t ldx, int r0, int r1,
                          struct qrows *q);
    /* NULL where the CPU has no products of bf16. */
    void (*matrix_rows_bf16)(const struct matrix *w, int n0, int n1, int m,
                             const float *x, size_t ldx,
                             const float *const *init, float *y, size_t ldy);

    /* Attention of one head over keys in blocks of ATTN_KEYS consecutive
     * absolute positions. kb[b] is a block of keys, [dp][16] (d-major, dp: d
     * rounded up to 16, zero-padded); vb[b] a block of values, [16][dp].
     * attn_scores: s[r][16 b + i] = scale * sum_d q[r][d] kb[b][d][i], for m
     * query rows and n_blocks blocks (slots without a key get numbers that
     * nobody may use). */
    void (*attn_scores)(int m, int d, const float *q, size_t ldq,
                        const float *const *kb, int n_blocks, float scale,
                        float *s, size_t lds);
    /* attn_mix: y[r][0..dp) = sum over keys lo[r] <= i < hi[r], ascending, of
     * p[r][i] vb[i / 16][i % 16][..]; other slots are skipped, not multiplied
     * by zero. */
    void (*attn_mix)(int m, int d, const float *p, size_t ldp, const int *lo,
                     const int *hi, const float *const *vb, float *y,
                     size_t ldy);
    /* attn_softmax: s[lo..hi) of one row becomes its softmax: 16 virtual lanes
     * by position (i % 16). cap > 0: scores are cap * tanh(s / cap) first.
     * The other slots of the blocks that hold lo and hi - 1 may change. */
    void (*attn_softmax)(int lo, int hi, float cap, float *s);

    /* y = x / sqrt(mean(x^2) + eps) * w (Zhang and Sennrich 2019). y may be x.
     */
    void (*rms_norm)(int n, const float *x, const float *w, float eps,
                     float *y);
    /* y = (x - mean) / sqrt(var + eps) * w + b (Ba et al. 2016); b may be NULL.
     */
    void (*layer_norm)(int n, const float *x, const float *w, const float *b,
                       float eps, float *y);
    /* Rotary positions (Su et al. 2021) on one head x [d]: pairs (i, i + d/2)
     * or, `adjacent`, (2i, 2i+1); cs [n_rot]: the cosines, then the sines of
     * the n_rot / 2 pairs. n_rot of d dimensions are turned. */
    void (*rope)(int n_rot, int adjacent, const float *cs, float *x);
    void (*gelu_tanh)(int n, const float *x, float *y); /* 0.5x(1+tanh(..)) */
    void (*gelu_erf)(int n, const float *x, float *y);  /* x Phi(x), exact */
    void (*silu_mul)(int n, const float *g, const float *u,
                     float *y); /* silu(g) u */
    void (*gelu_mul)(int n, const float *g, const float *u,
                     float *y); /* gelu_tanh(g) u */

    /* Widening: exact. */
    void (*widen_bf16)(size_t n, const uint16_t *x, float *y);
    void (*widen_f16)(size_t n, const uint16_t *x, float *y);
};

/* kernels_pick: the best family that this CPU has, or the named one ("auto",
 * "generic", "avx2", "avx512"). ERR_UNSUPPORTED when the CPU lacks it. */
int kernels_pick(const char *name, const struct kernels **out, struct err *e);
/* kernels_available: i-th family that runs here (0 is generic), or NULL. Two
 * may have one name: kernels_pick takes the later, which is the faster. */
const struct kernels *kernels_available(int i);

/* kernels_enter_thread: every compute thread calls this once: sets rounding
 * to nearest and denormals as they are (not flushed), so that all threads give
 * the same bits. */
void kernels_enter_thread(void);

#endif
