/* pass_tf: see pass_tf.h.
 *
 * SPDX-License-Identifier: MIT */
#include "models/train/pass_tf.h"

#include "engine/base/mem.h"

static int layer_init(struct pass *p, struct block_kept *k)
{
    size_t N = (size_t)p->cap_N, E = (size_t)p->net->c.E;
    size_t F = (size_t)p->net->c.F, s = sizeof(real);
    k->a = mem_aligned(N * E * s);
    k->qkv = mem_aligned(N * 3 * E * s);
    k->mix = mem_aligned(N * E * s);
    k->m = mem_aligned(N * E * s);
    k->in = mem_aligned(N * F * s);
    k->act = mem_aligned(N * F * s);
    k->unit1 = mem_aligned(N * E * s);
    k->unit2 = mem_aligned(N * E * s);
    k->inv1 = mem_aligned(N * s);
    k->inv2 = mem_aligned(N * s);
    return k->a == NULL || k->qkv == NULL || k->mix == NULL || k->m == NULL ||
           k->in == NULL || k->act == NULL || k->unit1 == NULL ||
           k->unit2 == NULL || k->inv1 == NULL || k->inv2 == NULL;
}

static int scratch_init(struct pass *p, struct block_scratch *k)
{
    const struct net_config *c = &p->net->c;
    size_t N = (size_t)p->cap_N, T = (size_t)c->T, s = sizeof(real);
    size_t wide = (size_t)(c->F > 3 * c->E ? c->F : 3 * c->E);
    k->row = mem_aligned(N * (size_t)c->E * s);
    k->wide = mem_aligned(N * wide * s);
    k->probs = mem_aligned(ATTENTION_BLOCK * T * s);
    k->dot = mem_aligned(ATTENTION_BLOCK * T * s);
    k->zeros = mem_aligned(T * s);
    k->line = mem_aligned(wide * s);
    if (k->row == NULL || k->wide == NULL || k->probs == NULL ||
        k->dot == NULL || k->zeros == NULL || k->line == NULL)
        return 1;
    memset(k->zeros, 0, T * s);
    return 0;
}

int pass_tf_init(struct pass *p, struct err *e)
{
    const struct net *n = p->net;
    size_t NE = (size_t)p->cap_N * (size_t)n->c.E, s = sizeof(real);
    size_t BE = (size_t)p->cap_B * (size_t)n->c.E;
    size_t rows = n->c.C > 0 ? BE : NE, K = (size_t)n->K;
    struct pass_tf *t = mem_zalloc(sizeof *t);
    p->tf = t;
    if (t == NULL)
        return err_nomem(e);
    int bad = scratch_init(p, &t->scratch);
    for (int l = 0; l < n->c.L; l++)
        bad |= layer_init(p, &t->layer[l]);
    t->x = mem_aligned(NE * s);
    t->dx = mem_aligned(NE * s);
    t->unit = mem_aligned(NE * s);
    t->inv = mem_aligned((size_t)p->cap_N * s);
    t->top = mem_aligned(rows * s);
    t->dtop = mem_aligned(rows * s);
    t->first = mem_aligned(rows * s);
    t->inner = mem_aligned(rows * s);
    t->unit_top = mem_aligned(rows * s);
    t->inv_top = mem_aligned((size_t)p->cap_N * s);
    t->no_bias = mem_aligned(2 * K * s);
    bad |= t->x == NULL || t->dx == NULL || t->unit == NULL || t->inv == NULL ||
           t->top == NULL || t->dtop == NULL || t->first == NULL ||
           t->inner == NULL || t->unit_top == NULL || t->inv_top == NULL ||
           t->no_bias == NULL;
    if (bad)
        return err_nomem(e);
    memset(t->no_bias, 0, 2 * K * s);
    return 0;
}

void pass_tf_fini(struct pass *p)
{
    struct pass_tf *t = p->tf;
    if (t == NULL)
        return;
    for (int l = 0; l < NET_MAX_LAYERS; l++) {
        const struct block_kept *k = &t->layer[l];
        real *const v[] = {k->a,   k->qkv,   k->mix,   k->m,    k->in,
                           k->act, k->unit1, k->unit2, k->inv1, k->inv2};
        for (size_t i = 0; i < sizeof v / sizeof *v; i++)
            mem_aligned_free(v[i]);
    }
    real *const v[] = {t->scratch.row,
                       t->scratch.wide,
                       t->scratch.probs,
                       t->scratch.dot,
                       t->scratch.zeros,
                       t->scratch.line,
                       t->x,
                       t->dx,
                       t->unit,
                       t->inv,
                       t->top,
                       t->dtop,
                       t->first,
                       t->inner,
                       t->unit_top,
                       t->inv_top,
                       t->no_bias};
    for (size_t i = 0; i < sizeof v / sizeof *v; i++)
        mem_aligned_free(v[i]);
    mem_free(t);
    p->tf = NULL;
}

