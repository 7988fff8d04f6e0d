/* hparams: types and bounds are checked, and the message names the key, what
 * was found and what was expected.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/checkpoint/hparams.h"
#include "tests/support/unit.h"

static const char text[] =
    "{\"n\":5,\"neg\":-3,\"frac\":2.5,\"huge\":1e300,\"f\":0.25,\"yes\":true,"
    "\"s\":\"gru\",\"null\":null,\"list\":[1],"
    "\"a\":{\"b\":{\"c\":7},\"s\":\"x\"}}";

static struct hparams *open_text(void)
{
    struct hparams *h = NULL;
    struct err e = ERR_INIT;
    if (hparams_parse(text, strlen(text), "config.json", &h, &e))
        fail_msg("%s", e.msg);
    return h;
}

static void assert_message(struct err *e, const char *want)
{
    assert_int_equal(e->code, ERR_FORMAT);
    assert_string_equal(e->msg, want);
    err_clear(e);
}

static void test_hparams_int(void **state)
{
    struct hparams *h = open_text();
    struct err e = ERR_INIT;
    int64_t v = 0;
    assert_int_equal(hparams_int(h, "n", 1, 5, &v, &e), 0);
    assert_int_equal(v, 5);
    assert_int_equal(hparams_int(h, "a.b.c", 1, 10, &v, &e), 0);
    assert_int_equal(v, 7);
    assert_int_equal(hparams_int(h, "neg", 1, 65536, &v, &e), -1);
    assert_message(&e, "config.json: 'neg' is -3, expected 1..65536");
    assert_int_equal(hparams_int(h, "n", 6, 9, &v, &e), -1);
    assert_message(&e, "config.json: 'n' is 5, expected 6..9");
    assert_int_equal(hparams_int(h, "frac", 1, 9, &v, &e), -1);
    assert_message(&e, "config.json: 'frac' is 2.5, expected 1..9");
    assert_int_equal(hparams_int(h, "huge", 1, 9, &v, &e), -1);
    assert_message(&e, "config.json: 'huge' is 1e+300, expected 1..9");
    assert_int_equal(hparams_int(h, "s", 1, 9, &v, &e), -1);
    assert_message(&e, "config.json: 's' is a string, expected an integer");
    assert_int_equal(hparams_int(h, "absent", 1, 9, &v, &e), -1);
    assert_message(&e, "config.json: 'absent' is missing");
    assert_int_equal(hparams_int(h, "null", 1, 9, &v, &e), -1);
    assert_message(&e, "config.json: 'null' is missing");
    assert_int_equal(hparams_int(h, "a.x.c", 1, 9, &v, &e), -1);
    assert_message(&e, "config.json: 'a.x.c' is missing");
    hparams_close(h);
}

static void test_hparams_defaults(void **state)
{
    struct hparams *h = open_text();
    struct err e = ERR_INIT;
    int64_t v = 0;
    double f = 0;
    int b = 0;
    const char *s = NULL;
    assert_int_equal(hparams_int_or(h, "absent", 1, 9, 4, &v, &e), 0);
    assert_int_equal(v, 4);
    assert_int_equal(hparams_int_or(h, "null", 1, 9, 3, &v, &e), 0);
    assert_int_equal(v, 3);
    assert_int_equal(hparams_float_or(h, "f", 0, 1, 0.5, &f, &e), 0);
    assert_true(f == 0.25);
    assert_int_equal(hparams_float_or(h, "absent", 0, 1, 0.5, &f, &e), 0);
    assert_true(f == 0.5);
    assert_int_equal(hparams_bool_or(h, "yes", 0, &b, &e), 0);
    assert_int_equal(b, 1);
    assert_int_equal(hparams_bool_or(h, "absent", 1, &b, &e), 0);
    assert_int_equal(b, 1);
    assert_int_equal(hparams_string_or(h, "a.s", "d", &s, &e), 0);
    assert_string_equal(s, "x");
    assert_int_equal(hparams_string_or(h, "absent", "d", &s, &e), 0);
    assert_string_equal(s, "d");
    /* A default does not excuse a wrong value. */
    assert_int_equal(hparams_int_or(h, "neg", 0, 9, 4, &v, &e), -1);
    assert_message(&e, "config.json: 'neg' is -3, expected 0..9");
    assert_int_equal(hparams_float_or(h, "n", 0, 1, 0.5, &f, &e), -1);
    assert_message(&e, "config.json: 'n' is 5, expected 0..1");
    assert_int_equal(hparams_float_or(h, "yes", 0, 1, 0.5, &f, &e), -1);
    assert_message(&e, "config.json: 'yes' is a boolean, expected a number");
    assert_int_equal(hparams_bool_or(h, "n", 0, &b, &e), -1);
    assert_message(&e, "config.json: 'n' is a number, expected a boolean");
    assert_int_equal(hparams_string_or(h, "list", "d", &s, &e), -1);
    assert_message(&e, "config.json: 'list' is an array, expected a string");
    hparams_close(h);
}

