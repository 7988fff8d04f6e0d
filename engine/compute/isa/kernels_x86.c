/* kernels_x86: asks the CPU what it can run (CPUID) and the operating system
 * which registers it saves (XGETBV). It lies apart from the families because
 * their files are compiled with instructions that must not run before this
 * answer.
 *
 * Source: Intel SDM vol. 1, sections 14.3 and 15.2 to 15.4.
 *
 * SPDX-License-Identifier: MIT */
#include <cpuid.h>

#include "engine/compute/isa/kernels_isa.h"

#define XCR0_AVX 0x06u    /* xmm and ymm state */
#define XCR0_AVX512 0xe6u /* and opmask, upper zmm, zmm16-31 */

static unsigned xgetbv0(void)
{
    unsigned lo, hi;
    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    return lo;
}

int kernels_isa_list(const struct kernels *out[ISA_MAX])
{
    const unsigned need1 = bit_AVX | bit_FMA | bit_F16C | bit_OSXSAVE;
    const unsigned need512 =
        bit_AVX512F | bit_AVX512BW | bit_AVX512VL | bit_AVX512DQ;
    unsigned a, b, c, d, xcr0;
    int n = 0;

    for (int i = 0; i < ISA_MAX; i++)
        out[i] = NULL;
    if (!__get_cpuid(1, &a, &b, &c, &d) || (c & need1) != need1)
        return 0;
    xcr0 = xgetbv0();
    if ((xcr0 & XCR0_AVX) != XCR0_AVX)
        return 0;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b & bit_AVX2))
        return 0;
    out[n++] = &kernels_avx2;
    if ((b & need512) != need512 || (xcr0 & XCR0_AVX512) != XCR0_AVX512)
        return n;
    out[n++] = &kernels_avx512;
    if (!(c & bit_AVX512VNNI))
        return n;
    out[n] = &kernels_vnni;
    if (__get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & bit_AVX512BF16))
        out[n] = &kernels_bf16;
    return n + 1;
}
