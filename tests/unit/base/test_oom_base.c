/* oom: every allocation of base fails once.
 *
 * SPDX-License-Identifier: MIT */
#include <unistd.h>

#include "engine/base/buf.h"
#include "engine/base/json.h"
#include "engine/base/mem.h"
#include "engine/base/metrics.h"
#include "tests/support/oom_sweep.h"
#include "tests/support/unit.h"

static int parse_json(void *arg, struct err *e)
{
    const struct json_limits deep = {0, 100, 0}; /* a stack of its own */
    struct json *j;
    const char *text = arg;
    if (json_parse(text, strlen(text), &deep, &j, e))
        return -1;
    json_free(j);
    return 0;
}

/* Escaped keys are copied; more than 32 keys leave the stack. */
static void test_oom_json_parse(void **state)
{
    struct buf b;
    buf_init(&b, 1 << 16);
    buf_add_str(&b, "{\"\\u0061bc\":[1,\"two\",{\"x\":null}],\"z\":[[[]]]");
    for (int i = 0; i < 70; i++)
        buf_addf(&b, ",\"k\\t%d\":%d", i, i);
    buf_add_char(&b, '}');
    assert_true(oom_sweep(parse_json, b.p) > 70);
    buf_fini(&b);
}

static int load_json(void *arg, struct err *e)
{
    struct json *j;
    if (json_load(arg, "f", NULL, &j, e))
        return -1;
    json_free(j);
    return 0;
}

static void test_oom_json_load(void **state)
{
    char path[] = "/tmp/seqd-oom-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    FILE *f = fdopen(fd, "w");
    fprintf(f, "[%9000d]", 1);
    fclose(f);
    assert_true(oom_sweep(load_json, path) >= 4);
    unlink(path);
}

static int write_buf(void *arg, struct err *e)
{
    (void)arg;
    struct buf b;
    char big[3000];
    memset(big, 'x', sizeof(big));
    buf_init(&b, 1 << 20);
    buf_add_json_string(&b, "a\nb", 3);
    buf_add(&b, big, sizeof(big));
    buf_addf(&b, "%s%4000d", "y", 1);
    buf_add_float(&b, 0.1f);
    buf_add_json_string(&b, big, sizeof(big));
    int rc = b.failed ? err_nomem(e) : 0;
    buf_fini(&b);
    return rc;
}

static void test_oom_buf(void **state)
{
    assert_true(oom_sweep(write_buf, NULL) >= 3);
}

/* Without memory a metric still counts, in the series of all others. */
static void test_oom_metrics_series_is_never_null(void **state)
{
    for (long n = 1; n <= 2; n++) {
        mem_fail_at(n);
        struct metric_series *s =
            metrics_series(METRIC_BATCH_SIZE, "no memory", NULL, NULL);
        mem_fail_at(0);
        assert_non_null(s);
        metric_observe(s, 5);
        assert_true(metric_count(s, 5) == (uint64_t)n);
    }
    struct metric_series *own =
        metrics_series(METRIC_BATCH_SIZE, "no memory", NULL, NULL);
    assert_true(metric_count(own, 0) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_oom_json_parse),
        cmocka_unit_test(test_oom_json_load),
        cmocka_unit_test(test_oom_buf),
        cmocka_unit_test(test_oom_metrics_series_is_never_null),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
