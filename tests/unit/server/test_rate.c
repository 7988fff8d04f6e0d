/* rate: buckets by a clock of the test's own.
 *
 * SPDX-License-Identifier: MIT */
#include "server/http/rate.h"
#include "tests/support/unit.h"

#define S 1000000

static void test_rate_gives_so_many_a_minute(void **state)
{
    struct rate *r;
    int64_t t = 5 * S;
    assert_int_equal(rate_open(4, &r, NULL), 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(rate_take(r, 7, t), 0);
    assert_int_equal(rate_take(r, 7, t), 15 * S);
    assert_int_equal(rate_take(r, 7, t + 5 * S), 10 * S); /* costs nothing */
    assert_int_equal(rate_take(r, 8, t), 0); /* another one has its own */
    assert_int_equal(rate_take(r, 7, t + 15 * S), 0);
    assert_int_equal(rate_take(r, 7, t + 15 * S), 15 * S);
    /* a minute of silence, or a year of it, fills it again, and no more */
    for (int k = 1; k < 3; k++) {
        t += 365LL * 86400 * S;
        for (int i = 0; i < 4; i++)
            assert_int_equal(rate_take(r, 7, t), 0);
        assert_true(rate_take(r, 7, t) > 0);
    }
    rate_close(r);
    rate_close(NULL);
}

/* More clients than there are places: none is kept waiting for another. */
static void test_rate_forgets_full_buckets_first(void **state)
{
    struct rate *r;
    assert_int_equal(rate_open(1, &r, NULL), 0);
    assert_int_equal(rate_take(r, 1, 70 * S), 0);
    for (uint64_t i = 1; i < 100000; i++) /* full long ago, all of one set */
        assert_int_equal(rate_take(r, 1 + (i << 10), 1), 0);
    assert_true(rate_take(r, 1, 71 * S) > 0);
    for (uint64_t i = 2; i < 100000; i++)
        assert_int_equal(rate_take(r, i * 0x9e3779b97f4a7c15u, 80 * S), 0);
    rate_close(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rate_gives_so_many_a_minute),
        cmocka_unit_test(test_rate_forgets_full_buckets_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
