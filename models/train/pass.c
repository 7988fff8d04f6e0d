/* pass: see pass.h.
 *
 * SPDX-License-Identifier: MIT */
#include "models/train/pass.h"

#include "engine/base/rng.h"
#include "models/train/trainable.h"

real *pass_reals(struct pass *p, size_t n)
{
    return region_take(&p->mem, n, sizeof(real));
}

real *pass_keep(struct pass *p, size_t n)
{
    struct kept *k = &p->kept[p->n_kept++];
    k->n = n;
    return k->p = pass_reals(p, n);
}

size_t pass_max_targets(const struct pass *p)
{
    return (size_t)(p->net->C > 0 ? p->cap_B : p->cap_N);
}

static int open_pass(struct pass *p, int samples, struct err *e)
{
    const struct net *n = p->net;
    size_t y = pass_max_targets(p) * (size_t)n->Q;
    p->own = region_take(&p->mem, 1, n->family->pass_bytes);
    p->y = pass_reals(p, y);
    p->dy = pass_reals(p, y);
    if (n->out_b < 0)
        p->no_bias = pass_reals(p, 2 * (size_t)n->K);
    if (n->C > 0)
        p->prob = pass_reals(p, (size_t)p->cap_B * (size_t)n->C);
    rows_init(&p->rows_in, &p->mem, n->V);
    rows_init(&p->rows_w, &p->mem, n->K);
    rows_init(&p->rows_b, &p->mem, n->K);
    loss_work_init(&p->loss, &p->mem, n->K, n->Q, samples);
    if (region_check(&p->mem, e) != 0 || n->family->open(p, e) != 0)
        return -1;
    return region_check(&p->mem, e);
}

int pass_init(struct pass *p, const struct net *n, const struct blas *b,
              int max_N, int max_B, int samples, struct err *e)
{
    memset(p, 0, sizeof *p);
    p->net = n;
    p->blas = b;
    p->cap_N = max_N;
    p->cap_B = max_B;
    int rc = open_pass(p, samples, e);
    if (rc != 0)
        pass_fini(p);
    return rc;
}

void pass_fini(struct pass *p)
{
    region_fini(&p->mem);
    memset(p, 0, sizeof *p);
}

void pass_reset_state(struct pass *p)
{
    for (int i = 0; i < p->n_kept; i++)
        memset(p->kept[i].p, 0, p->kept[i].n * sizeof(real));
}

uint32_t pass_key(const struct pass *p, int site)
{
    return (uint32_t)rng_hash(p->o->key, (uint64_t)site);
}

void pass_mask(const struct pass *p, int site, real rate, size_t n, real *x)
{
    if (p->o->train && rate > 0)
        vec_dropout(n, pass_key(p, site), rate, x);
}

struct dense pass_dense(const struct pass *p, int i)
{
    const struct net_tensor *t = &p->net->t[i];
    struct dense d = {.blas = p->blas,
                      .in = t->dim[1],
                      .out = t->dim[0],
                      .w = p->w + t->at,
                      .b = p->w + t[1].at};
    if (p->o->train) {
        d.gw = p->grad + t->at;
        d.gb = p->grad + t[1].at;
    }
    return d;
}

/* Zero, or 1 / (1 - rate), for one entry of the vocabulary. */
static real word_factor(const struct pass *p, int32_t id)
{
    real x = (real)1;
    if (p->o->train && p->drop.word > 0)
        vec_dropout(1, p->o->word_key + (uint32_t)id * 0x9e3779b9u,
                    p->drop.word, &x);
    return x;
}

void pass_embed_ids(const struct pass *p, int i, int n, const int32_t *ids,
                    real *x)
{
    const struct net_tensor *t = &p->net->t[i];
    size_t E = (size_t)t->dim[1];
    for (int k = 0; k < n; k++, x += E) {
        real f = word_factor(p, ids[k]);
        memcpy(x, p->w + t->at + (size_t)ids[k] * E, E * sizeof *x);
        if (f != (real)1)
            vec_scale(E, f, x);
    }
}

void pass_embed_ids_grad(struct pass *p, int i, int n, const int32_t *ids,
                         const real *dx)
{
    const struct net_tensor *t = &p->net->t[i];
    size_t E = (size_t)t->dim[1];
    for (int k = 0; k < n; k++, dx += E) {
        real f = word_factor(p, ids[k]);
        if (f <= 0)
            continue;
        if (i == p->net->embedding)
            rows_touch(&p->rows_in, ids[k]);
        vec_axpy(E, f, dx, p->grad + t->at + (size_t)ids[k] * E);
    }
}

