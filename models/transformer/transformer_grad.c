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

/* The attention of a block: q, k and v of a row lie side by side. */
static struct heads heads_of(const struct block_run *r, real *qkv)
{
    size_t E = (size_t)r->s->E;
    return (struct heads){qkv, qkv + E, qkv + 2 * E, 3 * E, 3 * E};
}

static struct attention attention_of(const struct block_run *r)
{
    return (struct attention){.blas = r->blas,
                              .A = r->s->A,
                              .D = r->s->E / r->s->A,
                              .causal = r->s->causal,
                              .B = r->B,
                              .q_start = r->start,
                              .k_start = r->start,
                              .in = heads_of(r, r->qkv),
                              .drop = r->drop_weights,
                              .key = r->key_weights,
                              .scratch = r->scratch};
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

void block_attend(const struct block_run *r, real *x)
{
    size_t n = size_of(r);
    struct attention a = attention_of(r);
    real *row = r->scratch->row;

    if (r->s->pre_norm)
        norm(r, LN1, x, r->a);
    else
        memcpy(r->a, x, n * sizeof *x);
    dense(r, QKV, r->a, r->qkv);
    attention_forward(&a, r->mix);
    dense(r, MIX, r->mix, row);
    vec_add(n, masked(r, r->key1, row), x);
    if (!r->s->pre_norm)
        norm(r, LN1, x, x);
}

void block_perceptron(const struct block_run *r, real *x)
{
    size_t n = size_of(r);
    real *row = r->scratch->row;

    if (r->s->pre_norm)
        norm(r, LN2, x, r->m);
    else
        memcpy(r->m, x, n * sizeof *x);
    dense(r, IN, r->m, r->in);
    act_forward((size_t)r->N * (size_t)r->s->F, r->s->act, r->in, r->act);
    dense(r, OUT, r->act, row);
    vec_add(n, masked(r, r->key2, row), x);
    if (!r->s->pre_norm)
        norm(r, LN2, x, x);
}

void block_forward(const struct block_run *r, real *x)
{
    block_attend(r, x);
    block_perceptron(r, x);
}

void block_perceptron_grad(const struct block_run *r, real *dx)
{
    size_t n = size_of(r);
    real *row = r->scratch->row, *wide = r->scratch->wide;

    if (!r->s->pre_norm)
        norm_grad(r, LN2, dx, 0, dx);
    memcpy(row, dx, n * sizeof *dx);
    dense_grad(r, OUT, r->act, masked(r, r->key2, row), wide);
    act_backward((size_t)r->N * (size_t)r->s->F, r->s->act, r->in, wide);
    dense_grad(r, IN, r->m, wide, row);
    if (r->s->pre_norm)
        norm_grad(r, LN2, row, 1, dx);
    else
        vec_add(n, row, dx);
}

void block_attend_grad(const struct block_run *r, real *dx)
{
    size_t n = size_of(r);
    struct attention a = attention_of(r);
    real *row = r->scratch->row, *wide = r->scratch->wide;
    struct heads d = heads_of(r, wide);

    if (!r->s->pre_norm)
        norm_grad(r, LN1, dx, 0, dx);
    memcpy(row, dx, n * sizeof *dx);
    /* the gradient of the heads' output goes where the output was */
    dense_grad(r, MIX, r->mix, masked(r, r->key1, row), r->mix);
    memset(wide, 0, 3 * n * sizeof *wide);
    attention_backward(&a, r->mix, &d);
    dense_grad(r, QKV, r->a, wide, row);
    if (r->s->pre_norm)
        norm_grad(r, LN1, row, 1, dx);
    else
        vec_add(n, row, dx);
}

void block_backward(const struct block_run *r, real *dx)
{
    block_perceptron_grad(r, dx);
    block_attend_grad(r, dx);
}
