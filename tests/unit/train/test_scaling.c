/* test_scaling: temperatures and biases that are found against those that made
 * the labels, against another way to find them, and at their bounds; and a
 * config.json that gets them, of which nothing else may change.
 *
 * SPDX-License-Identifier: MIT */
#include <math.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/base/rng.h"
#include "models/train/config_edit.h"
#include "models/train/scaling.h"
#include "tests/support/unit.h"

#define C 3
#define N 60000
/* Of 60,000 drawn labels: three times the standard error. */
#define DRAWN 0.06
/* At a minimum of a smooth f, f is flat: steps of so much in any parameter do
 * not lower it. */
#define STEP 1e-3

struct data {
    float z[N * C];
    int label[N];
    double weight[N];
    struct scaling_texts t;
};

/* Logits of a spread, and labels that are drawn from softmax(z / T + b). */
static struct data *draw(const double T[C], const double b[C], int n)
{
    struct data *d = mem_zalloc(sizeof *d);
    struct rng r;
    rng_init(&r, 7);
    for (int i = 0; i < n; i++) {
        double p[C], sum = 0, u = rng_uniform(&r);
        float *z = d->z + C * i;
        for (int l = 0; l < C; l++) {
            z[l] = (float)(8 * rng_uniform(&r) - 4 + l);
            p[l] = exp((double)z[l] / T[l] + b[l]);
            sum += p[l];
        }
        while (d->label[i] < C - 1 && u > p[d->label[i]] / sum)
            u -= p[d->label[i]++] / sum;
        d->weight[i] = 1.0 / n;
    }
    d->t = (struct scaling_texts){C, n, d->z, d->label, d->weight};
    return d;
}

static void expect_near(const double *got, const double *want, double tolerance)
{
    for (int l = 0; l < C; l++)
        if (!(fabs(got[l] - want[l]) <= tolerance * fmax(1, fabs(want[l]))))
            fail_msg("%d: %.5f, expected %.5f", l, got[l], want[l]);
}

static void test_scaling_finds_what_made_the_labels(void **state)
{
    static const double hot[C] = {2.5, 2.5, 2.5}, none[C] = {0, 0, 0};
    static const double each[C] = {0.5, 1, 2}, bias[C] = {0.7, -1, 0.3};
    double T[C], b[C];
    int bound;
    struct err e = ERR_INIT;
    struct data *d = draw(hot, none, N);
    assert_int_equal(scaling_fit(SCALING_ONE, &d->t, T, b, &bound, &e), 0);
    expect_near(T, hot, DRAWN);
    expect_near(b, none, 0);
    assert_true(T[0] == T[1] && T[1] == T[2] && !bound);
    mem_free(d);
    d = draw(each, none, N);
    assert_int_equal(scaling_fit(SCALING_LABELS, &d->t, T, b, &bound, &e), 0);
    expect_near(T, each, DRAWN);
    expect_near(b, none, 0);
    mem_free(d);
    d = draw(each, bias, N);
    assert_int_equal(scaling_fit(SCALING_VECTOR, &d->t, T, b, &bound, &e), 0);
    expect_near(T, each, DRAWN);
    expect_near(b, bias, DRAWN);
    assert_true(fabs(b[0] + b[1] + b[2]) < 1e-6); /* one of many alike */
    mem_free(d);
}

/* Nothing near is better, whatever the kind; nor is nothing at all. */
static void test_scaling_is_the_least_of_its_loss(void **state)
{
    static const double each[C] = {0.3, 3, 1}, bias[C] = {-2, 1, 0};
    struct err e = ERR_INIT;
    struct data *d = draw(each, bias, 500);
    double before =
        scaling_loss(&d->t, (double[C]){1, 1, 1}, (double[C]){0, 0, 0});
    for (int i = 0; i < 250; i++) /* one of two files, three times as heavy */
        d->weight[i] = 3.0 / 1000;
    for (int i = 250; i < 500; i++)
        d->weight[i] = 1.0 / 1000;
    for (int kind = SCALING_ONE; kind <= SCALING_VECTOR; kind++) {
        double T[C], b[C];
        int bound;
        assert_int_equal(
            scaling_fit((enum scaling_kind)kind, &d->t, T, b, &bound, &e), 0);
        double least = scaling_loss(&d->t, T, b);
        assert_true(least < before);
        for (int l = 0; l < 2 * C; l++)
            for (int sign = -1; sign <= 1; sign += 2) {
                double T2[C], b2[C], f = exp(sign * STEP);
                if (kind != SCALING_VECTOR && l >= C)
                    continue;
                memcpy(T2, T, sizeof T);
                memcpy(b2, b, sizeof b);
                for (int k = 0; k < C; k++)
                    T2[k] *= kind == SCALING_ONE || k == l ? f : 1;
                if (l >= C)
                    b2[l - C] += sign * STEP;
                assert_true(scaling_loss(&d->t, T2, b2) > least);
            }
        before = least + 1e-9; /* the next kind has more to choose from */
    }
    mem_free(d);
}

/* By hand: two texts of two labels with gaps z of 1, one right, one wrong, and
 * two more right: p = 3/4 is the best for all, so 1 / T = log 3. */
