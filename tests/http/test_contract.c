/* The contract holds: every answer of a running server fits its schema in
 * /openapi.json, every member that a request schema names is known to the
 * server, and members of other names are not.
 *
 * SPDX-License-Identifier: MIT */
#include "tests/support/http_rig.h"
#include "tests/support/http_schema.h"

static struct http_rig rig;
static struct answer contract;

static int up(void **state)
{
    if (http_rig_up(&rig, NULL) < 0)
        return -1;
    http_get(rig.s.port, "/openapi.json", &contract);
    return contract.status == 200 && contract.j ? 0 : -1;
}

static int down(void **state)
{
    answer_free(&contract);
    return http_rig_down(&rig);
}

/* The operation at a path ("." in paths forbids json_at). */
static const struct json *operation(const char *path, const char *method)
{
    return json_get(json_get(json_get(contract.j, "paths"), path), method);
}

static const struct json *media_schema(const struct json *with_content)
{
    const struct json *c = json_get(with_content, "content");
    return json_get(json_get(c, "application/json"), "schema");
}

static const struct json *answer_schema(const char *path, const char *method,
                                        long status)
{
    const struct json *r = json_get(operation(path, method), "responses");
    char code[16];
    snprintf(code, sizeof code, "%ld", status);
    return media_schema(schema_resolve(contract.j, json_get(r, code)));
}

static void check(const char *path, const char *method, const struct answer *a)
{
    char why[512] = "no such answer in the contract";
    const struct json *s = answer_schema(path, method, a->status);
    if (!s || !a->j || !schema_check(contract.j, s, a->j, why, sizeof why)) {
        fprintf(stderr, "%s %s, %ld: %s\n%.500s\n", method, path, a->status,
                why, a->body);
        fail();
    }
}

static void test_the_contract_names_the_version_that_runs(void **state)
{
    assert_string_equal(answer_text(&contract, "openapi"), "3.1.0");
    assert_string_equal(answer_text(&contract, "info.title"), "seqd");
    struct answer v;
    http_get(rig.s.port, "/version", &v);
    assert_string_equal(answer_text(&contract, "info.version"),
                        answer_text(&v, "version"));
    answer_free(&v);
}

static void test_answers_of_post_routes_fit(void **state)
{
    static const char *const ask[][2] = {
        {"/predict", "{\"input\":[\"the\",\"zebra\",\"\"],\"top_k\":100}"},
        {"/predict", "{\"model\":\"chars\",\"input\":\"x\"}"},
        {"/predict", "{\"input\":\"the\",\"temperature\":0.01,\"top_k\":100}"},
        {"/sentiment", "{\"input\":[\"the\",\"zebra a b c\"]}"},
        {"/generate", "{\"input\":[\"the\",\"\"],\"max_tokens\":5}"},
        {"/generate", "{\"model\":\"chars\",\"input\":\"a\",\"stop\":\"e\"}"},
        {"/tokenize",
         "{\"input\":[\"the cat\",\"\",\"zebra\"],\"add_special\":true}"},
        {"/detokenize", "{\"tokens\":[[1,2,3],[],[60]]}"},
        {"/detokenize", "{\"tokens\":[]}"},
        {"/predict", "{\"input\":3}"},
        {"/sentiment", "{\"input\":\"poison\"}"},
        {"/generate", "{\"x\":3}"},
        {"/tokenize", "{\"input\":\"a\",\"model\":\"none\"}"},
        {"/detokenize", "["},
    };
    for (size_t i = 0; i < COUNT(ask); i++) {
        struct answer a;
        http_post(rig.s.port, ask[i][0], ask[i][1], &a);
        check(ask[i][0], "post", &a);
        answer_free(&a);
    }
}

static void test_answers_of_get_routes_fit(void **state)
{
    static const char *const ask[][2] = {{"/v1/models", "/v1/models"},
                                         {"/v1/models/words", "/v1/models/{m}"},
                                         {"/v1/models/none", "/v1/models/{m}"},
                                         {"/livez", "/livez"},
                                         {"/readyz", "/readyz"},
                                         {"/health", "/health"},
                                         {"/healthz", "/healthz"},
                                         {"/info", "/info"},
                                         {"/version", "/version"},
                                         {"/openapi.json", "/openapi.json"}};
    for (size_t i = 0; i < COUNT(ask); i++) {
        struct answer a;
        http_get(rig.s.port, ask[i][0], &a);
        check(ask[i][1], "get", &a);
        answer_free(&a);
    }
}

static void test_chunks_of_a_stream_fit(void **state)
{
    struct answer a;
    const struct json *s = schema_named(contract.j, "GenerateChunk");
    char why[512];
    int n = 0;
    http_post(rig.s.port, "/generate",
              "{\"input\":[\"the\",\"a\"],\"max_tokens\":3,\"stream\":true}",
              &a);
    for (char *p = a.body; (p = strstr(p, "data: {")) != NULL; n++) {
        struct json *j = NULL;
        p += 6;
        assert_int_equal(json_parse(p, strcspn(p, "\n"), NULL, &j, NULL), 0);
        if (!schema_check(contract.j, s, j, why, sizeof why)) {
            fprintf(stderr, "%s: %.300s\n", why, p);
            fail();
        }
        json_free(j);
    }
    assert_true(n >= 4);
    answer_free(&a);
}

