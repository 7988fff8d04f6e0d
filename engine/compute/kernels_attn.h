/* kernels_attn: the kernels of Transformers, one file per family
 * (kernels_attn_*.c), and their part of a family's table.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_KERNELS_ATTN_H
#define SEQD_KERNELS_ATTN_H

#include "engine/compute/isa/kernels_isa.h"

/* Floats of a value in a block. */
#define ATTN_ROW(d) (((size_t)(d) + 15) / 16 * 16)

/* clang-format off */
#define ATTN_DECLARE(family)                                                   \
    void attn_scores_##family(int m, int d, const float *q, size_t ldq,        \
                              const float *const *kb, int n_blocks,            \
                              float scale, float *s, size_t lds);              \
    void attn_mix_##family(int m, int d, const float *p, size_t ldp,           \
                           const int *lo, const int *hi,                       \
                           const float *const *vb, float *y, size_t ldy);      \
    void attn_softmax_##family(int lo, int hi, float cap, float *s);           \
    void rms_norm_##family(int n, const float *x, const float *w, float eps,   \
                           float *y);                                          \
    void layer_norm_##family(int n, const float *x, const float *w,            \
                             const float *b, float eps, float *y);             \
    void rope_##family(int n_rot, int adjacent, const float *cs, float *x);    \
    void gelu_tanh_##family(int n, const float *x, float *y);                  \
    void gelu_erf_##family(int n, const float *x, float *y);                   \
    void silu_mul_##family(int n, const float *g, const float *u, float *y);   \
    void gelu_mul_##family(int n, const float *g, const float *u, float *y)

#define ATTN_ENTRIES(family)                                                   \
    .attn_scores = attn_scores_##family,                                       \
    .attn_mix = attn_mix_##family,                                             \
    .attn_softmax = attn_softmax_##family,                                     \
    .rms_norm = rms_norm_##family,                                             \
    .layer_norm = layer_norm_##family,                                         \
    .rope = rope_##family,                                                     \
    .gelu_tanh = gelu_tanh_##family,                                           \
    .gelu_erf = gelu_erf_##family,                                             \
    .silu_mul = silu_mul_##family,                                             \
    .gelu_mul = gelu_mul_##family
/* clang-format on */

ATTN_DECLARE(generic);
ATTN_DECLARE(avx2);
ATTN_DECLARE(avx512);

#endif
