/* score: the negative log-likelihood of a token stream: token i given all
 * before it; the first is not scored. The input may be longer than a request's;
 * only a model's context limits it. No parameters.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_SCORE_H
#define SEQD_SCORE_H

#include "engine/run/engine.h"

struct score_result {
    int64_t tokens; /* scored */
    double nats;    /* sum */
};

extern const struct task task_score;

static inline const struct score_result *score_result(const struct job *j)
{
    return job_answer(j, &task_score);
}

#endif
