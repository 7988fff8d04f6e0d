/* v16_avx2.inc.h: struct v16, sixteen lanes of floats, for AVX2, and its
 * operations. The files of this family include it, and then the texts written
 * over v16 that the families share (*_fma.inc.h).
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_V16_AVX2_H
#define SEQD_V16_AVX2_H

#include <immintrin.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "engine/compute/isa/kernels_isa.h"

struct v16 {
    __m256 lo, hi;
};

static inline struct v16 v_set1(float s)
{
    return (struct v16){_mm256_set1_ps(s), _mm256_set1_ps(s)};
}

static inline struct v16 v_load(const float *p)
{
    return (struct v16){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}

/* A value that the compiler must hold in a register: gcc 12 would rather read
 * it from memory again for each use. */
static inline struct v16 v_keep(struct v16 a)
{
    __asm__("" : "+x"(a.lo), "+x"(a.hi));
    return a;
}

static inline void v_store(float *p, struct v16 a)
{
    _mm256_storeu_ps(p, a.lo);
    _mm256_storeu_ps(p + 8, a.hi);
}

/* Lanes below n, of eight. */
static inline __m256i first_lanes(int n)
{
    __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);

    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), lane);
}

/* n < 16 floats; the other lanes are `fill`. */
static inline struct v16 v_load_part(const float *p, int n, float fill)
{
    __m256i klo = first_lanes(n), khi = first_lanes(n - 8);
    __m256 f = _mm256_set1_ps(fill);

    return (struct v16){_mm256_blendv_ps(f, _mm256_maskload_ps(p, klo),
                                         _mm256_castsi256_ps(klo)),
                        _mm256_blendv_ps(f, _mm256_maskload_ps(p + 8, khi),
                                         _mm256_castsi256_ps(khi))};
}

static inline void v_store_part(float *p, struct v16 a, int n)
{
    _mm256_maskstore_ps(p, first_lanes(n), a.lo);
    _mm256_maskstore_ps(p + 8, first_lanes(n - 8), a.hi);
}

static inline struct v16 v_add(struct v16 a, struct v16 b)
{
    return (struct v16){_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)};
}

static inline struct v16 v_sub(struct v16 a, struct v16 b)
{
    return (struct v16){_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)};
}

static inline struct v16 v_mul(struct v16 a, struct v16 b)
{
    return (struct v16){_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)};
}

static inline struct v16 v_div(struct v16 a, struct v16 b)
{
    return (struct v16){_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)};
}

static inline struct v16 v_min(struct v16 a, struct v16 b)
{
    return (struct v16){_mm256_min_ps(a.lo, b.lo), _mm256_min_ps(a.hi, b.hi)};
}

static inline struct v16 v_max(struct v16 a, struct v16 b)
{
    return (struct v16){_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)};
}

/* a * b + c, one rounding */
static inline struct v16 v_fma(struct v16 a, struct v16 b, struct v16 c)
{
    return (struct v16){_mm256_fmadd_ps(a.lo, b.lo, c.lo),
                        _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
}

/* a * b - c, one rounding */
static inline struct v16 v_fms(struct v16 a, struct v16 b, struct v16 c)
{
    return (struct v16){_mm256_fmsub_ps(a.lo, b.lo, c.lo),
                        _mm256_fmsub_ps(a.hi, b.hi, c.hi)};
}

static inline __m256 power2(__m256 t)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(t), 23));
}

/* 2^n, n + 127 in the low bits of t. */
static inline struct v16 v_power2(struct v16 t)
{
    return (struct v16){power2(t.lo), power2(t.hi)};
}

/* p * 2^n for n up to 128 as p * 2^(n/2) * 2^(n - n/2): the first product is
 * exact, so this rounds once, like AVX-512's scalef. 0 where x < EXP_MIN. */
static inline __m256 exp_scale(__m256 p, __m256 t, __m256 x)
{
    __m256i n =
        _mm256_sub_epi32(_mm256_castps_si256(t),
                         _mm256_castps_si256(_mm256_set1_ps(ROUND_MAGIC)));
    __m256i half = _mm256_srai_epi32(n, 1), bias = _mm256_set1_epi32(127);
    __m256i s1 = _mm256_slli_epi32(_mm256_add_epi32(half, bias), 23);
    __m256i s2 = _mm256_slli_epi32(
        _mm256_add_epi32(_mm256_sub_epi32(n, half), bias), 23);
    __m256 keep = _mm256_cmp_ps(x, _mm256_set1_ps(EXP_MIN), _CMP_NLT_UQ);

    p = _mm256_mul_ps(p, _mm256_castsi256_ps(s1));
    p = _mm256_mul_ps(p, _mm256_castsi256_ps(s2));
    return _mm256_and_ps(p, keep);
}

static inline struct v16 v_exp_scale(struct v16 p, struct v16 t, struct v16 n,
                                     struct v16 x)
{
    (void)n;
    return (struct v16){exp_scale(p.lo, t.lo, x.lo),
                        exp_scale(p.hi, t.hi, x.hi)};
}

/* lane j += lane j + 8, then + 4, + 2, + 1 */
static inline float v_tree_add(struct v16 a)
{
    __m256 b = _mm256_add_ps(a.lo, a.hi);
    __m128 c =
        _mm_add_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1));

    c = _mm_add_ps(c, _mm_movehl_ps(c, c));
    return _mm_cvtss_f32(_mm_add_ss(c, _mm_movehdup_ps(c)));
}

static inline float v_tree_max(struct v16 a)
{
    __m256 b = _mm256_max_ps(a.hi, a.lo);
    __m128 c =
        _mm_max_ps(_mm256_extractf128_ps(b, 1), _mm256_castps256_ps128(b));

    c = _mm_max_ps(_mm_movehl_ps(c, c), c);
    return _mm_cvtss_f32(_mm_max_ss(_mm_movehdup_ps(c), c));
}

static inline __m256 bf16_8(const uint16_t *p)
{
    __m256i i = _mm256_cvtepu16_epi32(_mm_loadu_si128((const void *)p));

    return _mm256_castsi256_ps(_mm256_slli_epi32(i, 16));
}

static inline struct v16 v_from_bf16(const uint16_t *p)
{
    return (struct v16){bf16_8(p), bf16_8(p + 8)};
}

static inline struct v16 v_from_f16(const uint16_t *p)
{
    return (struct v16){
        _mm256_cvtph_ps(_mm_loadu_si128((const void *)p)),
        _mm256_cvtph_ps(_mm_loadu_si128((const void *)(p + 8)))};
}

#endif
