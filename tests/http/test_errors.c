/* Every row of the error table that this version has, provoked over a real
 * socket while requests beside it are answered as if nothing had happened. The
 * rows 401 are in test_access.c, 408 and framing in test_wire.c, 503 loading
 * and draining in test_lifecycle.c.
 *
 * SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>

#include "engine/base/mem.h"
#include "tests/support/http_rig.h"

static struct http_rig rig;

/* The neighbour: asks the same thing all the time, on one connection, and
 * counts answers that differ from the first. */
struct neighbour {
    pthread_t thread;
    int port;
    atomic_int stop, asked, bad;
};

static struct neighbour beside;

static void *ask_all_the_time(void *arg)
{
    static const char body[] = "{\"input\":[\"the food was good\",\"a bad "
                               "cat\"]}";
    struct neighbour *n = arg;
    struct client *c = client_open(n->port);
    struct answer first, a;
    client_send(c, "POST", "/sentiment", NULL, body, strlen(body), &first);
    atomic_fetch_add(&n->bad, first.status != 200);
    while (!atomic_load(&n->stop)) {
        client_send(c, "POST", "/sentiment", NULL, body, strlen(body), &a);
        atomic_fetch_add(&n->bad,
                         a.status != 200 ||
                             strcmp(http_payload(&a), http_payload(&first)));
        atomic_fetch_add(&n->asked, 1);
        answer_free(&a);
        sleep_ms(1);
    }
    answer_free(&first);
    client_close(c);
    return NULL;
}

static int up(void **state)
{
    if (http_rig_up(&rig, "--max-body 4000 --max-batch 8 --janitor-ms 20") < 0)
        return -1;
    beside.port = rig.s.port;
    return pthread_create(&beside.thread, NULL, ask_all_the_time, &beside);
}

static int down(void **state)
{
    atomic_store(&beside.stop, 1);
    pthread_join(beside.thread, NULL);
    return http_rig_down(&rig);
}

static int check_neighbour(void **state)
{
    int asked = atomic_load(&beside.asked);
    double end = now_s() + 10;
    while (atomic_load(&beside.asked) < asked + 2 && now_s() < end)
        sleep_ms(1);
    if (atomic_load(&beside.bad) || now_s() >= end)
        fprintf(stderr, "the request beside was harmed\n");
    return atomic_load(&beside.bad) || now_s() >= end ? -1 : 0;
}

#define REFUSED(status, code, rows)                                            \
    http_refused_all(rig.s.port, status, code, rows, COUNT(rows))

static void test_json_that_is_not_strict_is_refused(void **state)
{
    static const char *const bodies[] = {
        "",
        "{",
        "[]",
        "\"input\"",
        "{\"input\":\"a\"} x",
        "{\"input\":\"a\",\"input\":\"b\"}",
        "{\"input\":\"a\",}",
        "{'input':'a'}",
        "{\"input\":\"\xff\"}",
        "{\"input\":\"\xed\xa0\x80\"}",
        "{\"input\":\"\\ud800\"}",
        "{\"input\":\"a\nb\"}",
        "{\"input\":\"a\",\"top_k\":01}",
        "{\"input\":\"a\",\"top_k\":1e400}",
        "{\"input\":\"a\",\"top_k\":NaN}",
        "{\"input\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\"a\"",
        "\xef\xbb\xbf{\"input\":\"a\"}",
    };
    for (size_t i = 0; i < COUNT(bodies); i++)
        http_refused(rig.s.port, "/predict", bodies[i], 400, "invalid_json",
                     "");
}

