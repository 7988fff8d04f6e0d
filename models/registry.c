/* registry: the list of architectures.
 *
 * SPDX-License-Identifier: MIT */
#include "models/registry.h"

#include "models/rnn.h"

const struct model_arch *const registry_archs[] = {
    &rnn_arch,
    NULL,
};
