/* registry: the list of architectures; adding one is one new file in models/
 * and one line in registry.c.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_REGISTRY_H
#define SEQD_REGISTRY_H

#include "engine/run/arch.h"

/* NULL-terminated. */
extern const struct model_arch *const registry_archs[];

#endif
