/* runner: see runner.h. Everything in struct runner but the queue and the
 * atomics is touched by the runner's thread only.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/run/runner.h"

#include <signal.h>
#include <string.h>

#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "engine/base/metrics.h"
#include "engine/run/batch.h"
#include "engine/run/model.h"
#include "engine/run/queue.h"
#include "engine/run/task.h"
#include "engine/run/threads.h"

/* Columns of all wanted rows from which take() is worth several threads: some
 * 50 us of work for one. */
#define TAKE_WORTH_THREADS 65536
/* Other runners hold the state budget: look again after this time. */
#define BUDGET_RETRY_US 1000

struct runner_metrics {
    struct metric_series *queue, *inference, *first_token, *inter_token;
    struct metric_series *batch, *depth, *prompt, *completion;
    struct metric_series *gone, *deadline, *drain;
};

struct runner {
    struct model *model; /* the owner: not a reference */
    struct run_shared *s;
    struct queue queue;
    pthread_t thread;
    int started;
    atomic_int cancels; /* calls of job_cancel so far */
    atomic_int drop;    /* fail all that is left */
    atomic_int stop;
    int cancels_seen;
    struct job *head, *tail; /* pending: taken, not yet admitted */
    int64_t next_deadline;   /* of the pending ones; INT64_MAX: none */
    struct job **active;     /* [max_rows] */
    int n_active;
    int starved; /* nothing runs here, since others hold the state budget */
    struct seq_store store;
    struct batch_plan plan;
    void *scratch;
    size_t scratch_bytes, step_bytes;     /* held; enough for usual steps */
    struct sampler_scratch *take_scratch; /* [n_threads] */
    int n_threads;
    struct threads threads;
    int n_events, n_final; /* since the last flush */
    struct runner_metrics m;
};

/* --- events --- */

static void emit(struct runner *r, struct job *j, enum job_event_kind kind)
{
    struct job_event ev = {.kind = kind, .job = j};
    if (kind == JOB_TEXT) {
        ev.text = j->text;
        ev.text_len = j->text_len;
    }
    r->n_events++;
    if (j->on_event) {
        j->on_event(j->user, &ev);
    }
}

/* The one place where a job gets its final event and loses the runner's
 * reference. */
static void end_job(struct runner *r, struct job *j, int64_t now)
{
    int64_t start = j->start_us ? j->start_us : now;

    if (j->seq) {
        seq_give(&r->store, j->seq);
        j->seq = NULL;
    }
    j->res.queue_us = start - j->submit_us;
    j->res.run_us = now - start;
    r->n_final++;
    if (j->end == JOB_ENDED) {
        metric_observe(r->m.inference, (double)j->res.run_us * 1e-6);
        emit(r, j, JOB_DONE);
    } else {
        emit(r, j, JOB_FAILED);
    }
    job_release(j);
}

/* n jobs are no longer open; the last one wakes whoever drains. */
static void close_jobs(struct run_shared *s, int n)
{
    if (atomic_fetch_sub(&s->open_jobs, n) == n) {
        pthread_mutex_lock(&s->mu);
        pthread_cond_broadcast(&s->idle);
        pthread_mutex_unlock(&s->mu);
    }
}

/* Everything of one step is out: one wake, and drain may look. */
static void settle(struct runner *r)
{
    struct run_shared *s = r->s;

    if (r->n_events > 0 && s->o.flush) {
        s->o.flush(s->o.ctx);
    }
    r->n_events = 0;
    if (r->n_final > 0) {
        close_jobs(s, r->n_final);
        r->n_final = 0;
    }
}

static void count_token(struct runner *r, struct job *j, int64_t now)
{
    if (j->token_us == 0) {
        metric_observe(r->m.first_token, (double)(now - j->submit_us) * 1e-6);
    } else {
        metric_observe(r->m.inter_token, (double)(now - j->token_us) * 1e-6);
    }
    j->token_us = now;
    j->fresh_tokens = 0;
}

