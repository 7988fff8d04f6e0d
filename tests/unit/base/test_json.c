/* json: what RFC 8259 allows is read, what it forbids is refused, and so is
 * what is legal but ambiguous (duplicate keys, \u0000, numbers out of range).
 *
 * SPDX-License-Identifier: MIT */
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/buf.h"
#include "engine/base/json.h"
#include "tests/support/unit.h"

static int parse(const char *text, size_t n, struct json **j, struct err *e)
{
    err_clear(e);
    return json_parse(text, n, NULL, j, e);
}

static void test_json_accepts(void **state)
{
    static const char *const texts[] = {
        "{}",
        "[]",
        " [ ] ",
        "\t\n\r {\t\"a\"\n:\r1 } ",
        "null",
        "true",
        "false",
        "\"\"",
        "0",
        "-0",
        "-1",
        "10",
        "0.5",
        "1e5",
        "1E+5",
        "1.25e-5",
        "-0.0e0",
        "1e308",
        "1e-400",
        "0e999999",
        "0.00000000000000000000000000000000000000000000000000000000001",
        "123456789012345678901234567890123456789012345678901234567890123",
        "[1,[2,[3,[]]],{}]",
        "{\"a\":{\"a\":{\"a\":1}},\"b\":[{\"a\":1},{\"a\":2}]}",
        "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\uD83D\\ude00\"",
        "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\x7f\"",
        "\"\\u0001\"",
        "{\"\":1,\"a\":2,\"A\":3}",
        "[\"\\\\\\\\\",\"\\\"\"]",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct json *j = NULL;
        struct err e = ERR_INIT;
        if (parse(texts[i], strlen(texts[i]), &j, &e))
            fail_msg("%s: %s", texts[i], e.msg);
        assert_non_null(j);
        json_free(j);
    }
}

