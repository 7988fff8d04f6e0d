/* What no client library sends: framing that two parsers could read
 * differently, bodies that do not come, headers without end, clients that
 * leave. Each case also checks that the server goes on.
 *
 * SPDX-License-Identifier: MIT */
#include "tests/support/http_rig.h"

static struct http_rig rig;

static int up(void **state)
{
    return http_rig_up(
        &rig, "--body-timeout-ms 150 --janitor-ms 10 --max-output-tokens "
              "1048576 --idle-timeout-s 1 --max-body 100000");
}

static int down(void **state)
{
    return http_rig_down(&rig);
}

/* Answers in a raw text. */
static int count_answers(const char *text)
{
    int n = 0;
    for (const char *p = text; (p = strstr(p, "HTTP/1.1 ")) != NULL; p += 9)
        n++;
    return n;
}

#define BODY "{\"input\":\"the\"}" /* 15 bytes */
#define POST "POST /predict HTTP/1.1\r\n"
#define JSON "Content-Type: application/json\r\n"
#define SMUGGLED "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"

static void test_ambiguous_framing_is_refused_and_closed(void **state)
{
    static const char *const cases[] = {
        POST "Host: a\r\n" JSON
             "Content-Length: 15\r\nContent-Length: 15\r\n\r\n" BODY SMUGGLED,
        POST "Host: a\r\n" JSON
             "Content-Length: 0\r\nContent-Length: 35\r\n\r\n" SMUGGLED,
        POST "Host: a\r\n" JSON
             "Content-Length: 35\r\ncontent-length: 0\r\n\r\n" SMUGGLED,
        POST "Host: a\r\n" JSON "Content-Length: 15\r\nTransfer-Encoding: "
             "chunked\r\n\r\nf\r\n" BODY "\r\n0\r\n\r\n" SMUGGLED,
        POST "Host: a\r\n" JSON "Transfer-Encoding: chunked\r\nContent-"
             "Length: 15\r\n\r\nf\r\n" BODY "\r\n0\r\n\r\n" SMUGGLED,
        POST "Host: a\r\n" JSON
             "Transfer-Encoding: chunked\r\nTransfer-Encoding: "
             "identity\r\n\r\nf\r\n" BODY "\r\n0\r\n\r\n" SMUGGLED,
        POST "Host: a\r\n" JSON "Transfer-Encoding: xchunked\r\n\r\n" SMUGGLED,
        POST "Host: a\r\n" JSON
             "Transfer-Encoding: gzip, chunked\r\n\r\n" SMUGGLED,
        POST "Host: a\r\nHost: b\r\n" JSON
             "Content-Length: 15\r\n\r\n" BODY SMUGGLED,
        POST "Host: a\r\n" JSON "Content-Length: +15\r\n\r\n" BODY SMUGGLED,
        POST "Host: a\r\n" JSON "Content-Length: 0x0f\r\n\r\n" BODY SMUGGLED,
        POST "Host: a\r\n" JSON "Content-Length: 15, 15\r\n\r\n" BODY SMUGGLED,
        POST "Host: a\r\n" JSON "Content-Length: -15\r\n\r\n" BODY SMUGGLED,
        POST "Host: a\r\n" JSON
             "Content-Length: 99999999999999999999\r\n\r\n" BODY SMUGGLED,
        POST "Host: a\r\n" JSON "Content-Length : 15\r\n\r\n" BODY SMUGGLED,
        POST "Host: a\r\n" JSON
             "Transfer-Encoding : chunked\r\nContent-Length: 15\r\n\r\n" BODY
                 SMUGGLED,
        POST "Host: a\r\n" JSON
             "Content-Length: 15\r\nX Y: 1\r\n\r\n" BODY SMUGGLED,
        "POST /predict HTTP/1.0\r\nHost: a\r\n" JSON
        "Transfer-Encoding: chunked\r\n\r\nf\r\n" BODY "\r\n0\r\n\r\n" SMUGGLED,
        POST "Host: a\r\n" JSON "Content-Length: 3\r\n 5\r\n\r\n" SMUGGLED,
        POST "Host: a\r\n" JSON "Content-Length:\r\n 35\r\n\r\n" SMUGGLED,
        POST "Host: a\r\n" JSON
             "Transfer-Encoding:\r\n\tchunked\r\n\r\n0\r\n\r\n" SMUGGLED,
        "GET /livez HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer a\r\n"
        "Authorization: Bearer b\r\n\r\n" SMUGGLED,
    };
    static char out[65536];
    int bad = 0;
    const char *no_route = "seqd_requests_total{model=\"\",task=\"none\","
                           "code=\"404\"}";
    double before = metric_value(rig.s.port, no_route);
    for (size_t i = 0; i < COUNT(cases); i++) {
        raw_ask(rig.s.port, cases[i], out, sizeof out);
        if (strncmp(out, "HTTP/1.1 400", 12) &&
            strncmp(out, "HTTP/1.1 413", 12)) {
            fprintf(stderr, "case %zu: %.200s\n", i, out);
            bad = 1;
        }
        char *id = strstr(out, "X-Request-Id:");
        if (strstr(out, "not_found") || (id && strstr(id + 1, "X-Request-Id")))
            bad = 1;
    }
    assert_false(bad);
    /* No route of that name was ever looked for; the count does count. */
    assert_true(metric_value(rig.s.port, no_route) == before);
    struct answer a;
    http_get(rig.s.port, "/smuggled", &a);
    answer_free(&a);
    assert_true(metric_value(rig.s.port, no_route) == before + 1);
    assert_true(http_healthy(rig.s.port));
}

