/* The published pre-tokenizer chains against Hugging Face tokenizers 0.23.3
 * (tests/golden/make_tokenizer_fixtures.py), and names and expressions that
 * are not known.
 *
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "engine/base/json.h"
#include "engine/base/mem.h"
#include "engine/text/pretok/pretok.h"

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
    const struct json *cuts = json_child(json_get(groups, first));
    const struct json *t = json_child(json_get(g->root, "texts"));
    struct pre_work w = {0};
    assert_non_null(cuts);
    for (; t; t = json_next(t), cuts = json_next(cuts)) {
        const char *text = json_string(t);
        struct pretok p;
        unsigned flags;
        for (const char *name = names; *name; name += *name == ' ') {
            size_t k = strcspn(name, " ");
            assert_int_equal(pretok_named(&p, name, k, &flags), 0);
            name += k;
        }
        assert_int_equal(pretok_run(&p, text, strlen(text), &w, NULL), 0);
        if (!same_cuts(&w, strlen(text), cuts))
            fail_msg("%s cuts '%s' elsewhere", first, text);
    }
    pre_work_fini(&w);
    g->n_groups++;
    return 0;
}

static void test_pretok_cuts_as_the_published_expressions(void **state)
{
    (void)state;
    struct golden g = {0};
    struct err e = ERR_INIT;
    if (json_load("tests/golden/tokenizer/pretok.json", "pretok", NULL, &g.root,
                  &e))
        fail_msg("%s", e.msg);
    assert_int_equal(pretok_all_named(check_group, &g), 0);
    assert_int_equal(g.n_groups, json_size(json_get(g.root, "groups")));
    json_free(g.root);
}

static void test_pretok_refuses_unknown_names(void **state)
{
    (void)state;
    static const char *const names[] = {"",       "gpt",      "gpt-2 ",
                                        "gpt-22", "llama4x",  "kimi-k2",
                                        "gemma4", "chameleon"};
    struct pretok p;
    unsigned flags;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        assert_int_equal(pretok_named(&p, names[i], strlen(names[i]), &flags),
                         -1);
    }
}

static void test_pretok_refuses_unknown_expressions(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",         "|",  "\\p{N}|", "|\\p{N}", "\\p{N}||\\s+",
        "\\p{N}+?", ".*", "(\\s+)+", "\\p{L}+"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct pretok p = {0};
        assert_int_equal(pretok_add(&p, bad[i], strlen(bad[i]), PRE_ISOLATED),
                         -1);
        assert_int_equal(p.n, 0);
    }
}

static void run(const char *regex, enum pre_behavior behavior, const char *text,
                struct pre_work *w)
{
    struct pretok p = {0};
    assert_int_equal(pretok_add(&p, regex, strlen(regex), behavior), 0);
    assert_int_equal(pretok_run(&p, text, strlen(text), w, NULL), 0);
}

/* The four behaviours on "a12b" and \p{N}. */
static void test_pretok_behaviors(void **state)
{
    (void)state;
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

/* \s+$ on white space that does not reach the end, the place where a naive
 * scanner is quadratic: 2 MB take a moment. */
static void test_pretok_time_is_not_quadratic(void **state)
{
    (void)state;
    const size_t n = (size_t)2 << 20;
    char *text = mem_alloc(n);
    struct pretok p;
    struct pre_work w = {0};
    unsigned flags;
    assert_non_null(text);
    memset(text, ' ', n);
    text[n - 1] = '1';
    clock_t begin = clock();
    assert_int_equal(pretok_named(&p, "deepseek-llm", 12, &flags), 0);
    assert_int_equal(pretok_run(&p, text, n, &w, NULL), 0);
    assert_true((clock() - begin) / CLOCKS_PER_SEC < 10);
    pre_work_fini(&w);
    mem_free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pretok_cuts_as_the_published_expressions),
        cmocka_unit_test(test_pretok_refuses_unknown_names),
        cmocka_unit_test(test_pretok_refuses_unknown_expressions),
        cmocka_unit_test(test_pretok_behaviors),
        cmocka_unit_test(test_pretok_time_is_not_quadratic),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
