/* optim: see optim.h.
 *
 * SPDX-License-Identifier: MIT */
#include "models/train/optim.h"

#include "engine/base/mem.h"

int optim_init(struct optim *o, const struct net *n, struct err *e)
{
    if (o->kind != OPTIM_SGD || o->momentum > 0)
        o->m = mem_aligned(n->n * sizeof(real));
    if (o->kind != OPTIM_SGD)
        o->v = mem_aligned(n->n * sizeof(real));
    if ((o->m == NULL && (o->kind != OPTIM_SGD || o->momentum > 0)) ||
        (o->v == NULL && o->kind != OPTIM_SGD))
        return err_nomem(e);
    return 0;
}

void optim_fini(struct optim *o)
{
    mem_aligned_free(o->m);
    mem_aligned_free(o->v);
    o->m = o->v = NULL;
}

real optim_clip_factor(double sum_squares, double max_norm)
{
    if (max_norm <= 0)
        return (real)1;
    double f = max_norm / (sqrt(sum_squares) + 1e-6 /* as PyTorch */);
    return f < 1 ? (real)f : (real)1;
}

/* The touched rows of a tensor for worker w, or NULL for a full tensor. */
static struct rows *rows_of(const struct optim_job *j, int tensor, int w)
{
    const struct net *n = j->net;
    struct pass *p = j->pass[w];
    if (!j->o->lazy)
        return NULL;
    if (tensor == n->embedding)
        return n->c.tie && !j->o->sampled ? NULL : &p->rows_in;
    if (j->o->sampled && tensor == n->out_w)
        return &p->rows_w;
    if (j->o->sampled && tensor == n->out_b)
        return &p->rows_b;
    return NULL;
}

struct share {
    size_t from, n;
};

static struct share share_of(const struct optim_job *j,
                             const struct net_tensor *t, int tid)
{
    size_t lines = (t->n + 15) / 16, k = (size_t)j->n_workers;
    size_t from = lines * (size_t)tid / k * 16;
    size_t to = lines * (size_t)(tid + 1) / k * 16;
    to = to < t->n ? to : t->n;
    from = from < to ? from : to;
    return (struct share){t->at + from, to - from};
}

struct hyper {
    enum optim_kind kind;
    real lr, factor, beta1, beta2, eps, decay, momentum;
    real fix1, root2; /* bias corrections: 1 - beta1^t, sqrt(1 - beta2^t) */
};

TRAIN_CLONES
static void adam_range(const struct hyper *h, size_t n, real *restrict w,
                       const real *restrict g, real *restrict m,
                       real *restrict v)
{
    real b1 = h->beta1, b2 = h->beta2, eps = h->eps, f = h->factor;
    real l2 = h->kind == OPTIM_ADAM ? h->decay : (real)0;
    real shrink = h->kind == OPTIM_ADAMW ? (real)1 - h->lr * h->decay : (real)1;
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
    real lr = h->lr, f = h->factor, decay = h->decay, mu = h->momentum;
    if (mu > 0 && m != NULL)
        for (size_t i = 0; i < n; i++) {
            m[i] = mu * m[i] + g[i] * f + decay * w[i];
            w[i] -= lr * m[i];
        }
    else
        for (size_t i = 0; i < n; i++)
            w[i] -= lr * (g[i] * f + decay * w[i]);
}

static void update_range(const struct optim_job *j, const struct hyper *h,
                         size_t at, size_t n)
{
    real *g = j->grad[0] + at;
    if (h->kind == OPTIM_SGD)
        sgd_range(h, n, j->w + at, g, j->o->m == NULL ? NULL : j->o->m + at);
    else
        adam_range(h, n, j->w + at, g, j->o->m + at, j->o->v + at);
}

/* Is row i, found in the list of worker w, already seen in an earlier list? */
static int seen_before(const struct optim_job *j, int tensor, int w, int32_t i)
{
    for (int k = 0; k < w; k++)
        if (rows_of(j, tensor, k)->mark[i])
            return 1;
    return 0;
}

