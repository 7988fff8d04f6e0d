/* Streams: the same text as without, whole code points, stop text held back,
 * the last chunk, errors before and after the start, pings, clients that
 * leave.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/base/buf.h"
#include "engine/base/utf8.h"
#include "tests/support/http_rig.h"

static struct http_rig rig;

static int up(void **state)
{
    return http_rig_up(
        &rig, "--janitor-ms 10 --ping-ms 30 --max-output-tokens 1048576");
}

static int down(void **state)
{
    return http_rig_down(&rig);
}

#define MAX_STREAM_ITEMS 8

/* A stream taken apart. */
struct taken {
    struct buf text[MAX_STREAM_ITEMS];
    char finish[MAX_STREAM_ITEMS][16];
    int chunks, done, errors, usage_at_end;
    double prompt, completion;
    char code[32];
};

static void take_item(struct taken *t, const struct json *item)
{
    int64_t i = -1;
    assert_int_equal(json_int(json_get(item, "index"), &i), 0);
    assert_true(i >= 0 && i < MAX_STREAM_ITEMS);
    const struct json *text = json_get(item, "text");
    assert_true(utf8_valid(json_string(text), json_string_len(text)));
    assert_string_equal(t->finish[i], ""); /* nothing after the end */
    buf_add(&t->text[i], json_string(text), json_string_len(text));
    const struct json *f = json_get(item, "finish_reason");
    if (f)
        snprintf(t->finish[i], 16, "%s", json_string(f));
}

static void take_event(struct taken *t, const char *p, size_t n)
{
    struct json *j = NULL;
    assert_false(t->done);
    if (n == 6 && !memcmp(p, "[DONE]", 6)) {
        t->done = 1;
        return;
    }
    assert_int_equal(json_parse(p, n, NULL, &j, NULL), 0);
    const struct json *e = json_get(j, "error"), *u = json_get(j, "usage");
    t->chunks++;
    t->usage_at_end = u != NULL;
    if (e) {
        t->errors++;
        snprintf(t->code, sizeof t->code, "%s",
                 json_string(json_get(e, "code")));
    } else {
        assert_string_equal(json_string(json_get(j, "object")),
                            "generation.chunk");
        const struct json *d = json_child(json_get(j, "data"));
        for (; d; d = json_next(d))
            take_item(t, d);
    }
    if (u) {
        t->prompt = json_number(json_get(u, "prompt_tokens"));
        t->completion = json_number(json_get(u, "completion_tokens"));
    }
    json_free(j);
}

static void take_stream(struct taken *t, const char *p)
{
    memset(t, 0, sizeof *t);
    for (int i = 0; i < MAX_STREAM_ITEMS; i++)
        buf_init(&t->text[i], 1 << 24);
    while (*p) {
        const char *end = strstr(p, "\n\n");
        assert_non_null(end);
        if (strncmp(p, ": ", 2)) {
            assert_int_equal(strncmp(p, "data: ", 6), 0);
            take_event(t, p + 6, (size_t)(end - p) - 6);
        }
        p = end + 2;
    }
}

static void taken_free(struct taken *t)
{
    for (int i = 0; i < MAX_STREAM_ITEMS; i++)
        buf_fini(&t->text[i]);
}

static const char *text_of(const struct taken *t, int i)
{
    return t->text[i].p ? t->text[i].p : "";
}

/* The same request with and without a stream gives the same. */
static void check_same(const char *fields)
{
    char body[1024];
    struct answer whole, stream;
    struct taken t;
    snprintf(body, sizeof body, "{%s}", fields);
    http_post(rig.s.port, "/generate", body, &whole);
    snprintf(body, sizeof body, "{%s,\"stream\":true}", fields);
    http_post(rig.s.port, "/generate", body, &stream);
    assert_int_equal(whole.status, 200);
    assert_int_equal(stream.status, 200);
    assert_string_equal(answer_header(&stream, "Content-Type"),
                        "text/event-stream");
    take_stream(&t, stream.body);
    assert_int_equal(t.done, 1);
    assert_int_equal(t.errors, 0);
    assert_int_equal(t.usage_at_end, 1);
    int n = json_size(answer_at(&whole, "data"));
    for (int i = 0; i < n; i++) {
        char path[32];
        snprintf(path, sizeof path, "data.%d.text", i);
        assert_string_equal(text_of(&t, i), answer_text(&whole, path));
        snprintf(path, sizeof path, "data.%d.finish_reason", i);
        assert_string_equal(t.finish[i], answer_text(&whole, path));
    }
    assert_true(t.prompt == answer_number(&whole, "usage.prompt_tokens"));
    assert_true(t.completion ==
                answer_number(&whole, "usage.completion_tokens"));
    taken_free(&t);
    answer_free(&whole);
    answer_free(&stream);
}

static void test_a_stream_says_what_the_answer_says(void **state)
{
    check_same("\"input\":\"the\",\"max_tokens\":30,\"seed\":1");
    check_same("\"input\":\"the\",\"max_tokens\":0,\"seed\":1");
    check_same("\"input\":\"\",\"max_tokens\":300,\"seed\":2,\"top_k\":40");
    check_same("\"input\":[\"the\",\"a cat\",\"dog\"],\"max_tokens\":30,"
               "\"seed\":3");
    check_same("\"model\":\"chars\",\"input\":\"abc\",\"max_tokens\":100,"
               "\"seed\":4");
}

