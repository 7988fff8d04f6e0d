/* test_queue: order, limits and wake-ups between threads. The jobs are bare
 * structs: the queue looks at their links only.
 *
 * SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/run/queue.h"
#include "tests/support/unit.h"

#define N 3000
#define PRODUCERS 3

struct producer {
    struct queue *q;
    struct job job[N];
};

static void link_jobs(struct job *j, int n)
{
    for (int i = 0; i + 1 < n; i++)
        j[i].next = &j[i + 1];
}

/* Groups of 1, 2 and 3, pushed again while the queue is full. */
static void *produce(void *arg)
{
    struct producer *p = arg;
    for (int i = 0; i < N;) {
        int n = 1 + i % 3;
        n = i + n > N ? N - i : n;
        link_jobs(p->job + i, n);
        if (queue_push(p->q, p->job + i, p->job + i + n - 1, n, NULL) == 0)
            i += n;
        else
            usleep(20);
    }
    return NULL;
}

static void test_queue_keeps_the_order_of_each_thread(void **state)
{
    static struct producer p[PRODUCERS];
    pthread_t t[PRODUCERS];
    struct queue q;
    int next[PRODUCERS] = {0}, got = 0;
    assert_int_equal(queue_init(&q, 50, NULL), 0);
    for (int i = 0; i < PRODUCERS; i++) {
        p[i].q = &q;
        assert_int_equal(pthread_create(&t[i], NULL, produce, &p[i]), 0);
    }
    while (got < PRODUCERS * N) {
        int n = 0;
        queue_wait(&q, got % 2 ? 5 : 0, 0);
        for (struct job *j = queue_take(&q), *after; j; j = after) {
            after = j->next;
            for (int i = 0; i < PRODUCERS; i++)
                if (j >= p[i].job && j < p[i].job + N)
                    assert_int_equal(j - p[i].job, next[i]++);
            n++;
        }
        assert_true(n <= 50);
        queue_begun(&q, n);
        got += n;
    }
    for (int i = 0; i < PRODUCERS; i++) {
        pthread_join(t[i], NULL);
        assert_int_equal(next[i], N);
    }
    assert_int_equal(atomic_load(&q.waiting), 0);
    assert_null(queue_take(&q));
    queue_fini(&q);
}

static void test_queue_refuses_when_full_or_closed(void **state)
{
    struct queue q;
    struct job j[6];
    struct err e = ERR_INIT, e2 = ERR_INIT, e3 = ERR_INIT;
    memset(j, 0, sizeof(j));
    assert_int_equal(queue_init(&q, 4, NULL), 0);
    link_jobs(j, 3);
    assert_int_equal(queue_push(&q, &j[0], &j[2], 3, &e), 0);
    assert_ptr_equal(queue_take(&q), &j[0]);
    /* Taken, but not begun: they count. */
    assert_int_equal(queue_push(&q, &j[3], &j[4], 2, &e), -1);
    assert_int_equal(e.code, ERR_BUSY);
    assert_int_equal(queue_push(&q, &j[3], &j[3], 1, &e), 0);
    queue_begun(&q, 3);
    assert_int_equal(queue_push(&q, &j[0], &j[2], 5, &e2), -1);
    assert_int_equal(e2.code, ERR_TOO_LARGE);
    queue_close(&q);
    assert_int_equal(queue_push(&q, &j[5], &j[5], 1, &e3), -1);
    assert_int_equal(e3.code, ERR_DRAINING);
    assert_ptr_equal(queue_take(&q), &j[3]);
    queue_fini(&q);
}

static void *wake_later(void *arg)
{
    usleep(3000);
    queue_wake(arg);
    return NULL;
}

static void test_queue_wait_ends_by_time_or_by_a_wake(void **state)
{
    struct queue q;
    pthread_t t;
    assert_int_equal(queue_init(&q, 4, NULL), 0);
    int64_t begin = clock_now_us();
    queue_wait(&q, 100, 2000);
    assert_true(clock_now_us() - begin >= 2000);
    assert_int_equal(pthread_create(&t, NULL, wake_later, &q), 0);
    queue_wait(&q, 0, 0);
    pthread_join(t, NULL);
    assert_null(queue_take(&q)); /* a wake-up is no job, and it is used up */
    assert_int_equal(atomic_load(&q.fresh), 0);
    queue_fini(&q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_queue_keeps_the_order_of_each_thread),
        cmocka_unit_test(test_queue_refuses_when_full_or_closed),
        cmocka_unit_test(test_queue_wait_ends_by_time_or_by_a_wake),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
