/* registry: the list of architectures.
 *
 * SPDX-License-Identifier: MIT */
#include "models/registry.h"

#include "models/rnn/rnn.h"
#include "models/rnn/seq2seq_rnn.h"
#include "models/transformer/archs.h"

#define ENTRY(id, ...) &id##_arch,

const struct model_arch *const registry_archs[] = {&rnn_arch, &seq2seq_rnn_arch,
                                                   TRANSFORMERS(ENTRY) NULL};
