/* embed: one vector for a text. No parameters.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_EMBED_H
#define SEQD_EMBED_H

#include "engine/run/engine.h"

struct embed_result {
    const float *v; /* [n] */
    int n;
};

extern const struct task task_embed;

static inline const struct embed_result *embed_result(const struct job *j)
{
    return job_answer(j, &task_embed);
}

#endif
