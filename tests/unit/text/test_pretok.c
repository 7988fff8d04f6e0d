/* The published pre-tokenizer chains and others against Hugging Face tokenizers
 * 0.23.3 (tests/golden/make_tokenizer_fixtures.py), names and expressions that
 * are refused, and time.
 *
 * SPDX-License-Identifier: MIT */
#include <time.h>

#include "engine/base/json.h"
#include "engine/base/mem.h"
#include "engine/base/utf8.h"
#include "engine/text/pretok/pretok.h"
#include "engine/text/unicode/unicode.h"
#include "tests/support/unit.h"

/* Do the cuts of a text lie at the ends of the pieces in `want`? */
static int same_cuts(const struct pre_work *w, size_t n,
                     const struct json *want)
{
    const struct json *j = json_child(want);
    int64_t at;
    for (size_t i = 1; i <= n; i++) {
        if (w->cut[i] & CUT_PIECE) {
            if (json_int(j, &at) || at != (int64_t)i)
                return 0;
            j = json_next(j);
        }
    }
    return j == NULL;
}

/* pretok_run on a whole text. */
static int cut(const struct pretok *p, const char *s, size_t n,
               struct pre_work *w, struct err *e)
{
    int64_t steps = regex_steps(n);
    return pretok_run(p, s, n, &steps, w, e);
}

struct golden {
    struct json *root;
    int n_groups;
};

/* One group: all of its names give the pieces of the first. */
static int check_group(void *arg, const char *names)
{
    struct golden *g = arg;
    const struct json *groups = json_get(g->root, "groups");
    char first[32];
    size_t len = strcspn(names, " ");
    memcpy(first, names, len);
    first[len] = 0;
    assert_non_null(json_get(groups, first));
    for (const char *name = names; *name; name += *name == ' ') {
        const struct json *cuts = json_child(json_get(groups, first));
        const struct json *t = json_child(json_get(g->root, "texts"));
        struct pretok p = {0};
        struct pre_work w = {0};
        unsigned flags;
        size_t k = strcspn(name, " ");
        assert_int_equal(pretok_named(&p, name, k, &flags, NULL), 0);
        for (; t; t = json_next(t), cuts = json_next(cuts)) {
            const char *text = json_string(t);
            assert_int_equal(cut(&p, text, strlen(text), &w, NULL), 0);
            if (!same_cuts(&w, strlen(text), cuts))
                fail_msg("%s cuts '%s' elsewhere", first, text);
        }
        pre_work_fini(&w);
        pretok_fini(&p);
        name += k;
    }
    g->n_groups++;
    return 0;
}

static void test_pretok_cuts_as_the_published_expressions(void **state)
{
    struct golden g = {0};
    struct err e = ERR_INIT;
    if (json_load("tests/golden/tokenizer/pretok.json", "pretok", NULL, &g.root,
                  &e))
        fail_msg("%s", e.msg);
    assert_int_equal(pretok_all_named(check_group, &g), 0);
    assert_int_equal(g.n_groups, json_size(json_get(g.root, "groups")));
    json_free(g.root);
}

static enum pre_behavior behavior_of(const char *name, int invert)
{
    if (strcmp(name, "removed") == 0)
        return invert ? PRE_KEPT : PRE_REMOVED;
    return strcmp(name, "contiguous") == 0 ? PRE_CONTIGUOUS : PRE_ISOLATED;
}

/* Are the pieces that begin at the offsets in `want`, and no others, dropped?
 */
static int same_drops(const struct pre_work *w, size_t n,
                      const struct json *want)
{
    const struct json *j = json_child(want);
    int64_t at;
    for (size_t i = 0; i < n; i++) {
        if (w->cut[i] & CUT_DROP) {
            if (json_int(j, &at) || at != (int64_t)i)
                return 0;
            j = json_next(j);
        }
    }
    return j == NULL;
}

/* A row of "regexes": expression, behavior, invert, cuts and drops per text. */
static void check_regex(const struct json *row, const struct json *texts)
{
    const struct json *how = json_next(json_child(row));
    const struct json *invert = json_next(how);
    const struct json *cuts = json_child(json_next(invert));
    const struct json *drops = json_child(json_next(json_next(invert)));
    const char *regex = json_string(json_child(row));
    struct pretok p = {0};
    struct pre_work w = {0};
    struct err e = ERR_INIT;
    if (pretok_add(&p, regex, strlen(regex),
                   behavior_of(json_string(how), json_bool(invert)), &e))
        fail_msg("%s: %s", regex, e.msg);
    for (const struct json *t = json_child(texts); t; t = json_next(t)) {
        const char *text = json_string(t);
        assert_int_equal(cut(&p, text, strlen(text), &w, NULL), 0);
        if (!same_cuts(&w, strlen(text), cuts))
            fail_msg("%s cuts '%s' elsewhere", regex, text);
        if (!same_drops(&w, strlen(text), drops))
            fail_msg("%s drops other pieces of '%s'", regex, text);
        cuts = json_next(cuts);
        drops = json_next(drops);
    }
    pre_work_fini(&w);
    pretok_fini(&p);
}