static void test_stop_text_never_leaks(void **state)
{
    static const char ask[] =
        "\"model\":\"chars\",\"input\":\"abc\",\"max_tokens\":200,\"seed\":5";
    struct answer a;
    struct taken t;
    char body[512];
    snprintf(body, sizeof body, "{%s}", ask);
    http_post(rig.s.port, "/generate", body, &a);
    const char *text = answer_text(&a, "data.0.text");
    assert_true(strlen(text) > 40);
    char stop[8] = "";
    memcpy(stop, text + 30, 3);
    assert_null(strpbrk(stop, "\"\\"));
    answer_free(&a);
    snprintf(body, sizeof body, "{%s,\"stream\":true,\"stop\":\"%s\"}", ask,
             stop);
    http_post(rig.s.port, "/generate", body, &a);
    take_stream(&t, a.body);
    assert_null(strstr(text_of(&t, 0), stop));
    assert_string_equal(t.finish[0], "stop");
    taken_free(&t);
    answer_free(&a);
    snprintf(body, sizeof body, "%s,\"stop\":\"%s\"", ask, stop);
    check_same(body);
}

static void test_an_error_before_the_start_has_its_status(void **state)
{
    http_refused(rig.s.port, "/generate",
                 "{\"input\":\"a\",\"stream\":true,\"top_p\":7}", 400,
                 "invalid_value", "top_p");
    http_refused(rig.s.port, "/generate", "{\"input\":1,\"stream\":true}", 400,
                 "invalid_value", "input");
}

static void test_an_error_after_the_start_is_an_event(void **state)
{
    struct answer a;
    struct taken t;
    http_answered(rig.s.port, "/generate",
                  "{\"input\":\"the\",\"stream\":true,\"max_tokens\":1048576,"
                  "\"timeout_ms\":250}",
                  &a);
    take_stream(&t, a.body);
    assert_int_equal(t.errors, 1);
    assert_int_equal(t.done, 0);
    assert_string_equal(t.code, "deadline_exceeded");
    taken_free(&t);
    answer_free(&a);
}

static void test_a_reader_that_leaves_stops_the_work(void **state)
{
    static char out[65536];
    double before = metric_value(rig.s.port, HTTP_GONE);
    int fd = raw_post(rig.s.port, "/generate",
                      "{\"input\":[\"the\",\"a\"],\"stream\":true,"
                      "\"max_tokens\":1048576}");
    raw_hear(fd, out, sizeof out, "data: ", 5000, NULL);
    assert_non_null(strstr(out, "text/event-stream"));
    raw_close(fd);
    http_wait_metric(rig.s.port, HTTP_GONE, before + 2);
    assert_true(http_healthy(rig.s.port));
}

static void test_a_reader_that_does_not_read_harms_nobody(void **state)
{
    static char out[4096];
    int fd = raw_post(rig.s.port, "/generate",
                      "{\"input\":\"the\",\"stream\":true,"
                      "\"max_tokens\":200000}");
    raw_hear(fd, out, sizeof out, "data: ", 5000, NULL);
    for (int i = 0; i < 20; i++)
        assert_true(http_healthy(rig.s.port));
    raw_close(fd);
}

static void test_http_1_0_gets_its_stream_without_chunks(void **state)
{
    static const char body[] = "{\"input\":\"the\",\"stream\":true,"
                               "\"max_tokens\":3}";
    static char out[65536];
    char text[512];
    snprintf(text, sizeof text,
             "POST /generate HTTP/1.0\r\nHost: a\r\nContent-Type: "
             "application/json\r\nContent-Length: %zu\r\n\r\n%s",
             sizeof body - 1, body);
    raw_ask(rig.s.port, text, out, sizeof out);
    assert_null(strstr(out, "Transfer-Encoding"));
    assert_non_null(strstr(out, "data: [DONE]\n\n"));
}

static void test_a_silent_stream_pings(void **state)
{
    /* One row at a time: the second item waits while the first runs. The
     * first stream begins, then is silent only when its model is held up by
     * another one, so the waiting request is the one that must stay alive. */
    static char out[1 << 16];
    struct seqd s;
    assert_int_equal(http_rig_spawn(&rig, &s,
                                    "--max-rows 1 --janitor-ms 5 --ping-ms 20 "
                                    "--max-output-tokens 1048576"),
                     0);
    int busy = raw_post(s.port, "/generate",
                        "{\"input\":\"the\",\"max_tokens\":1048576}");
    http_wait_begun(s.port);
    int fd = raw_post(s.port, "/generate",
                      "{\"input\":\"the\",\"stream\":true,"
                      "\"max_tokens\":3}");
    raw_hear(fd, out, sizeof out, ": ping\n\n", 3000, NULL);
    assert_non_null(strstr(out, "200 OK"));
    assert_non_null(strstr(out, ": ping\n\n"));
    raw_close(busy);
    raw_hear(fd, out, sizeof out, "[DONE]", 10000, NULL);
    assert_non_null(strstr(out, "[DONE]"));
    raw_close(fd);
    assert_int_equal(seqd_stop(&s), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_stream_says_what_the_answer_says),
        cmocka_unit_test(test_stop_text_never_leaks),
        cmocka_unit_test(test_an_error_before_the_start_has_its_status),
        cmocka_unit_test(test_an_error_after_the_start_is_an_event),
        cmocka_unit_test(test_a_reader_that_leaves_stops_the_work),
        cmocka_unit_test(test_a_reader_that_does_not_read_harms_nobody),
        cmocka_unit_test(test_http_1_0_gets_its_stream_without_chunks),
        cmocka_unit_test(test_a_silent_stream_pings),
    };
    return cmocka_run_group_tests(tests, up, down);
}