static void test_values_of_the_wrong_type_or_range_are_named(void **state)
{
    static const struct http_refusal rows[] = {
        {"/predict", "{}", "input"},
        {"/predict", "{\"input\":[]}", "input"},
        {"/predict", "{\"input\":null}", "input"},
        {"/predict", "{\"input\":{}}", "input"},
        {"/predict", "{\"input\":[\"a\",1]}", "input[1]"},
        {"/predict", "{\"input\":\"a\",\"top_k\":0}", "top_k"},
        {"/predict", "{\"input\":\"a\",\"top_k\":1001}", "top_k"},
        {"/predict", "{\"input\":\"a\",\"top_k\":2.5}", "top_k"},
        {"/predict", "{\"input\":\"a\",\"top_k\":\"5\"}", "top_k"},
        {"/predict", "{\"input\":\"a\",\"temperature\":0}", "temperature"},
        {"/predict", "{\"input\":\"a\",\"model\":5}", "model"},
        {"/predict", "{\"input\":\"a\",\"prefix\":5}", "prefix"},
        {"/predict", "{\"input\":\"a\",\"prefix\":\"b c\"}", "prefix"},
        {"/predict", "{\"input\":\"a\",\"prefix\":[\"b\"]}", "prefix"},
        {"/predict", "{\"input\":[\"a\",\"a\"],\"prefix\":[\"b\"]}", "prefix"},
        {"/predict", "{\"input\":[\"a\"],\"prefix\":[]}", "prefix"},
        {"/predict", "{\"input\":[\"a\",\"a\"],\"prefix\":[\"b\",null]}",
         "prefix[1]"},
        {"/predict", "{\"input\":[\"a\",\"a\"],\"prefix\":[\"b\",\"\\n\"]}",
         "prefix[1]"},
        {"/predict",
         "{\"input\":\"a\",\"prefix\":"
         "\"0123456789012345678901234567890123456789"
         "0123456789012345678901234\"}",
         "prefix"}, /* 65 */
        {"/sentiment", "{\"input\":\"a\",\"truncate\":1}", "truncate"},
        {"/sentiment", "{\"input\":\"a\",\"timeout_ms\":0}", "timeout_ms"},
        {"/sentiment", "{\"input\":[\"a\",\"\"]}", "input[1]"},
        {"/sentiment", "{\"input\":\" \\n\\t \"}", "input"},
        {"/generate", "{\"input\":\"a\",\"temperature\":-1}", "temperature"},
        {"/generate", "{\"input\":\"a\",\"temperature\":0.001}", "temperature"},
        {"/generate", "{\"input\":\"a\",\"top_p\":0}", "top_p"},
        {"/generate", "{\"input\":\"a\",\"min_p\":1.5}", "min_p"},
        {"/generate", "{\"input\":\"a\",\"repetition_penalty\":0}",
         "repetition_penalty"},
        {"/generate", "{\"input\":\"a\",\"max_tokens\":-1}", "max_tokens"},
        {"/generate", "{\"input\":\"a\",\"max_tokens\":8193}", "max_tokens"},
        {"/generate", "{\"input\":\"a\",\"seed\":9007199254740992}", "seed"},
        {"/generate", "{\"input\":\"a\",\"seed\":-1}", "seed"},
        {"/generate", "{\"input\":\"a\",\"stop\":\"\"}", "stop"},
        {"/generate", "{\"input\":\"a\",\"stop\":[1]}", "stop"},
        {"/generate", "{\"input\":\"a\",\"stop\":\"a\\u0000\"}", "stop"},
        {"/generate", "{\"input\":\"a\",\"stop\":[\"a\",null]}", "stop"},
        {"/generate",
         "{\"input\":\"a\",\"stop\":[\"a\",\"b\",\"c\",\"d\",\"e\",\"f\","
         "\"g\",\"h\",\"i\",\"j\",\"k\",\"l\",\"m\",\"n\",\"o\",\"p\",\"q\"]}",
         "stop"},
        {"/generate", "{\"input\":\"a\",\"stream\":\"yes\"}", "stream"},
        {"/tokenize", "{\"input\":7}", "input"},
        {"/predict", "{\"input\":\"a\",\"candidates\":[]}", "candidates"},
        {"/predict", "{\"input\":\"a\",\"candidates\":\"b\"}", "candidates"},
        {"/predict", "{\"input\":\"a\",\"candidates\":[\"cat\",\"\"]}",
         "candidates[1]"},
        {"/predict", "{\"input\":\"a\",\"candidates\":[\"zqzq\"]}",
         "candidates[0]"},
        {"/predict", "{\"input\":\"a\",\"candidates\":[7]}", "candidates[0]"},
        {"/predict",
         "{\"input\":\"a\",\"candidates\":[\"cat\"],\"level\":\"word\"}",
         "candidates"},
        {"/generate", "{\"input\":\"a\",\"logprobs\":21}", "logprobs"},
        {"/generate", "{\"input\":\"a\",\"logprobs\":-1}", "logprobs"},
        {"/generate", "{\"input\":\"a\",\"logprobs\":0.5}", "logprobs"},
        {"/generate", "{\"input\":\"a\",\"logprobs\":\"1\"}", "logprobs"},
        {"/generate", "{\"input\":\"a\",\"presence_penalty\":2.1}",
         "presence_penalty"},
        {"/generate", "{\"input\":\"a\",\"frequency_penalty\":\"1\"}",
         "frequency_penalty"},
        {"/generate", "{\"input\":\"a\",\"logit_bias\":[]}", "logit_bias"},
        {"/generate", "{\"input\":\"a\",\"logit_bias\":{\"the\":1}}",
         "logit_bias"},
        {"/generate", "{\"input\":\"a\",\"logit_bias\":{\"-1\":1}}",
         "logit_bias"},
        {"/generate", "{\"input\":\"a\",\"logit_bias\":{\"\":1}}",
         "logit_bias"},
        {"/generate", "{\"input\":\"a\",\"logit_bias\":{\"1\":100.5}}",
         "logit_bias"},
        {"/generate", "{\"input\":\"a\",\"logit_bias\":{\"1\":\"1\"}}",
         "logit_bias"},
        {"/generate", "{\"input\":\"a\",\"logit_bias\":{\"999999\":1}}",
         "logit_bias"},
        {"/detokenize", "{\"tokens\":null}", "tokens"},
        {"/detokenize", "{\"tokens\":[1,null]}", "tokens"},
    };
    REFUSED(400, "invalid_value", rows);
}

