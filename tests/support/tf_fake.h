/* tf_fake: a small Transformer with random weights in memory, written on
 * models/transformer/transformer.h, and the same in double. For tests of what
 * all Transformers share.
 *
 *   x = E[token];  per layer: h = norm(x); q, k, v = h W + b, q and k turned;
 *   x += attention W_o;   logits = norm(x) W_out
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_TF_FAKE_H
#define SEQD_TF_FAKE_H

#include "models/transformer/transformer_impl.h"

#define FAKE_LAYERS 2
#define FAKE_VOCAB 37
#define FAKE_HEADS 6
#define FAKE_KV 2
#define FAKE_D 12
#define FAKE_WIDTH 64
#define FAKE_MAX 160 /* positions */
#define FAKE_QKV ((FAKE_HEADS + 2 * FAKE_KV) * FAKE_D)

struct tf_fake {
    struct stack_kind kind;
    struct stack s;
    struct tensor table;      /* the embedding */
    float *embedding;         /* [V][width] */
    float *wqkv[FAKE_LAYERS]; /* [FAKE_QKV][width] */
    float *wo[FAKE_LAYERS];   /* [width][heads * d] */
    float *wout; /* [V][width], packed as Q8_0: multiples of 1/64 */
    int causal;
};

/* tf_fake_open: 0, or -1. whole: an encoder. */
int tf_fake_open(struct tf_fake *f, int whole, int causal, int window,
                 float cap);
void tf_fake_close(struct tf_fake *f);
/* tf_fake_set_fast: multiplies the last matrix the fast way, or not. */
void tf_fake_set_fast(struct tf_fake *f, int fast);

/* tf_fake_reference: the same in double for one text from position 0: logits
 * [n][V], hidden [n][width] and weights [layers][heads][n][n], each may be
 * NULL. */
void tf_fake_reference(const struct tf_fake *f, const int32_t *ids, int n,
                       double *logits, double *hidden, double *weights);

/* tf_fake_scratch: tf_scratch_bytes of a step with this batch, whose sequences
 * have up to `longest` tokens then. */
size_t tf_fake_scratch(const struct stack *s, const struct batch *b,
                       int threads, int64_t longest);

#endif