void pass_embed(const struct pass *p, real *x)
{
    pass_embed_ids(p, p->net->embedding, p->b->N, p->b->ids, x);
}

void pass_embed_grad(struct pass *p, const real *dx)
{
    pass_embed_ids_grad(p, p->net->embedding, p->b->N, p->b->ids, dx);
}

/* ---- rows by time ---- */

/* The row of a text's time in what is [N, ...]. */
static size_t row_of(const struct pass *p, int text, int time)
{
    const struct pass_batch *b = p->b;
    return (size_t)(p->net->family->pack == feed_pack_by_time
                        ? b->steps.off[time] + text
                        : b->start[text] + time);
}

void pass_trace(const struct pass *p, int c, const real *dx)
{
    struct trace *t = p->o->trace;
    for (int r = 0; t != NULL && r < p->b->B; r++)
        for (int i = 0; i < p->b->length[r]; i++)
            t->x[i] +=
                vec_sum_squares((size_t)c, dx + row_of(p, r, i) * (size_t)c);
}

/* For a trace: no gradient but that of the last row of each text. */
static void keep_last(const struct pass *p)
{
    size_t Q = (size_t)p->net->Q;
    for (int r = 0; r < p->b->B && p->net->C == 0; r++)
        for (int i = 0; i + 1 < p->b->length[r]; i++)
            memset(p->dy + row_of(p, r, i) * Q, 0, Q * sizeof *p->dy);
}

/* Where only some rows are predicted, these move to the front of y for the
 * output layer, and their gradients back to their places. The rows of pick
 * rise, so that no row is overwritten before it has moved. */
static void gather_rows(const struct pass *p)
{
    size_t Q = (size_t)p->net->Q;
    for (int i = 0; i < p->b->n_target; i++)
        memmove(p->y + (size_t)i * Q, p->y + (size_t)p->b->pick[i] * Q,
                Q * sizeof *p->y);
}

static void scatter_rows(const struct pass *p)
{
    size_t Q = (size_t)p->net->Q, next = (size_t)p->b->N;
    for (int i = p->b->n_target - 1; i >= 0; i--) {
        size_t at = (size_t)p->b->pick[i];
        memmove(p->dy + at * Q, p->dy + (size_t)i * Q, Q * sizeof *p->dy);
        memset(p->dy + (at + 1) * Q, 0, (next - at - 1) * Q * sizeof *p->dy);
        next = at;
    }
    memset(p->dy, 0, next * Q * sizeof *p->dy);
}

/* ---- all of it ---- */

/* The output layer and the loss; in training the gradient p->dy. */
static double run_loss(struct pass *p)
{
    const struct net *n = p->net;
    const struct pass_opts *o = p->o;
    int rows = p->b->n_target;
    struct loss_task t = {
        .blas = p->blas,
        .work = &p->loss,
        .y = mat_of(p->y, rows, n->Q),
        .target = p->b->target,
        .soft = n->C > 0 ? p->b->soft : NULL,
        .value = p->b->value,
        .w = mat_of(net_at(n, n->out_w, p->w), n->K, n->Q),
        .b = n->out_b >= 0 ? net_at(n, n->out_b, p->w) : p->no_bias,
        .scale = o->scale,
        .smoothing = o->train ? o->smoothing : (real)0,
        .prob = o->train ? NULL : p->prob,
        .rows_w = n->out_w == n->embedding ? &p->rows_in : &p->rows_w,
        .rows_b = &p->rows_b};
    if (o->train) {
        t.dy = mat_of(p->dy, rows, n->Q);
        t.dw = net_at(n, n->out_w, p->grad);
        t.db = n->out_b >= 0 ? net_at(n, n->out_b, p->grad) : p->no_bias + n->K;
    }
    if (n->values)
        return loss_squares(&t);
    return o->train && o->noise != NULL ? loss_sampled(&t, o->noise)
                                        : loss_full(&t);
}

double pass_run(struct pass *p, const struct pass_batch *b, real *w,
                const struct pass_opts *o, real *grad)
{
    if (b->N == 0)
        return 0;
    p->b = b;
    p->o = o;
    p->w = w;
    p->grad = grad;
    p->penalty.loss = 0;
    int some = b->pick != NULL && !p->net->family->picks;
    p->net->family->forward(p);
    if (some)
        gather_rows(p);
    double loss = run_loss(p);
    if (!o->train)
        return loss;
    if (some)
        scatter_rows(p);
    if (o->trace != NULL)
        keep_last(p);
    p->net->family->backward(p);
    return loss;
}
