/* family_transformer: see family_transformer.h.
 *
 * SPDX-License-Identifier: MIT */
#include "models/train/family_transformer.h"

#include <stdio.h>

#include "engine/base/rng.h"

#define MAX_SIZE (1 << 24)

int tf_read(const struct hparams *h, const char *const key[5],
            struct options *o, struct err *e)
{
    int *const to[5] = {&o->embedding, &o->inner, &o->layers, &o->heads,
                        &o->context};
    for (int i = 0; i < 5; i++)
        if (config_size(h, key[i], i == 2 ? NET_MAX_LAYERS : MAX_SIZE, to[i],
                        e) != 0)
            return -1;
    return hparams_has(h, "input_size")
               ? config_size(h, "input_size", MAX_SIZE, &o->inputs, e)
               : config_size(h, "vocab_size", MAX_SIZE, &o->vocab_size, e);
}

/* ---- tensors ---- */

int tf_shape_init(struct net *n, const struct tf_kind *k,
                  const struct options *o, struct err *e)
{
    struct tf_shape *s = n->shape;
    int E = o->embedding, F = o->inner > 0 ? o->inner : 4 * E;
    *s = (struct tf_shape){.block = k->block,
                           .kind = k,
                           .L = o->layers,
                           .T = o->context,
                           .type = -1,
                           .head = -1};
    s->block.E = n->Q = E;
    s->block.A = o->heads;
    s->block.F = F;
    n->context = s->T;
    if (n->V + n->I < 1 || E < 1 || s->block.A < 1 || s->T < 1)
        return err_set(e, ERR_INVALID, "sizes must be positive");
    if (E % s->block.A != 0)
        return err_set(e, ERR_INVALID,
                       "the width %d is not divisible by %d heads", E,
                       s->block.A);
    if (o->causal && n->C > 0)
        return err_set(e, ERR_INVALID, "only a language model can be causal");
    if (n->C == 0 && o->predict_last == 0 && o->bptt > s->T)
        return err_set(e, ERR_INVALID, "--bptt %d is longer than --context %d",
                       o->bptt, s->T);
    return 0;
}

static int size_of(const struct net *n, char letter)
{
    const struct tf_shape *s = n->shape;
    switch (letter) {
    case 'E':
        return s->block.E;
    case '3':
        return 3 * s->block.E;
    case 'F':
        return s->block.F;
    case 'T':
        return s->T;
    case 'V':
        return n->V;
    case 'I':
        return n->I;
    case 'C':
        return n->C;
    default:
        return letter == '1'; /* else there is none */
    }
}

int tf_add(struct net *n, const char *prefix, const struct tf_row *rows,
           int n_rows)
{
    int first = n->n_tensors;
    for (int i = 0; i < n_rows; i++) {
        const char *sizes = rows[i].sizes;
        char name[64];
        snprintf(name, sizeof name, "%s%s", prefix, rows[i].name);
        int t = net_add(n, name, size_of(n, sizes[0]), size_of(n, sizes[1]),
                        strchr(sizes, '+') != NULL);
        for (int k = 0; k < 2; k++)
            n->t[t].parts[k] = sizes[k] == '3' ? 3 : 1;
    }
    return first;
}

void tf_add_blocks(struct net *n, struct tf_shape *s)
{
    for (int l = 0; l < s->L; l++) {
        char prefix[40];
        snprintf(prefix, sizeof prefix, "%s%d.", s->kind->prefix, l);
        n->layer++;
        s->layer[l] = tf_add(n, prefix, s->kind->rows, s->kind->n_rows);
    }
    n->layer++;
}

/* GPT-2's and BERT's own rule: normal with deviation 0.02, what ends in a
 * residual addition of a GPT-2 divided by the root of their number; norms 1;
 * biases 0. The deviation of matrices grows in narrow nets, as Glorot and
 * Bengio 2010 have it. */
static double deviation_of(const struct net *n, int i)
{
    const struct tf_shape *s = n->shape;
    const struct net_tensor *t = &n->t[i];
    double d = sqrt(2.0 / (t->dim[0] + t->dim[1]));
    if (i == n->embedding || i == s->position || i == s->type)
        return 0.02;
    return strstr(t->name, ".c_proj.") != NULL ? d / sqrt(2.0 * s->L) : d;
}

void tf_initialise(const struct net *n, struct rng *r, real *p)
{
    for (int i = 0; i < n->n_tensors; i++) {
        const struct net_tensor *t = &n->t[i];
        double d = t->n_dims == 2 ? deviation_of(n, i) : 0;
        int norm = t->n_dims == 1 && strstr(t->name, ".weight") != NULL;
        for (size_t k = 0; k < t->n && (d > 0 || norm); k++)
            p[t->at + k] = norm ? (real)1 : (real)(d * rng_normal(r));
    }
}

/* ---- arrays of a pass ---- */

static void open_layer(struct pass *p, const struct tf_shape *s,
                       const struct tf_work *k, struct block_run *r)
{
    size_t N = (size_t)p->cap_N, NE = N * (size_t)s->block.E;
    size_t NF = N * (size_t)s->block.F;
    *r = (struct block_run){.blas = p->blas,
                            .s = &s->block,
                            .scratch = &k->scratch,
                            .a = pass_reals(p, NE),
                            .qkv = pass_reals(p, 3 * NE),
                            .mix = pass_reals(p, NE),
                            .m = pass_reals(p, NE),
                            .in = pass_reals(p, NF),
                            .act = pass_reals(p, NF)};
    for (int i = 0; i < 2; i++) {
        r->unit[i] = pass_reals(p, NE);
        r->inv[i] = pass_reals(p, N);
    }
}

