/* rng: the published vectors of SplitMix64 (seed 1234567) and xoshiro256**
 * (state 1 2 3 4), and the first moments of what is drawn.
 *
 * SPDX-License-Identifier: MIT */
#include <math.h>

#include "engine/base/rng.h"
#include "tests/support/unit.h"

#define N_DRAWS 100000
/* Five standard errors of a mean of N_DRAWS draws of variance <= 2. */
#define MEAN_TOLERANCE (5 * 1.42 / 316.2)

static const uint64_t splitmix[5] = {6457827717110365317u, 3203168211198807973u,
                                     9817491932198370423u, 4593380528125082431u,
                                     16408922859458223821u};

static void test_rng_init_is_splitmix64(void **state)
{
    struct rng r;
    rng_init(&r, 1234567);
    for (int i = 0; i < 4; i++)
        assert_true(r.s[i] == splitmix[i]);
}

/* rng_hash(seed, i) is output i of a SplitMix64 whose seed is the first output
 * of SplitMix64(seed); the inverse of that first step is known for one seed. */
static void test_rng_hash_is_splitmix64_twice(void **state)
{
    struct rng r;
    rng_init(&r, splitmix[0]);
    for (uint64_t i = 0; i < 4; i++)
        assert_true(rng_hash(1234567, i) == r.s[i]);
}

static void test_rng_next_is_xoshiro256ss(void **state)
{
    static const uint64_t want[10] = {11520u,
                                      0u,
                                      1509978240u,
                                      1215971899390074240u,
                                      1216172134540287360u,
                                      607988272756665600u,
                                      16172922978634559625u,
                                      8476171486693032832u,
                                      10595114339597558777u,
                                      2904607092377533576u};
    struct rng r = {{1, 2, 3, 4}};
    for (int i = 0; i < 10; i++)
        assert_true(rng_next(&r) == want[i]);
}

static void test_rng_uniform_is_below_one_with_the_right_mean(void **state)
{
    struct rng r;
    double sum = 0, sum_at = 0;
    rng_init(&r, 3);
    for (int i = 0; i < N_DRAWS; i++) {
        double u = rng_uniform(&r), v = rng_uniform_at(77, (uint64_t)i);
        assert_true(u >= 0 && u < 1 && v >= 0 && v < 1);
        sum += u;
        sum_at += v;
    }
    assert_true(fabs(sum / N_DRAWS - 0.5) < MEAN_TOLERANCE);
    assert_true(fabs(sum_at / N_DRAWS - 0.5) < MEAN_TOLERANCE);
}

static void test_rng_uniform_at_differs_between_neighbours(void **state)
{
    for (uint64_t i = 0; i < 1000; i++) {
        assert_true(rng_hash(5, i) != rng_hash(5, i + 1));
        assert_true(rng_hash(i, 0) != rng_hash(i + 1, 0));
        assert_true(rng_hash(i, 1) != rng_hash(i + 1, 0)); /* no shift */
    }
}

static void test_rng_normal_has_mean_0_and_variance_1(void **state)
{
    struct rng r;
    double sum = 0, squares = 0;
    rng_init(&r, 4);
    for (int i = 0; i < N_DRAWS; i++) {
        double x = rng_normal(&r);
        sum += x;
        squares += x * x;
    }
    assert_true(fabs(sum / N_DRAWS) < MEAN_TOLERANCE);
    assert_true(fabs(squares / N_DRAWS - 1) < MEAN_TOLERANCE);
}

static void test_rng_below_covers_its_range_evenly(void **state)
{
    struct rng r;
    int count[7] = {0};
    rng_init(&r, 5);
    for (int i = 0; i < 70000; i++) {
        uint32_t x = rng_below(&r, 7);
        assert_true(x < 7);
        count[x]++;
    }
    for (int i = 0; i < 7; i++) /* 10000 each, deviation 93: 6 sigma */
        assert_in_range(count[i], 9440, 10560);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(rng_below(&r, 1), 0);
        assert_true(rng_below(&r, UINT32_MAX) < UINT32_MAX);
    }
}

static void test_rng_entropy_does_not_repeat(void **state)
{
    assert_true(rng_entropy() != rng_entropy());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rng_init_is_splitmix64),
        cmocka_unit_test(test_rng_hash_is_splitmix64_twice),
        cmocka_unit_test(test_rng_next_is_xoshiro256ss),
        cmocka_unit_test(test_rng_uniform_is_below_one_with_the_right_mean),
        cmocka_unit_test(test_rng_uniform_at_differs_between_neighbours),
        cmocka_unit_test(test_rng_normal_has_mean_0_and_variance_1),
        cmocka_unit_test(test_rng_below_covers_its_range_evenly),
        cmocka_unit_test(test_rng_entropy_does_not_repeat),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
