/* runner_admit: who runs: what waits, what has to end, and what happens when
 * the budget of states is full (see runner.h).
 *
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "engine/base/metrics.h"
#include "engine/run/runner_impl.h"

/* --- who may claim the budget when it is full (see runner.h) --- */

/* 1 when the budget is this runner's to claim for job j. */
static int claim(struct runner *r, struct job *j)
{
    struct state_budget *b = &r->s->budget;
    void *none = NULL;

    if (atomic_load(&b->claim) != r &&
        !atomic_compare_exchange_strong(&b->claim, &none, r))
        return 0;
    r->claimant = j;
    atomic_store(&b->waiting, 1);
    return 1;
}

void runner_unclaim(struct runner *r)
{
    struct state_budget *b = &r->s->budget;

    r->claimant = NULL;
    atomic_store(&b->waiting, 0);
    atomic_store(&b->claim, NULL);
}

/* Somebody else waits for memory: this runner takes no more. */
static int must_yield(const struct runner *r)
{
    struct state_budget *b = &r->s->budget;
    return atomic_load(&b->waiting) && atomic_load(&b->claim) != r;
}

/* Ask all other runners to give back what they keep for reuse; they do between
 * two steps. */
static void ask_for_memory(struct runner *r)
{
    struct run_shared *s = r->s;
    pthread_mutex_lock(&s->mu);
    for (struct runner *o = s->runners; o; o = o->next) {
        if (o != r) {
            atomic_store(&o->trim, 1);
            queue_wake(&o->queue);
        }
    }
    pthread_mutex_unlock(&s->mu);
}

/* --- admit and expire --- */

/* The job waits, in whatever list. */
static void begin_wait(struct runner *r, const struct job *j)
{
    r->n_parked += j->seq != NULL;
    if (j->deadline_us && j->deadline_us < r->next_deadline)
        r->next_deadline = j->deadline_us;
}

/* Among the pending ones of its client, by age. */
static void pend(struct runner *r, struct job *j)
{
    flow_add(j->flow, j);
    r->n_pending++;
    begin_wait(r, j);
}

static int is_paused(const struct job *j)
{
    return atomic_load(&j->pause);
}

/* Where it belongs: a paused one is not called on. */
static void wait_again(struct runner *r, struct job *j)
{
    if (!is_paused(j)) {
        pend(r, j);
        return;
    }
    if (r->claimant == j)
        runner_unclaim(r); /* others need not wait for it */
    j->next = r->paused;
    r->paused = j;
    j->flow->n_paused++;
    begin_wait(r, j);
}

/* The oldest of a list of pending ones; it waits no more. NULL: none left. */
static struct job *unpend(struct runner *r, struct job **list)
{
    struct job *j = *list;

    if (!j)
        return NULL;
    *list = j->next;
    j->next = NULL;
    r->n_pending--;
    r->n_parked -= j->seq != NULL;
    return j;
}

void runner_intake(struct runner *r)
{
    for (struct job *j = queue_take(&r->queue), *next; j; j = next) {
        next = j->next;
        j->next = NULL;
        j->age = r->n_jobs++;
        runner_meet(r, j->flow);
        wait_again(r, j);
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
    } else if (checkpoint_damaged(r->model->checkpoint)) {
        job_fail(j, ERR_INTERNAL, "internal_error",
                 "the file of the model is damaged");
    }
    return j->end != JOB_OPEN;
}

/* The job waits no more; one that has begun before did not count. */
static void unqueue(struct runner *r, const struct job *j)
{
    if (j->start_us == 0) {
        queue_begun(&r->queue, 1);
        metric_add(r->m.depth, -1);
    }
}

/* --- paused ones --- */

/* The first paused one of the list; it waits no more. */
static struct job *take_paused(struct runner *r, struct job **at)
{
    struct job *j = *at;

    *at = j->next;
    j->next = NULL;
    j->flow->n_paused--;
    r->n_parked -= j->seq != NULL;
    return j;
}

/* A running job's place is free. */
static struct job *leave_place(struct runner *r, int at)
{
    struct job *j = r->active[at];

