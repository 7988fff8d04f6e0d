/* rnn: stacked recurrent nets (Elman, LSTM, GRU) as next-token models and
 * classifiers; models/README.md has the checkpoint's layout. rnn.c loads
 * and frees (rnn_config.c: config.json); rnn_step.c is the step.
 *
 * Dimensions: V vocabulary, E embedding, H hidden (Hp: whole unit blocks), L
 * layers, D directions, G gates, R numbers of h (H but for an LSTM with
 * proj_size; Rp: whole blocks), P projection, C labels, W = D*Rp.
 *
 * State of a sequence (fixed_bytes), fp32: for each layer h [W] and, for the
 * LSTM, c [D*Hp]; then what a classifier pools, in time order: the maximum [W]
 * (max, concat) and the running sum [W] (mean, concat). All zero is the empty
 * sequence.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_RNN_H
#define SEQD_RNN_H

#include "engine/compute/matrix.h"
#include "engine/run/arch.h"
#include "models/rnn/cell.h"
#include "models/rnn/rnn_fold.h"

#define RNN_MAX_LAYERS 8
#define RNN_NAME_BYTES 256
#define RNN_MAX_CHAIN 16 /* time steps of an item in one step */

/* POOL_CONCAT: last state, maximum and mean behind each other (Howard and Ruder
 * 2018). */
enum rnn_pooling { POOL_LAST, POOL_MEAN, POOL_MAX, POOL_CONCAT };

struct rnn {
    const struct cell_kind *kind;
    int V, E, H, Hp, L, D, P; /* P 0: no projection */
    int R, Rp;
    int I;      /* numbers that enter layer 0: E, or more where they come as
                  vectors [I], see rnn_takes_vectors */
    int more;   /* numbers that a net around this one puts behind the top states
                  before projection and output (rnn_around) */
    int squash; /* tanh of the projection */
    int n_out;  /* V, or C for a classifier */
    int classifier;
    enum rnn_pooling pooling;
    const struct tensor *embedding; /* [V, E], in the mapping */
    struct cell cell[RNN_MAX_LAYERS][2];
    struct packed projection; /* [P, D*R + more] */
    float *projection_bias;   /* [P] */
    struct matrix output;     /* [n_out, P or D*R + more], fp32 or I8 */
    int fast;                 /* its inputs are rounded to 8 bits (matrix.h) */
    float *output_bias;       /* [n_out], zeros when the checkpoint has none */
    struct rnn_fold *fold;    /* what steps add to; the rest is read-only */
    char no_name[RNN_NAME_BYTES]; /* of a label that the file leaves out */
    char summary[64];
};

extern const struct model_arch rnn_arch;

/* rnn_shrinks: an LSTM with proj_size. */
int rnn_shrinks(const struct rnn *m);

/* rnn_takes_vectors: what enters is made by a net around this one, embedding
 * included, and not looked up by token. */
int rnn_takes_vectors(const struct rnn *m);
/* rnn_top_width: numbers of a row before projection and output. */
int rnn_top_width(const struct rnn *m);
/* rnn_pools_max, rnn_pools_sum: does a sequence keep it? */
int rnn_pools_max(const struct rnn *m);
int rnn_pools_sum(const struct rnn *m);

/* Of a net around this one, during a step: what it puts behind the top states x
 * [D*R] of a wanted row of logits, `more` numbers. Any thread; tid: which. */
struct rnn_around {
    void (*extend)(void *arg, int tid, const struct batch_item *it, int row,
                   const float *x, float *more);
    void *arg;
};

/* rnn_step.c. rnn_step_around: a step of a net inside another one. */
int rnn_step_around(const struct rnn *m, const struct rnn_around *around,
                    const struct exec *x, struct batch *b, struct err *e);
size_t rnn_scratch_bytes(const void *self, const struct step_size *most);
int rnn_step(const void *self, const struct exec *x, struct batch *b,
             struct err *e);

/* Offsets in floats into a sequence's state. */
size_t rnn_state_floats(const struct rnn *m);
size_t rnn_state_h(const struct rnn *m, int layer);
size_t rnn_state_c(const struct rnn *m, int layer);
size_t rnn_state_max(const struct rnn *m);
size_t rnn_state_sum(const struct rnn *m);

#endif
