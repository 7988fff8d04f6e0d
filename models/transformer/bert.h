/* bert: what the encoders of one block have of their own. bert.c is the block
 * and what stands before and behind it, bert_families.c the table of families.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_BERT_H
#define SEQD_BERT_H

#include "models/transformer/names.h"

/* Parts of a layer, and its tensors. */
enum { QKV, OUT, NORM_1, UP, DOWN, NORM_2 };
#define BERT_ROWS 8

/* A head: two products, for masked words with a norm between them. Where the
 * embedding is narrower than the layers, the first product of masked words is
 * as narrow. */
struct bert_head {
    const char *dense, *norm, *out, *out_bias;
    unsigned dense_how;
    enum tf_act act;
    int own_act; /* `act` is not the model's own */
};

struct bert_family {
    const char *type; /* model_type */
    const char *prefix, *layers;
    const char *const *parts; /* [BERT_ROWS] tensors of a layer; NULL: BERT's */
    const struct names_key *keys;
    const char *act, *eps; /* keys; NULL: none */
    const char *act_dflt;
    int types; /* it has token types: type_vocab_size */
    /* Positions begin behind the padding token's: pad_token_id, or token 1. */
    enum { FROM_ZERO, BEHIND_PAD, BEHIND_ONE } places;
    const char *near; /* a table of relative positions, or NULL */
    struct bert_head words, labels;
    /* From an embedding of embedding_size (NULL: WIDTH) to the layers: a
     * product of this name, ALWAYS, or where the two differ. */
    const char *project;
    int embedding_dflt;
    unsigned project_when;
    const char *groups; /* key: sets of weights that layers share; NULL: none */
};

/* bert_family_of: that of a model_type, also of another name for the same. */
const struct bert_family *bert_family_of(const char *type);
/* bert_block: the table of a layer's tensors, without its end. */
void bert_block(const struct bert_family *f, struct tensor_row *row);

#endif
