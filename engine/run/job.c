/* job: see job.h.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/run/job.h"

#include <string.h>

#include "engine/base/mem.h"
#include "engine/run/model.h"
#include "engine/run/task/task.h"

static int check_ids(const struct model *m, int port, const struct span *in,
                     struct err *e)
{
    int start = port == PORT_TARGET ? m->info.target.start : -1;
    int n = m->n_ids[port];
    const int32_t *ids = in->p;
    for (int i = 0; i < in->n; i++)
        if (ids[i] < 0 || (ids[i] >= n && ids[i] != start)) {
            return err_set(e, ERR_INVALID, "token %d is %d, expected 0..%d", i,
                           (int)ids[i], n - 1);
        }
    return 0;
}

static int check_port(const struct job_spec *s, int port, struct err *e)
{
    const struct span *in = &s->in[port];
    const struct state_layout *l = &s->model->info.state;
    int64_t max = model_max_tokens(s->model, port);

    if (port >= l->n_ports) {
        return in->n == 0 ? 0
                          : err_set(e, ERR_INVALID, "the model has no source");
    }
    const char *rows = l->port[port].unit == UNIT_TOKENS ? "tokens" : "vectors";
    if (in->unit != l->port[port].unit)
        return err_set(e, ERR_INVALID, "the model reads %s", rows);
    if (in->n < 1 || !in->p)
        return err_set(e, ERR_INVALID, "input has no %s", rows);
    if (port == PORT_TARGET && s->task->longest)
        max = s->task->longest(s->model);
    if (s->task->needs & TASK_STREAM)
        max = l->port[port].context_length > 0 ? max : INT32_MAX;
    if (in->n > max) {
        return err_set_at(e, ERR_TOO_LARGE, "context_length_exceeded", NULL,
                          "input has %d %s, at most %lld are allowed", in->n,
                          rows, (long long)max);
    }
    return in->unit == UNIT_TOKENS ? check_ids(s->model, port, in, e) : 0;
}

/* The input as the job's own memory. */
static int copy_input(struct job *j, const struct job_spec *s, struct err *e)
{
    for (int i = 0; i < s->model->info.state.n_ports; i++) {
        const struct span *in = &s->in[i];
        size_t width = in->unit == UNIT_TOKENS
                           ? 1
                           : (size_t)s->model->info.state.port[i].width;
        void *p;
        if (in->unit == UNIT_TOKENS)
            p = mem_array((size_t)in->n, sizeof(int32_t));
        else
            p = mem_array((size_t)in->n, width * sizeof(float));
        if (!p)
            return err_nomem(e);
        memcpy(p, in->p, (size_t)in->n * width * 4);
        j->in[i] = (struct span){.unit = in->unit, .n = in->n, .p = p};
    }
    if (j->in[0].unit == UNIT_TOKENS)
        j->tokens = (int32_t *)j->in[0].p;
    return 0;
}

static void job_free(struct job *j)
{
    if (j->task && j->task->fini)
        j->task->fini(j);
    for (int i = 0; i < MAX_PORTS; i++)
        if (i > 0 || !j->tokens)
            mem_free((void *)j->in[i].p);
    mem_free(j->tokens);
    mem_free(j->fork);
    mem_aligned_free(j->attention);
    mem_free(j);
}

void job_unref(struct job *j)
{
    if (atomic_fetch_sub(&j->refs, 1) == 1)
        job_free(j);
}

int job_new(const struct job_spec *spec, struct job **out, struct err *e)
{
    const struct task *t = spec->task;

    *out = NULL;
    if (!model_can(spec->model, t)) {
        return err_set_at(e, ERR_UNSUPPORTED, "task_not_supported",
                          t->param ? t->param : "model",
                          "model '%s' does not have this task",
                          spec->model->name);
    }
    for (int i = 0; i < MAX_PORTS; i++)
        if (check_port(spec, i, e))
            return -1;
    struct job *j = mem_zalloc(sizeof *j);
    if (!j)
        return err_nomem(e);
    atomic_store(&j->refs, 1);
    j->model = spec->model;
    j->client = spec->client;
    j->deadline_us = spec->deadline_us;
    j->on_event = spec->on_event;
    j->user = spec->user;
    j->n_tokens = j->n_all = j->cap_tokens = spec->in[0].n;
    j->most_rows = 1;
    if (copy_input(j, spec, e)) {
        job_free(j);
        return -1;
    }
    j->res.prompt_tokens = j->in[job_prompt(j)].n;
    j->task = t;
    if (t->init(j, spec->params, e)) {
        job_free(j);
        return -1;
    }
    atomic_store(&j->refs, 2);
    *out = j;
    return 0;
}

struct span job_rows(const struct job *j, int port, int at, int n)
{
    struct span s = j->in[port];

    s.n = n;
    if (s.unit == UNIT_VECTORS) {
        size_t width = (size_t)j->model->info.state.port[port].width;
        s.p = (const float *)s.p + (size_t)at * width;
    } else {
        s.p = (port == PORT_TARGET ? j->tokens : (const int32_t *)s.p) + at;
    }
    return s;
}

int job_prompt(const struct job *j)
{
    return j->model->info.state.n_ports > PORT_SOURCE ? PORT_SOURCE
                                                      : PORT_TARGET;
}

int job_shown(const struct job *j)
{
    return j->in[job_prompt(j)].n;
}

void job_most(const struct job *j, int64_t n[MAX_PORTS])
{
    for (int i = 0; i < MAX_PORTS; i++)
        n[i] = j->in[i].n;
    if (j->task->most)
        j->task->most(j, n);
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

/* --- its sequences --- */

int job_fork(struct job *j, struct seq_store *st, const struct seq *from,
             struct seq **out)
{
    if (j->n_forks == j->cap_forks) {
        int cap = j->cap_forks ? j->cap_forks * 2 : 8;
        struct seq **p = mem_grow(j->fork, (size_t)cap, sizeof *p);
        if (!p)
            return -1;
        j->fork = p;
        j->cap_forks = cap;
    }
    int rc = seq_fork(st, from, out, NULL);
    if (rc == SEQ_OK)
        j->fork[j->n_forks++] = *out;
    return rc;
}

void job_drop(struct job *j, struct seq *s)
{
    if (!s->dropped) {
        s->dropped = 1;
        j->n_dropped++;
    }
}

void job_sweep(struct job *j, struct seq_store *st)
{
    int k = 0;

    if (j->n_dropped == 0)
        return;
    for (int i = 0; i < j->n_forks; i++)
        if (j->fork[i]->dropped)
            seq_give(st, j->fork[i]);
        else
            j->fork[k++] = j->fork[i];
    j->n_forks = k;
    j->n_dropped = 0;
}

void job_lose_state(struct job *j, struct seq_store *st)
{
    while (j->n_forks > 0)
        seq_give(st, j->fork[--j->n_forks]);
    j->n_dropped = 0;
    if (j->seq)
        seq_give(st, j->seq);
    j->seq = NULL;
    memset(j->pos, 0, sizeof(j->pos));
}

/* --- the handle (engine.h) --- */

const struct job_result *job_result(const struct job *j)
{
    return &j->res;
}

const void *job_answer(const struct job *j, const struct task *t)
{
    return j->task == t ? j->answer : NULL;
}

const struct err *job_error(const struct job *j)
{
    return &j->err;
}
