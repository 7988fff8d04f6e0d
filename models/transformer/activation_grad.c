/* activation_grad: what is between a perceptron's two layers, forward and
 * backward: GELU (Hendrycks and Gimpel 2016) by tanh or by erf, ReLU, Swish
 * (Ramachandran et al. 2017).
 *
 * SPDX-License-Identifier: MIT */
#include "models/transformer/transformer_grad.h"

#define ROOT_2_PI ((real)0.79788456080286535588)  /* sqrt(2 / pi) */
#define ROOT_HALF ((real)0.70710678118654752440)  /* 1 / sqrt(2) */
#define HALF_GAUSS ((real)0.39894228040143267794) /* 1 / sqrt(2 pi) */
#define CUBIC ((real)0.044715)

#ifdef REAL_DOUBLE
static inline real real_erf(real x)
{
    return erf(x);
}
#else
/* Abramowitz and Stegun 7.1.26: absolute error below 1.5e-7 before rounding. */
static inline real real_erf(real x)
{
    float a = x < 0 ? -x : x;
    float t = 1.0f / (1.0f + 0.3275911f * a);
    float p = 1.061405429f;
    p = p * t - 1.453152027f;
    p = p * t + 1.421413741f;
    p = p * t - 0.284496736f;
    p = p * t + 0.254829592f;
    float y = 1.0f - p * t * real_exp(-a * a);
    return x < 0 ? -y : y;
}
#endif

TRAIN_CLONES
static void gelu_tanh(size_t n, const real *restrict x, real *restrict y)
{
    for (size_t i = 0; i < n; i++) {
        real v = x[i], u = ROOT_2_PI * (v + CUBIC * v * v * v);
        y[i] = (real)0.5 * v * ((real)1 + real_tanh(u));
    }
}

TRAIN_CLONES
static void gelu_tanh_grad(size_t n, const real *restrict x, real *restrict d)
{
    for (size_t i = 0; i < n; i++) {
        real v = x[i], t = real_tanh(ROOT_2_PI * (v + CUBIC * v * v * v));
        real du = ROOT_2_PI * ((real)1 + (real)3 * CUBIC * v * v);
        d[i] *= (real)0.5 * ((real)1 + t + v * ((real)1 - t * t) * du);
    }
}

TRAIN_CLONES
static void gelu_erf(size_t n, const real *restrict x, real *restrict y)
{
    for (size_t i = 0; i < n; i++)
        y[i] = (real)0.5 * x[i] * ((real)1 + real_erf(x[i] * ROOT_HALF));
}

TRAIN_CLONES
static void gelu_erf_grad(size_t n, const real *restrict x, real *restrict d)
{
    for (size_t i = 0; i < n; i++) {
        real v = x[i], below = (real)1 + real_erf(v * ROOT_HALF);
        real density = HALF_GAUSS * real_exp((real)-0.5 * v * v);
        d[i] *= (real)0.5 * below + v * density;
    }
}

TRAIN_CLONES
static void relu(size_t n, const real *restrict x, real *restrict y)
{
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] > 0 ? x[i] : (real)0;
}

TRAIN_CLONES
static void relu_grad(size_t n, const real *restrict x, real *restrict d)
{
    for (size_t i = 0; i < n; i++)
        d[i] = x[i] > 0 ? d[i] : (real)0;
}

TRAIN_CLONES
static void swish(size_t n, const real *restrict x, real *restrict y)
{
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] * real_sigmoid(x[i]);
}

TRAIN_CLONES
static void swish_grad(size_t n, const real *restrict x, real *restrict d)
{
    for (size_t i = 0; i < n; i++) {
        real s = real_sigmoid(x[i]);
        d[i] *= s + x[i] * s * ((real)1 - s);
    }
}

void act_forward(size_t n, enum activation act, const real *x, real *y)
{
    static void (*const all[])(size_t, const real *,
                               real *) = {[ACT_GELU_TANH] = gelu_tanh,
                                          [ACT_GELU_ERF] = gelu_erf,
                                          [ACT_RELU] = relu,
                                          [ACT_SWISH] = swish};
    all[act](n, x, y);
}

void act_backward(size_t n, enum activation act, const real *x, real *dy)
{
    static void (*const all[])(size_t, const real *,
                               real *) = {[ACT_GELU_TANH] = gelu_tanh_grad,
                                          [ACT_GELU_ERF] = gelu_erf_grad,
                                          [ACT_RELU] = relu_grad,
                                          [ACT_SWISH] = swish_grad};
    all[act](n, x, dy);
}
