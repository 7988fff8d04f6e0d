/* optim: from the workers' gradients to new weights: SGD, Adam (Kingma and Ba
 * 2015) and AdamW (Loshchilov and Hutter 2019) as PyTorch computes them
 * (epsilon outside the root, bias correction, L2 decay inside Adam's and SGD's
 * gradient, decoupled in AdamW), after clipping by the global norm as
 * clip_grad_norm_ does (factor max / (norm + 1e-6), at most 1). Or Muon for the
 * matrices inside a net with AdamW for the rest (muon.h).
 *
 * All workers take part: each adds up, measures and updates its own share of
 * every tensor (of Muon's matrices: every so many tensors), always the same
 * one, and sums go in a fixed order, so that one seed gives one result for a
 * number of workers.
 *
 * Tensors with a row for each entry of the vocabulary (the embedding unless a
 * full softmax shares it, the output layer of a sampled one) are lazy: a row
 * that no worker touched in a step (rows.h) keeps its weights and moments, as
 * in PyTorch's SparseAdam; its decay waits too. With lazy off all rows count.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_OPTIM_H
#define SEQD_OPTIM_H

#include "models/train/muon.h"
#include "models/train/net.h"
#include "models/train/pass.h"

enum optim_kind { OPTIM_SGD, OPTIM_ADAM, OPTIM_ADAMW, OPTIM_MUON };

#define OPTIM_MAX_WORKERS 16

struct optim {
    enum optim_kind kind;
    real beta1, beta2, eps, weight_decay, momentum;
    int lazy;
    int sampled; /* the output's gradient is sparse too */
    int64_t step;
    real lr;     /* of this step */
    real *m, *v; /* blocks; v: Adam only, m: SGD with momentum and Adam */
    const struct blas *blas; /* Muon's products */
    struct muon muon[OPTIM_MAX_WORKERS];

    const struct net *net;
    real *w; /* block */
    int n_workers;
    real *grad[OPTIM_MAX_WORKERS]; /* blocks */
    struct pass *pass[OPTIM_MAX_WORKERS];
};

/* optim_init: the moments and, for n_workers, the gradients; passes are put in
 * by the caller. */
int optim_init(struct optim *o, struct region *mem, const struct net *n,
               real *w, int n_workers, struct err *e);

/* optim_reduce: worker tid adds its share of all gradients into the first
 * worker's block and returns the share's sum of squares. */
double optim_reduce(const struct optim *o, int tid);
/* optim_update: worker tid updates its share, with the gradients times factor
 * (which clips them), and clears its share of all gradients. o->step was raised
 * before. Row lists are cleared by the caller with optim_forget once all are
 * done. */
void optim_update(const struct optim *o, int tid, real factor);
void optim_forget(const struct optim *o);

real optim_clip_factor(double sum_squares, double max_norm);

#endif
