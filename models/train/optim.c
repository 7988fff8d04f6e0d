/* optim: see optim.h.
 *
 * SPDX-License-Identifier: MIT */
#include "models/train/optim.h"

int optim_init(struct optim *o, struct region *mem, const struct net *n,
               real *w, int n_workers, struct err *e)
{
    o->net = n;
    o->w = w;
    o->n_workers = n_workers;
    if (o->kind != OPTIM_SGD || o->momentum > 0)
        o->m = region_take(mem, n->n, sizeof(real));
    if (o->kind != OPTIM_SGD)
        o->v = region_take(mem, n->n, sizeof(real));
    for (int i = 0; i < n_workers; i++) {
        o->grad[i] = region_take(mem, n->n, sizeof(real));
        if (o->kind == OPTIM_MUON)
            muon_init(&o->muon[i], mem, n);
    }
    return region_check(mem, e);
}

real optim_clip_factor(double sum_squares, double max_norm)
{
    if (max_norm <= 0)
        return (real)1;
    double f = max_norm / (sqrt(sum_squares) + 1e-6 /* as PyTorch */);
    return f < 1 ? (real)f : (real)1;
}

/* The touched rows of a tensor for worker w, or NULL for a full tensor. */
static struct rows *rows_of(const struct optim *o, int tensor, int w)
{
    const struct net *n = o->net;
    struct pass *p = o->pass[w];
    if (!o->lazy)
        return NULL;
    if (tensor == n->embedding)
        return n->out_w == n->embedding && !o->sampled ? NULL : &p->rows_in;
    if (o->sampled && tensor == n->out_w)
        return &p->rows_w;
    if (o->sampled && tensor == n->out_b)
        return &p->rows_b;
    return NULL;
}

struct share {
    size_t from, n;
};

static struct share share_of(const struct optim *o, const struct net_tensor *t,
                             int tid)
{
    size_t lines = (t->n + 15) / 16, k = (size_t)o->n_workers;
    size_t from = lines * (size_t)tid / k * 16;
    size_t to = lines * (size_t)(tid + 1) / k * 16;
    to = to < t->n ? to : t->n;
    from = from < to ? from : to;
    return (struct share){t->at + from, to - from};
}

struct hyper {
    const struct optim *o;
    real lr, factor;
    real fix1, root2; /* bias corrections: 1 - beta1^t, sqrt(1 - beta2^t) */
};

TRAIN_CLONES
static void adam_range(const struct hyper *h, size_t n, real *restrict w,
                       const real *restrict g, real *restrict m,
                       real *restrict v)
{
    const struct optim *o = h->o;
    real b1 = o->beta1, b2 = o->beta2, eps = o->eps, f = h->factor;
    real l2 = o->kind == OPTIM_ADAM ? o->weight_decay : (real)0;
    real shrink =
        (real)1 - (o->kind == OPTIM_ADAM ? (real)0 : h->lr * o->weight_decay);
    real rate = h->lr / h->fix1, root2 = h->root2;
    for (size_t i = 0; i < n; i++) {
        real x = w[i] * shrink;
        real d = g[i] * f + l2 * x;
        m[i] = b1 * m[i] + ((real)1 - b1) * d;
        v[i] = b2 * v[i] + ((real)1 - b2) * d * d;
        w[i] = x - rate * m[i] / (real_sqrt(v[i]) / root2 + eps);
    }
}

TRAIN_CLONES
static void sgd_range(const struct hyper *h, size_t n, real *restrict w,
                      const real *restrict g, real *restrict m)
{
    real lr = h->lr, f = h->factor;
    real decay = h->o->weight_decay, mu = h->o->momentum;
    if (mu > 0 && m != NULL)
        for (size_t i = 0; i < n; i++) {
            m[i] = mu * m[i] + g[i] * f + decay * w[i];
            w[i] -= lr * m[i];
        }
    else
        for (size_t i = 0; i < n; i++)
            w[i] -= lr * (g[i] * f + decay * w[i]);
}

static void update_range(const struct optim *o, const struct hyper *h,
                         size_t at, size_t n)
{
    real *g = o->grad[0] + at;
    if (h->o->kind == OPTIM_SGD)
        sgd_range(h, n, o->w + at, g, o->m == NULL ? NULL : o->m + at);
    else
        adam_range(h, n, o->w + at, g, o->m + at, o->v + at);
}

