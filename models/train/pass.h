/* pass: one worker's forward and backward over one packed batch: embedding,
 * recurrent layers, head. A worker owns its pass, its gradient block and its
 * rows; weights are shared and read-only while passes run.
 *
 * Dropout masks are functions of a key and the place of the element, so they
 * are not stored: the backward pass makes them again. Where they act:
 *   word        whole vocabulary entries of the embedding (Gal and Ghahramani
 *               2016, as in AWD-LSTM)
 *   embedding   the inputs of the first layer
 *   between     the inputs of the layers above the first
 *   output      the top states (classifiers: the pooled state)
 *   recurrent   the elements of the recurrent matrices (DropConnect; Merity et
 *               al. 2018), one mask per batch
 * With `variational` the masks of embedding, between and output are the same
 * at all time steps of a sequence.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_PASS_H
#define SEQD_PASS_H

#include "models/train/loss.h"
#include "models/train/net.h"

struct dropout {
    real word, embedding, between, output, recurrent;
    int variational;
};

/* Sites of random masks: part of a mask's key. */
enum pass_site {
    SITE_EMBEDDING = 1,
    SITE_OUTPUT = 2,
    SITE_BETWEEN = 16,
    SITE_RECURRENT = 32
};

/* Sequences sorted by falling length, time-major; for Transformers one after
 * the other, and of steps only N counts. */
struct pass_batch {
    struct steps steps;
    const int *start;      /* Transformers: [B + 1] first row of each */
    const int32_t *ids;    /* [N] */
    const int32_t *target; /* language model: [N]; masked: [n_pick];
                              classifier: [B] labels */
    const int *length;     /* classifier: [B] */
    const int *pick;       /* masked model: the rows that are predicted */
    int n_pick;
    int B; /* sequences */
};

struct pass_layer {
    real *in;  /* [N, I] masked copy of the layer's input */
    real *out; /* [N, D*H] */
    real *a[2], *b[2], *hp[2], *cp[2], *tc[2];
    real *h[2], *c[2]; /* [B, H] */
    real *w_drop[2];   /* [G*H, H] */
    struct recur ahead[2], back[2];
};

struct pass {
    const struct net *net;
    const struct blas *blas;
    struct dropout drop;
    int cap_N, cap_B;
    struct pass_layer layer[NET_MAX_LAYERS];
    real *bias, *dh, *dc;
    real *top, *dtop;   /* [N, D*H] (classifier: [B, D*H]) */
    real *proj, *dproj; /* [N, P] */
    real *g1, *g2;      /* [N, max(E, D*H)] gradients between layers */
    int32_t *argmax;    /* [B, D*H] max pooling */
    real *prob;         /* [B, C] classifier: softmax of the last batch */
    struct loss_work loss;
    struct rows rows_in, rows_w, rows_b;
    struct pass_tf *tf; /* Transformers: what they have in place of layers */
};

struct pass_opts {
    int train;         /* dropout on, gradients wanted */
    uint64_t key;      /* of this step and worker */
    uint32_t word_key; /* of this step */
    real scale;        /* gradient of scale * sum of losses */
    real smoothing;
    const struct noise *noise; /* NULL: full softmax */
    const struct noise_set *set;
};

/* pass_init: for at most N rows and B sequences. samples 0: full softmax. */
int pass_init(struct pass *p, const struct net *n, const struct blas *b,
              int max_N, int max_B, int samples, struct err *e);
void pass_fini(struct pass *p);

/* pass_reset_state: states to zero, as at the start of a text. */
void pass_reset_state(struct pass *p);

/* pass_run: weights w; grad: block to add to when o->train. Returns the sum of
 * the losses over rows (language model) or sequences. The states go in and
 * out (classifiers start from zero). */
double pass_run(struct pass *p, const struct pass_batch *b, real *w,
                const struct pass_opts *o, real *grad);

/* pass_rows: what a loss is the sum over. */
int pass_rows(const struct net *n, const struct pass_batch *b);

/* pass_key: of a site's mask. */
uint32_t pass_key(const struct pass_opts *o, int site);
/* pass_word_factor: zero, or 1 / (1 - rate), for one vocabulary entry. */
real pass_word_factor(const struct pass *p, const struct pass_opts *o,
                      int32_t id);

#endif