static void test_a_refused_header_says_why_in_json(void **state)
{
    static char out[4096];
    raw_ask(rig.s.port,
            POST "Host: a\r\n" JSON
                 "Content-Length: 0\r\nContent-Length: 15\r\n\r\n",
            out, sizeof out);
    assert_non_null(strstr(out, "\"code\":\"invalid_request\""));
    assert_non_null(strstr(out, "more than one Content-Length"));
    assert_non_null(strstr(out, "X-Request-Id: "));
}

static void test_a_target_may_be_a_whole_url(void **state)
{
    static const struct {
        const char *target, *begin;
    } rows[] = {{"http://a/livez", "HTTP/1.1 200"},
                {"HTTP://a:8080/v1/models/words?x=/", "HTTP/1.1 200"},
                {"http://a", "HTTP/1.1 200"},
                {"http://a/nothing", "HTTP/1.1 404"},
                {"ftp://a/livez", "HTTP/1.1 404"}};
    static char out[65536];
    char ask[200];
    for (size_t i = 0; i < COUNT(rows); i++) {
        snprintf(ask, sizeof ask,
                 "GET %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
                 rows[i].target);
        raw_ask(rig.s.port, ask, out, sizeof out);
        assert_memory_equal(out, rows[i].begin, strlen(rows[i].begin));
    }
}

static void test_a_request_without_host_is_refused(void **state)
{
    static char out[4096];
    raw_ask(rig.s.port, "GET /livez HTTP/1.1\r\n\r\n", out, sizeof out);
    assert_int_equal(strncmp(out, "HTTP/1.1 400", 12), 0);
    assert_true(http_healthy(rig.s.port));
}

