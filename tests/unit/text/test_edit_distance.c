/* Edits between texts of tokens: by hand, and against the recursion that the
 * table is made from, on all short texts of three words.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/text/edit_distance.h"
#include "tests/support/unit.h"

#define MOST 4
#define WORDS 3

static struct mt_text text(const char *s)
{
    return (struct mt_text){s, strlen(s)};
}

static void test_edits_of_texts(void **state)
{
    static const struct {
        const char *hyp, *ref;
        int edits, tokens;
    } rows[] = {
        {"HH AH0 L OW1", "HH AH0 L OW1", 0, 4},
        {"HH EH0 L OW1", "HH AH0 L OW1", 1, 4},
        {"", "a b", 2, 2},
        {"a b", "", 2, 0},
        {"", " ", 0, 0},
        {"b a", "a b", 2, 2},
        {"a  b\t c ", "a b c", 0, 3},
        {"ab", "a b", 2, 2},
        {"x a b c", "a b c", 1, 3},
        {"Caf\xc3\xa9 \xc3\xa0", "Cafe \xc3\xa0", 1, 2},
    };
    struct err e = ERR_INIT;
    for (size_t i = 0; i < COUNT(rows); i++) {
        int64_t edits = -1, tokens = -1;
        assert_int_equal(edit_distance(text(rows[i].hyp), text(rows[i].ref),
                                       &edits, &tokens, &e),
                         0);
        assert_int_equal(edits, rows[i].edits);
        assert_int_equal(tokens, rows[i].tokens);
    }
}

static int least(const int *a, int n, const int *b, int m)
{
    if (n == 0 || m == 0)
        return n + m;
    int changed = least(a + 1, n - 1, b + 1, m - 1) + (a[0] != b[0]);
    int out = least(a + 1, n - 1, b, m) + 1, in = least(a, n, b + 1, m - 1) + 1;
    int one = out < in ? out : in;
    return changed < one ? changed : one;
}

/* Text number k of those of up to MOST words, as words and as a string. */
static int make(int k, int *v, char *s)
{
    int n = 0;
    for (; k > 0; k = (k - 1) / WORDS, n++) {
        v[n] = (k - 1) % WORDS;
        s[2 * n] = (char)('a' + v[n]);
        s[2 * n + 1] = ' ';
    }
    s[2 * n] = '\0';
    return n;
}

static void test_edits_are_those_of_the_recursion(void **state)
{
    struct err e = ERR_INIT;
    int a[MOST + 1], b[MOST + 1];
    char s[2 * MOST + 3], t[2 * MOST + 3];
    for (int i = 0; i < 121; i++) /* 1 + 3 + 9 + 27 + 81 */
        for (int k = 0; k < 121; k++) {
            int n = make(i, a, s), m = make(k, b, t);
            int64_t edits, tokens;
            assert_int_equal(
                edit_distance(text(s), text(t), &edits, &tokens, &e), 0);
            assert_int_equal(edits, least(a, n, b, m));
            assert_int_equal(tokens, m);
        }
}

static void test_texts_that_are_too_long_are_refused(void **state)
{
    enum { LONG = 140000 };
    char *s = malloc(2 * LONG);
    struct err e = ERR_INIT;
    int64_t edits, tokens;
    for (int i = 0; i < LONG; i++)
        memcpy(s + 2 * (size_t)i, "a ", 2);
    struct mt_text t = {s, 2 * LONG};
    assert_int_equal(edit_distance(t, t, &edits, &tokens, &e), -1);
    assert_int_equal(e.code, ERR_TOO_LARGE);
    free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_edits_of_texts),
        cmocka_unit_test(test_edits_are_those_of_the_recursion),
        cmocka_unit_test(test_texts_that_are_too_long_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
