/* rnn_load: what the two halves of loading share: rnn_config.c reads
 * config.json, rnn.c the tensors.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_RNN_LOAD_H
#define SEQD_RNN_LOAD_H

#include "engine/checkpoint/tally.h"
#include "models/rnn/rnn.h"

#define RNN_TENSOR_BYTES 300 /* of a tensor's name with its prefix */

/* What load() gathers besides the model itself. */
struct rnn_loader {
    struct rnn *m;
    const struct load_opts *o;
    struct weights *w;
    const struct hparams *h;
    struct model_info *info;
    struct tally read;
    int bias, tied;
    int one; /* a classifier of one output, for the second of two labels */
    const char *p_embedding, *p_rnn, *p_projection, *p_output; /* prefixes */
};

/* rnn_read_config: sizes and labels into l->m and l->info, the rest into l.
 * ERR_FORMAT names the key. */
int rnn_read_config(struct rnn_loader *l, struct err *e);

#endif
