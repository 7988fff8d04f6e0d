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

/* What nets of nets load their parts with (rnn.c). All: ERR_FORMAT names the
 * tensor; ERR_NOMEM.
 * rnn_find_tensor: prefix and name, of shape [d0, d1] ([d0] when d1 is 0),
 * finite numbers, marked as read. rnn_read_tensor: the same as new fp32 memory,
 * to be freed by mem_aligned_free. rnn_load_matrix: packed [N, K]. */
const struct tensor *rnn_find_tensor(struct rnn_loader *l, const char *prefix,
                                     const char *name, int d0, int d1,
                                     struct err *e);
float *rnn_read_tensor(struct rnn_loader *l, const char *prefix,
                       const char *name, int d0, int d1, struct err *e);
int rnn_has_tensor(const struct rnn_loader *l, const char *prefix,
                   const char *name);
/* rnn_read_bias: as rnn_read_tensor; zeros where the file has none. */
float *rnn_read_bias(struct rnn_loader *l, const char *prefix, int n,
                     struct err *e);
int rnn_load_matrix(struct rnn_loader *l, const char *prefix, const char *name,
                    int N, int K, struct packed *out, struct err *e);
/* rnn_load_layers: embedding and cells of l->m. rnn_load_output: projection,
 * if there is one, and output. rnn_open_fold: the table of folded rows, within
 * l->o->tables. */
int rnn_load_layers(struct rnn_loader *l, struct err *e);
int rnn_load_output(struct rnn_loader *l, struct err *e);
int rnn_open_fold(struct rnn_loader *l, struct err *e);
void rnn_unload(void *self);

size_t rnn_held_bytes(const struct rnn *m);
/* rnn_token_work: multiply-adds of one token in all layers, unfolded. */
uint64_t rnn_token_work(const struct rnn *m);

#endif
