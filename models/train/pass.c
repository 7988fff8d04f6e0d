/* pass: see pass.h.
 *
 * SPDX-License-Identifier: MIT */
#include "models/train/pass.h"

#include "engine/base/mem.h"
#include "engine/base/rng.h"
#include "models/train/pass_tf.h"

static int width_of(const struct net *n)
{
    int top = n->c.D * n->c.H;
    return top > n->c.E ? top : n->c.E;
}

static int layer_init(struct pass *p, int l, struct err *e)
{
    const struct net_config *c = &p->net->c;
    struct pass_layer *y = &p->layer[l];
    size_t N = (size_t)p->cap_N, B = (size_t)p->cap_B, H = (size_t)c->H;
    size_t GH = H * (size_t)c->cell->gates, s = sizeof(real);
    int bad = 0;
    y->in = mem_aligned(N * (size_t)net_inputs(p->net, l) * s);
    y->out = mem_aligned(N * H * (size_t)c->D * s);
    bad |= y->in == NULL || y->out == NULL;
    for (int d = 0; d < c->D; d++) {
        y->a[d] = mem_aligned(N * GH * s);
        y->hp[d] = mem_aligned(N * H * s);
        y->h[d] = mem_aligned(B * H * s);
        y->w_drop[d] = mem_aligned(GH * H * s);
        bad |= y->a[d] == NULL || y->hp[d] == NULL || y->h[d] == NULL ||
               y->w_drop[d] == NULL;
        bad |= recur_init(&y->ahead[d], p->blas, (int)GH, c->H, 0, e) != 0 ||
               recur_init(&y->back[d], p->blas, (int)GH, c->H, 1, e) != 0;
        if (c->cell->split) {
            y->b[d] = mem_aligned(N * GH * s);
            bad |= y->b[d] == NULL;
        }
        if (c->cell->has_c) {
            y->cp[d] = mem_aligned(N * H * s);
            y->tc[d] = mem_aligned(N * H * s);
            y->c[d] = mem_aligned(B * H * s);
            bad |= y->cp[d] == NULL || y->tc[d] == NULL || y->c[d] == NULL;
        }
    }
    return bad ? err_nomem(e) : 0;
}

static int shared_init(struct pass *p, struct err *e)
{
    const struct net *n = p->net;
    size_t N = (size_t)p->cap_N, B = (size_t)p->cap_B, s = sizeof(real);
    size_t DH = (size_t)(n->c.D * n->c.H), W = (size_t)width_of(n);
    size_t rows = n->c.C > 0 ? B : N, P = (size_t)n->c.P;
    p->bias = mem_aligned((size_t)n->c.cell->gates * DH * s);
    p->dh = mem_aligned(B * DH * s);
    p->dc = mem_aligned(B * DH * s);
    p->top = mem_aligned(rows * DH * s);
    p->dtop = mem_aligned(rows * DH * s);
    p->g1 = mem_aligned(N * W * s);
    p->g2 = mem_aligned(N * W * s);
    if (p->bias == NULL || p->dh == NULL || p->dc == NULL || p->top == NULL ||
        p->dtop == NULL || p->g1 == NULL || p->g2 == NULL)
        return err_nomem(e);
    if (P > 0) {
        p->proj = mem_aligned(rows * P * s);
        p->dproj = mem_aligned(rows * P * s);
        if (p->proj == NULL || p->dproj == NULL)
            return err_nomem(e);
    }
    if (n->c.C > 0) {
        p->argmax = mem_array(B * DH, sizeof *p->argmax);
        if (p->argmax == NULL)
            return err_nomem(e);
    }
    return 0;
}

/* What all nets have. */
static int common_init(struct pass *p, int samples, struct err *e)
{
    const struct net *n = p->net;
    if (n->c.C > 0) {
        size_t count = (size_t)p->cap_B * (size_t)n->c.C;
        p->prob = mem_aligned(count * sizeof(real));
        if (p->prob == NULL)
            return err_nomem(e);
    }
    if (rows_init(&p->rows_in, n->c.V, e) != 0 ||
        rows_init(&p->rows_w, n->K, e) != 0 ||
        rows_init(&p->rows_b, n->K, e) != 0)
        return -1;
    return loss_work_init(&p->loss, n->K, n->Q, samples, e);
}

