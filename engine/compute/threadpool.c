/* threadpool: workers wait for a number to change, first by looking at it for
 * at most spin_us, then in a futex. Where others want the cores, a spin may
 * keep the very thread from running that is waited for: a wait for a peer that
 * outlasts its spin makes the next ones short.
 *
 * Each worker has its own number (`seq`), so a run of n threads neither wakes
 * nor touches the other workers. Whoever changes a number looks afterwards
 * whether somebody parked on it; whoever parks says so first and looks at the
 * number again (both sequentially consistent), so no wake-up is lost and the
 * common case costs no system call.
 *
 * The lock is a ticket lock, hence first come, first served. It is released to
 * one ticket: the futex's bit set names the waiters (modulo 32), so that the
 * other runners sleep on.
 *
 * Barrier and end of a run use the same wait: a count down to the last thread,
 * who changes the number that the others watch.
 *
 * SPDX-License-Identifier: MIT */
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "engine/base/relax.h"
#include "engine/compute/cpu_count.h"
#include "engine/compute/kernels.h"
#include "engine/compute/threadpool.h"

#define MAX_THREADS 64
#define LINE 64
/* A runner that waits for the pool must not take a core from the threads that
 * compute: it looks for a moment only. */
#define ACQUIRE_SPIN_US 2
#define LOOKS_PER_CLOCK 16 /* reading the clock costs some 25 ns */
/* After a wait for a peer that outlasted the spin, the peer is probably kept
 * from running, perhaps by us: the next waits are short, then we try again. */
#define IMPATIENT_SPIN_US 2
#define IMPATIENT_WAITS 16

/* A number that threads wait on, alone on its cache line. */
struct gate {
    _Alignas(LINE) _Atomic uint32_t value;
    _Atomic uint32_t parked; /* threads in or near the futex */
};

struct worker {
    struct gate seq; /* +1 for each run this worker takes part in */
    struct pool *pool;
    pthread_t thread;
    int tid;
};

struct pool {
    struct gate ticket;       /* value: the ticket being served */
    struct gate pending;      /* workers of this run not yet done */
    struct gate barrier;      /* generation */
    _Atomic uint32_t next;    /* the next ticket to give out */
    _Atomic uint32_t arrived; /* at the barrier */
    _Atomic int closing;
    _Atomic int impatient; /* short waits to go; a hint, races are harmless */
    int n_threads, spin_us;
    /* The run: written by the caller before it changes the workers' seq. */
    pool_fn *fn;
    void *arg;
    int n_run;
    struct worker *worker; /* [n_threads]; 0 is the caller, unused */
};

static void futex_wait(struct gate *g, uint32_t seen, uint32_t bits)
{
    syscall(SYS_futex, &g->value, FUTEX_WAIT_BITSET_PRIVATE, seen, NULL, NULL,
            bits);
}

static void futex_wake(struct gate *g, uint32_t bits)
{
    syscall(SYS_futex, &g->value, FUTEX_WAKE_BITSET_PRIVATE, INT32_MAX, NULL,
            NULL, bits);
}

/* Look at the gate for spin_us; 1 when it changed from `seen`. */
static int gate_spin(const struct gate *g, uint32_t seen, int spin_us)
{
    int64_t until = 0;

    for (unsigned i = 1; spin_us > 0; i++) {
        if (atomic_load_explicit(&g->value, memory_order_acquire) != seen)
            return 1;
        cpu_relax();
        if (i % LOOKS_PER_CLOCK != 0)
            continue;
        if (until == 0)
            until = clock_now_us() + spin_us;
        else if (clock_now_us() >= until)
            break;
    }
    return atomic_load_explicit(&g->value, memory_order_acquire) != seen;
}

static void gate_park(struct gate *g, uint32_t seen, uint32_t bits)
{
    atomic_fetch_add(&g->parked, 1);
    while (atomic_load(&g->value) == seen)
        futex_wait(g, seen, bits);
    atomic_fetch_sub(&g->parked, 1);
}

static int pool_spin_us(const struct pool *p)
{
    int few = atomic_load_explicit(&p->impatient, memory_order_relaxed) > 0;

    return few && p->spin_us > 0 ? IMPATIENT_SPIN_US : p->spin_us;
}

/* Wait for a peer of the run: it is at work and should not be long. */
static void wait_for_peer(struct pool *p, struct gate *g, uint32_t seen)
{
    int few = atomic_load_explicit(&p->impatient, memory_order_relaxed);
    int spun = gate_spin(g, seen, pool_spin_us(p));

    if (few > 0)
        atomic_store_explicit(&p->impatient, few - 1, memory_order_relaxed);
    if (spun)
        return;
    if (few == 0)
        atomic_store_explicit(&p->impatient, IMPATIENT_WAITS,
                              memory_order_relaxed);
    gate_park(g, seen, ~0u);
}

