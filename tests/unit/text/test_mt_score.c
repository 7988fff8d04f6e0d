/* BLEU and chrF against sacreBLEU, on made-up translations with odd marks,
 * numbers, spaces and scripts (tests/golden/make_bleu_fixtures.py).
 *
 * SPDX-License-Identifier: MIT */
#include "engine/base/file.h"
#include "engine/base/json.h"
#include "engine/base/mem.h"
#include "engine/text/mt_score.h"
#include "engine/text/tok_13a.h"
#include "tests/support/oom_sweep.h"
#include "tests/support/unit.h"

#define MAX_PAIRS 512
#define TOLERANCE 1e-9 /* relative: sums of logarithms in another order */

static struct buf texts[MAX_PAIRS][3];
static const struct json *tokens[MAX_PAIRS];
static struct json *golden;
static int n_pairs, n_lines;

static int load(void **state)
{
    struct err e = ERR_INIT;
    char *text;
    size_t n;
    int64_t lines;
    if (file_read("tests/golden/bleu.json", "bleu.json", 1 << 24, &text, &n,
                  &e) != 0 ||
        json_parse_nul(text, n, NULL, &golden, &e) != 0)
        fail_msg("%s", e.msg);
    mem_free(text);
    assert_int_equal(json_int(json_get(golden, "lines"), &lines), 0);
    n_lines = (int)lines;
    const struct json *row = json_child(json_get(golden, "pairs"));
    for (; row != NULL; row = json_next(row), n_pairs++) {
        const struct json *x = json_child(row);
        assert_true(n_pairs < MAX_PAIRS);
        for (int i = 0; i < 3; i++, x = json_next(x)) {
            buf_init(&texts[n_pairs][i], 1 << 16);
            buf_add_str(&texts[n_pairs][i], "");
            json_text(x, &texts[n_pairs][i]);
        }
        tokens[n_pairs] = x;
    }
    return 0;
}

static int unload(void **state)
{
    for (int i = 0; i < n_pairs; i++)
        for (int k = 0; k < 3; k++)
            buf_fini(&texts[i][k]);
    json_free(golden);
    return 0;
}

static struct mt_text text_of(int pair, int which)
{
    const struct buf *b = &texts[pair][which];
    return (struct mt_text){b->len > 0 ? b->p : "", b->len};
}

static void test_tokens_are_those_of_13a(void **state)
{
    int n = 0;
    for (int i = 0; i < n_pairs; i++) {
        struct err e = ERR_INIT;
        struct buf cut, want;
        struct mt_text t = text_of(i, 0);
        size_t at = 0, len;
        buf_init(&cut, 1 << 16);
        assert_int_equal(tok_13a_run(t.p, t.n, &cut, &e), 0);
        const struct json *x = json_child(tokens[i]);
        for (; (len = tok_13a_word(cut.p, cut.len, &at)) > 0; at += len) {
            buf_init(&want, 1 << 16);
            json_text(x, &want);
            if (len != want.len || memcmp(cut.p + at, want.p, len) != 0)
                fail_msg("pair %d: '%.*s', expected '%s'", i, (int)len,
                         cut.p + at, want.p ? want.p : "");
            x = json_next(x);
            buf_fini(&want);
            n++;
        }
        assert_null(x);
        buf_fini(&cut);
    }
    assert_true(n > 3000);
}

static void expect(double got, const struct json *want, const char *what,
                   int first)
{
    double w = json_number(want);
    if (!(fabs(got - w) <= TOLERANCE * fabs(w)))
        fail_msg("from %d: %s is %.12g, expected %.12g", first, what, got, w);
}

static void expect_corpus(const struct json *row)
{
    struct mt_score s = {.n = 0};
    struct err e = ERR_INIT;
    const struct json *x = json_child(row);
    int first = (int)json_number(x), last;
    x = json_next(x);
    last = (int)json_number(x);
    for (int i = first; i < last; i++) {
        struct mt_text h = text_of(i, 0), r = text_of(i, 1);
        assert_int_equal(mt_score_add(&s, h, &r, 1, &e), 0);
    }
    struct bleu b = mt_score_bleu(&s);
    expect(b.score, x = json_next(x), "bleu", first);
    const struct json *p = json_child(x = json_next(x));
    for (int k = 0; k < BLEU_ORDERS; k++, p = json_next(p))
        expect(b.precision[k], p, "precision", first);
    expect(b.penalty, x = json_next(x), "bp", first);
    expect((double)s.hyp_len, x = json_next(x), "hyp_len", first);
    expect((double)s.ref_len, x = json_next(x), "ref_len", first);
    expect(mt_score_chrf(&s), json_next(x), "chrf2", first);
}

static void test_scores_are_those_of_sacrebleu(void **state)
{
    const struct json *row = json_child(json_get(golden, "corpora"));
    int n = 0;
    for (; row != NULL; row = json_next(row), n++)
        expect_corpus(row);
    assert_true(n > 50);
}

