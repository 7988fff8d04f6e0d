/* seqd_toy: the list of architectures of a server for tests: models/registry.h
 * by another hand. The pair of ports_arch.h makes texts from texts.
 *
 * SPDX-License-Identifier: MIT */
#include "models/registry.h"
#include "models/rnn/rnn.h"
#include "models/transformer/archs.h"
#include "tests/support/ports_arch.h"

#define ENTRY(id, ...) &id##_arch,

const struct model_arch *const registry_archs[] = {&ports_arch, &rnn_arch,
                                                   TRANSFORMERS(ENTRY) NULL};
