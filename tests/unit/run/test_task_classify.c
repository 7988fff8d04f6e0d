/* test_task_classify: a label for a text. The scores of a temperature, of some
 * of the labels, and of a text in parts are what they are by their definitions
 * (class_rules.h, windows.h), computed here from the toy's logits; and a text
 * in parts has the same bits however its parts fall into steps.
 *
 * SPDX-License-Identifier: MIT */
#include <math.h>
#include <unistd.h>

#include "engine/base/metrics.h"
#include "engine/base/rng.h"
#include "engine/run/class_rules.h"
#include "engine/run/model.h"
#include "tests/support/engine_fix.h"
#include "tests/support/metric_line.h"
#include "tests/support/unit.h"

/* Scores are floats; the sums here are doubles. */
#define TOLERANCE 2e-6
#define C 3 /* labels */
#define V 64
#define PAGE 16
#define PAGE_COST 256 /* bytes of a page of the toy, with its head */

static void random_words(int32_t *ids, int n, uint64_t seed)
{
    struct rng r;
    rng_init(&r, seed);
    for (int i = 0; i < n; i++)
        ids[i] = FAKE_WORD + (int32_t)rng_below(&r, V - FAKE_WORD);
}

static void softmax(const double *z, int n, double *p)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += exp(z[i]);
    for (int i = 0; i < n; i++)
        p[i] = exp(z[i]) / sum;
}

static void logits_of(const int32_t *ids, int n, double z[C])
{
    uint32_t h = fake_state(ids, n);
    for (int l = 0; l < C; l++)
        z[l] = (double)fake_score(h, l);
}

static void expect_scores(const struct watched *j, const double *p, int n)
{
    const struct flat_result r = flat_result(j->job);
    int best = 0;
    if (j->final != JOB_DONE)
        fail_msg("%s", job_error(j->job)->msg);
    assert_int_equal(r.n_scores, n);
    for (int i = 0; i < n; i++) {
        if (fabs((double)r.scores[i] - p[i]) > TOLERANCE)
            fail_msg("score %d is %.8f, expected %.8f", i, (double)r.scores[i],
                     p[i]);
        best = p[i] > p[best] ? i : best;
    }
    assert_int_equal(r.best, best);
}

static struct flat_spec classify(const struct fix *f, const int32_t *ids, int n)
{
    return fix_spec(f, &task_classify, ids, n);
}

/* --- temperature --- */

static void check_scaled(const char *more, const double t[C], const double b[C])
{
    struct fix f;
    struct watched j = {0};
    int32_t ids[20];
    double z[C], p[C];
    fix_open(&f, &(struct fake_config){.max_chain = 8, .more = more}, NULL);
    for (int n = 1; n <= 20; n++) {
        random_words(ids, n, (uint64_t)n);
        logits_of(ids, n, z);
        struct flat_spec s = classify(&f, ids, n);
        fix_run(&f, &s, 1, &j);
        for (int l = 0; l < C; l++) {
            assert_true((double)flat_result(j.job).logits[l] == z[l]);
            z[l] = z[l] / t[l] + b[l];
        }
        softmax(z, C, p);
        expect_scores(&j, p, C);
        watch_release(&j, 1);
    }
    fix_close(&f);
}

static void test_classify_divides_logits_by_the_temperature(void **state)
{
    static const double one[C] = {1, 1, 1}, none[C] = {0, 0, 0};
    check_scaled(NULL, one, none);
    check_scaled(",\"seqd_temperature\":2.5", (double[C]){2.5, 2.5, 2.5}, none);
    check_scaled(",\"seqd_temperature\":[0.5,1,4]", (double[C]){0.5, 1, 4},
                 none);
    check_scaled(",\"seqd_bias\":[0.25,-1,3]", one, (double[C]){0.25, -1, 3});
    check_scaled(",\"seqd_temperature\":[0.5,1,4],\"seqd_bias\":[0.25,-1,3]",
                 (double[C]){0.5, 1, 4}, (double[C]){0.25, -1, 3});
}

