/* cross_grad: the attention of a decoder to the encoded source
 * (transformer_grad.h): x = norm(x + mask(W_o heads(W_q x, W_k m, W_v m))),
 * where m are the rows of the source.
 *
 * SPDX-License-Identifier: MIT */
#include "models/transformer/transformer_grad.h"

static struct norm_at norm_of(const struct cross_run *r)
{
    return (struct norm_at){r->N,
                            r->s->E,
                            r->s->eps,
                            r->w[CROSS_LN],
                            r->w[CROSS_LN + 1],
                            r->grad[CROSS_LN],
                            r->grad[CROSS_LN + 1],
                            r->unit,
                            r->inv};
}

static struct dense dense_of(const struct cross_run *r, enum cross_part k)
{
    return (struct dense){.blas = r->blas,
                          .in = r->s->E,
                          .out = k == CROSS_KV ? 2 * r->s->E : r->s->E,
                          .w = r->w[k],
                          .b = r->w[k + 1],
                          .gw = r->grad[k],
                          .gb = r->grad[k + 1]};
}

static struct heads heads_of(const struct cross_run *r, real *q, real *kv)
{
    size_t E = (size_t)r->s->E;
    return (struct heads){q, kv, kv + E, E, 2 * E};
}

static struct attention attention_of(const struct cross_run *r)
{
    return (struct attention){.blas = r->blas,
                              .A = r->s->A,
                              .D = r->s->E / r->s->A,
                              .B = r->B,
                              .q_start = r->start,
                              .k_start = r->source_start,
                              .in = heads_of(r, r->q, r->kv),
                              .drop = r->drop_weights,
                              .key = r->key_weights,
                              .scratch = r->scratch};
}

/* mask(y), y [N, E] */
static real *masked(const struct cross_run *r, real *y)
{
    if (r->drop > 0)
        vec_dropout((size_t)r->N * (size_t)r->s->E, r->key, r->drop, y);
    return y;
}

void cross_forward(const struct cross_run *r, real *memory, real *x)
{
    size_t n = (size_t)r->N * (size_t)r->s->E;
    struct dense q = dense_of(r, CROSS_Q), kv = dense_of(r, CROSS_KV);
    struct dense mix = dense_of(r, CROSS_MIX);
    struct attention a = attention_of(r);
    struct norm_at norm = norm_of(r);
    real *row = r->scratch->row;

    memcpy(r->a, x, n * sizeof *x);
    dense_forward(&q, r->N, r->a, r->q);
    dense_forward(&kv, r->M, memory, r->kv);
    attention_forward(&a, r->mix);
    dense_forward(&mix, r->N, r->mix, row);
    vec_add(n, masked(r, row), x);
    norm_forward(&norm, x, x);
}

void cross_backward(const struct cross_run *r, real *memory, real *dx,
                    real *d_memory, real *back)
{
    size_t E = (size_t)r->s->E, n = (size_t)r->N * E, m = (size_t)r->M * E;
    struct dense q = dense_of(r, CROSS_Q), kv = dense_of(r, CROSS_KV);
    struct dense mix = dense_of(r, CROSS_MIX);
    struct attention a = attention_of(r);
    struct norm_at norm = norm_of(r);
    real *row = r->scratch->row, *wide = r->scratch->wide;
    struct heads d = heads_of(r, row, wide);

    norm_backward(&norm, dx, 0, dx, r->scratch->line);
    memcpy(row, dx, n * sizeof *dx);
    /* the gradient of the heads' output goes where the output was */
    dense_backward(&mix, r->N, r->mix, masked(r, row), r->mix);
    memset(row, 0, n * sizeof *row);
    memset(wide, 0, 2 * m * sizeof *wide);
    attention_backward(&a, r->mix, &d);
    dense_backward(&q, r->N, r->a, row, r->q);
    vec_add(n, r->q, dx);
    dense_backward(&kv, r->M, memory, wide, back);
    vec_add(m, back, d_memory);
}
