/* model_use: a checkpoint that may be damaged is loaded, and makes a step if it
 * loads: what must hold in any case. For tests of mutants.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_MODEL_USE_H
#define SEQD_MODEL_USE_H

#include "engine/base/err.h"

/* What came up of a checkpoint. */
#define USE_NET 1
#define USE_TOKENIZER 2

/* model_use_net: USE_NET when the architecture that its config names has loaded
 * it and has made a step; 0 with the reason in e. -1: a promise was broken,
 * which e->msg tells: an error without a message, or with a path or an internal
 * code in it; a row whose bits depend on its company, or on how its tokens were
 * cut into steps; a step of a few tokens for which a number in a file, and
 * nothing that is there, asks for much scratch. */
int model_use_net(const char *path, struct err *e);
/* model_use_tokenizer: likewise, with a text. */
int model_use_tokenizer(const char *path, struct err *e);
/* model_use: both, ORed; e is the net's. */
int model_use(const char *path, struct err *e);

#endif
