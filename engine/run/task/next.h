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
    /* Words that begin so (engine/run/typed.h); NULL or "": all.
     * ERR_UNSUPPORTED (param "prefix") where what is offered are no words. */
    const char *prefix;
    /* Sub-words: the text ends in a letter that is not of the word that is
     * looked for: one that begins with a letter has a space in front. */
    int apart;
};

struct prediction {
    int32_t id; /* of the first token, when words were searched */
    float prob, logprob;
    /* The word, NUL-terminated UTF-8, without the space before it, behind
     * what was typed of it (next_result.typed); NULL: the entry of id. */
    const char *text;
};

/* Offered tokens, best first (equal: lowest id first); unknown and special
 * tokens (the end of text too) are never offered; covered_mass is the
 * probability of all that were eligible: with a prefix, of those that begin so.
 */
struct next_result {
    const struct prediction *prediction;
    int n;
    double covered_mass;
    const char *typed; /* the prefix; "" where there was none */
};

extern const struct task task_next;

static inline const struct next_result *next_result(const struct job *j)
{
    return job_answer(j, &task_next);
}

#endif
