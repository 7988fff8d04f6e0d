/* head_tf: what follows the blocks of a Transformer (pass_tf.h). GPT-2: a norm.
 * BERT as a classifier: a dense layer and tanh over the begin token's row (the
 * pooler). BERT as a masked model: a dense layer, GELU and a norm over the rows
 * that are predicted. Then the output layer and the loss.
 *
 * SPDX-License-Identifier: MIT */
#include "models/train/pass_tf.h"

static struct dense dense_at(const struct pass *p, int tensor, real *w)
{
    const struct net_tensor *t = p->net->t + tensor;
    int E = p->net->c.E;
    return (struct dense){p->blas, 0, E, E, w + t[0].at, w + t[1].at};
}

static struct norm_at transform_norm(const struct pass *p, real *w, int rows)
{
    const struct net_tensor *t = p->net->t + p->net->transform + 2;
    return (struct norm_at){
        rows,          p->net->c.E, net_block_shape(p->net).eps,
        w + t[0].at,   w + t[1].at, p->tf->unit_top,
        p->tf->inv_top};
}

/* Row of the stream that row r of the head is. */
static size_t source_of(const struct pass *p, const struct pass_batch *b, int r)
{
    return (size_t)(p->net->c.C > 0 ? b->start[r] : b->pick[r]);
}

static void gather(const struct pass *p, const struct pass_batch *b, int rows)
{
    size_t E = (size_t)p->net->c.E;
    for (int r = 0; r < rows; r++)
        memcpy(p->tf->first + (size_t)r * E, p->tf->x + source_of(p, b, r) * E,
               E * sizeof(real));
}

static void scatter(const struct pass *p, const struct pass_batch *b, int rows)
{
    size_t E = (size_t)p->net->c.E;
    memset(p->tf->dx, 0, (size_t)b->steps.N * E * sizeof(real));
    for (int r = 0; r < rows; r++)
        memcpy(p->tf->dx + source_of(p, b, r) * E, p->tf->first + (size_t)r * E,
               E * sizeof(real));
}

static void pool(const struct pass *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        p->tf->inner[i] = real_tanh(p->tf->inner[i]);
    memcpy(p->tf->top, p->tf->inner, n * sizeof(real));
}

void head_tf_forward(const struct pass *p, const struct pass_batch *b, real *w,
                     const struct pass_opts *o)
{
    struct pass_tf *t = p->tf;
    int rows = pass_rows(p->net, b), masked = net_is_masked(p->net);
    size_t n = (size_t)rows * (size_t)p->net->c.E;
    if (p->net->c.kind == NET_GPT2) {
        struct norm_at a = pass_tf_norm(p, w, rows);
        norm_forward(&a, t->x, t->top);
        pass_tf_mask(o, SITE_OUTPUT, p->drop.output, n, t->top);
        return;
    }
    gather(p, b, rows);
    if (masked)
        pass_tf_mask(o, SITE_OUTPUT, p->drop.output, n, t->first);
    struct dense d =
        dense_at(p, masked ? p->net->transform : p->net->pooler, w);
    dense_forward(&d, rows, t->first, t->inner);
    if (masked) {
        struct norm_at a = transform_norm(p, w, rows);
        gelu_forward(n, 1, t->inner, t->top);
        norm_forward(&a, t->top, t->top);
    } else {
        pool(p, n);
        pass_tf_mask(o, SITE_OUTPUT, p->drop.output, n, t->top);
    }
}

double head_tf_loss(struct pass *p, const struct pass_batch *b, real *w,
                    const struct pass_opts *o, real *grad)
{
    const struct net *n = p->net;
    int rows = pass_rows(n, b);
    struct loss_task t = {.blas = p->blas,
                          .work = &p->loss,
                          .y = mat_of(p->tf->top, rows, n->Q),
                          .target = b->target,
                          .w = mat_of(w + n->t[n->out_w].at, n->K, n->Q),
                          .b = n->out_b >= 0 ? w + n->t[n->out_b].at
                                             : p->tf->no_bias,
                          .scale = o->scale,
                          .smoothing = o->train ? o->smoothing : (real)0,
                          .prob = o->train ? NULL : p->prob,
                          .rows_w = n->c.tie ? &p->rows_in : &p->rows_w,
                          .rows_b = &p->rows_b};
    if (!o->train)
        return loss_full(&t);
    t.dy = mat_of(p->tf->dtop, rows, n->Q);
    t.dw = grad + n->t[n->out_w].at;
    t.db = n->out_b >= 0 ? grad + n->t[n->out_b].at : p->tf->no_bias + n->K;
    return o->noise != NULL ? loss_sampled(&t, o->noise, o->set)
                            : loss_full(&t);
}

static void masked_backward(const struct pass *p, int rows, real *w, real *grad)
{
    struct pass_tf *t = p->tf;
    const struct net_tensor *x = p->net->t + p->net->transform;
    struct norm_at a = transform_norm(p, w, rows);
    struct dense d = dense_at(p, p->net->transform, w);
    norm_backward(&a, t->dtop, grad + x[2].at, grad + x[3].at, 0, t->dtop,
                  t->scratch.line);
    gelu_backward((size_t)rows * (size_t)p->net->c.E, 1, t->inner, t->dtop);
    dense_backward(&d, rows, t->first, t->dtop, grad + x[0].at, grad + x[1].at,
                   t->first);
}

static void pool_backward(const struct pass *p, int rows, real *w, real *grad)
{
    struct pass_tf *t = p->tf;
    const struct net_tensor *x = p->net->t + p->net->pooler;
    struct dense d = dense_at(p, p->net->pooler, w);
    for (size_t i = 0; i < (size_t)rows * (size_t)p->net->c.E; i++)
        t->dtop[i] *= (real)1 - t->inner[i] * t->inner[i];
    dense_backward(&d, rows, t->first, t->dtop, grad + x[0].at, grad + x[1].at,
                   t->first);
}

void head_tf_backward(const struct pass *p, const struct pass_batch *b, real *w,
                      const struct pass_opts *o, real *grad)
{
    struct pass_tf *t = p->tf;
    const struct net_tensor *norm = p->net->t + p->net->norm;
    int rows = pass_rows(p->net, b), masked = net_is_masked(p->net);
    size_t n = (size_t)rows * (size_t)p->net->c.E;
    if (!masked)
        pass_tf_mask(o, SITE_OUTPUT, p->drop.output, n, t->dtop);
    if (p->net->c.kind == NET_GPT2) {
        struct norm_at a = pass_tf_norm(p, w, rows);
        norm_backward(&a, t->dtop, grad + norm[0].at, grad + norm[1].at, 0,
                      t->dx, t->scratch.line);
        return;
    }
    if (masked) {
        masked_backward(p, rows, w, grad);
        pass_tf_mask(o, SITE_OUTPUT, p->drop.output, n, t->first);
    } else {
        pool_backward(p, rows, w, grad);
    }
    scatter(p, b, rows);
}
