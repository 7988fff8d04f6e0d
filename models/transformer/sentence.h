/* sentence: sentence embeddings as sentence-transformers keeps them beside a
 * checkpoint (Reimers and Gurevych 2019), and how they are made of rows.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_SENTENCE_H
#define SEQD_SENTENCE_H

#include "models/transformer/names.h"

enum pooling {
    POOL_MEAN,
    POOL_CLS,
    POOL_MAX,
    POOL_SQRT /* the sum over the root of the length */
};

/* What files beside config.json say about sentences. */
struct sentence {
    int stated; /* modules.json is there */
    enum pooling pooling;
    int normalise;      /* to length 1 */
    int64_t max_length; /* tokens, with [CLS] and [SEP]; 0: not stated */
    char note[32];      /* ", mean, length 1" */
};

/* sentence_read: modules.json, the pooling's config.json and
 * sentence_bert_config.json of a checkpoint's folder; what is missing leaves
 * the mean over all tokens as it is. GGUF states the pooling, and its vectors
 * get length 1. ERR_FORMAT, ERR_UNSUPPORTED. */
int sentence_read(const struct names *n, struct sentence *s, struct err *e);

/* sentence_pool: rows x [n][ldx] of width H to y [H]. Rows are added in
 * ascending order; the length is summed in double. */
void sentence_pool(const struct sentence *s, const struct kernels *k, int H,
                   const float *x, size_t ldx, int n, float *y);

#endif
