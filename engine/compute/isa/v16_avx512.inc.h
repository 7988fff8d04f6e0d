/* v16_avx512.inc.h: struct v16, sixteen lanes of floats, for AVX-512, and its
 * operations. The files of this family include it, and then the texts written
 * over v16 that the families share (*_fma.inc.h).
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_V16_AVX512_H
#define SEQD_V16_AVX512_H

#include <immintrin.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "engine/compute/isa/kernels_isa.h"

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

#endif
