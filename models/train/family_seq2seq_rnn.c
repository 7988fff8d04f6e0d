/* family_seq2seq_rnn: recurrent nets from one sequence into another
 * (trainable.h): two stacks of layers (rnn_stack.h), the bridge between them
 * and the attention (attend_grad.h); equations and tensors are those of
 * seq2seq_rnn.h. Of what can be served, this is what can be trained:
 *
 *   attention  none; additive, its context going into the decoder; dot or
 *              general, going to the output
 *   bridge     a copy from an encoder of one direction, else a tanh
 *   output     of state and context, through a tanh where there is a projection
 *
 * Both sides have one vocabulary and embeddings of their own.
 *
 * Dimensions: E embedding, H hidden, L layers, D directions of the encoder, C =
 * D*H, P projection (0: none); a row before the output has W = H + C numbers,
 * without attention H.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "models/rnn/attend_grad.h"
#include "models/train/objective.h"
#include "models/train/pairs.h"
#include "models/train/rnn_stack.h"
#include "models/train/trainable.h"

#define MAX_SIZE (1 << 24)
#define MAX_LAYERS 4     /* that are served */
#define MAX_SOURCE 4096  /* the server's default */
#define SITE_DECODER 128 /* of the decoder's masks, apart from the others */
#define COUNT(list) (int)(sizeof(list) / sizeof *(list))

/* In the order of --cell, and of --attention. */
static const struct cell_grad *const cells[] = {&lstm_grad, &gru_grad};
static const char *const cell_names[] = {"lstm", "gru", NULL};
static const char *const attentions[] = {"none", "additive", "dot", "general",
                                         NULL};

struct shape {
    struct rnn_stack_shape enc, dec;
    enum attend_kind kind;
    int E, H, C, W, P;
    int source;                    /* the encoder's embedding */
    int bridge[NET_MAX_LAYERS][2]; /* weight, bias; of h and of c */
    int key, query, score, combine;
};

struct work {
    struct rnn_stack enc, dec;
    struct attend_run attend;
    int *start;                    /* [B + 1] rows of e of a text */
    real *last[NET_MAX_LAYERS][2]; /* [B, C] what crosses the bridge */
    real *dlast;                   /* [B, C] */
    real *embedded;                /* [N, E], and its gradient */
    real *context;                 /* [N, C] */
    real *dcontext, *dinput;       /* [B, C], [B, E + C] of a time step */
    real *top, *dtop; /* [N, W]; without projection y, dy of the pass */
};

static int is_early(const struct shape *s)
{
    return s->kind == ATTEND_ADD;
}

static int n_parts(const struct shape *s)
{
    return s->dec.cell->has_c ? 2 : 1;
}

static int has_bridge(const struct shape *s)
{
    return s->enc.D == 2;
}

static const struct objective *pairs_objective(const struct options *o)
{
    (void)o;
    return &seq2seq;
}

/* ---- config.json ---- */

/* Fields that must be as they are written here; those that are left out have
 * such values. */
static int check_fixed(const struct hparams *h, const struct options *o,
                       struct err *e)
{
    static const char *const bridges[] = {"copy", "linear", "tanh", NULL};
    static const char *const places[] = {"output", "input", NULL};
    int early = o->attention == ATTEND_ADD, bridge, place, late, backwards;
    int64_t source, embedding, hidden;
    if (hparams_choice(h, "bridge", bridges, "copy", &bridge, e) != 0 ||
        hparams_choice(h, "context_into", places, places[early], &place, e) !=
            0 ||
        hparams_bool_or(h, "output_context", 1, &late, e) != 0 ||
        hparams_bool_or(h, "reverse_source", 0, &backwards, e) != 0 ||
        hparams_int_or(h, "source_vocab_size", 1, MAX_SIZE, o->vocab_size,
                       &source, e) != 0 ||
        hparams_int_or(h, "encoder_embedding_dim", 1, MAX_SIZE, o->embedding,
                       &embedding, e) != 0 ||
        hparams_int_or(h, "encoder_hidden_size", 1, MAX_SIZE, o->hidden,
                       &hidden, e) != 0)
        return -1;
    if (bridge != (o->bidirectional ? 2 : 0) || place != early || !late ||
        backwards || source != o->vocab_size || embedding != o->embedding ||
        hidden != o->hidden)
        return err_set(e, ERR_UNSUPPORTED,
                       "config.json: bridge, context_into, output_context, "
                       "reverse_source or a size of the encoder is one that is "
                       "not to be trained here");
    return 0;
}

