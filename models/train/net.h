/* net: the shape of a net as the trainer sees it: its parameters lie in one
 * block of reals, and a table says where each tensor is, under the name that
 * the checkpoint gives it (models/README.md). The block may be the weights, a
 * gradient, a moment of Adam or an average: all have this layout.
 *
 * Dimensions: V vocabulary, E embedding, H hidden, L layers, D directions, P
 * projection, Q = P or D*H columns of the output layer, C labels, K = V or C
 * rows of the output layer. Transformers (net_tf.c): E width, A heads, F width
 * of the perceptron, T positions; Q = E. A GPT-2 is a language model; a BERT is
 * a classifier, or predicts masked tokens (C = 0). Both language models are
 * tied.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_NET_H
#define SEQD_NET_H

#include "engine/base/err.h"
#include "models/rnn/rnn_grad.h"
#include "models/transformer/transformer_grad.h"

#define NET_MAX_LAYERS 8
#define NET_MAX_TENSORS (16 * NET_MAX_LAYERS + 9) /* a BERT's */

enum net_kind { NET_RNN, NET_GPT2, NET_BERT };
enum net_pooling { NET_POOL_LAST, NET_POOL_MEAN, NET_POOL_MAX };

struct net_config {
    enum net_kind kind;
    const struct cell_grad *cell; /* NET_RNN */
    int relu;
    int V, E, H, L, D;
    int A, F, T; /* Transformers */
    int causal;  /* BERT: rows see only what is before them (a decoder) */
    int P;       /* 0: no projection */
    int tie;
    int C; /* 0: a language model */
    enum net_pooling pooling;
};

struct net_tensor {
    char name[64];
    int n_dims;
    int dim[2];
    size_t at, n;   /* range of the block */
    int sparse;     /* gradient touches few rows: see rows.h */
    real lr_mult;   /* 0: frozen */
    int from_start; /* taken from --init */
};

struct net {
    struct net_config c;
    int Q, K;
    struct net_tensor t[NET_MAX_TENSORS];
    int n_tensors;
    size_t n; /* reals of a block, a multiple of 16 */
    int embedding;
    int rnn[NET_MAX_LAYERS][2][4]; /* w_ih, w_hh, b_ih, b_hh */
    int proj_w, proj_b;            /* -1: none */
    int out_w, out_b; /* out_w is the embedding when tied; out_b -1: none */

    /* Transformers: first tensor of each, weight before bias */
    int position, type, norm; /* norm: GPT-2's last, BERT's first */
    int block[NET_MAX_LAYERS];
    int pooler;    /* a classifier's; -1: none */
    int transform; /* a masked model's dense layer and norm before the output */
};

/* net_plan: the table of a configuration. ERR_INVALID when it contradicts
 * itself (tied with different widths, two directions in a language model). */
int net_plan(const struct net_config *c, struct net *n, struct err *e);

/* net_initialise: identity recurrent matrix for ReLU Elman (Le et al. 2015),
 * orthogonal otherwise (Saxe et al. 2014); Glorot and Bengio 2010 for other
 * matrices; embedding uniform in [-0.1, 0.1]; forget bias 1 (Jozefowicz et al.
 * 2015), in b_ih; other biases 0. */
void net_initialise(const struct net *n, uint64_t seed, real *p);

static inline int net_is_masked(const struct net *n)
{
    return n->c.kind == NET_BERT && n->c.C == 0;
}

const char *net_name(const struct net *n); /* "lstm", "gpt2", ... */

struct rnn_weights net_layer(const struct net *n, int layer, int dir, real *p);
int net_inputs(const struct net *n, int layer); /* columns of w_ih */

/* net_add: for the functions that plan: a tensor [d0, d1] (d1 0: a vector) at
 * the end of the block. Packed: the next tensor follows without a gap. */
int net_add(struct net *n, const char *name, int d0, int d1, int packed);

/* net_tf.c */
int net_plan_tf(struct net *n, struct err *e);
void net_initialise_tf(const struct net *n, uint64_t seed, real *p);
struct block_shape net_block_shape(const struct net *n);
struct block_weights net_block(const struct net *n, int layer, real *p);

#endif
