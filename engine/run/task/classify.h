/* classify: one label for an input. Logits become scores as the checkpoint says
 * (model_info.scores), after its temperatures and biases (class_rules.h). Where
 * it has a rule for long texts, such a text is read in parts (windows.h).
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_CLASSIFY_H
#define SEQD_CLASSIFY_H

#include "engine/run/engine.h"

struct classify_params {
    int attention; /* job_result.attention too (n_tokens <= 64) */
    /* The labels that may be the answer, in any order: a softmax is one of
     * these alone, other scores are as they would be. NULL: all. */
    const int *labels;
    int n_labels;
    /* Tokens of the input that stand around its text (tokenizer_frame): those
     * of each part, where it is read in parts. */
    int before, after;
};

struct classify_result {
    const float *scores; /* [n] what model_info.scores says */
    const int *label;    /* [n] whose they are, ascending */
    int n, best;         /* best: a place in these */
    const float *logits; /* [all labels] as the net gives them */
    int windows;         /* parts that the text was read in */
};

/* ERR_INVALID with the param "labels" (not one of the model's, one twice),
 * "attention" (of more than one part) or none (nothing between before and
 * after). */
extern const struct task task_classify;

/* classify_most_tokens: that an input may have. */
int classify_most_tokens(const struct model *m);

static inline const struct classify_result *classify_result(const struct job *j)
{
    return job_answer(j, &task_classify);
}

#endif
