/* log: one event is one line, in text and in JSON, whatever a client sent.
 *
 * SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/json.h"
#include "engine/base/log.h"
#include "tests/support/temp_dir.h"
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

/* --- a file in place of standard error; the tests after it have one --- */

static char dir[64];

static const char *path_of(const char *name)
{
    static char path[4][96];
    static int i;
    i = (i + 1) % 4;
    snprintf(path[i], sizeof path[i], "%s/%s", dir, name);
    return path[i];
}

static const char *text_of(const char *name)
{
    FILE *f = fopen(path_of(name), "re");
    assert_non_null(f);
    size_t n = fread(seen, 1, sizeof seen - 1, f);
    seen[n] = 0;
    fclose(f);
    return seen;
}

static void open_log(const char *name)
{
    struct err e = ERR_INIT;
    if (log_open(path_of(name), &e))
        fail_msg("%s", e.msg);
}

/* Descriptors of ours that lead to this file, closed at exec or not. */
static int descriptors(const char *name, int on_exec)
{
    char at[32], to[128];
    int n = 0;
    for (int fd = 0; fd < 64; fd++) {
        snprintf(at, sizeof at, "/proc/self/fd/%d", fd);
        ssize_t len = readlink(at, to, sizeof to - 1);
        to[len > 0 ? len : 0] = 0;
        n += strcmp(to, path_of(name)) == 0 &&
             (fcntl(fd, F_GETFD) & FD_CLOEXEC) == on_exec;
    }
    return n;
}

static void test_log_file_is_appended_to(void **state)
{
    struct stat st;
    mode_t mask = umask(0);
    temp_dir_make(dir);
    log_configure(LOG_INFO, 0);
    open_log("new");
    log_event(LOG_INFO, "m", "one", NULL);
    assert_int_equal(stat(path_of("new"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    umask(mask);
    temp_file_text(dir, "old", "before\n");
    open_log("old");
    log_event(LOG_INFO, "m", "two", NULL);
    assert_int_equal(lines(text_of("old")), 2);
    assert_memory_equal(seen, "before\n", 7);
    assert_int_equal(lines(text_of("new")), 1);
    assert_int_equal(descriptors("new", FD_CLOEXEC), 0);
    assert_int_equal(descriptors("old", FD_CLOEXEC), 1);
    assert_int_equal(descriptors("old", 0), 0);
}

static void test_log_file_is_the_one_of_that_name_now(void **state)
{
    open_log("log");
    log_event(LOG_INFO, "m", "one", NULL);
    assert_int_equal(rename(path_of("log"), path_of("log.1")), 0);
    log_event(LOG_INFO, "m", "two", NULL);
    open_log("log");
    log_event(LOG_INFO, "m", "three", NULL);
    assert_int_equal(lines(text_of("log.1")), 2);
    assert_int_equal(lines(text_of("log")), 1);
    assert_non_null(strstr(seen, " three"));
}

static void test_log_file_stays_when_there_is_no_other(void **state)
{
    static const char *const wrong[][2] = {
        {"none/log", "none/log cannot be opened: No such file"},
        {".", "cannot be opened: Is a directory"},
        {"fifo", "fifo is not a regular file"},
        {"fifo", "fifo is not a regular file"}};
    open_log("kept");
    assert_int_equal(mkfifo(path_of("fifo"), 0600), 0);
    int fd = -1;
    for (size_t i = 0; i < COUNT(wrong); i++) {
        struct err e = ERR_INIT;
        if (i == 3) /* and when somebody reads it */
            fd = open(path_of("fifo"), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
        assert_int_equal(log_open(path_of(wrong[i][0]), &e), -1);
        assert_int_equal(e.code, ERR_IO);
        if (!strstr(e.msg, wrong[i][1]))
            fail_msg("%s", e.msg);
        log_event(LOG_INFO, "m", "line", NULL);
        assert_int_equal(lines(text_of("kept")), (int)i + 1);
    }
    close(fd);
    assert_int_equal(descriptors("fifo", FD_CLOEXEC), 0);
}

/* The file may grow by `room` bytes while two lines come, as on a full disk. */
static void lose_two(const char *name, size_t room)
{
    struct rlimit was, none;
    uint64_t before = log_lost();
    signal(SIGXFSZ, SIG_IGN);
    open_log(name);
    log_event(LOG_INFO, "m", "one", NULL);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
    none = was;
    none.rlim_cur = strlen(text_of(name)) + room;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
    log_event(LOG_INFO, "m", "two", NULL);
    log_event(LOG_INFO, "m", "three", NULL);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
    assert_int_equal(log_lost() - before, 2);
    log_event(LOG_INFO, "m", "four", NULL);
    text_of(name);
}

static void test_log_lines_without_a_place_are_counted_and_said(void **state)
{
    lose_two("full", 0);
    assert_int_equal(lines(seen), 3);
    assert_null(strstr(seen, " two"));
    assert_non_null(strstr(seen, "warn log lines_lost n=2\n"));
    assert_non_null(strstr(seen, " four\n"));
}

static void test_log_no_line_begins_in_a_part_of_another(void **state)
{
    lose_two("part", 7);
    const char *said = strstr(seen, " log lines_lost n=2\n");
    assert_non_null(said);
    while (said > seen && said[-1] != '\n')
        said--;
    assert_int_equal(lines(seen), 4);
    assert_memory_equal(said - 8, "20", 2); /* seven bytes of a time */
    assert_int_equal(said[-9], '\n');
    assert_non_null(strstr(seen, " four\n"));
    temp_dir_drop(dir);
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
        cmocka_unit_test(test_log_file_is_appended_to),
        cmocka_unit_test(test_log_file_is_the_one_of_that_name_now),
        cmocka_unit_test(test_log_file_stays_when_there_is_no_other),
        cmocka_unit_test(test_log_lines_without_a_place_are_counted_and_said),
        cmocka_unit_test(test_log_no_line_begins_in_a_part_of_another),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
