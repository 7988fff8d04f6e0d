/* dtype: the bits of half-precision numbers. Widening is exact; narrowing
 * rounds to nearest, ties to even, and keeps NaN a NaN. Only normal numbers
 * go through the floating-point unit, so no denormal mode changes a result.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_DTYPE_H
#define SEQD_DTYPE_H

#include <stdint.h>

float dtype_from_f16(uint16_t h);
float dtype_from_bf16(uint16_t h);
uint16_t dtype_to_f16(float f);
uint16_t dtype_to_bf16(float f);

#endif