    r->n_active--;
    memmove(&r->active[at], &r->active[at + 1],
            (size_t)(r->n_active - at) * sizeof(struct job *));
    j->flow->n_active--;
    j->n_planned = 0;
    return j;
}

/* All that wait of one client once more. */
static void sort_flow(struct runner *r, struct flow *f)
{
    struct job *list = f->head, *j;

    f->head = NULL;
    while ((j = unpend(r, &list)))
        wait_again(r, j);
}

void runner_pause(struct runner *r)
{
    int pauses = atomic_load(&r->pauses);

    if (pauses == r->pauses_seen)
        return;
    r->pauses_seen = pauses;
    for (struct job **at = &r->paused; *at;) {
        if (is_paused(*at)) {
            at = &(*at)->next;
            continue;
        }
        struct job *j = take_paused(r, at);
        runner_meet(r, j->flow); /* it was served nothing meanwhile */
        pend(r, j);
    }
    for (struct flow *f = r->flows; f; f = f->peer)
        sort_flow(r, f);
    for (int i = r->n_active - 1; i >= 0; i--)
        if (is_paused(r->active[i]))
            wait_again(r, leave_place(r, i));
}

/* Look through those of one client. */
static void expire_flow(struct runner *r, struct flow *f, int64_t now)
{
    struct job *list = f->head, *j;

    f->head = NULL;
    while ((j = unpend(r, &list))) {
        if (must_end(r, j, now)) {
            unqueue(r, j);
            runner_end_job(r, j, now);
        } else {
            pend(r, j);
        }
    }
}

static void expire_paused(struct runner *r, int64_t now)
{
    for (struct job **at = &r->paused; *at;) {
        struct job *j = *at;
        if (!must_end(r, j, now)) {
            if (j->deadline_us && j->deadline_us < r->next_deadline)
                r->next_deadline = j->deadline_us;
            at = &j->next;
            continue;
        }
        take_paused(r, at);
        unqueue(r, j);
        runner_end_job(r, j, now);
    }
}

/* Look through all that wait when one of them may have to go. */
static void expire_pending(struct runner *r, int64_t now)
{
    int cancels = atomic_load(&r->cancels);

    if (cancels == r->cancels_seen && now < r->next_deadline &&
        !atomic_load(&r->drop))
        return;
    r->cancels_seen = cancels;
    r->next_deadline = INT64_MAX;
    for (struct flow *f = r->flows; f; f = f->peer)
        expire_flow(r, f, now);
    expire_paused(r, now);
}

void runner_expire(struct runner *r, int64_t now)
{
    int gone = 0;
    expire_pending(r, now);
    for (int i = 0; i < r->n_active; i++)
        gone |= must_end(r, r->active[i], now);
    if (gone)
        runner_deliver(r);
}

/* Scratch for the job's whole spans, which may be over a step's budget. */
static size_t alone_bytes(const struct runner *r, const struct job *j)
{
    const struct model *m = r->model;
    size_t most = 0;

    for (int i = 0; i < m->info.state.n_ports; i++) {
        int whole =
            m->info.state.port[i].whole || (i == PORT_TARGET && j->uncut);
        struct step_size size = {.items = 1,
                                 .rows = j->most_rows,
                                 .threads = r->n_threads,
                                 .longest = r->longest};
        size.tokens[i] = j->window > 0 ? j->window : j->in[i].n;
        if (!whole || size.tokens[i] <= r->step_tokens)
            continue;
        size_t bytes = m->arch->scratch_bytes(m->self, &size);
        most = bytes > most ? bytes : most;
    }
    return most;
}

/* The longest sequence when this job runs, too; by doubling, so that memory is
 * not asked for again and again. */
static int64_t longest_with(const struct runner *r, const struct job *j)
{
    int64_t n[MAX_PORTS], longest = r->longest;

    job_most(j, n);
    for (int i = 0; i < MAX_PORTS; i++)
        while (longest < n[i])
            longest *= 2;
    return longest;
}

/* Scratch of so many bytes at least. */
static int grow_scratch(struct runner *r, size_t need, struct err *e)
{
    void *p;

    if (need <= r->scratch_bytes)
        return 0;
    p = mem_aligned(need);
    if (!p)
        return err_nomem(e);
    mem_aligned_free(r->scratch);
    r->scratch = p;
    r->scratch_bytes = need;
    return 0;
}

