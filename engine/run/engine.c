/* engine: see engine.h. The table of models grows under a mutex and is read
 * under it; jobs and callers hold references, so nobody waits for a loader.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/run/engine.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "engine/base/metrics.h"
#include "engine/base/thread.h"
#include "engine/run/job.h"
#include "engine/run/lane.h"
#include "engine/run/model.h"
#include "engine/run/runner.h"

#define MAX_MODELS 64
#define MOST_NAMES 128 /* bytes of models' names in a message */
#define MAX_ROWS 1024  /* sizes that the batch histogram counts */
/* Decoding rows wait for a step with a chunk of a prompt: so many tokens of a
 * model of 100 million parameters take some 0.2 s here. */
#define PAGED_STEP_TOKENS 256

struct engine {
    struct run_shared s;
    const struct model_arch *const *archs;
    struct lane *lane[MAX_MODELS]; /* one reference each */
    int n_lanes;
    atomic_int draining;
    int sync_ready; /* mutex and condition variable exist */
};

/* --- open and close --- */

static int either(int v, int dflt)
{
    return v > 0 ? v : dflt;
}

static void resolve(struct engine_options *o)
{
    o->n_threads = either(o->n_threads, pool_default_threads());
    o->spin_us = o->spin_us < 0 ? 50 : o->spin_us; /* limits: 50-100 */
    o->runner_spin_us =
        o->runner_spin_us < 0 ? 0 : either(o->runner_spin_us, 20);
    o->kernels = o->kernels ? o->kernels : "auto";
    o->max_queue = either(o->max_queue, 4096);
    o->max_rows = either(o->max_rows, 64);
    o->max_rows = o->max_rows > MAX_ROWS ? MAX_ROWS : o->max_rows;
    o->step_tokens = either(o->step_tokens, 1024);
    o->max_item_tokens = either(o->max_item_tokens, 8192);
    o->state_bytes = o->state_bytes ? o->state_bytes : (size_t)256 << 20;
}

static int init_sync(struct engine *g, struct err *e)
{
    pthread_condattr_t attr;
    if (pthread_condattr_init(&attr))
        return err_nomem(e);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    int rc = pthread_cond_init(&g->s.idle, &attr);
    pthread_condattr_destroy(&attr);
    if (rc)
        return err_nomem(e);
    if (pthread_mutex_init(&g->s.mu, NULL)) {
        pthread_cond_destroy(&g->s.idle);
        return err_nomem(e);
    }
    g->sync_ready = 1;
    return 0;
}

int engine_open(const struct engine_options *o,
                const struct model_arch *const *archs, struct engine **out,
                struct err *e)
{
    struct engine *g = mem_zalloc(sizeof *g);

    *out = NULL;
    if (!g)
        return err_nomem(e);
    g->s.o = *o;
    g->s.paged_step_tokens = either(o->step_tokens, PAGED_STEP_TOKENS);
    resolve(&g->s.o);
    g->archs = archs;
    g->s.budget.limit = g->s.o.state_bytes;
    g->s.tables = mem_budget_new(o->fold_bytes);
    if (!g->s.tables) {
        engine_close(g);
        return err_nomem(e);
    }
    if (init_sync(g, e) || kernels_pick(g->s.o.kernels, &g->s.k, e) ||
        pool_open(g->s.o.n_threads, g->s.o.spin_us, &g->s.pool, e)) {
        engine_close(g);
        return -1;
    }
    *out = g;
    return 0;
}

void engine_close(struct engine *g)
{
    if (!g)
        return;
    if (g->sync_ready)
        engine_drain(g, 0);
    for (int i = 0; i < g->n_lanes; i++) {
        lane_stop(g->lane[i]);
        lane_release(g->lane[i]);
    }
    pool_close(g->s.pool);
    mem_budget_drop(g->s.tables);
    if (g->sync_ready) {
        pthread_mutex_destroy(&g->s.mu);
        pthread_cond_destroy(&g->s.idle);
    }
    mem_free(g);
}

/* --- models --- */

/* Copy the table. References are the engine's: valid until engine_close. */
static int snapshot(struct engine *g, struct lane **l)
{
    pthread_mutex_lock(&g->s.mu);
    int n = g->n_lanes;
    memcpy(l, g->lane, (size_t)n * sizeof(struct lane *));
    pthread_mutex_unlock(&g->s.mu);
    return n;
}

