/* archs: the Transformers, one line each: NAME is the model_type, followed by
 * others (and GGUF's architectures) that it serves, too; its file defines
 * `const struct stack_kind NAME_kind`. The engine gets NAME_arch.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_ARCHS_H
#define SEQD_ARCHS_H

#include "engine/run/arch.h"

#define TRANSFORMERS(X)                                                        \
    X(gpt2, NULL)                                                              \
    X(llama, "mistral", "qwen2", "smollm3", NULL)                              \
    X(gemma3, "gemma3_text", NULL)                                             \
    X(gpt_neox, "gptneox", NULL)                                               \
    X(qwen3, NULL)                                                             \
    X(phi3, NULL)                                                              \
    X(marian, NULL)                                                            \
    X(marian_nmt, "marian-transformer", NULL)                                  \
    X(bart, "mbart", NULL)                                                     \
    X(t5, "mt5", NULL)                                                         \
    X(bert, "distilbert", "roberta", "xlm-roberta", "camembert", "electra",    \
      "albert", "mpnet", NULL)

#define DECLARE(id, ...) extern const struct model_arch id##_arch;
TRANSFORMERS(DECLARE)
#undef DECLARE

#endif