/* Row `which` of "several": all further references, or i % 3 of pair i. */
static void expect_several(int which, int all)
{
    struct mt_score s = {.n = 0};
    struct err e = ERR_INIT;
    struct buf more[2], b;
    const struct json *x = json_child(json_get(golden, "further"));
    for (int k = 0; k < 2; k++)
        buf_init(&more[k], 1 << 16);
    for (int i = 0; i < n_lines; i++, x = json_next(x)) {
        struct mt_text ref[3] = {text_of(i, 1)};
        const struct json *y = json_child(x);
        for (int k = 0; k < 2; k++, y = json_next(y)) {
            buf_clear(&more[k]);
            buf_add_str(&more[k], "");
            json_text(y, &more[k]);
            ref[k + 1] = (struct mt_text){more[k].p, more[k].len};
        }
        assert_int_equal(
            mt_score_add(&s, text_of(i, 0), ref, all ? 3 : 1 + i % 3, &e), 0);
    }
    x = json_child(json_get(golden, "several"));
    x = json_child(which ? json_next(x) : x);
    struct bleu score = mt_score_bleu(&s);
    expect(score.score, x, "bleu", which);
    const struct json *p = json_child(x = json_next(x));
    for (int k = 0; k < BLEU_ORDERS; k++, p = json_next(p))
        expect(score.precision[k], p, "precision", which);
    expect(score.penalty, x = json_next(x), "bp", which);
    expect((double)s.hyp_len, x = json_next(x), "hyp_len", which);
    expect((double)s.ref_len, x = json_next(x), "ref_len", which);
    expect(mt_score_chrf(&s), x = json_next(x), "chrf2", which);
    buf_init(&b, 1 << 10);
    mt_score_signatures(&s, &b);
    assert_non_null(strstr(b.p, json_string(json_next(x))));
    buf_fini(&b);
    for (int k = 0; k < 2; k++)
        buf_fini(&more[k]);
}

static void
test_scores_of_several_references_are_those_of_sacrebleu(void **state)
{
    expect_several(0, 1);
    expect_several(1, 0);
}

static void expect_report(const struct json *got)
{
    const struct json *want = json_child(json_get(golden, "lengths"));
    const struct json *x = json_child(json_get(got, "by_source_length"));
    for (; want != NULL; want = json_next(want), x = json_next(x)) {
        const struct json *w = json_next(json_next(json_child(want)));
        assert_true(json_number(json_get(x, "sentences")) == json_number(w));
        w = json_next(w);
        assert_true(fabs(json_number(json_get(x, "bleu")) - json_number(w)) <
                    1e-4);
        w = json_next(w);
        assert_true(fabs(json_number(json_get(x, "chrf2")) - json_number(w)) <
                    1e-4);
    }
    assert_null(x);
}

static void test_report_has_scores_by_length_of_the_source(void **state)
{
    struct mt_report r;
    struct err e = ERR_INIT;
    struct json *j;
    struct buf b;
    memset(&r, 0, sizeof r);
    for (int i = 0; i < n_lines; i++) {
        struct mt_text ref = text_of(i, 1);
        assert_int_equal(
            mt_report_add(&r, text_of(i, 0), &ref, 1, text_of(i, 2), &e), 0);
    }
    buf_init(&b, 1 << 16);
    assert_int_equal(mt_report_write(&r, &b, &e), 0);
    assert_int_equal(json_parse(b.p, b.len, NULL, &j, &e), 0);
    assert_true(json_number(json_get(j, "sentences")) == n_lines);
    assert_string_equal(json_string(json_get(j, "signature")),
                        "nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp");
    expect_report(j);
    json_free(j);
    buf_fini(&b);
}

/* A line of a million tokens takes seconds at most. */
static void test_long_sentences_take_their_time_alone(void **state)
{
    size_t n = unit_is_slow() ? 100000 : 1000000;
    char *s = mem_alloc(n);
    struct mt_score m = {.n = 0};
    struct err e = ERR_INIT;
    assert_non_null(s);
    for (size_t i = 0; i < n; i++)
        s[i] = i % 2 ? ' ' : 'a';
    const struct mt_text t = {s, n};
    assert_int_equal(mt_score_add(&m, t, &t, 1, &e), 0);
    assert_int_equal(m.match[3], n / 2 - 3);
    assert_true(fabs(mt_score_bleu(&m).score - 100) < 1e-9);
    mem_free(s);
}

static int add_one(void *arg, struct err *e)
{
    struct mt_score s = {.n = 0};
    const struct mt_text ref[] = {{"a b c d", 7}, {"a b", 3}};
    int rc = mt_score_add(&s, (struct mt_text){"a b, c", 6}, ref, 2, e);
    assert_true(rc == 0 || (s.n == 0 && s.total[0] == 0));
    return rc;
}

static void test_scoring_survives_each_failed_allocation(void **state)
{
    assert_true(oom_sweep(add_one, NULL) > 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tokens_are_those_of_13a),
        cmocka_unit_test(test_scores_are_those_of_sacrebleu),
        cmocka_unit_test(
            test_scores_of_several_references_are_those_of_sacrebleu),
        cmocka_unit_test(test_report_has_scores_by_length_of_the_source),
        cmocka_unit_test(test_long_sentences_take_their_time_alone),
        cmocka_unit_test(test_scoring_survives_each_failed_allocation),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
