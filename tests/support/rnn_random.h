/* rnn_random: writes random checkpoints of the "rnn" architecture into a
 * temporary directory, for tests and benches that need a shape rather than a
 * meaning.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_RNN_RANDOM_H
#define SEQD_RNN_RANDOM_H

#include <stdint.h>

struct rnn_shape {
    const char *cell;         /* "lstm" */
    const char *nonlinearity; /* NULL: default */
    int V, E, H, L, D;
    int classifier, C;
    const char *pooling; /* NULL: default */
    int P;
    int R;       /* proj_size, 0: none */
    int bf16;    /* store BF16 */
    int eight;   /* store matrices in 8 bits */
    int no_bias; /* of the recurrent layers */
};

/* rnn_random_write: config.json and model.safetensors in a new directory,
 * whose path goes to dir [64 bytes]. 0 or -1. */
int rnn_random_write(const struct rnn_shape *s, uint64_t seed, char *dir);
void rnn_random_remove(const char *dir);

#endif
