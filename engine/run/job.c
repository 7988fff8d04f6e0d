/* job: see job.h.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/run/job.h"

#include <string.h>

#include "engine/base/mem.h"
#include "engine/run/model.h"
#include "engine/run/runner.h"
#include "engine/run/task.h"

static int check_tokens(const struct job_spec *s, struct err *e)
{
    if (s->n_tokens < 1 || !s->tokens)
        return err_set(e, ERR_INVALID, "input has no tokens");
    int max = model_max_tokens(s->model);
    if (s->n_tokens > max) {
        return err_set_at(e, ERR_TOO_LARGE, "context_length_exceeded", NULL,
                          "input has %d tokens, at most %d are allowed",
                          s->n_tokens, max);
    }
    for (int i = 0; i < s->n_tokens; i++) {
        if (s->tokens[i] < 0 || s->tokens[i] >= s->model->n_ids) {
            return err_set(e, ERR_INVALID, "token %d is %d, expected 0..%d", i,
                           (int)s->tokens[i], s->model->n_ids - 1);
        }
    }
    return 0;
}

/* The weights of all layers and heads, in the item's own memory. */
static int want_attention(struct job *j, const struct job_spec *s,
                          struct err *e)
{
    const struct model_info *info = &j->model->info;
    size_t n = (size_t)s->n_tokens;

    if (!s->attention)
        return 0;
    if (s->task == TASK_GENERATE || s->task == TASK_EMBED)
        return err_set(e, ERR_INVALID, "this task shows no attention");
    if (info->n_layers < 1 || info->n_heads < 1) {
        return err_set_at(e, ERR_UNSUPPORTED, "task_not_supported", "attention",
                          "model '%s' has no attention to look at",
                          j->model->name);
    }
    if (s->n_tokens > MODEL_MAX_SHOWN) {
        return err_set_at(e, ERR_INVALID, "invalid_value", "attention",
                          "input has %d tokens, attention is shown for at "
                          "most %d",
                          s->n_tokens, MODEL_MAX_SHOWN);
    }
    j->uncut = 1;
    j->attention =
        mem_floats(n * n * (size_t)info->n_layers * (size_t)info->n_heads);
    j->res.attention = j->attention;
    return j->attention ? 0 : err_nomem(e);
}

static void job_free(struct job *j)
{
    if (j->ops && j->ops->fini)
        j->ops->fini(j);
    mem_free(j->tokens);
    mem_aligned_free(j->attention);
    model_release(j->model);
    mem_free(j);
}

int job_new(const struct job_spec *spec, struct job **out, struct err *e)
{
    const struct task_ops *ops = spec->task == TASK_NEXT && spec->words
                                     ? &task_words
                                     : task_find(spec->task);

    *out = NULL;
    if (!ops || !(spec->model->info.tasks & spec->task)) {
        return err_set_at(e, ERR_UNSUPPORTED, "task_not_supported", "model",
                          "model '%s' does not have this task",
                          spec->model->name);
    }
    if (check_tokens(spec, e))
        return -1;
    struct job *j = mem_zalloc(sizeof *j);
    if (!j)
        return err_nomem(e);
    atomic_store(&j->refs, 1);
    j->model = spec->model;
    model_retain(j->model);
    j->deadline_us = spec->deadline_us;
    j->on_event = spec->on_event;
    j->user = spec->user;
    j->n_tokens = j->n_all = j->cap_tokens = spec->n_tokens;
    j->most_rows = 1;
    j->res.prompt_tokens = spec->n_tokens;
    j->tokens = mem_array((size_t)spec->n_tokens, sizeof *j->tokens);
    if (!j->tokens) {
        job_free(j);
        return err_nomem(e);
    }
    memcpy(j->tokens, spec->tokens, (size_t)spec->n_tokens * sizeof(int32_t));
    j->ops = ops;
    if (ops->init(j, spec, e) || want_attention(j, spec, e) ||
        runner_fits(j->model->runner, j, e)) {
        job_free(j);
        return -1;
    }
    atomic_store(&j->refs, 2);
    *out = j;
    return 0;
}

int job_add_token(struct job *j, int32_t id)
{
    if (j->n_all == j->cap_tokens) {
        int cap = j->cap_tokens * 2;
        int32_t *p = mem_grow(j->tokens, (size_t)cap, sizeof *p);
        if (!p)
            return -1;
        j->tokens = p;
        j->cap_tokens = cap;
    }
    j->tokens[j->n_all++] = id;
    return 0;
}

int job_fail(struct job *j, enum err_code code, const char *reason,
             const char *msg)
{
    if (j->end == JOB_OPEN) {
        j->end = JOB_BROKEN;
        err_set_at(&j->err, code, reason, NULL, "%s", msg);
    }
    return -1;
}

void job_cancel(struct job *j)
{
    atomic_store(&j->cancel, 1);
    runner_cancelled(j->model->runner);
}

void job_release(struct job *j)
{
    if (j && atomic_fetch_sub(&j->refs, 1) == 1)
        job_free(j);
}

const struct job_result *job_result(const struct job *j)
{
    return &j->res;
}

const struct err *job_error(const struct job *j)
{
    return &j->err;
}