static void test_scaling_of_four_texts_is_what_it_is_by_hand(void **state)
{
    static const float z[8] = {1, 0, 0, 1, 2, 1, -3, -4};
    static const int label[4] = {0, 0, 0, 0};
    static const double weight[4] = {0.25, 0.25, 0.25, 0.25};
    const struct scaling_texts t = {2, 4, z, label, weight};
    double T[2], b[2];
    int bound;
    struct err e = ERR_INIT;
    assert_int_equal(scaling_fit(SCALING_ONE, &t, T, b, &bound, &e), 0);
    assert_true(fabs(T[0] - 1 / log(3)) < 1e-5 && !bound);
    assert_true(fabs(scaling_loss(&t, T, b) -
                     (0.75 * log(4.0 / 3) + 0.25 * log(4))) < 1e-9);
}

static void test_scaling_ends_at_its_bounds(void **state)
{
    static const float z[4] = {1, 0, 0, 2};
    static const double weight[2] = {0.5, 0.5};
    static const int right[2] = {0, 1}, wrong[2] = {1, 0};
    double T[2], b[2];
    int bound;
    struct err e = ERR_INIT;
    struct scaling_texts t = {2, 2, z, right, weight};
    for (int kind = SCALING_ONE; kind <= SCALING_VECTOR; kind++) {
        t.label = right;
        assert_int_equal(
            scaling_fit((enum scaling_kind)kind, &t, T, b, &bound, &e), 0);
        assert_true(isfinite(b[0]) && T[0] > 0 && T[0] < 1);
        assert_true(bound && scaling_loss(&t, T, b) < 1e-9);
        t.label = wrong;
        assert_int_equal(
            scaling_fit((enum scaling_kind)kind, &t, T, b, &bound, &e), 0);
        assert_true(bound && isfinite(b[0]) && isfinite(T[0]));
    }
    t.label = right;
    assert_int_equal(scaling_fit(SCALING_ONE, &t, T, b, &bound, &e), 0);
    assert_true(bound && T[0] < 0.06);
    t.label = wrong;
    assert_int_equal(scaling_fit(SCALING_ONE, &t, T, b, &bound, &e), 0);
    assert_true(bound && fabs(T[0] - 100) < 1e-9);
    t.n = 0;
    assert_int_equal(scaling_fit(SCALING_ONE, &t, T, b, &bound, &e), -1);
    assert_int_equal(e.code, ERR_INVALID);
    t = (struct scaling_texts){SCALING_MOST_LABELS + 1, 1, z, right, weight};
    assert_int_equal(scaling_fit(SCALING_VECTOR, &t, T, b, &bound, &e), -1);
}

/* --- config.json --- */

static void test_config_put_leaves_all_else_as_it_was(void **state)
{
    static const char *const rows[][4] = {
        /* text, key, value, what becomes of it */
        {"{\"a\":1}", "k", "2", "{\"a\":1, \"k\": 2}"},
        {"{}", "k", "2", "{ \"k\": 2}"},
        {" { } ", "k", "2", " { \"k\": 2 } "},
        {"{\"k\":1}", "k", "2", "{ \"k\": 2}"},
        {"{\"k\":1}", "k", NULL, "{}"},
        {"{\"a\":1}", "k", NULL, "{\"a\":1}"},
        {"{\"k\": [1, 2], \"a\": 1e-05}", "k", "2",
         "{ \"a\": 1e-05, \"k\": 2}"},
        {"{\n  \"a\": \"x\",\n  \"k\": {\"k\": 0},\n  \"b\": null\n}\n", "k",
         "[1, 2]", "{\n  \"a\": \"x\",\n  \"b\": null,\n  \"k\": [1, 2]\n}\n"},
        {"{\"a\":\"}],\\\"k\\\":\\\\\",\"b\":[{\"k\":1},\"]\"],\"k\" :1 ,"
         "\"kk\":true}",
         "k", "2",
         "{\"a\":\"}],\\\"k\\\":\\\\\",\"b\":[{\"k\":1},\"]\"],\"kk\":true, "
         "\"k\": 2}"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct err e = ERR_INIT;
        struct buf b;
        buf_init(&b, 1 << 16);
        if (config_put(rows[i][0], strlen(rows[i][0]), rows[i][1], rows[i][2],
                       &b, &e))
            fail_msg("%s: %s", rows[i][0], e.msg);
        assert_string_equal(b.p, rows[i][3]);
        buf_fini(&b);
    }
}

static void test_config_put_refuses_what_it_cannot_set(void **state)
{
    static const char *const texts[] = {
        "", "[]", "7", "{\"a\":1", "{\"a\":1}}", "{\"\\u006b\":1}"};
    for (size_t i = 0; i < COUNT(texts); i++) {
        struct err e = ERR_INIT;
        struct buf b;
        buf_init(&b, 1 << 16);
        assert_int_equal(
            config_put(texts[i], strlen(texts[i]), "k", "2", &b, &e), -1);
        assert_int_equal(e.code, ERR_FORMAT);
        buf_fini(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scaling_finds_what_made_the_labels),
        cmocka_unit_test(test_scaling_is_the_least_of_its_loss),
        cmocka_unit_test(test_scaling_of_four_texts_is_what_it_is_by_hand),
        cmocka_unit_test(test_scaling_ends_at_its_bounds),
        cmocka_unit_test(test_config_put_leaves_all_else_as_it_was),
        cmocka_unit_test(test_config_put_refuses_what_it_cannot_set),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
