/* metric_line: see metric_line.h.
 *
 * SPDX-License-Identifier: MIT */
#include "tests/support/metric_line.h"

#include "engine/base/buf.h"
#include "engine/base/metrics.h"
#include "tests/support/unit.h"

double metric_line(const char *line)
{
    struct buf b;
    double v = -1;

    buf_init(&b, (size_t)1 << 22);
    assert_int_equal(metrics_write(&b), 0);
    const char *p = strstr(b.p, line);
    if (p)
        v = strtod(p + strlen(line), NULL);
    buf_fini(&b);
    return v;
}
