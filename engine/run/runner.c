/* runner: see runner.h. Events, steps and the thread's life; who runs is
 * runner_admit.c's business.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/run/runner_impl.h"

#include <string.h>

#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "engine/base/metrics.h"
#include "engine/base/thread.h"

/* Columns of all wanted rows from which take() is worth several threads: some
 * 50 us of work for one. */
#define TAKE_WORTH_THREADS 65536
/* Other runners hold the state budget: look again after this time. */
#define BUDGET_RETRY_US 1000
/* Sequences that there is scratch for from the beginning. */
#define USUAL_LENGTH 4096
/* A kernel lets a thread compute for about so long before it looks who else
 * wants the core (a tick of Linux at 250 Hz). */
#define TICK_US 4000.0

/* --- events --- */

static void emit(struct runner *r, struct job *j, enum job_event_kind kind)
{
    struct job_event ev = {.kind = kind, .job = j};
    if (kind == JOB_TEXT) {
        ev.text = j->text;
        ev.text_len = j->text_len;
    }
    r->n_events++;
    if (j->on_event)
        j->on_event(j->user, &ev);
}

/* The gauges of pages; before an event, so that who got it sees them. */
static void report_pages(struct runner *r)
{
    int used = 0, idle = 0;

    for (int i = 0; i < r->store.layout.n_ports; i++) {
        const struct page_pool *p = &r->store.pool[i];
        used += p->n_pages - p->n_idle - p->n_free;
        idle += p->n_idle;
    }
    if (used != r->used || idle != r->idle) {
        r->used = used;
        r->idle = idle;
        metric_set(r->m.pages_used, used);
        metric_set(r->m.pages_idle, idle);
    }
}

/* The one place where a job gets its final event and loses the runner's
 * reference. */
void runner_end_job(struct runner *r, struct job *j, int64_t now)
{
    int64_t start = j->start_us ? j->start_us : now;

    job_lose_state(j, &r->store);
    report_pages(r);
    if (r->claimant == j)
        runner_unclaim(r);
    j->res.queue_us = start - j->submit_us;
    j->res.run_us = now - start;
    r->n_final++;
    j->flow->left_us = now;
    atomic_fetch_sub(&j->flow->open, 1);
    if (j->res.cached_tokens > 0) {
        metric_add(r->m.prefix, 1);
        metric_add(r->m.cached, j->res.cached_tokens);
    }
    if (j->end == JOB_ENDED) {
        metric_observe(r->m.inference, (double)j->res.run_us * 1e-6);
        emit(r, j, JOB_DONE);
    } else {
        emit(r, j, JOB_FAILED);
    }
    job_unref(j);
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

    if (r->n_events > 0 && s->o.flush)
        s->o.flush(s->o.ctx);
    r->n_events = 0;
    if (r->n_final > 0) {
        close_jobs(s, r->n_final);
        r->n_final = 0;
    }
}

static void count_token(struct runner *r, struct job *j, int64_t now)
{
    if (j->token_us == 0)
        metric_observe(r->m.first_token, (double)(now - j->submit_us) * 1e-6);
    else
        metric_observe(r->m.inter_token, (double)(now - j->token_us) * 1e-6);
    j->token_us = now;
    j->fresh_tokens = 0;
}

/* What was read in parts; before the events, so that who gets one sees it. */
static void count_parts(struct runner *r)
{
    int read = 0;

    for (int i = 0; i < r->n_active; i++) {
        read += r->active[i]->fresh_read;
        r->active[i]->fresh_read = 0;
    }
    if (read > 0)
        metric_add(r->m.prompt, read);
}

/* Hand out what the step made; jobs that ended leave. */
void runner_deliver(struct runner *r)
{
    int64_t now = clock_now_us();
    int k = 0, made = 0;

    count_parts(r);
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
            j->flow->n_active--;
            runner_end_job(r, j, now);
        }
    }
    r->n_active = k;
    if (made > 0)
        metric_add(r->m.completion, made);
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
        if (j->first != i || j->end != JOB_OPEN)
            continue;
        if (j->task->take(j, &x, &b->item[i], j->n_planned) == TASK_DONE)
            j->end = JOB_ENDED;
    }
}

