/* test_typed: what goes on with the beginning of a word, and the words of a
 * vocabulary of words that begin so.
 *
 * SPDX-License-Identifier: MIT */
#include <math.h>

#include "engine/run/typed.h"
#include "tests/support/engine_fix.h"
#include "tests/support/unit.h"

/* Probabilities are given in single precision. */
#define TOLERANCE 1e-6
#define NONE (-2)

static void test_typed_is_a_part_of_one_word(void **state)
{
    static const struct {
        const char *text;
        int bad;
    } cases[] = {
        {"", 0},           {"bir", 0},          {"well-", 0},
        {"a b", 1},        {" b", 1},           {"b\n", 1},
        {"a\xc2\xa0z", 1}, {"\xe2\x80\x83", 1}, /* no-break and em space */
    };
    char most[TYPED_BYTES + 2] = "";
    struct err e = ERR_INIT;
    for (size_t i = 0; i < COUNT(cases); i++) {
        err_clear(&e);
        assert_int_equal(typed_check(cases[i].text, &e) < 0, cases[i].bad);
        if (cases[i].bad)
            assert_string_equal(e.param, "prefix");
    }
    for (int i = 0; i < TYPED_MOST; i++)
        memcpy(most + 4 * i, "\xf0\x9f\x90\x88", 4); /* a cat */
    err_clear(&e);
    assert_int_equal(typed_check(most, &e), 0);
    most[TYPED_BYTES] = 'x';
    assert_int_equal(typed_check(most, &e), -1);
}

static void test_typed_capital_stands_for_the_small_letter(void **state)
{
    static const struct {
        const char *typed, *word;
        int all_small, want;
    } cases[] = {
        {"bir", "birthday", 0, 3},
        {"bir", "Birthday", 0, 0}, /* what was typed stays */
        {"bir", "bi", 0, 0},
        {"bird", "bird", 0, 4},
        {"Bir", "Birthday", 0, 3},
        {"Bir", "birthday", 0, 3},
        {"BIR", "bIRTH", 0, 3},
        {"BIR", "birthday", 0, 0},
        {"BIR", "birthday", 1, 3},
        {"\xc3\x89t", "\xc3\xa9t\xc3\xa9", 0, 3}, /* E acute */
        {"\xc8\xba", "\xe2\xb1\xa5x", 0, 3}, /* a small letter of more bytes */
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct typed t;
        int form;
        typed_set(&t, cases[i].typed, cases[i].all_small, 0);
        int n = typed_word(&t, cases[i].word, strlen(cases[i].word), &form);
        if (n != cases[i].want)
            fail_msg("%s, %s: %d", cases[i].typed, cases[i].word, n);
    }
}

/* Tokens that cut the beginning anywhere. */
static void test_typed_is_spelled_by_tokens(void **state)
{
    static const struct {
        const char *typed;
        int apart;
        const char *piece[4];
        int rest[4]; /* NONE: it does not go on so */
    } cases[] = {
        {"bir", 0, {" birthday"}, {5}},
        {"bir", 1, {" bir"}, {0}},
        {"bir", 0, {"birds"}, {2}},
        {"bir", 1, {"birds"}, {NONE}},
        {"bir", 1, {" ", "b", "ir"}, {-1, -1, 0}},
        {"bir", 1, {" b", "i", "t"}, {-1, -1, NONE}},
        {"bir", 0, {" b", " i"}, {-1, NONE}},
        {"Bir", 1, {" b", "ird"}, {-1, 1}},
        {"Bir", 1, {" B", "ird"}, {-1, 1}},
        {"Bir", 1, {" BIR"}, {NONE}},
        {",", 1, {","}, {0}}, /* a mark needs no space */
        {"\xc3\x89", 1, {" \xc3", "\xa9"}, {-1, 0}},
        {"\xc3\x89", 1, {" \xc3", "\x89t"}, {-1, 1}},
        {"\xc3\x89", 1, {" \xc3", "\xaat"}, {-1, NONE}},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct typed t;
        typed_set(&t, cases[i].typed, 0, cases[i].apart);
        unsigned forms = t.first;
        int at = 0;
        for (int k = 0; k < 4 && cases[i].piece[k]; k++) {
            size_t n = strlen(cases[i].piece[k]);
            int rest;
            forms = typed_step(&t, forms, at, cases[i].piece[k], n, &rest);
            if ((forms ? rest : NONE) != cases[i].rest[k])
                fail_msg("%s: '%s' leaves %d (%u)", cases[i].typed,
                         cases[i].piece[k], rest, forms);
            at += (int)n;
        }
    }
}

/* --- a model of words --- */

static const char *const cased[] = {"the", "The", "then", "Thy", "bird",
                                    "t",   ".",   "ThE",  "'s"};
static const char *const small[] = {"the", "bird", "bi", "."};

struct softmax {
    double p[64];
};

