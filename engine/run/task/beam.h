/* beam: a continuation, or a target made from a source, by beam search as
 * transformers defines it (beam_search.h): decoders alone and encoder-decoders
 * alike. in[PORT_TARGET] is what the target begins with (a prompt;
 * model_info.target.start), in[PORT_SOURCE] the source where there is one.
 *
 * Tokens that are never drawn (the unknown one, special ones but ends) are
 * taken out after the softmax, as transformers' suppress_tokens does. With one
 * beam it is greedy.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_BEAM_H
#define SEQD_BEAM_H

#include "engine/run/beam_search.h"
#include "engine/run/engine.h"
#include "engine/run/task/generate.h"

struct beam_params {
    int beams;             /* 1..MOST_BEAMS */
    int n_best;            /* hypotheses wanted, 1..beams */
    double length_penalty; /* -10..10 */
    enum beam_stop stop;
    int max_tokens;   /* > 0, the end included; the context may end it before */
    int forced_first; /* -1: what the model says */
    int stream;       /* 1: JOB_TEXT events: what all live beams agree on */
    int attention;    /* 1: of the best text (alignment.h); of models that have
                         a source and at most MODEL_MAX_SHOWN tokens on each
                         side, or the job fails */
};

struct beam_text {
    const char *text; /* NUL-terminated UTF-8 */
    size_t text_len;
    const int32_t *tokens; /* [n_tokens] without the end */
    int n_tokens;
    float score; /* log-probability / tokens^length_penalty, the end included */
    enum finish_reason finish; /* STOP: the end was chosen, not forced */
};

struct beam_result {
    const struct beam_text *best; /* [n] best first; n_best of them, or fewer
                                     where there are no more */
    int n;
    /* [best[0].n_tokens][n_source]: what the row that makes token i looks at in
     * the source, the mean over the heads of the last layer; or NULL. */
    const float *attention;
    int n_source;
};

extern const struct task task_beam;
/* task_translate: the same for models that make a text from a text and no
 * others: what to ask model_can and engine_model for. */
extern const struct task task_translate;

static inline const struct beam_result *beam_result(const struct job *j)
{
    return job_answer(j, &task_beam);
}

#endif