/* Hand out what the step made; jobs that ended leave. */
static void deliver(struct runner *r)
{
    int64_t now = clock_now_us();
    int k = 0, made = 0;

    for (int i = 0; i < r->n_active; i++) {
        struct job *j = r->active[i];
        if (j->fresh_tokens) {
            made++;
            count_token(r, j, now);
        }
        if (j->text_len > 0) {
            emit(r, j, JOB_TEXT);
            j->text_len = 0;
        }
        if (j->end == JOB_OPEN) {
            r->active[k++] = j;
        } else {
            end_job(r, j, now);
        }
    }
    r->n_active = k;
    if (made > 0) {
        metric_add(r->m.completion, made);
    }
}

/* --- admit and expire --- */

static void intake(struct runner *r)
{
    for (struct job *j = queue_take(&r->queue), *next; j; j = next) {
        next = j->next;
        j->next = NULL;
        if (r->tail) {
            r->tail->next = j;
        } else {
            r->head = j;
        }
        r->tail = j;
        if (j->deadline_us && j->deadline_us < r->next_deadline) {
            r->next_deadline = j->deadline_us;
        }
    }
}

/* 1 when the job may not go on; its failure is noted. */
static int must_end(struct runner *r, struct job *j, int64_t now)
{
    /* First, since who submits may cancel for this very reason. */
    if (j->deadline_us && now >= j->deadline_us) {
        metric_add(r->m.deadline, 1);
        job_fail(j, ERR_TIMEOUT, "deadline_exceeded",
                 "the deadline of the request passed");
    } else if (atomic_load_explicit(&j->cancel, memory_order_relaxed)) {
        metric_add(r->m.gone, 1);
        job_fail(j, ERR_CANCELLED, "cancelled", "the request was cancelled");
    } else if (atomic_load_explicit(&r->drop, memory_order_relaxed)) {
        metric_add(r->m.drain, 1);
        job_fail(j, ERR_DRAINING, "draining", "the server is shutting down");
    } else if (weights_damaged(r->model->weights)) {
        job_fail(j, ERR_INTERNAL, "internal_error",
                 "the file of the model is damaged");
    }
    return j->end != JOB_OPEN;
}

static void unqueue(struct runner *r)
{
    queue_begun(&r->queue, 1);
    metric_add(r->m.depth, -1);
}

/* Look through the pending ones when one of them may have to go. */
static void expire_pending(struct runner *r, int64_t now)
{
    int cancels = atomic_load(&r->cancels);

    if (cancels == r->cancels_seen && now < r->next_deadline &&
        !atomic_load(&r->drop)) {
        return;
    }
    r->cancels_seen = cancels;
    r->next_deadline = INT64_MAX;
    struct job *list = r->head;
    r->head = r->tail = NULL;
    for (struct job *j = list, *next; j; j = next) {
        next = j->next;
        j->next = NULL;
        if (must_end(r, j, now)) {
            unqueue(r);
            end_job(r, j, now);
            continue;
        }
        if (j->deadline_us && j->deadline_us < r->next_deadline) {
            r->next_deadline = j->deadline_us;
        }
        if (r->tail) {
            r->tail->next = j;
        } else {
            r->head = j;
        }
        r->tail = j;
    }
}

static void expire(struct runner *r, int64_t now)
{
    int gone = 0;
    expire_pending(r, now);
    for (int i = 0; i < r->n_active; i++) {
        gone |= must_end(r, r->active[i], now);
    }
    if (gone) {
        deliver(r);
    }
}