/* The memory that this job's steps need beyond what there is. */
static int grow_for(struct runner *r, const struct job *j, struct err *e)
{
    int rows = j->most_rows, most = r->plan.max_items;
    int64_t before = r->longest;

    for (int i = 0; i < r->n_active; i++)
        rows += r->active[i]->most_rows;
    most = j->most_rows > most ? j->most_rows : most;
    rows = rows < most ? rows : most;
    if (batch_plan_rows(&r->plan, rows, e))
        return -1;
    r->longest = longest_with(r, j);
    rows = r->plan.max_items;
    rows = r->plan.cap_rows > rows ? r->plan.cap_rows : rows;
    size_t need = runner_step_bytes(r, rows), alone = alone_bytes(r, j);
    if (grow_scratch(r, alone > need ? alone : need, e)) {
        r->longest = before; /* the next job is not to need it, too */
        return -1;
    }
    for (int t = 0; t < r->n_threads; t++)
        if (sampler_scratch_grow(&r->take_scratch[t], j->scratch_vocab, e))
            return -1;
    return 0;
}

/* What the job's sequences still need for `made` tokens more: of one that goes
 * on with branches all of these, made or not. */
static size_t job_short(const struct runner *r, const struct job *j, int made)
{
    int64_t n[MAX_PORTS], most[MAX_PORTS], in[MAX_PORTS];

    for (int i = 0; i < MAX_PORTS; i++)
        in[i] = n[i] = i == PORT_TARGET ? j->n_all : j->in[i].n;
    job_most(j, most);
    n[PORT_TARGET] += j->branch_rows + made;
    if (j->n_branches > 0 && n[PORT_TARGET] > most[PORT_TARGET])
        n[PORT_TARGET] = most[PORT_TARGET];
    size_t bytes = seq_short(&r->store, j->seq, j->n_branches > 0 ? in : n);
    for (int i = 0; i < j->n_forks; i++)
        bytes += seq_short(&r->store, j->fork[i], n);
    for (int i = j->n_forks; i < j->n_branches; i++)
        bytes += seq_fork_short(&r->store, in, n);
    return bytes;
}

/* A sequence with the shared part of the job's tokens, when there is room for
 * the rest of them beside what the running jobs' tokens will need. */
static int find_room(struct runner *r, struct job *j, struct err *e)
{
    if (must_yield(r))
        return SEQ_WAIT;
    int rc = seq_take(&r->store, &j->seq, e);
    if (rc)
        return rc;
    int cached = j->res.cached_tokens;
    batch_share(&r->plan, j);
    size_t need = job_short(r, j, 1);
    size_t room = need > 0 ? seq_room(&r->store) : 0;
    for (int i = 0; i < r->n_active && need > 0 && need <= room; i++)
        need += job_short(r, r->active[i], 0);
    if (need <= room)
        return SEQ_OK;
    job_lose_state(j, &r->store);
    j->res.cached_tokens = cached;
    return SEQ_WAIT;
}

static void lose_state(struct runner *r, struct job *j)
{
    job_lose_state(j, &r->store);
    if (j->task->lost)
        j->task->lost(j);
    metric_add(r->m.preempted, 1);
}

void runner_stop_job(struct runner *r, int at, int keep)
{
    struct job *j = leave_place(r, at);

    if (keep)
        metric_add(r->m.yielded, 1);
    else
        lose_state(r, j);
    pend(r, j);
}

/* 0 when the client's oldest job runs or has failed, SEQ_WAIT when it has to
 * wait. */