static void test_classify_scales_sigmoids_too(void **state)
{
    struct fix f;
    struct watched j = {0};
    int32_t ids[9];
    double z[C];
    random_words(ids, 9, 4);
    logits_of(ids, 9, z);
    for (int l = 0; l < C; l++)
        z[l] = 1 / (1 + exp(-z[l] / 3));
    fix_open(&f,
             &(struct fake_config){.max_chain = 8,
                                   .more = ",\"seqd_temperature\":3"},
             NULL);
    f.m->info.scores = SCORE_SIGMOID;
    struct flat_spec s = classify(&f, ids, 9);
    fix_run(&f, &s, 1, &j);
    expect_scores(&j, z, C);
    fix_end(&f, &j, 1);
}

/* --- some of the labels --- */

static void test_classify_of_some_labels_is_a_softmax_of_them(void **state)
{
    static const int chosen[][3] = {{0, 2}, {2, 0}, {1, 2}, {2, 1, 0}, {1}};
    static const int n_chosen[] = {2, 2, 2, 3, 1};
    struct fix f;
    struct watched j[2] = {{0}};
    int32_t ids[12];
    random_words(ids, 12, 8);
    fix_open(&f,
             &(struct fake_config){.max_chain = 8,
                                   .more = ",\"seqd_temperature\":[0.5,1,4]"},
             NULL);
    for (size_t i = 0; i < COUNT(chosen); i++) {
        double p[C], sum = 0;
        struct flat_spec s[2] = {classify(&f, ids, 12), classify(&f, ids, 12)};
        s[1].labels = chosen[i];
        s[1].n_labels = n_chosen[i];
        fix_run(&f, s, 2, j);
        /* The whole answer, renormalised. */
        const struct flat_result all = flat_result(j[0].job),
                                 r = flat_result(j[1].job);
        int n = 0;
        for (int l = 0; l < C; l++)
            for (int k = 0; k < n_chosen[i]; k++)
                if (chosen[i][k] == l) {
                    assert_int_equal(r.label[n], l); /* the model's order */
                    p[n++] = (double)all.scores[l];
                    sum += (double)all.scores[l];
                }
        for (int k = 0; k < n; k++)
            p[k] /= sum;
        expect_scores(&j[1], p, n);
        watch_release(j, 2);
    }
    fix_close(&f);
}

static void test_classify_of_some_labels_filters_other_scores(void **state)
{
    static const enum score_kind kinds[] = {SCORE_SIGMOID, SCORE_RAW};
    for (int k = 0; k < 2; k++) {
        struct fix f;
        struct watched j[2] = {{0}};
        int32_t ids[5];
        random_words(ids, 5, 11);
        fix_open(&f, &(struct fake_config){.max_chain = 8}, NULL);
        f.m->info.scores = kinds[k];
        struct flat_spec s[2] = {classify(&f, ids, 5), classify(&f, ids, 5)};
        s[1].labels = (const int[]){2, 1};
        s[1].n_labels = 2;
        fix_run(&f, s, 2, j);
        const struct flat_result all = flat_result(j[0].job),
                                 r = flat_result(j[1].job);
        assert_int_equal(r.n_scores, 2);
        assert_memory_equal(r.scores, all.scores + 1, 2 * sizeof(float));
        assert_int_equal(r.best, all.scores[2] > all.scores[1]);
        fix_end(&f, j, 2);
    }
}

static void test_classify_refuses_labels_that_are_none(void **state)
{
    static const int wrong[][2] = {{0, 3}, {-1, 0}, {1, 1}};
    struct fix f;
    struct watched j = {0};
    fix_open(&f, &(struct fake_config){.max_chain = 8}, NULL);
    for (size_t i = 0; i < COUNT(wrong); i++) {
        struct flat_spec s = classify(&f, fix_words, 4);
        s.labels = wrong[i];
        s.n_labels = 2;
        fix_refused(&f, &s, 1, &j, ERR_INVALID, "invalid_value", "labels");
        s.n_labels = 0;
        fix_refused(&f, &s, 1, &j, ERR_INVALID, "invalid_value", "labels");
    }
    fix_close(&f);
}

