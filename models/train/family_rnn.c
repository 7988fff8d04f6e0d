/* family_rnn: recurrent nets (trainable.h): embedding, layers of one cell in
 * one or two directions, pooling (classifiers), projection, output. The layers
 * themselves are rnn_grad.h's. A language model's states go on from one chunk
 * of its lanes to the next; a classifier's start from zero.
 *
 * Dimensions: E embedding, H hidden, L layers, D directions, G gates, P
 * projection (0: none), W = D*H or, where the last state, the maximum and the
 * mean are pooled behind each other, 3*D*H; the output layer has Q = P or W
 * columns.
 *
 * SPDX-License-Identifier: MIT */
#include "models/train/objective.h"
#include "models/train/rnn_stack.h"
#include "models/train/trainable.h"

#define MAX_SIZE (1 << 24)

/* The values of --pooling; those of --cell are train_options.h's. */
enum pooling { POOL_LAST, POOL_MEAN, POOL_MAX, POOL_CONCAT };

static const struct cell_grad *const cells[] = {&lstm_grad, &gru_grad,
                                                &elman_grad};
static const char *const cell_names[] = {"lstm", "gru", "elman", NULL};
static const char *const act_names[] = {"tanh", "relu", NULL};
static const char *const pool_names[] = {"last", "mean", "max", "concat", NULL};

struct shape {
    struct rnn_stack_shape stack;
    int E, P;
    enum pooling pooling;
    int proj; /* weight, bias */
};

struct work {
    struct rnn_stack stack;
    real *top, *dtop; /* [targets, W]; without projection y, dy of the pass */
    int32_t *argmax;  /* [B, D*H] max pooling */
};

/* Columns of the top layer's output. */
static int state_width(const struct shape *s)
{
    return s->stack.D * s->stack.H;
}

/* Columns of what projection and output read. */
static int top_width(const struct net *n, const struct shape *s)
{
    return state_width(s) * (n->C > 0 && s->pooling == POOL_CONCAT ? 3 : 1);
}

static int pools_max(const struct shape *s)
{
    return s->pooling == POOL_MAX || s->pooling == POOL_CONCAT;
}

static int pools_mean(const struct shape *s)
{
    return s->pooling == POOL_MEAN || s->pooling == POOL_CONCAT;
}

/* ---- options, config.json ---- */

static const struct objective *rnn_objective(const struct options *o)
{
    return o->task == TASK_CLASSIFIER   ? &classifier
           : o->task == TASK_REGRESSION ? &regression
           : o->predict_last > 0        ? &last_tokens
           : o->apart                   ? &record_model
                                        : &language_model;
}

/* What is read: entries of a vocabulary, or vectors. */
static int read_input(const struct hparams *h, struct options *o, struct err *e)
{
    if (hparams_has(h, "input_size"))
        return config_size(h, "input_size", MAX_SIZE, &o->inputs, e);
    return config_size(h, "vocab_size", MAX_SIZE, &o->vocab_size, e) != 0
               ? -1
               : config_size(h, "embedding_dim", MAX_SIZE, &o->embedding, e);
}

enum head { HEAD_LM, HEAD_CLASSIFIER, HEAD_REGRESSION };

static int read_outputs(const struct hparams *h, int head, struct options *o,
                        int *labels, struct err *e)
{
    *labels = 0;
    if (head == HEAD_REGRESSION) {
        o->task = TASK_REGRESSION;
        return config_size(h, "output_size", DATA_MAX_LABELS, labels, e);
    }
    if (o->inputs > 0)
        return err_set(e, ERR_FORMAT,
                       "config.json: 'input_size' is for \"head\": "
                       "\"regression\"");
    if (head == HEAD_CLASSIFIER && (*labels = config_labels(h)) == 0)
        return err_set(e, ERR_FORMAT, "config.json: no 'id2label'");
    return 0;
}

