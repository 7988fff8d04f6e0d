/* archs: the contract with the engine, the same for every Transformer.
 *
 * SPDX-License-Identifier: MIT */
#include "models/transformer/archs.h"

#include "models/transformer/transformer_impl.h"

#define DEFINE(id, ...)                                                        \
    extern const struct stack_kind id##_kind;                                  \
    static int id##_load(const struct load_opts *o, struct checkpoint *c,      \
                         struct model_info *info, void **self, struct err *e)  \
    {                                                                          \
        return tf_load(&id##_kind, o, c, info, self, e);                       \
    }                                                                          \
    const struct model_arch id##_arch = {                                      \
        .name = #id,                                                           \
        .aliases = (const char *const[]){__VA_ARGS__},                         \
        .load = id##_load,                                                     \
        .unload = tf_unload,                                                   \
        .scratch_bytes = tf_scratch_bytes,                                     \
        .step = tf_step,                                                       \
    };
TRANSFORMERS(DEFINE)