static void test_pipelined_requests_are_answered_in_order(void **state)
{
    static char out[8192];
    raw_ask(rig.s.port,
            "GET /livez HTTP/1.1\r\nHost: a\r\n\r\n" POST "Host: a\r\n" JSON
            "Content-Length: 15\r\n\r\n" BODY
            "GET /version HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            out, sizeof out);
    assert_int_equal(count_answers(out), 3);
    const char *a = strstr(out, "\"live\""), *b = strstr(out, "predictions"),
               *c = strstr(out, "\"version\"");
    assert_true(a && b && c && a < b && b < c);
}

static void test_a_chunked_body_is_read(void **state)
{
    static char out[8192];
    raw_ask(rig.s.port,
            POST "Host: a\r\nConnection: close\r\n" JSON
                 "Transfer-Encoding: chunked\r\n\r\n4\r\n{\"in\r\nb\r\nput\":"
                 "\"the\"}\r\n0\r\n\r\n",
            out, sizeof out);
    assert_int_equal(strncmp(out, "HTTP/1.1 200", 12), 0);
}

static void test_a_body_that_does_not_come_is_408(void **state)
{
    static char out[8192];
    int closed;
    double start = now_s();
    int fd = raw_open(rig.s.port);
    raw_say(fd, POST "Host: a\r\n" JSON "Content-Length: 15\r\n\r\n{\"in");
    raw_hear(fd, out, sizeof out, NULL, 5000, &closed);
    raw_close(fd);
    assert_int_equal(strncmp(out, "HTTP/1.1 408", 12), 0);
    assert_non_null(strstr(out, "\"code\":\"request_timeout\""));
    assert_true(closed);
    assert_true(now_s() - start < 4);
    assert_true(http_healthy(rig.s.port));
}

static void test_a_body_that_drips_is_408_too(void **state)
{
    static char out[8192];
    int fd = raw_open(rig.s.port);
    raw_say(fd, POST "Host: a\r\n" JSON "Content-Length: 15000\r\n\r\n");
    double end = now_s() + 5;
    out[0] = '\0';
    while (!out[0] && now_s() < end) {
        raw_say(fd, " ");
        raw_hear(fd, out, sizeof out, NULL, 20, NULL);
    }
    raw_close(fd);
    assert_int_equal(strncmp(out, "HTTP/1.1 408", 12), 0);
}

static void test_a_header_that_is_too_large_is_431(void **state)
{
    static char text[70000], out[8192];
    int n =
        snprintf(text, sizeof text, "GET /livez HTTP/1.1\r\nHost: a\r\nX: ");
    memset(text + n, 'x', sizeof text - (size_t)n - 5);
    memcpy(text + sizeof text - 5, "\r\n\r\n", 5);
    raw_ask(rig.s.port, text, out, sizeof out);
    assert_true(strstr(out, " 431 ") || strstr(out, " 413 "));
    assert_true(http_healthy(rig.s.port));
}

static void test_a_large_body_is_refused_before_it_is_sent(void **state)
{
    static char out[8192];
    raw_ask(rig.s.port,
            POST "Host: a\r\n" JSON "Expect: 100-continue\r\n"
                 "Content-Length: 100001\r\n\r\n",
            out, sizeof out);
    assert_int_equal(strncmp(out, "HTTP/1.1 413", 12), 0);
    assert_int_equal(count_answers(out), 1);
    raw_ask(rig.s.port,
            POST "Host: a\r\n" JSON "Content-Length: 100001\r\n\r\n{", out,
            sizeof out);
    assert_int_equal(strncmp(out, "HTTP/1.1 413", 12), 0);
    assert_non_null(strstr(out, "\"code\":\"body_too_large\""));
}

static void test_expect_continue_is_answered_for_a_body_we_take(void **state)
{
    static char out[8192];
    int fd = raw_open(rig.s.port);
    raw_say(fd, POST "Host: a\r\nConnection: close\r\n" JSON
                     "Expect: 100-continue\r\nContent-Length: 15\r\n\r\n");
    raw_hear(fd, out, sizeof out, "\r\n\r\n", 2000, NULL);
    assert_int_equal(strncmp(out, "HTTP/1.1 100", 12), 0);
    raw_say(fd, BODY);
    raw_hear(fd, out, sizeof out, NULL, 2000, NULL);
    raw_close(fd);
    assert_int_equal(strncmp(out, "HTTP/1.1 200", 12), 0);
}

static void test_an_idle_connection_is_closed(void **state)
{
    static char out[64];
    int closed;
    int fd = raw_open(rig.s.port);
    raw_hear(fd, out, sizeof out, NULL, 6000, &closed);
    raw_close(fd);
    assert_true(closed);
}

static void test_a_header_that_drips_is_closed_too(void **state)
{
    static char out[4096];
    int closed = 0;
    int fd = raw_open(rig.s.port);
    raw_say(fd, "GET /livez HTTP/1.1\r\nHost: a\r\nX-Slow: ");
    double end = now_s() + 8;
    while (!closed && now_s() < end) {
        raw_say(fd, "x"); /* the timeout is that of the whole head */
        raw_hear(fd, out, sizeof out, NULL, 100, &closed);
    }
    raw_close(fd);
    assert_true(closed);
    assert_true(http_healthy(rig.s.port));
}

static void test_a_client_that_leaves_stops_its_work(void **state)
{
    static const char body[] =
        "{\"input\":[\"the\",\"a\"],\"max_tokens\":1048576}";
    double before = metric_value(rig.s.port, HTTP_GONE);
    int fd = raw_post(rig.s.port, "/generate", body);
    sleep_ms(50);
    assert_true(metric_value(rig.s.port, HTTP_GONE) == before);
    raw_close(fd);
    http_wait_metric(rig.s.port, HTTP_GONE, before + 2);
    assert_true(http_healthy(rig.s.port));
}

/* The worker has long texts to read, and behind them requests whose clients are
 * gone: nothing that it looks at is the connection's. */
static void test_clients_that_leave_the_worker_harm_nobody(void **state)
{
    enum { N = 8 };
    static char body[90000];
    int n = snprintf(body, sizeof body, "{\"model\":\"words\",\"input\":\"");
    for (size_t i = (size_t)n; i < sizeof body - 3; i += 2)
        memcpy(body + i, "a ", 2);
    memcpy(body + sizeof body - 3, "\"}", 3);
    for (int k = 0; k < 3; k++) {
        int fd[2 * N];
        for (int i = 0; i < N; i++)
            fd[i] = raw_post(rig.s.port, "/tokenize", body);
        for (int i = N; i < 2 * N; i++) {
            fd[i] = raw_open(rig.s.port);
            raw_say(fd[i], "GET /v1/models/words HTTP/1.1\r\nHost: a\r\n\r\n");
        }
        sleep_ms(3 * k);
        for (int i = 0; i < 2 * N; i++)
            raw_reset(fd[i]);
    }
    assert_true(http_healthy(rig.s.port));
}

static void test_garbage_harms_nobody(void **state)
{
    static const char *const cases[] = {"\r\n\r\n\r\n",
                                        "GET\r\n\r\n",
                                        "\x16\x03\x01\x02",
                                        "GET / HTTP/9.9\r\n",
                                        "GET /livez HTTP/1.1\nHost: a\n\n",
                                        "POST / HTTP/1.1\r\nHost: a\r\n"};
    static char out[8192];
    for (size_t i = 0; i < COUNT(cases); i++) {
        int fd = raw_open(rig.s.port);
        raw_say(fd, cases[i]);
        raw_hear(fd, out, sizeof out, NULL, 20, NULL);
        raw_close(fd);
    }
    assert_true(http_healthy(rig.s.port));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ambiguous_framing_is_refused_and_closed),
        cmocka_unit_test(test_a_refused_header_says_why_in_json),
        cmocka_unit_test(test_a_target_may_be_a_whole_url),
        cmocka_unit_test(test_a_request_without_host_is_refused),
        cmocka_unit_test(test_pipelined_requests_are_answered_in_order),
        cmocka_unit_test(test_a_chunked_body_is_read),
        cmocka_unit_test(test_a_body_that_does_not_come_is_408),
        cmocka_unit_test(test_a_body_that_drips_is_408_too),
        cmocka_unit_test(test_a_header_that_is_too_large_is_431),
        cmocka_unit_test(test_a_large_body_is_refused_before_it_is_sent),
        cmocka_unit_test(test_expect_continue_is_answered_for_a_body_we_take),
        cmocka_unit_test(test_an_idle_connection_is_closed),
        cmocka_unit_test(test_a_header_that_drips_is_closed_too),
        cmocka_unit_test(test_a_client_that_leaves_stops_its_work),
        cmocka_unit_test(test_clients_that_leave_the_worker_harm_nobody),
        cmocka_unit_test(test_garbage_harms_nobody),
    };
    return cmocka_run_group_tests(tests, up, down);
}
