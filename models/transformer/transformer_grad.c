/* transformer_grad: see transformer_grad.h.
 *
 * SPDX-License-Identifier: MIT */
#include "models/transformer/transformer_grad.h"

/* ---- dense layers ---- */

void dense_forward(const struct dense *d, int rows, real *x, real *y)
{
    size_t out = (size_t)d->out;
    struct mat in = mat_of(x, rows, d->in), to = mat_of(y, rows, d->out);
    for (int i = 0; i < rows; i++)
        memcpy(y + (size_t)i * out, d->b, out * sizeof *y);
    if (d->conv1d)
        blas_nn(d->blas, in, mat_of(d->w, d->in, d->out), (real)1, to);
    else
        blas_nt(d->blas, in, mat_of(d->w, d->out, d->in), (real)1, to);
}

void dense_backward(const struct dense *d, int rows, real *x, real *dy,
                    real *gw, real *gb, real *dx)
{
    struct mat in = mat_of(x, rows, d->in), g = mat_of(dy, rows, d->out);
    struct mat back = mat_of(dx, rows, d->in);
    vec_column_sums(g, gb);
    if (d->conv1d) {
        blas_tn(d->blas, in, g, (real)1, mat_of(gw, d->in, d->out));
        blas_nt(d->blas, g, mat_of(d->w, d->in, d->out), (real)0, back);
    } else {
        blas_tn(d->blas, g, in, (real)1, mat_of(gw, d->out, d->in));
        blas_nn(d->blas, g, mat_of(d->w, d->out, d->in), (real)0, back);
    }
}

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

void norm_backward(const struct norm_at *n, const real *dy, real *gw, real *gb,
                   int add, real *dx, real *line)
{
    size_t E = (size_t)n->E;
    for (int i = 0; i < n->N; i++) {
        size_t at = (size_t)i * E;
        const real *unit = n->unit + at;
        norm_parts(n->E, dy + at, n->w, unit, line, gw, gb);
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

static struct norm_at norm1(const struct block_run *r)
{
    return (struct norm_at){r->rows->N,   r->s->E,    r->s->eps,
                            r->w.ln1_w,   r->w.ln1_b, r->kept->unit1,
                            r->kept->inv1};
}

static struct norm_at norm2(const struct block_run *r)
{
    return (struct norm_at){r->rows->N,   r->s->E,    r->s->eps,
                            r->w.ln2_w,   r->w.ln2_b, r->kept->unit2,
                            r->kept->inv2};
}

static struct dense dense_of(const struct block_run *r, int in, int out,
                             real *w, real *b)
{
    return (struct dense){r->blas, r->s->conv1d, in, out, w, b};
}

/* x += mask(y), y [N, E]. */
static void add_masked(const struct block_run *r, uint32_t key, real *y,
                       real *x)
{
    size_t n = (size_t)r->rows->N * (size_t)r->s->E;
    if (r->drop > 0)
        vec_dropout(n, key, r->drop, y);
    vec_add(n, y, x);
}

void block_forward(const struct block_run *r, real *x)
{
    const struct block_kept *k = r->kept;
    int N = r->rows->N, E = r->s->E, F = r->s->F;
    size_t bytes = (size_t)N * (size_t)E * sizeof *x;
    struct norm_at n1 = norm1(r), n2 = norm2(r);
    struct dense qkv = dense_of(r, E, 3 * E, r->w.w_qkv, r->w.b_qkv);
    struct dense o = dense_of(r, E, E, r->w.w_o, r->w.b_o);
    struct dense in = dense_of(r, E, F, r->w.w_in, r->w.b_in);
    struct dense out = dense_of(r, F, E, r->w.w_out, r->w.b_out);

    if (r->s->pre_norm)
        norm_forward(&n1, x, k->a);
    else
        memcpy(k->a, x, bytes);
    dense_forward(&qkv, N, k->a, k->qkv);
    attention_forward(r);
    dense_forward(&o, N, k->mix, r->scratch->row);
    add_masked(r, r->key1, r->scratch->row, x);
    if (r->s->pre_norm) {
        norm_forward(&n2, x, k->m);
    } else {
        norm_forward(&n1, x, k->m);
        memcpy(x, k->m, bytes);
    }
    dense_forward(&in, N, k->m, k->in);
    gelu_forward((size_t)N * (size_t)F, r->s->gelu_erf, k->in, k->act);
    dense_forward(&out, N, k->act, r->scratch->row);
    add_masked(r, r->key2, r->scratch->row, x);
    if (!r->s->pre_norm)
        norm_forward(&n2, x, x);
}

/* scratch->row = mask(dx) */
static real *masked_copy(const struct block_run *r, uint32_t key,
                         const real *dx)
{
    size_t n = (size_t)r->rows->N * (size_t)r->s->E;
    memcpy(r->scratch->row, dx, n * sizeof *dx);
    if (r->drop > 0)
        vec_dropout(n, key, r->drop, r->scratch->row);
    return r->scratch->row;
}

/* From the gradient of the perceptron's output, in scratch->row, to that of its
 * input, in scratch->row too. */
static void perceptron_backward(const struct block_run *r,
                                const struct block_weights *g)
{
    const struct block_kept *k = r->kept;
    int N = r->rows->N, E = r->s->E, F = r->s->F;
    real *row = r->scratch->row, *wide = r->scratch->wide;
    struct dense in = dense_of(r, E, F, r->w.w_in, r->w.b_in);
    struct dense out = dense_of(r, F, E, r->w.w_out, r->w.b_out);
    dense_backward(&out, N, k->act, row, g->w_out, g->b_out, wide);
    gelu_backward((size_t)N * (size_t)F, r->s->gelu_erf, k->in, wide);
    dense_backward(&in, N, k->m, wide, g->w_in, g->b_in, row);
}

/* The same for attention. The gradient of the heads' output goes where the
 * output was. */
static void heads_backward(const struct block_run *r,
                           const struct block_weights *g)
{
    const struct block_kept *k = r->kept;
    int N = r->rows->N, E = r->s->E;
    real *row = r->scratch->row, *wide = r->scratch->wide;
    struct dense qkv = dense_of(r, E, 3 * E, r->w.w_qkv, r->w.b_qkv);
    struct dense o = dense_of(r, E, E, r->w.w_o, r->w.b_o);
    dense_backward(&o, N, k->mix, row, g->w_o, g->b_o, k->mix);
    attention_backward(r, k->mix, wide);
    dense_backward(&qkv, N, k->a, wide, g->w_qkv, g->b_qkv, row);
}

void block_backward(const struct block_run *r, const struct block_weights *g,
                    real *dx)
{
    struct norm_at n1 = norm1(r), n2 = norm2(r);
    size_t n = (size_t)r->rows->N * (size_t)r->s->E;
    real *line = r->scratch->line;
    if (!r->s->pre_norm)
        norm_backward(&n2, dx, g->ln2_w, g->ln2_b, 0, dx, line);
    real *row = masked_copy(r, r->key2, dx);
    perceptron_backward(r, g);
    if (r->s->pre_norm) {
        norm_backward(&n2, row, g->ln2_w, g->ln2_b, 1, dx, line);
    } else {
        vec_add(n, row, dx);
        norm_backward(&n1, dx, g->ln1_w, g->ln1_b, 0, dx, line);
    }
    masked_copy(r, r->key1, dx);
    heads_backward(r, g);
    if (r->s->pre_norm)
        norm_backward(&n1, row, g->ln1_w, g->ln1_b, 1, dx, line);
    else
        vec_add(n, row, dx);
}
