/* gpt2: see gpt2.c.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_GPT2_H
#define SEQD_GPT2_H

#include "engine/run/arch.h"

extern const struct model_arch gpt2_arch;

#endif
