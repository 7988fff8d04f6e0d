/* bert: the encoder of Devlin et al. 2019 and its kin: DistilBERT (Sanh et al.
 * 2019: no token types) and RoBERTa (Liu et al. 2019: positions begin behind
 * the padding token's). Whole inputs, every token sees every other one; a
 * norm behind each sum:
 *
 *     x = norm(word + type + position)
 *     x = norm(x + W_o attention(W_q x, W_k x, W_v x))      each layer
 *     x = norm(x + W_2 act(W_1 x))
 *
 * bert_load.c reads the checkpoint, bert_pool.c what a sentence embedding is
 * made of, bert.c computes.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_BERT_H
#define SEQD_BERT_H

#include "models/transformer/transformer.h"

enum bert_act { ACT_GELU, ACT_GELU_TANH, ACT_RELU, ACT_TANH };

/* What stands on top of the last layer, and what is asked of it:
 *   FILL    norm(act(W x)), then the words' matrix: logits of each position
 *   CLASS   act(W x) of the first token, then scores of labels
 *   EMBED   a pool over all tokens */
enum bert_head { HEAD_FILL, HEAD_CLASS, HEAD_EMBED };

enum bert_pooling {
    BERT_POOL_MEAN,
    BERT_POOL_CLS,
    BERT_POOL_MAX,
    BERT_POOL_SQRT /* the sum over the root of the length */
};

/* What files beside config.json say about sentences. */
struct bert_sentence {
    int stated; /* modules.json is there */
    enum bert_pooling pooling;
    int normalise;      /* to length 1 */
    int64_t max_length; /* tokens, with [CLS] and [SEP]; 0: not stated */
};

struct bert_layer {
    struct tf_linear qkv, o; /* [3 H, H], [H, H] */
    struct tf_linear up;     /* [F, H] */
    struct tf_linear down;   /* [H, F] */
    struct tf_norm norm1, norm2;
};

struct bert {
    struct tf_spec spec;
    int H, F, V;
    int L;
    int P;       /* rows of the positions' table */
    int n_types; /* 0: none */
    int pad;     /* RoBERTa: positions begin at pad + 1; else -1 */
    double eps;
    enum bert_act act;
    const struct tensor *word, *position; /* [V, H], [P, H] in the file */
    float *type;                          /* [n_types][tf_pad(H)] */
    struct tf_norm norm;                  /* of the embedding */
    struct bert_layer *layer;             /* [L] */
    enum bert_head head;
    struct tf_linear dense; /* FILL, CLASS: [H, H] */
    enum bert_act head_act;
    struct tf_norm head_norm;      /* FILL */
    struct tf_linear out;          /* FILL: [V, H], CLASS: [labels, H] */
    struct bert_sentence sentence; /* EMBED */
    char (*label)[24];             /* names of labels without one */
    char summary[96];
};

/* bert_load: ERR_FORMAT names the key or tensor, ERR_UNSUPPORTED what is not
 * done, ERR_NOMEM. */
int bert_load(const struct load_opts *o, struct checkpoint *c,
              struct model_info *info, void **self, struct err *e);
void bert_unload(void *self);

/* bert_sentence_read: modules.json, the pooling's config.json and
 * sentence_bert_config.json of a checkpoint's folder; what is missing leaves
 * the mean over all tokens as it is. ERR_FORMAT, ERR_UNSUPPORTED. */
int bert_sentence_read(const struct checkpoint *c, const char *label,
                       struct bert_sentence *s, struct err *e);

/* bert_pool: rows x [n][ldx] of width H to y [H]. Rows are added in ascending
 * order; the length is summed in double. */
void bert_pool(const struct bert_sentence *s, const struct kernels *k, int H,
               const float *x, size_t ldx, int n, float *y);

extern const struct model_arch bert_arch;

#endif