/* The memory that this job's steps need beyond what there is. */
static int grow_for(struct runner *r, const struct job *j, struct err *e)
{
    const struct model *m = r->model;
    size_t need = r->step_bytes;

    if (batch_plan_rows(&r->plan, r->n_active + 1, e)) {
        return -1;
    }
    if (r->plan.whole && j->n_tokens > r->s->o.step_tokens) {
        size_t alone =
            m->arch->scratch_bytes(m->self, 1, j->n_tokens, 1, r->n_threads);
        need = alone > need ? alone : need;
    }
    if (need > r->scratch_bytes) {
        void *p = mem_aligned(need);
        if (!p) {
            return err_nomem(e);
        }
        mem_aligned_free(r->scratch);
        r->scratch = p;
        r->scratch_bytes = need;
    }
    for (int t = 0; t < r->n_threads; t++) {
        if (sampler_scratch_grow(&r->take_scratch[t], j->scratch_vocab, e)) {
            return -1;
        }
    }
    return 0;
}

/* 0 when the job runs or has failed, SEQ_WAIT when it has to wait. */
static int admit_one(struct runner *r, struct job *j, int64_t now)
{
    struct err e = ERR_INIT;
    int rc = -1;

    if (!must_end(r, j, now)) {
        rc = seq_take(&r->store, &j->seq, &e);
        if (rc == SEQ_WAIT) {
            return SEQ_WAIT;
        }
        rc = rc ? rc : grow_for(r, j, &e);
    }
    unqueue(r);
    if (rc) {
        job_fail(j, ERR_NOMEM, "out_of_memory", "out of memory");
        end_job(r, j, now);
        return 0;
    }
    j->start_us = now;
    metric_observe(r->m.queue, (double)(now - j->submit_us) * 1e-6);
    r->active[r->n_active++] = j;
    return 0;
}

static void admit(struct runner *r, int64_t now)
{
    r->starved = 0;
    while (r->head && r->n_active < r->s->o.max_rows) {
        struct job *j = r->head, *next = j->next;
        if (admit_one(r, j, now)) {
            r->starved = r->n_active == 0;
            return;
        }
        r->head = next;
        if (!next) {
            r->tail = NULL;
        }
    }
}

/* --- one step --- */

struct take_work {
    struct runner *r;
    atomic_int next;
};

static void take_jobs(void *arg, int tid, int n_threads)
{
    struct take_work *w = arg;
    struct runner *r = w->r;
    struct batch *b = &r->plan.b;
    struct task_ctx x = {
        .model = r->model, .k = r->s->k, .scratch = &r->take_scratch[tid]};
    int i;

    (void)n_threads;
    while ((i = atomic_fetch_add(&w->next, 1)) < b->n_item) {
        struct job *j = r->plan.owner[i];
        if (j->first != i || j->end != JOB_OPEN) {
            continue;
        }
        if (j->ops->take(j, &x, &b->item[i], j->n_planned) == TASK_DONE) {
            j->end = JOB_ENDED;
        }
    }
}

/* Items that succeeded become part of their sequences. */
static void commit(struct runner *r)
{
    struct batch *b = &r->plan.b;
    int prompt = 0;

    for (int i = 0; i < b->n_item; i++) {
        struct batch_item *it = &b->item[i];
        struct job *j = r->plan.owner[i];
        if (it->status) {
            int nomem = it->fail == ERR_NOMEM;
            job_fail(j, nomem ? ERR_NOMEM : ERR_INTERNAL,
                     nomem ? "out_of_memory" : "internal_error",
                     nomem ? "out of memory"
                           : "the model failed on this input");
            continue;
        }
        seq_commit(&r->store, j->seq, it->stream,
                   it->in.kind == IN_TOKENS ? it->in.p : NULL, it->in.n);
        if (j->pos < j->n_tokens) {
            j->pos += it->in.n;
            prompt += it->in.n;
        }
    }
    if (prompt > 0) {
        metric_add(r->m.prompt, prompt);
    }
}

