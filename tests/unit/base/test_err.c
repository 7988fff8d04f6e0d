/* err: the first message wins, and one line is one line.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/base/err.h"
#include "tests/support/unit.h"

static void test_err_set_keeps_the_first_error(void **state)
{
    struct err e = ERR_INIT;
    assert_int_equal(err_set(&e, ERR_FORMAT, "first %d", 1), -1);
    assert_int_equal(err_set_at(&e, ERR_IO, "why", "p", "second"), -1);
    assert_int_equal(err_nomem(&e), -1);
    assert_int_equal(e.code, ERR_FORMAT);
    assert_string_equal(e.msg, "first 1");
    assert_null(e.reason);
    assert_string_equal(e.param, "");
}

static void test_err_set_at_names_reason_and_parameter(void **state)
{
    struct err e = ERR_INIT;
    err_set_at(&e, ERR_TOO_LARGE, "context_length_exceeded", "input[3]",
               "%d tokens", 9000);
    assert_string_equal(e.reason, "context_length_exceeded");
    assert_string_equal(e.param, "input[3]");
    assert_string_equal(e.msg, "9000 tokens");
    err_clear(&e);
    assert_int_equal(e.code, ERR_NONE);
    assert_string_equal(e.msg, "");
}

static void test_err_set_cuts_what_is_too_long(void **state)
{
    struct err e = ERR_INIT;
    char text[600];
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = 0;
    err_set_at(&e, ERR_INVALID, NULL, text, "%s", text);
    assert_int_equal(strlen(e.msg), sizeof(e.msg) - 1);
    assert_int_equal(strlen(e.param), sizeof(e.param) - 1);
}

static void test_err_set_does_not_cut_a_code_point(void **state)
{
    for (int shift = 0; shift < 3; shift++) {
        struct err e = ERR_INIT;
        char text[600] = "xx";
        for (size_t n = (size_t)shift; n + 3 < sizeof(text); n += 3)
            memcpy(text + n, "\xe2\x82\xac", 4); /* the euro sign */
        err_set_at(&e, ERR_INVALID, NULL, text, "%s", text);
        assert_int_equal((strlen(e.msg) - (size_t)shift) % 3, 0);
        assert_int_equal((strlen(e.param) - (size_t)shift) % 3, 0);
        assert_in_range(strlen(e.param), sizeof(e.param) - 3,
                        sizeof(e.param) - 1);
    }
}

static void test_err_set_takes_line_breaks_out(void **state)
{
    struct err e = ERR_INIT;
    err_set(&e, ERR_INVALID, "a\nb\x01%s", "c\r");
    assert_string_equal(e.msg, "a b c ");
}

static void test_err_set_without_an_err_still_fails(void **state)
{
    assert_int_equal(err_set(NULL, ERR_IO, "x"), -1);
    assert_int_equal(err_set_at(NULL, ERR_IO, "r", "p", "x"), -1);
    assert_int_equal(err_nomem(NULL), -1);
}

static void test_err_code_name_knows_every_code(void **state)
{
    for (int c = ERR_NONE; c <= ERR_INTERNAL; c++) {
        const char *name = err_code_name((enum err_code)c);
        assert_non_null(name);
        assert_string_not_equal(name, "unknown");
    }
    assert_string_equal(err_code_name((enum err_code)999), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_err_set_keeps_the_first_error),
        cmocka_unit_test(test_err_set_at_names_reason_and_parameter),
        cmocka_unit_test(test_err_set_cuts_what_is_too_long),
        cmocka_unit_test(test_err_set_does_not_cut_a_code_point),
        cmocka_unit_test(test_err_set_takes_line_breaks_out),
        cmocka_unit_test(test_err_set_without_an_err_still_fails),
        cmocka_unit_test(test_err_code_name_knows_every_code),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
