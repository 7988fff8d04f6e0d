/* attention_grad: scaled dot-product attention of every head of every sequence
 * (transformer_grad.h): softmax(q k' / sqrt(D)) v, causal or not, to the
 * sequence itself or to another one. Queries go in blocks, so that the scores
 * of a block stay in the cache and a causal block does not touch the keys after
 * it.
 *
 * SPDX-License-Identifier: MIT */
#include "models/transformer/transformer_grad.h"

/* A block of queries of one head of one sequence. */
struct part {
    int q0, nq; /* first row and rows, within the sequence */
    int nk;     /* keys that the block sees */
    int row;    /* of its first query among all */
    uint32_t key;
};

static struct mat view(real *p, int row, int rows, int head, int D, size_t ld)
{
    return mat_ld(p + (size_t)row * ld + (size_t)(head * D), rows, D, ld);
}

static struct part part_of(const struct attention *a, int seq, int head, int q0)
{
    int n = a->q_start[seq + 1] - a->q_start[seq];
    int keys = a->k_start[seq + 1] - a->k_start[seq];
    struct part p = {.q0 = q0, .nq = n - q0, .row = a->q_start[seq] + q0};
    p.nq = p.nq < ATTENTION_BLOCK ? p.nq : ATTENTION_BLOCK;
    p.nk = a->causal ? q0 + p.nq : keys;
    p.key = a->key + (uint32_t)head * 0x85ebca6bu;
    return p;
}

static struct mat queries(const struct attention *a, const struct part *p,
                          real *q, int head)
{
    return view(q, p->row, p->nq, head, a->D, a->in.q_ld);
}

static struct mat keys(const struct attention *a, const struct part *p, real *k,
                       int seq, int head)
{
    return view(k, a->k_start[seq], p->nk, head, a->D, a->in.kv_ld);
}

/* The weights of a block: scratch->probs [nq, nk]. */
static struct mat weigh(const struct attention *a, const struct part *p,
                        int seq, int head)
{
    struct mat s = mat_of(a->scratch->probs, p->nq, p->nk);
    real scale = (real)1 / real_sqrt((real)a->D);
    blas_nt(a->blas, queries(a, p, a->in.q, head),
            keys(a, p, a->in.k, seq, head), (real)0, s);
    for (int i = 0; i < p->nq; i++) {
        real *x = s.p + (size_t)i * s.ld;
        int n = a->causal ? p->q0 + i + 1 : p->nk;
        vec_scale((size_t)n, scale, x);
        real max = vec_add_max(n, a->scratch->zeros, x);
        real sum = vec_exp_sum(n, max, x);
        vec_scale((size_t)n, (real)1 / sum, x);
        memset(x + n, 0, (size_t)(p->nk - n) * sizeof *x);
    }
    return s;
}

/* A row of weights, or of their gradient: its mask depends on the head and on
 * the place of its query. */
static void mask_row(const struct attention *a, const struct part *p, int i,
                     real *x)
{
    vec_dropout((size_t)p->nk, p->key + (uint32_t)(p->row + i) * 0x9e3779b1u,
                a->drop, x);
}

/* The weights that the values are mixed by. */
static struct mat masked(const struct attention *a, const struct part *p,
                         struct mat s)
{
    struct mat m = s;
    if (a->drop <= 0)
        return s;
    m.p = a->scratch->masked;
    memcpy(m.p, s.p, (size_t)s.r * s.ld * sizeof *m.p);
    for (int i = 0; i < p->nq; i++)
        mask_row(a, p, i, m.p + (size_t)i * m.ld);
    return m;
}

static void forward_head(const struct attention *a, int seq, int head, real *y)
{
    size_t E = (size_t)(a->A * a->D);
    for (int q = 0; q < a->q_start[seq + 1] - a->q_start[seq];
         q += ATTENTION_BLOCK) {
        struct part p = part_of(a, seq, head, q);
        struct mat s = masked(a, &p, weigh(a, &p, seq, head));
        blas_nn(a->blas, s, keys(a, &p, a->in.v, seq, head), (real)0,
                view(y, p.row, p.nq, head, a->D, E));
    }
}

void attention_forward(const struct attention *a, real *y)
{
    for (int seq = 0; seq < a->B; seq++)
        for (int head = 0; head < a->A; head++)
            forward_head(a, seq, head, y);
}

TRAIN_CLONES
static void softmax_backward(int n, real dot, real scale,
                             const real *restrict p, real *restrict d)
{
    for (int i = 0; i < n; i++)
        d[i] = p[i] * (d[i] - dot) * scale;
}

static void backward_head(const struct attention *a, int seq, int head,
                          real *dy, const struct heads *d)
{
    size_t E = (size_t)(a->A * a->D);
    real scale = (real)1 / real_sqrt((real)a->D);
    for (int q = 0; q < a->q_start[seq + 1] - a->q_start[seq];
         q += ATTENTION_BLOCK) {
        struct part p = part_of(a, seq, head, q);
        struct mat s = weigh(a, &p, seq, head);
        struct mat out = view(dy, p.row, p.nq, head, a->D, E);
        struct mat g = mat_of(a->scratch->dot, p.nq, p.nk);
        blas_tn(a->blas, masked(a, &p, s), out, (real)1,
                keys(a, &p, d->v, seq, head));
        blas_nt(a->blas, out, keys(a, &p, a->in.v, seq, head), (real)0, g);
        for (int i = 0; i < p.nq; i++) {
            const real *row = s.p + (size_t)i * s.ld;
            real *x = g.p + (size_t)i * g.ld;
            if (a->drop > 0)
                mask_row(a, &p, i, x);
            softmax_backward(p.nk, vec_dot(p.nk, row, x), scale, row, x);
        }
        blas_nn(a->blas, g, keys(a, &p, a->in.k, seq, head), (real)1,
                queries(a, &p, d->q, head));
        blas_tn(a->blas, g, queries(a, &p, a->in.q, head), (real)1,
                keys(a, &p, d->k, seq, head));
    }
}

void attention_backward(const struct attention *a, real *dy,
                        const struct heads *d)
{
    for (int seq = 0; seq < a->B; seq++)
        for (int head = 0; head < a->A; head++)
            backward_head(a, seq, head, dy, d);
}