/* The lane of a model, or (m NULL) of a name; under mu. */
static struct lane *look_up(const struct engine *g, const struct model *m,
                            const char *name)
{
    for (int i = 0; i < g->n_lanes; i++) {
        const struct model *at = g->lane[i]->model;
        if (at == m || (!m && strcmp(at->name, name) == 0))
            return g->lane[i];
    }
    return NULL;
}

static struct lane *find_lane(struct engine *g, const struct model *m,
                              const char *name)
{
    pthread_mutex_lock(&g->s.mu);
    struct lane *l = look_up(g, m, name);
    pthread_mutex_unlock(&g->s.mu);
    return l;
}

static int add_lane(struct engine *g, struct lane *l, struct err *e)
{
    const char *name = l->model->name;
    int rc = 0;

    pthread_mutex_lock(&g->s.mu);
    if (look_up(g, NULL, name))
        rc = err_set(e, ERR_INVALID, "model name '%s' is taken", name);
    else if (g->n_lanes == MAX_MODELS)
        rc = err_set(e, ERR_TOO_LARGE, "at most %d models", MAX_MODELS);
    else
        g->lane[g->n_lanes++] = l;
    pthread_mutex_unlock(&g->s.mu);
    return rc;
}

static void publish_memory(const struct model *m)
{
    metric_set(metrics_series(METRIC_MODEL_MEMORY, m->name, NULL, NULL),
               (double)model_memory(m));
}

/* A loaded model in a lane that nobody knows of yet. */
static int open_lane(struct engine *g, const struct model_place *at,
                     struct lane **out, struct err *e)
{
    struct model_open_opts o = {.name = at->name,
                                .dir = at->dir,
                                .archs = g->archs,
                                .k = g->s.k,
                                .options = &g->s.o,
                                .tables = g->s.tables};
    struct model *m;

    if (find_lane(g, NULL, at->name))
        return err_set(e, ERR_INVALID, "model name '%.64s' is taken", at->name);
    return model_open(&o, &m, e) || lane_open(m, &g->s, out, e) ? -1 : 0;
}

static void drop_lane(struct lane *l)
{
    lane_stop(l);
    lane_release(l);
}

/* Make it known; takes it over. */
static int publish_lane(struct engine *g, struct lane *l, struct err *e)
{
    const struct model *m = l->model;

    if (add_lane(g, l, e)) {
        drop_lane(l);
        return -1;
    }
    publish_memory(m);
    metric_set(metrics_series(METRIC_MODEL_LOAD, m->name, NULL, NULL),
               m->load_seconds);
    log_event(LOG_INFO, "engine", "loaded",
              "model=%s arch=%s parameters=%llu seconds=%.3f", m->name,
              m->arch->name, (unsigned long long)m->info.parameters,
              m->load_seconds);
    if (m->info.target.unheeded[0])
        log_event(LOG_WARN, "engine", "unheeded",
                  "model=%s keys=\"%s\" of=\"generation\"", m->name,
                  m->info.target.unheeded);
    return 0;
}

int engine_load(struct engine *g, const char *name, const char *dir,
                struct err *e)
{
    const struct model_place at = {name, dir};
    struct lane *l;

    return open_lane(g, &at, &l, e) || publish_lane(g, l, e) ? -1 : 0;
}

/* A list of models that several threads load, each the next one. */
struct loading {
    struct engine *g;
    const struct model_place *list;
    int n;
    const atomic_int *stop;
    atomic_int next, failed;
    struct lane *lane[MAX_MODELS];
    struct err err[MAX_MODELS];
};

static void *load_some(void *arg)
{
    struct loading *l = arg;
    int i;

    while (!atomic_load(&l->failed) && !(l->stop && atomic_load(l->stop)) &&
           (i = atomic_fetch_add(&l->next, 1)) < l->n)
        if (open_lane(l->g, &l->list[i], &l->lane[i], &l->err[i]))
            atomic_store(&l->failed, 1);
    return NULL;
}

