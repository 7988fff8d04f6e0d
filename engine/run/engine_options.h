/* engine_options: what an engine can be told, and the rows that let a program
 * ask for it. A program embeds the struct among its own options and adds the
 * rows to its table (engine/base/options.h), so that a new option is a field
 * and a row here, and its user. Every program that opens an engine takes
 * engine_option_rows; a server also takes those for many requests at a time.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_ENGINE_OPTIONS_H
#define SEQD_ENGINE_OPTIONS_H

#include <stddef.h>

#include "engine/base/options.h"

struct engine_options {
    int n_threads;       /* 0: pool_default_threads() */
    int spin_us;         /* bounded spin of the pool; -1: default (50) */
    int runner_spin_us;  /* bounded spin of an idle runner before it parks; 0:
                            default (20); -1: none */
    const char *kernels; /* "auto", "generic", "avx2", "avx512" */
    int max_queue;       /* items waiting per model; 0: 4096 */
    int max_rows;        /* sequences in one step; 0: 64 */
    int step_tokens;     /* token budget of one step; 0: 1024, and 256 for
                            models whose states have pages */
    int max_item_tokens; /* input limit for models without a context length;
                            0: 8192 */
    size_t state_bytes;  /* budget of sequence states; 0: 256 MiB */
    size_t fold_bytes;   /* most bytes of folded tables in all; 0: none */
    int exact;           /* fp32 activations over block-quantised weights */
    int bf16;            /* bf16 products over BF16 weights */
    const char *ignore_tensors; /* "fc1.weight,.bias": tensors of checkpoints
                                   that may go unread; NULL: none */
    /* flush: called by a runner after it delivered all events of one step: one
     * wake per step. ctx is passed back. May be NULL. */
    void (*flush)(void *ctx);
    void *ctx;
};

extern const struct option engine_option_rows[], engine_serving_rows[];

#endif