static int pairs_read_config(const struct hparams *h, struct options *o,
                             int *labels, struct err *e)
{
    int64_t P, L;
    *labels = 0;
    if (config_size(h, "vocab_size", MAX_SIZE, &o->vocab_size, e) != 0 ||
        config_size(h, "embedding_dim", MAX_SIZE, &o->embedding, e) != 0 ||
        config_size(h, "hidden_size", MAX_SIZE, &o->hidden, e) != 0 ||
        hparams_int_or(h, "num_layers", 1, MAX_LAYERS, 1, &L, e) != 0 ||
        hparams_int_or(h, "combine_dim", 1, MAX_SIZE, 0, &P, e) != 0 ||
        hparams_choice(h, "cell", cell_names, NULL, &o->cell, e) != 0 ||
        hparams_choice(h, "attention", attentions, NULL, &o->attention, e) !=
            0 ||
        hparams_bool_or(h, "bidirectional", 0, &o->bidirectional, e) != 0 ||
        hparams_bool_or(h, "tie_word_embeddings", 0, &o->tie, e) != 0)
        return -1;
    o->layers = (int)L;
    o->projection = (int)P;
    return check_fixed(h, o, e);
}

static void pairs_write(const struct net *n, const struct tokenizer *t,
                        struct buf *b)
{
    const struct shape *s = n->shape;
    buf_addf(b,
             ",\n  \"cell\": \"%s\",\n  \"source_vocab_size\": %d,\n"
             "  \"vocab_size\": %d,\n  \"embedding_dim\": %d,\n"
             "  \"hidden_size\": %d,\n  \"num_layers\": %d,\n"
             "  \"bidirectional\": %s,\n  \"attention\": \"%s\",\n"
             "  \"bridge\": \"%s\",\n  \"tie_word_embeddings\": %s,\n",
             s->dec.cell->name, n->V, n->V, s->E, s->H, s->dec.L,
             s->enc.D == 2 ? "true" : "false", attentions[s->kind],
             has_bridge(s) ? "tanh" : "copy",
             n->out_w == n->embedding ? "true" : "false");
    if (s->P > 0)
        buf_addf(b, "  \"combine_dim\": %d,\n", s->P);
    if (s->kind != ATTEND_NOT)
        buf_addf(b, "  \"max_source_length\": %d,\n", MAX_SOURCE);
    buf_addf(b, "  \"decoder_start_token_id\": %d,\n  \"eos_token_id\": %d",
             tokenizer_id(t, PAIRS_START), tokenizer_eos(t));
}

/* ---- tensors ---- */

static void add_attention(struct net *n, struct shape *s)
{
    int A = s->H;
    if (s->kind == ATTEND_ADD || s->kind == ATTEND_BILINEAR)
        s->key = net_add(n, "attention.key.weight", A, s->C, 0);
    if (s->kind == ATTEND_ADD) {
        net_add(n, "attention.key.bias", A, 0, 0);
        s->query = net_add(n, "attention.query.weight", A, s->H, 0);
        s->score = net_add(n, "attention.score.weight", 1, A, 0);
    }
    if (s->P > 0) {
        s->combine = net_add(n, "attention.combine.weight", s->P, s->W, 0);
        net_add(n, "attention.combine.bias", s->P, 0, 0);
    }
}

static void add_bridge(struct net *n, struct shape *s)
{
    for (int l = 0; l < s->dec.L && has_bridge(s); l++)
        for (int part = 0; part < n_parts(s); part++) {
            char name[64];
            snprintf(name, sizeof name, "bridge.%s.%d.weight", part ? "c" : "h",
                     l);
            s->bridge[l][part] = net_add(n, name, s->H, s->C, 0);
            snprintf(name, sizeof name, "bridge.%s.%d.bias", part ? "c" : "h",
                     l);
            net_add(n, name, s->H, 0, 0);
        }
}