/* --- parts --- */

struct rule {
    int length, stride, before, after;
};

/* Of a text of n tokens with those around it: logits, by the definition. The
 * number of parts. */
static int by_parts(const struct rule *r, const int32_t *ids, int n,
                    double z[C])
{
    int room = r->length - r->before - r->after,
        text = n - r->before - r->after;
    int k = 0, seen = 0;
    if (n <= r->length) {
        logits_of(ids, n, z);
        return 1;
    }
    memset(z, 0, C * sizeof *z);
    for (; seen < text; k++) {
        int32_t part[256];
        double row[C];
        int at = k * r->stride;
        at = at + room > text ? text - room : at;
        memcpy(part, ids, (size_t)r->before * sizeof *ids);
        memcpy(part + r->before, ids + r->before + at,
               (size_t)room * sizeof *ids);
        memcpy(part + r->before + room, ids + n - r->after,
               (size_t)r->after * sizeof *ids);
        logits_of(part, r->length, row);
        for (int l = 0; l < C; l++)
            z[l] += row[l] * (at + room - seen) / text;
        seen = at + room;
    }
    return k;
}

static void config_of(const struct rule *r, char more[96])
{
    snprintf(more, 96,
             ",\"seqd_temperature\":1.5,"
             "\"seqd_windows\":{\"length\":%d,\"stride\":%d}",
             r->length, r->stride);
}

static void check_parts(const struct watched *j, const struct rule *r,
                        const int32_t *ids, int n)
{
    double z[C], p[C];
    int k = by_parts(r, ids, n, z);
    for (int l = 0; l < C; l++)
        z[l] /= 1.5;
    softmax(z, C, p);
    expect_scores(j, p, C);
    assert_int_equal(flat_result(j->job).windows, k);
    assert_int_equal(flat_result(j->job).prompt_tokens, n);
}

static const struct rule rules[] = {{9, 8, 1, 0}, {9, 2, 1, 0},   {12, 5, 2, 3},
                                    {4, 3, 0, 0}, {40, 20, 1, 1}, {3, 1, 1, 1}};

/* All lengths about the edges of parts, and one of many parts. */
static const int lengths[] = {2,  3,  4,  5,  8,  9,  10,  11, 12, 13,
                              14, 16, 17, 18, 25, 26, 39,  40, 41, 42,
                              59, 60, 61, 78, 79, 99, 100, 333};
#define N_LENGTHS ((int)COUNT(lengths))

/* Texts of all lengths with this rule, together, on the toy as `c` has it. The
 * scores' bits go to got [N_LENGTHS][C]. */
static void run_parts(const struct rule *r, struct fake_config c,
                      const struct engine_options *o, float got[N_LENGTHS][C])
{
    static int32_t ids[N_LENGTHS][400];
    static struct watched j[N_LENGTHS];
    static struct flat_spec s[N_LENGTHS];
    struct fix f;
    char more[96];
    int n = 0;
    config_of(r, more);
    c.more = more;
    fix_open(&f, &c, o);
    for (int i = 0; i < N_LENGTHS; i++) {
        random_words(ids[i], lengths[i], 1000 + (uint64_t)i);
        if (lengths[i] <= r->before + r->after)
            continue;
        s[n] = classify(&f, ids[i], lengths[i]);
        s[n].before = r->before;
        s[n++].after = r->after;
    }
    fix_run(&f, s, n, j);
    for (int i = 0; i < n; i++) {
        check_parts(&j[i], r, s[i].tokens, s[i].n_tokens);
        memcpy(got[i], flat_result(j[i].job).scores, sizeof got[i]);
    }
    /* No step is larger than its budget, or than the one part it has. */
    int budget = o && o->step_tokens ? o->step_tokens : 1024;
    budget = budget < r->length && c.whole ? r->length : budget;
    assert_true(atomic_load(&fake_stats.max_tokens) <= budget);
    fix_end(&f, j, n);
}

