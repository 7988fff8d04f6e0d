/* attention_grad: scaled dot-product attention of every head of every sequence
 * (transformer_grad.h): softmax(q k' / sqrt(D)) v, causal or not. Queries go in
 * blocks, so that the scores of a block stay in the cache and a causal block
 * does not touch the keys after it.
 *
 * SPDX-License-Identifier: MIT */
#include "models/transformer/transformer_grad.h"

/* A block of queries of one head of one sequence. */
struct part {
    int q0, nq;         /* first row and rows, within the sequence */
    int nk;             /* keys that the block sees */
    struct mat q, k, v; /* [nq, D], [nk, D], [nk, D] */
};

static struct mat head_view(real *p, int row, int rows, int column, int D,
                            size_t ld)
{
    return mat_ld(p + (size_t)row * ld + column, rows, D, ld);
}

static struct part part_of(const struct block_run *r, real *qkv, int seq,
                           int head, int q0)
{
    int E = r->s->E, D = E / r->s->A, first = r->start[seq];
    int n = r->start[seq + 1] - first;
    size_t ld = 3 * (size_t)E;
    struct part p = {.q0 = q0, .nq = n - q0};
    p.nq = p.nq < ATTENTION_BLOCK ? p.nq : ATTENTION_BLOCK;
    p.nk = r->s->causal ? q0 + p.nq : n;
    p.q = head_view(qkv, first + q0, p.nq, head * D, D, ld);
    p.k = head_view(qkv, first, p.nk, E + head * D, D, ld);
    p.v = head_view(qkv, first, p.nk, 2 * E + head * D, D, ld);
    return p;
}

/* The weights of a block: scratch->probs [nq, nk]. */
static struct mat weigh(const struct block_run *r, const struct part *p)
{
    struct mat s = mat_of(r->scratch->probs, p->nq, p->nk);
    real scale = (real)1 / real_sqrt((real)p->q.c);
    blas_nt(r->blas, p->q, p->k, (real)0, s);
    for (int i = 0; i < p->nq; i++) {
        real *x = s.p + (size_t)i * s.ld;
        int n = r->s->causal ? p->q0 + i + 1 : p->nk;
        vec_scale((size_t)n, scale, x);
        real max = vec_add_max(n, r->scratch->zeros, x);
        real sum = vec_exp_sum(n, max, x);
        vec_scale((size_t)n, (real)1 / sum, x);
        memset(x + n, 0, (size_t)(p->nk - n) * sizeof *x);
    }
    return s;
}

static int length_of(const struct block_run *r, int seq)
{
    return r->start[seq + 1] - r->start[seq];
}

static void forward_head(const struct block_run *r, int seq, int head)
{
    int E = r->s->E, D = E / r->s->A, first = r->start[seq];
    for (int q = 0; q < length_of(r, seq); q += ATTENTION_BLOCK) {
        struct part p = part_of(r, r->qkv, seq, head, q);
        struct mat s = weigh(r, &p);
        blas_nn(r->blas, s, p.v, (real)0,
                head_view(r->mix, first + q, p.nq, head * D, D, (size_t)E));
    }
}

void attention_forward(const struct block_run *r)
{
    for (int seq = 0; seq < r->B; seq++)
        for (int head = 0; head < r->s->A; head++)
            forward_head(r, seq, head);
}

TRAIN_CLONES
static void softmax_backward(int n, real dot, real scale,
                             const real *restrict p, real *restrict d)
{
    for (int i = 0; i < n; i++)
        d[i] = p[i] * (d[i] - dot) * scale;
}

static void backward_head(const struct block_run *r, int seq, int head,
                          real *dmix, real *dqkv)
{
    int E = r->s->E, D = E / r->s->A, first = r->start[seq];
    real scale = (real)1 / real_sqrt((real)D);
    for (int q = 0; q < length_of(r, seq); q += ATTENTION_BLOCK) {
        struct part p = part_of(r, r->qkv, seq, head, q);
        struct part g = part_of(r, dqkv, seq, head, q);
        struct mat s = weigh(r, &p);
        struct mat d = mat_of(r->scratch->dot, p.nq, p.nk);
        struct mat dy =
            head_view(dmix, first + q, p.nq, head * D, D, (size_t)E);
        blas_tn(r->blas, s, dy, (real)1, g.v);
        blas_nt(r->blas, dy, p.v, (real)0, d);
        for (int i = 0; i < p.nq; i++) {
            const real *row = s.p + (size_t)i * s.ld;
            real *x = d.p + (size_t)i * d.ld;
            softmax_backward(p.nk, vec_dot(p.nk, row, x), scale, row, x);
        }
        blas_nn(r->blas, d, p.k, (real)0, g.q);
        blas_tn(r->blas, d, p.q, (real)1, g.k);
    }
}

void attention_backward(const struct block_run *r, real *dmix, real *dqkv)
{
    size_t bytes = (size_t)r->N * 3 * (size_t)r->s->E * sizeof(real);
    memset(dqkv, 0, bytes);
    for (int seq = 0; seq < r->B; seq++)
        for (int head = 0; head < r->s->A; head++)
            backward_head(r, seq, head, dmix, dqkv);
}