static int check_plan(const struct net *n, const struct shape *s,
                      const struct options *o, struct err *e)
{
    if (o->task == TASK_CLASSIFIER)
        return err_set(e, ERR_INVALID,
                       "a seq2seq-rnn learns from pairs of texts: leave --task "
                       "out");
    if (n->V < 1 || s->E < 1 || s->H < 1 || s->P < 0)
        return err_set(e, ERR_INVALID, "sizes must be positive");
    if (o->layers > MAX_LAYERS)
        return err_set(e, ERR_INVALID, "layers must be 1 to %d", MAX_LAYERS);
    if (o->cell >= COUNT(cells))
        return err_set(e, ERR_INVALID,
                       "a seq2seq-rnn has --cell lstm or --cell gru");
    if (s->kind == ATTEND_PRODUCT && s->C != s->H)
        return err_set(e, ERR_INVALID,
                       "--attention dot needs an encoder of one direction");
    if (s->kind == ATTEND_NOT && s->P > 0)
        return err_set(e, ERR_INVALID,
                       "--projection needs an attention: it combines state and "
                       "context");
    if (o->tie && n->Q != s->E)
        return err_set(e, ERR_INVALID,
                       "tied weights need an output width %d that equals the "
                       "embedding's %d",
                       n->Q, s->E);
    return 0;
}

static int pairs_plan(struct net *n, const struct options *o, struct err *e)
{
    struct shape *s = n->shape;
    const struct rnn_stack_shape stack = {
        .cell = o->cell < COUNT(cells) ? cells[o->cell] : NULL,
        .I = o->embedding,
        .H = o->hidden,
        .L = o->layers,
        .D = 1,
        .init = rnn_init_of(o)};
    *s = (struct shape){.enc = stack,
                        .dec = stack,
                        .kind = (enum attend_kind)o->attention,
                        .E = o->embedding,
                        .H = o->hidden,
                        .P = o->projection};
    s->enc.D = o->bidirectional ? 2 : 1;
    s->C = s->enc.D * s->H;
    s->W = s->H + (s->kind == ATTEND_NOT ? 0 : s->C);
    s->dec.I += is_early(s) ? s->C : 0;
    s->dec.site = SITE_DECODER;
    n->name = o->cell < COUNT(cells) ? cell_names[o->cell] : "";
    n->Q = s->P > 0 ? s->P : s->W;
    if (check_plan(n, s, o, e) != 0)
        return -1;
    s->source = net_add(n, "encoder.embedding.weight", n->V, s->E, 0);
    n->t[s->source].rows = ROWS_ENTRIES;
    rnn_stack_add(n, &s->enc, "encoder.rnn.");
    n->embedding = net_add(n, "decoder.embedding.weight", n->V, s->E, 0);
    rnn_stack_add(n, &s->dec, "decoder.rnn.");
    add_bridge(n, s);
    add_attention(n, s);
    n->out_w =
        o->tie ? n->embedding : net_add(n, "output.weight", n->K, n->Q, 0);
    n->out_b = net_add(n, "output.bias", n->K, 0, 0);
    return 0;
}

/* Embeddings uniform in [-0.1, 0.1], the stacks as they are everywhere, other
 * matrices by Glorot and Bengio 2010, biases 0. */
static void pairs_initialise(const struct net *n, struct rng *r, real *p)
{
    const struct shape *s = n->shape;
    for (int i = 0; i < n->n_tensors; i++) {
        const struct net_tensor *t = &n->t[i];
        if (i == s->source || i == n->embedding)
            rnn_fill_uniform(r, 0.1, t->n, p + t->at);
        else if (t->n_dims == 2 && strstr(t->name, ".rnn.") == NULL)
            rnn_fill_glorot(r, t->dim[0], t->dim[1], p + t->at);
    }
    rnn_stack_initialise(n, &s->enc, r, p);
    rnn_stack_initialise(n, &s->dec, r, p);
}

/* ---- arrays of a pass ---- */