static double reduce_rows(const struct optim_job *j, int tensor, int tid)
{
    const struct net_tensor *t = &j->net->t[tensor];
    size_t c = t->n_dims == 2 ? (size_t)t->dim[1] : 1;
    double sum = 0;
    for (int w = 0; w < j->n_workers; w++) {
        const struct rows *r = rows_of(j, tensor, w);
        for (int i = 0; r != NULL && i < r->n; i++) {
            int32_t row = r->list[i];
            if (row % j->n_workers != tid || seen_before(j, tensor, w, row))
                continue;
            size_t at = t->at + (size_t)row * c;
            for (int k = 1; k < j->n_workers; k++)
                if (rows_of(j, tensor, k)->mark[row])
                    vec_add(c, j->grad[k] + at, j->grad[0] + at);
            sum += vec_sum_squares(c, j->grad[0] + at);
        }
    }
    return sum;
}

double optim_reduce(const struct optim_job *j, int tid)
{
    double sum = 0;
    for (int i = 0; i < j->net->n_tensors; i++) {
        const struct net_tensor *t = &j->net->t[i];
        if (t->lr_mult <= 0)
            continue;
        if (rows_of(j, i, 0) != NULL) {
            sum += reduce_rows(j, i, tid);
            continue;
        }
        struct share s = share_of(j, t, tid);
        for (int k = 1; k < j->n_workers; k++)
            vec_add(s.n, j->grad[k] + s.from, j->grad[0] + s.from);
        sum += vec_sum_squares(s.n, j->grad[0] + s.from);
    }
    return sum;
}

static void update_rows(const struct optim_job *j, const struct hyper *h,
                        int tensor, int tid)
{
    const struct net_tensor *t = &j->net->t[tensor];
    size_t c = t->n_dims == 2 ? (size_t)t->dim[1] : 1;
    for (int w = 0; w < j->n_workers; w++) {
        const struct rows *r = rows_of(j, tensor, w);
        for (int i = 0; r != NULL && i < r->n; i++) {
            int32_t row = r->list[i];
            if (row % j->n_workers != tid || seen_before(j, tensor, w, row))
                continue;
            size_t at = t->at + (size_t)row * c;
            if (t->lr_mult > 0)
                update_range(j, h, at, c);
            for (int k = 0; k < j->n_workers; k++)
                memset(j->grad[k] + at, 0, c * sizeof(real));
        }
    }
}

void optim_update(const struct optim_job *j, int tid)
{
    const struct optim *o = j->o;
    struct hyper h = {.kind = o->kind,
                      .factor = j->factor,
                      .beta1 = o->beta1,
                      .beta2 = o->beta2,
                      .eps = o->eps,
                      .decay = o->weight_decay,
                      .momentum = o->momentum};
    h.fix1 = (real)(1 - pow((double)o->beta1, (double)o->step));
    h.root2 = (real)sqrt(1 - pow((double)o->beta2, (double)o->step));
    for (int i = 0; i < j->net->n_tensors; i++) {
        const struct net_tensor *t = &j->net->t[i];
        h.lr = j->lr * t->lr_mult;
        if (rows_of(j, i, 0) != NULL) {
            update_rows(j, &h, i, tid);
            continue;
        }
        struct share s = share_of(j, t, tid);
        if (t->lr_mult > 0)
            update_range(j, &h, s.from, s.n);
        for (int k = 0; k < j->n_workers; k++)
            memset(j->grad[k] + s.from, 0, s.n * sizeof(real));
    }
}

static void forget(struct rows *r)
{
    for (int i = 0; i < r->n; i++)
        r->mark[r->list[i]] = 0;
    r->n = 0;
}

void optim_forget(const struct optim_job *j)
{
    for (int k = 0; k < j->n_workers; k++) {
        forget(&j->pass[k]->rows_in);
        forget(&j->pass[k]->rows_w);
        forget(&j->pass[k]->rows_b);
    }
}
