/* c64_avx512.inc.h: struct c64, one group of codes (64 bytes: 16 columns, 4 k),
 * and struct i16, 16 sums of int32, for AVX-512. The dot product itself
 * (i_dot) is defined by the file that includes this one: with VNNI or without.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_C64_AVX512_H
#define SEQD_C64_AVX512_H

#include "engine/compute/matrix_layout.h"
#include "engine/compute/isa/v16_avx512.inc.h"

struct c64 {
    __m512i v;
};

struct i16 {
    __m512i v;
};

/* Four activations, the same for all columns. */
struct four {
    __m512i v;
};

static inline struct four q_load(const int8_t *p)
{
    int32_t i;

    memcpy(&i, p, sizeof i);
    return (struct four){_mm512_set1_epi32(i)};
}

static inline struct c64 c_load(const uint8_t *p)
{
    return (struct c64){_mm512_loadu_si512(p)};
}

static inline struct c64 c_keep(struct c64 a)
{
    __asm__("" : "+v"(a.v));
    return a;
}

static inline struct c64 c_and(struct c64 a, int byte)
{
    return (struct c64){_mm512_and_si512(a.v, _mm512_set1_epi8((char)byte))};
}

static inline struct c64 c_or(struct c64 a, struct c64 b)
{
    return (struct c64){_mm512_or_si512(a.v, b.v)};
}

/* Pairs of bytes move left by n bits, or right by -n. */
static inline struct c64 c_shift(struct c64 a, const int n)
{
    return (struct c64){n < 0 ? _mm512_srli_epi16(a.v, (unsigned)-n)
                              : _mm512_slli_epi16(a.v, (unsigned)n)};
}

static inline struct c64 c_lookup(const uint8_t table[16], struct c64 a)
{
    __m512i t = _mm512_broadcast_i32x4(_mm_loadu_si128((const void *)table));

    return (struct c64){_mm512_shuffle_epi8(t, a.v)};
}

/* Byte i of each group of four, as bits of an integer in fp32's mantissa:
 * 2^23 + code. */
static inline struct v16 c_byte(struct c64 a, const unsigned i)
{
    __m512i t = i ? _mm512_srli_epi32(a.v, 8 * i) : a.v;

    if (i < 3)
        t = _mm512_and_si512(t, _mm512_set1_epi32(0xff));
    t = _mm512_or_si512(t, _mm512_set1_epi32(0x4b000000));
    return (struct v16){_mm512_castsi512_ps(t)};
}

static inline struct i16 i_zero(void)
{
    return (struct i16){_mm512_setzero_si512()};
}

static inline struct i16 i_set1(int32_t i)
{
    return (struct i16){_mm512_set1_epi32(i)};
}

static inline struct i16 i_add(struct i16 a, struct i16 b)
{
    return (struct i16){_mm512_add_epi32(a.v, b.v)};
}

static inline struct v16 v_from_ints(struct i16 a)
{
    return (struct v16){_mm512_cvtepi32_ps(a.v)};
}

static inline struct v16 v_from_i8(const uint8_t *p)
{
    __m512i i = _mm512_cvtepi8_epi32(_mm_loadu_si128((const void *)p));

    return (struct v16){_mm512_cvtepi32_ps(i)};
}

/* The low or high halves of 16 bytes. */
static inline struct v16 v_from_nibbles(const uint8_t *p, const int high)
{
    __m512i i = _mm512_cvtepu8_epi32(_mm_loadu_si128((const void *)p));

    i = high ? _mm512_srli_epi32(i, 4)
             : _mm512_and_si512(i, _mm512_set1_epi32(15));
    return (struct v16){_mm512_cvtepi32_ps(i)};
}

static inline struct v16 v_neg(struct v16 a)
{
    return (struct v16){_mm512_xor_ps(a.v, _mm512_set1_ps(-0.0f))};
}

/* Pairs of bf16: the first and the second of each. */
static inline struct v16 c_low_bf16(struct c64 a)
{
    return (struct v16){_mm512_castsi512_ps(_mm512_slli_epi32(a.v, 16))};
}

static inline struct v16 c_high_bf16(struct c64 a)
{
    return (struct v16){_mm512_castsi512_ps(
        _mm512_and_si512(a.v, _mm512_set1_epi32((int)0xffff0000)))};
}

/* The larger of a, magnitudes, and those of b: as integers, NaN comes last. */
static inline struct v16 v_larger(struct v16 a, struct v16 b)
{
    __m512i mask = _mm512_set1_epi32(0x7fffffff);

    return (struct v16){_mm512_castsi512_ps(
        _mm512_max_epi32(_mm512_castps_si512(a.v),
                         _mm512_and_si512(_mm512_castps_si512(b.v), mask)))};
}

/* The largest magnitude; as integers, infinity and then NaN come last. */
static inline float v_largest(struct v16 a, struct v16 b)
{
    __m512i mask = _mm512_set1_epi32(0x7fffffff);
    __m512i m =
        _mm512_max_epi32(_mm512_and_si512(_mm512_castps_si512(a.v), mask),
                         _mm512_and_si512(_mm512_castps_si512(b.v), mask));
    int i = _mm512_reduce_max_epi32(m);
    float f;

    memcpy(&f, &i, sizeof f);
    return f;
}

/* Round to int8, store, and widen again. */
static inline struct i16 v_put_codes(int8_t *p, struct v16 a)
{
    __m512i i = _mm512_cvtps_epi32(a.v);

    _mm_storeu_si128((void *)p, _mm512_cvtepi32_epi8(i));
    return (struct i16){i};
}

static inline int32_t i_total(struct i16 a)
{
    return _mm512_reduce_add_epi32(a.v);
}

#endif
