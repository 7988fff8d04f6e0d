/* words: the most likely next words of a model of sub-words.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_WORDS_H
#define SEQD_WORDS_H

#include "engine/run/task/next.h"

/* Tokens that a word may have: the room that it wants behind a prompt. */
#define WORDS_MOST_TOKENS 8

/* Parameters: struct next_params. Predictions have a text. ERR_UNSUPPORTED
 * (param "level") for models of no sub-words. */
extern const struct task task_words;

static inline const struct next_result *words_result(const struct job *j)
{
    return job_answer(j, &task_words);
}

#endif
