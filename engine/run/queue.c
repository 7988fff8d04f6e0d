/* queue: see queue.h.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/run/queue.h"

#include <string.h>
#include <time.h>

#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "engine/base/relax.h"

/* Queues of fewer items are too short to keep some for others. */
#define LEAST_SHARED 64
#define LOOKS_PER_CLOCK 16 /* reading the clock costs some 25 ns */

int queue_init(struct queue *q, int max, struct err *e)
{
    pthread_condattr_t attr;

    memset(q, 0, sizeof *q);
    q->max = max;
    if (pthread_condattr_init(&attr))
        return err_nomem(e);
    int rc = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    rc = rc ? rc : pthread_cond_init(&q->cv, &attr);
    pthread_condattr_destroy(&attr);
    if (rc)
        return err_nomem(e);
    if (pthread_mutex_init(&q->mu, NULL)) {
        pthread_cond_destroy(&q->cv);
        return err_nomem(e);
    }
    return 0;
}

void queue_fini(struct queue *q)
{
    while (q->flows) {
        struct flow *f = q->flows;
        q->flows = f->next;
        mem_free(f);
    }
    pthread_mutex_destroy(&q->mu);
    pthread_cond_destroy(&q->cv);
}

/* With the lock held: the client's flow, or NULL. */
static struct flow *flow_of(struct queue *q, uint64_t client)
{
    struct flow *f = q->flows;

    while (f && f->client != client)
        f = f->next;
    return f;
}

static struct flow *flow_new(struct queue *q, uint64_t client)
{
    struct flow *f = mem_zalloc(sizeof *f);

    if (f) {
        f->client = client;
        f->next = q->flows;
        q->flows = f;
    }
    return f;
}

int queue_forget(struct queue *q, struct flow *f)
{
    pthread_mutex_lock(&q->mu);
    struct flow **at = &q->flows;
    while (*at && *at != f)
        at = &(*at)->next;
    int idle = *at && atomic_load(&f->open) == 0;
    if (idle)
        *at = f->next;
    pthread_mutex_unlock(&q->mu);
    if (idle)
        mem_free(f);
    return idle;
}

/* With the lock held: is there room for n of a client that has `open`? */
static int room(struct queue *q, int n, int open, struct err *e)
{
    int waiting = atomic_load(&q->waiting), max = q->max;
    int part = max < LEAST_SHARED ? 0 : max / 8;

    if (q->closed) {
        return err_set_at(e, ERR_DRAINING, "draining", NULL,
                          "the server is shutting down");
    }
    if (n > q->max) {
        return err_set_at(e, ERR_TOO_LARGE, "batch_too_large", "input",
                          "%d items, at most %d can wait", n, q->max);
    }
    if (waiting > 0 && open + n > part)
        max -= part;
    if (n > max - waiting) {
        return err_set_at(e, ERR_BUSY, "queue_full", NULL,
                          "the queue of this model is full");
    }
    return 0;
}

int queue_push(struct queue *q, struct job *first, struct job *last, int n,
               struct err *e)
{
    pthread_mutex_lock(&q->mu);
    struct flow *f = flow_of(q, first->client);
    int full = room(q, n, f ? atomic_load(&f->open) : 0, e);
    f = full || f ? f : flow_new(q, first->client);
    if (full || !f) {
        pthread_mutex_unlock(&q->mu);
        return full ? -1 : err_nomem(e);
    }
    last->next = NULL;
    for (struct job *j = first; j; j = j->next)
        j->flow = f;
    atomic_fetch_add(&f->open, n);
    if (q->tail)
        q->tail->next = first;
    else
        q->head = first;
    q->tail = last;
    atomic_fetch_add(&q->waiting, n);
    atomic_fetch_add(&q->fresh, n);
    int wake = q->sleeping;
    pthread_mutex_unlock(&q->mu);
    if (wake)
        pthread_cond_signal(&q->cv);
    return 0;
}

struct job *queue_take(struct queue *q)
{
    if (atomic_load(&q->fresh) == 0)
        return NULL;
    pthread_mutex_lock(&q->mu);
    struct job *j = q->head;
    q->head = q->tail = NULL;
    atomic_store(&q->fresh, 0);
    pthread_mutex_unlock(&q->mu);
    return j;
}

void queue_begun(struct queue *q, int n)
{
    atomic_fetch_sub(&q->waiting, n);
}

static int spin(struct queue *q, int spin_us)
{
    int64_t until = clock_now_us() + spin_us;
    for (unsigned i = 1; spin_us > 0; i++) {
        if (atomic_load_explicit(&q->fresh, memory_order_acquire))
            return 1;
        cpu_relax();
        if (i % LOOKS_PER_CLOCK == 0 && clock_now_us() >= until)
            break;
    }
    return 0;
}

void queue_wait(struct queue *q, int spin_us, int64_t park_us)
{
    if (spin(q, spin_us))
        return;
    int64_t until = clock_now_us() + park_us;
    struct timespec ts = {.tv_sec = until / 1000000,
                          .tv_nsec = until % 1000000 * 1000};
    pthread_mutex_lock(&q->mu);
    q->sleeping = 1;
    while (atomic_load(&q->fresh) == 0)
        if (park_us == 0)
            pthread_cond_wait(&q->cv, &q->mu);
        else if (pthread_cond_timedwait(&q->cv, &q->mu, &ts))
            break;
    q->sleeping = 0;
    pthread_mutex_unlock(&q->mu);
}

void queue_wake(struct queue *q)
{
    pthread_mutex_lock(&q->mu);
    atomic_fetch_add(&q->fresh, 1);
    pthread_mutex_unlock(&q->mu);
    pthread_cond_signal(&q->cv);
}

void queue_close(struct queue *q)
{
    pthread_mutex_lock(&q->mu);
    q->closed = 1;
    pthread_mutex_unlock(&q->mu);
}
