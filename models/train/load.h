/* load: a checkpoint of the layout in models/README.md (plain tensor names,
 * with biases), or one that the trainer wrote as a GPT-2 or a BERT, as a net of
 * the trainer.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_LOAD_H
#define SEQD_LOAD_H

#include "models/train/net.h"

/* load_net: plan the net of dir and read its tensors into a new block *w
 * (mem_aligned_free). ERR_FORMAT names a tensor that is missing or has
 * another shape. */
int load_net(const char *dir, struct net *n, real **w, struct err *e);

#endif
