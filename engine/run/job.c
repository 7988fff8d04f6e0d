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
    if (s->n_tokens < 1 || !s->tokens) {
        return err_set(e, ERR_INVALID, "input has no tokens");
    }
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

static void job_free(struct job *j)
{
    if (j->ops && j->ops->fini) {
        j->ops->fini(j);
    }
    mem_free(j->tokens);
    model_release(j->model);
    mem_free(j);
}

int job_new(const struct job_spec *spec, struct job **out, struct err *e)
{
    const struct task_ops *ops = task_find(spec->task);

    *out = NULL;
    if (!ops || !(spec->model->info.tasks & spec->task)) {
        return err_set_at(e, ERR_UNSUPPORTED, "task_not_supported", "model",
                          "model '%s' does not have this task",
                          spec->model->name);
    }
    if (check_tokens(spec, e)) {
        return -1;
    }
    struct job *j = mem_zalloc(sizeof(*j));
    if (!j) {
        return err_nomem(e);
    }
    atomic_store(&j->refs, 1);
    j->model = spec->model;
    model_retain(j->model);
    j->deadline_us = spec->deadline_us;
    j->on_event = spec->on_event;
    j->user = spec->user;
    j->n_tokens = spec->n_tokens;
    j->res.prompt_tokens = spec->n_tokens;
    j->tokens = mem_array((size_t)spec->n_tokens, sizeof(*j->tokens));
    if (!j->tokens) {
        job_free(j);
        return err_nomem(e);
    }
    memcpy(j->tokens, spec->tokens, (size_t)spec->n_tokens * sizeof(int32_t));
    j->ops = ops;
    if (ops->init(j, spec, e)) {
        job_free(j);
        return -1;
    }
    atomic_store(&j->refs, 2);
    *out = j;
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
    if (j && atomic_fetch_sub(&j->refs, 1) == 1) {
        job_free(j);
    }
}

const struct job_result *job_result(const struct job *j)
{
    return &j->res;
}

const struct err *job_error(const struct job *j)
{
    return &j->err;
}
