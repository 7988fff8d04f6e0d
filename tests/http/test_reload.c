/* SIGHUP to a running server: API keys that come and go, files of keys that are
 * no such, a log file that is rotated, and requests that do not notice.
 *
 * SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "engine/base/mem.h"
#include "tests/support/http_rig.h"
#include "tests/support/temp_dir.h"

#define WAIT_S 10
#define RELOADS 10
#define CLIENTS 8
#define OK(what) "seqd_reloads_total{what=\"" what "\",result=\"ok\"}"
#define BAD(what) "seqd_reloads_total{what=\"" what "\",result=\"failed\"}"
#define FIRST "Authorization: Bearer first-key"
#define SECOND "Authorization: Bearer second-key"
#define ALWAYS "Authorization: Bearer always-key"

static struct http_rig rig; /* models only; each test has its own server */
static char dir[64], key_file[96], log_file[96];

static int up(void **state)
{
    temp_dir_make(dir);
    snprintf(key_file, sizeof key_file, "%s/keys", dir);
    snprintf(log_file, sizeof log_file, "%s/seqd.log", dir);
    return http_rig_models(&rig);
}

static int down(void **state)
{
    http_rig_remove(&rig);
    temp_dir_drop(dir);
    return 0;
}

/* The file appears whole, as a program that is careful writes it. */
static void put_keys(const char *text)
{
    char from[96];
    temp_file_text(dir, "keys.new", text);
    snprintf(from, sizeof from, "%s/keys.new", dir);
    assert_int_equal(rename(from, key_file), 0);
}

static char *text_of(const char *path)
{
    struct seqd as = {0};
    snprintf(as.log, sizeof as.log, "%s", path);
    return seqd_log_text(&as);
}

static int count_in(const char *path, const char *words)
{
    char *text = text_of(path);
    int n = 0;
    for (const char *at = text; at && (at = strstr(at, words)); at++)
        n++;
    mem_free(text);
    return n;
}

static void wait_for(const char *path, const char *words, int times)
{
    double end = now_s() + WAIT_S;
    while (count_in(path, words) < times && now_s() < end)
        sleep_ms(2);
    if (count_in(path, words) != times)
        fail_msg("%s: %d times '%s', expected %d", path, count_in(path, words),
                 words, times);
}

/* SIGHUP, until the line of it is in that log. */
static void reload(const struct seqd *s, const char *log)
{
    int before = count_in(log, "info server reload ");
    assert_int_equal(kill(s->pid, SIGHUP), 0);
    wait_for(log, "info server reload ", before + 1);
}

static long status_on(struct client *c, const char *authorization)
{
    const char *const headers[] = {authorization, NULL};
    struct answer a;
    client_send(c, "GET", "/version", headers, NULL, 0, &a);
    long status = a.status;
    answer_free(&a);
    return status;
}

static long status_with(int port, const char *authorization)
{
    struct client *c = client_open(port);
    long status = status_on(c, authorization);
    client_close(c);
    return status;
}

static double metric_with(int port, const char *authorization,
                          const char *prefix)
{
    const char *const headers[] = {authorization, NULL};
    struct answer a;
    http_send(port, "GET", "/metrics", headers, NULL, 0, &a);
    assert_int_equal(a.status, 200);
    const char *at = strstr(a.body, prefix);
    double v = at ? strtod(at + strlen(prefix), NULL) : -1;
    answer_free(&a);
    return v;
}

static void start_with_keys(struct seqd *s, const char *text)
{
    char more[160];
    put_keys(text);
    snprintf(more, sizeof more, "--api-key-file %s --max-output-tokens 1048576",
             key_file);
    setenv("SEQD_API_KEY", "always-key", 1);
    int rc = http_rig_spawn(&rig, s, more);
    unsetenv("SEQD_API_KEY");
    assert_int_equal(rc, 0);
}

/* 1 when nothing of an answer has come. */
static int is_silent(int fd)
{
    char c;
    return recv(fd, &c, 1, MSG_PEEK | MSG_DONTWAIT) < 0;
}