static void fail_batch(struct runner *r, const struct err *e)
{
    int nomem = e->code == ERR_NOMEM;
    log_event(LOG_ERROR, "runner", "step_failed", "model=%s code=%s msg=\"%s\"",
              r->model->name, err_code_name(e->code), e->msg);
    for (int i = 0; i < r->n_active; i++) {
        if (r->active[i]->n_planned > 0 || r->plan.b.n_item == 0) {
            job_fail(r->active[i], nomem ? ERR_NOMEM : ERR_INTERNAL,
                     nomem ? "out_of_memory" : "internal_error",
                     nomem ? "out of memory" : "the model failed");
        }
    }
}

static void step_once(struct runner *r)
{
    const struct model *m = r->model;
    struct batch *b = &r->plan.b;
    struct take_work w = {.r = r};
    struct err e = ERR_INIT;
    int failed = 0;

    batch_build(&r->plan, r->active, r->n_active, r->s->o.step_tokens);
    if (b->n_item == 0) {
        err_set(&e, ERR_INTERNAL, "no job can go on");
        fail_batch(r, &e);
        return;
    }
    double work = threads_work(&m->info, b->n_tokens, b->n_rows);
    struct exec x = {.k = r->s->k,
                     .pool = r->s->pool,
                     .scratch = r->scratch,
                     .n_threads =
                         threads_pick(&r->threads, work, r->n_threads)};
    metric_observe(r->m.batch, b->n_item);
    pool_acquire(r->s->pool);
    int64_t begin = clock_now_us();
    failed = m->arch->step(m->self, &x, b, &e);
    if (threads_most(work, r->n_threads) > 1) {
        threads_note(&r->threads, work, x.n_threads,
                     (double)(clock_now_us() - begin));
    }
    if (!failed && weights_damaged(m->weights)) {
        failed = err_set(&e, ERR_INTERNAL, "the file of the model is damaged");
    }
    if (!failed) {
        commit(r);
        size_t columns = (size_t)b->n_rows * r->plan.ld;
        pool_run(r->s->pool,
                 b->n_rows > 1 && columns >= TAKE_WORTH_THREADS ? r->n_threads
                                                                : 1,
                 take_jobs, &w);
    }
    pool_release(r->s->pool);
    if (failed) {
        fail_batch(r, &e);
    }
}

static void *runner_main(void *arg)
{
    struct runner *r = arg;

    kernels_enter_thread();
    for (;;) {
        int64_t now = clock_now_us();
        intake(r);
        expire(r, now);
        admit(r, now);
        if (r->n_active > 0) {
            step_once(r);
            deliver(r);
        }
        settle(r);
        if (r->n_active > 0) {
            continue;
        }
        if (atomic_load(&r->stop) && !r->head &&
            atomic_load(&r->queue.fresh) == 0) {
            return NULL;
        }
        if (!r->head || r->starved) {
            queue_wait(&r->queue, r->s->o.runner_spin_us,
                       r->head ? BUDGET_RETRY_US : 0);
        }
    }
}

/* --- life --- */

static void find_metrics(struct runner *r)
{
    const char *n = r->model->name;
    struct runner_metrics *m = &r->m;

    m->queue = metrics_series(METRIC_QUEUE_DURATION, n, NULL, NULL);
    m->inference = metrics_series(METRIC_INFERENCE_DURATION, n, NULL, NULL);
    m->first_token = metrics_series(METRIC_TIME_TO_FIRST_TOKEN, n, NULL, NULL);
    m->inter_token = metrics_series(METRIC_INTER_TOKEN_LATENCY, n, NULL, NULL);
    m->batch = metrics_series(METRIC_BATCH_SIZE, n, NULL, NULL);
    m->depth = metrics_series(METRIC_QUEUE_DEPTH, n, NULL, NULL);
    m->prompt = metrics_series(METRIC_TOKENS, n, "prompt", NULL);
    m->completion = metrics_series(METRIC_TOKENS, n, "completion", NULL);
    m->gone = metrics_series(METRIC_CANCELLED, "client_gone", NULL, NULL);
    m->deadline = metrics_series(METRIC_CANCELLED, "deadline", NULL, NULL);
    m->drain = metrics_series(METRIC_CANCELLED, "drain", NULL, NULL);
}

