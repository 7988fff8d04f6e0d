/* eval_net: scores of what the engine does not run, through the trainer's own
 * forward pass.
 *
 * A recurrent language model with a neural cache (Grave et al. 2017, arXiv
 * 1612.04426) beside its own softmax: the words that came after states like
 * this one, among the last so many of the text, are likelier now.
 *
 *   p(w) = (1 - lambda) p_net(w) + lambda p_cache(w)
 *   p_cache(w) ~ sum over i of exp(theta h . h_i) where the word after h_i is w
 *
 * h is what the output layer reads.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_EVAL_NET_H
#define SEQD_EVAL_NET_H

#include "engine/base/buf.h"
#include "models/train/train_options.h"

/* One line of JSON into out for o->model and o->data, or ERR_UNSUPPORTED (the
 * net is of another kind) and the errors of reading.
 *
 * eval_with_cache: tokens, nats and perplexity with the cache of the options,
 * nats_without and perplexity_without, which are those of `seqd eval`.
 * eval_values: of a net of vectors (vectors.h): items, squared_error, the mean
 * over sequences and values, and of_mean, that of who always says the mean of
 * these values. */
int eval_with_cache(const struct options *o, struct buf *out, struct err *e);
int eval_values(const struct options *o, struct buf *out, struct err *e);

/* eval_is_of_vectors: what the checkpoint in a folder says. */
int eval_is_of_vectors(const char *dir);

#endif
