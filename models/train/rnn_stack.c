/* rnn_stack: see rnn_stack.h.
 *
 * SPDX-License-Identifier: MIT */
#include "models/train/rnn_stack.h"

#include <stdio.h>

struct rnn_init rnn_init_of(const struct options *o)
{
    /* options that no command line has filled have no scale */
    double scale = o->init_recurrent_scale > 0 ? o->init_recurrent_scale : 1;
    return (struct rnn_init){o->init_recurrent, scale, o->init_input,
                             o->forget_bias, o->lr_scale_recurrent};
}

int rnn_stack_inputs(const struct rnn_stack_shape *s, int layer)
{
    return layer == 0 ? s->I : s->D * s->H;
}

static struct rnn_weights weights_of(const struct net *n,
                                     const struct rnn_stack_shape *s, int l,
                                     int d, real *p)
{
    int k = s->layer[l][d];
    return (struct rnn_weights){net_at(n, k, p), net_at(n, k + 1, p),
                                net_at(n, k + 2, p), net_at(n, k + 3, p)};
}

/* ---- tensors ---- */

static real recurrent_rate(const struct rnn_stack_shape *s)
{
    if (s->init.rate > 0)
        return (real)s->init.rate;
    return s->relu && s->H > RELU_STEP ? (real)(RELU_STEP / s->H) : (real)1;
}

static void add_layer(struct net *n, struct rnn_stack_shape *s,
                      const char *prefix, int l, int d)
{
    static const char *const parts[4] = {"weight_ih", "weight_hh", "bias_ih",
                                         "bias_hh"};
    const int columns[4] = {rnn_stack_inputs(s, l), s->H, 0, 0};
    s->layer[l][d] = n->n_tensors;
    for (int k = 0; k < 4; k++) {
        char name[64];
        snprintf(name, sizeof name, "%s%s_l%d%s", prefix, parts[k], l,
                 d ? "_reverse" : "");
        int i = net_add(n, name, s->cell->gates * s->H, columns[k], 0);
        n->t[i].parts[0] = s->cell->gates;
        if (k == 1)
            n->t[i].rate = n->t[i].lr_mult = recurrent_rate(s);
    }
}

void rnn_stack_add(struct net *n, struct rnn_stack_shape *s, const char *prefix)
{
    for (int l = 0; l < s->L; l++) {
        n->layer++;
        for (int d = 0; d < s->D; d++)
            add_layer(n, s, prefix, l, d);
    }
    n->layer++;
}

void rnn_fill_uniform(struct rng *r, double limit, size_t n, real *p)
{
    for (size_t i = 0; i < n; i++)
        p[i] = (real)((2 * rng_uniform(r) - 1) * limit);
}

void rnn_fill_glorot(struct rng *r, int out, int in, real *p)
{
    rnn_fill_uniform(r, sqrt(6.0 / (out + in)), (size_t)out * (size_t)in, p);
}

/* Rows of a random matrix made orthonormal (modified Gram-Schmidt, twice: the
 * second pass repairs what rounding left of the first). */
static void fill_orthogonal(struct rng *r, int H, real *p)
{
    size_t h = (size_t)H;
    for (size_t i = 0; i < h * h; i++)
        p[i] = (real)rng_normal(r);
    for (size_t i = 0; i < h; i++) {
        real *x = p + i * h;
        for (size_t k = 0; k < 2 * i; k++) {
            const real *y = p + (k % i) * h;
            vec_axpy(h, -vec_dot(H, x, y), y, x);
        }
        vec_scale(h, (real)1 / real_sqrt(vec_dot(H, x, x)), x);
    }
}

/* A gate's recurrent matrix [H, H]. */
static void fill_recurrent(const struct rnn_stack_shape *s, struct rng *r,
                           real *p)
{
    size_t H = (size_t)s->H;
    int kind = s->init.kind;
    if (kind == INIT_AUTO)
        kind = s->relu ? INIT_IDENTITY : INIT_ORTHOGONAL;
    if (kind == INIT_ORTHOGONAL)
        fill_orthogonal(r, s->H, p);
    else if (kind == INIT_GLOROT)
        rnn_fill_glorot(r, s->H, s->H, p);
    else
        for (size_t i = 0; i < H; i++)
            p[i * (H + 1)] = (real)1;
    if (s->init.scale < 1 || s->init.scale > 1)
        vec_scale(H * H, (real)s->init.scale, p);
}

