/* test_pause: jobs whose readers are behind (job_pause). They give their places
 * away, keep their states while there is memory, and go on with the same
 * tokens; deadlines, cancelling and the end of the engine find them.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/base/clock.h"
#include "engine/run/engine.h"
#include "tests/support/chain_fix.h"
#include "tests/support/unit.h"

#define LONG 500 /* tokens */

static struct flat_spec writer(const struct fix *f, int len, int tokens)
{
    struct flat_spec s = fix_spec(f, &task_generate, fix_words, len);
    s.max_tokens = tokens;
    return s;
}

/* A job that has made some steps and is paused; nothing is held any more. */
static void begin_and_pause(struct fix *f, struct flat_spec *s,
                            struct watched *j)
{
    fix_hold(f, s, 1, j, 10);
    job_pause(j->job, 1);
    atomic_store(&fake_stats.hold, 0);
}

static void test_pause_gives_the_place_to_others(void **state)
{
    struct fix f;
    struct watched j = {0}, other = {0};
    fix_open(&f, &chain, &(struct engine_options){.max_rows = 1});
    struct flat_spec s = writer(&f, 2, LONG), one = writer(&f, 3, 20);
    begin_and_pause(&f, &s, &j);
    fix_submit(&f, &one, 1, &other);
    assert_int_equal(watch_wait(&f.w, 1), 0);
    check_chain(&other, 3, 20);
    assert_int_equal(j.n_final, 0);
    job_pause(j.job, 0);
    assert_int_equal(watch_wait(&f.w, 2), 0);
    check_chain(&j, 2, LONG);
    /* Its state was kept: no token was read twice. */
    assert_true(atomic_load(&fake_stats.tokens) <= LONG + 2 + 20 + 3);
    watch_release(&other, 1);
    fix_end(&f, &j, 1);
}

static void test_pause_makes_no_step(void **state)
{
    struct fix f;
    struct watched j = {0};
    fix_open(&f, &chain, NULL);
    struct flat_spec s = writer(&f, 2, LONG);
    begin_and_pause(&f, &s, &j);
    usleep(20000); /* the step that had begun */
    int before = atomic_load(&fake_stats.steps);
    usleep(50000);
    assert_int_equal(atomic_load(&fake_stats.steps), before);
    assert_true(before < LONG);
    job_pause(j.job, 0);
    assert_int_equal(watch_wait(&f.w, 1), 0);
    fix_end(&f, &j, 1);
}

static void test_pause_of_a_job_that_waits(void **state)
{
    struct fix f;
    struct watched first = {0}, j = {0};
    fix_open(&f, &chain, &(struct engine_options){.max_rows = 1});
    struct flat_spec a = writer(&f, 2, 50), b = writer(&f, 5, 50);
    fix_hold(&f, &a, 1, &first, 5);
    fix_submit(&f, &b, 1, &j);
    fake_pass(1);
    job_pause(j.job, 1);
    fix_go(&f, 1);
    usleep(20000);
    assert_int_equal(j.n_final, 0);
    job_pause(j.job, 0);
    assert_int_equal(watch_wait(&f.w, 2), 0);
    check_chain(&first, 2, 50);
    check_chain(&j, 5, 50);
    watch_release(&first, 1);
    fix_end(&f, &j, 1);
}

/* Another job needs the memory: the paused one loses its state, not its
 * answer. */
static void test_pause_without_memory_gives_the_same_answer(void **state)
{
    enum { LEN = 140, ALL = CHAIN_PAGES * CHAIN_PAGE };
    struct fix f;
    struct watched j = {0}, other = {0};
    chain_open_paged(&f, 0);
    struct flat_spec s = writer(&f, LEN, 300);
    struct flat_spec one = writer(&f, LEN, ALL - LEN - CHAIN_PAGE);
    one.tokens = fix_words + 1; /* no common beginning */
    begin_and_pause(&f, &s, &j);
    fix_submit(&f, &one, 1, &other);
    assert_int_equal(watch_wait(&f.w, 1), 0);
    assert_int_equal(other.final, JOB_DONE);
    assert_int_equal(j.n_final, 0);
    job_pause(j.job, 0);
    assert_int_equal(watch_wait(&f.w, 2), 0);
    check_chain(&j, LEN, 300);
    /* What it had read was read again. */
    assert_true(atomic_load(&fake_stats.tokens) >
                LEN + 299 + ALL - CHAIN_PAGE - 1 + LEN / 2);
    watch_release(&other, 1);
    fix_end(&f, &j, 1);
}

/* One that never began is older than one that keeps its state and needs the
 * memory of it; both go on at once. */