static void softmax_of(const int32_t *ids, int n, int V, double temperature,
                       struct softmax *out)
{
    uint32_t h = fake_state(ids, n);
    double sum = 0;
    for (int i = 0; i < V; i++)
        sum += exp((double)fake_logit(h, i, 0, 0, V) / temperature);
    for (int i = 0; i < V; i++)
        out->p[i] = exp((double)fake_logit(h, i, 0, 0, V) / temperature) / sum;
}

/* Words by hand: behind the prefix, the sum of entries of the vocabulary. */
struct wanted {
    const char *rest;
    int a, b; /* b -1: one entry alone */
};

static void check_words(const char *const *words, int n_words,
                        const char *prefix, float temperature,
                        const struct wanted *want, int n)
{
    struct fake_config c = {.max_chain = 8,
                            .words = words,
                            .n_words = n_words,
                            .n_vocab = FAKE_WORD + n_words};
    struct fix f;
    fix_open(&f, &c, NULL);
    for (int i = 0; i < 20; i++) {
        int32_t ids[3] = {FAKE_WORD + i % n_words,
                          FAKE_WORD + i / n_words % n_words, FAKE_WORD};
        struct watched j = {0};
        struct softmax all;
        double mass = 0;
        struct flat_spec s = fix_spec(&f, &task_next, ids, 3);
        s.top_k = 1000;
        s.temperature = temperature;
        s.prefix = prefix;
        softmax_of(ids, 3, c.n_vocab, (double)temperature, &all);
        fix_run(&f, &s, 1, &j);
        const struct flat_result r = flat_result(j.job);
        assert_int_equal(r.n_predictions, n);
        assert_string_equal(r.typed, prefix);
        for (int k = 0; k < n; k++) {
            double p = all.p[FAKE_WORD + want[k].a];
            p += want[k].b < 0 ? 0 : all.p[FAKE_WORD + want[k].b];
            mass += p;
            int at = 0;
            while (at < n && strcmp(r.predictions[at].text, want[k].rest))
                at++;
            assert_true(at < n);
            const struct prediction *got = &r.predictions[at];
            assert_true(fabs((double)got->prob - p) < TOLERANCE);
            assert_true(fabs((double)got->logprob - log(p)) < 1e-4);
            assert_true(at == 0 || got->prob <= got[-1].prob);
        }
        assert_true(fabs(r.covered_mass - mass) < TOLERANCE);
        watch_release(&j, 1);
    }
    fix_close(&f);
}

static void test_words_of_a_vocabulary_begin_so(void **state)
{
    static const struct wanted th[] = {{"e", 0, -1}, {"en", 2, -1}};
    static const struct wanted capital[] = {
        {"e", 0, 1}, {"en", 2, -1}, {"y", 3, -1}, {"E", 7, -1}};
    static const struct wanted mark[] = {{"", 6, -1}};
    static const struct wanted bird[] = {{"rd", 1, -1}, {"", 2, -1}};
    check_words(cased, COUNT(cased), "th", 1, th, 2);
    check_words(cased, COUNT(cased), "Th", 1, capital, 4);
    check_words(cased, COUNT(cased), "Th", 0.5f, capital, 4);
    check_words(cased, COUNT(cased), ".", 1, mark, 1);
    check_words(cased, COUNT(cased), "q", 1, NULL, 0);
    check_words(small, COUNT(small), "bi", 1, bird, 2);
    check_words(small, COUNT(small), "BI", 1, bird, 2);
    check_words(small, COUNT(small), "<", 1, NULL, 0); /* special tokens */
}

static void test_a_prefix_is_refused_where_no_words_are_offered(void **state)
{
    static const char *const letters[] = {"a", "b"};
    struct fake_config c = {.max_chain = 8,
                            .words = letters,
                            .n_words = 2,
                            .normalizer = "seqd-characters",
                            .n_vocab = FAKE_WORD + 2};
    struct watched j = {0};
    struct fix f;
    fix_open(&f, &c, NULL);
    struct flat_spec s = fix_spec(&f, &task_next, fix_words, 1);
    s.prefix = "a";
    fix_refused(&f, &s, 1, &j, ERR_UNSUPPORTED, "task_not_supported", "prefix");
    s.prefix = "";
    fix_run(&f, &s, 1, &j);
    fix_end(&f, &j, 1);
    c.normalizer = NULL;
    fix_open(&f, &c, NULL);
    s = fix_spec(&f, &task_next, fix_words, 1);
    s.prefix = "a b";
    fix_refused(&f, &s, 1, &j, ERR_INVALID, "invalid_value", "prefix");
    fix_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_typed_is_a_part_of_one_word),
        cmocka_unit_test(test_typed_capital_stands_for_the_small_letter),
        cmocka_unit_test(test_typed_is_spelled_by_tokens),
        cmocka_unit_test(test_words_of_a_vocabulary_begin_so),
        cmocka_unit_test(test_a_prefix_is_refused_where_no_words_are_offered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
