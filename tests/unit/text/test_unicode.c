/* Categories, lower case and normalisation; expected values from the Unicode
 * character database 16.0 (UnicodeData.txt) and UAX #15.
 *
 * SPDX-License-Identifier: MIT */
#include <time.h>

#include "engine/base/mem.h"
#include "engine/base/utf8.h"
#include "engine/text/unicode/unicode.h"
#include "tests/support/unit.h"

static void test_unicode_categories(void **state)
{
    static const struct {
        uint32_t cp;
        enum uni_cat cat;
    } cases[] = {
        {0, UNI_CC},        {'\n', UNI_CW},     {0x85, UNI_CW},
        {' ', UNI_ZS},      {'A', UNI_LU},      {'z', UNI_LL},
        {'_', UNI_PC},      {'$', UNI_SC},      {'+', UNI_SM},
        {'^', UNI_SK},      {0xaa, UNI_LO},     {0xad, UNI_CF},
        {0xb2, UNI_NO},     {0x100, UNI_LU},    {0x101, UNI_LL},
        {0x1c5, UNI_LT},    {0x2b0, UNI_LM},    {0x301, UNI_MN},
        {0x378, UNI_CN},    {0x903, UNI_MC},    {0x20dd, UNI_ME},
        {0x2028, UNI_ZL},   {0x2029, UNI_ZP},   {0x2160, UNI_NL},
        {0x3000, UNI_ZS},   {0x4e2d, UNI_LO},   {0xac00, UNI_LO},
        {0xd800, UNI_CS},   {0xe000, UNI_CO},   {0x1f642, UNI_SO},
        {0x1c89, UNI_LU},   {0x10d40, UNI_ND}, /* new in 16.0 */
        {0x10ffff, UNI_CN}, {0x110000, UNI_CN}, {0x2018, UNI_PI},
        {0x2019, UNI_PF},   {0x2014, UNI_PD},   {'(', UNI_PS},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (uni_category(cases[i].cp) != (uint32_t)cases[i].cat) {
            fail_msg("U+%04X is %u, expected %u", cases[i].cp,
                     uni_category(cases[i].cp), cases[i].cat);
        }
    }
}

/* White_Space is the same as in utf8.c, which was written by hand. */
static void test_unicode_white_space(void **state)
{
    for (uint32_t cp = 0; cp < 0x110000; cp++) {
        int space = (uni_mask(cp) & UNI_SPACE) != 0;
        if (space != utf8_is_space(cp))
            fail_msg("U+%04X", cp);
    }
}

