/* classify: one label for an input.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_CLASSIFY_H
#define SEQD_CLASSIFY_H

#include "engine/run/engine.h"

struct classify_params {
    int attention; /* job_result.attention too (n_tokens <= 64) */
};

struct classify_result {
    const float *scores; /* [n] what model_info.scores says, in id order */
    int n, best;
};

extern const struct task task_classify;

static inline const struct classify_result *classify_result(const struct job *j)
{
    return job_answer(j, &task_classify);
}

#endif