static void test_unknown_fields_are_named(void **state)
{
    static const struct http_refusal rows[] = {
        {"/predict", "{\"input\":\"a\",\"colour\":\"red\"}", "colour"},
        {"/predict", "{\"input\":\"a\",\"Top_k\":5}", "Top_k"},
        {"/predict", "{\"input\":\"a\",\"seed\":5}", "seed"},
        {"/sentiment", "{\"input\":\"a\",\"top_k\":5}", "top_k"},
        {"/generate", "{\"input\":\"a\",\"\":5}", ""},
        {"/tokenize", "{\"input\":\"a\",\"timeout_ms\":5}", "timeout_ms"},
    };
    /* The member "" has no name to give: param is null. */
    REFUSED(400, "unknown_field", rows);
}

static void test_fields_of_later_versions_are_never_dropped(void **state)
{
    static const struct http_refusal rows[] = {
        {"/predict", "{\"input\":\"a\",\"session\":\"x\"}", "session"},
        {"/predict", "{\"input\":\"a\",\"attention\":true}", "attention"},
        {"/predict", "{\"model\":\"chars\",\"input\":\"a\",\"prefix\":\"\"}",
         "prefix"},
        {"/sentiment", "{\"input\":\"a\",\"explain\":true}", "explain"},
        {"/sentiment", "{\"input\":\"a\",\"explain\":0}", "explain"},
        {"/generate", "{\"input\":\"a\",\"session\":\"x\"}", "session"},
        {"/sentiment", "{\"model\":\"words\",\"input\":\"a\"}", "model"},
        {"/generate", "{\"model\":\"labels\",\"input\":\"a\"}", "model"},
    };
    REFUSED(400, "task_not_supported", rows);
    /* A value that asks for nothing is no request for it. */
    http_answered(rig.s.port, "/generate",
                  "{\"input\":\"a\",\"max_tokens\":1,\"n\":1,"
                  "\"logprobs\":false}",
                  NULL);
}

