/* test_pace: the choices follow what was measured. Speeds are made up.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/run/pace.h"
#include "tests/support/unit.h"

/* Run n steps on a machine where one thread takes `one` us for the work and
 * all take `all`; returns how many steps used one thread. */
static int play(struct pace *t, double work, int n, double one, double all)
{
    int ones = 0;
    for (int i = 0; i < n; i++) {
        int k = pace_pick(t, work, 2);
        assert_true(k == 1 || k == 2);
        pace_note(t, work, k, k == 1 ? one : all);
        ones += k == 1;
    }
    return ones;
}

static void test_threads_little_work_stays_on_one(void **state)
{
    struct pace t = {0};
    assert_int_equal(pace_pick(&t, 0, 8), 1);
    assert_int_equal(pace_pick(&t, 1.9e6, 8), 1);
    assert_int_equal(pace_pick(&t, 2e6, 8), 2);
    assert_int_equal(pace_pick(&t, 5e6, 8), 5);
    assert_int_equal(pace_pick(&t, 1e12, 8), 8);
    assert_int_equal(pace_pick(&t, 1e12, 1), 1);
}

static void test_threads_work_is_estimated_from_parameters(void **state)
{
    struct model_info a = {.parameters = 1000};
    struct model_info b = {.token_flops = 10, .row_flops = 100};
    assert_true(pace_work(&a, 3, 2) == 6000);
    assert_true(pace_work(&b, 3, 2) == 230);
}

static void test_threads_follow_the_faster_choice(void **state)
{
    struct pace t = {0};
    /* Two threads are faster: one is tried seldom. */
    assert_true(play(&t, 1e8, 2000, 100, 60) < 20);
    /* A neighbour takes a core: one thread soon, and nearly always. */
    assert_true(play(&t, 1e8, 2000, 110, 900) > 1960);
    /* It leaves again. */
    assert_true(play(&t, 1e8, 4000, 100, 60) < 1500);
    assert_true(play(&t, 1e8, 2000, 100, 60) < 20);
}

static void test_threads_are_chosen_by_size(void **state)
{
    struct pace t = {0};
    for (int i = 0; i < 500; i++) {
        play(&t, 2e6, 1, 10, 30);
        play(&t, 1e9, 1, 5000, 2600);
    }
    assert_true(play(&t, 2e6, 100, 10, 30) > 95);
    assert_true(play(&t, 1e9, 100, 5000, 2600) < 5);
}

/* A step costs 300 us and 20 us a row: 15 rows more double one of none. */
static void test_threads_work_beside_is_what_doubles_the_step(void **state)
{
    struct pace t = {0};
    for (int i = 0; i < 20; i++)
        for (int rows = 1; rows <= 64; rows *= 2)
            pace_see(&t, 1e6 * rows, 300 + 20 * rows);
    for (int rows = 3; rows <= 8; rows++) {
        double got = pace_beside(&t, 1e6 * rows) / 1e6;
        if (got < rows + 14.9 || got > rows + 15.1)
            fail_msg("%d rows: %g beside", rows, got);
    }
}

/* Every twentieth step loses its core for a while. */
static void test_threads_work_beside_is_not_misled_by_lost_cores(void **state)
{
    struct pace t = {0};
    for (int i = 0; i < 400; i++)
        for (int rows = 1; rows <= 64; rows *= 2) {
            double us = 300 + 20 * rows;
            pace_see(&t, 1e6 * rows, i % 20 == rows % 3 ? us + 60000 : us);
        }
    double got = pace_beside(&t, 4e6) / 1e6;
    if (got < 17 || got > 21)
        fail_msg("%g beside", got);
}

/* One slow step of a size that is not seen again is forgotten. */
static void test_threads_work_beside_forgets_what_is_stale(void **state)
{
    struct pace t = {0};
    pace_see(&t, 64e6, 16000);
    for (int i = 0; i < 600; i++)
        pace_see(&t, i % 2 ? 1e6 : 3e6, i % 2 ? 320 : 360);
    /* 300 us and 20 a row; never more than 8 times the work. */
    double got = pace_beside(&t, 3e6) / 1e6;
    if (got < 17.9 || got > 18.1)
        fail_msg("%g beside", got);
    assert_true(pace_beside(&t, 1e6) == 8e6);
}

static void test_threads_work_beside_is_twice_when_nothing_is_known(void **st)
{
    struct pace t = {0};
    assert_true(pace_beside(&t, 5) == 10);
    pace_see(&t, 0, 10); /* no work, no time: no point */
    pace_see(&t, 10, 0);
    for (int i = 0; i < 100; i++)
        pace_see(&t, 1e6, 40 + i % 3); /* one size says nothing */
    assert_true(pace_beside(&t, 1e6) == 2e6);
    pace_see(&t, 64e6, 64 * 41); /* rows share nothing */
    double got = pace_beside(&t, 1e6);
    if (got < 2e6 || got > 2.5e6)
        fail_msg("%g beside", got);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads_little_work_stays_on_one),
        cmocka_unit_test(test_threads_work_is_estimated_from_parameters),
        cmocka_unit_test(test_threads_follow_the_faster_choice),
        cmocka_unit_test(test_threads_are_chosen_by_size),
        cmocka_unit_test(test_threads_work_beside_is_what_doubles_the_step),
        cmocka_unit_test(test_threads_work_beside_forgets_what_is_stale),
        cmocka_unit_test(test_threads_work_beside_is_not_misled_by_lost_cores),
        cmocka_unit_test(
            test_threads_work_beside_is_twice_when_nothing_is_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
