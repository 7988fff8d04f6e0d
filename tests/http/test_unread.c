/* Answers that are large or not read: the event loop answers others while a
 * large one is written, what is unread has a bound, who does not read is
 * closed, and a stream waits for its reader.
 *
 * SPDX-License-Identifier: MIT */
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>

#include "engine/base/buf.h"
#include "engine/base/mem.h"
#include "tests/support/http_rig.h"

#define MIB (1 << 20)
#define TOKENS 30000 /* of an answer of /tokenize: 1.4 MB */
#define UNREAD_MB 4
#define GAUGE "seqd_unread_answer_bytes"
#define TIMED_OUT                                                              \
    "seqd_requests_total{model=\"words\",task=\"%s\",code=\"408\"}"

#define OPTIONS                                                                \
    "--janitor-ms 10 --unread-mb 4 --answer-mb 2 --max-output-tokens 1048576"

static struct http_rig rig;
static struct seqd hasty; /* the same, and closes who does not read */

static int up(void **state)
{
    return http_rig_up(&rig, OPTIONS) < 0
               ? -1
               : http_rig_spawn(&rig, &hasty, OPTIONS " --send-timeout-s 1");
}

static int down(void **state)
{
    int rc = seqd_stop(&hasty);
    return http_rig_down(&rig) | rc;
}

static void post_to(int fd, const char *path, const char *json)
{
    char head[256];
    snprintf(head, sizeof head,
             "POST %s HTTP/1.1\r\nHost: a\r\nContent-Type: application/json"
             "\r\nContent-Length: %zu\r\n\r\n",
             path, strlen(json));
    raw_say(fd, head);
    raw_say(fd, json);
}

/* n words for /tokenize. */
static const char *many_words(int n)
{
    static char body[4 * TOKENS + 64];
    int k = snprintf(body, sizeof body, "{\"model\":\"words\",\"input\":\"");
    for (int i = 0; i < n; i++, k += 2)
        memcpy(body + k, "a ", 2);
    memcpy(body + k, "\"}", 3);
    return body;
}

static int ask_tokens(int port, int n)
{
    int fd = raw_open_small(port);
    assert_true(fd >= 0);
    post_to(fd, "/tokenize", many_words(n));
    return fd;
}

/* The head of an answer, up to its empty line; 5 s at most. */
static void read_head(int fd, char *out, size_t size)
{
    size_t n = 0;
    struct pollfd p = {fd, POLLIN, 0};
    out[0] = '\0';
    while (n < size - 1 && !strstr(out, "\r\n\r\n") && poll(&p, 1, 5000) > 0 &&
           recv(fd, out + n, 1, 0) == 1)
        out[++n] = '\0';
}

/* All of a body, of which `want` bytes are to come: how many did. */
static size_t read_body(int fd, size_t want)
{
    static char block[65536];
    struct pollfd p = {fd, POLLIN, 0};
    size_t n = 0;
    while (n < want && poll(&p, 1, 10000) > 0) {
        size_t most = want - n < sizeof block ? want - n : sizeof block;
        ssize_t got = recv(fd, block, most, 0);
        if (got <= 0)
            break;
        n += (size_t)got;
    }
    return n;
}

static size_t length_of(const char *head)
{
    const char *p = strstr(head, "Content-Length: ");
    return p ? strtoul(p + 16, NULL, 10) : 0;
}

static void wait_zero(int port, const char *metric)
{
    double end = now_s() + 10;
    while (metric_value(port, metric) > 0 && now_s() < end)
        sleep_ms(2);
    assert_true(metric_value(port, metric) == 0);
}

/* ------------------------------------------------------------ large answers */

#define LOOKED_AT "models/checkpoints/sentiment-transformer"
#define ITEMS 96 /* of 64 tokens: 4.7 million weights */
#define WORDS 63
#define LATENCY_S (UNIT_SANITIZED ? 1.5 : 0.12)

static char *attention_body(int items)
{
    struct buf b;
    buf_init(&b, MIB);
    buf_add_str(&b, "{\"attention\":true,\"input\":[");
    for (int i = 0; i < items; i++) {
        buf_add_str(&b, i ? ",\"" : "\"");
        for (int k = 0; k < WORDS; k++)
            buf_add_str(&b, k ? " the" : "the");
        buf_add_char(&b, '"');
    }
    buf_add_str(&b, "]}");
    return buf_take(&b);
}

