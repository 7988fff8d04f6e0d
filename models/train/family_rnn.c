/* family_rnn: recurrent nets (trainable.h): embedding, layers of one cell in
 * one or two directions, pooling (classifiers), projection, output. The layers
 * themselves are rnn_grad.h's. A language model's states go on from one chunk
 * of its lanes to the next; a classifier's start from zero.
 *
 * Dimensions: E embedding, H hidden, L layers, D directions, G gates, P
 * projection (0: none); the output layer has Q = P or D*H columns.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "engine/base/rng.h"
#include "models/train/objective.h"
#include "models/train/trainable.h"

#define MAX_SIZE (1 << 24)

/* The values of --pooling; those of --cell are train_options.h's. */
enum pooling { POOL_LAST, POOL_MEAN, POOL_MAX };

static const struct cell_grad *const cells[] = {&lstm_grad, &gru_grad,
                                                &elman_grad};
static const char *const cell_names[] = {"lstm", "gru", "elman", NULL};
static const char *const act_names[] = {"tanh", "relu", NULL};
static const char *const pool_names[] = {"last", "mean", "max", NULL};

struct shape {
    const struct cell_grad *cell;
    int relu, E, H, L, D, P;
    enum pooling pooling;
    int layer[NET_MAX_LAYERS][2]; /* w_ih, and after it w_hh, b_ih, b_hh */
    int proj;                     /* weight, bias */
};

struct layer {
    real *in;              /* [N, I] masked copy of the layer's input */
    real *out;             /* [N, D*H] */
    struct rnn_run run[2]; /* directions */
    real *w_drop[2];       /* [G*H, H] */
};

struct work {
    struct layer layer[NET_MAX_LAYERS];
    real *dh, *dc;    /* [B, H] */
    real *top, *dtop; /* [targets, D*H]; without projection y, dy of the pass */
    real *g1, *g2;    /* [N, max(E, D*H)] gradients between layers */
    int32_t *argmax;  /* [B, D*H] max pooling */
};

/* Columns of w_ih. */
static int inputs_of(const struct shape *s, int layer)
{
    return layer == 0 ? s->E : s->D * s->H;
}

static struct rnn_weights weights_of(const struct net *n, int l, int d, real *p)
{
    const struct shape *s = n->shape;
    int k = s->layer[l][d];
    return (struct rnn_weights){net_at(n, k, p), net_at(n, k + 1, p),
                                net_at(n, k + 2, p), net_at(n, k + 3, p)};
}

/* ---- options, config.json ---- */

static const struct objective *rnn_objective(const struct options *o)
{
    return o->task == TASK_CLASSIFIER ? &classifier : &language_model;
}

static int rnn_read(const struct hparams *h, struct options *o, int *labels,
                    struct err *e)
{
    static const char *const heads[] = {"lm", "classifier", NULL};
    int64_t P, L;
    int head;
    if (config_size(h, "vocab_size", MAX_SIZE, &o->vocab_size, e) != 0 ||
        config_size(h, "embedding_dim", MAX_SIZE, &o->embedding, e) != 0 ||
        config_size(h, "hidden_size", MAX_SIZE, &o->hidden, e) != 0 ||
        hparams_int_or(h, "num_layers", 1, NET_MAX_LAYERS, 1, &L, e) != 0 ||
        hparams_int_or(h, "projection_dim", 1, MAX_SIZE, 0, &P, e) != 0 ||
        hparams_choice(h, "cell", cell_names, NULL, &o->cell, e) != 0 ||
        hparams_choice(h, "nonlinearity", act_names, "tanh", &o->relu, e) !=
            0 ||
        hparams_choice(h, "head", heads, NULL, &head, e) != 0 ||
        hparams_choice(h, "pooling", pool_names, "last", &o->pooling, e) != 0 ||
        hparams_bool_or(h, "bidirectional", 0, &o->bidirectional, e) != 0 ||
        hparams_bool_or(h, "tie_word_embeddings", 0, &o->tie, e) != 0)
        return -1;
    o->layers = (int)L;
    o->projection = (int)P;
    *labels = head == 1 ? config_labels(h) : 0;
    if (head == 1 && *labels == 0)
        return err_set(e, ERR_FORMAT, "config.json: no 'id2label'");
    return 0;
}