/* ---- embedding ---- */

struct norm_at pass_tf_norm(const struct pass *p, real *w, int N)
{
    const struct net_tensor *t = p->net->t + p->net->norm;
    return (struct norm_at){
        N,           p->net->c.E, net_block_shape(p->net).eps,
        w + t[0].at, w + t[1].at, p->tf->unit,
        p->tf->inv};
}

void pass_tf_mask(const struct pass_opts *o, int site, real rate, size_t n,
                  real *x)
{
    if (o->train && rate > 0)
        vec_dropout(n, pass_key(o, site), rate, x);
}

static void embed(const struct pass *p, const struct pass_batch *b, real *w,
                  const struct pass_opts *o)
{
    const struct net *n = p->net;
    size_t E = (size_t)n->c.E;
    const real *table = w + n->t[n->embedding].at;
    const real *places = w + n->t[n->position].at;
    for (int r = 0; r < b->B; r++)
        for (int i = b->start[r]; i < b->start[r + 1]; i++) {
            real *x = p->tf->x + (size_t)i * E;
            memcpy(x, table + (size_t)b->ids[i] * E, E * sizeof *x);
            if (o->train && p->drop.word > 0)
                vec_scale(E, pass_word_factor(p, o, b->ids[i]), x);
            vec_add(E, places + (size_t)(i - b->start[r]) * E, x);
            if (n->type >= 0)
                vec_add(E, w + n->t[n->type].at, x);
        }
    if (n->c.kind == NET_BERT) {
        struct norm_at a = pass_tf_norm(p, w, b->steps.N);
        norm_forward(&a, p->tf->x, p->tf->x);
    }
    pass_tf_mask(o, SITE_EMBEDDING, p->drop.embedding, (size_t)b->steps.N * E,
                 p->tf->x);
}

static void embed_grad(struct pass *p, const struct pass_batch *b, real *w,
                       const struct pass_opts *o, real *grad)
{
    const struct net *n = p->net;
    size_t E = (size_t)n->c.E;
    real *table = grad + n->t[n->embedding].at;
    real *places = grad + n->t[n->position].at;
    pass_tf_mask(o, SITE_EMBEDDING, p->drop.embedding, (size_t)b->steps.N * E,
                 p->tf->dx);
    if (n->c.kind == NET_BERT) {
        struct norm_at a = pass_tf_norm(p, w, b->steps.N);
        norm_backward(&a, p->tf->dx, grad + n->t[n->norm].at,
                      grad + n->t[n->norm + 1].at, 0, p->tf->dx,
                      p->tf->scratch.line);
    }
    for (int r = 0; r < b->B; r++)
        for (int i = b->start[r]; i < b->start[r + 1]; i++) {
            const real *dx = p->tf->dx + (size_t)i * E;
            real f =
                p->drop.word > 0 ? pass_word_factor(p, o, b->ids[i]) : (real)1;
            vec_add(E, dx, places + (size_t)(i - b->start[r]) * E);
            if (n->type >= 0)
                vec_add(E, dx, grad + n->t[n->type].at);
            if (f <= 0)
                continue;
            rows_touch(&p->rows_in, b->ids[i]);
            vec_axpy(E, f, dx, table + (size_t)b->ids[i] * E);
        }
}

/* ---- all of it ---- */

static struct block_run block_at(const struct pass *p,
                                 const struct ragged *rows,
                                 const struct block_shape *s, int l, real *w,
                                 const struct pass_opts *o)
{
    return (struct block_run){.blas = p->blas,
                              .s = s,
                              .rows = rows,
                              .w = net_block(p->net, l, w),
                              .kept = &p->tf->layer[l],
                              .scratch = &p->tf->scratch,
                              .drop = o->train ? p->drop.between : (real)0,
                              .key1 = pass_key(o, SITE_BETWEEN + 2 * l),
                              .key2 = pass_key(o, SITE_BETWEEN + 2 * l + 1)};
}

double pass_tf_run(struct pass *p, const struct pass_batch *b, real *w,
                   const struct pass_opts *o, real *grad)
{
    struct block_shape shape = net_block_shape(p->net);
    struct ragged rows = {b->B, b->steps.N, b->start};
    embed(p, b, w, o);
    for (int l = 0; l < p->net->c.L; l++) {
        struct block_run r = block_at(p, &rows, &shape, l, w, o);
        block_forward(&r, p->tf->x);
    }
    head_tf_forward(p, b, w, o);
    double loss = head_tf_loss(p, b, w, o, grad);
    if (!o->train)
        return loss;
    head_tf_backward(p, b, w, o, grad);
    for (int l = p->net->c.L - 1; l >= 0; l--) {
        struct block_run r = block_at(p, &rows, &shape, l, w, o);
        struct block_weights g = net_block(p->net, l, grad);
        block_backward(&r, &g, p->tf->dx);
    }
    embed_grad(p, b, w, o, grad);
    return loss;
}
