/* muon: steps of one length in all directions for the matrices inside a net
 * (Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural
 * networks"): the momentum of a matrix's gradient is brought near the closest
 * orthogonal matrix by Newton and Schulz's iteration, and that is the step. Its
 * elements have the mean square of AdamW's steps (0.2 of the rate: Liu et al.
 * 2025, arXiv 2502.16982), so rates and decay are those of AdamW, which the
 * other tensors have: what texts enter by, the output, vectors. The same as
 * torch.optim.Muon with adjust_lr_fn="match_rms_adamw", which rounds to bf16 on
 * its way.
 *
 * A tensor of several matrices (the gates of a recurrent net, query, key and
 * value of GPT-2) is cut into them.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_MUON_H
#define SEQD_MUON_H

#include "models/train/blas.h"
#include "models/train/net.h"
#include "models/train/region.h"

/* What a worker needs beside weights, gradient and momentum. */
struct muon {
    real *x, *y; /* the largest matrix of the net */
    real *a, *b; /* squares of the largest shorter side */
};

struct muon_step {
    const struct blas *blas;
    real lr, weight_decay;
    real factor; /* on the gradient */
};

/* muon_takes: is it a matrix inside the net, with two of each side at least? */
int muon_takes(const struct net *n, const struct net_tensor *t);
/* muon_init: failed memory is the region's to tell. */
void muon_init(struct muon *m, struct region *mem, const struct net *n);
/* muon_update: w of the tensor, by its gradient g; momentum is its state. */
void muon_update(const struct muon *m, const struct muon_step *s,
                 const struct net_tensor *t, real *w, const real *g,
                 real *momentum);

#endif
