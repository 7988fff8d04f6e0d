/* kernels_isa: what the kernel files share among themselves and nobody else
 * includes: the tables of the families and the constants of exp, tanh and
 * sigmoid. Every family evaluates the same steps in the same order; only
 * kernels_generic.c rounds the product of a multiply-add.
 *
 *     n = round(x log2(e))   r = x - n ln 2, |r| <= ln(2)/2
 *     q = expm1(r) = r + r^2 (C2 + C3 r + C4 r^2 + C5 r^3 + C6 r^4)
 *     exp(x) = 2^n (1 + q)   sigmoid(x) = 1 / (1 + exp(-x))
 *     tanh(x) = e / (e + 2), e = expm1(2x) = 2^n q + (2^n - 1)
 *
 * ln 2 is split in two (Cody and Waite 1980): n * LN2_HI is exact. The
 * polynomial is a minimax fit of (expm1(r) - r) / r^2 weighted by r^2 / e^r,
 * coefficients rounded to float one after the other: relative error 3.2e-9.
 * Adding ROUND_MAGIC leaves n in the low bits of the sum; BIAS_MAGIC leaves
 * n + 127 there, so that a shift by 23 makes 2^n (n = -127 makes 0, n = 128
 * infinity).
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_KERNELS_ISA_H
#define SEQD_KERNELS_ISA_H

#include "engine/compute/kernels.h"

#define EXP_C2 0x1.fffffcp-2f
#define EXP_C3 0x1.555492p-3f
#define EXP_C4 0x1.5558bcp-5f
#define EXP_C5 0x1.1239c6p-7f
#define EXP_C6 0x1.6a4154p-10f
#define LOG2E 1.44269504f
#define LN2_HI 0.693359375f
#define LN2_LO -2.12194440e-4f
#define ROUND_MAGIC 12582912.0f /* 1.5 * 2^23 */
#define BIAS_MAGIC 12583039.0f  /* the same + 127 */

/* exp is 0 below EXP_MIN = ln(2^-126): no denormal result, which would cost a
 * microcode assist on some CPUs. Above EXP_MAX it is infinity. */
#define EXP_MIN -87.33654f
#define EXP_MAX 89.0f
/* sigmoid: below -88.4 2^n becomes infinity and the quotient 0; above 87 the
 * sum is 1. */
#define SIGMOID_MIN -88.8f
#define SIGMOID_MAX 88.0f
/* tanh(10) rounds to 1; the argument of expm1 is twice that. */
#define TANH2_MAX 20.0f

/* Activations. gelu_tanh: x sigmoid(2 z), z = sqrt(2/pi) (x + 0.044715 x^3),
 * which is 0.5 x (1 + tanh(z)) without its cancellation; 2 z = x (A + B x^2).
 *
 * gelu_erf: x Phi(x) = max(x, 0) - u Q(u), u = |x|, Q(u) = erfc(u/sqrt(2))/2 =
 * exp(-u^2/2) (C1 t + .. + C9 t^9), t = 1 / (1 + P u) (the form of Abramowitz
 * and Stegun 1964, 7.1.26). Minimax fit of the relative error, 2.3e-8, for
 * 0 <= u <= 13.5, where the exponential ends; with float's rounding the result
 * is within 7e-8 max(1, u). */
#define GELU_A 1.5957691216f
#define GELU_B 0.0713548162726f
#define PHI_P 0x1.147ae2p-2f
#define PHI_C1 0x1.b93820p-4f
#define PHI_C2 0x1.b8919cp-4f
#define PHI_C3 0x1.a08662p-4f
#define PHI_C4 0x1.28ee56p-4f
#define PHI_C5 0x1.b59af6p-4f
#define PHI_C6 -0x1.15e58cp-4f
#define PHI_C7 0x1.5961a0p-3f
#define PHI_C8 -0x1.01f42ap-3f
#define PHI_C9 0x1.d8c4eep-6f

/* kernels_vnni is kernels_avx512, by name and bits, with faster products;
 * kernels_bf16 adds matrix_rows_bf16. */
extern const struct kernels kernels_generic, kernels_avx2, kernels_avx512,
    kernels_vnni, kernels_bf16;

/* kernels_isa_list: the families beyond portable C that this CPU and its
 * operating system can run, slowest first; returns their number. */
#define ISA_MAX 3
int kernels_isa_list(const struct kernels *out[ISA_MAX]);

#endif
