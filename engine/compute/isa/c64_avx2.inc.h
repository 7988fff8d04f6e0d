/* c64_avx2.inc.h: struct c64, one group of codes (64 bytes: 16 columns, 4 k),
 * and struct i16, 16 sums of int32, for AVX2: two registers each.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_C64_AVX2_H
#define SEQD_C64_AVX2_H

#include "engine/compute/matrix_layout.h"
#include "engine/compute/isa/v16_avx2.inc.h"

struct c64 {
    __m256i lo, hi;
};

struct i16 {
    __m256i lo, hi;
};

/* Four activations, the same for all columns. */
struct four {
    __m256i v;
};

static inline struct four q_load(const int8_t *p)
{
    int32_t i;

    memcpy(&i, p, sizeof i);
    return (struct four){_mm256_set1_epi32(i)};
}

static inline struct c64 c_load(const uint8_t *p)
{
    return (struct c64){_mm256_loadu_si256((const void *)p),
                        _mm256_loadu_si256((const void *)(p + 32))};
}

static inline struct c64 c_keep(struct c64 a)
{
    return a; /* sixteen registers do not hold the codes of a block */
}

static inline struct c64 c_and(struct c64 a, int byte)
{
    __m256i m = _mm256_set1_epi8((char)byte);

    return (struct c64){_mm256_and_si256(a.lo, m), _mm256_and_si256(a.hi, m)};
}

static inline struct c64 c_or(struct c64 a, struct c64 b)
{
    return (struct c64){_mm256_or_si256(a.lo, b.lo),
                        _mm256_or_si256(a.hi, b.hi)};
}

/* Pairs of bytes move left by n bits, or right by -n. */
static inline struct c64 c_shift(struct c64 a, const int n)
{
    if (n < 0)
        return (struct c64){_mm256_srli_epi16(a.lo, -n),
                            _mm256_srli_epi16(a.hi, -n)};
    return (struct c64){_mm256_slli_epi16(a.lo, n), _mm256_slli_epi16(a.hi, n)};
}

static inline struct c64 c_lookup(const uint8_t table[16], struct c64 a)
{
    __m256i t =
        _mm256_broadcastsi128_si256(_mm_loadu_si128((const void *)table));

    return (struct c64){_mm256_shuffle_epi8(t, a.lo),
                        _mm256_shuffle_epi8(t, a.hi)};
}

static inline __m256 byte_of_4(__m256i a, const int i)
{
    __m256i t = _mm256_srli_epi32(a, 8 * i);

    t = _mm256_and_si256(t, _mm256_set1_epi32(0xff));
    t = _mm256_or_si256(t, _mm256_set1_epi32(0x4b000000));
    return _mm256_castsi256_ps(t);
}

/* Byte i of each group of four, as bits of an integer in fp32's mantissa:
 * 2^23 + code. */
static inline struct v16 c_byte(struct c64 a, const unsigned i)
{
    return (struct v16){byte_of_4(a.lo, (int)i), byte_of_4(a.hi, (int)i)};
}

static inline struct i16 i_zero(void)
{
    return (struct i16){_mm256_setzero_si256(), _mm256_setzero_si256()};
}

static inline struct i16 i_set1(int32_t i)
{
    return (struct i16){_mm256_set1_epi32(i), _mm256_set1_epi32(i)};
}

static inline struct i16 i_add(struct i16 a, struct i16 b)
{
    return (struct i16){_mm256_add_epi32(a.lo, b.lo),
                        _mm256_add_epi32(a.hi, b.hi)};
}

static inline struct v16 v_from_ints(struct i16 a)
{
    return (struct v16){_mm256_cvtepi32_ps(a.lo), _mm256_cvtepi32_ps(a.hi)};
}

static inline struct v16 v_from_i8(const uint8_t *p)
{
    __m128i i = _mm_loadu_si128((const void *)p);

    return v_from_ints((struct i16){
        _mm256_cvtepi8_epi32(i), _mm256_cvtepi8_epi32(_mm_srli_si128(i, 8))});
}