static void test_pause_of_an_older_one_that_had_not_begun(void **state)
{
    enum { LEN = 140, ALL = 500, MADE = 10 };
    struct fix f;
    struct watched first = {0}, old = {0}, begun = {0}, other = {0};
    chain_open_paged(&f, 1);
    struct flat_spec a = writer(&f, 2, 3), b = writer(&f, LEN, MADE);
    struct flat_spec c = writer(&f, ALL, MADE), d = writer(&f, 3, 3);
    b.tokens = fix_words + 1; /* no common beginning */
    d.client = 1;
    fix_hold(&f, &a, 1, &first, 1);
    fix_submit(&f, &b, 1, &old);
    fix_submit(&f, &c, 1, &begun);
    job_pause(old.job, 1);
    fake_pass(3 + ALL / chain.max_chain + 4);
    job_pause(begun.job, 1);
    fix_submit(&f, &d, 1, &other);
    fake_pass(2);
    job_pause(old.job, 0);
    job_pause(begun.job, 0);
    fix_go(&f, 4);
    check_chain(&old, LEN + 1, MADE);
    check_chain(&begun, ALL, MADE);
    watch_release(&first, 1);
    watch_release(&begun, 1);
    watch_release(&other, 1);
    fix_end(&f, &old, 1);
}

static void check_failed(const struct watched *j, enum err_code code)
{
    assert_int_equal(j->final, JOB_FAILED);
    assert_int_equal(job_error(j->job)->code, code);
}

static void test_pause_ends_when_it_is_cancelled(void **state)
{
    struct fix f;
    struct watched j = {0};
    fix_open(&f, &chain, NULL);
    struct flat_spec s = writer(&f, 2, LONG);
    begin_and_pause(&f, &s, &j);
    usleep(20000); /* the runner sleeps */
    job_cancel(j.job);
    assert_int_equal(watch_wait(&f.w, 1), 0);
    check_failed(&j, ERR_CANCELLED);
    fix_end(&f, &j, 1);
}

static void test_pause_does_not_stop_the_deadline(void **state)
{
    struct fix f;
    struct watched j = {0};
    fix_open(&f, &chain, NULL);
    struct flat_spec s = writer(&f, 2, LONG);
    s.deadline_us = clock_now_us() + 100000;
    begin_and_pause(&f, &s, &j);
    assert_int_equal(watch_wait(&f.w, 1), 0);
    assert_true(clock_now_us() >= s.deadline_us);
    check_failed(&j, ERR_TIMEOUT);
    fix_end(&f, &j, 1);
}

static void test_pause_ends_with_the_engine(void **state)
{
    struct fix f;
    struct watched j = {0};
    fix_open(&f, &chain, NULL);
    struct flat_spec s = writer(&f, 2, LONG);
    begin_and_pause(&f, &s, &j);
    usleep(20000);
    fix_shut(&f);
    assert_int_equal(j.n_final, 1);
    check_failed(&j, ERR_DRAINING);
    watch_release(&j, 1);
    fix_check(&f);
}

/* Back and forth, while others come and go. */
static void test_pause_again_and_again(void **state)
{
    enum { N = 6, TURNS = 40 };
    struct fix f;
    struct flat_spec s[N];
    struct watched j[N] = {{0}};
    fix_open(&f, &chain, &(struct engine_options){.max_rows = 3});
    for (int i = 0; i < N; i++) {
        s[i] = writer(&f, 2 + i, LONG);
        s[i].client = 1 + (uint64_t)i % 2;
        fix_submit(&f, &s[i], 1, &j[i]);
    }
    for (int t = 0; t < TURNS; t++) {
        job_pause(j[t % N].job, 1);
        job_pause(j[(t + 3) % N].job, 0);
        usleep(200);
    }
    for (int i = 0; i < N; i++)
        job_pause(j[i].job, 0);
    assert_int_equal(watch_wait(&f.w, N), 0);
    for (int i = 0; i < N; i++)
        check_chain(&j[i], 2 + i, LONG);
    fix_end(&f, j, N);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pause_gives_the_place_to_others),
        cmocka_unit_test(test_pause_makes_no_step),
        cmocka_unit_test(test_pause_of_a_job_that_waits),
        cmocka_unit_test(test_pause_without_memory_gives_the_same_answer),
        cmocka_unit_test(test_pause_of_an_older_one_that_had_not_begun),
        cmocka_unit_test(test_pause_ends_when_it_is_cancelled),
        cmocka_unit_test(test_pause_does_not_stop_the_deadline),
        cmocka_unit_test(test_pause_ends_with_the_engine),
        cmocka_unit_test(test_pause_again_and_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
