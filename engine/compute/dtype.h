/* dtype: the bits of half-precision numbers, and numbers of 8 bits. Widening is
 * exact; narrowing rounds to nearest, ties to even, and keeps NaN a NaN. Only
 * normal numbers go through the floating-point unit, so no denormal mode
 * changes a result.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_DTYPE_H
#define SEQD_DTYPE_H

#include <stdint.h>
#include <string.h>

float dtype_from_f16(uint16_t h);
uint16_t dtype_to_f16(float f);
uint16_t dtype_to_bf16(float f);

/* Symmetric rounding to -127..127 times a scale that some numbers share.
 * dtype_i8_scale: most / 127, most their largest magnitude; 0, which makes all
 * of them 0, where that is not a normal number; the next smaller one where 127
 * of them were infinite. NaN or infinite where most is. dtype_to_i8: f / scale,
 * ties to even; f and scale are finite. */
float dtype_i8_scale(float most);
int8_t dtype_to_i8(float f, float scale);

/* Here, so that loops over many are vectors. */
static inline float dtype_from_bf16(uint16_t h)
{
    uint32_t u = (uint32_t)h << 16;
    float f;

    memcpy(&f, &u, sizeof f);
    return f;
}
#endif
