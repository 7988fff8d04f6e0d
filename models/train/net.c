/* net: see net.h.
 *
 * SPDX-License-Identifier: MIT */
#include "models/train/net.h"

#include <stdio.h>

#include "engine/base/rng.h"

int net_add(struct net *n, const char *name, int d0, int d1, int packed)
{
    struct net_tensor *t = &n->t[n->n_tensors];
    memset(t, 0, sizeof *t);
    snprintf(t->name, sizeof t->name, "%s", name);
    t->n_dims = d1 > 0 ? 2 : 1;
    t->dim[0] = d0;
    t->dim[1] = d1;
    t->at = n->n;
    t->n = (size_t)d0 * (size_t)(d1 > 0 ? d1 : 1);
    t->lr_mult = (real)1;
    n->n += packed ? t->n : (t->n + 15) / 16 * 16;
    return n->n_tensors++;
}

static void add_layer(struct net *n, int l, int d)
{
    static const char *const parts[4] = {"weight_ih", "weight_hh", "bias_ih",
                                         "bias_hh"};
    int GH = n->c.cell->gates * n->c.H;
    for (int k = 0; k < 4; k++) {
        char name[64];
        int columns = k == 0 ? net_inputs(n, l) : k == 1 ? n->c.H : 0;
        snprintf(name, sizeof name, "rnn.%s_l%d%s", parts[k], l,
                 d ? "_reverse" : "");
        n->rnn[l][d][k] = net_add(n, name, GH, columns, 0);
    }
}

static int check_config(const struct net_config *c, struct err *e)
{
    if (c->L < 1 || c->L > NET_MAX_LAYERS || c->D < 1 || c->D > 2)
        return err_set(e, ERR_INVALID, "layers must be 1 to %d",
                       NET_MAX_LAYERS);
    if (c->V < 1 || c->E < 1 || c->H < 1 || c->P < 0 || c->C < 0)
        return err_set(e, ERR_INVALID, "sizes must be positive");
    if (c->D == 2 && c->C == 0)
        return err_set(e, ERR_INVALID,
                       "a language model cannot be bidirectional");
    int q = c->P > 0 ? c->P : c->D * c->H;
    if (c->tie && (c->C > 0 || q != c->E))
        return err_set(e, ERR_INVALID,
                       "tied weights need a language model whose output width "
                       "%d equals the embedding's %d",
                       q, c->E);
    return 0;
}

int net_plan(const struct net_config *c, struct net *n, struct err *e)
{
    memset(n, 0, sizeof *n);
    n->c = *c;
    if (c->kind != NET_RNN)
        return net_plan_tf(n, e);
    if (check_config(c, e) != 0)
        return -1;
    n->Q = c->P > 0 ? c->P : c->D * c->H;
    n->K = c->C > 0 ? c->C : c->V;
    n->embedding = net_add(n, "embedding.weight", c->V, c->E, 0);
    n->t[n->embedding].sparse = 1;
    for (int l = 0; l < c->L; l++)
        for (int d = 0; d < c->D; d++)
            add_layer(n, l, d);
    n->proj_w = n->proj_b = -1;
    if (c->P > 0) {
        n->proj_w = net_add(n, "projection.weight", c->P, c->D * c->H, 0);
        n->proj_b = net_add(n, "projection.bias", c->P, 0, 0);
    }
    n->out_w =
        c->tie ? n->embedding : net_add(n, "output.weight", n->K, n->Q, 0);
    n->out_b = net_add(n, "output.bias", n->K, 0, 0);
    return 0;
}

const char *net_name(const struct net *n)
{
    static const char *const names[] = {"rnn", "gpt2", "bert"};
    return n->c.kind == NET_RNN ? n->c.cell->name : names[n->c.kind];
}

int net_inputs(const struct net *n, int layer)
{
    return layer == 0 ? n->c.E : n->c.D * n->c.H;
}

struct rnn_weights net_layer(const struct net *n, int layer, int dir, real *p)
{
    const int *k = n->rnn[layer][dir];
    return (struct rnn_weights){p + n->t[k[0]].at, p + n->t[k[1]].at,
                                p + n->t[k[2]].at, p + n->t[k[3]].at};
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
    struct rnn_weights w = net_layer(n, l, d, p);
    int H = n->c.H, I = net_inputs(n, l);
    size_t hh = (size_t)H * (size_t)H, hi = (size_t)H * (size_t)I;
    for (int k = 0; k < n->c.cell->gates; k++) {
        fill_glorot(r, H, I, w.w_ih + (size_t)k * hi);
        if (!n->c.relu) {
            fill_orthogonal(r, H, w.w_hh + (size_t)k * hh);
            continue;
        }
        for (int i = 0; i < H; i++)
            w.w_hh[(size_t)k * hh + (size_t)i * (size_t)(H + 1)] = (real)1;
    }
    if (n->c.cell->has_c)
        for (int i = H; i < 2 * H; i++)
            w.b_ih[i] = (real)1; /* forget bias, Jozefowicz et al. 2015 */
}

void net_initialise(const struct net *n, uint64_t seed, real *p)
{
    struct rng r;
    if (n->c.kind != NET_RNN) {
        net_initialise_tf(n, seed, p);
        return;
    }
    rng_init(&r, seed);
    memset(p, 0, n->n * sizeof(real));
    const struct net_tensor *t = &n->t[n->embedding];
    fill_uniform(&r, 0.1, t->n, p + t->at);
    for (int l = 0; l < n->c.L; l++)
        for (int d = 0; d < n->c.D; d++)
            initialise_layer(n, l, d, &r, p);
    if (n->proj_w >= 0)
        fill_glorot(&r, n->c.P, n->c.D * n->c.H, p + n->t[n->proj_w].at);
    if (n->out_w != n->embedding)
        fill_glorot(&r, n->K, n->Q, p + n->t[n->out_w].at);
}