/* This thread and as many more as compute; with fewer it only takes longer. */
static void load_on_threads(struct loading *l)
{
    pthread_t thread[MAX_MODELS];
    int most = pool_threads(l->g->s.pool), n = 0;

    while (n + 1 < most && n + 1 < l->n &&
           thread_start(&thread[n], load_some, l) == 0)
        n++;
    load_some(l);
    while (n > 0)
        pthread_join(thread[--n], NULL);
}

int engine_load_all(struct engine *g, const struct model_place *list, int n,
                    const atomic_int *stop, struct err *e)
{
    struct loading *l;
    int rc = 0;

    if (n > MAX_MODELS)
        return err_set(e, ERR_TOO_LARGE, "at most %d models", MAX_MODELS);
    l = mem_zalloc(sizeof *l);
    if (!l)
        return err_nomem(e);
    l->g = g;
    l->list = list;
    l->n = n;
    l->stop = stop;
    load_on_threads(l);
    for (int i = 0; i < n && !rc; i++) {
        if (l->err[i].code != ERR_NONE) {
            *e = l->err[i];
            rc = -1;
        }
    }
    for (int i = 0; i < n; i++)
        if (rc && l->lane[i])
            drop_lane(l->lane[i]);
        else if (l->lane[i])
            rc = publish_lane(g, l->lane[i], e);
    mem_free(l);
    return rc;
}

void engine_measure(struct engine *g)
{
    struct lane *l[MAX_MODELS];
    int n = snapshot(g, l);
    for (int i = 0; i < n; i++)
        publish_memory(l[i]->model);
}

/* The names of those that have the task, for a message. */
static void names_of(struct lane *const *l, int n, const struct task *task,
                     char *out, size_t size)
{
    size_t at = 0;
    out[0] = '\0';
    for (int i = 0; i < n; i++) {
        if (task && !model_can(l[i]->model, task))
            continue;
        const char *name = l[i]->model->name, *mark = at > 0 ? ", " : "";
        if (at + strlen(mark) + strlen(name) + sizeof ", ..." > size) {
            snprintf(out + at, size - at, ", ...");
            return;
        }
        at += (size_t)snprintf(out + at, size - at, "%s%s", mark, name);
    }
}

static int not_found(struct lane *const *l, int n, const char *name, int named,
                     const struct task *task, struct err *e)
{
    char have[MOST_NAMES];
    names_of(l, n, task, have, sizeof have);
    if (name && !named)
        return err_set_at(e, ERR_NOT_FOUND, "model_not_found", "model",
                          "no model '%.64s'%s%s", name,
                          have[0] ? "; there are: " : "", have);
    if (!have[0])
        return err_set_at(e, ERR_UNSUPPORTED, "task_not_supported", "model",
                          name ? "model '%.64s' does not have this task, nor "
                                 "has another"
                               : "no model has this task",
                          name);
    return err_set_at(e, ERR_UNSUPPORTED, "task_not_supported", "model",
                      "model '%.64s' does not have this task; those that have "
                      "it: %s",
                      name, have);
}

int engine_model(struct engine *g, const char *name, const struct task *task,
                 struct model **out, struct err *e)
{
    struct lane *l[MAX_MODELS];
    struct model *found = NULL;
    int n = snapshot(g, l), named = 0;

    *out = NULL;
    for (int i = 0; i < n && !found; i++) {
        if (name && strcmp(l[i]->model->name, name) != 0)
            continue;
        named = 1;
        if (!task || model_can(l[i]->model, task))
            found = l[i]->model;
    }
    if (!found)
        return not_found(l, n, name, named, task, e);
    model_retain(found);
    *out = found;
    return 0;
}

int engine_models(struct engine *g, struct model **out, int max)
{
    struct lane *l[MAX_MODELS];
    int n = snapshot(g, l);
    for (int i = 0; i < n && i < max; i++) {
        model_retain(l[i]->model);
        out[i] = l[i]->model;
    }
    return n;
}

void engine_watch(struct engine *g, const atomic_int *stop)
{
    struct lane *l[MAX_MODELS];
    int n = snapshot(g, l);
    for (int i = 0; i < n; i++)
        checkpoint_watch(l[i]->model->checkpoint, stop);
}

int engine_damaged(struct engine *g)
{
    struct lane *l[MAX_MODELS];
    int n = snapshot(g, l), damaged = 0;
    for (int i = 0; i < n; i++)
        damaged |= checkpoint_damaged(l[i]->model->checkpoint) != 0;
    return damaged;
}