struct asker {
    int port;
    const char *body;
    size_t got, want;
    atomic_int done;
};

static void *ask_and_read(void *arg)
{
    struct asker *a = arg;
    char head[1024];
    int fd = raw_open(a->port);
    post_to(fd, "/sentiment", a->body);
    struct pollfd p = {fd, POLLIN, 0};
    poll(&p, 1, 60000);
    read_head(fd, head, sizeof head);
    a->want = length_of(head);
    a->got = read_body(fd, a->want);
    raw_close(fd);
    atomic_store(&a->done, 1);
    return NULL;
}

/* The longest time that a probe took while such an answer was made and sent. */
static double worst_probe(struct asker *a)
{
    pthread_t thread;
    double worst = 0;
    struct client *c = client_open(a->port);
    atomic_store(&a->done, 0);
    assert_int_equal(pthread_create(&thread, NULL, ask_and_read, a), 0);
    while (!atomic_load(&a->done)) {
        struct answer r;
        double begin = now_s();
        client_send(c, "GET", "/livez", NULL, NULL, 0, &r);
        double took = now_s() - begin;
        assert_int_equal(r.status, 200);
        answer_free(&r);
        worst = took > worst ? took : worst;
        sleep_ms(2);
    }
    pthread_join(thread, NULL);
    client_close(c);
    assert_true(a->want > 20 * MIB);
    assert_int_equal(a->got, a->want);
    return worst;
}

/* To write it takes a few hundred milliseconds; the best of three says whether
 * the loop did it, whatever else the machine does. */
static void test_a_large_answer_does_not_hold_the_loop(void **state)
{
    struct seqd s;
    char *body = attention_body(ITEMS);
    double best = 1e9;
    assert_int_equal(seqd_start(&s, "--model st=" LOOKED_AT), 0);
    struct asker a = {.port = s.port, .body = body};
    for (int i = 0; i < 3 && best > LATENCY_S; i++) {
        double worst = worst_probe(&a);
        best = worst < best ? worst : best;
    }
    if (best > LATENCY_S)
        fail_msg("the loop was busy for %.0f ms", best * 1e3);
    mem_free(body);
    assert_int_equal(seqd_stop(&s), 0);
}

static void test_what_never_fits_is_refused_before_it_is_computed(void **state)
{
    struct seqd s;
    struct answer a;
    char *body = attention_body(ITEMS);
    assert_int_equal(seqd_start(&s, "--model st=" LOOKED_AT " --answer-mb 8"),
                     0);
    http_refused(s.port, "/sentiment", body, 413, "batch_too_large", "");
    assert_true(metric_value(s.port, "seqd_tokens_total{") == 0);
    mem_free(body);
    body = attention_body(2); /* 1.2 MB */
    http_answered(s.port, "/sentiment", body, &a);
    assert_true(a.n > MIB);
    answer_free(&a);
    mem_free(body);
    assert_int_equal(seqd_stop(&s), 0);
}

/* ----------------------------------------------------------- unread answers */

#define UNREAD 30

static size_t resident(pid_t pid)
{
    char path[64];
    unsigned long all, pages = 0;
    snprintf(path, sizeof path, "/proc/%d/statm", (int)pid);
    FILE *f = fopen(path, "re");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%lu %lu", &all, &pages), 2);
    fclose(f);
    return (size_t)pages * (size_t)sysconf(_SC_PAGESIZE);
}

/* Beyond the bound: what the worker needs for one, and what malloc keeps. */
#define SLACK (32 * MIB)