static void test_what_is_not_there_is_404(void **state)
{
    static const struct http_refusal model_not_found[] = {
        {"/predict", "{\"model\":\"none\",\"input\":\"a\"}", "model"},
        {"/tokenize", "{\"model\":\"none\",\"input\":\"a\"}", "model"},
    };
    static const struct http_refusal not_found[] = {
        {"/nothing", "{}", ""},     {"/predict/", "{}", ""},
        {"/v1/sessions", "{}", ""}, {"/v1/completions", "{}", ""},
        {"/models/load", "{}", ""}, {"/v2", "{}", ""},
        {"/livez%00x", "{}", ""},
    };
    REFUSED(404, "model_not_found", model_not_found);
    REFUSED(404, "not_found", not_found);
    http_refused(rig.s.port, "/v1/models/none", NULL, 404, "model_not_found",
                 "model");
    http_refused(rig.s.port, "/v1/models/", NULL, 404, "not_found", "");
}

static void test_a_wrong_method_says_which_are_right(void **state)
{
    static const char *const rows[][3] = {
        {"GET", "/predict", "POST, OPTIONS"},
        {"DELETE", "/predict", "POST, OPTIONS"},
        {"PUT", "/generate", "POST, OPTIONS"},
        {"POST", "/livez", "GET, HEAD, OPTIONS"},
        {"POST", "/", "GET, HEAD, OPTIONS"},
        {"BREW", "/v1/models/words", "GET, HEAD, OPTIONS"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct answer a;
        http_send(rig.s.port, rows[i][0], rows[i][1], NULL, NULL, 0, &a);
        assert_true(http_check_error(&a, 405, "method_not_allowed", ""));
        assert_string_equal(answer_header(&a, "Allow"), rows[i][2]);
        answer_free(&a);
    }
}

/* What a browser shows is a command that works, by the name that it asked. */
static void test_a_route_of_post_says_how_it_is_asked(void **state)
{
    const char *const named[] = {"Host: localhost:81", NULL};
    const char *const harmful[] = {"Host: localhost;rm", NULL};
    struct answer a;
    http_send(rig.s.port, "GET", "/predict", named, NULL, 0, &a);
    assert_string_equal(answer_text(&a, "error.message"),
                        "this route takes POST: curl -s localhost:81/predict "
                        "-d '{\"input\": \"Once upon a\"}'");
    answer_free(&a);
    http_send(rig.s.port, "GET", "/predict", harmful, NULL, 0, &a);
    assert_null(strstr(answer_text(&a, "error.message"), "rm/predict"));
    answer_free(&a);
    http_send(rig.s.port, "POST", "/livez", NULL, NULL, 0, &a);
    assert_string_equal(answer_text(&a, "error.message"),
                        "this route takes GET");
    answer_free(&a);
}

static void test_models_that_are_there_are_named(void **state)
{
    static const char *const rows[][3] = {
        {"/predict", "{\"input\":\"a\",\"model\":\"none\"}",
         "no model 'none'; there are: words, chars"},
        {"/predict", "{\"input\":\"a\",\"model\":\"labels\"}",
         "model 'labels' does not have this task; those that have it: words, "
         "chars"},
        {"/v1/models/none", NULL,
         "no model 'none'; there are: words, labels, chars"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct answer a;
        http_send(rig.s.port, rows[i][1] ? "POST" : "GET", rows[i][0], NULL,
                  rows[i][1], rows[i][1] ? strlen(rows[i][1]) : 0, &a);
        assert_string_equal(answer_text(&a, "error.message"), rows[i][2]);
        answer_free(&a);
    }
}

static void test_a_body_over_the_limit_is_413(void **state)
{
    static char body[5000];
    struct answer a;
    memset(body, ' ', sizeof body - 1);
    memcpy(body, "{\"input\":\"a\"", 12);
    body[sizeof body - 2] = '}';
    http_refused(rig.s.port, "/predict", body, 413, "body_too_large", "");
    const char *const chunked[] = {"Content-Type: application/json",
                                   "Transfer-Encoding: chunked", NULL};
    http_send(rig.s.port, "POST", "/predict", chunked, body, strlen(body), &a);
    assert_true(http_check_error(&a, 413, "body_too_large", ""));
    answer_free(&a);
    /* Exactly at the limit it is read. */
    body[3999] = '}';
    body[4000] = '\0';
    http_answered(rig.s.port, "/predict", body, NULL);
}

/* Strict JSON, but of more values than a tree may have. */
static void test_a_body_of_too_many_values_is_413(void **state)
{
    const size_t n = (size_t)1 << 20;
    char *body = mem_alloc(2 * n + 16);
    struct seqd s;
    assert_non_null(body);
    assert_int_equal(http_rig_spawn(&rig, &s, "--max-body 4000000"), 0);
    memcpy(body, "{\"tokens\":[", 11);
    for (size_t i = 0; i < n; i++)
        memcpy(body + 11 + 2 * i, "1,", 2);
    memcpy(body + 10 + 2 * n, "]}", 3);
    http_refused(s.port, "/detokenize", body, 413, "body_too_large", "");
    mem_free(body);
    assert_int_equal(seqd_stop(&s), 0);
}

static void test_a_batch_over_the_limit_is_413(void **state)
{
    http_refused(rig.s.port, "/predict",
                 "{\"input\":[\"a\",\"a\",\"a\",\"a\",\"a\","
                 "\"a\",\"a\",\"a\",\"a\"]}",
                 413, "batch_too_large", "input");
}

static void test_media_types_other_than_json_are_415(void **state)
{
    static const struct {
        const char *type, *origin;
        int status;
    } rows[] = {
        {"Content-Type: application/json", NULL, 200},
        {"Content-Type: Application/JSON; Charset=UTF-8", NULL, 200},
        {"Content-Type: application/json", "Origin: http://a", 200},
        {"Content-Type: application/x-www-form-urlencoded", NULL, 200},
        {"Content-Type: application/x-www-form-urlencoded", "Origin: http://a",
         415},
        {"Content-Type: text/plain", NULL, 415},
        {"Content-Type: application/json; charset=latin1", NULL, 415},
        {"Content-Type: application/jsonx", NULL, 415},
        {"Content-Type: multipart/form-data; boundary=x", NULL, 415},
        {"X-None: 1", NULL, 415},
    };
    static const char body[] = "{\"input\":\"the\"}";
    for (size_t i = 0; i < COUNT(rows); i++) {
        const char *const headers[] = {rows[i].type, rows[i].origin, NULL};
        struct answer a;
        http_send(rig.s.port, "POST", "/predict", headers, body, strlen(body),
                  &a);
        if (a.status != rows[i].status)
            fprintf(stderr, "%s: %ld\n", rows[i].type, a.status);
        assert_int_equal(a.status, rows[i].status);
        if (rows[i].status == 415)
            assert_true(
                http_check_error(&a, 415, "unsupported_media_type", ""));
        answer_free(&a);
    }
}

static void
test_a_score_that_is_not_a_number_is_500_without_details(void **state)
{
    struct answer a;
    http_post(rig.s.port, "/sentiment",
              "{\"input\":[\"the poison was bad\",\"good\"]}", &a);
    assert_true(http_check_error(&a, 500, "internal_error", ""));
    assert_string_equal(answer_text(&a, "error.message"), "internal error");
    char line[160]; /* the log has the details, under the request's id */
    snprintf(line, sizeof line,
             "http internal_error id=%s route=/sentiment model=labels "
             "code=internal msg=\"",
             answer_text(&a, "error.request_id"));
    char *log = seqd_log_text(&rig.s);
    assert_non_null(strstr(log, line));
    mem_free(log);
    answer_free(&a);
}

static void test_messages_say_what_was_found_and_expected(void **state)
{
    static const struct {
        const char *path, *json, *message;
    } rows[] = {
        {"/predict", "{\"input\":\"a\",\"top_k\":\"5\"}",
         "top_k is a string, expected a number"},
        {"/predict", "{\"input\":\"a\",\"model\":5}",
         "model is a number, expected a string"},
        {"/predict", "{\"input\":null}", "input is missing"},
        {"/detokenize", "{\"tokens\":null}", "tokens is missing"},
        {"/predict", "[]",
         "the body is an array, expected an object like {\"input\": \"Once "
         "upon a\"}"},
        {"/detokenize", "tokens=5",
         "invalid JSON at byte 0: expected a value; expected an object like "
         "{\"tokens\": [5, 6]}"},
        {"/predict", "{\"text\":\"a\"}",
         "unknown field: it is called \"input\" here"},
        {"/predict", "{\"input\":\"a\",\"top_n\":5}",
         "unknown field: it is called \"top_k\" here"},
        {"/generate", "{\"input\":\"a\",\"max_new_tokens\":5}",
         "unknown field: it is called \"max_tokens\" here"},
        {"/sentiment", "{\"input\":\"a\",\"candidate_labels\":[]}",
         "unknown field: it is called \"labels\" here"},
        {"/generate", "{\"input\":\"a\",\"max_tokns\":5}",
         "unknown field: is \"max_tokens\" meant?"},
        {"/generate", "{\"input\":\"a\",\"tpo_k\":5}",
         "unknown field: is \"top_k\" meant?"},
        {"/predict", "{\"input\":\"a\",\"Top-K\":5}",
         "unknown field: is \"top_k\" meant?"},
        {"/tokenize", "{\"input\":\"a\",\"max_new_tokens\":5}",
         "unknown field; there are model, input, add_special, parse_special"},
        {"/predict", "{\"input\":\"a\",\"temperature\":0}",
         "temperature must be from 0.01 to 100"},
        {"/generate", "{\"input\":\"a\",\"seed\":-1}",
         "seed must be a whole number from 0 to 9007199254740991"},
        {"/generate", "{\"input\":\"a\",\"max_tokens\":2000000}",
         "max_tokens must be a whole number from 0 to 8192"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct answer a;
        http_post(rig.s.port, rows[i].path, rows[i].json, &a);
        assert_int_equal(a.status, 400);
        assert_string_equal(answer_text(&a, "error.message"), rows[i].message);
        answer_free(&a);
    }
}

static void test_a_deadline_that_passes_is_504(void **state)
{
    struct answer a;
    double before =
        metric_value(rig.s.port, "seqd_requests_cancelled_total{reason="
                                 "\"deadline\"}");
    double start = now_s();
    http_post(rig.s.port, "/generate",
              "{\"input\":[\"the\",\"a cat\"],\"max_tokens\":8192,"
              "\"timeout_ms\":1}",
              &a);
    assert_true(http_check_error(&a, 504, "deadline_exceeded", ""));
    assert_true(now_s() - start < 5);
    answer_free(&a);
    assert_true(metric_value(rig.s.port, "seqd_requests_cancelled_total{reason="
                                         "\"deadline\"}") > before);
}

/* A connection whose request keeps the server busy until it is closed. */
static int start_endless(int port, int items)
{
    return raw_post(port, "/generate",
                    items == 1
                        ? "{\"input\":\"the\",\"max_tokens\":1048576}"
                        : "{\"input\":[\"the\",\"a\"],\"max_tokens\":1048576}");
}

static void wait_queue(int port, double depth)
{
    double end = now_s() + 10;
    while (now_s() < end &&
           metric_value(port, "seqd_queue_depth{model=\"words\"}") != depth)
        sleep_ms(2);
    assert_true(now_s() < end);
}

static void test_a_full_queue_takes_all_items_or_none(void **state)
{
    struct seqd s;
    struct answer a;
    assert_int_equal(http_rig_spawn(&rig, &s,
                                    "--max-queue 3 --max-rows 1 --janitor-ms "
                                    "10 --max-output-tokens 1048576"),
                     0);
    /* More than can ever wait is no matter of trying again. */
    http_refused(s.port, "/generate", "{\"input\":[\"a\",\"a\",\"a\",\"a\"]}",
                 413, "batch_too_large", "input");
    int running = start_endless(s.port, 1);
    http_wait_begun(s.port);
    int waiting = start_endless(s.port, 2);
    wait_queue(s.port, 2);
    http_post(s.port, "/generate", "{\"input\":[\"a\",\"a\"]}", &a);
    assert_true(http_check_error(&a, 429, "queue_full", ""));
    assert_string_equal(answer_header(&a, "Retry-After"), "1");
    answer_free(&a);
    wait_queue(s.port, 2); /* nothing of it was taken */
    raw_close(running);
    raw_close(waiting);
    wait_queue(s.port, 0);
    http_answered(s.port, "/generate", "{\"input\":[\"a\",\"a\"]}", NULL);
    assert_int_equal(seqd_stop(&s), 0);
}

/* Sanitizers reserve address space without bound. */
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define CAN_LIMIT_MEMORY 0
#else
#define CAN_LIMIT_MEMORY 1
#endif

static size_t address_space(pid_t pid)
{
    char path[64];
    unsigned long pages = 0;
    snprintf(path, sizeof path, "/proc/%d/statm", (int)pid);
    FILE *f = fopen(path, "re");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%lu", &pages), 1);
    fclose(f);
    return (size_t)pages * (size_t)sysconf(_SC_PAGESIZE);
}

static void test_no_memory_for_a_body_is_503(void **state)
{
    static const char more[] = "--max-body 500000000";
    static char out[8192];
    struct seqd s;
    if (!CAN_LIMIT_MEMORY)
        return;
    assert_int_equal(http_rig_spawn(&rig, &s, more), 0);
    assert_true(http_healthy(s.port));
    /* The child may grow by 32 MiB more; a body of 400 MB is announced. */
    const rlim_t limit = address_space(s.pid) + ((size_t)32 << 20);
    const struct rlimit lim = {limit, limit};
    assert_int_equal(prlimit(s.pid, RLIMIT_AS, &lim, NULL), 0);
    static char text[4096];
    int n = snprintf(text, sizeof text,
                     "POST /sentiment HTTP/1.1\r\nHost: a\r\nContent-Type: "
                     "application/json\r\nContent-Length: 400000000\r\n\r\n");
    memset(text + n, ' ', sizeof text - (size_t)n - 1);
    raw_ask(s.port, text, out, sizeof out);
    assert_int_equal(strncmp(out, "HTTP/1.1 503", 12), 0);
    assert_non_null(strstr(out, "\"code\":\"out_of_memory\""));
    assert_non_null(strstr(out, "Retry-After: 1"));
    assert_true(http_healthy(s.port));
    assert_int_equal(seqd_stop(&s), 0);
}

int main(void)
{
#define BESIDE(f) cmocka_unit_test_teardown(f, check_neighbour)
    const struct CMUnitTest tests[] = {
        BESIDE(test_json_that_is_not_strict_is_refused),
        BESIDE(test_values_of_the_wrong_type_or_range_are_named),
        BESIDE(test_unknown_fields_are_named),
        BESIDE(test_fields_of_later_versions_are_never_dropped),
        BESIDE(test_what_is_not_there_is_404),
        BESIDE(test_a_wrong_method_says_which_are_right),
        BESIDE(test_a_route_of_post_says_how_it_is_asked),
        BESIDE(test_models_that_are_there_are_named),
        BESIDE(test_a_body_over_the_limit_is_413),
        BESIDE(test_a_body_of_too_many_values_is_413),
        BESIDE(test_a_batch_over_the_limit_is_413),
        BESIDE(test_media_types_other_than_json_are_415),
        BESIDE(test_a_score_that_is_not_a_number_is_500_without_details),
        BESIDE(test_messages_say_what_was_found_and_expected),
        BESIDE(test_a_deadline_that_passes_is_504),
        BESIDE(test_a_full_queue_takes_all_items_or_none),
        BESIDE(test_no_memory_for_a_body_is_503),
    };
    return cmocka_run_group_tests(tests, up, down);
}
