/* Who may ask: API keys from a file and the environment, addresses other than
 * loopback, web origins.
 *
 * SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "engine/base/mem.h"
#include "tests/support/http_rig.h"

static struct http_rig rig; /* with keys and an origin */
static char key_file[64];

static int up(void **state)
{
    char more[256];
    snprintf(key_file, sizeof key_file, "/tmp/seqd-keys-%d", (int)getpid());
    FILE *f = fopen(key_file, "we");
    if (!f)
        return -1;
    fputs("first-key\n\n  second-key \r\n", f);
    fclose(f);
    snprintf(more, sizeof more,
             "--api-key-file %s --cors-origin https://app.example "
             "--cors-origin http://localhost:3000",
             key_file);
    setenv("SEQD_API_KEY", "third-key", 1);
    int rc = http_rig_up(&rig, more);
    unsetenv("SEQD_API_KEY");
    return rc;
}

static int down(void **state)
{
    unlink(key_file);
    return http_rig_down(&rig);
}

static long get_with(const char *path, const char *authorization,
                     struct answer *a)
{
    const char *const headers[] = {authorization, NULL};
    http_send(rig.s.port, "GET", path, headers, NULL, 0, a);
    return a->status;
}

static void test_a_known_key_opens(void **state)
{
    static const char *const good[] = {"Authorization: Bearer first-key",
                                       "Authorization: Bearer second-key",
                                       "Authorization: bearer third-key"};
    for (int i = 0; i < 3; i++) {
        struct answer a;
        assert_int_equal(get_with("/version", good[i], &a), 200);
        answer_free(&a);
    }
}

static void test_a_wrong_key_is_401(void **state)
{
    static const char *const bad[] = {
        "Authorization: Bearer first-ke",    "Authorization: Bearer first-keys",
        "Authorization: Bearer FIRST-KEY",   "Authorization: Bearer ",
        "Authorization: Basic first-key",    "Authorization: first-key",
        "Authorization: Bearer first-key x", "Authorization: Bearer \xc3\xa9"};
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct answer a;
        get_with("/version", bad[i], &a);
        assert_true(http_check_error(&a, 401, "invalid_api_key", ""));
        assert_string_equal(answer_header(&a, "WWW-Authenticate"), "Bearer");
        answer_free(&a);
    }
}

static void test_every_route_but_probes_and_page_asks_for_a_key(void **state)
{
    static const char *const get[] = {
        "/metrics",         "/info",         "/version", "/v1/models",
        "/v1/models/words", "/openapi.json", "/nothing", "/app.js"};
    static const char *const send[] = {"/predict", "/sentiment", "/generate",
                                       "/tokenize", "/detokenize"};
    for (size_t i = 0; i < COUNT(get); i++)
        http_refused(rig.s.port, get[i], NULL, 401, "missing_api_key", "");
    for (size_t i = 0; i < COUNT(send); i++)
        http_refused(rig.s.port, send[i], "{\"input\":\"a\"}", 401,
                     "missing_api_key", "");
    http_answered(rig.s.port, "/livez", NULL, NULL);
    http_answered(rig.s.port, "/readyz", NULL, NULL);
    http_answered(rig.s.port, "/health", NULL, NULL);
    http_answered(rig.s.port, "/healthz", NULL, NULL);
    http_answered(rig.s.port, "/docs", NULL, NULL);
    http_answered(rig.s.port, "/favicon.ico", NULL, NULL);
    /* The page is what asks a person for the key: all of it comes without. */
    struct answer a;
    http_get(rig.s.port, "/", &a);
    assert_int_equal(a.status, 200);
    assert_non_null(strstr(answer_header(&a, "Content-Security-Policy"),
                           "default-src 'none'; script-src 'sha256-"));
    assert_non_null(strstr(a.body, "id=\"key-text\""));
    answer_free(&a);
}

static void test_keys_appear_nowhere(void **state)
{
    struct answer a;
    assert_int_equal(get_with("/info", "Authorization: Bearer first-key", &a),
                     200);
    assert_null(strstr(a.body, "-key\""));
    assert_null(strstr(a.body, key_file));
    answer_free(&a);
    char *log = seqd_log_text(&rig.s);
    assert_null(strstr(log, "first-key"));
    mem_free(log);
}

static void test_a_preflight_of_a_listed_origin_is_allowed(void **state)
{
    static const char *const headers[] = {
        "Origin: https://app.example", "Access-Control-Request-Method: POST",
        "Access-Control-Request-Headers: authorization,content-type", NULL};
    struct answer a;
    http_send(rig.s.port, "OPTIONS", "/predict", headers, NULL, 0, &a);
    assert_int_equal(a.status, 204);
    assert_string_equal(answer_header(&a, "Access-Control-Allow-Origin"),
                        "https://app.example");
    assert_string_equal(answer_header(&a, "Vary"), "Origin");
    const char *v = answer_header(&a, "Access-Control-Allow-Methods");
    assert_non_null(strstr(v, "POST"));
    v = answer_header(&a, "Access-Control-Allow-Headers");
    assert_non_null(strstr(v, "Authorization"));
    assert_non_null(strstr(v, "Content-Type"));
    answer_free(&a);
}

