/* utf8: every code point there and back, and RFC 3629's forbidden forms. The
 * judge of well-formedness is Unicode's table 3-7, written out here.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/base/utf8.h"
#include "tests/support/unit.h"

static void test_utf8_every_code_point_there_and_back(void **state)
{
    for (uint32_t cp = 0; cp <= 0x110010; cp++) {
        char s[4];
        uint32_t back = 0;
        int valid = cp <= 0x10ffff && !(cp >= 0xd800 && cp <= 0xdfff);
        int want = cp < 0x80 ? 1 : cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
        int len = utf8_put(cp, s);
        if (len != (valid ? want : 0))
            fail_msg("U+%04X has %d bytes", cp, len);
        if (!valid)
            continue;
        if (utf8_next(s, (size_t)len, &back) != len || back != cp)
            fail_msg("U+%04X reads back as U+%04X", cp, back);
        if (len > 1 && utf8_next(s, (size_t)len - 1, &back) != 0)
            fail_msg("U+%04X cut short is accepted", cp);
    }
}

/* Table 3-7 of the Unicode standard: the second byte's range by the first. */
static int table_allows(const unsigned char *b, int n)
{
    if (b[0] < 0x80)
        return n == 1;
    int len = b[0] >= 0xc2 && b[0] <= 0xdf   ? 2
              : b[0] >= 0xe0 && b[0] <= 0xef ? 3
              : b[0] >= 0xf0 && b[0] <= 0xf4 ? 4
                                             : 0;
    unsigned char lo = b[0] == 0xe0 ? 0xa0 : b[0] == 0xf0 ? 0x90 : 0x80;
    unsigned char hi = b[0] == 0xed ? 0x9f : b[0] == 0xf4 ? 0x8f : 0xbf;
    if (len != n || b[1] < lo || b[1] > hi)
        return 0;
    for (int i = 2; i < n; i++)
        if (b[i] < 0x80 || b[i] > 0xbf)
            return 0;
    return 1;
}

/* All pairs of bytes, followed by continuation bytes and their neighbours. */
static void test_utf8_next_refuses_what_the_table_refuses(void **state)
{
    static const unsigned char tails[] = {0x7f, 0x80, 0xbf, 0xc0};
    for (unsigned i = 0; i < 65536 * 16; i++) {
        unsigned char b[4] = {(unsigned char)(i >> 12 & 0xff),
                              (unsigned char)(i >> 4 & 0xff), tails[i >> 2 & 3],
                              tails[i & 3]};
        uint32_t cp;
        int want = 0;
        for (int n = 1; n <= 4; n++)
            want = table_allows(b, n) ? n : want;
        if (utf8_next((const char *)b, 4, &cp) != want) {
            fail_msg("%02x %02x %02x %02x: not %d", b[0], b[1], b[2], b[3],
                     want);
        }
    }
}

static void test_utf8_valid_count_whole(void **state)
{
    const char *s = "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"; /* 1+2+3+4 */
    static const size_t whole[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10};
    assert_true(utf8_valid(s, 10));
    assert_int_equal(utf8_count(s, 10), 4);
    for (size_t n = 0; n <= 10; n++) {
        assert_int_equal(utf8_whole(s, n), whole[n]);
        assert_int_equal(utf8_valid(s, n), whole[n] == n);
    }
    assert_false(utf8_valid("\xc0\x80", 2));
    assert_int_equal(utf8_whole("\x80\x80\x80\x80", 4), 4);
}

/* PropList.txt, White_Space: 25 code points. */
static void test_utf8_is_space_is_the_white_space_property(void **state)
{
    static const uint32_t list[] = {
        0x9,    0xa,    0xb,    0xc,    0xd,    0x20,   0x85,   0xa0,   0x1680,
        0x2000, 0x2001, 0x2002, 0x2003, 0x2004, 0x2005, 0x2006, 0x2007, 0x2008,
        0x2009, 0x200a, 0x2028, 0x2029, 0x202f, 0x205f, 0x3000};
    int n = 0;
    for (uint32_t cp = 0; cp <= 0x10ffff; cp++)
        n += utf8_is_space(cp) != 0;
    assert_int_equal(n, 25);
    for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++)
        assert_true(utf8_is_space(list[i]));
}

static void test_utf8_is_punct(void **state)
{
    const char *marks = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";
    int n = 0;
    for (uint32_t cp = 0; cp < 0x80; cp++) {
        int want = cp != 0 && strchr(marks, (int)cp) != NULL;
        assert_int_equal(utf8_is_punct(cp) != 0, want);
        n += want;
    }
    assert_int_equal(n, 32);
    assert_true(utf8_is_punct(0x2014));
    assert_true(utf8_is_punct(0x3002));
    assert_false(utf8_is_punct(0xe9));
    assert_false(utf8_is_punct(0x2028));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_utf8_every_code_point_there_and_back),
        cmocka_unit_test(test_utf8_next_refuses_what_the_table_refuses),
        cmocka_unit_test(test_utf8_valid_count_whole),
        cmocka_unit_test(test_utf8_is_space_is_the_white_space_property),
        cmocka_unit_test(test_utf8_is_punct),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