static void open_attention(struct pass *p, const struct shape *s,
                           struct work *k)
{
    size_t N = (size_t)p->cap_N, B = (size_t)p->cap_B;
    size_t NC = N * (size_t)s->C, NA = N * (size_t)s->H;
    struct attend_run *a = &k->attend;
    *a = (struct attend_run){.kind = s->kind,
                             .blas = p->blas,
                             .C = s->C,
                             .H = s->H,
                             .A = s->H,
                             .e = pass_reals(p, NC),
                             .de = pass_reals(p, NC),
                             .key = pass_reals(p, NA),
                             .dkey = pass_reals(p, NA),
                             .q = pass_reals(p, B * (size_t)s->H),
                             .dq = pass_reals(p, B * (size_t)s->H),
                             .weight = pass_reals(p, N),
                             .unit = pass_reals(p, NA)};
    a->start = k->start;
    k->context = pass_reals(p, NC);
    k->dcontext = pass_reals(p, B * (size_t)s->C);
    k->dinput = pass_reals(p, B * (size_t)(s->E + s->C));
}

static int pairs_open(struct pass *p, struct err *e)
{
    const struct shape *s = p->net->shape;
    struct work *k = p->own;
    size_t N = (size_t)p->cap_N, B = (size_t)p->cap_B;
    k->start = region_take(&p->mem, B + 1, sizeof *k->start);
    for (int l = 0; l < s->dec.L; l++)
        for (int part = 0; part < n_parts(s); part++)
            k->last[l][part] = pass_reals(p, B * (size_t)s->C);
    k->dlast = pass_reals(p, B * (size_t)s->C);
    k->embedded = pass_reals(p, N * (size_t)s->E);
    k->top = s->P > 0 ? pass_reals(p, N * (size_t)s->W) : p->y;
    k->dtop = s->P > 0 ? pass_reals(p, N * (size_t)s->W) : p->dy;
    if (s->kind != ATTEND_NOT)
        open_attention(p, s, k);
    return rnn_stack_open(p, &s->enc, &k->enc, 0, e) |
           rnn_stack_open(p, &s->dec, &k->dec, 0, e);
}

/* ---- the encoder and the bridge ---- */

static real *row_of(real *p, int r, int columns)
{
    return p + (size_t)r * (size_t)columns;
}

/* start: the sources in the order of the texts. */
static void list_sources(const struct pass *p)
{
    const struct pass_source *b = &p->b->source;
    int *start = ((struct work *)p->own)->start;
    for (int k = 0; k < p->b->B; k++)
        start[b->text[k] + 1] = b->length[k];
    start[0] = 0;
    for (int r = 0; r < p->b->B; r++)
        start[r + 1] += start[r];
}

/* Rows [N, C] by time to rows by text, or back. */
static void turn_rows(const struct pass *p, real *by_time, real *by_text,
                      int back)
{
    const struct shape *s = p->net->shape;
    const struct pass_source *b = &p->b->source;
    const int *start = ((struct work *)p->own)->start;
    size_t bytes = (size_t)s->C * sizeof(real);
    for (int t = 0; t < b->steps.T; t++)
        for (int k = 0; k < b->steps.n[t]; k++) {
            real *x = row_of(by_time, b->steps.off[t] + k, s->C);
            real *y = row_of(by_text, start[b->text[k]] + t, s->C);
            memcpy(back ? x : y, back ? y : x, bytes);
        }
}

static real *state_of(const struct rnn_run *r, int part)
{
    return part ? r->c : r->h;
}

/* The encoder's last states [B, H] of a direction, or their gradient, in its
 * order of sources, and columns d*H on of x [B, C] in that of the texts. */
static void turn_states(const struct pass *p, int d, real *last, real *x,
                        int back)
{
    const struct shape *s = p->net->shape;
    size_t bytes = (size_t)s->H * sizeof(real);
    for (int k = 0; k < p->b->B; k++) {
        real *a = row_of(last, k, s->H);
        real *b = row_of(x, p->b->source.text[k], s->C) + d * s->H;
        memcpy(back ? a : b, back ? b : a, bytes);
    }
}

static void tanh_rows(size_t n, real *x)
{
    for (size_t i = 0; i < n; i++)
        x[i] = real_tanh(x[i]);
}

/* dy becomes the gradient before the tanh whose value is y. */
static void tanh_grad(size_t n, const real *y, real *dy)
{
    for (size_t i = 0; i < n; i++)
        dy[i] *= (real)1 - y[i] * y[i];
}

