/* metrics: sums are exact under threads, sizes count exactly, and the text is
 * the Prometheus form.
 *
 * SPDX-License-Identifier: MIT */
#include <pthread.h>

#include "engine/base/metrics.h"
#include "tests/support/unit.h"

#define N_THREADS 4
#define N_ADDS 5000

static char *text(struct buf *b)
{
    buf_init(b, 4 << 20);
    assert_int_equal(metrics_write(b), 0);
    return b->p;
}

static void assert_has(const char *all, const char *line)
{
    if (!strstr(all, line))
        fail_msg("missing: %s", line);
}

static void test_metrics_series_is_the_same_pointer(void **state)
{
    struct metric_series *a = metrics_series(METRIC_TOKENS, "m", "prompt", 0);
    assert_ptr_equal(a, metrics_series(METRIC_TOKENS, "m", "prompt", NULL));
    assert_ptr_not_equal(a, metrics_series(METRIC_TOKENS, "m", "other", NULL));
}

static void test_metrics_counter_gauge_and_labels(void **state)
{
    struct buf b;
    metric_add(metrics_series(METRIC_REQUESTS, "m\"1\\", "pre\ndict", "200"),
               2);
    metric_add(metrics_series(METRIC_REQUESTS, "m\"1\\", "pre\ndict", "200"),
               1);
    metric_set(metrics_series(METRIC_QUEUE_DEPTH, "q", NULL, NULL), 7);
    metric_add(metrics_series(METRIC_QUEUE_DEPTH, "q", NULL, NULL), -2);
    const char *s = text(&b);
    assert_has(s, "# TYPE seqd_requests_total counter\n");
    assert_has(s, "\nseqd_requests_total{model=\"m\\\"1\\\\\","
                  "task=\"pre\\ndict\",code=\"200\"} 3\n");
    assert_has(s, "# TYPE seqd_queue_depth gauge\n"
                  "seqd_queue_depth{model=\"q\"} 5\n");
    buf_fini(&b);
}

static void test_metrics_duration_buckets_are_cumulative(void **state)
{
    struct buf b;
    struct metric_series *d =
        metrics_series(METRIC_REQUEST_DURATION, "t", NULL, NULL);
    metric_observe(d, 0.001); /* on the limit: le */
    metric_observe(d, 0.0011);
    metric_observe(d, 100);
    const char *s = text(&b);
    assert_has(s, "_seconds_bucket{task=\"t\",le=\"0.0005\"} 0\n");
    assert_has(s, "_seconds_bucket{task=\"t\",le=\"0.001\"} 1\n");
    assert_has(s, "_seconds_bucket{task=\"t\",le=\"0.0025\"} 2\n");
    assert_has(s, "_seconds_bucket{task=\"t\",le=\"30\"} 2\n");
    assert_has(s, "_seconds_bucket{task=\"t\",le=\"+Inf\"} 3\n");
    assert_has(s, "_seconds_sum{task=\"t\"} 100.0021\n");
    assert_has(s, "_seconds_count{task=\"t\"} 3\n");
    assert_true(metric_count(d, 0) == 3);
    assert_true(metric_count(d, 30) == 1);
    buf_fini(&b);
}

static void test_metrics_sizes_count_exactly(void **state)
{
    struct buf b;
    struct metric_series *z = metrics_series(METRIC_BATCH_SIZE, "z", 0, 0);
    static const int sizes[] = {1, 31, 32, 33, 64, 1024, 5000};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        metric_observe(z, sizes[i]);
    assert_true(metric_count(z, 0) == 7);
    assert_true(metric_count(z, 31) == 6);
    assert_true(metric_count(z, 32) == 5);
    assert_true(metric_count(z, 33) == 4);
    assert_true(metric_count(z, 34) == 3);
    assert_true(metric_count(z, 1025) == 1);
    const char *s = text(&b);
    assert_has(s, "seqd_batch_size_bucket{model=\"z\",le=\"16\"} 1\n");
    assert_has(s, "seqd_batch_size_bucket{model=\"z\",le=\"32\"} 3\n");
    assert_has(s, "seqd_batch_size_bucket{model=\"z\",le=\"1024\"} 6\n");
    assert_has(s, "seqd_batch_size_bucket{model=\"z\",le=\"+Inf\"} 7\n");
    buf_fini(&b);
}