static void test_classify_reads_a_long_text_in_parts(void **state)
{
    static float got[N_LENGTHS][C];
    for (size_t i = 0; i < COUNT(rules); i++)
        run_parts(&rules[i], (struct fake_config){.max_chain = 8}, NULL, got);
}

static void
test_classify_of_parts_is_the_same_however_they_are_read(void **state)
{
    static const struct fake_config nets[] = {{.max_chain = 8},
                                              {.max_chain = 3},
                                              {.whole = 1},
                                              {.whole = 1, .context = 40},
                                              {.page = PAGE, .context = 40},
                                              {.page = PAGE, .max_chain = 5}};
    static const struct engine_options ways[] = {
        {.n_threads = 1},
        {.n_threads = 3, .step_tokens = 1},
        {.step_tokens = 7, .max_rows = 2},
        {.step_tokens = 50, .max_rows = 1},
        {.step_tokens = 4096, .max_rows = 256}};
    static float first[N_LENGTHS][C], got[N_LENGTHS][C];
    for (size_t i = 1; i < COUNT(rules); i += 2)
        for (size_t net = 0; net < COUNT(nets); net++)
            for (size_t way = 0; way < COUNT(ways); way++) {
                float(*to)[C] = net + way == 0 ? first : got;
                run_parts(&rules[i], nets[net], &ways[way], to);
                if (net + way > 0)
                    assert_memory_equal(first, got, sizeof got);
            }
}

/* Tokens that end a part may have no row of their own (class_padding). The
 * toy's row is of its whole item, so it gets one token at a time. */
static void test_classify_of_parts_minds_tokens_that_only_fill(void **state)
{
    enum { N = 28, FILL = FAKE_WORD };
    static const struct rule r = {10, 9, 0, 0}; /* from 0, 9 and 18 on */
    static const int weight[3] = {10, 9, 9};
    struct fix f;
    struct watched j = {0};
    int32_t ids[N];
    double z[C] = {0}, p[C], row[C];
    char more[96];
    random_words(ids, N, 77);
    for (int i = 0; i < N; i++)
        ids[i] += ids[i] == FILL;
    ids[18] = ids[17] = ids[16] = FILL; /* the second part ends so */
    config_of(&r, more);
    fix_open(&f, &(struct fake_config){.max_chain = 1, .more = more}, NULL);
    f.m->info.class_padding = FILL + 1;
    for (int part = 0; part < 3; part++) {
        logits_of(ids + 9 * part, part == 1 ? 7 : 10, row);
        for (int l = 0; l < C; l++)
            z[l] += row[l] * weight[part] / N / 1.5;
    }
    softmax(z, C, p);
    struct flat_spec s = classify(&f, ids, N);
    fix_run(&f, &s, 1, &j);
    expect_scores(&j, p, C);
    fix_end(&f, &j, 1);
}

