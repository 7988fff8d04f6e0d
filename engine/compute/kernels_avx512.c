/* kernels_avx512: the kernels for AVX-512 F, BW, VL and DQ: sixteen lanes are
 * one zmm register. This file says what the operations of kernels_fma.inc.h
 * are and which tiles fit 32 registers; the kernels themselves stand there.
 *
 * SPDX-License-Identifier: MIT */
#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "engine/compute/kernels_isa.h"

struct v16 {
    __m512 v;
};

static inline struct v16 v_set1(float s)
{
    return (struct v16){_mm512_set1_ps(s)};
}

static inline struct v16 v_load(const float *p)
{
    return (struct v16){_mm512_loadu_ps(p)};
}

/* A value that the compiler must hold in a register: gcc 12 would rather read
 * it from memory again for each use. */
static inline struct v16 v_keep(struct v16 a)
{
    __asm__("" : "+v"(a.v));
    return a;
}

static inline void v_store(float *p, struct v16 a)
{
    _mm512_storeu_ps(p, a.v);
}

/* n < 16 floats; the other lanes are `fill`. */
static inline struct v16 v_load_part(const float *p, int n, float fill)
{
    __mmask16 k = (__mmask16)((1u << n) - 1);

    return (struct v16){_mm512_mask_loadu_ps(_mm512_set1_ps(fill), k, p)};
}

static inline void v_store_part(float *p, struct v16 a, int n)
{
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), a.v);
}

static inline struct v16 v_add(struct v16 a, struct v16 b)
{
    return (struct v16){_mm512_add_ps(a.v, b.v)};
}

static inline struct v16 v_sub(struct v16 a, struct v16 b)
{
    return (struct v16){_mm512_sub_ps(a.v, b.v)};
}

static inline struct v16 v_mul(struct v16 a, struct v16 b)
{
    return (struct v16){_mm512_mul_ps(a.v, b.v)};
}

static inline struct v16 v_div(struct v16 a, struct v16 b)
{
    return (struct v16){_mm512_div_ps(a.v, b.v)};
}

static inline struct v16 v_min(struct v16 a, struct v16 b)
{
    return (struct v16){_mm512_min_ps(a.v, b.v)};
}

static inline struct v16 v_max(struct v16 a, struct v16 b)
{
    return (struct v16){_mm512_max_ps(a.v, b.v)};
}

/* a * b + c, one rounding */
static inline struct v16 v_fma(struct v16 a, struct v16 b, struct v16 c)
{
    return (struct v16){_mm512_fmadd_ps(a.v, b.v, c.v)};
}

/* a * b - c, one rounding */
static inline struct v16 v_fms(struct v16 a, struct v16 b, struct v16 c)
{
    return (struct v16){_mm512_fmsub_ps(a.v, b.v, c.v)};
}

/* 2^n, n + 127 in the low bits of t. */
static inline struct v16 v_power2(struct v16 t)
{
    __m512i i = _mm512_slli_epi32(_mm512_castps_si512(t.v), 23);

    return (struct v16){_mm512_castsi512_ps(i)};
}

/* p * 2^n, but 0 where x < EXP_MIN; t = n + ROUND_MAGIC is for AVX2. */
static inline struct v16 v_exp_scale(struct v16 p, struct v16 t, struct v16 n,
                                     struct v16 x)
{
    __mmask16 k = _mm512_cmp_ps_mask(x.v, _mm512_set1_ps(EXP_MIN), _CMP_NLT_UQ);

    (void)t;
    return (struct v16){_mm512_maskz_scalef_ps(k, p.v, n.v)};
}

/* lane j += lane j + 8, then + 4, + 2, + 1 */
static inline float v_tree_add(struct v16 a)
{
    __m256 b = _mm256_add_ps(_mm512_castps512_ps256(a.v),
                             _mm512_extractf32x8_ps(a.v, 1));
    __m128 c =
        _mm_add_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1));

    c = _mm_add_ps(c, _mm_movehl_ps(c, c));
    return _mm_cvtss_f32(_mm_add_ss(c, _mm_movehdup_ps(c)));
}

static inline float v_tree_max(struct v16 a)
{
    __m256 b = _mm256_max_ps(_mm512_extractf32x8_ps(a.v, 1),
                             _mm512_castps512_ps256(a.v));
    __m128 c =
        _mm_max_ps(_mm256_extractf128_ps(b, 1), _mm256_castps256_ps128(b));

    c = _mm_max_ps(_mm_movehl_ps(c, c), c);
    return _mm_cvtss_f32(_mm_max_ss(_mm_movehdup_ps(c), c));
}

static inline struct v16 v_from_bf16(const uint16_t *p)
{
    __m512i i = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)p));

    return (struct v16){_mm512_castsi512_ps(_mm512_slli_epi32(i, 16))};
}

static inline struct v16 v_from_f16(const uint16_t *p)
{
    return (struct v16){_mm512_cvtph_ps(_mm256_loadu_si256((const void *)p))};
}

/* Shapes of tiles (rows, log2 of panels): rows * panels sums, the weights of
 * one k and one x at most fill 32 registers. A row alone reads four panels at
 * a time: enough sums to hide the latency, few enough streams for the
 * prefetcher (models/SPEED.md). */
#define ROWS_MAX 14
#define PANELS_MAX 8
/* clang-format off */
#define TILES(X)                                                               \
    X(1, 0) X(1, 1) X(1, 2)                                                    \
    X(2, 0) X(2, 1) X(2, 2) X(2, 3)                                            \
    X(3, 0) X(3, 1) X(3, 2) X(3, 3)                                            \
    X(4, 0) X(4, 1) X(4, 2)                                                    \
    X(5, 0) X(5, 1) X(5, 2)                                                    \
    X(6, 0) X(6, 1) X(6, 2)                                                    \
    X(7, 0) X(7, 1) X(8, 0) X(8, 1) X(9, 0) X(9, 1)                            \
    X(10, 0) X(10, 1) X(11, 0) X(11, 1) X(12, 0) X(12, 1)                      \
    X(13, 0) X(13, 1) X(14, 0) X(14, 1)
/* clang-format on */

#include "engine/compute/kernels_fma.inc.h"

const struct kernels kernels_avx512 = {
    .name = "avx512",
    .gemm_rows = isa_gemm_rows,
    .gates4 = isa_gates4,
    .gates3 = isa_gates3,
    .act_tanh = isa_act_tanh,
    .act_relu = isa_act_relu,
    .add_to = isa_add_to,
    .max_to = isa_max_to,
    .scale = isa_scale,
    .divide = isa_divide,
    .row_max = isa_row_max,
    .sum_exp = isa_sum_exp,
    .softmax = isa_softmax,
    .all_finite = isa_all_finite,
    .vexp = isa_vexp,
    .vtanh = isa_vtanh,
    .vsigmoid = isa_vsigmoid,
    .widen_bf16 = isa_widen_bf16,
    .widen_f16 = isa_widen_f16,
};
