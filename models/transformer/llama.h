/* llama: see llama.c.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_LLAMA_H
#define SEQD_LLAMA_H

#include "engine/run/arch.h"

extern const struct model_arch llama_arch;

#endif
