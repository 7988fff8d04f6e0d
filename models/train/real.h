/* real: the trainer's number type, float, or double where -DREAL_DOUBLE builds
 * the same source for the gradient check. The functions below are plain C that
 * gcc turns into vector code: exp and tanh are polynomials in float (Cephes
 * expf and tanhf, Moshier; relative error below 3e-7), the C library's in
 * double. Sums over a row use 16 lanes and one tree, so that they vectorise
 * and do not depend on the instruction set. TRAIN_CLONES compiles a function
 * once per instruction set and lets the loader choose.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_REAL_H
#define SEQD_REAL_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) &&         \
    !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__)
#define TRAIN_CLONES                                                           \
    __attribute__((                                                            \
        target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define TRAIN_CLONES
#endif

#define REAL_LANES 16

#ifdef REAL_DOUBLE

typedef double real;
#define REAL_NAME "double"

static inline real real_exp(real x)
{
    return exp(x);
}

static inline real real_tanh(real x)
{
    return tanh(x);
}

static inline real real_sqrt(real x)
{
    return sqrt(x);
}

#else

typedef float real;
#define REAL_NAME "float"

/* real_exp: 2^n e^r with n = round(x / ln 2), |r| <= ln 2 / 2. Arguments are
 * clamped to where the result is a normal number; of no number comes none. */
static inline real real_exp(real x)
{
    x = x < -87.0f ? -87.0f : x;
    x = x > 88.0f ? 88.0f : x;
    /* adding 1.5 * 2^23 rounds to the nearest integer, which then stands in the
     * sum's lowest bits: converting it would be undefined for no number */
    float sum = x * 1.44269504f + 12582912.0f;
    float n = sum - 12582912.0f;
    float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    uint32_t bits;
    float scale;
    memcpy(&bits, &sum, sizeof bits);
    bits = (bits - 0x4b400000u + 127) << 23;
    memcpy(&scale, &bits, sizeof scale);
    return p * scale;
}

static inline real real_tanh(real x)
{
    float s = x * x;
    float p = -5.70498872745e-3f;
    p = p * s + 2.06390887954e-2f;
    p = p * s - 5.37397155531e-2f;
    p = p * s + 1.33314422036e-1f;
    p = p * s - 3.33332819422e-1f;
    float small = p * s * x + x;
    float large = 1.0f - 2.0f / (real_exp(2.0f * x) + 1.0f);
    return s < 0.390625f /* 0.625 squared */ ? small : large;
}

static inline real real_sqrt(real x)
{
    return sqrtf(x);
}

#endif

static inline real real_sigmoid(real x)
{
    return (real)1 / ((real)1 + real_exp(-x));
}

/* A row-major view: r rows, c columns, row stride ld. */
struct mat {
    real *p;
    int r, c;
    size_t ld;
};

static inline struct mat mat_of(real *p, int r, int c)
{
    return (struct mat){p, r, c, (size_t)c};
}

static inline struct mat mat_ld(real *p, int r, int c, size_t ld)
{
    return (struct mat){p, r, c, ld};
}

/* Row helpers (vec.c). */
real vec_add_max(int n, const real *b, real *x); /* x += b; the maximum */
real vec_exp_sum(int n, real max, real *x);      /* x = exp(x - max); the sum */
real vec_sum(int n, const real *x);
real vec_dot(int n, const real *x, const real *y);
double vec_sum_squares(size_t n, const real *x);
void vec_scale(size_t n, real s, real *x);
void vec_add(size_t n, const real *x, real *y);          /* y += x */
void vec_axpy(size_t n, real a, const real *x, real *y); /* y += a x */
/* vec_column_sums: y[c] += sum over the rows of a. */
void vec_column_sums(struct mat a, real *y);

/* vec_dropout: element i is zero with probability p, else divided by 1 - p.
 * What happens depends on key and i alone, so the backward pass calls it again
 * on the gradient. */
void vec_dropout(size_t n, uint32_t key, real p, real *x);

#endif
