/* transformer_grad: see transformer_grad.h.
 *
 * SPDX-License-Identifier: MIT */
#include "models/transformer/transformer_grad.h"

/* ---- layer norm ---- */

TRAIN_CLONES
static void center(int n, real mean, const real *restrict x,
                   real *restrict unit)
{
    for (int i = 0; i < n; i++)
        unit[i] = x[i] - mean;
}

TRAIN_CLONES
static void stretch(int n, real inv, const real *restrict w,
                    const real *restrict b, real *restrict unit,
                    real *restrict y)
{
    for (int i = 0; i < n; i++) {
        unit[i] *= inv;
        y[i] = unit[i] * w[i] + b[i];
    }
}

void norm_forward(const struct norm_at *n, const real *x, real *y)
{
    size_t E = (size_t)n->E;
    for (int i = 0; i < n->N; i++) {
        const real *row = x + (size_t)i * E;
        real *unit = n->unit + (size_t)i * E;
        center(n->E, vec_sum(n->E, row) / (real)n->E, row, unit);
        real variance = vec_dot(n->E, unit, unit) / (real)n->E;
        n->inv[i] = (real)1 / real_sqrt(variance + n->eps);
        stretch(n->E, n->inv[i], n->w, n->b, unit, y + (size_t)i * E);
    }
}

TRAIN_CLONES
static void norm_parts(int n, const real *restrict dy, const real *restrict w,
                       const real *restrict unit, real *restrict d,
                       real *restrict gw, real *restrict gb)
{
    for (int i = 0; i < n; i++) {
        d[i] = dy[i] * w[i];
        gw[i] += dy[i] * unit[i];
        gb[i] += dy[i];
    }
}

TRAIN_CLONES
static void norm_input(int n, real inv, real mean, real slope,
                       const real *restrict d, const real *restrict unit,
                       real *restrict dx)
{
    for (int i = 0; i < n; i++)
        dx[i] += inv * (d[i] - mean - unit[i] * slope);
}

void norm_backward(const struct norm_at *n, const real *dy, int add, real *dx,
                   real *line)
{
    size_t E = (size_t)n->E;
    for (int i = 0; i < n->N; i++) {
        size_t at = (size_t)i * E;
        const real *unit = n->unit + at;
        norm_parts(n->E, dy + at, n->w, unit, line, n->gw, n->gb);
        real mean = vec_sum(n->E, line) / (real)n->E;
        real slope = vec_dot(n->E, line, unit) / (real)n->E;
        if (!add)
            memset(dx + at, 0, E * sizeof *dx);
        norm_input(n->E, n->inv[i], mean, slope, line, unit, dx + at);
    }
}

/* ---- GELU (Hendrycks and Gimpel 2016) ---- */

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

void gelu_forward(size_t n, int by_erf, const real *x, real *y)
{
    if (by_erf)
        gelu_erf(n, x, y);
    else
        gelu_tanh(n, x, y);
}

void gelu_backward(size_t n, int by_erf, const real *x, real *dy)
{
    if (by_erf)
        gelu_erf_grad(n, x, dy);
    else
        gelu_tanh_grad(n, x, dy);
}

/* ---- the block ---- */

static size_t size_of(const struct block_run *r)
{
    return (size_t)r->N * (size_t)r->s->E;
}

static struct norm_at norm_of(const struct block_run *r, enum block_part k)
{
    return (struct norm_at){
        r->N,           r->s->E,           r->s->eps,
        r->w[k],        r->w[k + 1],       r->grad[k],
        r->grad[k + 1], r->unit[k == LN2], r->inv[k == LN2]};
}

static void norm(const struct block_run *r, enum block_part k, const real *x,
                 real *y)
{
    struct norm_at n = norm_of(r, k);
    norm_forward(&n, x, y);
}

static void norm_grad(const struct block_run *r, enum block_part k,
                      const real *dy, int add, real *dx)
{
    struct norm_at n = norm_of(r, k);
    norm_backward(&n, dy, add, dx, r->scratch->line);
}

static struct dense dense_of(const struct block_run *r, enum block_part k)
{
    int E = r->s->E, F = r->s->F;
    return (struct dense){.blas = r->blas,
                          .conv1d = r->s->conv1d,
                          .in = k == OUT ? F : E,
                          .out = k == QKV  ? 3 * E
                                 : k == IN ? F
                                           : E,
                          .w = r->w[k],
                          .b = r->w[k + 1],
                          .gw = r->grad[k],
                          .gb = r->grad[k + 1]};
}

static void dense(const struct block_run *r, enum block_part k, real *x,
                  real *y)
{
    struct dense d = dense_of(r, k);
    dense_forward(&d, r->N, x, y);
}

static void dense_grad(const struct block_run *r, enum block_part k, real *x,
                       real *dy, real *dx)
{
    struct dense d = dense_of(r, k);
    dense_backward(&d, r->N, x, dy, dx);
}

/* mask(y), y [N, E] */
static real *masked(const struct block_run *r, uint32_t key, real *y)
{
    if (r->drop > 0)
        vec_dropout(size_of(r), key, r->drop, y);
    return y;
}

void block_forward(const struct block_run *r, real *x)
{
    size_t n = size_of(r);
    int pre_norm = r->s->pre_norm;
    real *row = r->scratch->row;

    if (pre_norm)
        norm(r, LN1, x, r->a);
    else
        memcpy(r->a, x, n * sizeof *x);
    dense(r, QKV, r->a, r->qkv);
    attention_forward(r);
    dense(r, MIX, r->mix, row);
    vec_add(n, masked(r, r->key1, row), x);
    if (pre_norm) {
        norm(r, LN2, x, r->m);
    } else {
        norm(r, LN1, x, r->m);
        memcpy(x, r->m, n * sizeof *x);
    }
    dense(r, IN, r->m, r->in);
    gelu_forward((size_t)r->N * (size_t)r->s->F, r->s->gelu_erf, r->in, r->act);
    dense(r, OUT, r->act, row);
    vec_add(n, masked(r, r->key2, row), x);
    if (!pre_norm)
        norm(r, LN2, x, x);
}

void block_backward(const struct block_run *r, real *dx)
{
    size_t n = size_of(r);
    int pre_norm = r->s->pre_norm;
    real *row = r->scratch->row, *wide = r->scratch->wide;

    if (!pre_norm)
        norm_grad(r, LN2, dx, 0, dx);
    memcpy(row, dx, n * sizeof *dx);
    dense_grad(r, OUT, r->act, masked(r, r->key2, row), wide);
    gelu_backward((size_t)r->N * (size_t)r->s->F, r->s->gelu_erf, r->in, wide);
    dense_grad(r, IN, r->m, wide, row);
    if (pre_norm) {
        norm_grad(r, LN2, row, 1, dx);
    } else {
        vec_add(n, row, dx);
        norm_grad(r, LN1, dx, 0, dx);
    }
    memcpy(row, dx, n * sizeof *dx);
    /* the gradient of the heads' output goes where the output was */
    dense_grad(r, MIX, r->mix, masked(r, r->key1, row), r->mix);
    attention_backward(r, r->mix, wide);
    dense_grad(r, QKV, r->a, wide, row);
    if (pre_norm)
        norm_grad(r, LN1, row, 1, dx);
    else
        vec_add(n, row, dx);
}