static void test_keys_come_and_go_without_a_restart(void **state)
{
    char body[96], head[320];
    int tokens = unit_is_slow() ? 10000 : 100000;
    struct seqd s;
    start_with_keys(&s, "first-key\n");
    struct client *kept = client_open(s.port);
    assert_int_equal(status_on(kept, FIRST), 200);
    assert_int_equal(status_with(s.port, SECOND), 401);

    /* This one began with a key that is taken away while it runs. */
    snprintf(body, sizeof body, "{\"input\":\"the\",\"max_tokens\":%d}",
             tokens);
    snprintf(head, sizeof head,
             "POST /generate HTTP/1.1\r\nHost: localhost\r\n" FIRST
             "\r\nConnection: close\r\nContent-Type: application/json\r\n"
             "Content-Length: %zu\r\n\r\n%s",
             strlen(body), body);
    int fd = raw_open(s.port);
    raw_say(fd, head);
    for (double end = now_s() + WAIT_S; now_s() < end; sleep_ms(2))
        if (metric_with(s.port, FIRST, HTTP_MADE "}") > 0)
            break;
    put_keys("second-key\n");
    reload(&s, s.log);
    assert_int_equal(status_with(s.port, FIRST), 401);
    assert_int_equal(status_on(kept, FIRST), 401);
    assert_int_equal(status_on(kept, SECOND), 200);
    assert_int_equal(status_with(s.port, ALWAYS), 200);
    assert_true(is_silent(fd));
    http_end_long(fd, tokens);
    client_close(kept);

    assert_true(metric_with(s.port, SECOND, OK("api_keys")) == 1);
    assert_true(metric_with(s.port, SECOND, BAD("api_keys")) == 0);
    assert_int_equal(count_in(s.log, "api_keys=new models=not_reloaded"), 1);
    assert_int_equal(count_in(s.log, "-key"), 0);
    assert_int_equal(seqd_stop(&s), 0);
}

static void put_long_line(void)
{
    char line[2048];
    memset(line, 'k', sizeof line - 1);
    line[sizeof line - 1] = '\0';
    put_keys(line);
}

static void put_sparse(void)
{
    put_keys("second-key\n");
    assert_int_equal(truncate(key_file, (off_t)1 << 40), 0);
}

static void put_pipe(void)
{
    unlink(key_file);
    assert_int_equal(mkfifo(key_file, 0600), 0);
}

static void test_a_file_without_keys_leaves_the_old_ones(void **state)
{
    static const struct {
        const char *text;
        void (*put)(void);
        const char *said;
    } rows[] = {
        {"", NULL, "holds no key"},
        {" \n\r\n", NULL, "holds no key"},
        {NULL, put_long_line, "a line of more than 1024 bytes"},
        {NULL, put_sparse, "more than 1048576 bytes"},
        {NULL, put_pipe, "is not a regular file"},
        {NULL, NULL, "no such file"},
    };
    struct seqd s;
    start_with_keys(&s, "first-key\n");
    for (size_t i = 0; i < COUNT(rows); i++) {
        if (rows[i].text)
            put_keys(rows[i].text);
        else if (rows[i].put)
            rows[i].put();
        else
            unlink(key_file);
        reload(&s, s.log);
        assert_int_equal(status_with(s.port, FIRST), 200);
        assert_int_equal(status_with(s.port, ALWAYS), 200);
        assert_int_equal(status_with(s.port, SECOND), 401);
        assert_int_equal(
            count_in(s.log, "error server reload_failed what=api_keys"),
            (int)i + 1);
        if (!count_in(s.log, rows[i].said))
            fail_msg("not said: %s", rows[i].said);
    }
    assert_true(metric_with(s.port, FIRST, BAD("api_keys")) ==
                (double)COUNT(rows));
    assert_true(metric_with(s.port, FIRST, OK("api_keys")) == 0);
    put_keys("second-key");
    reload(&s, s.log);
    assert_int_equal(status_with(s.port, FIRST), 401);
    assert_int_equal(status_with(s.port, SECOND), 200);
    assert_int_equal(seqd_stop(&s), 0);
}

/* ----------------------------------------------------- requests beside it */

struct load {
    int port;
    atomic_int stop, answered, lost;
};

