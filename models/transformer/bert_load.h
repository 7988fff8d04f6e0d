/* bert_load: between the files that read an encoder's checkpoint:
 * bert_config.c finds out what it is and reads config.json (or GGUF's
 * metadata), bert_load.c takes the tensors.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_BERT_LOAD_H
#define SEQD_BERT_LOAD_H

#include "models/transformer/bert.h"

#define BERT_NAME_BYTES 160
#define BERT_PART_BYTES 96

/* Names of tensors: of the embedding, and of a layer behind "<layer><i>.". */
struct bert_names {
    const char *word, *position, *type, *norm;
    const char *layer;
    const char *q, *k, *v, *o, *norm1, *up, *down, *norm2;
};

/* Keys of the hyperparameters. */
struct bert_keys {
    const char *width, *layers, *heads, *inner, *act, *eps, *length;
};

/* The two layers of a head and the norm between them. */
struct bert_head_names {
    const char *dense, *norm, *out, *out_bias;
    enum bert_act act;
    int own_act; /* `act` is not the model's own */
};

struct bert_family {
    const char *type; /* model_type */
    const char *prefix;
    const struct bert_names *names;
    const struct bert_keys *keys;
    struct bert_head_names fill, cls;
    int roberta; /* positions behind the padding token's */
};

struct bert_loader {
    struct bert *m;
    const struct load_opts *o;
    const struct checkpoint *c;
    struct weights *w;
    const struct hparams *h;
    struct model_info *info;
    const struct bert_family *f;
    const struct bert_names *names;
    const struct bert_keys *keys;
    const char *prefix; /* of the base model's tensors: "" or the family's */
    int gguf;
};

/* bert_config_read: family, prefix, sizes, activation, and the head (with what
 * stands beside a checkpoint for sentences). ERR_FORMAT, ERR_UNSUPPORTED. */
int bert_config_read(struct bert_loader *l, struct err *e);

/* Names: "<prefix><part>.<kind>" of a tensor of the base model; a part of layer
 * i; is there a tensor of this name, of the base model. */
void bert_base_name(const struct bert_loader *l, const char *part,
                    const char *kind, char out[BERT_NAME_BYTES]);
void bert_layer_part(const struct bert_loader *l, int i, const char *part,
                     char out[BERT_PART_BYTES]);
int bert_has(const struct bert_loader *l, const char *name);
int bert_has_base(const struct bert_loader *l, const char *part,
                  const char *kind);

#endif
