/* trainable: what a family of nets does for the trainer, which never asks a net
 * of what kind it is. A family is one file, family_NAME.c, and a line of the
 * table in trainable.c (models/README.md: "A family for the trainer"). It reads
 * its sizes from the options of the command line, and a checkpoint's
 * config.json into the same options.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_TRAINABLE_H
#define SEQD_TRAINABLE_H

#include "engine/base/buf.h"
#include "engine/checkpoint/hparams.h"
#include "engine/text/tokenizer.h"
#include "models/train/pass.h"

struct objective;

/* One net whose gradients are checked against differences (gradcheck.h). */
struct grad_case {
    struct options o; /* what is not a size */
    const char *note; /* what the options do not say, or NULL */
    int labels;
    int sampled; /* by sampled softmax */
    real dropout, smoothing;
    real penalty; /* both of pass.h */
};

struct trainable {
    const char *name;       /* of --arch */
    const char *model_type; /* of config.json; NULL: the name */
    const char *embedding;  /* its tensor, for nets that start from this one;
                              NULL: none */
    /* Ends of the names of matrices [inputs, outputs], NULL behind the last;
     * NULL: all are [outputs, inputs]. */
    const char *const *by_input;
    size_t shape_bytes, pass_bytes; /* of net.shape and pass.own */

    /* What a net of these options learns. */
    const struct objective *(*objective)(const struct options *o);

    /* read: config.json into options and the number of labels. write: what
     * follows model_type in it. */
    int (*read)(const struct hparams *h, struct options *o, int *labels,
                struct err *e);
    void (*write)(const struct net *n, const struct tokenizer *t,
                  struct buf *b);

    /* plan: fills n->shape and adds the tensors, in the order of the
     * checkpoint; sets Q, out_w and what else of net.h is not as it stands.
     * initialise: p is zero before. */
    int (*plan)(struct net *n, const struct options *o, struct err *e);
    void (*initialise)(const struct net *n, struct rng *r, real *p);

    /* states: of layer l that go from one time step to the next: h, or h and c
     * (2). NULL: none do. */
    int (*states)(const struct net *n, int l);

    /* How a batch lies in memory: a function of feed.h. */
    void (*pack)(struct feed *f);

    /* open: takes the arrays of p->own from p->mem; those that the next chunk
     * of a text needs are given to pass_keep. */
    int (*open)(struct pass *p, struct err *e);
    /* forward: from p->b to p->y, a row for each target, or, without `picks`,
     * for each row where only some are predicted. backward: from p->dy to
     * p->grad. */
    int picks;
    void (*forward)(struct pass *p);
    void (*backward)(struct pass *p);

    /* grad_case: the i-th one into *c; 0 when there is none. */
    int (*grad_case)(int i, struct grad_case *c);
};

extern const struct trainable rnn_trainable, gpt2_trainable, bert_trainable,
    seq2seq_transformer_trainable, seq2seq_rnn_trainable;

/* trainable_type: the model_type of config.json. */
const char *trainable_type(const struct trainable *f);

/* trainable_by_input: 1 when the family of this model_type has its matrix of
 * this name as [inputs, outputs]. No family: 0. */
int trainable_by_input(const char *model_type, const char *name);

/* In the order of --arch; NULL-terminated. */
extern const struct trainable *const trainables[];

/* For read: a size of at least 1, and the number of labels or 0. */
int config_size(const struct hparams *h, const char *key, int max, int *v,
                struct err *e);
int config_labels(const struct hparams *h);

#endif