static void test_unicode_lower(void **state)
{
    static const uint32_t cases[][2] = {
        {'A', 'a'},         {'1', '1'},         {0xc0, 0xe0},
        {0x100, 0x101},     {0x130, 'i'},       {0x178, 0xff},
        {0x391, 0x3b1},     {0x410, 0x430},     {0x10a0, 0x2d00},
        {0x1e9e, 0xdf},     {0x2126, 0x3c9},    {0x212a, 'k'},
        {0xa7cb, 0x264},    {0x10400, 0x10428}, {0x10d50, 0x10d70},
        {0x1e900, 0x1e922}, {0xdf, 0xdf},       {'Z', 'z'},
        {'@', '@'},         {'[', '['},         {0xd7, 0xd7},
        {0xde, 0xfe},       {0x131, 0x131},     {0x139, 0x13a},
        {0x17d, 0x17e},     {0x386, 0x3ac},     {0x3a2, 0x3a2},
        {0x3a3, 0x3c3},     {0x401, 0x451},     {0x42f, 0x44f},
        {0x460, 0x461},     {0x1ea0, 0x1ea1},   {0x1f08, 0x1f00},
        {0xff21, 0xff41},   {0x4e2d, 0x4e2d},   {0x1f600, 0x1f600},
        {0x531, 0x561},     {0xa7ce, 0xa7cf},   {0x16ea0, 0x16ebb}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(uni_lower(cases[i][0]), cases[i][1]);
    for (uint32_t cp = 0; cp < 0x110000; cp++) /* lower case stays */
        if (uni_lower(uni_lower(cp)) != uni_lower(cp))
            fail_msg("U+%04X", cp);
}

static void normal(enum uni_form form, const char *text, const char *want)
{
    struct uni_text u = {0};
    struct err e = ERR_INIT;
    size_t n = strlen(text);
    assert_int_equal(uni_normalize(form, text, n, &u, &e), 0);
    assert_string_equal(u.p, want);
    assert_int_equal(u.at[u.n], n);
    for (size_t i = 0; i < u.n; i++)
        assert_true(u.at[i] <= u.at[i + 1]);
    uni_text_fini(&u);
}

static void test_unicode_nfc_and_nfd(void **state)
{
    static const char *const cases[][3] = {
        /* text, NFC, NFD */
        {"abc", "abc", "abc"},
        {"e\u0301", "\u00e9", "e\u0301"},
        {"\u00e9", "\u00e9", "e\u0301"},
        {"\u1ebf", "\u1ebf", "e\u0302\u0301"},
        {"a\u0316\u0301", "\u00e1\u0316", "a\u0316\u0301"},
        {"a\u0301\u0316", "\u00e1\u0316", "a\u0316\u0301"},
        {"\u212b", "\u00c5", "A\u030a"},
        {"\u0958", "\u0915\u093c", "\u0915\u093c"}, /* excluded */
        {"\u1100\u1161\u11a8", "\uac01", "\u1100\u1161\u11a8"},
        {"\uac00\u11a8", "\uac01", "\u1100\u1161\u11a8"},
        {"\uf900", "\u8c48", "\u8c48"},
        {"\u0301e", "\u0301e", "\u0301e"},
        {"a\u0302\u0302", "\u00e2\u0302", "a\u0302\u0302"},
        {"\u09c7\u09be", "\u09cb", "\u09c7\u09be"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        normal(UNI_NFC, cases[i][0], cases[i][1]);
        normal(UNI_NFD, cases[i][0], cases[i][2]);
    }
}

/* What Unicode 9 did not know stays where and as it is: the reference's tables
 * are that old. U+1E4EC has class 232, U+1ACE 230. */
static void test_unicode_leaves_young_code_points_alone(void **state)
{
    static const char *const texts[] = {"a\U0001e4ec\u0316", "a\u1ace\u0316",
                                        "\U0001fbf5", "\U000107a5",
                                        "\U00011935\U00011930"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        for (int form = UNI_NFC; form <= UNI_NFKD; form++)
            normal((enum uni_form)form, texts[i], texts[i]);
}

/* e, acute, dot below: the dot joins the letter and takes the acute's place
 * with it; the acute that is left takes the next one. */
static void test_unicode_marks_that_move_have_places(void **state)
{
    static const char text[] = "e\u0301\u0323x";
    static const uint32_t at[] = {0, 0, 0, 3, 3, 5};
    static const uint32_t end[] = {1, 1, 1, 5, 5, 6};
    struct uni_text u = {0};
    assert_int_equal(uni_normalize(UNI_NFC, text, 6, &u, NULL), 0);
    assert_string_equal(u.p, "\u1eb9\u0301x");
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(u.at[i], at[i]);
        assert_int_equal(u.end[i], end[i]);
    }
    uni_text_fini(&u);
}

/* A megabyte of marks of two classes, in the wrong order. */
static void test_unicode_normalises_runs_of_marks_in_linear_time(void **state)
{
    const size_t n = (size_t)1 << 20;
    char *text = mem_alloc(n);
    struct uni_text u = {0};
    assert_non_null(text);
    for (size_t i = 0; i + 4 <= n; i += 4)
        memcpy(text + i, "\u0301\u0316", 4);
    clock_t begin = clock();
    assert_int_equal(uni_normalize(UNI_NFC, text, n, &u, NULL), 0);
    assert_true((clock() - begin) / CLOCKS_PER_SEC < 10);
    assert_int_equal(u.n, n);
    assert_memory_equal(u.p, "\u0316\u0316", 4);
    assert_memory_equal(u.p + n - 4, "\u0301\u0301", 4);
    uni_text_fini(&u);
    mem_free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unicode_categories),
        cmocka_unit_test(test_unicode_white_space),
        cmocka_unit_test(test_unicode_lower),
        cmocka_unit_test(test_unicode_nfc_and_nfd),
        cmocka_unit_test(test_unicode_leaves_young_code_points_alone),
        cmocka_unit_test(test_unicode_marks_that_move_have_places),
        cmocka_unit_test(test_unicode_normalises_runs_of_marks_in_linear_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
