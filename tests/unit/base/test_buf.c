/* buf: the cap holds, failures stick, and JSON strings are escaped.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/base/buf.h"
#include "engine/base/mem.h"
#include "tests/support/unit.h"

static void test_buf_refuses_to_pass_its_cap(void **state)
{
    struct buf b;
    buf_init(&b, 5);
    assert_int_equal(buf_add_str(&b, "abc"), 0);
    assert_int_equal(buf_add_str(&b, "def"), -1);
    assert_int_equal(b.failed, 1);
    assert_int_equal(b.full, 1);
    assert_string_equal(b.p, "abc");
    assert_int_equal(buf_add_str(&b, "d"), -1); /* failed stays */
    buf_clear(&b);
    assert_int_equal(buf_add_str(&b, "abcde"), 0);
    assert_string_equal(b.p, "abcde");
    assert_int_equal(buf_add(&b, "x", SIZE_MAX), -1);
    assert_string_equal(b.p, "abcde");
    buf_fini(&b);
}

static void test_buf_addf_grows_for_long_text(void **state)
{
    struct buf b;
    char want[1200];
    buf_init(&b, 4000);
    memset(want, 'y', 1000);
    want[1000] = 0;
    assert_int_equal(buf_addf(&b, "%s-%d", "x", 7), 0);
    assert_int_equal(buf_addf(&b, "%s", want), 0);
    assert_int_equal(b.len, 1003);
    assert_memory_equal(b.p, "x-7yyy", 6);
    assert_int_equal(b.p[1003], 0);
    buf_fini(&b);
}

static void test_buf_out_of_memory_keeps_the_content(void **state)
{
    struct buf b;
    buf_init(&b, 100000);
    buf_add_str(&b, "start");
    char big[1000] = {0};
    mem_fail_at(1);
    assert_int_equal(buf_add(&b, big, sizeof(big)), -1);
    mem_fail_at(0);
    assert_string_equal(b.p, "start");
    assert_int_equal(b.failed, 1);
    buf_fini(&b);
}

static void test_buf_take_leaves_an_empty_buffer(void **state)
{
    struct buf b;
    buf_init(&b, 100);
    buf_add_str(&b, "kept");
    char *p = buf_take(&b);
    assert_string_equal(p, "kept");
    assert_null(b.p);
    assert_int_equal(b.len, 0);
    buf_add_str(&b, "again");
    assert_string_equal(b.p, "again");
    mem_free(p);
    buf_fini(&b);
}

static void test_buf_json_string_escapes(void **state)
{
    static const struct {
        const char *in;
        size_t n;
        const char *out;
    } cases[] = {
        {"", 0, "\"\""},
        {"plain", 5, "\"plain\""},
        {"a\"b\\c/", 6, "\"a\\\"b\\\\c/\""},
        {"\b\f\n\r\t", 5, "\"\\b\\f\\n\\r\\t\""},
        {"\x00\x1f\x7f", 3, "\"\\u0000\\u001f\x7f\""},
        {"\xc3\xa9\xf0\x9f\x98\x80", 6, "\"\xc3\xa9\xf0\x9f\x98\x80\""},
        {"a\xff"
         "b",
         3,
         "\"a\xef\xbf\xbd"
         "b\""},
        {"\xc3", 1, "\"\xef\xbf\xbd\""},
        {"\xed\xa0\x80", 3, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct buf b;
        buf_init(&b, 1000);
        assert_int_equal(buf_add_json_string(&b, cases[i].in, cases[i].n), 0);
        assert_string_equal(b.p, cases[i].out);
        buf_fini(&b);
    }
}

static void test_buf_json_string_is_whole_or_absent(void **state)
{
    struct buf b;
    buf_init(&b, 8);
    buf_add_str(&b, "ok");
    assert_int_equal(buf_add_json_string(&b, "\n\n\n", 3), -1);
    assert_string_equal(b.p, "ok");
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_buf_refuses_to_pass_its_cap),
        cmocka_unit_test(test_buf_addf_grows_for_long_text),
        cmocka_unit_test(test_buf_out_of_memory_keeps_the_content),
        cmocka_unit_test(test_buf_take_leaves_an_empty_buffer),
        cmocka_unit_test(test_buf_json_string_escapes),
        cmocka_unit_test(test_buf_json_string_is_whole_or_absent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