static void test_json_refuses(void **state)
{
    static const struct {
        const char *text, *cause;
    } cases[] = {
        {"", "unexpected end"},
        {"  ", "unexpected end"},
        {"[", "unexpected end"},
        {"{", "unexpected end"},
        {"[1", "unexpected end"},
        {"{\"a\"", "expected ':'"},
        {"{\"a\":", "unexpected end"},
        {"{\"a\":1", "unexpected end"},
        {"]", "expected a value"},
        {"}", "expected a value"},
        {"[}", "expected a value"},
        {"{]", "expected a key"},
        {"[1}", "expected ',' or ']'"},
        {"{\"a\":1]", "expected ',' or '}'"},
        {"[1,]", "expected a value"},
        {"[,1]", "expected a value"},
        {"[1,,2]", "expected a value"},
        {"[1 2]", "expected ',' or ']'"},
        {"{\"a\":1,}", "expected a key"},
        {"{,}", "expected a key"},
        {"{a:1}", "expected a key"},
        {"{'a':1}", "expected a key"},
        {"{1:1}", "expected a key"},
        {"{\"a\" 1}", "expected ':'"},
        {"{\"a\":1 \"b\":2}", "expected ',' or '}'"},
        {"1 2", "bytes after the value"},
        {"{}x", "bytes after the value"},
        {"null\xef\xbb\xbf", "bytes after the value"},
        {"\xef\xbb\xbfnull", "expected a value"},
        {"nul", "expected a value"},
        {"True", "expected a value"},
        {"NaN", "expected a value"},
        {"Infinity", "expected a value"},
        {"-Infinity", "expected a value"},
        {"undefined", "expected a value"},
        {"/* c */1", "expected a value"},
        {"-", "expected a value"},
        {"+1", "expected a value"},
        {".5", "expected a value"},
        {"01", "leading zero"},
        {"-012", "leading zero"},
        {"1.", "after the point"},
        {"1.e5", "after the point"},
        {"1e", "in the exponent"},
        {"1e+", "in the exponent"},
        {"0x10", "bytes after the value"},
        {"1e309", "out of range"},
        {"-1e309", "out of range"},
        {"1e99999999999999999999", "out of range"},
        {"10000000000e300", "out of range"},
        {"[1e400]", "out of range"},
        {"1234567890123456789012345678901234567890123456789012345678901234",
         "63 characters"},
        {"\"", "unterminated"},
        {"\"a", "unterminated"},
        {"\"\\", "unknown escape"},
        {"\"\\\"", "unterminated"},
        {"\"\\x\"", "unknown escape"},
        {"\"\\u12\"", "unknown escape"},
        {"\"\\u12g4\"", "unknown escape"},
        {"\"\\U0041\"", "unknown escape"},
        {"\"a\nb\"", "control character"},
        {"\"a\tb\"", "control character"},
        {"\"\x1f\"", "control character"},
        {"\"\\u0000\"", "\\u0000"},
        {"\"\\ud800\"", "lone surrogate"},
        {"\"\\ud800x\"", "lone surrogate"},
        {"\"\\ud800\\u0041\"", "lone surrogate"},
        {"\"\\ud800\\ud800\"", "lone surrogate"},
        {"\"\\udc00\"", "lone surrogate"},
        {"\"\xff\"", "not UTF-8"},
        {"\"\xc0\x80\"", "not UTF-8"},
        {"\"\xed\xa0\x80\"", "not UTF-8"},
        {"\"\xe2\x82\"", "not UTF-8"},
        {"{\"\xff\":1}", "not UTF-8"},
        {"{\"a\":1,\"a\":2}", "duplicate key 'a'"},
        {"{\"a\":1,\"\\u0061\":2}", "duplicate key 'a'"},
        {"{\"\\u00e9\":1,\"\xc3\xa9\":2}", "duplicate key"},
        {"{\"\":1,\"\":2}", "duplicate key ''"},
        {"[{\"x\":{\"k\":1,\"l\":2,\"k\":3}}]", "duplicate key 'k'"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct json *j = NULL;
        struct err e = ERR_INIT;
        if (parse(cases[i].text, strlen(cases[i].text), &j, &e) == 0)
            fail_msg("accepted: %s", cases[i].text);
        assert_null(j);
        assert_int_equal(e.code, ERR_INVALID);
        if (!strstr(e.msg, cases[i].cause)) {
            fail_msg("%s: '%s' lacks '%s'", cases[i].text, e.msg,
                     cases[i].cause);
        }
    }
}

static void test_json_refuses_a_nul_byte(void **state)
{
    struct json *j = NULL;
    struct err e = ERR_INIT;
    assert_int_equal(parse("{}\0", 3, &j, &e), -1);
    assert_int_equal(parse("\"a\0b\"", 5, &j, &e), -1);
    assert_int_equal(parse("\"\\\0\"", 4, &j, &e), -1);
}

/* The text is counted by length: what follows it must not be looked at. */
static void test_json_every_prefix_fails_cleanly(void **state)
{
    const char *text = "{\"a\":[1.5e2,true,null,\"\\ud83d\\ude00\xc3\xa9\"],"
                       "\"b\":{\"c\":-0.25}}";
    size_t n = strlen(text);
    for (size_t k = 0; k < n; k++) {
        struct json *j = NULL;
        struct err e = ERR_INIT;
        char *exact = test_malloc(k + 1); /* its own block, for sanitizers */
        memcpy(exact, text, k);
        assert_int_equal(parse(exact, k, &j, &e), -1);
        assert_int_equal(e.code, ERR_INVALID);
        test_free(exact);
    }
    struct json *j = NULL;
    struct err e = ERR_INIT;
    assert_int_equal(parse(text, n, &j, &e), 0);
    json_free(j);
}

static void nest(struct buf *b, int depth)
{
    buf_clear(b);
    for (int i = 0; i < depth; i++)
        buf_add_str(b, i % 2 ? "{\"a\":" : "[");
    buf_add_char(b, '1');
    for (int i = depth - 1; i >= 0; i--)
        buf_add_char(b, i % 2 ? '}' : ']');
}

static void test_json_depth_is_limited(void **state)
{
    const struct json_limits deep = {0, 5000, 0};
    struct buf b;
    struct json *j = NULL;
    struct err e = ERR_INIT;
    buf_init(&b, 1 << 20);
    nest(&b, 32);
    assert_int_equal(parse(b.p, b.len, &j, &e), 0);
    json_free(j);
    nest(&b, 33);
    assert_int_equal(parse(b.p, b.len, &j, &e), -1);
    assert_non_null(strstr(e.msg, "nested deeper than 32"));
    nest(&b, 1000); /* the most that cJSON's own limit lets through */
    err_clear(&e);
    assert_int_equal(json_parse(b.p, b.len, &deep, &j, &e), 0);
    json_free(j);
    nest(&b, 1001);
    err_clear(&e);
    assert_int_equal(json_parse(b.p, b.len, &deep, &j, &e), -1);
    assert_int_equal(e.code, ERR_INVALID);
    buf_fini(&b);
}

static void test_json_bytes_and_values_are_limited(void **state)
{
    const struct json_limits lim = {20, 0, 4};
    struct json *j = NULL;
    struct err e = ERR_INIT;
    assert_int_equal(json_parse("[1,2,3]", 7, &lim, &j, &e), 0);
    json_free(j);
    assert_int_equal(json_parse("[1,2,3,4]", 9, &lim, &j, &e), -1);
    assert_int_equal(e.code, ERR_TOO_LARGE);
    err_clear(&e);
    const char *long_text = "[                   ]";
    assert_int_equal(json_parse(long_text, 21, &lim, &j, &e), -1);
    assert_int_equal(e.code, ERR_TOO_LARGE);
}

/* 50,000 keys are looked through by hashing; one of them comes twice. */
static void test_json_finds_a_duplicate_among_many_keys(void **state)
{
    struct buf b;
    struct json *j = NULL;
    struct err e = ERR_INIT;
    buf_init(&b, 4 << 20);
    for (int twice = 0; twice < 2; twice++) {
        buf_clear(&b);
        buf_add_char(&b, '{');
        for (int i = 0; i < 50000; i++)
            buf_addf(&b, "\"k%d\":{\"id\":%d},", i, i);
        buf_addf(&b, "\"%s\":0}", twice ? "k\\u00312345" : "k50000");
        assert_int_equal(json_parse(b.p, b.len, NULL, &j, &e), -twice);
        if (twice) {
            assert_non_null(strstr(e.msg, "duplicate key 'k12345'"));
        } else {
            assert_int_equal(json_size(j), 50001);
            json_free(j);
        }
    }
    buf_fini(&b);
}

static void test_json_reads_values(void **state)
{
    const char *text =
        "{\"s\":\"a\\u00e9\\n\",\"n\":-2.5,\"i\":9007199254740992,"
        "\"t\":true,\"f\":false,\"z\":null,\"l\":[1,2,3],"
        "\"S\":\"other\",\"big\":9007199254740994,\"e\":1e3}";
    struct json *j = NULL;
    struct err e = ERR_INIT;
    int64_t v = 0;
    assert_int_equal(parse(text, strlen(text), &j, &e), 0);
    assert_int_equal(json_type(j), JSON_OBJECT);
    assert_string_equal(json_string(json_get(j, "s")), "a\xc3\xa9\n");
    assert_int_equal(json_string_len(json_get(j, "s")), 4);
    assert_string_equal(json_string(json_get(j, "S")), "other");
    assert_true(json_number(json_get(j, "n")) == -2.5);
    assert_int_equal(json_int(json_get(j, "n"), &v), -1);
    assert_int_equal(json_int(json_get(j, "i"), &v), 0);
    assert_true(v == 9007199254740992);
    assert_int_equal(json_int(json_get(j, "big"), &v), -1);
    assert_int_equal(json_int(json_get(j, "e"), &v), 0);
    assert_int_equal(v, 1000);
    assert_int_equal(json_bool(json_get(j, "t")), 1);
    assert_int_equal(json_bool(json_get(j, "f")), 0);
    assert_int_equal(json_type(json_get(j, "f")), JSON_BOOL);
    assert_int_equal(json_type(json_get(j, "z")), JSON_NULL);
    assert_null(json_get(j, "absent"));
    assert_null(json_string(json_get(j, "n")));
    const struct json *l = json_get(j, "l");
    assert_int_equal(json_type(l), JSON_ARRAY);
    assert_int_equal(json_size(l), 3);
    int sum = 0;
    for (const struct json *c = json_child(l); c; c = json_next(c)) {
        assert_null(json_key(c));
        sum += (int)json_number(c);
    }
    assert_int_equal(sum, 6);
    assert_string_equal(json_key(json_child(j)), "s");
    json_free(j);
}

/* The compiler reads the same digits. */
static void test_json_numbers_are_the_nearest_doubles(void **state)
{
#define SAME(x)                                                                \
    {                                                                          \
#x, x                                                                  \
    }
    static const struct {
        const char *text;
        double value;
    } cases[] = {
        SAME(0.0),
        SAME(-0.0),
        SAME(7.0),
        SAME(999999999999999.0),
        SAME(9007199254740993.0),
        SAME(123456789012345678901234567890.0),
        SAME(0.1),
        SAME(-2.5e-3),
        SAME(1e23),
        SAME(9.5367431640625e-7),
        SAME(2.2250738585072011e-308),
        SAME(4.9e-324),
        SAME(1.7976931348623157e308),
        SAME(0.000000000000000000000000000000000000000000000000000001234567),
        {"0", 0.0},
        {"-0", -0.0},
        {"-12", -12.0},
        {"999999999999999", 999999999999999.0},
        {"-999999999999999", -999999999999999.0},
        {"9007199254740993", 9007199254740992.0},
        {"18446744073709551616", 0x1p64},
        {"1E+2", 100.0},
        {"100e-2", 1.0},
        {"1e-400", 0.0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct json *j = NULL;
        struct err e = ERR_INIT;
        assert_int_equal(parse(cases[i].text, strlen(cases[i].text), &j, &e),
                         0);
        double v = json_number(j);
        if (memcmp(&v, &cases[i].value, sizeof v) != 0)
            fail_msg("%s is %a", cases[i].text, v);
        json_free(j);
    }
}

/* Each value as its type and key, in parentheses what is in it. */
static void show(const struct json *j, struct buf *out)
{
    for (; j; j = json_next(j)) {
        buf_addf(out, "%d", (int)json_type(j));
        if (json_key(j))
            buf_add_str(out, json_key(j));
        if (json_child(j)) {
            buf_add_char(out, '(');
            show(json_child(j), out);
            buf_add_char(out, ')');
        }
    }
}

static void test_json_keeps_order_and_nesting(void **state)
{
    static const struct {
        const char *text, *tree;
    } cases[] = {
        {"null", "0"},
        {" [ ] ", "4"},
        {"[[]]", "4(4)"},
        {"[[],{},[1,[2]],true,[]]", "4(454(24(2))14)"},
        {" [ { } , [ 1 , \"x\" ] , null ] ", "4(54(23)0)"},
        {"{\"b\":{\"c\":[{\"d\":1},2]},\"a\":[],\"e\":{}}",
         "5(5b(4c(5(2d)2))4a5e)"},
        {"{ \"b\" : 1 , \"a\" : [ { \"b\" : false } ] }\n", "5(2b4a(5(1b)))"},
    };
    struct buf b;
    buf_init(&b, 1 << 16);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct json *j = NULL;
        struct err e = ERR_INIT;
        assert_int_equal(parse(cases[i].text, strlen(cases[i].text), &j, &e),
                         0);
        buf_clear(&b);
        show(j, &b);
        buf_add_char(&b, 0);
        assert_string_equal(b.p, cases[i].tree);
        json_free(j);
    }
    buf_fini(&b);
}

static void test_json_null_nodes_are_harmless(void **state)
{
    int64_t v;
    assert_null(json_get(NULL, "a"));
    assert_null(json_child(NULL));
    assert_null(json_next(NULL));
    assert_null(json_key(NULL));
    assert_null(json_string(NULL));
    assert_int_equal(json_size(NULL), 0);
    assert_true(json_number(NULL) == 0);
    assert_int_equal(json_int(NULL, &v), -1);
    assert_int_equal(json_bool(NULL), 0);
    json_free(NULL);
}

static void test_json_load_names_the_label(void **state)
{
    char path[] = "/tmp/seqd-json-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "{\"a\":}", 6), 6);
    close(fd);
    struct json *j = NULL;
    struct err e = ERR_INIT;
    assert_int_equal(json_load(path, "config.json", NULL, &j, &e), -1);
    assert_int_equal(e.code, ERR_FORMAT);
    assert_memory_equal(e.msg, "config.json: ", 13);
    assert_null(strstr(e.msg, "/tmp"));
    const struct json_limits tiny = {3, 0, 0};
    err_clear(&e);
    assert_int_equal(json_load(path, "x", &tiny, &j, &e), -1);
    assert_int_equal(e.code, ERR_TOO_LARGE);
    unlink(path);
    err_clear(&e);
    assert_int_equal(json_load(path, "config.json", NULL, &j, &e), -1);
    assert_int_equal(e.code, ERR_NOT_FOUND);
    err_clear(&e);
    assert_int_equal(json_load("/tmp", "dir", NULL, &j, &e), -1);
    assert_int_equal(e.code, ERR_IO);
}

