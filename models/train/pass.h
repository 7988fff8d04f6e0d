/* pass: one worker's forward and backward over one packed batch: the family's
 * layers (trainable.h), then the output layer and the loss. A worker owns its
 * pass, its gradient block and its rows; weights are shared and read-only while
 * passes run.
 *
 * Dropout masks are functions of a key and the place of the element, so they
 * are not stored: the backward pass makes them again. Where they act:
 *   word        whole vocabulary entries of the embedding (Gal and Ghahramani
 *               2016, as in AWD-LSTM)
 *   embedding   the inputs of the first layer
 *   between     recurrent: the inputs of the layers above the first;
 *               Transformers: what a layer adds to its residual
 *   output      the top states (classifiers: the pooled state; masked models:
 *               before the last dense layer)
 *   recurrent   the elements of the recurrent matrices (DropConnect; Merity et
 *               al. 2018), one mask per batch
 *   attention   Transformers: the weights of the attention
 * With `variational` the masks of embedding, between and output are the same
 * at all time steps of a text (recurrent).
 *
 * Recurrent language models can pay for their top states, too (Merity et al.
 * 2017, arXiv 1708.01009, section 4.3): `ar` times the mean of their squares
 * after dropout, `tar` times that of their changes from one time to the next,
 * before it.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_PASS_H
#define SEQD_PASS_H

#include "models/train/dense.h"
#include "models/train/feed.h"
#include "models/train/loss.h"
#include "models/train/net.h"

struct dropout {
    real word, embedding, between, output, recurrent;
    int variational;
    real attention;
};

struct penalty {
    real ar, tar;
    double loss; /* of the last batch, not in that of pass_run; as that a sum
                    over the targets */
};

/* How much of the loss of the last target comes back to each time step, in
 * nets of texts of one length T: sums over the texts of the squared norms of
 * the gradient with respect to what the first layer reads at t, and to the
 * state that step t of layer l hands on (an LSTM's h and c as two arguments of
 * the next step). */
struct trace {
    int T;
    double *x;                                     /* [T] */
    double *h[NET_MAX_LAYERS], *c[NET_MAX_LAYERS]; /* [T], or NULL: none */
};

/* Sites of random masks: part of a mask's key. */
enum pass_site {
    SITE_EMBEDDING = 1,
    SITE_OUTPUT = 2,
    SITE_SOURCE = 3, /* embedding, of the other text of a pair */
    SITE_BETWEEN = 16,
    SITE_RECURRENT = 32,
    SITE_LAYERS = 64 /* Transformers: SITES_LAYER for a layer */
};
#define SITES_LAYER 8

struct pass {
    const struct net *net;
    const struct blas *blas;
    struct dropout drop;
    struct penalty penalty;
    int cap_N, cap_B;
    struct region mem; /* of all arrays here and of the family's */
    void *own;         /* the family's */
    /* States that go from one chunk of a text to the next. */
    struct kept {
        real *p;
        size_t n;
    } kept[2 * NET_MAX_LAYERS];
    int n_kept;
    real *y, *dy;  /* [targets, Q] inputs of the output layer; gradient */
    real *no_bias; /* [2, K] zero, and a gradient that nobody reads */
    real *prob;    /* [B, C] classifier: softmax of the last batch, or its
                      values */
    struct loss_work loss;
    struct rows rows_in, rows_w, rows_b;

    /* while it runs */
    const struct pass_batch *b;
    const struct pass_opts *o;
    real *w, *grad; /* blocks; grad in training */
};

struct pass_opts {
    int train;         /* dropout on, gradients wanted */
    int fresh;         /* texts begin with an empty state */
    uint64_t key;      /* of this step and worker */
    uint32_t word_key; /* of this step */
    real scale;        /* gradient of scale * sum of losses */
    real smoothing;
    const struct noise *noise; /* NULL: full softmax */
    struct trace *trace; /* or NULL. In training: the last target of each text
                            is the only one with a gradient, whose norms are
                            added here */
};

/* pass_init: for at most N rows and B texts. samples 0: full softmax. */
int pass_init(struct pass *p, const struct net *n, const struct blas *b,
              int max_N, int max_B, int samples, struct err *e);
void pass_fini(struct pass *p);

/* pass_reset_state: states to zero, as at the start of a text. */
void pass_reset_state(struct pass *p);

/* pass_run: weights w; grad: block to add to when o->train. Returns the sum of
 * the losses over the targets. The states go in and out. */
double pass_run(struct pass *p, const struct pass_batch *b, real *w,
                const struct pass_opts *o, real *grad);

/* ---- for the families ---- */

/* pass_reals: n reals from p->mem. pass_keep: the same, kept between chunks. */
real *pass_reals(struct pass *p, size_t n);
real *pass_keep(struct pass *p, size_t n);
/* pass_max_targets: of a batch. */
size_t pass_max_targets(const struct pass *p);

/* pass_key: of a site's mask. */
uint32_t pass_key(const struct pass *p, int site);
/* pass_mask: n elements of x, or of its gradient, in training. */
void pass_mask(const struct pass *p, int site, real rate, size_t n, real *x);

/* pass_dense: the layer of tensors i (weight [out, in]) and i + 1 (bias). */
struct dense pass_dense(const struct pass *p, int i);

/* pass_trace: dx [N, c] is the gradient of what the first layer read. */
void pass_trace(const struct pass *p, int c, const real *dx);

/* pass_embed: rows of the embedding, with whole words dropped, into x [N, E];
 * pass_embed_grad: dx [N, E] to their rows in grad. */
void pass_embed(const struct pass *p, real *x);
void pass_embed_grad(struct pass *p, const real *dx);
/* The same of any n ids and of tensor i, [entries, width]. Only the rows of
 * net->embedding are listed as touched. */
void pass_embed_ids(const struct pass *p, int i, int n, const int32_t *ids,
                    real *x);
void pass_embed_ids_grad(struct pass *p, int i, int n, const int32_t *ids,
                         const real *dx);

#endif