int engine_threads(const struct engine *g)
{
    return pool_threads(g->s.pool);
}

const struct kernels *engine_kernels(const struct engine *g)
{
    return g->s.k;
}

const struct engine_options *engine_get_options(const struct engine *g)
{
    return &g->s.o;
}

/* --- jobs --- */

/* Both references: the runner has not seen these jobs. */
static void drop_jobs(struct job **jobs, int n)
{
    for (int i = 0; i < n; i++) {
        job_unref(jobs[i]);
        job_release(jobs[i]);
        jobs[i] = NULL;
    }
}

/* The job that a spec asks for, in its lane; it fits the budget. */
static int new_job(const struct job_spec *spec, struct lane *l,
                   struct job **out, struct err *e)
{
    if (job_new(spec, out, e))
        return -1;
    lane_retain(l);
    (*out)->lane = l;
    if (runner_fits(l->runner, *out, e)) {
        drop_jobs(out, 1);
        return -1;
    }
    return 0;
}

int engine_submit(struct engine *g, const struct job_spec *specs, int n,
                  struct job **jobs, struct err *e)
{
    struct err one = ERR_INIT;
    struct lane *lane = n > 0 ? find_lane(g, specs[0].model, "") : NULL;

    if (n < 1)
        return err_set(e, ERR_INVALID, "no items");
    if (engine_draining(g)) {
        return err_set_at(e, ERR_DRAINING, "draining", NULL,
                          "the server is shutting down");
    }
    if (!lane) {
        return err_set_at(e, ERR_NOT_FOUND, "model_not_found", "model",
                          "the model is not loaded");
    }
    for (int i = 0; i < n; i++) {
        int rc = specs[i].model != specs[0].model
                     ? err_set(&one, ERR_INVALID, "items of several models")
                     : new_job(&specs[i], lane, &jobs[i], &one);
        if (rc) {
            char param[32];
            snprintf(param, sizeof(param), "input[%d]", i);
            drop_jobs(jobs, i);
            return err_set_at(e, one.code, one.reason,
                              one.param[0] ? one.param : param, "%s", one.msg);
        }
        if (i > 0)
            jobs[i - 1]->next = jobs[i];
    }
    if (runner_submit(lane->runner, jobs[0], jobs[n - 1], n, e)) {
        drop_jobs(jobs, n);
        return -1;
    }
    return 0;
}

void job_cancel(struct job *j)
{
    atomic_store(&j->cancel, 1);
    runner_cancelled(j->lane->runner);
}

void job_pause(struct job *j, int on)
{
    if (atomic_exchange(&j->pause, on) != on)
        runner_paused(j->lane->runner);
}

void job_release(struct job *j)
{
    if (!j)
        return;
    struct lane *l = j->lane;
    job_unref(j);
    lane_release(l); /* the runner gives its reference before it ends */
}

/* --- shutdown --- */

int engine_draining(const struct engine *g)
{
    return atomic_load(&((struct engine *)g)->draining);
}

/* Wait until no job is open, at most until `until`. 0 when none is. */
static int wait_idle(struct engine *g, int64_t until)
{
    struct timespec ts = {.tv_sec = until / 1000000,
                          .tv_nsec = until % 1000000 * 1000};
    int rc = 0;

    pthread_mutex_lock(&g->s.mu);
    while (atomic_load(&g->s.open_jobs) > 0 && rc == 0)
        rc = pthread_cond_timedwait(&g->s.idle, &g->s.mu, &ts);
    int open = atomic_load(&g->s.open_jobs) > 0;
    pthread_mutex_unlock(&g->s.mu);
    return open;
}

int engine_drain(struct engine *g, int timeout_ms)
{
    struct lane *l[MAX_MODELS];
    int n = snapshot(g, l);

    atomic_store(&g->draining, 1);
    for (int i = 0; i < n; i++)
        runner_close(l[i]->runner);
    if (!wait_idle(g, clock_now_us() + (int64_t)timeout_ms * 1000))
        return 0;
    for (int i = 0; i < n; i++)
        runner_drop(l[i]->runner);
    /* A step that runs is waited for: steps are short, and each job gets its
     * final event. */
    while (wait_idle(g, clock_now_us() + 1000000)) {
    }
    return 1;
}
