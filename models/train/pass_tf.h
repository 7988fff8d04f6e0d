/* pass_tf: the forward and backward pass of a Transformer (pass.h): embedding
 * and blocks in pass_tf.c, what follows them in head_tf.c. Dropout acts on the
 * embedded rows, on what a block adds to its residual (`between`) and on the
 * rows that enter the output layer (a masked model's: before its dense layer).
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_PASS_TF_H
#define SEQD_PASS_TF_H

#include "models/train/pass.h"

struct pass_tf {
    struct block_kept layer[NET_MAX_LAYERS];
    struct block_scratch scratch;
    real *x, *dx;     /* [N, E] the residual stream and its gradient */
    real *unit, *inv; /* GPT-2's last norm, BERT's first */
    real *no_bias;    /* [2, K] zero, and a gradient that nobody reads */

    /* [N, E]; a classifier's: [B, E] */
    real *top, *dtop;         /* inputs of the output layer */
    real *first;              /* BERT: the rows that go on */
    real *inner;              /* after the pooler, or before GELU */
    real *unit_top, *inv_top; /* the masked model's norm */
};

int pass_tf_init(struct pass *p, struct err *e);
void pass_tf_fini(struct pass *p);
double pass_tf_run(struct pass *p, const struct pass_batch *b, real *w,
                   const struct pass_opts *o, real *grad);

/* The norm of n->norm over N rows. */
struct norm_at pass_tf_norm(const struct pass *p, real *w, int N);
void pass_tf_mask(const struct pass_opts *o, int site, real rate, size_t n,
                  real *x);

/* head_tf.c: from x to top; the loss, and dtop; from dtop to dx. */
void head_tf_forward(const struct pass *p, const struct pass_batch *b, real *w,
                     const struct pass_opts *o);
double head_tf_loss(struct pass *p, const struct pass_batch *b, real *w,
                    const struct pass_opts *o, real *grad);
void head_tf_backward(const struct pass *p, const struct pass_batch *b, real *w,
                      const struct pass_opts *o, real *grad);

#endif