static void test_unread_answers_have_a_bound(void **state)
{
    static char head[4096], body[4096];
    int fd[UNREAD], good = 0, full = 0;
    size_t want[UNREAD], before = resident(rig.s.pid);
    for (int i = 0; i < UNREAD; i++)
        fd[i] = ask_tokens(rig.s.port, TOKENS);
    for (int i = 0; i < UNREAD; i++) {
        read_head(fd[i], head, sizeof head);
        want[i] = length_of(head);
        if (!strncmp(head, "HTTP/1.1 200", 12)) {
            good++;
            continue;
        }
        full++;
        assert_int_equal(strncmp(head, "HTTP/1.1 503", 12), 0);
        assert_non_null(strstr(head, "Retry-After: 1"));
        raw_hear(fd[i], body, sizeof body, "}}", 5000, NULL);
        assert_non_null(strstr(body, "\"code\":\"answers_full\""));
        want[i] = 0;
    }
    assert_true(good >= 2 && full >= UNREAD / 2);
    double unread = metric_value(rig.s.port, GAUGE);
    assert_true(unread > MIB && unread <= UNREAD_MB * MIB);
    if (!UNIT_SANITIZED)
        assert_true(resident(rig.s.pid) < before + UNREAD_MB * MIB + SLACK);
    assert_true(http_healthy(rig.s.port)); /* small ones always pass */
    /* Those that were accepted can be had, and then there is room again. */
    for (int i = 0; i < UNREAD; i++) {
        assert_int_equal(read_body(fd[i], want[i]), want[i]);
        raw_close(fd[i]);
    }
    wait_zero(rig.s.port, GAUGE);
    http_answered(rig.s.port, "/tokenize", many_words(TOKENS), NULL);
}

static void test_an_answer_over_the_limit_of_one_is_413(void **state)
{
    http_refused(rig.s.port, "/tokenize", many_words(2 * TOKENS), 413,
                 "batch_too_large", "");
    wait_zero(rig.s.port, GAUGE);
}

static void test_who_does_not_read_is_closed(void **state)
{
    static char out[65536];
    char counted[128], head[1024];
    int closed;
    snprintf(counted, sizeof counted, TIMED_OUT, "tokenize");
    double before = metric_value(hasty.port, counted);
    /* One reads nothing, one a few bytes now and then, one slowly enough to
     * need longer than the time, and all. */
    int none = ask_tokens(hasty.port, TOKENS),
        drips = ask_tokens(hasty.port, TOKENS);
    int slow = ask_tokens(hasty.port, TOKENS / 3);
    read_head(slow, head, sizeof head);
    size_t want = length_of(head), got = 0;
    for (double end = now_s() + 10; now_s() < end; sleep_ms(20)) {
        ssize_t n = recv(drips, out, 4, MSG_DONTWAIT);
        (void)n;
        n = recv(slow, out, 2048, MSG_DONTWAIT);
        got += n > 0 ? (size_t)n : 0;
        if (metric_value(hasty.port, counted) >= before + 2)
            break;
    }
    assert_true(metric_value(hasty.port, counted) == before + 2);
    assert_true(got > 0 && got < want);
    assert_int_equal(read_body(slow, want - got), want - got);
    raw_hear(none, out, sizeof out, NULL, 1000, &closed);
    assert_true(closed);
    raw_close(none);
    raw_close(drips);
    raw_close(slow);
    wait_zero(hasty.port, GAUGE);
}

/* ------------------------------------------------------------------ streams */

#define STREAM_TOKENS 8000 /* 1.2 MB of events */
#define PAUSED "seqd_streams_paused"

/* A stream without chunks, on a socket with little room. */
static int ask_stream(int port, const char *fields)
{
    char json[512], text[1024];
    int n = snprintf(json, sizeof json,
                     "{\"model\":\"words\",\"input\":\"the\",\"stream\":true,"
                     "\"seed\":7,%s}",
                     fields);
    snprintf(text, sizeof text,
             "POST /generate HTTP/1.0\r\nHost: a\r\nContent-Type: "
             "application/json\r\nContent-Length: %d\r\n\r\n%s",
             n, json);
    int fd = raw_open_small(port);
    assert_true(fd >= 0);
    raw_say(fd, text);
    return fd;
}

/* Until the stream stands still: while the kernel still takes some of it, it
 * pauses and goes on. */
static void wait_paused(int port)
{
    double end = now_s() + 10;
    int steady = 0;
    while (steady < 10 && now_s() < end) {
        steady = metric_value(port, PAUSED) == 1 ? steady + 1 : 0;
        sleep_ms(2);
    }
    assert_int_equal(steady, 10);
}

