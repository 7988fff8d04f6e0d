/* rnn_stack: recurrent layers on top of each other, in one or two directions,
 * as the families of recurrent nets train them: a layer is rnn_grad.h's, what
 * is here are their tensors, arrays, masks and order.
 *
 * Dimensions: N rows and B texts of struct steps, I columns of the first
 * layer's input, H hidden, L layers, D directions, G gates.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_RNN_STACK_H
#define SEQD_RNN_STACK_H

#include "engine/base/rng.h"
#include "models/train/pass.h"

/* How the weights begin, and how fast they move. kind: INIT_*
 * (train_options.h); AUTO is the identity for ReLU, else orthogonal.
 *
 * States of ReLU are positive, so the elements of a row of the recurrent matrix
 * have gradients of one sign, and a rule like Adam's, whose steps are as long
 * as the rate whatever the gradient, moves the sum of the row, the gain of the
 * recurrence, by H times the rate in a step: at 1e-3 and 640 units from 1 to
 * 1.64. Without a factor of their own (0) the rate of these matrices is
 * RELU_STEP / H of the others' (models/recipes/words.md: what was measured). */
#define RELU_STEP 16.0
struct rnn_init {
    int kind;
    double scale;  /* of the recurrent matrices */
    double input;  /* deviation of the others; 0: as rnn_fill_glorot */
    double forget; /* bias of an LSTM's forget gates */
    double rate;   /* factor on the learning rate of recurrent matrices, or 0 */
};

struct rnn_stack_shape {
    const struct cell_grad *cell;
    int relu, I, H, L, D;
    struct rnn_init init;
    int site;                     /* added to the sites of its masks */
    int layer[NET_MAX_LAYERS][2]; /* w_ih, and after it w_hh, b_ih, b_hh */
};

struct rnn_layer {
    real *in;              /* [N, I] masked copy of the layer's input */
    real *out;             /* [N, D*H] */
    struct rnn_run run[2]; /* directions */
    real *w_drop[2];       /* [G*H, H] */
    real *dh[2], *dc[2];   /* [B, H] backward: in the gradient of the last
                              states, out that of the first */
};

struct rnn_stack {
    const struct rnn_stack_shape *s;
    const struct steps *steps; /* of the batch */
    struct rnn_layer layer[NET_MAX_LAYERS];
    real *g1, *g2; /* [N, max(I, D*H)] gradients between layers */
};

/* rnn_init_of: what the options say. rnn_stack_inputs: columns of w_ih.
 * rnn_stack_add: the tensors, whose names begin with prefix.
 * rnn_stack_initialise: by s->init. */
struct rnn_init rnn_init_of(const struct options *o);
int rnn_stack_inputs(const struct rnn_stack_shape *s, int layer);
void rnn_stack_add(struct net *n, struct rnn_stack_shape *s,
                   const char *prefix);
void rnn_stack_initialise(const struct net *n, const struct rnn_stack_shape *s,
                          struct rng *r, real *p);
/* Glorot and Bengio 2010; p [out, in]. */
void rnn_fill_uniform(struct rng *r, double limit, size_t n, real *p);
void rnn_fill_glorot(struct rng *r, int out, int in, real *p);

/* rnn_stack_open: the arrays, from p->mem; keep: the states go on from one
 * chunk of a text to the next. */
int rnn_stack_open(struct pass *p, const struct rnn_stack_shape *s,
                   struct rnn_stack *k, int keep, struct err *e);

/* rnn_stack_begin: for a batch of these steps: weights, their masks. zero: the
 * states begin as zero; else they are as the caller has set run[d].h and c. */
void rnn_stack_begin(const struct pass *p, struct rnn_stack *k,
                     const struct steps *steps, int zero);
/* rnn_stack_forward: from layer[0].in to layer[L - 1].out. */
void rnn_stack_forward(const struct pass *p, struct rnn_stack *k);
/* rnn_stack_no_gradient: dh and dc are zero. rnn_stack_backward: from g1 [N,
 * D*H], the gradient of the top layer's output, to g1 [N, I], that of the
 * input. */
void rnn_stack_no_gradient(struct rnn_stack *k);
void rnn_stack_backward(const struct pass *p, struct rnn_stack *k);

/* The same one time step after the other, for a single direction whose input
 * at t depends on its state at t - 1. In the backward pass, from the last one:
 * dout [n[t], H] (a view) and then dx [n[t], I], and dh and dc of the layers
 * become those of the states before. Masks between layers are the same at all
 * steps. */
void rnn_stack_step(const struct pass *p, struct rnn_stack *k, int t);
void rnn_stack_step_back(const struct pass *p, struct rnn_stack *k, int t,
                         struct mat dout, struct mat dx);

/* rnn_mask_rows: the mask of one site over rows [N, c] of these steps. */
void rnn_mask_rows(const struct pass *p, const struct steps *s, int site,
                   real rate, struct mat x);

#endif