void tf_open_layers(struct pass *p, const struct tf_shape *s, struct tf_work *k)
{
    for (int l = 0; l < s->L; l++)
        open_layer(p, s, k, &k->layer[l]);
}

void tf_open(struct pass *p, const struct tf_shape *s, struct tf_work *k)
{
    size_t N = (size_t)p->cap_N, T = (size_t)s->T, E = (size_t)s->block.E;
    size_t F = (size_t)s->block.F;
    k->scratch.row = pass_reals(p, N * E);
    k->scratch.wide = pass_reals(p, N * (F > 3 * E ? F : 3 * E));
    k->scratch.probs = pass_reals(p, ATTENTION_BLOCK * T);
    k->scratch.masked = pass_reals(p, ATTENTION_BLOCK * T);
    k->scratch.dot = pass_reals(p, ATTENTION_BLOCK * T);
    k->scratch.zeros = pass_reals(p, T);
    k->scratch.line = pass_reals(p, E);
    tf_open_layers(p, s, k);
    k->x = pass_reals(p, N * E);
    k->dx = pass_reals(p, N * E);
    k->unit = pass_reals(p, N * E);
    k->inv = pass_reals(p, N);
}

/* ---- embedding ---- */

void tf_embed(const struct pass *p)
{
    const struct tf_shape *s = p->net->shape;
    const struct pass_batch *b = p->b;
    real *x = ((const struct tf_work *)p->own)->x;
    size_t E = (size_t)s->block.E;
    if (p->net->I > 0) {
        struct dense d = pass_dense(p, s->input);
        dense_forward(&d, b->N, b->x, x);
    } else
        pass_embed(p, x);
    for (int r = 0; r < b->B; r++) {
        const real *place = net_at(p->net, s->position, p->w);
        for (int i = b->start[r]; i < b->start[r + 1]; i++) {
            vec_add(E, place, x);
            if (s->type >= 0)
                vec_add(E, net_at(p->net, s->type, p->w), x);
            place += E;
            x += E;
        }
    }
}

void tf_embed_grad(struct pass *p)
{
    const struct tf_shape *s = p->net->shape;
    const struct tf_work *k = p->own;
    const struct pass_batch *b = p->b;
    const real *dx = k->dx;
    size_t E = (size_t)s->block.E;
    for (int r = 0; r < b->B; r++) {
        real *place = net_at(p->net, s->position, p->grad);
        for (int i = b->start[r]; i < b->start[r + 1]; i++) {
            vec_add(E, dx, place);
            if (s->type >= 0)
                vec_add(E, dx, net_at(p->net, s->type, p->grad));
            place += E;
            dx += E;
        }
    }
    if (p->net->I > 0) {
        struct dense d = pass_dense(p, s->input);
        dense_backward(&d, b->N, b->x, k->dx, NULL);
    } else
        pass_embed_grad(p, k->dx);
}

/* ---- blocks, norms ---- */

const struct block_run *tf_run(const struct pass *p, const struct tf_shape *s,
                               int l, const struct tf_rows *rows, int site,
                               struct block_run *r)
{
    r->B = rows->B;
    r->N = rows->N;
    r->start = rows->start;
    r->drop = p->o->train ? p->drop.between : (real)0;
    r->drop_weights = p->o->train ? p->drop.attention : (real)0;
    r->key1 = pass_key(p, site + SITES_LAYER * l);
    r->key2 = pass_key(p, site + SITES_LAYER * l + 1);
    r->key_weights = pass_key(p, site + SITES_LAYER * l + 2);
    for (int i = 0; i < BLOCK_PARTS; i++) {
        int tensor = s->layer[l] + s->kind->places[i];
        r->w[i] = net_at(p->net, tensor, p->w);
        if (p->o->train)
            r->grad[i] = net_at(p->net, tensor, p->grad);
    }
    return r;
}

/* A block of the only stack, with the batch of this pass. */
static const struct block_run *run_at(const struct pass *p, int l)
{
    struct tf_work *k = p->own;
    const struct tf_rows rows = {p->b->B, p->b->N, p->b->start};
    return tf_run(p, p->net->shape, l, &rows, SITE_LAYERS, &k->layer[l]);
}

void tf_blocks(const struct pass *p)
{
    const struct tf_shape *s = p->net->shape;
    for (int l = 0; l < s->L; l++)
        block_forward(run_at(p, l), ((struct tf_work *)p->own)->x);
}

void tf_blocks_grad(const struct pass *p)
{
    const struct tf_shape *s = p->net->shape;
    for (int l = s->L - 1; l >= 0; l--)
        block_backward(run_at(p, l), ((struct tf_work *)p->own)->dx);
}

struct norm_at tf_norm(const struct pass *p, int i, int N, real *unit,
                       real *inv)
{
    const struct tf_shape *s = p->net->shape;
    struct norm_at n = {.N = N,
                        .E = s->block.E,
                        .eps = s->block.eps,
                        .w = net_at(p->net, i, p->w),
                        .b = net_at(p->net, i + 1, p->w),
                        .unit = unit,
                        .inv = inv};
    if (p->o->train) {
        n.gw = net_at(p->net, i, p->grad);
        n.gb = net_at(p->net, i + 1, p->grad);
    }
    return n;
}

int tf_grad_case(const struct grad_case *cases, int n, int i,
                 struct grad_case *c)
{
    if (i / 2 >= n)
        return 0;
    *c = cases[i / 2];
    c->o.layers = 1 + i % 2;
    return 1;
}
