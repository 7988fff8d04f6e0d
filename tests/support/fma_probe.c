/* fma_probe: see fma_probe.h.
 *
 * SPDX-License-Identifier: MIT */
#include "tests/support/fma_probe.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>
#include <time.h>

#define STEPS 2000
#pragma GCC diagnostic ignored "-Wunused-parameter" /* only one reads memory */

static __attribute__((target("avx512f"))) int chains512(const char *p, size_t n)
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
    return (int)_mm512_cvtss_f32(a[0]);
}

static __attribute__((target("avx2,fma"))) int chains256(const char *p,
                                                         size_t n)
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
    return (int)_mm256_cvtss_f32(a[0]);
}

static __attribute__((target("avx512f,avx512bw,avx512vnni"))) int
dots512(const char *p, size_t n)
{
    __m512i a[16], x = _mm512_set1_epi8(3), y = _mm512_set1_epi8(5);

#pragma GCC unroll 16
    for (int i = 0; i < 16; i++)
        a[i] = _mm512_set1_epi32(i);
    for (int k = 0; k < STEPS; k++) {
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++) /* gcc 12 spills with the intrinsic */
            __asm__("vpdpbusd %1, %2, %0" : "+v"(a[i]) : "v"(x), "v"(y));
    }
#pragma GCC unroll 16
    for (int i = 1; i < 16; i++)
        a[0] = _mm512_add_epi32(a[0], a[i]);
    return _mm512_cvtsi512_si32(a[0]);
}

static __attribute__((target("avx2"))) int dots256(const char *p, size_t n)
{
    __m256i a[8], x = _mm256_set1_epi8(3), y = _mm256_set1_epi8(5);
    const __m256i one = _mm256_set1_epi16(1);

#pragma GCC unroll 8
    for (int i = 0; i < 8; i++)
        a[i] = _mm256_set1_epi32(i);
    for (int k = 0; k < STEPS; k++) {
        __asm__("" : "+x"(x)); /* not the same product each time */
#pragma GCC unroll 8
        for (int i = 0; i < 8; i++) {
            __m256i t = _mm256_maddubs_epi16(x, y);

            __asm__("" : "+x"(t));
            a[i] = _mm256_add_epi32(a[i], _mm256_madd_epi16(t, one));
        }
    }
#pragma GCC unroll 8
    for (int i = 1; i < 8; i++)
        a[0] = _mm256_add_epi32(a[0], a[i]);
    return _mm256_cvtsi256_si32(a[0]);
}

static __attribute__((target("avx2"))) int read_all(const char *p, size_t n)
{
    __m256i a[8];

#pragma GCC unroll 8
    for (int i = 0; i < 8; i++)
        a[i] = _mm256_setzero_si256();
    for (const char *end = p + n; p < end; p += 512) {
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++)
            a[i % 8] = _mm256_xor_si256(
                a[i % 8], _mm256_loadu_si256((const void *)(p + 32 * i)));
    }
#pragma GCC unroll 8
    for (int i = 1; i < 8; i++)
        a[0] = _mm256_xor_si256(a[0], a[i]);
    return _mm256_cvtsi256_si32(a[0]);
}

/* Billions per second of `work` things that fn does. */
static double rate(int (*fn)(const char *, size_t), const void *p, size_t n,
                   double work)
{
    volatile int sink;
    struct timespec a, b;

    clock_gettime(CLOCK_MONOTONIC, &a);
    sink = fn(p, n);
    clock_gettime(CLOCK_MONOTONIC, &b);
    (void)sink;
    return work / ((double)(b.tv_sec - a.tv_sec) * 1e9 +
                   (double)(b.tv_nsec - a.tv_nsec));
}

double fma_probe(const char *family)
{
    if (strcmp(family, "avx512") == 0)
        return rate(chains512, NULL, 0, 24.0 * 16.0 * 2.0 * STEPS);
    if (strcmp(family, "avx2") == 0)
        return rate(chains256, NULL, 0, 12.0 * 8.0 * 2.0 * STEPS);
    return 0.0;
}

double int8_probe(const char *family)
{
    if (strcmp(family, "generic") == 0)
        return 0.0;
    if (strcmp(family, "avx512") == 0 && __builtin_cpu_supports("avx512vnni"))
        return rate(dots512, NULL, 0, 16 * 128.0 * STEPS);
    return rate(dots256, NULL, 0, 8 * 64.0 * STEPS);
}

double read_probe(const void *mem, size_t bytes)
{
    if (!__builtin_cpu_supports("avx2"))
        return 0.0;
    return rate(read_all, mem, bytes / 512 * 512, (double)bytes);
}
#else
#pragma GCC diagnostic ignored "-Wunused-parameter"

double fma_probe(const char *family)
{
    return 0.0;
}

double int8_probe(const char *family)
{
    return 0.0;
}

double read_probe(const void *mem, size_t bytes)
{
    return 0.0;
}
#endif
