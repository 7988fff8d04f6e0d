/* candidates: how likely given continuations are, each the sum over its tokens
 * of log-probabilities given all before. They share the prompt and go on side
 * by side, MOST_BRANCHES at a time.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_CANDIDATES_H
#define SEQD_CANDIDATES_H

#include "engine/run/task/next.h"

#define MOST_CANDIDATES 256

struct given {
    const char *text;   /* what the answer calls it; copied */
    const int32_t *ids; /* [n] of the vocabulary, n > 0; copied */
    int n;
};

struct candidates_params {
    const struct given *given; /* [n] 1..MOST_CANDIDATES */
    int n;
    int top_k;         /* the best of them, 1.. */
    float temperature; /* of the softmax */
};

extern const struct task task_candidates;

/* Best first (equal: in the order that they were given in); covered_mass is the
 * sum of all of them. */
static inline const struct next_result *candidates_result(const struct job *j)
{
    return job_answer(j, &task_candidates);
}

#endif
