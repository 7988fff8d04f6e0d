/* pass_tf: the forward and backward pass of a Transformer (pass.h). Dropout
 * acts on the embedded rows, on what a block adds to its residual (`between`)
 * and on the rows that enter the output layer.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_TRAIN_PASS_TF_H
#define SEQD_TRAIN_PASS_TF_H

#include "models/train/pass.h"

struct pass_tf {
    struct block_kept layer[NET_MAX_LAYERS];
    struct block_scratch scratch;
    real *x, *dx;     /* [N, E] the residual stream and its gradient */
    real *unit, *inv; /* GPT-2's last norm, BERT's first */
    real *top, *dtop; /* [N, E] (BERT: [B, E]) inputs of the output layer */
    real *first;      /* [B, E] BERT: the rows of the begin tokens */
    real *pooled;     /* [B, E] BERT: before dropout */
    real *no_bias;    /* [2, K] zero, and a gradient that nobody reads */
};

int pass_tf_init(struct pass *p, struct err *e);
void pass_tf_fini(struct pass *p);
double pass_tf_run(struct pass *p, const struct pass_batch *b, real *w,
                   const struct pass_opts *o, real *grad);

#endif
