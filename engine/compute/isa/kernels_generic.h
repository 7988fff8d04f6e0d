/* kernels_generic: exp, sigmoid and tanh in portable C for the portable files;
 * kernels_isa.h has the formulas. NaN passes through.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_KERNELS_GENERIC_H
#define SEQD_KERNELS_GENERIC_H

#include <string.h>

#include "engine/compute/kernels_attn.h"

#define LANES 16

static inline float float_of(uint32_t u)
{
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

static inline uint32_t bits_of(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

/* expm1(x - n ln 2) for n = round(x log2 e). */
static inline float reduced_expm1(float x, float n)
{
    float r = x - n * LN2_HI - n * LN2_LO;
    float q = EXP_C6;

    q = q * r + EXP_C5;
    q = q * r + EXP_C4;
    q = q * r + EXP_C3;
    q = q * r + EXP_C2;
    return q * (r * r) + r;
}

static inline float one_exp(float x)
{
    float y = x > EXP_MAX ? EXP_MAX : x;
    float low = y < EXP_MIN ? EXP_MIN : y;
    float t = low * LOG2E + ROUND_MAGIC;
    float p = 1.0f + reduced_expm1(low, t - ROUND_MAGIC);
    /* n up to 128 does not fit one exponent: 2^n = 2^(n/2) 2^(n - n/2). */
    int32_t n = (int32_t)(bits_of(t) - bits_of(ROUND_MAGIC));
    int32_t half = n >> 1;
    float s1 = float_of((uint32_t)(half + 127) << 23);
    float s2 = float_of((uint32_t)(n - half + 127) << 23);

    p = p * s1 * s2;
    return y < EXP_MIN ? 0.0f : p;
}

/* 1 + exp(-x) */
static inline float sigmoid_den(float x)
{
    float y = x < SIGMOID_MIN ? SIGMOID_MIN : x;
    float t, p, s;

    y = y > SIGMOID_MAX ? SIGMOID_MAX : y;
    y = -y;
    t = y * LOG2E + BIAS_MAGIC;
    p = 1.0f + reduced_expm1(y, t - BIAS_MAGIC);
    s = float_of(bits_of(t) << 23);
    return s * p + 1.0f;
}

/* tanh(x) = e / (e + 2); returns e = expm1(2x). */
static inline float tanh_num(float x)
{
    float y = x + x;
    float t, q, s;

    y = y > TANH2_MAX ? TANH2_MAX : y;
    y = y < -TANH2_MAX ? -TANH2_MAX : y;
    t = y * LOG2E + BIAS_MAGIC;
    q = reduced_expm1(y, t - BIAS_MAGIC);
    s = float_of(bits_of(t) << 23);
    return s * q + (s - 1.0f);
}

static inline float one_tanh(float x)
{
    float e = tanh_num(x);

    return e / (e + 2.0f);
}

#endif