int runner_new(struct model *m, struct run_shared *s, struct runner **out,
               struct err *e)
{
    struct runner *r = mem_zalloc(sizeof(*r));

    *out = NULL;
    if (!r) {
        return err_nomem(e);
    }
    if (queue_init(&r->queue, s->o.max_queue, e)) {
        mem_free(r);
        return -1;
    }
    r->model = m;
    r->s = s;
    r->n_threads = pool_threads(s->pool);
    r->next_deadline = INT64_MAX;
    r->active = mem_zarray((size_t)s->o.max_rows, sizeof(struct job *));
    r->take_scratch =
        mem_zarray((size_t)r->n_threads, sizeof(*r->take_scratch));
    if (!r->active || !r->take_scratch) {
        err_nomem(e);
        runner_free(r);
        return -1;
    }
    if (seq_store_init(&r->store, &m->layout, &s->budget, e) ||
        batch_plan_init(&r->plan, &m->info, &r->store, s->o.max_rows, e)) {
        runner_free(r);
        return -1;
    }
    r->step_bytes = m->arch->scratch_bytes(
        m->self, s->o.max_rows, s->o.step_tokens, s->o.max_rows, r->n_threads);
    find_metrics(r);
    *out = r;
    return 0;
}

int runner_thread_start(pthread_t *t, void *(*fn)(void *), void *arg)
{
    sigset_t all, old;

    sigfillset(&all);
    sigdelset(&all, SIGBUS); /* the guard of mapped files needs it */
    sigdelset(&all, SIGSEGV);
    sigdelset(&all, SIGFPE);
    sigdelset(&all, SIGILL);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int rc = pthread_create(t, NULL, fn, arg);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return rc;
}

int runner_start(struct runner *r, struct err *e)
{
    if (runner_thread_start(&r->thread, runner_main, r)) {
        return err_set(e, ERR_NOMEM, "%s: cannot start a thread",
                       r->model->name);
    }
    r->started = 1;
    return 0;
}

int runner_submit(struct runner *r, struct job *first, struct job *last, int n,
                  struct err *e)
{
    int64_t now = clock_now_us();

    for (struct job *j = first;; j = j->next) {
        j->submit_us = now;
        if (j == last) {
            break;
        }
    }
    atomic_fetch_add(&r->s->open_jobs, n);
    metric_add(r->m.depth, n);
    if (queue_push(&r->queue, first, last, n, e)) {
        metric_add(r->m.depth, -n);
        close_jobs(r->s, n);
        return -1;
    }
    return 0;
}

void runner_close(struct runner *r)
{
    queue_close(&r->queue);
}

void runner_drop(struct runner *r)
{
    atomic_store(&r->drop, 1);
    queue_wake(&r->queue);
}

void runner_stop(struct runner *r)
{
    if (!r->started) {
        return;
    }
    runner_close(r);
    atomic_store(&r->stop, 1);
    runner_drop(r);
    pthread_join(r->thread, NULL);
    r->started = 0;
    /* The store's memory need not outlive the runner's work, and the budget
     * belongs to the engine. */
    seq_store_fini(&r->store);
}

void runner_free(struct runner *r)
{
    if (!r) {
        return;
    }
    seq_store_fini(&r->store);
    batch_plan_fini(&r->plan);
    for (int t = 0; r->take_scratch && t < r->n_threads; t++) {
        sampler_scratch_fini(&r->take_scratch[t]);
    }
    mem_free(r->take_scratch);
    mem_free(r->active);
    mem_aligned_free(r->scratch);
    queue_fini(&r->queue);
    mem_free(r);
}

struct run_shared *runner_shared(struct runner *r)
{
    return r->s;
}

void runner_cancelled(struct runner *r)
{
    atomic_fetch_add(&r->cancels, 1);
}
