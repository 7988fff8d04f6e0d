/* gemma3: see gemma3.c.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_GEMMA3_H
#define SEQD_GEMMA3_H

#include "engine/run/arch.h"

extern const struct model_arch gemma3_arch;

#endif