/* Rows of the input that are in the state for the first time. */
static int note_input(struct job *j, int port)
{
    int in = j->pos[port] < j->in[port].n ? j->pos[port] : j->in[port].n;
    int fresh = in > j->seen[port] ? in - j->seen[port] : 0;
    j->seen[port] += fresh;
    return fresh;
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
        j->flow->served += (uint64_t)it->in.n;
        seq_commit(&r->store, r->plan.seq[i], it->port,
                   it->in.unit == UNIT_TOKENS ? it->in.p : NULL, it->in.n);
        if (r->plan.seq[i] == j->seq) {
            j->pos[it->port] += it->in.n;
            int fresh = note_input(j, it->port);
            prompt += it->port == job_prompt(j) ? fresh : 0;
        }
    }
    if (prompt > 0)
        metric_add(r->m.prompt, prompt);
}

/* Forks that their jobs have dropped in this step go back. */
static void sweep(struct runner *r)
{
    for (int i = 0; i < r->n_active; i++)
        job_sweep(r->active[i], &r->store);
}

void runner_fail_batch(struct runner *r, const struct err *e)
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

/* How many threads a step may have. One after the other, short steps on all
 * cores leave none for who reads a light client's request and writes its
 * answer: that waits for a tick, many steps long. So they leave one free.
 * Beside long steps a tick is little, and a core is much. */
static int step_threads(const struct runner *r)
{
    int free = r->plan.bounded && r->step_us < TICK_US && r->n_threads > 1;

    return r->n_threads - free;
}

static void step_once(struct runner *r)
{
    const struct model *m = r->model;
    struct batch *b = &r->plan.b;
    struct take_work w = {.r = r};
    struct err e = ERR_INIT;
    int failed = 0;

    batch_build(&r->plan, r->active, r->n_active, r->step_tokens);
    if (b->n_item == 0) {
        sweep(r);
        runner_get_unstuck(r);
        return;
    }
    r->stuck = 0;
    if (r->claimant)
        atomic_store(&r->s->budget.waiting, 0);
    int threads = step_threads(r);
    double work = pace_work(&m->info, b->n_tokens, b->n_rows);
    struct exec x = {.k = r->s->k,
                     .pool = r->s->pool,
                     .scratch = r->scratch,
                     .n_threads = pace_pick(&r->pace, work, threads)};
    metric_observe(r->m.batch, b->n_item);
    pool_acquire(r->s->pool);
    int64_t begin = clock_now_us();
    failed = m->arch->step(m->self, &x, b, &e);
    double us = (double)(clock_now_us() - begin);
    if (pace_most(work, threads) > 1)
        pace_note(&r->pace, work, x.n_threads, us);
    pace_see(&r->pace, work, us);
    r->step_us = us;
    if (!failed && checkpoint_damaged(m->checkpoint))
        failed = err_set(&e, ERR_INTERNAL, "the file of the model is damaged");
    if (!failed) {
        commit(r);
        int spread = b->n_rows > 1 && r->plan.n_floats >= TAKE_WORTH_THREADS;
        pool_run(r->s->pool, spread ? threads : 1, take_jobs, &w);
    }
    pool_release(r->s->pool);
    sweep(r);
    if (failed)
        runner_fail_batch(r, &e);
}

/* How long to sleep with nothing to run: 0: until somebody wakes it. */
static int64_t idle_us(const struct runner *r)
{
    if (r->n_pending > 0)
        return BUDGET_RETRY_US;
    if (!r->paused || r->next_deadline == INT64_MAX)
        return 0;
    int64_t left = r->next_deadline - clock_now_us();
    return left > 1 ? left : 1;
}