static void test_hparams_string_and_choice(void **state)
{
    static const char *const cells[] = {"elman", "lstm", "gru", NULL};
    struct hparams *h = open_text();
    struct err e = ERR_INIT;
    const char *s = NULL;
    int v = -1;
    assert_int_equal(hparams_string(h, "s", &s, &e), 0);
    assert_string_equal(s, "gru");
    assert_int_equal(hparams_string(h, "absent", &s, &e), -1);
    assert_message(&e, "config.json: 'absent' is missing");
    assert_int_equal(hparams_choice(h, "s", cells, NULL, &v, &e), 0);
    assert_int_equal(v, 2);
    assert_int_equal(hparams_choice(h, "absent", cells, "lstm", &v, &e), 0);
    assert_int_equal(v, 1);
    assert_int_equal(hparams_choice(h, "absent", cells, NULL, &v, &e), -1);
    assert_message(&e, "config.json: 'absent' is missing");
    assert_int_equal(hparams_choice(h, "a.s", cells, "lstm", &v, &e), -1);
    assert_message(&e,
                   "config.json: 'a.s' is 'x', expected elman, lstm or gru");
    assert_int_equal(hparams_choice(h, "n", cells, NULL, &v, &e), -1);
    assert_message(&e, "config.json: 'n' is a number, expected a string");
    hparams_close(h);
}

static void test_hparams_has_and_json(void **state)
{
    struct hparams *h = open_text();
    assert_true(hparams_has(h, "n"));
    assert_true(hparams_has(h, "a.b"));
    assert_false(hparams_has(h, "null"));
    assert_false(hparams_has(h, "a.b.c.d"));
    assert_false(hparams_has(h, ""));
    assert_int_equal(json_size(hparams_json(h, "list")), 1);
    assert_null(hparams_json(h, "n.x"));
    char key[400];
    memset(key, 'k', sizeof(key) - 1);
    key[sizeof(key) - 1] = 0;
    assert_false(hparams_has(h, key));
    hparams_close(h);
    hparams_close(NULL);
}

static void test_hparams_refuses_bad_files(void **state)
{
    static const char *const bad[] = {"", "[]", "3", "{", "{\"a\":1,\"a\":2}"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct hparams *h = NULL;
        struct err e = ERR_INIT;
        assert_int_equal(
            hparams_parse(bad[i], strlen(bad[i]), "config.json", &h, &e), -1);
        assert_int_equal(e.code, ERR_FORMAT);
        assert_memory_equal(e.msg, "config.json: ", 13);
        assert_null(h);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hparams_int),
        cmocka_unit_test(test_hparams_defaults),
        cmocka_unit_test(test_hparams_string_and_choice),
        cmocka_unit_test(test_hparams_has_and_json),
        cmocka_unit_test(test_hparams_refuses_bad_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
