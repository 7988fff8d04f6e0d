/* engine_options: see engine_options.h.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/run/engine_options.h"

#define AT(field) OPTION_AT(struct engine_options, field)

const struct option engine_option_rows[] = {
    {.kind = OPTION_SECTION, .help = "Computing"},
    {"--threads", OPT_INT(n_threads, "0", 0, 64),
     "compute threads; 0: the smallest of cgroup quota, affinity, cores"},
    {"--kernels", OPTION_WORD, AT(kernels), "auto", 0, 0,
     "auto|generic|avx2|avx512", "instruction set of the kernels"},
    {"--path", OPT_CHOICE(exact, "fast", "fast|exact"),
     "products with quantised weights: activations in 8 bits, or in fp32"},
    {"--bf16", OPT_BOOL(bf16),
     "bf16 products with BF16 weights, where the CPU has them"},
    {"--ignore-tensors", OPT_TEXT(ignore_tensors, "LIST"),
     "names, or ends of names, of tensors that may go unread; with commas"},
    {"--spin-us", OPT_INT(spin_us, "-1", -1, 100000),
     "time that idle compute threads spin before they sleep; -1: built-in"},
    {.kind = OPTION_END},
};

const struct option engine_serving_rows[] = {
    {.kind = OPTION_SECTION, .help = "Batching and memory"},
    {"--max-queue", OPT_INT(max_queue, "4096", 1, 1 << 20),
     "most items that wait for a model"},
    {"--max-rows", OPT_INT(max_rows, "64", 1, 1024),
     "most sequences in one step"},
    {"--max-item-tokens", OPT_INT(max_item_tokens, "8192", 1, 1 << 24),
     "longest item, for models without a context length of their own"},
    {"--fold-mb", OPTION_MIB, AT(fold_bytes), "64", 0, 1 << 16, NULL,
     "most MiB of rows kept for the input of recurrent nets; 0: none"},
    {"--state-mb", OPTION_MIB, AT(state_bytes), "256", 1, 1 << 20, NULL,
     "most MiB of sequence states"},
    {.kind = OPTION_END},
};