static void test_an_answer_to_a_listed_origin_may_be_read(void **state)
{
    static const char *const headers[] = {
        "Origin: http://localhost:3000", "Authorization: Bearer first-key",
        "Content-Type: application/json", NULL};
    static const char body[] = "{\"input\":\"the\"}";
    struct answer a;
    http_send(rig.s.port, "POST", "/predict", headers, body, strlen(body), &a);
    assert_int_equal(a.status, 200);
    assert_string_equal(answer_header(&a, "Access-Control-Allow-Origin"),
                        "http://localhost:3000");
    const char *v = answer_header(&a, "Access-Control-Expose-Headers");
    assert_non_null(strstr(v, "X-Request-Id"));
    answer_free(&a);
}

static void test_an_origin_that_is_not_listed_gets_no_permission(void **state)
{
    static const char *const origins[] = {
        "Origin: https://app.example.evil", "Origin: http://app.example",
        "Origin: null", "Origin: https://APP.example", "X-No: origin"};
    for (size_t i = 0; i < COUNT(origins); i++) {
        const char *const headers[] = {
            origins[i], "Access-Control-Request-Method: POST", NULL};
        struct answer a;
        http_send(rig.s.port, "OPTIONS", "/predict", headers, NULL, 0, &a);
        assert_string_equal(answer_header(&a, "Access-Control-Allow-Origin"),
                            "");
        assert_string_equal(answer_header(&a, "Vary"), "Origin");
        answer_free(&a);
    }
}

static void test_without_the_option_there_are_no_cors_headers(void **state)
{
    static const char *const headers[] = {"Origin: http://localhost:3000",
                                          NULL};
    struct seqd s;
    struct answer a;
    assert_int_equal(http_rig_spawn(&rig, &s, NULL), 0);
    http_send(s.port, "GET", "/version", headers, NULL, 0, &a);
    assert_int_equal(a.status, 200);
    assert_string_equal(answer_header(&a, "Access-Control-Allow-Origin"), "");
    assert_string_equal(answer_header(&a, "Vary"), "");
    answer_free(&a);
    assert_int_equal(seqd_stop(&s), 0);
}

static void test_a_star_allows_all_origins(void **state)
{
    static const char *const headers[] = {"Origin: https://any.example", NULL};
    struct seqd s;
    struct answer a;
    assert_int_equal(http_rig_spawn(&rig, &s, "--cors-origin *"), 0);
    http_send(s.port, "GET", "/version", headers, NULL, 0, &a);
    assert_string_equal(answer_header(&a, "Access-Control-Allow-Origin"), "*");
    answer_free(&a);
    assert_int_equal(seqd_stop(&s), 0);
}

static void test_another_address_needs_a_key_or_no_auth(void **state)
{
#define ANY_ADDRESS "--host 0.0.0.0 --check-config --model %s"
    char err[1024];
    assert_int_equal(seqd_run(NULL, err, sizeof err, ANY_ADDRESS, rig.words),
                     2);
    assert_non_null(strstr(err, "--no-auth"));
    assert_int_equal(
        seqd_run(NULL, err, sizeof err, ANY_ADDRESS " --no-auth", rig.words),
        0);
    assert_int_equal(seqd_run(NULL, err, sizeof err,
                              ANY_ADDRESS " --api-key-file %s", rig.words,
                              key_file),
                     0);
}

static int status_of(int port, const char *header, char *retry, size_t n)
{
    const char *const headers[] = {"Content-Type: application/json", header,
                                   NULL};
    static const char body[] = "{\"input\":\"a\"}";
    struct answer a;
    http_send(port, "POST", "/tokenize", headers, body, strlen(body), &a);
    snprintf(retry, n, "%s", answer_header(&a, "Retry-After"));
    if (a.status == 429)
        assert_true(http_check_error(&a, 429, "rate_limited", ""));
    int status = (int)a.status;
    answer_free(&a);
    return status;
}

static void test_a_client_asks_so_often_a_minute(void **state)
{
    struct seqd s;
    char retry[32];
    assert_int_equal(http_rig_spawn(&rig, &s, "--rate-limit 3"), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(status_of(s.port, NULL, retry, sizeof retry), 200);
    assert_int_equal(status_of(s.port, NULL, retry, sizeof retry), 429);
    long seconds = strtol(retry, NULL, 10);
    assert_true(seconds > 1 && seconds <= 20);
    /* Another address has requests of its own; probes are not counted. */
    struct client *c = client_open_from(s.port, "127.0.0.9");
    static const char body[] = "{\"input\":\"a\"}";
    struct answer a;
    client_send(c, "POST", "/tokenize", NULL, body, strlen(body), &a);
    assert_int_equal(a.status, 200);
    answer_free(&a);
    client_close(c);
    for (int i = 0; i < 9; i++)
        http_answered(s.port, "/readyz", NULL, NULL);
    assert_int_equal(seqd_stop(&s), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_client_asks_so_often_a_minute),
        cmocka_unit_test(test_a_known_key_opens),
        cmocka_unit_test(test_a_wrong_key_is_401),
        cmocka_unit_test(test_every_route_but_probes_and_page_asks_for_a_key),
        cmocka_unit_test(test_keys_appear_nowhere),
        cmocka_unit_test(test_a_preflight_of_a_listed_origin_is_allowed),
        cmocka_unit_test(test_an_answer_to_a_listed_origin_may_be_read),
        cmocka_unit_test(test_an_origin_that_is_not_listed_gets_no_permission),
        cmocka_unit_test(test_without_the_option_there_are_no_cors_headers),
        cmocka_unit_test(test_a_star_allows_all_origins),
        cmocka_unit_test(test_another_address_needs_a_key_or_no_auth),
    };
    return cmocka_run_group_tests(tests, up, down);
}