int pass_init(struct pass *p, const struct net *n, const struct blas *b,
              int max_N, int max_B, int samples, struct err *e)
{
    memset(p, 0, sizeof *p);
    p->net = n;
    p->blas = b;
    p->cap_N = max_N;
    p->cap_B = max_B;
    int rc = common_init(p, samples, e);
    if (rc == 0)
        rc = n->c.kind == NET_RNN ? shared_init(p, e) : pass_tf_init(p, e);
    for (int l = 0; n->c.kind == NET_RNN && l < n->c.L && rc == 0; l++)
        rc = layer_init(p, l, e);
    if (rc != 0)
        pass_fini(p);
    return rc;
}

void pass_fini(struct pass *p)
{
    for (int l = 0; l < NET_MAX_LAYERS; l++) {
        struct pass_layer *y = &p->layer[l];
        mem_aligned_free(y->in);
        mem_aligned_free(y->out);
        for (int d = 0; d < 2; d++) {
            mem_aligned_free(y->a[d]);
            mem_aligned_free(y->b[d]);
            mem_aligned_free(y->hp[d]);
            mem_aligned_free(y->cp[d]);
            mem_aligned_free(y->tc[d]);
            mem_aligned_free(y->h[d]);
            mem_aligned_free(y->c[d]);
            mem_aligned_free(y->w_drop[d]);
            recur_fini(&y->ahead[d]);
            recur_fini(&y->back[d]);
        }
    }
    real *const blocks[] = {p->bias, p->dh,    p->dc, p->top, p->dtop,
                            p->proj, p->dproj, p->g1, p->g2,  p->prob};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        mem_aligned_free(blocks[i]);
    mem_free(p->argmax);
    rows_fini(&p->rows_in);
    rows_fini(&p->rows_w);
    rows_fini(&p->rows_b);
    loss_work_fini(&p->loss);
    pass_tf_fini(p);
    memset(p, 0, sizeof *p);
}

void pass_reset_state(struct pass *p)
{
    size_t bytes = (size_t)p->cap_B * (size_t)p->net->c.H * sizeof(real);
    if (p->net->c.kind != NET_RNN)
        return;
    for (int l = 0; l < p->net->c.L; l++)
        for (int d = 0; d < p->net->c.D; d++) {
            memset(p->layer[l].h[d], 0, bytes);
            if (p->layer[l].c[d] != NULL)
                memset(p->layer[l].c[d], 0, bytes);
        }
}

uint32_t pass_key(const struct pass_opts *o, int site)
{
    return (uint32_t)rng_hash(o->key, (uint64_t)site);
}

/* The mask of one site over rows [N, c] (or [B, c]: steps NULL). */
static void mask_rows(const struct pass *p, const struct steps *s, uint32_t key,
                      real rate, struct mat x)
{
    size_t c = (size_t)x.c;
    if (rate <= 0)
        return;
    if (s == NULL || !p->drop.variational) {
        vec_dropout((size_t)x.r * c, key, rate, x.p);
        return;
    }
    for (int t = 0; t < s->T; t++)
        vec_dropout((size_t)s->n[t] * c, key, rate,
                    x.p + (size_t)s->off[t] * c);
}

real pass_word_factor(const struct pass *p, const struct pass_opts *o,
                      int32_t id)
{
    real x = (real)1;
    vec_dropout(1, o->word_key + (uint32_t)id * 0x9e3779b9u, p->drop.word, &x);
    return x;
}

static void embed(const struct pass *p, const struct pass_batch *b,
                  const real *w, const struct pass_opts *o)
{
    size_t E = (size_t)p->net->c.E;
    const real *table = w + p->net->t[p->net->embedding].at;
    real *x = p->layer[0].in;
    for (int i = 0; i < b->steps.N; i++)
        memcpy(x + (size_t)i * E, table + (size_t)b->ids[i] * E,
               E * sizeof(real));
    if (!o->train)
        return;
    if (p->drop.word > 0)
        for (int i = 0; i < b->steps.N; i++)
            vec_scale(E, pass_word_factor(p, o, b->ids[i]), x + (size_t)i * E);
    mask_rows(p, &b->steps, pass_key(o, SITE_EMBEDDING), p->drop.embedding,
              mat_of(x, b->steps.N, (int)E));
}