static void cross_bridge(const struct pass *p)
{
    const struct shape *s = p->net->shape;
    struct work *k = p->own;
    size_t n = (size_t)p->b->B * (size_t)s->H;
    for (int l = 0; l < s->dec.L; l++)
        for (int part = 0; part < n_parts(s); part++) {
            real *y = state_of(&k->dec.layer[l].run[0], part);
            real *x = k->last[l][part];
            for (int d = 0; d < s->enc.D; d++)
                turn_states(p, d, state_of(&k->enc.layer[l].run[d], part), x,
                            0);
            if (!has_bridge(s)) {
                memcpy(y, x, n * sizeof *y);
                continue;
            }
            struct dense f = pass_dense(p, s->bridge[l][part]);
            dense_forward(&f, p->b->B, x, y);
            tanh_rows(n, y);
        }
}

/* From the gradient of the decoder's first states to that of the encoder's
 * last. The first states are those that entered time 0, which has all texts. */
static void cross_bridge_back(const struct pass *p)
{
    const struct shape *s = p->net->shape;
    struct work *k = p->own;
    size_t n = (size_t)p->b->B * (size_t)s->H;
    for (int l = 0; l < s->dec.L; l++)
        for (int part = 0; part < n_parts(s); part++) {
            const struct rnn_run *r = &k->dec.layer[l].run[0];
            real *dy = part ? k->dec.layer[l].dc[0] : k->dec.layer[l].dh[0];
            real *dx = dy;
            if (has_bridge(s)) {
                struct dense f = pass_dense(p, s->bridge[l][part]);
                tanh_grad(n, part ? r->cp : r->hp, dy);
                dx = k->dlast;
                dense_backward(&f, p->b->B, k->last[l][part], dy, dx);
            }
            for (int d = 0; d < s->enc.D; d++)
                turn_states(
                    p, d, part ? k->enc.layer[l].dc[d] : k->enc.layer[l].dh[d],
                    dx, 1);
        }
}

static void encode(struct pass *p)
{
    const struct shape *s = p->net->shape;
    const struct pass_source *b = &p->b->source;
    struct work *k = p->own;
    struct mat x = mat_of(k->enc.layer[0].in, b->N, s->E);
    pass_embed_ids(p, s->source, b->N, b->ids, x.p);
    rnn_mask_rows(p, &b->steps, SITE_SOURCE, p->drop.embedding, x);
    rnn_stack_begin(p, &k->enc, &b->steps, 1);
    rnn_stack_forward(p, &k->enc);
    list_sources(p);
}

static void encode_back(struct pass *p)
{
    const struct shape *s = p->net->shape;
    const struct pass_source *b = &p->b->source;
    struct work *k = p->own;
    if (s->kind == ATTEND_NOT) {
        memset(k->enc.g1, 0, (size_t)b->N * (size_t)s->C * sizeof(real));
    } else {
        attend_keys_backward(&k->attend);
        turn_rows(p, k->enc.g1, k->attend.de, 1);
    }
    rnn_stack_backward(p, &k->enc);
    rnn_mask_rows(p, &b->steps, SITE_SOURCE, p->drop.embedding,
                  mat_of(k->enc.g1, b->N, s->E));
    pass_embed_ids_grad(p, s->source, b->N, b->ids, k->enc.g1);
}

/* ---- the attention ---- */

static struct attend_weights attend_at(const struct pass *p, real *block)
{
    const struct shape *s = p->net->shape;
    struct attend_weights w = {.key = NULL};
    if (s->kind == ATTEND_ADD || s->kind == ATTEND_BILINEAR)
        w.key = net_at(p->net, s->key, block);
    if (s->kind == ATTEND_ADD) {
        w.key_bias = net_at(p->net, s->key + 1, block);
        w.query = net_at(p->net, s->query, block);
        w.score = net_at(p->net, s->score, block);
    }
    return w;
}

static void begin_attention(struct pass *p)
{
    const struct shape *s = p->net->shape;
    struct work *k = p->own;
    struct attend_run *a = &k->attend;
    a->M = p->b->source.N;
    a->w = attend_at(p, p->w);
    if (p->o->train) {
        a->g = attend_at(p, p->grad);
        memset(a->de, 0, (size_t)(a->M * s->C) * sizeof *a->de);
        memset(a->dkey, 0, (size_t)(a->M * s->H) * sizeof *a->dkey);
    }
    turn_rows(p, k->enc.layer[s->enc.L - 1].out, a->e, 0);
    attend_keys(a);
}

