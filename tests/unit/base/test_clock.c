/* clock: the monotonic clock does not go back; the wall clock is the system's.
 *
 * SPDX-License-Identifier: MIT */
#include <time.h>

#include "engine/base/clock.h"
#include "tests/support/unit.h"

static void test_clock_now_never_goes_back(void **state)
{
    int64_t last = clock_now_us();
    for (int i = 0; i < 10000; i++) {
        int64_t now = clock_now_us();
        assert_true(now >= last);
        last = now;
    }
}

static void test_clock_counts_microseconds(void **state)
{
    struct timespec pause = {0, 20000000};
    int64_t from = clock_now_us();
    nanosleep(&pause, NULL);
    int64_t took = clock_now_us() - from;
    assert_true(took >= 20000 && took < 10000000);
    int64_t off = clock_wall_us() / 1000000 - (int64_t)time(NULL);
    assert_true(off >= -1 && off <= 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clock_now_never_goes_back),
        cmocka_unit_test(test_clock_counts_microseconds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
