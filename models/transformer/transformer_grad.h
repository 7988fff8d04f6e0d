/* transformer_grad: training forward and backward of one Transformer block:
 * attention and a two-layer perceptron, each with a residual connection and a
 * layer norm, before them (GPT-2; Radford et al. 2019) or after the addition
 * (BERT; Devlin et al. 2019). transformer_grad.c is the block, attention_grad.c
 * the attention.
 *
 * A batch is packed: sequence r has rows start[r] .. start[r + 1] of every
 * [N, ...] array, nothing is padded. The softmax of the attention is computed
 * again in the backward pass: a block of it stays in the cache, all of it would
 * not.
 *
 * Dimensions: N rows, B sequences, E width, A heads of D = E / A, F width of
 * the perceptron.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_TRANSFORMER_GRAD_H
#define SEQD_TRANSFORMER_GRAD_H

#include "models/train/blas.h"

/* Attention of query rows works in blocks of so many. */
#define ATTENTION_BLOCK 64

struct block_shape {
    int E, A, F;
    int pre_norm; /* norms before attention and perceptron, not after */
    int causal;   /* a row sees itself and what is before it */
    int conv1d;   /* matrices are [in, out] (GPT-2), not [out, in] */
    int gelu_erf; /* GELU by erf (BERT), not by tanh (GPT-2) */
    real eps;     /* of the norms */
};

struct ragged {
    int B, N;
    const int *start; /* [B + 1] */
};

/* Weights of a block, or their gradients. w_qkv: the matrices of q, k and v
 * side by side [E, 3E], or one below the other [3E, E]. */
struct block_weights {
    real *ln1_w, *ln1_b, *w_qkv, *b_qkv, *w_o, *b_o;
    real *ln2_w, *ln2_b, *w_in, *b_in, *w_out, *b_out;
};

/* What the backward pass needs of the forward pass. */
struct block_kept {
    real *a;            /* [N, E] input of attention */
    real *qkv;          /* [N, 3E] */
    real *mix;          /* [N, E] output of the heads */
    real *m;            /* [N, E] input of the perceptron */
    real *in, *act;     /* [N, F] before and after GELU */
    real *unit1, *inv1; /* [N, E] normalised rows, [N] 1 / deviation */
    real *unit2, *inv2;
};

struct block_scratch {
    real *row;         /* [N, E] */
    real *wide;        /* [N, max(F, 3E)] */
    real *probs, *dot; /* [ATTENTION_BLOCK, longest] */
    real *zeros;       /* [longest] zero */
    real *line;        /* [max(E, F)] */
};

struct block_run {
    const struct blas *blas;
    const struct block_shape *s;
    const struct ragged *rows;
    struct block_weights w;
    const struct block_kept *kept;
    const struct block_scratch *scratch;
    real drop;           /* on what is added to the residual */
    uint32_t key1, key2; /* of the two masks */
};

/* block_forward: x [N, E] in and out. */
void block_forward(const struct block_run *r, real *x);
/* block_backward: dx [N, E] in: gradient of the output, out: of the input; adds
 * to g. */
void block_backward(const struct block_run *r, const struct block_weights *g,
                    real *dx);

/* The parts, for nets that need them apart from a block. */
struct norm_at {
    int N, E;
    real eps;
    const real *w, *b;
    real *unit, *inv; /* [N, E], [N]: kept */
};
void norm_forward(const struct norm_at *n, const real *x, real *y);
/* norm_backward: dx = gradient, or dx += it when add. dy == dx is allowed when
 * not add. line: [E] scratch. */
void norm_backward(const struct norm_at *n, const real *dy, real *gw, real *gb,
                   int add, real *dx, real *line);

struct dense {
    const struct blas *blas;
    int conv1d; /* w is [in, out], else [out, in] */
    int in, out;
    real *w, *b;
};
/* y [rows, out] = x [rows, in] w + b */
void dense_forward(const struct dense *d, int rows, real *x, real *y);
/* dense_backward: adds to gw, gb; dx = gradient of x. dx may be x. */
void dense_backward(const struct dense *d, int rows, real *x, real *dy,
                    real *gw, real *gb, real *dx);

void gelu_forward(size_t n, int by_erf, const real *x, real *y);
/* dy [n] in: gradient of y, out: of x */
void gelu_backward(size_t n, int by_erf, const real *x, real *dy);

void attention_forward(const struct block_run *r);
/* attention_backward: dmix [N, E]; dqkv [N, 3E] out. */
void attention_backward(const struct block_run *r, real *dmix, real *dqkv);

#endif
