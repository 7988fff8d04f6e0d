/* fma_probe: see fma_probe.h.
 *
 * SPDX-License-Identifier: MIT */
#include "tests/support/fma_probe.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>
#include <time.h>

#define STEPS 2000

static __attribute__((target("avx512f"))) float chains512(void)
{
    __m512 a[24], x = _mm512_set1_ps(0.999f), y = _mm512_set1_ps(1e-9f);

#pragma GCC unroll 24
    for (int i = 0; i < 24; i++)
        a[i] = _mm512_set1_ps((float)i);
    for (int k = 0; k < STEPS; k++) {
#pragma GCC unroll 24
        for (int i = 0; i < 24; i++)
            a[i] = _mm512_fmadd_ps(a[i], x, y);
    }
#pragma GCC unroll 24
    for (int i = 1; i < 24; i++)
        a[0] = _mm512_add_ps(a[0], a[i]);
    return _mm512_cvtss_f32(a[0]);
}

static __attribute__((target("avx2,fma"))) float chains256(void)
{
    __m256 a[12], x = _mm256_set1_ps(0.999f), y = _mm256_set1_ps(1e-9f);

#pragma GCC unroll 12
    for (int i = 0; i < 12; i++)
        a[i] = _mm256_set1_ps((float)i);
    for (int k = 0; k < STEPS; k++) {
#pragma GCC unroll 12
        for (int i = 0; i < 12; i++)
            a[i] = _mm256_fmadd_ps(a[i], x, y);
    }
#pragma GCC unroll 12
    for (int i = 1; i < 12; i++)
        a[0] = _mm256_add_ps(a[0], a[i]);
    return _mm256_cvtss_f32(a[0]);
}

double fma_probe(const char *family)
{
    volatile float sink;
    struct timespec a, b;
    double flop;

    clock_gettime(CLOCK_MONOTONIC, &a);
    if (strcmp(family, "avx512") == 0) {
        sink = chains512();
        flop = 24.0 * 16.0 * 2.0 * STEPS;
    } else if (strcmp(family, "avx2") == 0) {
        sink = chains256();
        flop = 12.0 * 8.0 * 2.0 * STEPS;
    } else {
        return 0.0;
    }
    (void)sink;
    clock_gettime(CLOCK_MONOTONIC, &b);
    return flop / ((double)(b.tv_sec - a.tv_sec) * 1e9 +
                   (double)(b.tv_nsec - a.tv_nsec));
}
#else
double fma_probe(const char *family)
{
    (void)family;
    return 0.0;
}
#endif
