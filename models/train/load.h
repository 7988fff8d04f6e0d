/* load: a checkpoint of the layout in models/README.md (plain tensor names,
 * with biases), or another that the trainer wrote, as a net of the trainer.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_LOAD_H
#define SEQD_LOAD_H

#include "engine/checkpoint/weights.h"
#include "models/train/net.h"

/* load_net: plan the net of dir and read its tensors into a new block *w
 * (mem_aligned_free, net_fini). ERR_FORMAT names a tensor that is missing or
 * has another shape. */
int load_net(const char *dir, struct net *n, real **w, struct err *e);

/* load_reals: elements [at, at + n) of a tensor. */
void load_reals(const struct tensor *from, size_t at, size_t n, real *to);

#endif
