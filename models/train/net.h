/* net: what the trainer knows of every net: its parameters lie in one block of
 * reals, and a table says where each tensor is, under the name that the
 * checkpoint gives it (models/README.md). The block may be the weights, a
 * gradient, a moment of Adam or an average: all have this layout. What kind of
 * net it is, and which tensor does what, is its family's affair (trainable.h).
 *
 * Dimensions: V entries of the vocabulary, C labels; the output layer is
 * [K, Q], K = V or C. A net of vectors has no vocabulary: V is 0, and
 * I columns are what it reads.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_NET_H
#define SEQD_NET_H

#include "engine/base/err.h"
#include "models/train/train_options.h"
#include "models/train/real.h"

#define NET_MAX_LAYERS 8
/* Most of them has a seq2seq-transformer: 2, 16 a layer of the encoder, 26 one
 * of the decoder. */
#define NET_MAX_TENSORS ((16 + 26) * NET_MAX_LAYERS + 2)

/* What the rows of a tensor stand for: they follow it into another net. */
enum net_rows { ROWS_PLAIN, ROWS_ENTRIES, ROWS_LABELS };

struct net_tensor {
    char name[64];
    int n_dims;
    int dim[2];
    int parts[2]; /* matrices that it holds, by rows and by columns: the gates
                     of a cell, query, key and value of GPT-2 */
    size_t at, n; /* range of the block */
    enum net_rows rows;
    int layer;      /* 0: what texts enter by, 1 .. L, L + 1: the output */
    real rate;      /* its own factor on the learning rate */
    real lr_mult;   /* all of them; 0: frozen */
    int fixed;      /* for good: lr_mult stays 0 */
    int from_start; /* taken from --init */
};

struct net {
    const struct trainable *family;
    void *shape;      /* the family's own */
    const char *name; /* "lstm", "gpt2": for people */
    int V, C, K, Q;   /* C 0: predicts entries, not labels */
    int I;            /* columns of the vectors that it reads; 0: entries */
    int values;       /* the C outputs are values, not scores of labels */
    int context;      /* longest text; 0: any */
    struct net_tensor t[NET_MAX_TENSORS];
    int n_tensors;
    int layer;        /* of the tensors that are added next */
    int full;         /* net_add had no room: net_plan fails */
    size_t n;         /* reals of a block, a multiple of 16 */
    int embedding;    /* [V, E] */
    int out_w, out_b; /* out_w is the embedding when tied; out_b -1: none */
};

/* net_plan: the table of the net that the options of family (o->arch),
 * vocabulary (o->vocab_size) or vectors (o->inputs) and sizes say, with so many
 * labels, or values where the task is regression. ERR_INVALID
 * when they contradict each other (tied with different widths, two directions
 * in a language model), ERR_INTERNAL when the table is too short for them.
 * net_fini also after an error. */
int net_plan(struct net *n, const struct options *o, int labels, struct err *e);
void net_fini(struct net *n);

/* net_initialise: fresh values; a function of the seed. */
void net_initialise(const struct net *n, uint64_t seed, real *p);

/* net_find: the number of a tensor, or -1. */
int net_find(const struct net *n, const char *name);

/* net_add: for the families that plan: a tensor [d0, d1] (d1 0: a vector) at
 * the end of the block; its number. Packed: the next tensor follows without a
 * gap. A full table is marked, as a region is, and stays as it was. */
int net_add(struct net *n, const char *name, int d0, int d1, int packed);

/* net_at: tensor i of block p. */
static inline real *net_at(const struct net *n, int i, real *p)
{
    return p + n->t[i].at;
}

#endif