/* Texts that grow need the pages that a younger text in parts has. */
static void test_classify_of_parts_survives_the_loss_of_its_state(void **state)
{
    enum { GROW = 3, N = GROW + 2, LEN = 400 };
    static const struct rule r = {160, 80, 1, 0};
    static const char preempted[] = "seqd_preempted_total{model=\"fake\"} ";
    static int32_t ids[N][LEN];
    static float alone[N][C];
    char more[96];
    config_of(&r, more);
    const struct fake_config c = {.page = PAGE,
                                  .max_chain = 8,
                                  .chain = 1, /* 54 words after the first */
                                  .context = 160,
                                  .more = more};
    for (int crowd = 0; crowd < 2; crowd++) {
        struct fix f;
        static struct watched j[N];
        static struct flat_spec s[N];
        /* A part has up to 10 pages, a text that grows 4. */
        fix_open(&f, &c,
                 &(struct engine_options){.step_tokens = 8,
                                          .state_bytes = 16 * PAGE_COST});
        double before = metric_line(preempted);
        for (int i = 0; i < N; i++) {
            random_words(ids[i], LEN, 300 + (uint64_t)i);
            ids[i][9] = FAKE_WORD;
            s[i] = i < GROW ? fix_spec(&f, &task_generate, ids[i], 10)
                            : classify(&f, ids[i], LEN);
            s[i].before = 1;
            s[i].max_tokens = 60;
        }
        for (int i = 0; i < N && !crowd; i++)
            fix_run(&f, &s[i], 1, &j[i]);
        if (crowd)
            fix_run(&f, s, N, j);
        for (int i = GROW; i < N; i++) {
            const float *scores = flat_result(j[i].job).scores;
            check_parts(&j[i], &r, ids[i], LEN);
            if (crowd)
                assert_memory_equal(alone[i], scores, sizeof alone[i]);
            memcpy(alone[i], scores, sizeof alone[i]);
        }
        assert_int_equal(metric_line(preempted) > before, crowd);
        fix_end(&f, j, N);
    }
}

static void test_classify_of_parts_counts_each_token_once(void **state)
{
    static const struct rule r = {9, 2, 1, 1};
    struct fix f;
    struct watched j = {0};
    char more[96];
    config_of(&r, more);
    fix_open(&f, &(struct fake_config){.max_chain = 3, .more = more}, NULL);
    double before =
        metric_line("seqd_tokens_total{model=\"fake\",kind=\"prompt\"} ");
    struct flat_spec s = classify(&f, fix_words, 250);
    s.before = s.after = 1;
    fix_run(&f, &s, 1, &j);
    assert_true(
        metric_line("seqd_tokens_total{model=\"fake\",kind=\"prompt\"} ") ==
        before + 250);
    fix_end(&f, &j, 1);
}

static void test_classify_of_parts_fails_with_one_of_them(void **state)
{
    static const int32_t bad[] = {FAKE_NAN, FAKE_INF, FAKE_ITEM, FAKE_ITEM_OOM,
                                  FAKE_STEP};
    static const struct rule r = {9, 8, 1, 0};
    char more[96];
    config_of(&r, more);
    for (int page = 0; page <= PAGE; page += PAGE) {
        struct fix f;
        fix_open(
            &f,
            &(struct fake_config){.max_chain = 8, .page = page, .more = more},
            NULL);
        for (size_t i = 0; i < COUNT(bad); i++)
            for (int at = 1; at < 100; at += 14) {
                struct watched j[2] = {{0}};
                int32_t ids[100];
                random_words(ids, 100, 5);
                ids[at] = bad[i];
                struct flat_spec s[2] = {classify(&f, ids, 100),
                                         classify(&f, fix_words, 100)};
                s[0].before = s[1].before = 1;
                int n = bad[i] == FAKE_STEP ? 1 : 2;
                fix_run(&f, s, n, j);
                assert_int_equal(j[0].final, JOB_FAILED);
                assert_int_equal(job_error(j[0].job)->code,
                                 bad[i] == FAKE_ITEM_OOM ? ERR_NOMEM
                                                         : ERR_INTERNAL);
                if (n == 2) /* its neighbour does not notice */
                    check_parts(&j[1], &r, fix_words, 100);
                watch_release(j, n);
            }
        fix_close(&f);
    }
}

