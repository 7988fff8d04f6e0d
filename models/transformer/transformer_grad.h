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

#include "models/train/dense.h"

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

/* Weights of a block: at each of these places the weight, after it the bias.
 * QKV: the matrices of q, k and v side by side [E, 3E], or one below the other
 * [3E, E]. */
enum block_part { LN1 = 0, QKV = 2, MIX = 4, LN2 = 6, IN = 8, OUT = 10 };
#define BLOCK_PARTS 12

/* A block at work. The caller owns all arrays. */
struct block_run {
    const struct blas *blas;
    const struct block_shape *s;
    int B, N;
    const int *start;                         /* [B + 1] */
    real *w[BLOCK_PARTS], *grad[BLOCK_PARTS]; /* grad: for backward */
    real drop;                                /* on what joins the residual */
    uint32_t key1, key2;                      /* of the two masks */

    /* what the backward pass needs of the forward pass */
    real *a;                /* [N, E] input of attention */
    real *qkv;              /* [N, 3E] */
    real *mix;              /* [N, E] output of the heads */
    real *m;                /* [N, E] input of the perceptron */
    real *in, *act;         /* [N, F] before and after GELU */
    real *unit[2], *inv[2]; /* of the norms */

    const struct block_scratch {
        real *row;         /* [N, E] */
        real *wide;        /* [N, max(F, 3E)] */
        real *probs, *dot; /* [ATTENTION_BLOCK, longest] */
        real *zeros;       /* [longest] zero */
        real *line;        /* [E] */
    } * scratch;
};

/* block_forward: x [N, E] in and out. */
void block_forward(const struct block_run *r, real *x);
/* block_backward: dx [N, E] in: gradient of the output, out: of the input. */
void block_backward(const struct block_run *r, real *dx);

/* The parts, for nets that need them apart from a block. */
struct norm_at {
    int N, E;
    real eps;
    real *w, *b;
    real *gw, *gb;    /* gradients, added to: for backward */
    real *unit, *inv; /* [N, E] normalised rows, [N] 1 / deviation: kept */
};
void norm_forward(const struct norm_at *n, const real *x, real *y);
/* norm_backward: dx = gradient, or dx += it when add. dy == dx is allowed when
 * not add. line: [E] scratch. */
void norm_backward(const struct norm_at *n, const real *dy, int add, real *dx,
                   real *line);

void gelu_forward(size_t n, int by_erf, const real *x, real *y);
/* dy [n] in: gradient of y, out: of x */
void gelu_backward(size_t n, int by_erf, const real *x, real *dy);

void attention_forward(const struct block_run *r);
/* attention_backward: dmix [N, E]; dqkv [N, 3E] out. */
void attention_backward(const struct block_run *r, real *dmix, real *dqkv);

#endif
