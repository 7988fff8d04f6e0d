/* net_tf: the tensors of a GPT-2 and of a BERT (net.h), under the names and in
 * the shapes that Hugging Face's GPT2LMHeadModel, BertForSequenceClassification
 * and BertForMaskedLM give them. The matrices of a BERT's q, k and v
 * lie one below the other in the block, so that one product makes all three.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "engine/base/rng.h"
#include "models/train/net.h"

static int add(struct net *n, const char *prefix, const char *name, int d0,
               int d1)
{
    char full[64];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    return net_add(n, full, d0, d1, 0);
}

/* A weight and a bias; the first one's number. */
static int add_norm(struct net *n, const char *prefix, const char *name)
{
    char full[64];
    snprintf(full, sizeof full, "%s.weight", name);
    int first = add(n, prefix, full, n->c.E, 0);
    snprintf(full, sizeof full, "%s.bias", name);
    add(n, prefix, full, n->c.E, 0);
    return first;
}

static void add_dense(struct net *n, const char *prefix, const char *name,
                      int in, int out)
{
    int conv1d = n->c.kind == NET_GPT2;
    char full[64];
    snprintf(full, sizeof full, "%s.weight", name);
    add(n, prefix, full, conv1d ? in : out, conv1d ? out : in);
    snprintf(full, sizeof full, "%s.bias", name);
    add(n, prefix, full, out, 0);
}

static void plan_gpt2_block(struct net *n, int l)
{
    char prefix[32];
    int E = n->c.E, F = n->c.F;
    snprintf(prefix, sizeof prefix, "transformer.h.%d.", l);
    n->block[l] = add_norm(n, prefix, "ln_1");
    add_dense(n, prefix, "attn.c_attn", E, 3 * E);
    add_dense(n, prefix, "attn.c_proj", E, E);
    add_norm(n, prefix, "ln_2");
    add_dense(n, prefix, "mlp.c_fc", E, F);
    add_dense(n, prefix, "mlp.c_proj", F, E);
}

static void plan_gpt2(struct net *n)
{
    n->embedding = add(n, "transformer.", "wte.weight", n->c.V, n->c.E);
    n->position = add(n, "transformer.", "wpe.weight", n->c.T, n->c.E);
    for (int l = 0; l < n->c.L; l++)
        plan_gpt2_block(n, l);
    n->norm = add_norm(n, "transformer.", "ln_f");
    n->c.tie = 1;
    n->out_w = n->embedding;
    n->out_b = -1;
}

static void plan_bert_block(struct net *n, int l)
{
    static const char *const qkv[] = {"query", "key", "value"};
    char prefix[40], full[64];
    int E = n->c.E, F = n->c.F;
    snprintf(prefix, sizeof prefix, "bert.encoder.layer.%d.", l);
    n->block[l] = n->n_tensors;
    for (int k = 0; k < 3; k++) {
        snprintf(full, sizeof full, "%sattention.self.%s.weight", prefix,
                 qkv[k]);
        net_add(n, full, E, E, k < 2);
    }
    for (int k = 0; k < 3; k++) {
        snprintf(full, sizeof full, "%sattention.self.%s.bias", prefix, qkv[k]);
        net_add(n, full, E, 0, k < 2);
    }
    add_dense(n, prefix, "attention.output.dense", E, E);
    add_norm(n, prefix, "attention.output.LayerNorm");
    add_dense(n, prefix, "intermediate.dense", E, F);
    add_dense(n, prefix, "output.dense", F, E);
    add_norm(n, prefix, "output.LayerNorm");
}

static void plan_bert(struct net *n)
{
    int E = n->c.E;
    const char *prefix = "bert.embeddings.";
    n->embedding = add(n, prefix, "word_embeddings.weight", n->c.V, E);
    n->position = add(n, prefix, "position_embeddings.weight", n->c.T, E);
    n->type = add(n, prefix, "token_type_embeddings.weight", 1, E);
    n->norm = add_norm(n, prefix, "LayerNorm");
    for (int l = 0; l < n->c.L; l++)
        plan_bert_block(n, l);
    if (n->c.C == 0) {
        prefix = "cls.predictions.";
        n->transform = n->n_tensors;
        add_dense(n, prefix, "transform.dense", E, E);
        add_norm(n, prefix, "transform.LayerNorm");
        n->c.tie = 1;
        n->out_w = n->embedding;
        n->out_b = add(n, prefix, "bias", n->c.V, 0);
        return;
    }
    n->pooler = n->n_tensors;
    add_dense(n, "bert.", "pooler.dense", E, E);
    n->out_w = n->n_tensors;
    n->out_b = n->out_w + 1;
    add_dense(n, "", "classifier", E, n->c.C);
}

