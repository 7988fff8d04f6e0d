/* test_label_figures: figures of labelled texts against values that are worked
 * out by hand.
 *
 * SPDX-License-Identifier: MIT */
#include <math.h>
#include <string.h>

#include "engine/base/json.h"
#include "engine/run/label_figures.h"
#include "tests/support/unit.h"

#define TOLERANCE 1.01e-6 /* figures are printed with six digits */

static const char *const names[] = {"negative", "neutral", "posi\"tive", "odd"};

struct answer {
    int label, best;
    double p, sure;
};

/* Labels 0, 0, 0, 1, 1, 2 were taken for 0, 0, 1, 1, 2, 2. */
static const struct answer answers[] = {{0, 0, 0.9, 0.9},  {0, 0, 0.5, 0.5},
                                        {0, 1, 0.2, 0.7},  {1, 1, 0.65, 0.65},
                                        {1, 2, 0.1, 0.95}, {2, 2, 1, 1}};

static void count(struct label_figures *f, const struct answer *a, int n)
{
    for (int i = 0; i < n; i++)
        label_figures_add(f, a[i].label, a[i].best, a[i].p, a[i].sure);
}

static struct json *written(const struct label_figures *f, int brief)
{
    struct buf b;
    struct err e = ERR_INIT;
    struct json *j = NULL;
    buf_init(&b, 1 << 20);
    buf_add_char(&b, '{');
    label_figures_write(f, names, brief, &b);
    buf_add_char(&b, '}');
    if (b.failed || json_parse(b.p, b.len, NULL, &j, &e))
        fail_msg("%s: %s", b.p, e.msg);
    buf_fini(&b);
    return j;
}

static void expect(const struct json *j, const char *key, double want)
{
    const struct json *v = json_get(j, key);
    if (isnan(want))
        assert_int_equal(json_type(v), JSON_NULL);
    else if (!v || fabs(json_number(v) - want) > TOLERANCE)
        fail_msg("%s is %.9f, expected %.9f", key, json_number(v), want);
}

static const struct json *at(const struct json *list, int i)
{
    const struct json *v = json_child(list);
    while (v && i-- > 0)
        v = json_next(v);
    return v;
}

static void expect_label(const struct json *j, int l, double precision,
                         double recall, double f1, int support)
{
    const struct json *v = at(json_get(j, "labels"), l);
    assert_string_equal(json_string(json_get(v, "label")), names[l]);
    expect(v, "precision", precision);
    expect(v, "recall", recall);
    expect(v, "f1", f1);
    expect(v, "support", support);
}

static void check_three(const struct label_figures *f)
{
    static const int confusion[3][3] = {{2, 1, 0}, {0, 1, 1}, {0, 0, 1}};
    struct json *j = written(f, 0);
    expect(j, "items", 6);
    expect(j, "accuracy", 4.0 / 6);
    expect(j, "nll",
           -(log(0.9) + log(0.5) + log(0.2) + log(0.65) + log(0.1)) / 6);
    /* Bins of a fifteenth: 0.9 is in 13 (with nothing else), 0.5 in 7, 0.7 in
     * 10, 0.65 in 9, 0.95 and 1 in 14: of these two one is right. */
    expect(j, "ece", (0.1 + 0.5 + 0.7 + 0.35 + fabs(1.95 - 1)) / 6);
    /* negative: 2 of 2 answers, 2 of 3 texts; neutral: 1 of 2, 1 of 2;
     * positive: 1 of 2, 1 of 1 */
    expect_label(j, 0, 1, 2.0 / 3, 0.8, 3);
    expect_label(j, 1, 0.5, 0.5, 0.5, 2);
    expect_label(j, 2, 0.5, 1, 2.0 / 3, 1);
    expect(j, "macro_f1", (0.8 + 0.5 + 2.0 / 3) / 3);
    expect(j, "macro_recall", (2.0 / 3 + 0.5 + 1) / 3);
    for (int l = 0; l < 3; l++)
        for (int k = 0; k < 3; k++)
            assert_true(json_number(at(at(json_get(j, "confusion"), l), k)) ==
                        confusion[l][k]);
    json_free(j);
}

static void test_label_figures_are_those_of_their_definitions(void **state)
{
    struct label_figures f;
    struct err e = ERR_INIT;
    assert_int_equal(label_figures_init(&f, 3, &e), 0);
    count(&f, answers, 6);
    check_three(&f);
    label_figures_fini(&f);
}

static void test_label_figures_of_parts_are_those_of_the_whole(void **state)
{
    struct label_figures f, g;
    struct err e = ERR_INIT;
    assert_int_equal(label_figures_init(&f, 3, &e), 0);
    assert_int_equal(label_figures_init(&g, 3, &e), 0);
    count(&f, answers, 2);
    count(&g, answers + 2, 4);
    label_figures_join(&f, &g);
    check_three(&f);
    label_figures_fini(&f);
    label_figures_fini(&g);
}

/* A label that no text has: no recall, and an F1 of 0 if it was given. One that
 * nobody gave has no precision; one that neither has or gave has nothing. */
static void test_label_figures_leave_out_what_is_not_defined(void **state)
{
    static const struct answer a[] = {{0, 0, 1, 1}, {0, 1, 0, 1}, {2, 0, 0, 1}};
    struct label_figures f;
    struct err e = ERR_INIT;
    assert_int_equal(label_figures_init(&f, 4, &e), 0);
    count(&f, a, 3);
    struct json *j = written(&f, 0);
    expect_label(j, 0, 0.5, 0.5, 0.5, 2);
    expect_label(j, 1, 0, NAN, 0, 0);
    expect_label(j, 2, NAN, 0, 0, 1);
    expect_label(j, 3, NAN, NAN, NAN, 0);
    expect(j, "macro_f1", 0.5 / 3);
    expect(j, "macro_recall", 0.25);
    expect(j, "nll", -2 * log(1e-30) / 3); /* bounded */
    json_free(j);
    label_figures_fini(&f);
}

static void test_label_figures_of_nothing_and_of_many_are_short(void **state)
{
    struct label_figures f;
    struct err e = ERR_INIT;
    assert_int_equal(label_figures_init(&f, 2, &e), 0);
    struct json *j = written(&f, 0);
    expect(j, "items", 0);
    expect(j, "accuracy", 0);
    expect(j, "macro_f1", 0);
    json_free(j);
    j = written(&f, 1);
    assert_int_equal(json_size(j), 4);
    json_free(j);
    label_figures_fini(&f);
    assert_int_equal(label_figures_init(&f, FIGURE_MOST_LISTED + 1, &e), 0);
    j = written(&f, 0);
    assert_int_equal(json_size(j), 6);
    json_free(j);
    label_figures_fini(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_label_figures_are_those_of_their_definitions),
        cmocka_unit_test(test_label_figures_of_parts_are_those_of_the_whole),
        cmocka_unit_test(test_label_figures_leave_out_what_is_not_defined),
        cmocka_unit_test(test_label_figures_of_nothing_and_of_many_are_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
