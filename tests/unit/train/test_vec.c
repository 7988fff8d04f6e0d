/* SPDX-License-Identifier: MIT */
#include "models/train/real.h"
#include "tests/support/unit.h"

/* What the gates may be off by, relative; a few units of a float's last place.
 */
#define TOLERANCE 1e-6

static void expect_close(const char *what, double x, double got, double want)
{
    if (!(fabs(got - want) <= TOLERANCE * fabs(want)))
        fail_msg("%s(%.9g) is %.9g, expected %.9g", what, x, got, want);
}

static void test_exp_tanh_and_sigmoid_are_the_c_librarys(void **state)
{
    for (int i = -200000; i <= 200000; i++) {
        real x = (real)(i * 0.0001);
        double d = (double)x;
        expect_close("exp", d, (double)real_exp(x), exp(d));
        expect_close("tanh", d, (double)real_tanh(x), tanh(d));
        expect_close("sigmoid", d, (double)real_sigmoid(x), 1 / (1 + exp(-d)));
    }
}

static void test_gates_saturate_at_extreme_arguments(void **state)
{
    assert_true(real_tanh((real)1e30) == (real)1);
    assert_true(real_tanh((real)-1e30) == (real)-1);
    assert_true(real_sigmoid((real)1e30) == (real)1);
    assert_true(real_sigmoid((real)-1e30) < (real)1e-30);
    assert_true(isnan(real_tanh((real)NAN)));
    assert_true(isnan(real_sigmoid((real)NAN)));
}

static void fill(int n, real *x)
{
    for (int i = 0; i < n; i++)
        x[i] = (real)((i * 37 % 101) - 50) / (real)16;
}

static void test_row_helpers_work_at_every_length(void **state)
{
    real x[300], b[300], y[300];
    for (int n = 1; n < 300; n++) {
        double sum = 0, dot = 0, max = -1e9, exps = 0;
        fill(n, x);
        for (int i = 0; i < n; i++) {
            b[i] = (real)(i % 7);
            y[i] = x[i];
            sum += (double)x[i];
            dot += (double)x[i] * (double)b[i];
            max = fmax(max, (double)(x[i] + b[i]));
        }
        assert_true(fabs((double)vec_sum(n, x) - sum) < 1e-3);
        assert_true(fabs((double)vec_dot(n, x, b) - dot) < 1e-2);
        assert_true((double)vec_add_max(n, b, y) == max);
        for (int i = 0; i < n; i++) {
            assert_true(y[i] == x[i] + b[i]);
            exps += exp((double)y[i] - max);
        }
        assert_true(fabs((double)vec_exp_sum(n, (real)max, y) / exps - 1) <
                    TOLERANCE);
    }
}

static void test_dropout_keeps_the_mean_and_repeats_for_a_key(void **state)
{
    enum { N = 20000 };
    static real x[N], y[N];
    for (int i = 0; i < N; i++)
        x[i] = y[i] = (real)1;
    vec_dropout(N, 77, (real)0.3, x);
    vec_dropout(N, 77, (real)0.3, y);
    int zeros = 0;
    for (int i = 0; i < N; i++) {
        assert_true(x[i] == y[i]);
        zeros += x[i] == 0;
        assert_true(x[i] == 0 || fabs((double)x[i] - 1 / 0.7) < 1e-6);
    }
    /* six standard deviations of a binomial */
    assert_true(abs(zeros - 6000) < 6 * 65);
    vec_dropout(N, 78, (real)0.3, y);
    int same = 0;
    for (int i = 0; i < N; i++)
        same += (x[i] == 0) == (y[i] == 0);
    assert_true(same < N * 9 / 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exp_tanh_and_sigmoid_are_the_c_librarys),
        cmocka_unit_test(test_gates_saturate_at_extreme_arguments),
        cmocka_unit_test(test_row_helpers_work_at_every_length),
        cmocka_unit_test(test_dropout_keeps_the_mean_and_repeats_for_a_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