static void embed_grad(struct pass *p, const struct pass_batch *b,
                       const struct pass_opts *o, real *dx, real *grad)
{
    size_t E = (size_t)p->net->c.E;
    real *table = grad + p->net->t[p->net->embedding].at;
    mask_rows(p, &b->steps, pass_key(o, SITE_EMBEDDING), p->drop.embedding,
              mat_of(dx, b->steps.N, (int)E));
    for (int i = 0; i < b->steps.N; i++) {
        real f = p->drop.word > 0 ? pass_word_factor(p, o, b->ids[i]) : (real)1;
        if (f <= 0)
            continue;
        rows_touch(&p->rows_in, b->ids[i]);
        vec_axpy(E, f, dx + (size_t)i * E, table + (size_t)b->ids[i] * E);
    }
}

static struct rnn_run run_of(const struct pass *p, const struct pass_batch *b,
                             int l, int d, real *w, int train)
{
    const struct net_config *c = &p->net->c;
    const struct pass_layer *y = &p->layer[l];
    struct rnn_run r = {.cell = c->cell,
                        .blas = p->blas,
                        .steps = &b->steps,
                        .I = net_inputs(p->net, l),
                        .H = c->H,
                        .relu = c->relu,
                        .reverse = d,
                        .w = net_layer(p->net, l, d, w),
                        .h = y->h[d],
                        .c = y->c[d],
                        .a = y->a[d],
                        .b = y->b[d],
                        .hp = y->hp[d],
                        .cp = y->cp[d],
                        .tc = y->tc[d],
                        .bias = p->bias,
                        .ahead = &y->ahead[d],
                        .back = &y->back[d]};
    int plain = l > 0 && (!train || p->drop.between <= 0);
    r.x = mat_of(plain ? p->layer[l - 1].out : y->in, b->steps.N, r.I);
    r.out = mat_ld(y->out + d * c->H, b->steps.N, c->H, (size_t)(c->D * c->H));
    if (train && p->drop.recurrent > 0)
        r.w.w_hh = y->w_drop[d];
    return r;
}

static void drop_weights(const struct pass *p, int l, int d, real *w,
                         const struct pass_opts *o)
{
    const struct net_tensor *t = &p->net->t[p->net->rnn[l][d][1]];
    /* one mask for all workers of the step: the key has no worker in it */
    uint32_t key = o->word_key + (uint32_t)(SITE_RECURRENT + 2 * l + d);
    memcpy(p->layer[l].w_drop[d], w + t->at, t->n * sizeof(real));
    vec_dropout(t->n, key, p->drop.recurrent, p->layer[l].w_drop[d]);
}

static void layers_forward(struct pass *p, const struct pass_batch *b, real *w,
                           const struct pass_opts *o)
{
    const struct net_config *c = &p->net->c;
    int N = b->steps.N;
    if (c->C > 0)
        pass_reset_state(p);
    for (int l = 0; l < c->L; l++) {
        if (l > 0 && o->train && p->drop.between > 0) {
            struct mat x = mat_of(p->layer[l].in, N, net_inputs(p->net, l));
            memcpy(x.p, p->layer[l - 1].out,
                   (size_t)N * (size_t)x.c * sizeof(real));
            mask_rows(p, &b->steps, pass_key(o, SITE_BETWEEN + l),
                      p->drop.between, x);
        }
        for (int d = 0; d < c->D; d++) {
            if (o->train && p->drop.recurrent > 0)
                drop_weights(p, l, d, w, o);
            struct rnn_run r = run_of(p, b, l, d, w, o->train);
            struct mat w_hh = mat_of(r.w.w_hh, c->cell->gates * c->H, c->H);
            recur_load(&p->layer[l].ahead[d], w_hh);
            if (o->train)
                recur_load(&p->layer[l].back[d], w_hh);
            rnn_forward(&r);
        }
    }
}