/* The low or high halves of 16 bytes. */
static inline struct v16 v_from_nibbles(const uint8_t *p, const int high)
{
    __m128i i = _mm_loadu_si128((const void *)p);

    if (high)
        i = _mm_srli_epi16(i, 4);
    i = _mm_and_si128(i, _mm_set1_epi8(15));
    return v_from_ints((struct i16){
        _mm256_cvtepu8_epi32(i), _mm256_cvtepu8_epi32(_mm_srli_si128(i, 8))});
}

static inline struct v16 v_neg(struct v16 a)
{
    __m256 m = _mm256_set1_ps(-0.0f);

    return (struct v16){_mm256_xor_ps(a.lo, m), _mm256_xor_ps(a.hi, m)};
}

/* Pairs of bf16: the first and the second of each. */
static inline struct v16 c_low_bf16(struct c64 a)
{
    return (struct v16){_mm256_castsi256_ps(_mm256_slli_epi32(a.lo, 16)),
                        _mm256_castsi256_ps(_mm256_slli_epi32(a.hi, 16))};
}

static inline struct v16 c_high_bf16(struct c64 a)
{
    __m256i m = _mm256_set1_epi32((int)0xffff0000);

    return (struct v16){_mm256_castsi256_ps(_mm256_and_si256(a.lo, m)),
                        _mm256_castsi256_ps(_mm256_and_si256(a.hi, m))};
}

static inline __m256i magnitude_bits(__m256 a)
{
    return _mm256_and_si256(_mm256_castps_si256(a),
                            _mm256_set1_epi32(0x7fffffff));
}

/* The larger of a, magnitudes, and those of b: as integers, NaN comes last. */
static inline struct v16 v_larger(struct v16 a, struct v16 b)
{
    return (struct v16){_mm256_castsi256_ps(_mm256_max_epi32(
                            _mm256_castps_si256(a.lo), magnitude_bits(b.lo))),
                        _mm256_castsi256_ps(_mm256_max_epi32(
                            _mm256_castps_si256(a.hi), magnitude_bits(b.hi)))};
}

/* The largest magnitude; as integers, infinity and then NaN come last. */
static inline float v_largest(struct v16 a, struct v16 b)
{
    __m256i m = _mm256_max_epi32(
        _mm256_max_epi32(magnitude_bits(a.lo), magnitude_bits(a.hi)),
        _mm256_max_epi32(magnitude_bits(b.lo), magnitude_bits(b.hi)));
    __m128i t = _mm_max_epi32(_mm256_castsi256_si128(m),
                              _mm256_extracti128_si256(m, 1));
    int i;
    float f;

    t = _mm_max_epi32(t, _mm_shuffle_epi32(t, 0x4e));
    t = _mm_max_epi32(t, _mm_shuffle_epi32(t, 0xb1));
    i = _mm_cvtsi128_si32(t);
    memcpy(&f, &i, sizeof f);
    return f;
}

/* Round to int8, store, and widen again. */
static inline struct i16 v_put_codes(int8_t *p, struct v16 a)
{
    __m256i lo = _mm256_cvtps_epi32(a.lo), hi = _mm256_cvtps_epi32(a.hi);
    __m256i w = _mm256_permute4x64_epi64(_mm256_packs_epi32(lo, hi), 0xd8);

    _mm_storeu_si128((void *)p,
                     _mm_packs_epi16(_mm256_castsi256_si128(w),
                                     _mm256_extracti128_si256(w, 1)));
    return (struct i16){lo, hi};
}

static inline int32_t i_total(struct i16 a)
{
    __m256i sum = _mm256_add_epi32(a.lo, a.hi);
    __m128i t = _mm_add_epi32(_mm256_castsi256_si128(sum),
                              _mm256_extracti128_si256(sum, 1));

    t = _mm_add_epi32(t, _mm_shuffle_epi32(t, 0x4e));
    t = _mm_add_epi32(t, _mm_shuffle_epi32(t, 0xb1));
    return _mm_cvtsi128_si32(t);
}

#endif