/* The texts of a stream's events, one after the other. */
static void add_texts(const char *p, struct buf *text)
{
    while ((p = strstr(p, "data: {")) != NULL) {
        const char *end = strstr(p, "\n\n");
        struct json *j = NULL;
        assert_non_null(end);
        assert_int_equal(
            json_parse(p + 6, (size_t)(end - p) - 6, NULL, &j, NULL), 0);
        const struct json *t = json_at(j, "data.0.text");
        if (t)
            buf_add(text, json_string(t), json_string_len(t));
        json_free(j);
        p = end;
    }
}

static void test_a_stream_waits_for_its_reader(void **state)
{
    static char out[4 * MIB];
    char fields[64];
    struct answer whole;
    struct buf text;
    int closed;
    snprintf(fields, sizeof fields,
             "{\"model\":\"words\",\"input\":\"the\",\"seed\":7,"
             "\"max_tokens\":%d}",
             STREAM_TOKENS);
    http_answered(rig.s.port, "/generate", fields, &whole);
    double before = metric_value(rig.s.port, HTTP_MADE);
    snprintf(fields, sizeof fields, "\"max_tokens\":%d", STREAM_TOKENS);
    int fd = ask_stream(rig.s.port, fields);
    wait_paused(rig.s.port);
    double made = metric_value(rig.s.port, HTTP_MADE) - before;
    assert_true(made < STREAM_TOKENS / 2);
    sleep_ms(30);
    assert_true(metric_value(rig.s.port, HTTP_MADE) - before == made);
    assert_true(metric_value(rig.s.port, GAUGE) < 2 * 65536);
    assert_true(http_healthy(rig.s.port));
    size_t n = raw_hear(fd, out, sizeof out, NULL, 60000, &closed);
    raw_close(fd);
    assert_true(closed && n > 10 * STREAM_TOKENS);
    assert_non_null(strstr(out, "data: [DONE]\n\n"));
    buf_init(&text, MIB);
    add_texts(out, &text);
    assert_string_equal(text.p, answer_text(&whole, "data.0.text"));
    buf_fini(&text);
    answer_free(&whole);
    wait_zero(rig.s.port, PAUSED);
    wait_zero(rig.s.port, GAUGE);
}

static void test_a_stream_that_nobody_reads_is_cancelled(void **state)
{
    char counted[128];
    snprintf(counted, sizeof counted, TIMED_OUT, "generate");
    double gone = metric_value(hasty.port, HTTP_GONE);
    double before = metric_value(hasty.port, counted);
    int fd = ask_stream(hasty.port, "\"max_tokens\":1048576");
    wait_paused(hasty.port);
    http_wait_metric(hasty.port, HTTP_GONE, gone + 1);
    http_wait_metric(hasty.port, counted, before + 1);
    wait_zero(hasty.port, PAUSED);
    raw_close(fd);
}

static void test_a_deadline_passes_while_a_stream_waits(void **state)
{
    static char out[4 * MIB];
    double late = metric_value(
        rig.s.port, "seqd_requests_cancelled_total{reason=\"deadline\"");
    char fields[64];
    int closed;
    snprintf(fields, sizeof fields, "\"max_tokens\":1048576,\"timeout_ms\":%d",
             UNIT_SANITIZED ? 8000 : 1000);
    int fd = ask_stream(rig.s.port, fields);
    wait_paused(rig.s.port);
    http_wait_metric(rig.s.port,
                     "seqd_requests_cancelled_total{reason=\"deadline\"",
                     late + 1);
    raw_hear(fd, out, sizeof out, NULL, 20000, &closed);
    raw_close(fd);
    assert_true(closed);
    assert_non_null(strstr(out, "\"code\":\"deadline_exceeded\""));
    wait_zero(rig.s.port, PAUSED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_large_answer_does_not_hold_the_loop),
        cmocka_unit_test(test_what_never_fits_is_refused_before_it_is_computed),
        cmocka_unit_test(test_unread_answers_have_a_bound),
        cmocka_unit_test(test_an_answer_over_the_limit_of_one_is_413),
        cmocka_unit_test(test_who_does_not_read_is_closed),
        cmocka_unit_test(test_a_stream_waits_for_its_reader),
        cmocka_unit_test(test_a_stream_that_nobody_reads_is_cancelled),
        cmocka_unit_test(test_a_deadline_passes_while_a_stream_waits),
    };
    return cmocka_run_group_tests(tests, up, down);
}