/* Rows of time t of [N, columns], a column range of rows of ld. */
static struct mat rows_at(const struct pass *p, int t, real *x, int columns,
                          int ld)
{
    const struct steps *b = &p->b->steps;
    return mat_ld(row_of(x, b->off[t], ld), b->n[t], columns, (size_t)ld);
}

/* ---- the decoder ---- */

static void copy_rows(struct mat from, struct mat to)
{
    for (int r = 0; r < from.r; r++)
        memcpy(to.p + (size_t)r * to.ld, from.p + (size_t)r * from.ld,
               (size_t)from.c * sizeof(real));
}

/* The context of each time step, made from the state before it, goes in. */
static void decode_early(struct pass *p)
{
    const struct shape *s = p->net->shape;
    struct work *k = p->own;
    struct rnn_layer *top = &k->dec.layer[s->dec.L - 1];
    real *in = k->dec.layer[0].in;
    for (int t = 0; t < p->b->steps.T; t++) {
        struct mat c = rows_at(p, t, k->context, s->C, s->C);
        attend_forward(&k->attend, mat_of(top->run[0].h, c.r, s->H), c);
        copy_rows(rows_at(p, t, k->embedded, s->E, s->E),
                  rows_at(p, t, in, s->E, s->E + s->C));
        copy_rows(c, rows_at(p, t, in + s->E, s->C, s->E + s->C));
        rnn_stack_step(p, &k->dec, t);
    }
}

static void decode(struct pass *p)
{
    const struct shape *s = p->net->shape;
    struct work *k = p->own;
    real *out = k->dec.layer[s->dec.L - 1].out;
    if (is_early(s)) {
        decode_early(p);
    } else {
        memcpy(k->dec.layer[0].in, k->embedded,
               (size_t)p->b->N * (size_t)s->E * sizeof(real));
        rnn_stack_forward(p, &k->dec);
    }
    for (int t = 0; t < p->b->steps.T && s->kind > ATTEND_ADD; t++)
        attend_forward(&k->attend, rows_at(p, t, out, s->H, s->H),
                       rows_at(p, t, k->context, s->C, s->C));
    copy_rows(mat_of(out, p->b->N, s->H),
              mat_ld(k->top, p->b->N, s->H, (size_t)s->W));
    if (s->kind != ATTEND_NOT)
        copy_rows(mat_of(k->context, p->b->N, s->C),
                  mat_ld(k->top + s->H, p->b->N, s->C, (size_t)s->W));
}

/* One time step back: dtop's rows, and dh and dc of the layers. */
static void decode_early_back(struct pass *p, int t)
{
    const struct shape *s = p->net->shape;
    struct work *k = p->own;
    struct rnn_layer *top = &k->dec.layer[s->dec.L - 1];
    struct mat dout = rows_at(p, t, k->dtop, s->H, s->W);
    struct mat dx = mat_of(k->dinput, dout.r, s->E + s->C);
    struct mat dc = mat_of(k->dcontext, dout.r, s->C);
    rnn_stack_step_back(p, &k->dec, t, dout, dx);
    copy_rows(mat_ld(dx.p, dx.r, s->E, dx.ld),
              rows_at(p, t, k->embedded, s->E, s->E));
    copy_rows(mat_ld(dx.p + s->E, dx.r, s->C, dx.ld), dc);
    for (int r = 0; r < dc.r; r++)
        vec_add((size_t)s->C, dout.p + (size_t)r * dout.ld + s->H,
                row_of(dc.p, r, s->C));
    attend_backward(&k->attend, rows_at(p, t, top->run[0].hp, s->H, s->H), dc,
                    mat_of(top->dh[0], dc.r, s->H));
}

static void decode_back(struct pass *p)
{
    const struct shape *s = p->net->shape;
    struct work *k = p->own;
    real *out = k->dec.layer[s->dec.L - 1].out;
    rnn_stack_no_gradient(&k->dec);
    for (int t = p->b->steps.T - 1; t >= 0 && s->kind != ATTEND_NOT; t--) {
        if (is_early(s)) {
            decode_early_back(p, t);
            continue;
        }
        attend_backward(&k->attend, rows_at(p, t, out, s->H, s->H),
                        rows_at(p, t, k->dtop + s->H, s->C, s->W),
                        rows_at(p, t, k->dtop, s->H, s->W));
    }
    if (is_early(s))
        return;
    copy_rows(mat_ld(k->dtop, p->b->N, s->H, (size_t)s->W),
              mat_of(k->dec.g1, p->b->N, s->H));
    rnn_stack_backward(p, &k->dec);
    memcpy(k->embedded, k->dec.g1,
           (size_t)p->b->N * (size_t)s->E * sizeof(real));
}

