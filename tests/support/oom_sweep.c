/* oom_sweep: see oom_sweep.h. Leaks are the address sanitizer's to find: make
 * oom runs these tests under it.
 *
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/base/mem.h"
#include "tests/support/oom_sweep.h"

#define MAX_POINTS 100000 /* a sweep that does not end is a fault of its own */

int oom_sweep(oom_fn *fn, void *arg)
{
    struct err e = ERR_INIT;
    if (fn(arg, &e)) /* also lets the C library make its one-time blocks */
        fail_msg("without a failure: %s", e.msg);
    for (long n = 1; n < MAX_POINTS; n++) {
        err_clear(&e);
        mem_count();
        mem_fail_at(n);
        int rc = fn(arg, &e);
        mem_fail_at(0);
        int fired = mem_count() >= n;
        if (!fired) {
            assert_int_equal(rc, 0);
            return (int)n - 1;
        }
        if (rc != -1 || e.code != ERR_NOMEM)
            fail_msg("allocation %ld: result %d, '%s'", n, rc, e.msg);
    }
    fail_msg("no end after %d allocations", MAX_POINTS);
    return -1;
}