/* The members that a request schema names. */
static const struct json *members_of(const char *path)
{
    const struct json *body = json_get(operation(path, "post"), "requestBody");
    const struct json *s = schema_resolve(contract.j, media_schema(body));
    return json_child(json_get(s, "properties"));
}

/* The least that each route answers. */
static const struct {
    const char *path, *body;
} least[] = {
    {"/predict", "\"input\":\"the\""},
    {"/sentiment", "\"input\":\"the\""},
    {"/generate", "\"input\":\"the\",\"max_tokens\":1"},
    {"/tokenize", "\"input\":\"the\""},
    {"/detokenize", "\"tokens\":[1]"},
};

static void ask_with(size_t i, const char *name, const char *value,
                     struct answer *a)
{
    char body[4096];
    snprintf(body, sizeof body, "{%s,\"%s\":%s}", least[i].body, name, value);
    http_post(rig.s.port, least[i].path, body, a);
}

/* What clients send that fill in a form of their own. */
static void test_null_is_as_good_as_no_member(void **state)
{
    for (size_t i = 0; i < COUNT(least); i++) {
        const struct json *p = members_of(least[i].path);
        assert_non_null(p);
        for (; p; p = json_next(p)) {
            struct answer a;
            char at[32];
            snprintf(at, sizeof at, "\"%s\"", json_key(p));
            if (strstr(least[i].body, at))
                continue;
            ask_with(i, json_key(p), "null", &a);
            if (a.status != 200)
                fail_msg("%s, %s null: %s", least[i].path, json_key(p), a.body);
            check(least[i].path, "post", &a);
            answer_free(&a);
        }
    }
}

/* What a member's schema lists as errors that depend on model and options. */
static int may_be_refused(const struct json *schema, const char *code)
{
    const struct json *s = schema_resolve(contract.j, schema);
    const struct json *x = json_child(json_get(s, "x-errors"));
    while (x && strcmp(json_string(x), code))
        x = json_next(x);
    return x != NULL;
}

/* A bound of a number is a value, the next one is not. */
static void check_bound(size_t i, const struct json *member, const char *key,
                        double step)
{
    const struct json *s = schema_resolve(contract.j, member);
    const struct json *bound = json_get(s, key);
    int open = !strncmp(key, "exclusive", 9);
    for (int out = open; bound && out < 2; out++) {
        char value[64];
        struct answer a;
        snprintf(value, sizeof value, "%.17g",
                 json_number(bound) + (out ? step : 0));
        ask_with(i, json_key(member), value, &a);
        const char *code = answer_text(&a, "error.code");
        int right =
            out ? a.status == 400 && !strcmp(code, "invalid_value") &&
                      !strcmp(answer_text(&a, "error.param"), json_key(member))
                : a.status == 200 || may_be_refused(s, code);
        if (!right)
            fail_msg("%s, %s of %s, %s: %ld %s", least[i].path, key,
                     json_key(member), value, a.status, a.body);
        check(least[i].path, "post", &a);
        answer_free(&a);
    }
}

static void test_bounds_of_numbers_hold(void **state)
{
    for (size_t i = 0; i < COUNT(least); i++)
        for (const struct json *p = members_of(least[i].path); p;
             p = json_next(p)) {
            if (strstr(least[i].body, json_key(p)))
                continue;
            check_bound(i, p, "minimum", -1);
            check_bound(i, p, "exclusiveMinimum", 0);
            check_bound(i, p, "maximum", 1);
        }
    http_refused(rig.s.port, "/generate",
                 "{\"input\":\"a\",\"max_tokens\":1048577}", 400,
                 "invalid_value", "max_tokens");
}

/* Who names no length gets no more than who does. */
static void test_the_default_length_is_one_that_is_allowed(void **state)
{
    struct seqd s;
    assert_int_equal(http_rig_spawn(&rig, &s, "--max-output-tokens 3"), 0);
    for (int seed = 0; seed < 8; seed++) {
        char body[64];
        struct answer a;
        snprintf(body, sizeof body, "{\"input\":\"the\",\"seed\":%d}", seed);
        http_answered(s.port, "/generate", body, &a);
        assert_true(answer_number(&a, "usage.completion_tokens") <= 3);
        answer_free(&a);
    }
    assert_int_equal(seqd_stop(&s), 0);
}

/* U+0000 is a character of a text like others (RFC 8259, 7). */
static void test_a_text_may_hold_a_zero(void **state)
{
    static const char *const paths[] = {"/predict", "/sentiment", "/generate",
                                        "/tokenize"};
    for (size_t i = 0; i < COUNT(paths); i++) {
        struct answer a;
        http_answered(rig.s.port, paths[i],
                      "{\"input\":[\"the \\u0000 cat\",\"\\u0000the\"]}", &a);
        check(paths[i], "post", &a);
        answer_free(&a);
        http_refused(rig.s.port, paths[i],
                     "{\"input\":\"the\",\"model\":\"words\\u0000\"}", 404,
                     "model_not_found", "model");
        http_refused(rig.s.port, paths[i],
                     "{\"input\":\"the\",\"input\\u0000\":\"a\"}", 400,
                     "unknown_field", "input\xef\xbf\xbd\xef\xbf\xbd");
    }
}