/* Wake those that parked. The change of value came before, with seq_cst. */
static void gate_wake(struct gate *g, uint32_t bits)
{
    if (atomic_load(&g->parked))
        futex_wake(g, bits);
}

static uint32_t ticket_bit(uint32_t ticket)
{
    return 1u << (ticket % 32);
}

void pool_acquire(struct pool *p)
{
    uint32_t mine = atomic_fetch_add(&p->next, 1);
    uint32_t now;

    while ((now = atomic_load(&p->ticket.value)) != mine)
        if (!gate_spin(&p->ticket, now, p->spin_us > 0 ? ACQUIRE_SPIN_US : 0))
            gate_park(&p->ticket, now, ticket_bit(mine));
}

void pool_release(struct pool *p)
{
    uint32_t now = atomic_fetch_add(&p->ticket.value, 1) + 1;

    gate_wake(&p->ticket, ticket_bit(now));
}

void pool_barrier(struct pool *p)
{
    uint32_t n = (uint32_t)p->n_run;
    uint32_t generation;

    if (n == 1)
        return;
    generation = atomic_load(&p->barrier.value);
    if (atomic_fetch_add(&p->arrived, 1) + 1 < n) {
        wait_for_peer(p, &p->barrier, generation);
        return;
    }
    atomic_store(&p->arrived, 0);
    atomic_store(&p->barrier.value, generation + 1);
    gate_wake(&p->barrier, ~0u);
}

void pool_run(struct pool *p, int n, pool_fn *fn, void *arg)
{
    uint32_t left;

    p->n_run = n;
    if (n == 1) {
        fn(arg, 0, 1);
        return;
    }
    p->fn = fn;
    p->arg = arg;
    atomic_store(&p->pending.value, (uint32_t)n - 1);
    for (int i = 1; i < n; i++) {
        atomic_fetch_add(&p->worker[i].seq.value, 1);
        gate_wake(&p->worker[i].seq, ~0u);
    }
    fn(arg, 0, n);
    while ((left = atomic_load(&p->pending.value)) != 0)
        wait_for_peer(p, &p->pending, left);
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    struct pool *p = w->pool;
    uint32_t seen = 0;

    kernels_enter_thread();
    for (;;) {
        if (!gate_spin(&w->seq, seen, pool_spin_us(p)))
            gate_park(&w->seq, seen, ~0u);
        seen++;
        if (atomic_load(&p->closing))
            return NULL;
        p->fn(p->arg, w->tid, p->n_run);
        atomic_fetch_sub(&p->pending.value, 1);
        gate_wake(&p->pending, ~0u);
    }
}

/* Signals are for the main thread; those that tell of this thread's own fault
 * (the guard of mapped files needs SIGBUS) stay open. */
static int start_worker(struct worker *w)
{
    sigset_t all, old;
    int rc;

    sigfillset(&all);
    sigdelset(&all, SIGBUS);
    sigdelset(&all, SIGSEGV);
    sigdelset(&all, SIGFPE);
    sigdelset(&all, SIGILL);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    rc = pthread_create(&w->thread, NULL, worker_main, w);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return rc;
}

int pool_open(int n_threads, int spin_us, struct pool **out, struct err *e)
{
    struct pool *p;

    *out = NULL;
    if (n_threads < 1 || n_threads > MAX_THREADS || spin_us < 0)
        return err_set(e, ERR_INVALID, "%d threads: expected 1 to %d",
                       n_threads, MAX_THREADS);
    p = mem_aligned(sizeof *p);
    if (!p)
        return err_nomem(e);
    p->spin_us = spin_us;
    p->n_run = 1;
    p->n_threads = 1; /* grows as the workers start */
    p->worker = mem_aligned((size_t)n_threads * sizeof *p->worker);
    if (!p->worker) {
        pool_close(p);
        return err_nomem(e);
    }
    for (int i = 1; i < n_threads; i++) {
        struct worker *w = &p->worker[i];

        w->pool = p;
        w->tid = i;
        if (start_worker(w) != 0) {
            pool_close(p);
            return err_set(e, ERR_INTERNAL, "cannot start compute thread %d",
                           i);
        }
        p->n_threads++;
    }
    *out = p;
    return 0;
}

void pool_close(struct pool *p)
{
    if (!p)
        return;
    atomic_store(&p->closing, 1);
    for (int i = 1; i < p->n_threads; i++) {
        atomic_fetch_add(&p->worker[i].seq.value, 1);
        gate_wake(&p->worker[i].seq, ~0u);
        pthread_join(p->worker[i].thread, NULL);
    }
    mem_aligned_free(p->worker);
    mem_aligned_free(p);
}

int pool_threads(const struct pool *p)
{
    return p->n_threads;
}

int pool_default_threads(void)
{
    int cpus = cpu_count_affinity();
    int quota = cpu_count_quota("");

    if (quota > 0 && quota < cpus)
        cpus = quota;
    return cpus < MAX_THREADS ? cpus : MAX_THREADS;
}
