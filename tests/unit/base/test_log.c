/* log: one event is one line, in text and in JSON, whatever a client sent.
 *
 * SPDX-License-Identifier: MIT */
#include <unistd.h>

#include "engine/base/json.h"
#include "engine/base/log.h"
#include "tests/support/unit.h"

static char seen[8192];
static int saved_fd = -1, pipe_fd[2];

static void capture(void)
{
    assert_int_equal(pipe(pipe_fd), 0);
    saved_fd = dup(STDERR_FILENO);
    dup2(pipe_fd[1], STDERR_FILENO);
    close(pipe_fd[1]);
}

static const char *release(void)
{
    dup2(saved_fd, STDERR_FILENO);
    close(saved_fd);
    ssize_t n = read(pipe_fd[0], seen, sizeof(seen) - 1);
    close(pipe_fd[0]);
    seen[n > 0 ? n : 0] = 0;
    return seen;
}

static int lines(const char *s)
{
    int n = 0;
    for (; *s; s++)
        n += *s == '\n';
    return n;
}

static void test_log_text_line(void **state)
{
    capture();
    log_configure(LOG_INFO, 0);
    log_event(LOG_INFO, "http", "request", "id=%s status=%d", "r1", 200);
    log_event(LOG_DEBUG, "http", "hidden", "x=1");
    log_event(LOG_WARN, "http", "bare", "%s", "");
    const char *s = release();
    assert_int_equal(lines(s), 2);
    assert_int_equal(s[10], 'T'); /* 2026-01-02T03:04:05.678Z */
    assert_int_equal(s[23], 'Z');
    assert_non_null(strstr(s, "Z info http request id=r1 status=200\n"));
    assert_non_null(strstr(s, "Z warn http bare\n"));
    assert_null(strstr(s, "hidden"));
}

static void test_log_level_decides(void **state)
{
    log_configure(LOG_WARN, 0);
    assert_true(log_enabled(LOG_ERROR));
    assert_true(log_enabled(LOG_WARN));
    assert_false(log_enabled(LOG_INFO));
    log_configure(LOG_DEBUG, 0);
    assert_true(log_enabled(LOG_DEBUG));
}

static void test_log_line_breaks_do_not_forge_lines(void **state)
{
    capture();
    log_configure(LOG_INFO, 0);
    log_event(LOG_INFO, "m", "e", "path=\"%s\"", "a\nb\r\x1b[31m");
    const char *s = release();
    assert_int_equal(lines(s), 1);
    assert_null(strchr(s, '\r'));
    assert_null(strchr(s, '\x1b'));
}

static void test_log_json_line_is_json(void **state)
{
    struct json *j = NULL;
    struct err e = ERR_INIT;
    capture();
    log_configure(LOG_INFO, 1);
    log_event(LOG_ERROR, "http", "request", "id=%s why=\"%s\" status=%d flag",
              "r1", "no such thing", 404);
    const char *s = release();
    assert_int_equal(lines(s), 1);
    assert_int_equal(json_parse(s, strlen(s), NULL, &j, &e), 0);
    assert_string_equal(json_string(json_get(j, "level")), "error");
    assert_string_equal(json_string(json_get(j, "module")), "http");
    assert_string_equal(json_string(json_get(j, "event")), "request");
    assert_string_equal(json_string(json_get(j, "id")), "r1");
    assert_string_equal(json_string(json_get(j, "why")), "no such thing");
    assert_true(json_number(json_get(j, "status")) == 404);
    assert_string_equal(json_string(json_get(j, "flag")), "");
    json_free(j);
}

/* A message holds what a client sent, or a pattern of a tokenizer. */
static void test_log_json_keeps_quotes_and_backslashes_of_a_text(void **state)
{
    static const char msg[] = "piece \"a b\" of \\p{L}\\";
    struct json *j = NULL;
    struct err e = ERR_INIT;
    capture();
    log_configure(LOG_INFO, 1);
    log_event(LOG_ERROR, "m", "e", "msg=\"%s\" host=%s n=%d", msg, "0", 7);
    const char *s = release();
    if (json_parse(s, strlen(s), NULL, &j, &e))
        fail_msg("%s in %s", e.msg, s);
    assert_string_equal(json_string(json_get(j, "msg")), msg);
    assert_string_equal(json_string(json_get(j, "host")), "0");
    assert_true(json_number(json_get(j, "n")) == 7);
    json_free(j);
}

/* Bytes of every kind, at every length up to the cut: always one JSON value,
 * unless a client sends bytes that are not UTF-8. */
static void test_log_json_survives_long_and_odd_values(void **state)
{
    static const char *const odd[] = {"\"", "\\", "\"\\\"", "=", " = ", "x"};
    char value[1600];
    log_configure(LOG_INFO, 1);
    for (size_t k = 0; k < sizeof(odd) / sizeof(odd[0]); k++) {
        for (size_t n = 0; n < sizeof(value) - 8; n += 97) {
            struct json *j = NULL;
            struct err e = ERR_INIT;
            size_t len = 0;
            while (len < n) {
                memcpy(value + len, odd[k], strlen(odd[k]));
                len += strlen(odd[k]);
            }
            value[len] = 0;
            capture();
            log_event(LOG_INFO, "m", "e", "a=%s", value);
            const char *s = release();
            assert_int_equal(lines(s), 1);
            if (json_parse(s, strlen(s), NULL, &j, &e) &&
                !strstr(e.msg, "duplicate"))
                fail_msg("%s in %s", e.msg, s);
            json_free(j);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_log_text_line),
        cmocka_unit_test(test_log_level_decides),
        cmocka_unit_test(test_log_line_breaks_do_not_forge_lines),
        cmocka_unit_test(test_log_json_line_is_json),
        cmocka_unit_test(test_log_json_keeps_quotes_and_backslashes_of_a_text),
        cmocka_unit_test(test_log_json_survives_long_and_odd_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