static void test_classify_of_parts_can_be_cancelled_at_each_step(void **state)
{
    static const struct rule r = {9, 8, 1, 0};
    char more[96];
    config_of(&r, more);
    for (int pass = 0; pass < 12; pass++) {
        struct fix f;
        struct watched j[2] = {{0}};
        fix_open(
            &f,
            &(struct fake_config){.max_chain = 4, .page = PAGE, .more = more},
            &(struct engine_options){.step_tokens = 20});
        struct flat_spec s[2] = {classify(&f, fix_words, 200),
                                 classify(&f, fix_words, 60)};
        s[0].before = s[1].before = 1;
        fix_hold(&f, s, 2, j, pass);
        job_cancel(j[0].job);
        fix_go(&f, 2);
        assert_int_equal(j[0].final, JOB_FAILED);
        assert_int_equal(job_error(j[0].job)->code, ERR_CANCELLED);
        check_parts(&j[1], &r, fix_words, 60);
        fix_end(&f, j, 2);
    }
}

static void test_classify_of_parts_can_wait_and_go_on(void **state)
{
    static const struct rule r = {9, 8, 1, 0};
    char more[96];
    config_of(&r, more);
    for (int pass = 0; pass < 8; pass++) {
        struct fix f;
        struct watched j = {0};
        fix_open(&f, &(struct fake_config){.max_chain = 4, .more = more},
                 &(struct engine_options){.step_tokens = 10});
        struct flat_spec s = classify(&f, fix_words, 200);
        s.before = 1;
        fix_hold(&f, &s, 1, &j, pass);
        job_pause(j.job, 1);
        atomic_store(&fake_stats.hold, 0);
        usleep(2000);
        job_pause(j.job, 0);
        fix_go(&f, 1);
        check_parts(&j, &r, fix_words, 200);
        fix_end(&f, &j, 1);
    }
}

static void test_classify_of_parts_has_limits(void **state)
{
    static const struct rule r = {9, 8, 1, 0};
    struct fix f;
    struct watched j = {0};
    char more[96];
    config_of(&r, more);
    fix_open(&f,
             &(struct fake_config){
                 .max_chain = 8, .context = 20, .attention = 2, .more = more},
             &(struct engine_options){.max_item_tokens = 100});
    assert_int_equal(classify_most_tokens(f.m), 100);
    assert_int_equal(model_max_tokens(f.m, PORT_TARGET), 20);
    struct flat_spec s = classify(&f, fix_words, 101);
    s.before = 1;
    fix_refused(&f, &s, 1, &j, ERR_TOO_LARGE, "context_length_exceeded",
                "input[0]");
    s.n_tokens = 100;
    fix_run(&f, &s, 1, &j);
    check_parts(&j, &r, fix_words, 100);
    watch_release(&j, 1);
    s.attention = 1;
    fix_refused(&f, &s, 1, &j, ERR_INVALID, "invalid_value", "attention");
    s.n_tokens = 9; /* one part */
    fix_run(&f, &s, 1, &j);
    assert_non_null(flat_result(j.job).attention);
    watch_release(&j, 1);
    s.n_tokens = 10;
    s.attention = 0;
    s.before = 9; /* no room for a text */
    fix_refused(&f, &s, 1, &j, ERR_INVALID, NULL, "input[0]");
    s = fix_spec(&f, &task_next, fix_words, 21); /* not of parts */
    fix_refused(&f, &s, 1, &j, ERR_TOO_LARGE, "context_length_exceeded",
                "input[0]");
    fix_close(&f);
}

/* A client of many texts has one part beside a light client's text, not as many
 * as a step has room for. */
static void
test_classify_of_parts_leaves_light_clients_short_steps(void **state)
{
    enum { HEAVY = 40, LEN = 2000, SHORT = 10 };
    static const struct rule r = {64, 63, 1, 0};
    static struct watched j[HEAVY], light;
    static struct flat_spec s[HEAVY];
    char more[96];
    config_of(&r, more);
    for (int whole = 0; whole < 2; whole++) {
        struct fix f;
        fix_open(&f, &(struct fake_config){.whole = whole, .more = more}, NULL);
        for (int i = 0; i < HEAVY; i++) {
            s[i] = classify(&f, fix_words, LEN);
            s[i].before = 1;
            s[i].client = 1;
        }
        fix_hold(&f, s, HEAVY, j, 3);
        assert_true(atomic_load(&fake_stats.max_tokens) > 900); /* alone */
        struct flat_spec one = classify(&f, fix_words, SHORT);
        one.client = 2;
        fix_submit(&f, &one, 1, &light);
        fake_pass(1); /* the step that waits; the next one has the text */
        atomic_store(&fake_stats.max_tokens, 0);
        fake_pass(1);
        assert_int_equal(light.final, JOB_DONE);
        assert_true(atomic_load(&fake_stats.max_tokens) <= SHORT + 64);
        for (int i = 0; i < HEAVY; i++)
            job_cancel(j[i].job);
        fix_go(&f, HEAVY + 1);
        watch_release(&light, 1);
        fix_end(&f, j, HEAVY);
    }
}

