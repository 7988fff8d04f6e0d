/* registry: the list of architectures.
 *
 * SPDX-License-Identifier: MIT */
#include "models/registry.h"

#include "models/transformer/bert.h"
#include "models/transformer/gemma3.h"
#include "models/transformer/gpt2.h"
#include "models/transformer/llama.h"
#include "models/rnn/rnn.h"

const struct model_arch *const registry_archs[] = {
    &rnn_arch, &gpt2_arch, &llama_arch, &gemma3_arch, &bert_arch, NULL,
};