static void initialise_layer(const struct net *n,
                             const struct rnn_stack_shape *s, int l, int d,
                             struct rng *r, real *p)
{
    struct rnn_weights w = weights_of(n, s, l, d, p);
    int H = s->H, I = rnn_stack_inputs(s, l);
    size_t hh = (size_t)H * (size_t)H, hi = (size_t)H * (size_t)I;
    for (int k = 0; k < s->cell->gates; k++) {
        real *in = w.w_ih + (size_t)k * hi;
        if (s->init.input > 0)
            for (size_t i = 0; i < hi; i++)
                in[i] = (real)(s->init.input * rng_normal(r));
        else
            rnn_fill_glorot(r, H, I, in);
        fill_recurrent(s, r, w.w_hh + (size_t)k * hh);
    }
    if (s->cell->has_c)
        for (int i = H; i < 2 * H; i++)
            w.b_ih[i] = (real)s->init.forget;
}

void rnn_stack_initialise(const struct net *n, const struct rnn_stack_shape *s,
                          struct rng *r, real *p)
{
    for (int l = 0; l < s->L; l++)
        for (int d = 0; d < s->D; d++)
            initialise_layer(n, s, l, d, r, p);
}

/* ---- arrays of a pass ---- */

static int open_run(struct pass *p, struct rnn_stack *k, int l, int d, int keep,
                    struct err *e)
{
    const struct rnn_stack_shape *s = k->s;
    struct rnn_layer *y = &k->layer[l];
    struct rnn_run *r = &y->run[d];
    size_t N = (size_t)p->cap_N, BH = (size_t)(p->cap_B * s->H);
    size_t H = (size_t)s->H, GH = (size_t)s->cell->gates * H;
    real *(*state)(struct pass *, size_t) = keep ? pass_keep : pass_reals;
    *r = (struct rnn_run){.cell = s->cell,
                          .blas = p->blas,
                          .I = rnn_stack_inputs(s, l),
                          .H = s->H,
                          .relu = s->relu,
                          .reverse = d};
    r->h = state(p, BH);
    r->a = pass_reals(p, N * GH);
    r->hp = pass_reals(p, N * H);
    r->bias = pass_reals(p, GH);
    y->w_drop[d] = pass_reals(p, GH * H);
    y->dh[d] = pass_reals(p, BH);
    y->dc[d] = pass_reals(p, BH);
    if (s->cell->split)
        r->b = pass_reals(p, N * GH);
    if (s->cell->has_c) {
        r->c = state(p, BH);
        r->cp = pass_reals(p, N * H);
        r->tc = pass_reals(p, N * H);
    }
    return recur_init(&r->ahead, &p->mem, p->blas, (int)GH, s->H, 0, e) |
           recur_init(&r->back, &p->mem, p->blas, (int)GH, s->H, 1, e);
}

int rnn_stack_open(struct pass *p, const struct rnn_stack_shape *s,
                   struct rnn_stack *k, int keep, struct err *e)
{
    size_t N = (size_t)p->cap_N, DH = (size_t)(s->D * s->H);
    size_t wide = DH > (size_t)s->I ? DH : (size_t)s->I;
    k->s = s;
    k->g1 = pass_reals(p, N * wide);
    k->g2 = pass_reals(p, N * wide);
    for (int l = 0; l < s->L; l++) {
        k->layer[l].in = pass_reals(p, N * (size_t)rnn_stack_inputs(s, l));
        k->layer[l].out = pass_reals(p, N * DH);
        for (int d = 0; d < s->D; d++)
            if (open_run(p, k, l, d, keep, e) != 0)
                return -1;
    }
    return 0;
}

/* ---- masks ---- */