/* A connection that is kept, and one for each request, in turn. */
static void *ask_on(void *arg)
{
    static const char *const headers[] = {
        ALWAYS, "Content-Type: application/json", NULL};
    static const char *const asks[][2] = {
        {"/predict", "{\"input\":\"the\"}"},
        {"/generate", "{\"input\":\"a\",\"max_tokens\":9,\"stream\":true}"},
        {"/sentiment", "{\"input\":\"good\"}"}};
    struct load *l = arg;
    struct client *c = client_open(l->port);
    for (int i = 0; !atomic_load(&l->stop); i++) {
        const char *path = asks[i % 3][0], *body = asks[i % 3][1];
        struct answer a;
        if (i % 2)
            http_send(l->port, "POST", path, headers, body, strlen(body), &a);
        else
            client_send(c, "POST", path, headers, body, strlen(body), &a);
        atomic_fetch_add(a.status == 200 ? &l->answered : &l->lost, 1);
        answer_free(&a);
    }
    client_close(c);
    return NULL;
}

static void test_no_request_is_lost_while_keys_and_log_change(void **state)
{
    struct load l = {0};
    pthread_t t[CLIENTS];
    struct seqd s;
    char more[256], old[112];
    put_keys("always-key\nfirst-key\n");
    snprintf(more, sizeof more,
             "--api-key-file %s --log-file %s --http-threads 2", key_file,
             log_file);
    assert_int_equal(http_rig_spawn(&rig, &s, more), 0);
    l.port = s.port;
    for (int i = 0; i < CLIENTS; i++)
        assert_int_equal(pthread_create(&t[i], NULL, ask_on, &l), 0);
    for (int i = 0; i < RELOADS; i++) {
        int before = atomic_load(&l.answered);
        put_keys(i % 2 ? "first-key\nalways-key\n" : "always-key\nsecond-key");
        snprintf(old, sizeof old, "%s.%d", log_file, i);
        assert_int_equal(rename(log_file, old), 0);
        kill(s.pid, SIGHUP);
        wait_for(log_file, "info server reload ", 1);
        assert_int_equal(status_with(s.port, i % 2 ? FIRST : SECOND), 200);
        assert_int_equal(status_with(s.port, i % 2 ? SECOND : FIRST), 401);
        double end = now_s() + WAIT_S;
        while (atomic_load(&l.answered) < before + CLIENTS && now_s() < end)
            sleep_ms(1);
        assert_true(atomic_load(&l.answered) >= before + CLIENTS);
    }
    /* And as fast as they can be sent. */
    for (int i = 0; i < RELOADS; i++)
        kill(s.pid, SIGHUP);
    sleep_ms(50);
    atomic_store(&l.stop, 1);
    for (int i = 0; i < CLIENTS; i++)
        pthread_join(t[i], NULL);
    print_message("%d answered, %d lost\n", l.answered, l.lost);
    assert_int_equal(atomic_load(&l.lost), 0);
    assert_int_equal(count_in(log_file, " error "), 0);
    assert_int_equal(seqd_stop(&s), 0);
}

/* ----------------------------------------------------------------- the log */

static void test_the_log_file_is_opened_anew(void **state)
{
    struct seqd s;
    struct stat st;
    char more[256], folder[80], path[112], old[128], moved[96];
    snprintf(folder, sizeof folder, "%s/logs", dir);
    snprintf(moved, sizeof moved, "%s/gone", dir);
    snprintf(path, sizeof path, "%s/log", folder);
    snprintf(old, sizeof old, "%s.1", path);
    assert_int_equal(mkdir(folder, 0700), 0);
    temp_file_text(folder, "log", "what was there\n");
    snprintf(more, sizeof more, "--log-file %s", path);
    assert_int_equal(http_rig_spawn(&rig, &s, more), 0);
    assert_int_equal(count_in(path, "what was there\n"), 1);
    assert_int_equal(count_in(path, " info server listening "), 1);
    assert_int_equal(count_in(s.log, " info "), 0);

    /* As logrotate does. */
    assert_int_equal(rename(path, old), 0);
    http_answered(s.port, "/version", NULL, NULL);
    wait_for(old, "route=/version", 1);
    reload(&s, path);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0137, 0); /* 0640, or what umask leaves */
    assert_int_equal(count_in(path, "log_file=new api_keys=none"), 1);
    http_answered(s.port, "/version", NULL, NULL);
    wait_for(path, "route=/version", 1);
    assert_int_equal(count_in(old, "route=/version"), 1);

    /* There is no place for a new one: the old one goes on. */
    assert_int_equal(rename(folder, moved), 0);
    snprintf(path, sizeof path, "%s/log", moved);
    reload(&s, path);
    assert_int_equal(count_in(path, "error server reload_failed what=log_file"),
                     1);
    http_answered(s.port, "/version", NULL, NULL);
    wait_for(path, "route=/version", 2);
    assert_true(metric_value(s.port, OK("log_file")) == 1);
    assert_true(metric_value(s.port, BAD("log_file")) == 1);
    assert_int_equal(seqd_stop(&s), 0);
    assert_int_equal(count_in(path, "info server drained"), 1);
    temp_dir_drop(moved);
}