/* ---- all of it ---- */

static void pairs_forward(struct pass *p)
{
    const struct shape *s = p->net->shape;
    struct work *k = p->own;
    const struct steps *b = &p->b->steps;
    struct mat x = mat_of(k->embedded, p->b->N, s->E);
    encode(p);
    if (s->kind != ATTEND_NOT)
        begin_attention(p);
    rnn_stack_begin(p, &k->dec, b, 0);
    cross_bridge(p);
    pass_embed(p, x.p);
    rnn_mask_rows(p, b, SITE_EMBEDDING, p->drop.embedding, x);
    decode(p);
    rnn_mask_rows(p, b, SITE_OUTPUT, p->drop.output,
                  mat_of(k->top, p->b->N, s->W));
    if (s->P > 0) {
        struct dense f = pass_dense(p, s->combine);
        dense_forward(&f, p->b->N, k->top, p->y);
        tanh_rows((size_t)p->b->N * (size_t)s->P, p->y);
    }
}

static void pairs_backward(struct pass *p)
{
    const struct shape *s = p->net->shape;
    struct work *k = p->own;
    const struct steps *b = &p->b->steps;
    if (s->P > 0) {
        struct dense f = pass_dense(p, s->combine);
        tanh_grad((size_t)p->b->N * (size_t)s->P, p->y, p->dy);
        dense_backward(&f, p->b->N, k->top, p->dy, k->dtop);
    }
    rnn_mask_rows(p, b, SITE_OUTPUT, p->drop.output,
                  mat_of(k->dtop, p->b->N, s->W));
    decode_back(p);
    rnn_mask_rows(p, b, SITE_EMBEDDING, p->drop.embedding,
                  mat_of(k->embedded, p->b->N, s->E));
    pass_embed_grad(p, k->embedded);
    rnn_stack_no_gradient(&k->enc);
    cross_bridge_back(p);
    encode_back(p);
}

/* ---- gradient check ---- */

static const struct grad_case kinds[] = {
    {.o.attention = ATTEND_NOT},
    {.o.attention = ATTEND_NOT, .o.bidirectional = 1},
    {.o.attention = ATTEND_ADD},
    {.o.attention = ATTEND_ADD, .o.bidirectional = 1},
    {.o.attention = ATTEND_ADD, .o.bidirectional = 1, .dropout = (real)0.4},
    {.o.attention = ATTEND_ADD, .o.projection = 4, .o.tie = 1},
    {.o.attention = ATTEND_PRODUCT},
    {.o.attention = ATTEND_PRODUCT, .o.projection = 6, .dropout = (real)0.4},
    {.o.attention = ATTEND_BILINEAR, .o.bidirectional = 1},
    {.o.attention = ATTEND_BILINEAR,
     .o.bidirectional = 1,
     .o.projection = 6,
     .smoothing = (real)0.1},
    {.o.attention = ATTEND_BILINEAR, .sampled = 1},
};

static int pairs_grad_case(int i, struct grad_case *c)
{
    if (i / 4 >= COUNT(kinds))
        return 0;
    *c = kinds[i / 4];
    c->note = attentions[c->o.attention];
    c->o.cell = i % 2 ? CELL_GRU : CELL_LSTM;
    c->o.layers = 1 + i / 2 % 2;
    return 1;
}

const struct trainable seq2seq_rnn_trainable = {
    .name = "seq2seq-rnn",
    .embedding = "decoder.embedding.weight",
    .shape_bytes = sizeof(struct shape),
    .pass_bytes = sizeof(struct work),
    .objective = pairs_objective,
    .read = pairs_read_config,
    .write = pairs_write,
    .plan = pairs_plan,
    .initialise = pairs_initialise,
    .pack = feed_pack_by_time,
    .open = pairs_open,
    .forward = pairs_forward,
    .backward = pairs_backward,
    .grad_case = pairs_grad_case,
};