void rnn_mask_rows(const struct pass *p, const struct steps *s, int site,
                   real rate, struct mat x)
{
    size_t c = (size_t)x.c;
    if (!p->drop.variational) {
        pass_mask(p, site, rate, (size_t)x.r * c, x.p);
        return;
    }
    for (int t = 0; t < s->T; t++)
        pass_mask(p, site, rate, (size_t)s->n[t] * c,
                  x.p + (size_t)s->off[t] * c);
}

/* One mask of a recurrent matrix, or of its gradient, for all workers of the
 * step: the key has no worker in it. */
static void mask_weights(const struct pass *p, const struct rnn_stack_shape *s,
                         int l, int d, real *w)
{
    vec_dropout(p->net->t[s->layer[l][d] + 1].n,
                p->o->word_key +
                    (uint32_t)(s->site + SITE_RECURRENT + 2 * l + d),
                p->drop.recurrent, w);
}

static int masks_between(const struct pass *p, int l)
{
    return l > 0 && p->o->train && p->drop.between > 0;
}

/* ---- a batch ---- */

static void begin_run(const struct pass *p, struct rnn_stack *k, int l, int d,
                      int zero)
{
    const struct rnn_stack_shape *s = k->s;
    struct rnn_layer *y = &k->layer[l];
    struct rnn_run *r = &y->run[d];
    int masked = l == 0 || masks_between(p, l);
    size_t state = (size_t)(k->steps->T > 0 ? k->steps->n[0] : 0) *
                   (size_t)s->H * sizeof(real);
    r->steps = k->steps;
    r->w = weights_of(p->net, s, l, d, p->w);
    r->x = mat_of(masked ? y->in : y[-1].out, k->steps->N, r->I);
    r->h_squares = p->o->trace != NULL && d == 0 ? p->o->trace->h[l] : NULL;
    r->c_squares = p->o->trace != NULL && d == 0 ? p->o->trace->c[l] : NULL;
    r->out =
        mat_ld(y->out + d * s->H, k->steps->N, s->H, (size_t)(s->D * s->H));
    if (p->o->train && p->drop.recurrent > 0) {
        memcpy(y->w_drop[d], r->w.w_hh,
               (size_t)(s->cell->gates * s->H) * (size_t)s->H * sizeof(real));
        mask_weights(p, s, l, d, y->w_drop[d]);
        r->w.w_hh = y->w_drop[d];
    }
    if (zero)
        memset(r->h, 0, state);
    if (zero && r->c != NULL)
        memset(r->c, 0, state);
    struct mat w_hh = mat_of(r->w.w_hh, s->cell->gates * s->H, s->H);
    recur_load(&r->ahead, w_hh);
    if (p->o->train)
        recur_load(&r->back, w_hh);
}

void rnn_stack_begin(const struct pass *p, struct rnn_stack *k,
                     const struct steps *steps, int zero)
{
    k->steps = steps;
    for (int l = 0; l < k->s->L; l++)
        for (int d = 0; d < k->s->D; d++)
            begin_run(p, k, l, d, zero);
}

void rnn_stack_forward(const struct pass *p, struct rnn_stack *k)
{
    const struct rnn_stack_shape *s = k->s;
    for (int l = 0; l < s->L; l++) {
        if (masks_between(p, l)) {
            struct mat x =
                mat_of(k->layer[l].in, k->steps->N, rnn_stack_inputs(s, l));
            memcpy(x.p, k->layer[l - 1].out,
                   (size_t)x.r * (size_t)x.c * sizeof(real));
            rnn_mask_rows(p, k->steps, s->site + SITE_BETWEEN + l,
                          p->drop.between, x);
        }
        for (int d = 0; d < s->D; d++)
            rnn_forward(&k->layer[l].run[d]);
    }
}

void rnn_stack_no_gradient(struct rnn_stack *k)
{
    size_t state = (size_t)(k->steps->T > 0 ? k->steps->n[0] : 0) *
                   (size_t)k->s->H * sizeof(real);
    for (int l = 0; l < k->s->L; l++)
        for (int d = 0; d < k->s->D; d++) {
            memset(k->layer[l].dh[d], 0, state);
            memset(k->layer[l].dc[d], 0, state);
        }
}

