/* threadpool: every thread runs once, barriers hold, runners take turns in the
 * order they came, with workers that spin and workers that park. Under the
 * thread sanitizer these are the tests that count.
 *
 * SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>

#include "engine/base/mem.h"
#include "engine/compute/threadpool.h"
#include "tests/support/unit.h"

#define MAX_THREADS 4
static const int spins[] = {0, 200}; /* park at once; spin between runs */

static void sleep_ms(long ms)
{
    struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

static struct pool *open_pool(int n, int spin_us)
{
    struct err e = ERR_INIT;
    struct pool *p = NULL;

    if (pool_open(n, spin_us, &p, &e))
        fail_msg("%s", e.msg);
    assert_int_equal(pool_threads(p), n);
    return p;
}

struct count {
    struct pool *pool;
    int calls[MAX_THREADS], n_threads[MAX_THREADS];
    int rounds, bad[MAX_THREADS];
};

static void count_call(void *arg, int tid, int n_threads)
{
    struct count *c = arg;

    c->calls[tid]++;
    c->n_threads[tid] = n_threads;
}

static void test_threadpool_runs_each_thread_once(void **state)
{
    for (int s = 0; s < 2; s++)
        for (int size = 1; size <= MAX_THREADS; size++) {
            struct pool *p = open_pool(size, spins[s]);

            pool_acquire(p);
            for (int n = 1; n <= size; n++)
                for (int round = 1; round <= 20; round++) {
                    struct count c = {.pool = p};

                    if (round % 10 == 0)
                        sleep_ms(1); /* so that spinning workers park */
                    pool_run(p, n, count_call, &c);
                    for (int t = 0; t < MAX_THREADS; t++) {
                        assert_int_equal(c.calls[t], t < n);
                        assert_int_equal(c.n_threads[t], t < n ? n : 0);
                    }
                }
            pool_release(p);
            pool_close(p);
        }
}

/* After a barrier every thread's count of this round is there to see. */
static void count_rounds(void *arg, int tid, int n_threads)
{
    struct count *c = arg;

    for (int round = 1; round <= c->rounds; round++) {
        c->calls[tid] = round;
        pool_barrier(c->pool);
        for (int t = 0; t < n_threads; t++)
            c->bad[tid] += c->calls[t] != round;
        pool_barrier(c->pool);
    }
}

static void test_threadpool_barrier_waits_for_all(void **state)
{
    for (int s = 0; s < 2; s++)
        for (int n = 1; n <= MAX_THREADS; n++) {
            struct pool *p = open_pool(n, spins[s]);
            struct count c = {.pool = p, .rounds = 60};

            pool_acquire(p);
            pool_run(p, n, count_rounds, &c);
            pool_run(p, n, count_rounds, &c);
            pool_release(p);
            for (int t = 0; t < n; t++) {
                assert_int_equal(c.calls[t], c.rounds);
                assert_int_equal(c.bad[t], 0);
            }
            pool_close(p);
        }
}

/* --- runners --- */

#define RUNNERS 6

struct runner {
    struct pool *pool;
    int id, rounds;
    int *order, *n_order; /* guarded by the pool itself */
    struct count *count;
    atomic_int *begun;
};

static void *take_turns(void *arg)
{
    struct runner *r = arg;

    if (r->begun)
        atomic_fetch_add(r->begun, 1);
    for (int i = 0; i < r->rounds; i++) {
        pool_acquire(r->pool);
        if (r->order)
            r->order[(*r->n_order)++] = r->id;
        if (r->count)
            pool_run(r->pool, 1 + i % pool_threads(r->pool), count_call,
                     r->count);
        pool_release(r->pool);
    }
    return NULL;
}

static void test_threadpool_serves_runners_in_the_order_they_came(void **state)
{
    for (int s = 0; s < 2; s++) {
        struct pool *p = open_pool(1, spins[s]);
        struct runner r[RUNNERS];
        pthread_t thread[RUNNERS];
        int order[RUNNERS], n_order = 0;
        atomic_int begun = 0;

        pool_acquire(p);
        for (int i = 0; i < RUNNERS; i++) {
            r[i] = (struct runner){p, i, 1, order, &n_order, NULL, &begun};
            assert_int_equal(
                pthread_create(&thread[i], NULL, take_turns, &r[i]), 0);
            while (atomic_load(&begun) <= i)
                sleep_ms(1);
            sleep_ms(15); /* time to take its place in the queue */
        }
        assert_int_equal(n_order, 0);
        pool_release(p);
        for (int i = 0; i < RUNNERS; i++)
            pthread_join(thread[i], NULL);
        assert_int_equal(n_order, RUNNERS);
        for (int i = 0; i < RUNNERS; i++)
            assert_int_equal(order[i], i);
        pool_close(p);
    }
}

static void test_threadpool_runners_never_compute_at_the_same_time(void **state)
{
    for (int s = 0; s < 2; s++) {
        struct pool *p = open_pool(2, spins[s]);
        struct count c = {.pool = p}; /* plain ints: a race loses counts */
        struct runner r[RUNNERS];
        pthread_t thread[RUNNERS];

        for (int i = 0; i < RUNNERS; i++) {
            r[i] = (struct runner){p, i, 100, NULL, NULL, &c, NULL};
            assert_int_equal(
                pthread_create(&thread[i], NULL, take_turns, &r[i]), 0);
        }
        for (int i = 0; i < RUNNERS; i++)
            pthread_join(thread[i], NULL);
        assert_int_equal(c.calls[0], RUNNERS * 100);
        assert_int_equal(c.calls[1], RUNNERS * 50);
        pool_close(p);
    }
}

/* --- the rest --- */

static void read_mask(void *arg, int tid, int n_threads)
{
    (void)n_threads;
    if (tid == 1)
        pthread_sigmask(SIG_SETMASK, NULL, arg);
}

static void test_threadpool_workers_leave_signals_to_the_main_thread(void **s)
{
    struct pool *p = open_pool(2, 0);
    sigset_t set;

    (void)s;
    pool_acquire(p);
    pool_run(p, 2, read_mask, &set);
    pool_release(p);
    assert_int_equal(sigismember(&set, SIGTERM), 1);
    assert_int_equal(sigismember(&set, SIGINT), 1);
    assert_int_equal(sigismember(&set, SIGBUS), 0);
    pool_close(p);
}

static void test_threadpool_refuses_wrong_sizes_and_lack_of_memory(void **state)
{
    struct err e = ERR_INIT;
    struct pool *p;

    assert_int_equal(pool_open(0, 0, &p, &e), -1);
    assert_int_equal(e.code, ERR_INVALID);
    assert_int_equal(pool_open(65, 0, &p, &e), -1);
    assert_int_equal(pool_open(1, -1, &p, &e), -1);
    for (long n = 1; n <= 2; n++) {
        err_clear(&e);
        mem_fail_at(n);
        assert_int_equal(pool_open(3, 0, &p, &e), -1);
        mem_fail_at(0);
        assert_int_equal(e.code, ERR_NOMEM);
        assert_null(p);
    }
    pool_close(NULL);
}

static void test_threadpool_default_is_between_one_and_the_cores(void **state)
{
    int n = pool_default_threads();

    assert_in_range(n, 1, sysconf(_SC_NPROCESSORS_CONF));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threadpool_runs_each_thread_once),
        cmocka_unit_test(test_threadpool_barrier_waits_for_all),
        cmocka_unit_test(test_threadpool_serves_runners_in_the_order_they_came),
        cmocka_unit_test(
            test_threadpool_runners_never_compute_at_the_same_time),
        cmocka_unit_test(
            test_threadpool_workers_leave_signals_to_the_main_thread),
        cmocka_unit_test(
            test_threadpool_refuses_wrong_sizes_and_lack_of_memory),
        cmocka_unit_test(test_threadpool_default_is_between_one_and_the_cores),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