static void test_pretok_runs_expressions_that_nobody_has_listed(void **state)
{
    struct json *root = NULL;
    struct err e = ERR_INIT;
    int n = 0;
    if (json_load("tests/golden/tokenizer/pretok.json", "pretok", NULL, &root,
                  &e))
        fail_msg("%s", e.msg);
    const struct json *row = json_child(json_get(root, "regexes"));
    for (; row; row = json_next(row), n++)
        check_regex(row, json_get(root, "texts"));
    assert_true(n > 10);
    json_free(root);
}

static void test_pretok_refuses_unknown_names(void **state)
{
    static const char *const names[] = {"",       "gpt",      "gpt-2 ",
                                        "gpt-22", "llama4x",  "kimi-k2",
                                        "gemma4", "chameleon"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct pretok p = {0};
        struct err e = ERR_INIT;
        unsigned flags;
        assert_int_equal(
            pretok_named(&p, names[i], strlen(names[i]), &flags, &e), -1);
        assert_int_equal(e.code, ERR_UNSUPPORTED);
    }
}

static void test_pretok_refuses_expressions_and_says_why(void **state)
{
    static const char *const bad[][2] = {
        {"", "nothing"},
        {"a**", "nothing to repeat at byte 2"},
        {"+", "nothing to repeat"},
        {"(a", "group without an end"},
        {"a)", "closes nothing at byte 1"},
        {"[a", "class without an end"},
        {"[a&&b]", "intersects"},
        {"[a[^b]]", "another kind"},
        {"[[:alpha:]]", "another kind"},
        {"[]a]", "another kind"},
        {"[^]a]", "another kind"},
        {"[\\W]", "unknown escape"},
        {"\\bx", "unknown escape at byte 0"},
        {"\\R", "unknown escape"},
        {"(a)\\1", "unknown escape"},
        {"a\\", "unknown escape"},
        {"\\pL", "property without braces"},
        {"\\p{^L}", "unknown property"},
        {"\\p{Q}", "unknown"},
        {"\\xe4", "number"},
        {"\\u12", "number"},
        {"\\x{110000}", "code point"},
        {"(?<n>a)", "unknown kind"},
        {"(?#a)", "unknown kind"},
        {"a(?i)b", "unknown kind"},
        {"(?R)", "unknown kind"},
        {"a{3,1}", "unknown kind"},
        {"a{2}?", "unknown kind"},
        {"(?<=a+)b", "lookbehind"},
        {"(?i:ss)", "joined"},
        {"(?i)fl", "joined"},
        {"(?i:\u00df)", "beyond ASCII"},
        {"(?i:\\p{Lu})", "kind of letter"},
        {"\xff", "no text"},
        {"((((((((((((((((((((((((((((((((("
         "a)))))))))))))))))))))))))))))))))",
         "too many groups"},
        {"(((((\\s{999}){999}){999}){999}){999})", "large"},
        {"a{65535}", "large"},
        {"[a-[b]]", "range of another kind"},
        {"[\\w-z]", "range of another kind"},
        {"[a-\\d]", "range"},
        {"[!-&&]", "intersects"},
        {"\u180e", "Unicode 15 or 16 changed at byte 3"},
        {"[ab\\u180ec]", "Unicode 15 or 16 changed at byte 9"},
        {"[\u2000-\u206f]", "Unicode 15 or 16 changed"},
        {"[\u206f]", "Unicode 15 or 16 changed"},
        {"\\x{1fae8}", "Unicode 15 or 16 changed"},
        {"[^\U0002ceb0-\U0002ebef]", "Unicode 15 or 16 changed"},
        {"a{65536}", "number too big"},
        {"a{2,100000000000000000000}", "number too big"},
        {"a{,65536}", "number too big"},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct pretok p = {0};
        struct err e = ERR_INIT;
        if (pretok_add(&p, bad[i][0], strlen(bad[i][0]), PRE_ISOLATED, &e) == 0)
            fail_msg("accepted: %s", bad[i][0]);
        assert_int_equal(p.n, 0);
        assert_int_equal(e.code, ERR_UNSUPPORTED);
        if (!strstr(e.msg, bad[i][1]))
            fail_msg("%s: '%s' lacks '%s'", bad[i][0], e.msg, bad[i][1]);
    }
}