static int admit_one(struct runner *r, struct flow *f, int64_t now)
{
    struct err e = ERR_INIT;
    struct job *j = f->head;
    int rc = -1, parked = j->seq != NULL;

    if (!must_end(r, j, now)) {
        rc = parked ? 0 : find_room(r, j, &e);
        if (rc == SEQ_WAIT)
            return SEQ_WAIT;
        rc = rc ? rc : grow_for(r, j, &e);
    }
    r->n_parked += !parked && j->seq; /* as unpend will count it */
    unpend(r, &f->head);
    unqueue(r, j);
    if (rc) {
        job_fail(j, ERR_NOMEM, "out_of_memory", "out of memory");
        runner_end_job(r, j, now);
        return 0;
    }
    if (j->start_us == 0) {
        j->start_us = now;
        metric_observe(r->m.queue, (double)(now - j->submit_us) * 1e-6);
    }
    r->active[r->n_active++] = j;
    f->n_active++;
    return 0;
}

/* The youngest parked job gives its state up, of the paused ones first; 0: none
 * is parked. One that was paused before it began may be older than others that
 * have, so all are looked at. */
static int unpark(struct runner *r)
{
    struct job *last = NULL;

    if (r->n_parked == 0)
        return 0;
    for (struct job *j = r->paused; j; j = j->next)
        if (j->seq && (!last || j->age > last->age))
            last = j;
    for (struct flow *f = last ? NULL : r->flows; f; f = f->peer)
        for (struct job *j = f->head; j; j = j->next)
            if (j->seq && (!last || j->age > last->age))
                last = j;
    if (!last)
        return 0;
    lose_state(r, last);
    r->n_parked--;
    return 1;
}

/* Others wait for memory: what no sequence that runs uses goes back. */
void runner_trim(struct runner *r)
{
    while (unpark(r)) {
    }
    seq_trim(&r->store);
}

/* A place for a job of flow f, and memory. 0: there is none. */
static int make_place(struct runner *r, const struct flow *f)
{
    int at = -1;

    if (r->n_active == r->s->o.max_rows) {
        at = runner_victim(r, f, 1);
        if (at >= 0)
            runner_stop_job(r, at, 1);
    }
    return r->n_active < r->s->o.max_rows;
}

static int make_room(struct runner *r, const struct flow *f)
{
    if (must_yield(r))
        return 0;
    if (unpark(r))
        return 1;
    int at = runner_victim(r, f, 0);
    if (at >= 0)
        runner_stop_job(r, at, 0);
    return at >= 0;
}

void runner_admit(struct runner *r, int64_t now)
{
    r->starved = 0;
    if (r->n_active > 0 && r->stuck > 0)
        return; /* what was given back is for those that it was taken for */
    struct flow *f;
    while ((f = runner_next_flow(r)) && make_place(r, f)) {
        struct job *j = f->head;
        int rc;
        do
            rc = admit_one(r, f, now);
        while (rc && make_room(r, f));
        if (rc) {
            r->starved = r->n_active == 0;
            if (r->starved && !must_yield(r)) {
                ask_for_memory(r);
                claim(r, j);
            }
            return;
        }
        if (r->claimant == j)
            atomic_store(&r->s->budget.waiting, 0);
    }
}

/* --- no memory for anybody --- */

/* One job gives all it holds back and starts again later: the youngest of the
 * clients with most. The oldest of all is never the one, so that it ends. */
static void preempt(struct runner *r)
{
    int at = 0;
    for (int i = 1; i < r->n_active; i++) {
        const struct job *j = r->active[i], *was = r->active[at];
        int more = j->flow->n_active - was->flow->n_active;
        if (more > 0 || (more == 0 && j->age > was->age))
            at = i;
    }
    runner_stop_job(r, at, 0);
}

static int any_ended(const struct runner *r)
{
    for (int i = 0; i < r->n_active; i++)
        if (r->active[i]->end != JOB_OPEN)
            return 1;
    return 0;
}

/* A step without items. */
void runner_get_unstuck(struct runner *r)
{
    struct err e = ERR_INIT;

    if (any_ended(r))
        return; /* no memory for their pages: they leave now */
    if (r->plan.n_starved == 0) {
        err_set(&e, ERR_INTERNAL, "no job can go on");
        runner_fail_batch(r, &e);
        return;
    }
    if (unpark(r))
        return;
    ask_for_memory(r);
    r->pause = 1; /* others may keep what they do not need */
    if (r->stuck++ > 0 && (r->n_active > 1 || !claim(r, r->active[0]))) {
        preempt(r);
        r->pause = 0;
    }
}