static void layers_backward(struct pass *p, const struct pass_batch *b, real *w,
                            const struct pass_opts *o, real *grad)
{
    const struct net_config *c = &p->net->c;
    int N = b->steps.N, DH = c->D * c->H;
    size_t state = (size_t)b->B * (size_t)c->H * sizeof(real);
    for (int l = c->L - 1; l >= 0; l--) {
        int I = net_inputs(p->net, l);
        struct mat dx = mat_of(p->g2, N, I);
        for (int d = 0; d < c->D; d++) {
            struct rnn_run r = run_of(p, b, l, d, w, o->train);
            struct rnn_weights g = net_layer(p->net, l, d, grad);
            memset(p->dh, 0, state);
            memset(p->dc, 0, state);
            rnn_backward(&r, mat_ld(p->g1 + d * c->H, N, c->H, (size_t)DH), &g,
                         dx, (real)d, p->dh, p->dc);
            if (p->drop.recurrent > 0)
                vec_dropout(p->net->t[p->net->rnn[l][d][1]].n,
                            o->word_key +
                                (uint32_t)(SITE_RECURRENT + 2 * l + d),
                            p->drop.recurrent, g.w_hh);
        }
        if (l > 0)
            mask_rows(p, &b->steps, pass_key(o, SITE_BETWEEN + l),
                      p->drop.between, dx);
        real *swap = p->g1;
        p->g1 = p->g2;
        p->g2 = swap;
    }
    embed_grad(p, b, o, p->g1, grad);
}

/* Row of the top layer's output at time t of sequence r. */
static real *top_row(const struct pass *p, const struct pass_batch *b, int t,
                     int r)
{
    size_t DH = (size_t)(p->net->c.D * p->net->c.H);
    return p->layer[p->net->c.L - 1].out + (size_t)(b->steps.off[t] + r) * DH;
}

static void pool_max(const struct pass *p, const struct pass_batch *b, int r,
                     real *y)
{
    int DH = p->net->c.D * p->net->c.H;
    int32_t *where = p->argmax + (size_t)r * (size_t)DH;
    memcpy(y, top_row(p, b, 0, r), (size_t)DH * sizeof(real));
    memset(where, 0, (size_t)DH * sizeof *where);
    for (int t = 1; t < b->length[r]; t++) {
        const real *x = top_row(p, b, t, r);
        for (int j = 0; j < DH; j++) {
            where[j] = x[j] > y[j] ? t : where[j];
            y[j] = x[j] > y[j] ? x[j] : y[j];
        }
    }
}

/* Pooling of each sequence's states into p->top [B, D*H]. */
static void pool(const struct pass *p, const struct pass_batch *b)
{
    const struct net_config *c = &p->net->c;
    size_t H = (size_t)c->H, DH = (size_t)c->D * H;
    for (int r = 0; r < b->B; r++) {
        real *y = p->top + (size_t)r * DH;
        if (c->pooling == NET_POOL_MAX) {
            pool_max(p, b, r, y);
        } else if (c->pooling == NET_POOL_MEAN) {
            memset(y, 0, DH * sizeof(real));
            for (int t = 0; t < b->length[r]; t++)
                vec_add(DH, top_row(p, b, t, r), y);
            vec_scale(DH, (real)1 / (real)b->length[r], y);
        } else {
            memcpy(y, top_row(p, b, b->length[r] - 1, r), H * sizeof(real));
            if (c->D == 2)
                memcpy(y + H, top_row(p, b, 0, r) + H, H * sizeof(real));
        }
    }
}

/* Gradient of pool: dtop [B, D*H] into g1 [N, D*H]. */
static void pool_grad(const struct pass *p, const struct pass_batch *b)
{
    const struct net_config *c = &p->net->c;
    size_t H = (size_t)c->H, DH = (size_t)c->D * H;
    if (c->pooling != NET_POOL_MEAN)
        memset(p->g1, 0, (size_t)b->steps.N * DH * sizeof(real));
    for (int r = 0; r < b->B; r++) {
        const real *d = p->dtop + (size_t)r * DH;
        const int *off = b->steps.off;
        if (c->pooling == NET_POOL_MAX) {
            const int32_t *where = p->argmax + (size_t)r * DH;
            for (size_t j = 0; j < DH; j++)
                p->g1[(size_t)(off[where[j]] + r) * DH + j] = d[j];
        } else if (c->pooling == NET_POOL_MEAN) {
            for (int t = 0; t < b->length[r]; t++)
                for (size_t j = 0; j < DH; j++)
                    p->g1[(size_t)(off[t] + r) * DH + j] =
                        d[j] / (real)b->length[r];
        } else {
            memcpy(p->g1 + (size_t)(off[b->length[r] - 1] + r) * DH, d,
                   H * sizeof(real));
            if (c->D == 2)
                memcpy(p->g1 + (size_t)(off[0] + r) * DH + H, d + H,
                       H * sizeof(real));
        }
    }
}

