/* generate: a continuation, token by token, or several of them; of an encoder-
 * decoder a target, made from in[PORT_SOURCE].
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_GENERATE_H
#define SEQD_GENERATE_H

#include "engine/run/engine.h"
#include "engine/run/sampler.h"
#include "engine/run/task/token_scores.h"

struct generate_params {
    int max_tokens; /* >= 0 */
    struct sample_params sample;
    const char *const *stop; /* copied; n_stop strings, 1..1024 bytes */
    int n_stop;              /* <= 16 */
    int stream;              /* 1: JOB_TEXT events as text becomes certain */
    /* Choices, 1..MOST_CHOICES (0: 1), made side by side on forks that share
     * the prompt's pages. Choice i draws from its own stream of the seed: the
     * first one's bits are those of a single one. Not with stream. */
    int n;
    int logprob; /* 1: generate_result.logprob and .score are wanted */
    /* 0: off; else 1 + how many others each token is shown with, of at most
     * MOST_TOP_TOKENS: generate_result.scores */
    int scores;
    double length_penalty; /* of the scores, as in beam.h */
    int forced_first;      /* 0: what the model says; else 1 + the id */
    /* What may be written; NULL: anything. Where the prompt is nothing to go on
     * from there is no constraint; with constraint_must that is an error. */
    const struct constraint *constraint;
    int constraint_must;
    int attention; /* 1, with logprob: of the choice with the best score, as in
                      beam.h */
};

#define MOST_CHOICES 16

/* FINISH_CONSTRAINT: no token of the vocabulary may follow. */
enum finish_reason {
    FINISH_STOP,
    FINISH_LENGTH,
    FINISH_CANCELLED,
    FINISH_CONSTRAINT
};

struct generate_result {
    const char *text; /* NUL-terminated UTF-8 */
    size_t text_len;
    const int32_t *tokens;
    int n_tokens;
    enum finish_reason finish;
    double logprob; /* of the tokens, under the model's own softmax, */
    int n_scored;   /* so many, the end included */
    float score;    /* logprob / n_scored^length_penalty */
    const struct token_scores *scores; /* of n_tokens tokens, or NULL */
    /* beam_result.attention, of the best of them alone (of equal ones the
     * first), or NULL */
    const float *attention;
    const struct constraint *constraint; /* of generate_params */
    int constrained;                     /* 1: the text was held to it */
    int n; /* results: this one (the first choice) and those behind it */
};

extern const struct task task_generate;

static inline const struct generate_result *generate_result(const struct job *j)
{
    return job_answer(j, &task_generate);
}

#endif