/* Expressions of n times \w, each of which becomes a long class. */
static void test_pretok_long_expressions(void **state)
{
    char text[2050];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = i % 2 ? 'w' : '\\';
    for (int k = 0; k < 3; k++) {
        static const size_t n[] = {150, 1024, 1025};
        static const char *const says[] = {"", "too large", "2048 bytes"};
        struct pretok p = {0};
        struct err e = ERR_INIT;
        int rc = pretok_add(&p, text, 2 * n[k], PRE_ISOLATED, &e);
        assert_int_equal(rc, k == 0 ? 0 : -1);
        assert_int_equal(e.code, k == 0 ? 0 : ERR_UNSUPPORTED);
        assert_non_null(strstr(e.msg, says[k]));
        pretok_fini(&p);
    }
}

static void run(const char *regex, enum pre_behavior behavior, const char *text,
                struct pre_work *w)
{
    struct pretok p = {0};
    assert_int_equal(pretok_add(&p, regex, strlen(regex), behavior, NULL), 0);
    assert_int_equal(cut(&p, text, strlen(text), w, NULL), 0);
    pretok_fini(&p);
}

/* The four behaviours on "a12b" and \p{N}. */
static void test_pretok_behaviors(void **state)
{
    struct pre_work w = {0};
    run("\\p{N}", PRE_ISOLATED, "a12b", &w);
    assert_memory_equal(w.cut, "\1\1\1\1\1", 5);
    run("\\p{N}", PRE_CONTIGUOUS, "a12b", &w);
    assert_memory_equal(w.cut, "\1\1\0\1\1", 5);
    run("\\p{N}", PRE_REMOVED, "a12b", &w);
    assert_memory_equal(w.cut, "\1\3\3\1\1", 5);
    run("\\p{N}", PRE_KEPT, "a12b", &w);
    assert_memory_equal(w.cut, "\3\1\1\3\1", 5);
    pre_work_fini(&w);
}

/* Whatever tables PCRE2 has: the category of every code point is that of
 * unicode.h, and white space that of utf8.h. */
static void test_pretok_knows_the_unicode_of_the_reference(void **state)
{
    static const struct {
        const char *regex;
        uint32_t mask;
    } kinds[] = {
        {"\\s", UNI_SPACE},       {"\\p{L}", UNI_LETTER},
        {"\\p{M}", UNI_MARK},     {"\\p{N}", UNI_NUMBER},
        {"\\p{P}", UNI_PUNCT},    {"\\p{S}", UNI_SYMBOL},
        {"\\p{Lu}", UNI_BIT(LU)}, {"\\p{Ll}", UNI_BIT(LL)},
        {"\\p{Lt}", UNI_BIT(LT)}, {"\\p{Lm}", UNI_BIT(LM)},
        {"\\d", UNI_BIT(ND)},     {"\\P{Cf}", ~UNI_BIT(CF)},
    };
    const size_t most = (size_t)4 * 0x110000;
    char *text = mem_alloc(most);
    struct pre_work w = {0};
    size_t n = 0;
    assert_non_null(text);
    for (uint32_t cp = 0; cp < 0x110000; cp++)
        n += (size_t)utf8_put(cp, text + n);
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        struct pretok p = {0};
        size_t i = 0;
        const char *regex = kinds[k].regex;
        assert_int_equal(
            pretok_add(&p, regex, strlen(regex), PRE_REMOVED, NULL), 0);
        assert_int_equal(cut(&p, text, n, &w, NULL), 0);
        for (uint32_t cp = 0; cp < 0x110000; cp++) {
            char one[4];
            int in = (uni_mask(cp) & kinds[k].mask) != 0;
            int len = utf8_put(cp, one);
            if (len && in != ((w.cut[i] & CUT_DROP) != 0))
                fail_msg("%s and U+%04X", regex, cp);
            i += (size_t)len;
        }
        pretok_fini(&p);
    }
    pre_work_fini(&w);
    mem_free(text);
}

/* ------------------------------------------------------------------- time */

static char *many(const char *unit, size_t n)
{
    char *text = mem_alloc(n);
    assert_non_null(text);
    for (size_t i = 0, k = strlen(unit); i < n; i++)
        text[i] = unit[i % k];
    return text;
}