/* Nor is there scratch for more than a part, or a step. */
static void test_classify_of_parts_makes_no_larger_step(void **state)
{
    static const struct rule r = {64, 63, 1, 0};
    struct fix f;
    struct watched j = {0};
    char more[96];
    config_of(&r, more);
    fix_open(&f, &(struct fake_config){.whole = 1, .more = more},
             &(struct engine_options){.step_tokens = 100});
    struct flat_spec s = classify(&f, fix_words, 8000);
    s.before = 1;
    fix_run(&f, &s, 1, &j);
    check_parts(&j, &r, fix_words, 8000);
    assert_int_equal(atomic_load(&fake_stats.max_tokens), 64);
    assert_int_equal(atomic_load(&fake_stats.asked), 100);
    fix_end(&f, &j, 1);
}

/* What a part needs has to fit, not what the text would. */
static void test_classify_of_parts_needs_memory_for_parts_alone(void **state)
{
    static const struct rule r = {64, 63, 1, 0};
    struct fix f;
    struct watched j = {0};
    char more[96];
    config_of(&r, more);
    const struct fake_config c = {
        .page = PAGE, .page_bytes = 16384, .max_chain = 8, .more = more};
    /* 4 parts of 4 pages, beside each other */
    fix_open(&f, &c, &(struct engine_options){.state_bytes = 18 * 17000});
    struct flat_spec s = classify(&f, fix_words, 8000);
    s.before = 1;
    fix_run(&f, &s, 1, &j);
    check_parts(&j, &r, fix_words, 8000);
    fix_end(&f, &j, 1);
    fix_open(&f, &c, &(struct engine_options){.state_bytes = 12 * 17000});
    s.model = f.m;
    fix_refused(&f, &s, 1, &j, ERR_TOO_LARGE, "context_length_exceeded",
                "input[0]");
    fix_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_classify_divides_logits_by_the_temperature),
        cmocka_unit_test(test_classify_scales_sigmoids_too),
        cmocka_unit_test(test_classify_of_some_labels_is_a_softmax_of_them),
        cmocka_unit_test(test_classify_of_some_labels_filters_other_scores),
        cmocka_unit_test(test_classify_refuses_labels_that_are_none),
        cmocka_unit_test(test_classify_reads_a_long_text_in_parts),
        cmocka_unit_test(
            test_classify_of_parts_is_the_same_however_they_are_read),
        cmocka_unit_test(test_classify_of_parts_minds_tokens_that_only_fill),
        cmocka_unit_test(test_classify_of_parts_survives_the_loss_of_its_state),
        cmocka_unit_test(test_classify_of_parts_counts_each_token_once),
        cmocka_unit_test(test_classify_of_parts_fails_with_one_of_them),
        cmocka_unit_test(test_classify_of_parts_can_be_cancelled_at_each_step),
        cmocka_unit_test(test_classify_of_parts_can_wait_and_go_on),
        cmocka_unit_test(test_classify_of_parts_has_limits),
        cmocka_unit_test(
            test_classify_of_parts_leaves_light_clients_short_steps),
        cmocka_unit_test(test_classify_of_parts_makes_no_larger_step),
        cmocka_unit_test(test_classify_of_parts_needs_memory_for_parts_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