static double run_loss(struct pass *p, const struct pass_batch *b, real *w,
                       const struct pass_opts *o, real *grad)
{
    const struct net *n = p->net;
    int rows = n->c.C > 0 ? b->B : b->steps.N;
    real *y = n->c.P > 0 ? p->proj : p->top;
    real *dy = n->c.P > 0 ? p->dproj : p->dtop;
    struct loss_task t = {.blas = p->blas,
                          .work = &p->loss,
                          .y = mat_of(y, rows, n->Q),
                          .target = b->target,
                          .w = mat_of(w + n->t[n->out_w].at, n->K, n->Q),
                          .b = w + n->t[n->out_b].at,
                          .scale = o->scale,
                          .smoothing = o->train ? o->smoothing : (real)0,
                          .prob = o->train ? NULL : p->prob,
                          .rows_w = n->c.tie ? &p->rows_in : &p->rows_w,
                          .rows_b = &p->rows_b};
    if (o->train) {
        t.dy = mat_of(dy, rows, n->Q);
        t.dw = grad + n->t[n->out_w].at;
        t.db = grad + n->t[n->out_b].at;
        if (o->noise != NULL)
            return loss_sampled(&t, o->noise, o->set);
    }
    return loss_full(&t);
}

static void head_forward(struct pass *p, const struct pass_batch *b, real *w,
                         const struct pass_opts *o)
{
    const struct net *n = p->net;
    int DH = n->c.D * n->c.H, rows = n->c.C > 0 ? b->B : b->steps.N;
    if (n->c.C > 0)
        pool(p, b);
    else
        memcpy(p->top, p->layer[n->c.L - 1].out,
               (size_t)rows * (size_t)DH * sizeof(real));
    if (o->train)
        mask_rows(p, n->c.C > 0 ? NULL : &b->steps, pass_key(o, SITE_OUTPUT),
                  p->drop.output, mat_of(p->top, rows, DH));
    if (n->c.P == 0)
        return;
    for (int r = 0; r < rows; r++)
        memcpy(p->proj + (size_t)r * (size_t)n->c.P, w + n->t[n->proj_b].at,
               (size_t)n->c.P * sizeof(real));
    blas_nt(p->blas, mat_of(p->top, rows, DH),
            mat_of(w + n->t[n->proj_w].at, n->c.P, DH), (real)1,
            mat_of(p->proj, rows, n->c.P));
}

/* From the gradient of the output layer's input to g1 [N, D*H]. */
static void head_backward(struct pass *p, const struct pass_batch *b, real *w,
                          const struct pass_opts *o, real *grad)
{
    const struct net *n = p->net;
    int DH = n->c.D * n->c.H, rows = n->c.C > 0 ? b->B : b->steps.N;
    struct mat dtop = mat_of(p->dtop, rows, DH);
    if (n->c.P > 0) {
        struct mat dy = mat_of(p->dproj, rows, n->c.P);
        vec_column_sums(dy, grad + n->t[n->proj_b].at);
        blas_tn(p->blas, dy, mat_of(p->top, rows, DH), (real)1,
                mat_of(grad + n->t[n->proj_w].at, n->c.P, DH));
        blas_nn(p->blas, dy, mat_of(w + n->t[n->proj_w].at, n->c.P, DH),
                (real)0, dtop);
    }
    mask_rows(p, n->c.C > 0 ? NULL : &b->steps, pass_key(o, SITE_OUTPUT),
              p->drop.output, dtop);
    if (n->c.C > 0)
        pool_grad(p, b);
    else
        memcpy(p->g1, p->dtop, (size_t)rows * (size_t)DH * sizeof(real));
}

int pass_rows(const struct net *n, const struct pass_batch *b)
{
    if (n->c.C > 0)
        return b->B;
    return net_is_masked(n) ? b->n_pick : b->steps.N;
}

double pass_run(struct pass *p, const struct pass_batch *b, real *w,
                const struct pass_opts *o, real *grad)
{
    if (b->steps.N == 0)
        return 0;
    if (p->net->c.kind != NET_RNN)
        return pass_tf_run(p, b, w, o, grad);
    embed(p, b, w, o);
    layers_forward(p, b, w, o);
    head_forward(p, b, w, o);
    double loss = run_loss(p, b, w, o, grad);
    if (!o->train)
        return loss;
    head_backward(p, b, w, o, grad);
    layers_backward(p, b, w, o, grad);
    return loss;
}