static void *add_many(void *arg)
{
    (void)arg;
    for (int i = 0; i < N_ADDS; i++) {
        char model[16];
        snprintf(model, sizeof(model), "thread%d", i % 50);
        metric_add(metrics_series(METRIC_TOKENS, model, "x", NULL), 1);
        metric_observe(metrics_series(METRIC_BATCH_SIZE, model, 0, 0), 2);
    }
    return NULL;
}

static void test_metrics_threads_lose_nothing(void **state)
{
    pthread_t t[N_THREADS];
    struct buf b;
    for (int i = 0; i < N_THREADS; i++)
        assert_int_equal(pthread_create(&t[i], NULL, add_many, NULL), 0);
    for (int i = 0; i < N_THREADS; i++)
        pthread_join(t[i], NULL);
    const char *s = text(&b);
    for (int i = 0; i < 50; i++) {
        char line[128];
        snprintf(line, sizeof(line),
                 "seqd_tokens_total{model=\"thread%d\",kind=\"x\"} %d\n", i,
                 N_THREADS * N_ADDS / 50);
        assert_has(s, line);
        snprintf(line, sizeof(line),
                 "seqd_batch_size_sum{model=\"thread%d\"} %d\n", i,
                 2 * N_THREADS * N_ADDS / 50);
        assert_has(s, line);
    }
    buf_fini(&b);
}

static void test_metrics_overflow_goes_to_other(void **state)
{
    struct buf b;
    struct metric_series *last = NULL, *more = NULL;
    for (int i = 0; i < 300; i++) {
        char reason[16];
        snprintf(reason, sizeof(reason), "r%d", i);
        more = metrics_series(METRIC_CANCELLED, reason, NULL, NULL);
        assert_non_null(more);
        metric_add(more, 1);
        last = i == 298 ? more : last;
    }
    assert_ptr_equal(last, more);
    const char *s = text(&b);
    assert_has(s, "requests_cancelled_total{reason=\"other\"} 44\n");
    assert_has(s, "requests_cancelled_total{reason=\"r255\"} 1\n");
    assert_null(strstr(s, "reason=\"r256\""));
    buf_fini(&b);
}

/* Each line is a comment, or a name, optional labels and a number. */
static void test_metrics_text_is_well_formed(void **state)
{
    struct buf b;
    const char *s = text(&b);
    assert_int_equal(b.p[b.len - 1], '\n');
    while (*s) {
        size_t n = strcspn(s, "\n");
        if (*s != '#') {
            const char *number = s + n;
            while (number > s && number[-1] != ' ')
                number--;
            assert_true(number > s && (s[0] == 's' || s[0] == 'p'));
            assert_true(strspn(number, "0123456789.e-") ==
                        strcspn(number, "\n"));
        } else {
            assert_true(strncmp(s, "# HELP ", 7) == 0 ||
                        strncmp(s, "# TYPE ", 7) == 0);
        }
        s += n + 1;
    }
    static const char *const process[] = {"process_cpu_seconds_total ",
                                          "process_resident_memory_bytes ",
                                          "process_open_fds ",
                                          "process_start_time_seconds ",
                                          "process_virtual_memory_bytes ",
                                          "process_max_fds "};
    for (size_t i = 0; i < sizeof(process) / sizeof(process[0]); i++)
        assert_has(b.p, process[i]);
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_metrics_series_is_the_same_pointer),
        cmocka_unit_test(test_metrics_counter_gauge_and_labels),
        cmocka_unit_test(test_metrics_duration_buckets_are_cumulative),
        cmocka_unit_test(test_metrics_sizes_count_exactly),
        cmocka_unit_test(test_metrics_threads_lose_nothing),
        cmocka_unit_test(test_metrics_overflow_goes_to_other),
        cmocka_unit_test(test_metrics_text_is_well_formed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