static void test_a_log_file_that_cannot_be_ends_the_start(void **state)
{
    char err[1024], fifo[96];
    snprintf(fifo, sizeof fifo, "%s/fifo", dir);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    const char *const rows[][2] = {
        {"/nonexistent/log", "cannot be opened: No such file or directory"},
        {dir, "cannot be opened: Is a directory"},
        {fifo, "is not a regular file"},
        {"/dev/null", "is not a regular file"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_int_equal(seqd_run(NULL, err, sizeof err,
                                  "--port 0 --log-file %s --model %s",
                                  rows[i][0], rig.words),
                         1);
        if (!strstr(err, rows[i][1]) || !strstr(err, rows[i][0]))
            fail_msg("%s", err);
    }
    unlink(fifo);
}

/* --------------------------------------------------------------- and else */

static void test_without_such_files_a_reload_changes_nothing(void **state)
{
    struct seqd s;
    assert_int_equal(http_rig_spawn(&rig, &s, NULL), 0);
    reload(&s, s.log);
    assert_int_equal(
        count_in(s.log, "log_file=none api_keys=none models=not_reloaded"), 1);
    assert_true(http_healthy(s.port));
    assert_true(metric_value(s.port, BAD("log_file")) == 0);
    assert_int_equal(seqd_stop(&s), 0);
}

/* While the models are loaded, or a little later. */
static void test_a_reload_at_the_start_is_no_end(void **state)
{
    for (int i = 0; i < 8; i++) {
        struct seqd s;
        char log[112], more[256];
        snprintf(more, sizeof more, "--log-file %s/early.%d --model %s", dir, i,
                 rig.labels);
        assert_int_equal(seqd_spawn(&s, "%s", more), 0);
        for (int k = 0; k < 5; k++) {
            kill(s.pid, SIGHUP);
            sleep_ms(i % 4);
        }
        assert_int_equal(seqd_wait_ready(&s), 0);
        snprintf(log, sizeof log, "%s/early.%d", dir, i);
        wait_for(log, "info server ready ", 1);
        double end = now_s() + WAIT_S;
        while (!count_in(log, "info server reload ") && now_s() < end)
            sleep_ms(2);
        assert_true(count_in(log, "info server reload ") >= 1);
        assert_int_equal(seqd_stop(&s), 0);
    }
}

static void test_a_drain_ignores_it_and_says_so(void **state)
{
    struct seqd s;
    int tokens = unit_is_slow() ? 10000 : 100000;
    assert_int_equal(http_rig_spawn(&rig, &s, "--max-output-tokens 1048576"),
                     0);
    int fd = http_begin_long(s.port, tokens);
    kill(s.pid, SIGTERM);
    wait_for(s.log, "info server draining signal=15", 1);
    kill(s.pid, SIGHUP);
    wait_for(s.log, "warn server reload_ignored phase=draining", 1);
    http_end_long(fd, tokens);
    wait_for(s.log, "second_signal=0", 1);
    assert_int_equal(seqd_join(&s, 20000), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys_come_and_go_without_a_restart),
        cmocka_unit_test(test_a_file_without_keys_leaves_the_old_ones),
        cmocka_unit_test(test_no_request_is_lost_while_keys_and_log_change),
        cmocka_unit_test(test_the_log_file_is_opened_anew),
        cmocka_unit_test(test_a_log_file_that_cannot_be_ends_the_start),
        cmocka_unit_test(test_without_such_files_a_reload_changes_nothing),
        cmocka_unit_test(test_a_reload_at_the_start_is_no_end),
        cmocka_unit_test(test_a_drain_ignores_it_and_says_so),
    };
    return cmocka_run_group_tests(tests, up, down);
}