/* maxLength counts characters, whatever their bytes. */
static void test_a_stop_text_has_256_characters(void **state)
{
    char value[4 * 257 + 3] = "\"";
    struct answer a;
    for (int i = 0; i < 256; i++)
        memcpy(value + 1 + 4 * i, "\xf0\x9f\x98\x80\"", 6);
    ask_with(2, "stop", value, &a);
    assert_int_equal(a.status, 200);
    answer_free(&a);
    memcpy(value + 1 + 4 * 256, "z\"", 3);
    ask_with(2, "stop", value, &a);
    assert_true(http_check_error(&a, 400, "invalid_value", "stop"));
    answer_free(&a);
}

/* What is over 0 as a double may not be as a float. */
static void test_the_least_top_p_takes_the_best_token(void **state)
{
    struct answer a, best;
    http_answered(rig.s.port, "/generate",
                  "{\"input\":\"the\",\"seed\":1,\"top_p\":1e-300}", &a);
    http_answered(rig.s.port, "/generate",
                  "{\"input\":\"the\",\"seed\":1,\"temperature\":0}", &best);
    assert_string_equal(http_payload(&a), http_payload(&best));
    answer_free(&a);
    answer_free(&best);
}

/* The empty list fits the schema, in one way or another. */
static void test_a_list_of_no_tokens_is_a_text(void **state)
{
    struct json *j = NULL;
    char why[256];
    assert_int_equal(json_parse("{\"tokens\":[]}", 13, NULL, &j, NULL), 0);
    if (!schema_check(contract.j, schema_named(contract.j, "DetokenizeRequest"),
                      j, why, sizeof why))
        fail_msg("%s", why);
    json_free(j);
    http_answered(rig.s.port, "/detokenize", "{\"tokens\":[]}", NULL);
}

/* Each member that a request schema names, with a value of no type that any
 * takes, is found fault with by name: it is known. */
static void test_every_member_of_a_request_is_known(void **state)
{
    static const char *const paths[] = {"/predict", "/sentiment", "/generate",
                                        "/tokenize", "/detokenize"};
    for (size_t i = 0; i < COUNT(paths); i++) {
        const struct json *p = members_of(paths[i]);
        assert_non_null(p);
        for (; p; p = json_next(p)) {
            char body[128];
            struct answer a;
            snprintf(body, sizeof body, "{\"%s\":{\"a\":1}}", json_key(p));
            http_post(rig.s.port, paths[i], body, &a);
            const char *code = answer_text(&a, "error.code");
            if (a.status != 400 || !strcmp(code, "unknown_field") ||
                strcmp(answer_text(&a, "error.param"), json_key(p))) {
                fprintf(stderr, "%s %s: %s\n", paths[i], body, a.body);
                fail();
            }
            answer_free(&a);
        }
        http_refused(rig.s.port, paths[i], "{\"no_such_member\":1}", 400,
                     "unknown_field", "no_such_member");
    }
}

/* The validator itself can fail. */
static void test_the_validator_finds_faults(void **state)
{
    static const char *const wrong[] = {
        "{\"name\":\"seqd\"}", "{\"name\":\"x\",\"version\":\"1\"}",
        "{\"name\":\"seqd\",\"version\":1}",
        "{\"name\":\"seqd\",\"version\":\"1\",\"more\":1}", "[]"};
    const struct json *s = schema_named(contract.j, "Version");
    for (size_t i = 0; i < COUNT(wrong); i++) {
        struct json *j = NULL;
        char why[256];
        assert_int_equal(json_parse(wrong[i], strlen(wrong[i]), NULL, &j, NULL),
                         0);
        assert_false(schema_check(contract.j, s, j, why, sizeof why));
        json_free(j);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_contract_names_the_version_that_runs),
        cmocka_unit_test(test_answers_of_post_routes_fit),
        cmocka_unit_test(test_answers_of_get_routes_fit),
        cmocka_unit_test(test_chunks_of_a_stream_fit),
        cmocka_unit_test(test_null_is_as_good_as_no_member),
        cmocka_unit_test(test_bounds_of_numbers_hold),
        cmocka_unit_test(test_the_default_length_is_one_that_is_allowed),
        cmocka_unit_test(test_a_text_may_hold_a_zero),
        cmocka_unit_test(test_a_stop_text_has_256_characters),
        cmocka_unit_test(test_the_least_top_p_takes_the_best_token),
        cmocka_unit_test(test_a_list_of_no_tokens_is_a_text),
        cmocka_unit_test(test_every_member_of_a_request_is_known),
        cmocka_unit_test(test_the_validator_finds_faults),
    };
    return cmocka_run_group_tests(tests, up, down);
}
