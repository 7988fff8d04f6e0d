/* dtype: see dtype.h. Sources: IEEE 754-2019, binary16; bfloat16 is the upper
 * half of binary32.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/compute/dtype.h"

#include <float.h>
#include <math.h>
#include <string.h>

static uint32_t bits_of(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof(u));
    return u;
}

static float float_of(uint32_t u)
{
    float f;
    memcpy(&f, &u, sizeof(f));
    return f;
}

float dtype_from_f16(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16;
    uint32_t x = (uint32_t)(h & 0x7fffu) << 13;
    if (x >= 0x7c00u << 13) /* infinity, NaN */
        return float_of(sign | (x + ((255u - 31u) << 23)));
    if (x >= 0x0400u << 13)
        return float_of(sign | (x + ((127u - 15u) << 23)));
    /* Subnormal: put the digits behind the one of 2^-14 and take it away. */
    uint32_t one = 113u << 23; /* 2^-14 */
    return float_of(sign | bits_of(float_of(one | x) - float_of(one)));
}

uint16_t dtype_to_bf16(float f)
{
    uint32_t u = bits_of(f);
    if ((u & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)(u >> 16 | 0x40u); /* a quiet NaN */
    return (uint16_t)((u + 0x7fffu + (u >> 16 & 1)) >> 16);
}

uint16_t dtype_to_f16(float f)
{
    uint32_t u = bits_of(f);
    uint32_t sign = u >> 16 & 0x8000u;
    uint32_t x = u & 0x7fffffffu;
    uint32_t h;
    if (x > 0x7f800000u) {
        h = 0x7e00u | (x >> 13 & 0x1ffu); /* a quiet NaN */
    } else if (x >= (127u + 16u) << 23) {
        h = 0x7c00u;
    } else if (x < 113u << 23) {
        /* Subnormal: 0.5 has its last bit at 2^-24; the addition rounds. */
        h = bits_of(float_of(x) + 0.5f) - bits_of(0.5f);
    } else {
        uint32_t odd = x >> 13 & 1;
        h = (x - ((127u - 15u) << 23) + 0xfffu + odd) >> 13;
    }
    return (uint16_t)(sign | h);
}

float dtype_i8_scale(float most)
{
    float scale = most / 127.0f;

    if (scale < FLT_MIN)
        return 0.0f;
    while (isfinite(most) && !isfinite(scale * 127.0f))
        scale = nextafterf(scale, 0.0f);
    return scale;
}

int8_t dtype_to_i8(float f, float scale)
{
    float q = scale > 0.0f ? rintf(f / scale) : 0.0f;

    return (int8_t)(q > 127.0f ? 127.0f : q < -127.0f ? -127.0f : q);
}