/* One direction of a layer back; beta: as rnn_backward's. */
static void run_back(const struct pass *p, struct rnn_stack *k, int l, int d,
                     const struct rnn_run *r, struct mat dout, struct mat dx)
{
    struct rnn_weights g = weights_of(p->net, k->s, l, d, p->grad);
    rnn_backward(r, dout, &g, dx, (real)d, k->layer[l].dh[d],
                 k->layer[l].dc[d]);
}

/* What came from the masked matrices goes through their masks. */
static void mask_gradients(const struct pass *p, struct rnn_stack *k, int l)
{
    for (int d = 0; d < k->s->D && p->drop.recurrent > 0; d++)
        mask_weights(p, k->s, l, d,
                     weights_of(p->net, k->s, l, d, p->grad).w_hh);
}

void rnn_stack_backward(const struct pass *p, struct rnn_stack *k)
{
    const struct rnn_stack_shape *s = k->s;
    int N = k->steps->N, H = s->H;
    for (int l = s->L - 1; l >= 0; l--) {
        struct mat dx = mat_of(k->g2, N, rnn_stack_inputs(s, l));
        for (int d = 0; d < s->D; d++)
            run_back(p, k, l, d, &k->layer[l].run[d],
                     mat_ld(k->g1 + d * H, N, H, (size_t)(s->D * H)), dx);
        mask_gradients(p, k, l);
        if (l > 0)
            rnn_mask_rows(p, k->steps, s->site + SITE_BETWEEN + l,
                          p->drop.between, dx);
        real *swap = k->g1;
        k->g1 = k->g2;
        k->g2 = swap;
    }
}

/* ---- one time step ---- */

/* Time step t of a run as a batch of its own. */
struct slice {
    struct rnn_run run;
    struct steps steps;
    int n, off[2];
};

static void slice_run(const struct rnn_run *from, const struct steps *steps,
                      int t, struct slice *s)
{
    struct rnn_run *r = &s->run;
    size_t off = (size_t)steps->off[t], H = (size_t)from->H;
    size_t GH = H * (size_t)from->cell->gates;
    *r = *from;
    s->n = s->off[1] = steps->n[t];
    s->off[0] = 0;
    s->steps = (struct steps){1, s->n, &s->n, s->off};
    r->steps = &s->steps;
    r->x = mat_of(from->x.p + off * (size_t)from->I, s->n, from->I);
    r->out =
        mat_ld(from->out.p + off * from->out.ld, s->n, from->H, from->out.ld);
    r->a += off * GH;
    r->hp += off * H;
    if (r->b != NULL)
        r->b += off * GH;
    if (r->c != NULL) {
        r->cp += off * H;
        r->tc += off * H;
    }
}

void rnn_stack_step(const struct pass *p, struct rnn_stack *k, int t)
{
    for (int l = 0; l < k->s->L; l++) {
        struct slice s;
        slice_run(&k->layer[l].run[0], k->steps, t, &s);
        if (masks_between(p, l)) {
            size_t n = (size_t)s.n * (size_t)k->s->H;
            memcpy(s.run.x.p,
                   k->layer[l - 1].out +
                       (size_t)k->steps->off[t] * (size_t)k->s->H,
                   n * sizeof(real));
            pass_mask(p, k->s->site + SITE_BETWEEN + l, p->drop.between, n,
                      s.run.x.p);
        }
        rnn_forward(&s.run);
    }
}

void rnn_stack_step_back(const struct pass *p, struct rnn_stack *k, int t,
                         struct mat dout, struct mat dx)
{
    for (int l = k->s->L - 1; l >= 0; l--) {
        struct slice s;
        slice_run(&k->layer[l].run[0], k->steps, t, &s);
        struct mat to =
            l > 0 ? mat_of(l % 2 ? k->g1 : k->g2, s.n, k->s->H) : dx;
        run_back(p, k, l, 0, &s.run, dout, to);
        if (l > 0)
            pass_mask(p, k->s->site + SITE_BETWEEN + l, p->drop.between,
                      (size_t)s.n * (size_t)k->s->H, to.p);
        if (t == 0)
            mask_gradients(p, k, l);
        dout = to;
    }
}