static double seconds_since(clock_t begin)
{
    return (double)(clock() - begin) / CLOCKS_PER_SEC;
}

/* \s+$ on white space that does not reach the end, the place where a naive
 * scanner is quadratic: 2 MB take a moment. */
static void test_pretok_time_is_not_quadratic(void **state)
{
    const size_t n = (size_t)2 << 20;
    char *text = many(" ", n);
    struct pretok p = {0};
    struct pre_work w = {0};
    unsigned flags;
    text[n - 1] = '1';
    clock_t begin = clock();
    assert_int_equal(pretok_named(&p, "deepseek-llm", 12, &flags, NULL), 0);
    assert_int_equal(cut(&p, text, n, &w, NULL), 0);
    assert_true(seconds_since(begin) < 10);
    pre_work_fini(&w);
    pretok_fini(&p);
    mem_free(text);
}

/* Texts in which one thing goes on, and then does not end as an alternative
 * would like. Counted, quadratic time would need hundreds of times the steps
 * that there are. */
static int check_linear(void *arg, const char *names)
{
    static const char *const units[] = {
        "a",   "A",  " ",  "\n", "1",   "\u4e2d", "!",      "a ",
        "\t ", "Aa", "'s", "\r", " \n", "\u0301", "A\u4e2d"};
    const size_t n = (size_t)64 << 10;
    struct pretok p = {.counts_all = 1};
    struct pre_work w = {0};
    struct err e = ERR_INIT;
    unsigned flags;
    (void)arg;
    assert_int_equal(pretok_named(&p, names, strcspn(names, " "), &flags, NULL),
                     0);
    for (size_t k = 0; k < sizeof units / sizeof units[0]; k++) {
        char *text = many(units[k], n);
        memcpy(text + n - 2, "B\x7f", 2);
        if (cut(&p, text, n, &w, &e))
            fail_msg("%s on '%s': %s", names, units[k], e.msg);
        mem_free(text);
    }
    pre_work_fini(&w);
    pretok_fini(&p);
    return 0;
}

static void test_pretok_published_expressions_are_linear(void **state)
{
    assert_int_equal(pretok_all_named(check_linear, NULL), 0);
}

/* What would take for ever, or hours, ends with an error that says so. */
static void test_pretok_stops_expressions_that_go_wild(void **state)
{
    static const char *const wild[][2] = {
        {"(a+)+[bc]", "a"},
        {"(a|a)*[bc]", "a"},
        {"a+[bc]", "a"},
        {"(?:a?){16}[bc]", "a"},
        {"a{300}[bc]", "a"},
        {"(?=(a+))a*[bc]", "a"},
        {"\\s+$[xy]", " "},
        {"[^.]*?[bc]|a+[de]", "a"},
        {"(?:(?:a{1,9})+)*[bc]", "a"},
        {"[^b]*[bc]", "\u4e2d"},
        {"(?>(?:aa)+)[bc]", "a"},
        {"(?<=a)[bc]|a+[bc]", "a"},
    };
    const size_t n = (size_t)64 << 10;
    for (size_t k = 0; k < sizeof wild / sizeof wild[0]; k++) {
        const char *regex = wild[k][0];
        struct pretok p = {0};
        struct pre_work w = {0};
        struct err e = ERR_INIT;
        assert_int_equal(
            pretok_add(&p, regex, strlen(regex), PRE_ISOLATED, NULL), 0);
        char *text = many(wild[k][1], n);
        clock_t begin = clock();
        if (cut(&p, text, n, &w, &e) == 0)
            fail_msg("%s came to an end", regex);
        assert_int_equal(e.code, ERR_INVALID);
        assert_non_null(strstr(e.msg, "too many steps"));
        assert_true(seconds_since(begin) < 10);
        pre_work_fini(&w);
        pretok_fini(&p);
        mem_free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pretok_cuts_as_the_published_expressions),
        cmocka_unit_test(test_pretok_runs_expressions_that_nobody_has_listed),
        cmocka_unit_test(test_pretok_refuses_unknown_names),
        cmocka_unit_test(test_pretok_refuses_expressions_and_says_why),
        cmocka_unit_test(test_pretok_long_expressions),
        cmocka_unit_test(test_pretok_behaviors),
        cmocka_unit_test(test_pretok_knows_the_unicode_of_the_reference),
        cmocka_unit_test(test_pretok_time_is_not_quadratic),
        cmocka_unit_test(test_pretok_published_expressions_are_linear),
        cmocka_unit_test(test_pretok_stops_expressions_that_go_wild),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
