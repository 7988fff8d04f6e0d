/* Every allocation on the way of a connection fails once: what its client gets
 * is whole answers, whole events of a stream, or nothing: never a body whose
 * head is missing, nor what follows in the place of what is missing.
 *
 * SPDX-License-Identifier: MIT */
#include <sys/socket.h>

#include "engine/base/clock.h"
#include "engine/base/json.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "models/registry.h"
#include "server/http/http_impl.h"
#include "server/http/request.h"
#include "tests/support/unit.h"

#define ROUND_US 1000
#define NAP_US 2000
#define MOST_US 20000000 /* of a conversation, on a busy machine */
#define MAX_POINTS 2000
#define MAX_SAID (1 << 20)

static struct config cfg;
static struct server sv = {.cfg = &cfg};
static struct loop loop;
static struct http http = {
    .sv = &sv, .listen_fd = -1, .loop = &loop, .n_loops = 1};

static void flush_events(void *ctx)
{
    http_flush(ctx);
}

static int up(void **state)
{
    static char *argv[] = {"seqd", "--http-threads", "1"};
    struct engine_options o = {.n_threads = 1,
                               .runner_spin_us = -1,
                               .flush = flush_events,
                               .ctx = &http};
    struct err e = ERR_INIT;
    log_configure(LOG_ERROR, 0);
    sv.http = &http;
    if (config_load(&cfg, 3, argv, &e) < 0 || loop_open(&http, &loop, &e) < 0 ||
        engine_open(&o, registry_archs, &sv.engine, &e) < 0)
        return -1;
    loop.listening = 1; /* nobody knocks */
    access_init(&loop.access);
    atomic_store(&sv.phase, PHASE_READY);
    return engine_load(sv.engine, "lm", "tests/golden/rnn/lstm", &e);
}

static int down(void **state)
{
    loop_end(&loop);
    engine_close(sv.engine);
    loop_close(&loop);
    config_fini(&cfg);
    return 0;
}

/* What comes back until the other side is closed: its bytes, and a NUL. When it
 * has begun the loop does nothing for a while: more of a stream comes together
 * than there was room for. */
static size_t talk(const char *ask, char said[MAX_SAID])
{
    int fd[2];
    size_t n = 0;
    int64_t begin = clock_now_us();
    assert_int_equal(
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd),
        0);
    if (conn_open(&loop, fd[0], 0)) {
        assert_true(send(fd[1], ask, strlen(ask), MSG_NOSIGNAL) > 0);
        shutdown(fd[1], SHUT_WR);
    }
    while (loop.idle.n + loop.busy.n > 0) {
        loop_round(&loop, clock_now_us() + ROUND_US);
        ssize_t got = recv(fd[1], said + n, MAX_SAID - 1 - n, 0);
        if (n == 0 && got > 0)
            usleep(NAP_US);
        n += got > 0 ? (size_t)got : 0;
        assert_true(clock_now_us() - begin < MOST_US);
    }
    ssize_t got = recv(fd[1], said + n, MAX_SAID - 1 - n, 0);
    n += got > 0 ? (size_t)got : 0;
    said[n] = '\0';
    close(fd[1]);
    assert_int_equal(atomic_load(&loop.n_live), 0);
    request_pool_free(loop.pool); /* the next one has no buffers yet */
    loop.pool = NULL;
    loop.n_pool = 0;
    return n;
}

/* Whole events; the last one says that all is told, or what went wrong. 1 when
 * it was told. */
static int check_events(char *p, int ended)
{
    int told = 0, failed = 0;
    for (char *end; (end = strstr(p, "\n\n")) != NULL; p = end + 2) {
        struct json *j = NULL;
        *end = '\0';
        assert_false(told || failed);
        if (!strcmp(p, ": ping"))
            continue;
        assert_memory_equal(p, "data: ", 6);
        told = !strcmp(p + 6, "[DONE]");
        if (told)
            continue;
        if (json_parse(p + 6, strlen(p + 6), NULL, &j, NULL) < 0)
            fail_msg("no event: %s", p);
        failed = json_get(j, "error") != NULL;
        json_free(j);
    }
    assert_true(!ended || (told || failed));
    return told;
}

static int check_stream(const char *p, const char *end)
{
    static char text[MAX_SAID];
    struct chunks c = {0};
    size_t n = 0, part;
    int ended = 0;
    while (p < end && !ended) {
        const char *wrong = NULL;
        long got = chunks_read(&c, p, (size_t)(end - p), &part, &ended, &wrong);
        if (got < 0)
            fail_msg("%s: %.60s", wrong, p);
        memcpy(text + n, p + got - part, part);
        n += part;
        p += got;
    }
    assert_true(p == end);
    text[n] = '\0';
    return check_events(text, ended);
}

/* Nothing, or one answer, of which an end may be missing when it is a stream. 1
 * when it is a good one. */
static int check_answer(const char *said, size_t n)
{
    if (n == 0)
        return 0;
    if (strncmp(said, "HTTP/1.1 200 ", 13) &&
        strncmp(said, "HTTP/1.1 503 ", 13))
        fail_msg("no answer: %.200s", said);
    const char *body = strstr(said, "\r\n\r\n");
    assert_non_null(body);
    body += 4;
    const char *length = strstr(said, "Content-Length: ");
    if (!length || length > body) {
        assert_non_null(strstr(said, "Transfer-Encoding: chunked\r\n"));
        return check_stream(body, said + n);
    }
    assert_int_equal(strtoul(length + 16, NULL, 10), said + n - body);
    return said[9] == '2';
}

static void sweep(const char *ask, int at_least)
{
    static char said[MAX_SAID];
    assert_true(check_answer(said, talk(ask, said)));
    for (int n = 1; n < MAX_POINTS; n++) {
        mem_count();
        mem_fail_at(n);
        size_t got = talk(ask, said);
        mem_fail_at(0);
        int fired = mem_count() >= n, good = check_answer(said, got);
        if (fired)
            continue;
        assert_true(good);
        assert_true(n > at_least);
        return;
    }
    fail_msg("no end after %d allocations", MAX_POINTS);
}

#define HEAD " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
#define POST HEAD "Content-Type: application/json\r\n"

static void test_oom_of_a_connection_leaves_no_half_answer(void **state)
{
    sweep("GET /version" HEAD "\r\n", 3);
    sweep("POST /predict" POST "Content-Length: 15\r\n\r\n{\"input\":\"the\"}",
          10);
    sweep("POST /tokenize" POST "Transfer-Encoding: chunked\r\n\r\n"
          "f\r\n{\"input\":\"the\"}\r\n0\r\n\r\n",
          10);
}

#define STREAM                                                                 \
    "{\"input\":\"the\",\"stream\":true,\"seed\":1,\"max_tokens\":2000}"

/* Events of several lengths, so that the room ends in each part of one. */
static void test_oom_of_a_stream_leaves_whole_events(void **state)
{
    char ask[512];
    for (int id = 1; id <= 33; id += 8) {
        snprintf(ask, sizeof ask,
                 "POST /generate" POST
                 "X-Request-Id: %.*s\r\nContent-Length: %zu\r\n\r\n%s",
                 id, "an-id-of-a-request-that-may-be-cut-anywhere",
                 strlen(STREAM), STREAM);
        sweep(ask, 10);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_oom_of_a_connection_leaves_no_half_answer),
        cmocka_unit_test(test_oom_of_a_stream_leaves_whole_events),
    };
    return cmocka_run_group_tests(tests, up, down);
}
