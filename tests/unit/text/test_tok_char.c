/* tok_char: one piece per code point, nothing changed.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/text/tokenizer.h"
#include "tests/support/unit.h"

static const struct tokenizer_spec chars = {.normalizer = "seqd-characters"};

struct seen {
    const char *text;
    int n;
    uint32_t end;
    char joined[64];
};

static int on_piece(void *arg, const char *piece, size_t len, uint32_t start,
                    uint32_t end)
{
    struct seen *s = arg;
    assert_int_equal(start, s->end);
    s->end = end;
    s->n++;
    strncat(s->joined, piece, sizeof(s->joined) - strlen(s->joined) - 1);
    assert_int_equal(strlen(piece), len);
    return 0;
}

static void test_tok_char_one_piece_per_code_point(void **state)
{
    const char *text = "aB \n\t\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80|";
    struct seen s = {.text = text};
    struct err e = ERR_INIT;
    assert_int_equal(
        tokenizer_split(&chars, text, strlen(text), on_piece, &s, &e), 0);
    assert_int_equal(s.n, 9);
    assert_int_equal(s.end, strlen(text));
    assert_string_equal(s.joined, text);
}

static void test_tok_char_bad_bytes_are_replaced_one_by_one(void **state)
{
    struct seen s = {.text = ""};
    struct err e = ERR_INIT;
    assert_int_equal(tokenizer_split(&chars, "a\xff\xc3", 3, on_piece, &s, &e),
                     0);
    assert_int_equal(s.n, 3);
    assert_int_equal(s.end, 3);
    assert_string_equal(s.joined, "a\xef\xbf\xbd\xef\xbf\xbd");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tok_char_one_piece_per_code_point),
        cmocka_unit_test(test_tok_char_bad_bytes_are_replaced_one_by_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