static void rnn_write(const struct net *n, const struct tokenizer *t,
                      struct buf *b)
{
    const struct shape *s = n->shape;
    (void)t;
    buf_addf(b, ",\n  \"cell\": \"%s\"", s->cell->name);
    if (s->cell == &elman_grad)
        buf_addf(b, ",\n  \"nonlinearity\": \"%s\"", act_names[s->relu]);
    buf_addf(b,
             ",\n  \"vocab_size\": %d,\n  \"embedding_dim\": %d,\n"
             "  \"hidden_size\": %d,\n  \"num_layers\": %d",
             n->V, s->E, s->H, s->L);
    if (s->P > 0)
        buf_addf(b, ",\n  \"projection_dim\": %d", s->P);
    if (n->C == 0)
        buf_addf(b, ",\n  \"tie_word_embeddings\": %s,\n  \"head\": \"lm\"",
                 n->out_w == n->embedding ? "true" : "false");
    else
        buf_addf(b,
                 ",\n  \"bidirectional\": %s,\n  \"head\": \"classifier\",\n"
                 "  \"pooling\": \"%s\"",
                 s->D == 2 ? "true" : "false", pool_names[s->pooling]);
}

/* ---- tensors ---- */

static void add_layer(struct net *n, struct shape *s, int l, int d)
{
    static const char *const parts[4] = {"weight_ih", "weight_hh", "bias_ih",
                                         "bias_hh"};
    const int columns[4] = {inputs_of(s, l), s->H, 0, 0};
    s->layer[l][d] = n->n_tensors;
    for (int k = 0; k < 4; k++) {
        char name[64];
        snprintf(name, sizeof name, "rnn.%s_l%d%s", parts[k], l,
                 d ? "_reverse" : "");
        net_add(n, name, s->cell->gates * s->H, columns[k], 0);
    }
}

static int rnn_plan(struct net *n, const struct options *o, struct err *e)
{
    struct shape *s = n->shape;
    *s = (struct shape){.cell = cells[o->cell],
                        .relu = o->cell == CELL_ELMAN && o->relu,
                        .E = o->embedding,
                        .H = o->hidden,
                        .L = o->layers,
                        .D = o->bidirectional ? 2 : 1,
                        .P = o->projection,
                        .pooling = (enum pooling)o->pooling};
    n->name = s->cell->name;
    n->Q = s->P > 0 ? s->P : s->D * s->H;
    if (n->V < 1 || s->E < 1 || s->H < 1 || s->P < 0)
        return err_set(e, ERR_INVALID, "sizes must be positive");
    if (s->D == 2 && n->C == 0)
        return err_set(e, ERR_INVALID,
                       "a language model cannot be bidirectional");
    if (o->tie && (n->C > 0 || n->Q != s->E))
        return err_set(e, ERR_INVALID,
                       "tied weights need a language model whose output width "
                       "%d equals the embedding's %d",
                       n->Q, s->E);
    n->embedding = net_add(n, "embedding.weight", n->V, s->E, 0);
    for (int l = 0; l < s->L; l++)
        for (int d = 0; d < s->D; d++)
            add_layer(n, s, l, d);
    if (s->P > 0) {
        s->proj = net_add(n, "projection.weight", s->P, s->D * s->H, 0);
        net_add(n, "projection.bias", s->P, 0, 0);
    }
    n->out_w =
        o->tie ? n->embedding : net_add(n, "output.weight", n->K, n->Q, 0);
    n->out_b = net_add(n, "output.bias", n->K, 0, 0);
    return 0;
}

static void fill_uniform(struct rng *r, double limit, size_t n, real *p)
{
    for (size_t i = 0; i < n; i++)
        p[i] = (real)((2 * rng_uniform(r) - 1) * limit);
}

