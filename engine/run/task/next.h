/* next: the distribution of the next token.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_NEXT_H
#define SEQD_NEXT_H

#include "engine/run/engine.h"

struct next_params {
    int top_k;         /* predictions wanted, 1..1000 */
    float temperature; /* of the softmax */
    int attention;     /* job_result.attention too (n_tokens <= 64) */
};

struct prediction {
    int32_t id; /* of the first token, when words were searched */
    float prob, logprob;
    const char *text; /* words: the word, NUL-terminated UTF-8, without the
                         space before it; else NULL: the entry of id */
};

/* Offered tokens, best first (equal: lowest id first); unknown and special
 * tokens (the end of text too) are never offered; covered_mass is the
 * probability of all that were eligible. */
struct next_result {
    const struct prediction *prediction;
    int n;
    double covered_mass;
};

extern const struct task task_next;

static inline const struct next_result *next_result(const struct job *j)
{
    return job_answer(j, &task_next);
}

#endif
