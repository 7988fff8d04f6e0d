/* registry: the list of architectures.
 *
 * SPDX-License-Identifier: MIT */
#include "models/registry.h"

#include "models/bert.h"
#include "models/gemma3.h"
#include "models/gpt2.h"
#include "models/llama.h"
#include "models/rnn.h"

const struct model_arch *const registry_archs[] = {
    &rnn_arch, &gpt2_arch, &llama_arch, &gemma3_arch, &bert_arch, NULL,
};