static int check_config(const struct net_config *c, struct err *e)
{
    if (c->L < 1 || c->L > NET_MAX_LAYERS)
        return err_set(e, ERR_INVALID, "layers must be 1 to %d",
                       NET_MAX_LAYERS);
    if (c->V < 1 || c->E < 1 || c->A < 1 || c->F < 1 || c->T < 1 || c->C < 0)
        return err_set(e, ERR_INVALID, "sizes must be positive");
    if (c->E % c->A != 0)
        return err_set(e, ERR_INVALID,
                       "the width %d is not divisible by %d heads", c->E, c->A);
    if (c->causal && c->C > 0)
        return err_set(e, ERR_INVALID, "only a language model can be causal");
    if (c->kind == NET_GPT2 && c->C > 0)
        return err_set(e, ERR_INVALID, "a gpt2 is a language model here");
    return 0;
}

int net_plan_tf(struct net *n, struct err *e)
{
    if (check_config(&n->c, e) != 0)
        return -1;
    n->Q = n->c.E;
    n->K = n->c.C > 0 ? n->c.C : n->c.V;
    n->type = n->pooler = n->transform = n->proj_w = n->proj_b = -1;
    if (n->c.kind == NET_GPT2)
        plan_gpt2(n);
    else
        plan_bert(n);
    n->t[n->embedding].sparse = 1;
    return 0;
}

struct block_shape net_block_shape(const struct net *n)
{
    int gpt2 = n->c.kind == NET_GPT2;
    return (struct block_shape){.E = n->c.E,
                                .A = n->c.A,
                                .F = n->c.F,
                                .pre_norm = gpt2,
                                .causal = gpt2 || n->c.causal,
                                .conv1d = gpt2,
                                .gelu_erf = !gpt2,
                                .eps = gpt2 ? (real)1e-5 : (real)1e-12};
}

struct block_weights net_block(const struct net *n, int layer, real *p)
{
    /* places of ln1, qkv, o, ln2, in, out among the tensors of a block */
    static const int places[2][12] = {
        {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11},
        {8, 9, 0, 3, 6, 7, 14, 15, 10, 11, 12, 13}};
    const int *k = places[n->c.kind == NET_BERT];
    const struct net_tensor *t = n->t + n->block[layer];
    return (struct block_weights){
        p + t[k[0]].at, p + t[k[1]].at, p + t[k[2]].at,  p + t[k[3]].at,
        p + t[k[4]].at, p + t[k[5]].at, p + t[k[6]].at,  p + t[k[7]].at,
        p + t[k[8]].at, p + t[k[9]].at, p + t[k[10]].at, p + t[k[11]].at};
}

/* GPT-2's and BERT's own rule: normal with deviation 0.02, what ends in a
 * residual addition of a GPT-2 divided by the root of their number; norms 1;
 * biases 0. The deviation of matrices grows in narrow nets, as Glorot and
 * Bengio 2010 have it. */
static double deviation_of(const struct net *n, const struct net_tensor *t)
{
    size_t len = strlen(t->name);
    if (t - n->t == n->embedding || t - n->t == n->position ||
        t - n->t == n->type)
        return 0.02;
    double d = sqrt(2.0 / (t->dim[0] + t->dim[1]));
    if (n->c.kind == NET_GPT2 && len > 13 &&
        strcmp(t->name + len - 13, "c_proj.weight") == 0)
        d /= sqrt(2.0 * n->c.L);
    return d;
}

void net_initialise_tf(const struct net *n, uint64_t seed, real *p)
{
    struct rng r;
    rng_init(&r, seed);
    memset(p, 0, n->n * sizeof(real));
    for (int i = 0; i < n->n_tensors; i++) {
        const struct net_tensor *t = &n->t[i];
        size_t len = strlen(t->name);
        if (t->n_dims == 2) {
            double d = deviation_of(n, t);
            for (size_t k = 0; k < t->n; k++)
                p[t->at + k] = (real)(d * rng_normal(&r));
        } else if (strcmp(t->name + len - 6, "weight") == 0) {
            for (size_t k = 0; k < t->n; k++)
                p[t->at + k] = (real)1;
        }
    }
}