/* Is row i, found in the list of worker w, in an earlier list too? */
static int seen_before(const struct optim *o, int tensor, int w, int32_t i)
{
    for (int k = 0; k < w; k++)
        if (rows_of(o, tensor, k)->mark[i])
            return 1;
    return 0;
}

/* Worker tid's share of the rows of a sparse tensor that any worker touched.
 * h NULL: add them up, and return their sum of squares; else update and clear
 * them. */
static double share_rows(const struct optim *o, const struct hyper *h,
                         int tensor, int tid)
{
    const struct net_tensor *t = &o->net->t[tensor];
    size_t c = t->n_dims == 2 ? (size_t)t->dim[1] : 1;
    double sum = 0;
    for (int w = 0; w < o->n_workers; w++) {
        const struct rows *r = rows_of(o, tensor, w);
        for (int i = 0; i < r->n; i++) {
            int32_t row = r->list[i];
            size_t at = t->at + (size_t)row * c;
            if (row % o->n_workers != tid || seen_before(o, tensor, w, row))
                continue;
            if (h != NULL && t->lr_mult > 0)
                update_range(o, h, at, c);
            for (int k = 0; k < o->n_workers; k++)
                if (h != NULL)
                    memset(o->grad[k] + at, 0, c * sizeof(real));
                else if (k > 0 && rows_of(o, tensor, k)->mark[row])
                    vec_add(c, o->grad[k] + at, o->grad[0] + at);
            if (h == NULL)
                sum += vec_sum_squares(c, o->grad[0] + at);
        }
    }
    return sum;
}

double optim_reduce(const struct optim *o, int tid)
{
    double sum = 0;
    for (int i = 0; i < o->net->n_tensors; i++) {
        const struct net_tensor *t = &o->net->t[i];
        if (t->lr_mult <= 0)
            continue;
        if (rows_of(o, i, 0) != NULL) {
            sum += share_rows(o, NULL, i, tid);
            continue;
        }
        struct share s = share_of(o, t, tid);
        for (int k = 1; k < o->n_workers; k++)
            vec_add(s.n, o->grad[k] + s.from, o->grad[0] + s.from);
        sum += vec_sum_squares(s.n, o->grad[0] + s.from);
    }
    return sum;
}

/* A whole tensor is one worker's. */
static void update_whole(const struct optim *o, const struct hyper *h,
                         int tensor, int tid)
{
    const struct net_tensor *t = &o->net->t[tensor];
    const struct muon_step s = {.blas = o->blas,
                                .lr = h->lr,
                                .weight_decay = o->weight_decay,
                                .factor = h->factor};
    if (tensor % o->n_workers != tid)
        return;
    if (t->lr_mult > 0)
        muon_update(&o->muon[tid], &s, t, o->w + t->at, o->grad[0] + t->at,
                    o->m + t->at);
    for (int k = 0; k < o->n_workers; k++)
        memset(o->grad[k] + t->at, 0, t->n * sizeof(real));
}

void optim_update(const struct optim *o, int tid, real factor)
{
    struct hyper h = {.o = o, .factor = factor};
    h.fix1 = (real)(1 - pow((double)o->beta1, (double)o->step));
    h.root2 = (real)sqrt(1 - pow((double)o->beta2, (double)o->step));
    for (int i = 0; i < o->net->n_tensors; i++) {
        const struct net_tensor *t = &o->net->t[i];
        h.lr = o->lr * t->lr_mult;
        if (rows_of(o, i, 0) != NULL) {
            share_rows(o, &h, i, tid);
            continue;
        }
        if (o->kind == OPTIM_MUON && muon_takes(o->net, t)) {
            update_whole(o, &h, i, tid);
            continue;
        }
        struct share s = share_of(o, t, tid);
        if (t->lr_mult > 0)
            update_range(o, &h, s.from, s.n);
        for (int k = 0; k < o->n_workers; k++)
            memset(o->grad[k] + s.from, 0, s.n * sizeof(real));
    }
}

void optim_forget(const struct optim *o)
{
    for (int k = 0; k < o->n_workers; k++) {
        rows_forget(&o->pass[k]->rows_in);
        rows_forget(&o->pass[k]->rows_w);
        rows_forget(&o->pass[k]->rows_b);
    }
}
