/* test_threads: the choice follows what was measured. Speeds are made up.
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads_little_work_stays_on_one),
        cmocka_unit_test(test_threads_work_is_estimated_from_parameters),
        cmocka_unit_test(test_threads_follow_the_faster_choice),
        cmocka_unit_test(test_threads_are_chosen_by_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