static void *runner_main(void *arg)
{
    struct runner *r = arg;

    kernels_enter_thread();
    for (;;) {
        int64_t now = clock_now_us();
        runner_intake(r);
        runner_pause(r);
        if (atomic_exchange(&r->trim, 0))
            runner_trim(r);
        runner_expire(r, now);
        runner_admit(r, now);
        runner_weigh(r, now);
        if (r->n_active > 0) {
            step_once(r);
            runner_deliver(r);
        }
        settle(r);
        report_pages(r);
        if (r->n_active > 0) {
            if (r->pause)
                queue_wait(&r->queue, 0, BUDGET_RETRY_US);
            r->pause = 0;
            continue;
        }
        r->stuck = r->pause = 0;
        if (r->n_pending == 0 && !r->paused && r->n_clients > 0)
            metric_set(r->m.clients, r->n_clients = 0);
        if (atomic_load(&r->stop) && r->n_pending == 0 && !r->paused &&
            atomic_load(&r->queue.fresh) == 0)
            return NULL;
        if (r->n_pending == 0 || r->starved)
            queue_wait(&r->queue, r->s->o.runner_spin_us, idle_us(r));
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
    m->cached = metrics_series(METRIC_TOKENS, n, "cached", NULL);
    m->prefix = metrics_series(METRIC_PREFIX_HITS, n, NULL, NULL);
    m->preempted = metrics_series(METRIC_PREEMPTED, n, NULL, NULL);
    m->clients = metrics_series(METRIC_CLIENTS, n, NULL, NULL);
    m->yielded = metrics_series(METRIC_YIELDED, n, NULL, NULL);
    m->pages_used = metrics_series(METRIC_STATE_PAGES, n, "used", NULL);
    m->pages_idle = metrics_series(METRIC_STATE_PAGES, n, "idle", NULL);
    m->gone = metrics_series(METRIC_CANCELLED, "client_gone", NULL, NULL);
    m->deadline = metrics_series(METRIC_CANCELLED, "deadline", NULL, NULL);
    m->drain = metrics_series(METRIC_CANCELLED, "drain", NULL, NULL);
}

size_t runner_step_bytes(const struct runner *r, int rows)
{
    int n =
        r->step_tokens > TASK_LEAST_TOKENS ? r->step_tokens : TASK_LEAST_TOKENS;
    struct step_size most = {.items = r->plan.max_items,
                             .tokens = {n, n},
                             .rows = rows,
                             .threads = r->n_threads,
                             .longest = r->longest};
    return r->model->arch->scratch_bytes(r->model->self, &most);
}

int runner_new(struct model *m, struct run_shared *s, struct runner **out,
               struct err *e)
{
    struct runner *r = mem_zalloc(sizeof *r);

    *out = NULL;
    if (!r)
        return err_nomem(e);
    if (queue_init(&r->queue, s->o.max_queue, e)) {
        mem_free(r);
        return -1;
    }
    r->model = m;
    r->s = s;
    r->n_threads = pool_threads(s->pool);
    r->next_deadline = INT64_MAX;
    r->active = mem_zarray((size_t)s->o.max_rows, sizeof(struct job *));
    r->take_scratch = mem_zarray((size_t)r->n_threads, sizeof *r->take_scratch);
    if (!r->active || !r->take_scratch) {
        err_nomem(e);
        runner_free(r);
        return -1;
    }
    if (seq_store_init(&r->store, &m->info.state, &s->budget, e) ||
        batch_plan_init(&r->plan, &m->info, &r->store, s->o.max_rows, e)) {
        runner_free(r);
        return -1;
    }
    r->step_tokens = s->o.step_tokens;
    for (int i = 0; i < m->info.state.n_ports; i++)
        if (m->info.state.port[i].page_tokens > 0)
            r->step_tokens = s->paged_step_tokens;
    r->longest = USUAL_LENGTH;
    r->plan.pace = &r->pace;
    find_metrics(r);
    *out = r;
    return 0;
}

int runner_start(struct runner *r, struct err *e)
{
    if (thread_start(&r->thread, runner_main, r)) {
        return err_set(e, ERR_NOMEM, "%s: cannot start a thread",
                       r->model->name);
    }
    r->started = 1;
    pthread_mutex_lock(&r->s->mu);
    r->next = r->s->runners;
    r->s->runners = r;
    pthread_mutex_unlock(&r->s->mu);
    return 0;
}

static void leave_list(struct runner *r)
{
    pthread_mutex_lock(&r->s->mu);
    struct runner **at = &r->s->runners;
    while (*at && *at != r)
        at = &(*at)->next;
    if (*at)
        *at = r->next;
    pthread_mutex_unlock(&r->s->mu);
}

int runner_submit(struct runner *r, struct job *first, struct job *last, int n,
                  struct err *e)
{
    int64_t now = clock_now_us();

    for (struct job *j = first;; j = j->next) {
        j->submit_us = now;
        if (j == last)
            break;
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
    if (!r->started)
        return;
    runner_close(r);
    atomic_store(&r->stop, 1);
    runner_drop(r);
    pthread_join(r->thread, NULL);
    r->started = 0;
    leave_list(r);
    /* The store's memory need not outlive the runner's work, and the budget
     * belongs to the engine. */
    seq_store_fini(&r->store);
}

void runner_free(struct runner *r)
{
    if (!r)
        return;
    seq_store_fini(&r->store);
    batch_plan_fini(&r->plan);
    for (int t = 0; r->take_scratch && t < r->n_threads; t++)
        sampler_scratch_fini(&r->take_scratch[t]);
    mem_free(r->take_scratch);
    mem_free(r->active);
    mem_aligned_free(r->scratch);
    queue_fini(&r->queue);
    mem_free(r);
}

/* Bytes that the sequences of a job can come to. */
static size_t most_bytes(const struct runner *r, const struct job *j,
                         const int64_t most[MAX_PORTS])
{
    int chain = j->model->info.max_chain, chunk = r->step_tokens;
    int64_t in[MAX_PORTS];
    size_t forks = (size_t)j->task->forks * r->store.seq_bytes, bytes;

    chunk = chain > 0 && chain < chunk ? chain : chunk;
    for (int i = 0; i < MAX_PORTS; i++)
        in[i] = j->window > 0 ? 0 : j->n_branches > 0 ? j->in[i].n : most[i];
    bytes = seq_most_bytes(&r->store, in, chunk);
    if (j->n_branches > 0)
        forks = seq_fork_most(&r->store, in, most, chunk);
    if (j->n_branches > 1 &&
        __builtin_mul_overflow(forks, (size_t)j->n_branches, &forks))
        return SIZE_MAX;
    return bytes <= SIZE_MAX - forks ? bytes + forks : SIZE_MAX;
}

int runner_fits(const struct runner *r, const struct job *j, struct err *e)
{
    int64_t most[MAX_PORTS];

    job_most(j, most);
    size_t bytes = most_bytes(r, j, most);
    if (bytes == r->store.seq_bytes || bytes <= r->s->budget.limit)
        return 0; /* what has no pages is seq_take's to refuse */
    if (j->n_branches > 0) {
        return err_set_at(e, ERR_TOO_LARGE, "context_length_exceeded", NULL,
                          "the states of %d texts of %lld tokens need %zu MiB, "
                          "--state-mb allows %zu",
                          j->n_branches, (long long)most[0], (bytes >> 20) + 1,
                          r->s->budget.limit >> 20);
    }
    return err_set_at(e, ERR_TOO_LARGE, "context_length_exceeded", NULL,
                      "the state of %lld tokens needs %zu MiB, --state-mb "
                      "allows %zu",
                      (long long)most[0], (bytes >> 20) + 1,
                      r->s->budget.limit >> 20);
}

void runner_cancelled(struct runner *r)
{
    atomic_fetch_add(&r->cancels, 1);
    queue_wake(&r->queue); /* all of its jobs may be paused */
}

void runner_paused(struct runner *r)
{
    atomic_fetch_add(&r->pauses, 1);
    queue_wake(&r->queue);
}