static void test_json_load_does_not_wait_for_a_writer(void **state)
{
    char dir[] = "/tmp/seqd-json-XXXXXX", path[64];
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/fifo", dir);
    assert_int_equal(mkfifo(path, 0600), 0);
    struct json *j = NULL;
    struct err e = ERR_INIT;
    alarm(20); /* ends the program, should it wait */
    assert_int_equal(json_load(path, "config.json", NULL, &j, &e), -1);
    alarm(0);
    assert_int_equal(e.code, ERR_IO);
    assert_string_equal(e.msg, "config.json: is not a regular file");
    unlink(path);
    rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json_accepts),
        cmocka_unit_test(test_json_refuses),
        cmocka_unit_test(test_json_refuses_a_nul_byte),
        cmocka_unit_test(test_json_every_prefix_fails_cleanly),
        cmocka_unit_test(test_json_depth_is_limited),
        cmocka_unit_test(test_json_bytes_and_values_are_limited),
        cmocka_unit_test(test_json_finds_a_duplicate_among_many_keys),
        cmocka_unit_test(test_json_reads_values),
        cmocka_unit_test(test_json_numbers_are_the_nearest_doubles),
        cmocka_unit_test(test_json_keeps_order_and_nesting),
        cmocka_unit_test(test_json_null_nodes_are_harmless),
        cmocka_unit_test(test_json_load_names_the_label),
        cmocka_unit_test(test_json_load_does_not_wait_for_a_writer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
