/* SPDX-License-Identifier: MIT */
#include "models/train/gradcheck.h"
#include "tests/support/unit.h"

static double off(double n0, double n1, double a0, double a1)
{
    const double numeric[2] = {n0, n1};
    const real analytic[2] = {(real)a0, (real)a1};
    return gradcheck_off(2, numeric, analytic);
}

static void test_gradcheck_measures_by_the_largest_numeric_one(void **state)
{
    assert_true(off(1, -4, 1, -4) == 0);
    assert_true(off(1, -4, 2, -4) == 0.25);
    assert_true(off(1, -4, 1, 4) == 2); /* signed */
    assert_true(off(0, 0, 0, 0) == 0);
}

static void test_gradcheck_does_not_pass_what_is_not_finite(void **state)
{
    static const double bad[] = {NAN, INFINITY, -INFINITY};
    for (size_t i = 0; i < COUNT(bad); i++) {
        assert_false(off(1, 2, bad[i], 2) < 1);
        assert_false(off(1, 2, 1, bad[i]) < 1);
        assert_false(off(bad[i], 2, 1, 2) < 1);
        assert_false(off(1, bad[i], 1, 2) < 1);
        assert_false(off(bad[i], 2, bad[i], 2) < 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gradcheck_measures_by_the_largest_numeric_one),
        cmocka_unit_test(test_gradcheck_does_not_pass_what_is_not_finite),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