static int rnn_read(const struct hparams *h, struct options *o, int *labels,
                    struct err *e)
{
    static const char *const heads[] = {"lm", "classifier", "regression", NULL};
    int64_t P, L;
    int head;
    if (read_input(h, o, e) != 0 ||
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
    return read_outputs(h, head, o, labels, e);
}

static void rnn_write(const struct net *n, const struct tokenizer *t,
                      struct buf *b)
{
    const struct shape *s = n->shape;
    const struct rnn_stack_shape *k = &s->stack;
    (void)t;
    buf_addf(b, ",\n  \"cell\": \"%s\"", k->cell->name);
    if (k->cell == &elman_grad)
        buf_addf(b, ",\n  \"nonlinearity\": \"%s\"", act_names[k->relu]);
    if (n->I > 0)
        buf_addf(b, ",\n  \"input_size\": %d", n->I);
    else
        buf_addf(b, ",\n  \"vocab_size\": %d,\n  \"embedding_dim\": %d", n->V,
                 s->E);
    buf_addf(b, ",\n  \"hidden_size\": %d,\n  \"num_layers\": %d", k->H, k->L);
    if (s->P > 0)
        buf_addf(b, ",\n  \"projection_dim\": %d", s->P);
    if (n->C == 0)
        buf_addf(b, ",\n  \"tie_word_embeddings\": %s,\n  \"head\": \"lm\"",
                 n->out_w == n->embedding ? "true" : "false");
    else
        buf_addf(b,
                 ",\n  \"bidirectional\": %s,\n  \"head\": \"%s\",\n"
                 "  \"pooling\": \"%s\"",
                 k->D == 2 ? "true" : "false",
                 n->values ? "regression" : "classifier",
                 pool_names[s->pooling]);
    if (n->values)
        buf_addf(b, ",\n  \"output_size\": %d", n->C);
}

/* ---- tensors ---- */

/* A state that goes on from one chunk of a text to the next and forgets nothing
 * is a sum of all that was read: with the identity as its recurrent matrix a
 * ReLU's grows for as long as an epoch lasts, at any rate. */
static struct rnn_init init_of(const struct net *n, const struct options *o)
{
    struct rnn_init init = rnn_init_of(o);
    if (init.kind == INIT_AUTO && n->C == 0 && !rnn_objective(o)->fresh)
        init.kind = INIT_ORTHOGONAL;
    return init;
}

static int rnn_plan(struct net *n, const struct options *o, struct err *e)
{
    struct shape *s = n->shape;
    int E = n->I > 0 ? n->I : o->embedding;
    *s = (struct shape){.stack = {.cell = cells[o->cell],
                                  .relu = o->cell == CELL_ELMAN && o->relu,
                                  .I = E,
                                  .H = o->hidden,
                                  .L = o->layers,
                                  .D = o->bidirectional ? 2 : 1,
                                  .init = init_of(n, o)},
                        .E = E,
                        .P = o->projection,
                        .pooling = (enum pooling)o->pooling};
    n->name = s->stack.cell->name;
    n->Q = s->P > 0 ? s->P : top_width(n, s);
    if (n->V + n->I < 1 || s->E < 1 || s->stack.H < 1 || s->P < 0)
        return err_set(e, ERR_INVALID, "sizes must be positive");
    if (s->stack.D == 2 && n->C == 0)
        return err_set(e, ERR_INVALID,
                       "a language model cannot be bidirectional");
    if (o->tie && (n->C > 0 || n->Q != s->E))
        return err_set(e, ERR_INVALID,
                       "tied weights need a language model whose output width "
                       "%d equals the embedding's %d",
                       n->Q, s->E);
    if (n->I == 0)
        n->embedding = net_add(n, "embedding.weight", n->V, s->E, 0);
    rnn_stack_add(n, &s->stack, "rnn.");
    if (s->P > 0) {
        s->proj = net_add(n, "projection.weight", s->P, top_width(n, s), 0);
        net_add(n, "projection.bias", s->P, 0, 0);
    }
    n->out_w =
        o->tie ? n->embedding : net_add(n, "output.weight", n->K, n->Q, 0);
    n->out_b = net_add(n, "output.bias", n->K, 0, 0);
    return 0;
}

/* The embedding uniform in [-0.1, 0.1]; biases 0 but for the forget gate's. */
static void rnn_initialise(const struct net *n, struct rng *r, real *p)
{
    const struct shape *s = n->shape;
    if (n->embedding >= 0)
        rnn_fill_uniform(r, 0.1, n->t[n->embedding].n,
                         net_at(n, n->embedding, p));
    rnn_stack_initialise(n, &s->stack, r, p);
    if (s->P > 0)
        rnn_fill_glorot(r, s->P, top_width(n, s), net_at(n, s->proj, p));
    if (n->out_w != n->embedding)
        rnn_fill_glorot(r, n->K, n->Q, net_at(n, n->out_w, p));
}

/* ---- arrays of a pass ---- */

static int rnn_open(struct pass *p, struct err *e)
{
    const struct shape *s = p->net->shape;
    struct work *k = p->own;
    size_t top = pass_max_targets(p) * (size_t)top_width(p->net, s);
    size_t DH = (size_t)state_width(s);
    k->top = s->P > 0 ? pass_reals(p, top) : p->y;
    k->dtop = s->P > 0 ? pass_reals(p, top) : p->dy;
    if (pools_max(s))
        k->argmax =
            region_take(&p->mem, (size_t)p->cap_B * DH, sizeof *k->argmax);
    return rnn_stack_open(p, &s->stack, &k->stack, p->net->C == 0, e);
}

static int rnn_states(const struct net *n, int l)
{
    const struct rnn_stack_shape *s = &((const struct shape *)n->shape)->stack;
    return l >= s->L ? 0 : s->cell->has_c ? 2 : 1;
}

/* The mask of one site over rows [N, c], or [B, c] of pooled texts. */
static void mask_top(const struct pass *p, struct mat x)
{
    if (p->net->C > 0)
        pass_mask(p, SITE_OUTPUT, p->drop.output, (size_t)x.r * (size_t)x.c,
                  x.p);
    else
        rnn_mask_rows(p, &p->b->steps, SITE_OUTPUT, p->drop.output, x);
}

/* ---- pooling of each text's states, [N, D*H] to [B, W] ---- */

/* Row of a text's time in the top layer's output, or in its gradient. */
static real *row_at(const struct pass *p, real *rows, int t, int r)
{
    const struct shape *s = p->net->shape;
    return rows + (size_t)(p->b->steps.off[t] + r) * (size_t)state_width(s);
}

/* The last state of each direction of text r. */
static void pool_last(const struct pass *p, real *out, int r, real *y)
{
    const struct rnn_stack_shape *k =
        &((const struct shape *)p->net->shape)->stack;
    size_t H = (size_t)k->H;
    memcpy(y, row_at(p, out, p->b->length[r] - 1, r), H * sizeof *y);
    if (k->D == 2)
        memcpy(y + H, row_at(p, out, 0, r) + H, H * sizeof *y);
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

static void pool_mean(const struct pass *p, real *out, int r, size_t DH,
                      real *y)
{
    int n = p->b->length[r];
    memset(y, 0, DH * sizeof *y);
    for (int t = 0; t < n; t++)
        vec_add(DH, row_at(p, out, t, r), y);
    vec_scale(DH, (real)1 / (real)n, y);
}

static void pool(const struct pass *p)
{
    const struct shape *s = p->net->shape;
    const struct work *k = p->own;
    real *out = k->stack.layer[s->stack.L - 1].out;
    size_t DH = (size_t)state_width(s), W = (size_t)top_width(p->net, s);
    for (int r = 0; r < p->b->B; r++) {
        real *y = k->top + (size_t)r * W;
        if (s->pooling == POOL_LAST || s->pooling == POOL_CONCAT) {
            pool_last(p, out, r, y);
            y += DH;
        }
        if (pools_max(s)) {
            pool_max(p, out, r, DH, y);
            y += DH;
        }
        if (pools_mean(s))
            pool_mean(p, out, r, DH, y);
    }
}

static void pool_last_grad(const struct pass *p, const real *d, int r, real *g)
{
    const struct rnn_stack_shape *k =
        &((const struct shape *)p->net->shape)->stack;
    size_t H = (size_t)k->H;
    vec_add(H, d, row_at(p, g, p->b->length[r] - 1, r));
    if (k->D == 2)
        vec_add(H, d + H, row_at(p, g, 0, r) + H);
}

static void pool_max_grad(const struct pass *p, const real *d, int r, size_t DH,
                          real *g)
{
    const int32_t *where = ((struct work *)p->own)->argmax + (size_t)r * DH;
    for (size_t j = 0; j < DH; j++)
        row_at(p, g, where[j], r)[j] += d[j];
}

static void pool_mean_grad(const struct pass *p, const real *d, int r,
                           size_t DH, real *g)
{
    int n = p->b->length[r];
    for (int t = 0; t < n; t++)
        vec_axpy(DH, (real)1 / (real)n, d, row_at(p, g, t, r));
}

/* Gradient of pool: dtop into g1. */
static void pool_grad(const struct pass *p)
{
    const struct shape *s = p->net->shape;
    const struct work *k = p->own;
    real *g = k->stack.g1;
    size_t DH = (size_t)state_width(s), W = (size_t)top_width(p->net, s);
    memset(g, 0, (size_t)p->b->N * DH * sizeof *g);
    for (int r = 0; r < p->b->B; r++) {
        const real *d = k->dtop + (size_t)r * W;
        if (s->pooling == POOL_LAST || s->pooling == POOL_CONCAT) {
            pool_last_grad(p, d, r, g);
            d += DH;
        }
        if (pools_max(s)) {
            pool_max_grad(p, d, r, DH, g);
            d += DH;
        }
        if (pools_mean(s))
            pool_mean_grad(p, d, r, DH, g);
    }
}

/* ---- penalties on the top states (pass.h) ---- */

/* Rows that have one of the time before, and of how many all would be: with
 * texts of one length T every factor makes of a worker's mean that of all. */
static real change_factor(const struct pass *p)
{
    const struct steps *s = &p->b->steps;
    int pairs = s->N - (s->T > 0 ? s->n[0] : 0);
    return pairs > 0 ? p->penalty.tar * (real)s->N / (real)pairs : (real)0;
}

static void add_penalty(struct pass *p)
{
    const struct shape *s = p->net->shape;
    const struct work *k = p->own;
    const struct steps *t = &p->b->steps;
    const real *out = k->stack.layer[s->stack.L - 1].out;
    size_t H = (size_t)s->stack.H;
    double sum = 0;
    for (int i = 1; i < t->T; i++)
        for (size_t j = 0; j < (size_t)t->n[i] * H; j++) {
            double d = (double)out[(size_t)t->off[i] * H + j] -
                       (double)out[(size_t)t->off[i - 1] * H + j];
            sum += d * d;
        }
    p->penalty.loss =
        ((double)p->penalty.ar * vec_sum_squares((size_t)t->N * H, k->top) +
         (double)change_factor(p) * sum) /
        (double)H;
}

/* The gradient of the first part: to that of the states after dropout. */
static void add_size_grad(const struct pass *p, real *d)
{
    const struct work *k = p->own;
    size_t H = (size_t)top_width(p->net, p->net->shape);
    vec_axpy((size_t)p->b->N * H, p->o->scale * 2 * p->penalty.ar / (real)H,
             k->top, d);
}

/* Of the second: to that of the states before it. */
static void add_change_grad(const struct pass *p, real *d)
{
    const struct shape *s = p->net->shape;
    const struct work *k = p->own;
    const struct steps *t = &p->b->steps;
    const real *out = k->stack.layer[s->stack.L - 1].out;
    size_t H = (size_t)s->stack.H;
    real f = p->o->scale * 2 * change_factor(p) / (real)H;
    for (int i = 1; i < t->T; i++)
        for (size_t j = 0; j < (size_t)t->n[i] * H; j++) {
            size_t now = (size_t)t->off[i] * H + j;
            size_t before = (size_t)t->off[i - 1] * H + j;
            real g = f * (out[now] - out[before]);
            d[now] += g;
            d[before] -= g;
        }
}

static int is_penalised(const struct pass *p)
{
    return p->o->train && (p->penalty.ar > 0 || p->penalty.tar > 0);
}

/* ---- all of it ---- */

/* Rows of k->top. */
static int top_rows(const struct pass *p)
{
    return p->net->C > 0 ? p->b->B : p->b->N;
}

static void rnn_forward_pass(struct pass *p)
{
    const struct shape *s = p->net->shape;
    struct work *k = p->own;
    struct mat x = mat_of(k->stack.layer[0].in, p->b->N, s->E);
    struct mat top = mat_of(k->top, top_rows(p), top_width(p->net, s));
    if (p->net->I > 0)
        memcpy(x.p, p->b->x, (size_t)x.r * (size_t)x.c * sizeof(real));
    else
        pass_embed(p, x.p);
    rnn_mask_rows(p, &p->b->steps, SITE_EMBEDDING, p->drop.embedding, x);
    rnn_stack_begin(p, &k->stack, &p->b->steps, p->net->C > 0 || p->o->fresh);
    rnn_stack_forward(p, &k->stack);
    if (p->net->C > 0)
        pool(p);
    else
        memcpy(top.p, k->stack.layer[s->stack.L - 1].out,
               (size_t)top.r * (size_t)top.c * sizeof(real));
    mask_top(p, top);
    if (is_penalised(p))
        add_penalty(p);
    if (s->P > 0) {
        struct dense d = pass_dense(p, s->proj);
        dense_forward(&d, top.r, top.p, p->y);
    }
}

static void rnn_backward_pass(struct pass *p)
{
    const struct shape *s = p->net->shape;
    struct work *k = p->own;
    struct mat top = mat_of(k->dtop, top_rows(p), top_width(p->net, s));
    if (s->P > 0) {
        struct dense d = pass_dense(p, s->proj);
        dense_backward(&d, top.r, k->top, p->dy, top.p);
    }
    if (is_penalised(p))
        add_size_grad(p, top.p);
    mask_top(p, top);
    if (p->net->C > 0)
        pool_grad(p);
    else
        memcpy(k->stack.g1, top.p,
               (size_t)top.r * (size_t)top.c * sizeof(real));
    if (is_penalised(p))
        add_change_grad(p, k->stack.g1);
    rnn_stack_no_gradient(&k->stack);
    rnn_stack_backward(p, &k->stack);
    rnn_mask_rows(p, &p->b->steps, SITE_EMBEDDING, p->drop.embedding,
                  mat_of(k->stack.g1, p->b->N, s->E));
    pass_trace(p, s->E, k->stack.g1);
    if (p->net->I == 0)
        pass_embed_grad(p, k->stack.g1);
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
    {.penalty = (real)0.7},
    {.penalty = (real)0.7, .dropout = (real)0.4, .o.projection = 6},
    {.o.predict_last = 2, .o.projection = 6},
    {.o.predict_last = 1, .o.tie = 1, .dropout = (real)0.4},
    {.labels = 2, .o.task = TASK_REGRESSION, .o.inputs = 3},
    {.labels = 1,
     .o.task = TASK_REGRESSION,
     .o.inputs = 2,
     .o.pooling = POOL_MEAN,
     .o.bidirectional = 1,
     .o.projection = 6,
     .dropout = (real)0.4},
    {.labels = 3, .o.pooling = POOL_CONCAT},
    {.labels = 2,
     .o.pooling = POOL_CONCAT,
     .o.bidirectional = 1,
     .o.projection = 6,
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
    .states = rnn_states,
    .pack = feed_pack_by_time,
    .open = rnn_open,
    .forward = rnn_forward_pass,
    .backward = rnn_backward_pass,
    .grad_case = rnn_grad_case,
};