static void fill_glorot(struct rng *r, int out, int in, real *p)
{
    fill_uniform(r, sqrt(6.0 / (out + in)), (size_t)out * (size_t)in, p);
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

static void initialise_layer(const struct net *n, int l, int d, struct rng *r,
                             real *p)
{
    const struct shape *s = n->shape;
    struct rnn_weights w = weights_of(n, l, d, p);
    int H = s->H, I = inputs_of(s, l);
    size_t hh = (size_t)H * (size_t)H, hi = (size_t)H * (size_t)I;
    for (int k = 0; k < s->cell->gates; k++) {
        fill_glorot(r, H, I, w.w_ih + (size_t)k * hi);
        if (!s->relu) {
            fill_orthogonal(r, H, w.w_hh + (size_t)k * hh);
            continue;
        }
        for (int i = 0; i < H; i++)
            w.w_hh[(size_t)k * hh + (size_t)i * (size_t)(H + 1)] = (real)1;
    }
    if (s->cell->has_c)
        for (int i = H; i < 2 * H; i++)
            w.b_ih[i] = (real)1; /* forget bias, Jozefowicz et al. 2015 */
}

/* Identity recurrent matrix for ReLU Elman (Le et al. 2015), orthogonal
 * otherwise (Saxe et al. 2014); Glorot and Bengio 2010 for other matrices;
 * embedding uniform in [-0.1, 0.1]; biases 0 but for the forget gate's. */
static void rnn_initialise(const struct net *n, struct rng *r, real *p)
{
    const struct shape *s = n->shape;
    fill_uniform(r, 0.1, n->t[n->embedding].n, net_at(n, n->embedding, p));
    for (int l = 0; l < s->L; l++)
        for (int d = 0; d < s->D; d++)
            initialise_layer(n, l, d, r, p);
    if (s->P > 0)
        fill_glorot(r, s->P, s->D * s->H, net_at(n, s->proj, p));
    if (n->out_w != n->embedding)
        fill_glorot(r, n->K, n->Q, net_at(n, n->out_w, p));
}

/* ---- arrays of a pass ---- */

static int open_run(struct pass *p, const struct shape *s, int l, int d,
                    struct err *e)
{
    struct rnn_run *r = &((struct work *)p->own)->layer[l].run[d];
    size_t N = (size_t)p->cap_N, BH = (size_t)(p->cap_B * s->H);
    size_t H = (size_t)s->H, GH = (size_t)s->cell->gates * H;
    real *(*state)(struct pass *, size_t) =
        p->net->C > 0 ? pass_reals : pass_keep;
    *r = (struct rnn_run){.cell = s->cell,
                          .blas = p->blas,
                          .I = inputs_of(s, l),
                          .H = s->H,
                          .relu = s->relu,
                          .reverse = d};
    r->h = state(p, BH);
    r->a = pass_reals(p, N * GH);
    r->hp = pass_reals(p, N * H);
    r->bias = pass_reals(p, GH);
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

static int rnn_open(struct pass *p, struct err *e)
{
    const struct shape *s = p->net->shape;
    struct work *k = p->own;
    size_t N = (size_t)p->cap_N, BH = (size_t)(p->cap_B * s->H);
    size_t H = (size_t)s->H, DH = (size_t)s->D * H;
    size_t top = pass_max_targets(p) * DH;
    size_t wide = DH > (size_t)s->E ? DH : (size_t)s->E;
    k->dh = pass_reals(p, BH);
    k->dc = pass_reals(p, BH);
    k->top = s->P > 0 ? pass_reals(p, top) : p->y;
    k->dtop = s->P > 0 ? pass_reals(p, top) : p->dy;
    k->g1 = pass_reals(p, N * wide);
    k->g2 = pass_reals(p, N * wide);
    if (s->pooling == POOL_MAX)
        k->argmax = region_take(&p->mem, BH * (size_t)s->D, sizeof *k->argmax);
    for (int l = 0; l < s->L; l++) {
        struct layer *y = &k->layer[l];
        y->in = pass_reals(p, N * (size_t)inputs_of(s, l));
        y->out = pass_reals(p, N * DH);
        for (int d = 0; d < s->D; d++) {
            y->w_drop[d] = pass_reals(p, (size_t)s->cell->gates * H * H);
            if (open_run(p, s, l, d, e) != 0)
                return -1;
        }
    }
    return 0;
}

/* ---- layers ---- */

/* The mask of one site over rows [N, c], or [B, c] of pooled texts. */
static void mask_rows(const struct pass *p, int site, real rate, struct mat x,
                      int pooled)
{
    const struct steps *s = &p->b->steps;
    size_t c = (size_t)x.c;
    if (pooled || !p->drop.variational) {
        pass_mask(p, site, rate, (size_t)x.r * c, x.p);
        return;
    }
    for (int t = 0; t < s->T; t++)
        pass_mask(p, site, rate, (size_t)s->n[t] * c,
                  x.p + (size_t)s->off[t] * c);
}

/* One mask of a recurrent matrix, or of its gradient, for all workers of the
 * step: the key has no worker in it. */
static void mask_weights(const struct pass *p, int l, int d, real *w)
{
    const struct shape *s = p->net->shape;
    vec_dropout(p->net->t[s->layer[l][d] + 1].n,
                p->o->word_key + (uint32_t)(SITE_RECURRENT + 2 * l + d),
                p->drop.recurrent, w);
}

/* A direction of a layer, with the batch and the weights of this pass. */
static struct rnn_run *run_at(const struct pass *p, int l, int d)
{
    const struct shape *s = p->net->shape;
    struct layer *y = &((struct work *)p->own)->layer[l];
    struct rnn_run *r = &y->run[d];
    int masked = l == 0 || (p->o->train && p->drop.between > 0);
    r->steps = &p->b->steps;
    r->w = weights_of(p->net, l, d, p->w);
    r->x = mat_of(masked ? y->in : y[-1].out, p->b->N, r->I);
    r->out = mat_ld(y->out + d * s->H, p->b->N, s->H, (size_t)(s->D * s->H));
    if (p->o->train && p->drop.recurrent > 0)
        r->w.w_hh = y->w_drop[d];
    return r;
}

static void forward_run(const struct pass *p, int l, int d)
{
    struct rnn_run *r = run_at(p, l, d);
    struct mat w_hh = mat_of(r->w.w_hh, r->cell->gates * r->H, r->H);
    if (p->o->train && p->drop.recurrent > 0) {
        memcpy(w_hh.p, weights_of(p->net, l, d, p->w).w_hh,
               (size_t)w_hh.r * (size_t)w_hh.c * sizeof(real));
        mask_weights(p, l, d, w_hh.p);
    }
    if (p->net->C > 0) { /* each text is whole */
        size_t state = (size_t)(p->b->B * r->H) * sizeof(real);
        memset(r->h, 0, state);
        if (r->c != NULL)
            memset(r->c, 0, state);
    }
    recur_load(&r->ahead, w_hh);
    if (p->o->train)
        recur_load(&r->back, w_hh);
    rnn_forward(r);
}

static void layers_forward(const struct pass *p)
{
    const struct shape *s = p->net->shape;
    const struct work *k = p->own;
    for (int l = 0; l < s->L; l++) {
        if (l > 0 && p->o->train && p->drop.between > 0) {
            struct mat x = mat_of(k->layer[l].in, p->b->N, inputs_of(s, l));
            memcpy(x.p, k->layer[l - 1].out,
                   (size_t)x.r * (size_t)x.c * sizeof(real));
            mask_rows(p, SITE_BETWEEN + l, p->drop.between, x, 0);
        }
        for (int d = 0; d < s->D; d++)
            forward_run(p, l, d);
    }
}

/* From g1, the gradient of the top layer's output, to that of the embedded
 * rows in g1. */
static void layers_backward(const struct pass *p)
{
    const struct shape *s = p->net->shape;
    struct work *k = p->own;
    int N = p->b->N, H = s->H;
    size_t state = (size_t)(p->b->B * H) * sizeof(real);
    for (int l = s->L - 1; l >= 0; l--) {
        struct mat dx = mat_of(k->g2, N, inputs_of(s, l));
        for (int d = 0; d < s->D; d++) {
            struct rnn_weights g = weights_of(p->net, l, d, p->grad);
            struct mat dout = mat_ld(k->g1 + d * H, N, H, (size_t)(s->D * H));
            memset(k->dh, 0, state);
            memset(k->dc, 0, state);
            rnn_backward(run_at(p, l, d), dout, &g, dx, (real)d, k->dh, k->dc);
            if (p->drop.recurrent > 0)
                mask_weights(p, l, d, g.w_hh);
        }
        if (l > 0)
            mask_rows(p, SITE_BETWEEN + l, p->drop.between, dx, 0);
        real *swap = k->g1;
        k->g1 = k->g2;
        k->g2 = swap;
    }
}

/* ---- pooling of each text's states, [N, D*H] to [B, D*H] ---- */

/* Row of a text's time in the top layer's output, or in its gradient. */
static real *row_at(const struct pass *p, real *rows, int t, int r)
{
    const struct shape *s = p->net->shape;
    return rows + (size_t)(p->b->steps.off[t] + r) * (size_t)(s->D * s->H);
}

static void pool_max(const struct pass *p, real *out, int r, size_t DH, real *y)
{
    int32_t *where = ((struct work *)p->own)->argmax + (size_t)r * DH;
    memcpy(y, row_at(p, out, 0, r), DH * sizeof *y);
    memset(where, 0, DH * sizeof *where);
    for (int t = 1; t < p->b->length[r]; t++) {
        const real *x = row_at(p, out, t, r);
        for (size_t j = 0; j < DH; j++) {
            where[j] = x[j] > y[j] ? t : where[j];
            y[j] = x[j] > y[j] ? x[j] : y[j];
        }
    }
}

static void pool(const struct pass *p)
{
    const struct shape *s = p->net->shape;
    const struct work *k = p->own;
    real *out = k->layer[s->L - 1].out;
    size_t H = (size_t)s->H, DH = (size_t)s->D * H;
    for (int r = 0; r < p->b->B; r++) {
        real *y = k->top + (size_t)r * DH;
        int n = p->b->length[r];
        if (s->pooling == POOL_MAX) {
            pool_max(p, out, r, DH, y);
        } else if (s->pooling == POOL_MEAN) {
            memset(y, 0, DH * sizeof *y);
            for (int t = 0; t < n; t++)
                vec_add(DH, row_at(p, out, t, r), y);
            vec_scale(DH, (real)1 / (real)n, y);
        } else { /* the last state of each direction */
            memcpy(y, row_at(p, out, n - 1, r), H * sizeof *y);
            if (s->D == 2)
                memcpy(y + H, row_at(p, out, 0, r) + H, H * sizeof *y);
        }
    }
}

/* Gradient of pool: dtop into g1. */
static void pool_grad(const struct pass *p)
{
    const struct shape *s = p->net->shape;
    const struct work *k = p->own;
    real *g = k->g1;
    size_t H = (size_t)s->H, DH = (size_t)s->D * H;
    memset(g, 0, (size_t)p->b->N * DH * sizeof *g);
    for (int r = 0; r < p->b->B; r++) {
        const real *d = k->dtop + (size_t)r * DH;
        int n = p->b->length[r];
        if (s->pooling == POOL_MAX) {
            const int32_t *where = k->argmax + (size_t)r * DH;
            for (size_t j = 0; j < DH; j++)
                row_at(p, g, where[j], r)[j] = d[j];
        } else if (s->pooling == POOL_MEAN) {
            for (int t = 0; t < n; t++) {
                real *row = row_at(p, g, t, r);
                for (size_t j = 0; j < DH; j++)
                    row[j] = d[j] / (real)n;
            }
        } else {
            memcpy(row_at(p, g, n - 1, r), d, H * sizeof *g);
            if (s->D == 2)
                memcpy(row_at(p, g, 0, r) + H, d + H, H * sizeof *g);
        }
    }
}

/* ---- all of it ---- */

static void rnn_forward_pass(struct pass *p)
{
    const struct shape *s = p->net->shape;
    const struct work *k = p->own;
    struct mat x = mat_of(k->layer[0].in, p->b->N, s->E);
    struct mat top = mat_of(k->top, p->b->n_target, s->D * s->H);
    pass_embed(p, x.p);
    mask_rows(p, SITE_EMBEDDING, p->drop.embedding, x, 0);
    layers_forward(p);
    if (p->net->C > 0)
        pool(p);
    else
        memcpy(top.p, k->layer[s->L - 1].out,
               (size_t)top.r * (size_t)top.c * sizeof(real));
    mask_rows(p, SITE_OUTPUT, p->drop.output, top, p->net->C > 0);
    if (s->P > 0) {
        struct dense d = pass_dense(p, s->proj);
        dense_forward(&d, top.r, top.p, p->y);
    }
}

static void rnn_backward_pass(struct pass *p)
{
    const struct shape *s = p->net->shape;
    const struct work *k = p->own;
    struct mat top = mat_of(k->dtop, p->b->n_target, s->D * s->H);
    if (s->P > 0) {
        struct dense d = pass_dense(p, s->proj);
        dense_backward(&d, top.r, k->top, p->dy, top.p);
    }
    mask_rows(p, SITE_OUTPUT, p->drop.output, top, p->net->C > 0);
    if (p->net->C > 0)
        pool_grad(p);
    else
        memcpy(k->g1, top.p, (size_t)top.r * (size_t)top.c * sizeof(real));
    layers_backward(p);
    mask_rows(p, SITE_EMBEDDING, p->drop.embedding,
              mat_of(k->g1, p->b->N, s->E), 0);
    pass_embed_grad(p, k->g1);
}

/* ---- gradient check ---- */

static const struct grad_case heads[] = {
    {.note = NULL},
    {.dropout = (real)0.4},
    {.smoothing = (real)0.1},
    {.o.projection = 6},
    {.o.tie = 1},
    {.o.tie = 1, .o.projection = 4},
    {.sampled = 1},
    {.sampled = 1, .o.tie = 1},
    {.labels = 3, .o.pooling = POOL_LAST},
    {.labels = 3, .o.pooling = POOL_MEAN},
    {.labels = 3, .o.pooling = POOL_MAX, .o.projection = 6},
    {.labels = 2, .o.pooling = POOL_LAST, .o.bidirectional = 1},
    {.labels = 2,
     .o.pooling = POOL_MEAN,
     .o.bidirectional = 1,
     .o.projection = 6},
    {.labels = 2, .o.pooling = POOL_MAX, .o.bidirectional = 1},
    {.labels = 2,
     .o.pooling = POOL_MAX,
     .o.bidirectional = 1,
     .dropout = (real)0.4},
};

/* Every head with every cell, with one layer and with two. */
static int rnn_grad_case(int i, struct grad_case *c)
{
    static const int kinds[] = {CELL_LSTM, CELL_GRU, CELL_ELMAN, CELL_ELMAN};
    if (i / 8 >= (int)(sizeof heads / sizeof *heads))
        return 0;
    *c = heads[i / 8];
    c->note = c->labels > 0 ? pool_names[c->o.pooling] : "";
    c->o.cell = kinds[i % 4];
    c->o.relu = i % 4 == 3;
    c->o.layers = 1 + i / 4 % 2;
    return 1;
}

const struct trainable rnn_trainable = {
    .name = "rnn",
    .embedding = "embedding.weight",
    .shape_bytes = sizeof(struct shape),
    .pass_bytes = sizeof(struct work),
    .objective = rnn_objective,
    .read = rnn_read,
    .write = rnn_write,
    .plan = rnn_plan,
    .initialise = rnn_initialise,
    .pack = feed_pack_by_time,
    .open = rnn_open,
    .forward = rnn_forward_pass,
    .backward = rnn_backward_pass,
    .grad_case = rnn_grad_case,
};
