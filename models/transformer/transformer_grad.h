/* transformer_grad: training forward and backward of one Transformer block:
 * attention and a two-layer perceptron, each with a residual connection and a
 * layer norm, before them (GPT-2; Radford et al. 2019) or after the addition
 * (BERT; Devlin et al. 2019). Between the two a decoder with a source attends
 * to that (Vaswani et al. 2017). transformer_grad.c is the block, cross_grad.c
 * the attention to a source, attention_grad.c the attention itself,
 * activation_grad.c what is between the perceptron's layers.
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

enum activation { ACT_GELU_TANH, ACT_GELU_ERF, ACT_RELU, ACT_SWISH };

struct block_shape {
    int E, A, F;
    int pre_norm; /* norms before attention and perceptron, not after */
    int causal;   /* a row sees itself and what is before it */
    int conv1d;   /* matrices are [in, out] (GPT-2), not [out, in] */
    enum activation act;
    real eps; /* of the norms */
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
    real drop_weights;                        /* on those of the attention */
    uint32_t key_weights;

    /* what the backward pass needs of the forward pass */
    real *a;                /* [N, E] input of attention */
    real *qkv;              /* [N, 3E] */
    real *mix;              /* [N, E] output of the heads */
    real *m;                /* [N, E] input of the perceptron */
    real *in, *act;         /* [N, F] before and after the activation */
    real *unit[2], *inv[2]; /* of the norms */

    const struct block_scratch {
        real *row;                  /* [N, E] */
        real *wide;                 /* [N, max(F, 3E)] */
        real *probs, *masked, *dot; /* [ATTENTION_BLOCK, longest] */
        real *zeros;                /* [longest] zero */
        real *line;                 /* [E] */
    } * scratch;
};

/* block_forward: x [N, E] in and out. */
void block_forward(const struct block_run *r, real *x);
/* block_backward: dx [N, E] in: gradient of the output, out: of the input. */
void block_backward(const struct block_run *r, real *dx);

/* Its two halves, for what is between them in a decoder with a source. */
void block_attend(const struct block_run *r, real *x);
void block_perceptron(const struct block_run *r, real *x);
void block_attend_grad(const struct block_run *r, real *dx);
void block_perceptron_grad(const struct block_run *r, real *dx);

/* ---- attention to a source; the norm is after the addition ---- */

/* As above; KV: the matrices of k and v one below the other [2E, E]. */
enum cross_part { CROSS_LN = 0, CROSS_Q = 2, CROSS_KV = 4, CROSS_MIX = 6 };
#define CROSS_PARTS 8

struct cross_run {
    const struct blas *blas;
    const struct block_shape *s;
    int B, N, M; /* sequences, rows of the stream, of the sources */
    const int *start, *source_start; /* [B + 1] */
    real *w[CROSS_PARTS], *grad[CROSS_PARTS];
    real drop, drop_weights;
    uint32_t key, key_weights;

    real *a;                             /* [N, E] input */
    real *q;                             /* [N, E] */
    real *kv;                            /* [M, 2E] */
    real *mix;                           /* [N, E] */
    real *unit, *inv;                    /* of the norm */
    const struct block_scratch *scratch; /* for N and for M rows */
};

/* cross_forward: x [N, E] in and out, memory [M, E] the encoded sources. */
void cross_forward(const struct cross_run *r, real *memory, real *x);
/* cross_backward: dx as in block_backward; added to d_memory [M, E]. back [M,
 * E]: scratch. */
void cross_backward(const struct cross_run *r, real *memory, real *dx,
                    real *d_memory, real *back);

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

void act_forward(size_t n, enum activation act, const real *x, real *y);
/* dy [n] in: gradient of y, out: of x */
void act_backward(size_t n, enum activation act, const real *x, real *dy);

/* Rows of queries, of keys and of values: all heads of a row lie side by side,
 * the rows `ld` apart. */
struct heads {
    real *q, *k, *v;
    size_t q_ld, kv_ld;
};

struct attention {
    const struct blas *blas;
    int A, D; /* heads, width of one */
    int causal;
    int B;
    const int *q_start, *k_start; /* [B + 1] rows of each sequence */
    struct heads in;
    real drop; /* on the weights */
    uint32_t key;
    const struct block_scratch *scratch;
};
/* attention_forward: y [rows of queries, A D]. */
void attention_forward(const struct attention *a, real *y);
/* attention_backward: dy like y; added to d. */
void attention_backward(const struct attention *a, real *dy,
                        const struct heads *d);

#endif
