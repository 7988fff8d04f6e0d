/* dtype: the bits of half-precision numbers. Widening is exact; narrowing
 * rounds to nearest, ties to even, and keeps NaN a NaN. Only normal numbers
 * go through the floating-point unit, so no denormal mode changes a result.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_DTYPE_H
#define SEQD_DTYPE_H

#include <stdint.h>
#include <string.h>

float dtype_from_f16(uint16_t h);
uint16_t dtype_to_f16(float f);
uint16_t dtype_to_bf16(float f);

/* Here, so that loops over many are vectors. */
static inline float dtype_from_bf16(uint16_t h)
{
    uint32_t u = (uint32_t)h << 16;
    float f;

    memcpy(&f, &u, sizeof f);
    return f;
}
#endif
