/* flat_job: jobs of any task with the parameters of all of them in one struct,
 * and their results in another, so that a table of cases can mix tasks.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_FLAT_JOB_H
#define SEQD_FLAT_JOB_H

#include "engine/run/engine.h"
#include "engine/run/task/classify.h"
#include "engine/run/task/embed.h"
#include "engine/run/task/fill.h"
#include "engine/run/task/generate.h"
#include "engine/run/task/next.h"
#include "engine/run/task/score.h"
#include "engine/run/task/words.h"

struct flat_spec {
    struct model *model;
    const struct task *task;
    const int32_t *tokens;
    int n_tokens;
    int top_k;
    float temperature;
    int attention;
    const char *prefix;
    int apart;
    int max_tokens;
    struct sample_params sample;
    const char *const *stop;
    int n_stop, stream, choices, logprob;
    const int *labels;
    int n_labels, before, after;
    const struct constraint *constraint;
    int constraint_must;
    int64_t deadline_us;
    uint64_t client;
    void (*on_event)(void *user, const struct job_event *ev);
    void *user;
};

/* flat_submit: engine_submit's result. */
int flat_submit(struct engine *g, const struct flat_spec *specs, int n,
                struct job **jobs, struct err *e);

struct flat_result {
    const struct prediction *predictions;
    int n_predictions;
    double covered_mass;
    const char *typed;
    const float *scores;
    const int *label;
    int n_scores, best, windows;
    const float *logits;
    const char *text;
    size_t text_len;
    const int32_t *tokens;
    int n_tokens;
    enum finish_reason finish;
    int constrained;
    const float *attention;
    int cached_tokens, prompt_tokens, completion_tokens;
    int64_t queue_us, run_us;
};

struct flat_result flat_result(const struct job *j);

#endif
