/* test_paged: states in pages under a full budget, and shared prefixes: the
 * answers are those of a job alone, whoever waits, gives way or shares.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/base/clock.h"
#include "engine/base/metrics.h"
#include "engine/base/rng.h"
#include "tests/support/engine_fix.h"
#include "tests/support/metric_line.h"
#include "tests/support/unit.h"

#define PAGE 16
#define V 64
/* A page of the toy: its slots and its head (pages.h), which holds the ids. */
#define PAGE_COST 256

static const struct fake_config paged = {.page = PAGE, .max_chain = 8};

static double count_of(enum metric m, const char *kind)
{
    static const char *const name[] = {[METRIC_PREFIX_HITS] =
                                           "prefix_hits_total",
                                       [METRIC_PREEMPTED] = "preempted_total",
                                       [METRIC_STATE_PAGES] = "state_pages"};
    char line[128];

    snprintf(line, sizeof(line), "seqd_%s{model=\"fake\"%s%s%s} ", name[m],
             kind ? ",kind=\"" : "", kind ? kind : "", kind ? "\"" : "");
    return metric_line(line);
}

/* What the toy generates after ids [n], greedily, by its definition. */
static int greedy(const int32_t *ids, int n, int max_tokens, int32_t *out)
{
    uint32_t h = fake_state(ids, n);
    int made = 0;
    while (made < max_tokens) {
        int best = -1;
        for (int v = FAKE_EOS; v < V; v++)
            if (best < 0 ||
                fake_logit(h, v, 0, 0, V) > fake_logit(h, best, 0, 0, V))
                best = v;
        if (best == FAKE_EOS)
            break;
        out[made++] = best;
        h = fake_fold(h, best);
    }
    return made;
}

static void check_greedy(const struct watched *j, const int32_t *ids, int n,
                         int max_tokens)
{
    static int32_t want[8192];
    const struct flat_result flat = flat_result(j->job), *r = &flat;
    int made = greedy(ids, n, max_tokens, want);
    if (j->final != JOB_DONE)
        fail_msg("%s", job_error(j->job)->msg);
    assert_int_equal(j->n_final, 1);
    assert_int_equal(r->n_tokens, made);
    assert_memory_equal(r->tokens, want, (size_t)made * sizeof(int32_t));
    assert_int_equal(r->prompt_tokens, n);
}

/* Ordinary words, different for every seed. */
static void random_words(int32_t *ids, int n, uint64_t seed)
{
    struct rng r;
    rng_init(&r, seed);
    for (int i = 0; i < n; i++)
        ids[i] = FAKE_WORD + (int32_t)rng_below(&r, V - FAKE_WORD);
}

static struct flat_spec generate(const struct fix *f, const int32_t *ids, int n,
                                 int max_tokens)
{
    struct flat_spec s = fix_spec(f, &task_generate, ids, n);
    s.max_tokens = max_tokens;
    return s;
}

/* --- prefixes --- */

static void test_paged_prefix_is_computed_once(void **state)
{
    enum { N = 6, SYSTEM = 40, LEN = 50 };
    struct fix f;
    struct watched j[N] = {{0}};
    static int32_t ids[N][LEN];
    fix_open(&f, &paged, NULL);
    double hits = count_of(METRIC_PREFIX_HITS, NULL);
    for (int i = 0; i < N; i++) {
        random_words(ids[i], LEN, 100 + (uint64_t)i);
        random_words(ids[i], SYSTEM, 1); /* the same beginning */
        struct flat_spec s = generate(&f, ids[i], LEN, 5);
        long before = atomic_load(&fake_stats.tokens);
        fix_run(&f, &s, 1, &j[i]);
        check_greedy(&j[i], ids[i], LEN, 5);
        int shared = i == 0 ? 0 : SYSTEM / PAGE * PAGE;
        assert_int_equal(flat_result(j[i].job).cached_tokens, shared);
        assert_true(atomic_load(&fake_stats.tokens) - before <=
                    LEN - shared + 4);
    }
    assert_true(count_of(METRIC_PREFIX_HITS, NULL) - hits == N - 1);
    assert_true(count_of(METRIC_STATE_PAGES, "idle") > 0);
    assert_true(count_of(METRIC_STATE_PAGES, "used") == 0);
    fix_end(&f, j, N);
}

static void test_paged_prefix_leaves_the_last_token_to_compute(void **state)
{
    struct fix f;
    struct watched j[2] = {{0}};
    int32_t ids[4 * PAGE];
    random_words(ids, 4 * PAGE, 3);
    fix_open(&f, &paged, NULL);
    for (int i = 0; i < 2; i++) {
        struct flat_spec s = generate(&f, ids, 4 * PAGE, 3);
        fix_run(&f, &s, 1, &j[i]);
        check_greedy(&j[i], ids, 4 * PAGE, 3);
    }
    assert_int_equal(flat_result(j[1].job).cached_tokens, 3 * PAGE);
    fix_end(&f, j, 2);
}

static void test_paged_prefix_of_a_running_job_is_followed(void **state)
{
    enum { N = 8, LEN = 600 };
    struct fix f;
    struct watched j[N] = {{0}};
    struct flat_spec s[N];
    static int32_t ids[N][LEN + 1];
    struct fake_config c = paged;
    c.max_chain = PAGE;
    fix_open(&f, &c, &(struct engine_options){.step_tokens = PAGE});
    for (int i = 0; i < N; i++) {
        random_words(ids[i], LEN + 1, 9);
        ids[i][LEN] = FAKE_WORD + i;
        s[i] = generate(&f, ids[i], LEN + 1, 2);
    }
    fix_run(&f, s, N, j);
    for (int i = 0; i < N; i++)
        check_greedy(&j[i], ids[i], LEN + 1, 2);
    /* One of them computes each part, not all of them. */
    assert_true(atomic_load(&fake_stats.tokens) < 2 * LEN + N * 2 * PAGE);
    fix_end(&f, j, N);
}

static void test_paged_made_tokens_are_a_prefix_too(void **state)
{
    struct fix f;
    struct watched j[2] = {{0}};
    static int32_t ids[300];
    random_words(ids, 20, 5);
    fix_open(&f, &paged, NULL);
    struct flat_spec s = generate(&f, ids, 20, 100);
    fix_run(&f, &s, 1, &j[0]);
    const struct flat_result flat = flat_result(j[0].job), *r = &flat;
    memcpy(ids + 20, r->tokens, (size_t)r->n_tokens * sizeof(int32_t));
    int n = 20 + r->n_tokens;
    ids[n++] = FAKE_WORD;
    s = generate(&f, ids, n, 4); /* the next turn of a talk */
    fix_run(&f, &s, 1, &j[1]);
    check_greedy(&j[1], ids, n, 4);
    assert_int_equal(flat_result(j[1].job).cached_tokens,
                     (n - 2) / PAGE * PAGE);
    fix_end(&f, j, 2);
}

/* --- a full budget --- */

static void test_paged_short_sequences_and_a_long_one_share(void **state)
{
    enum { N = 1000, LONG = 1500, GROUP = 200 };
    struct fix f;
    static struct watched j[N], big;
    static struct flat_spec s[N];
    static int32_t ids[N][24], text[LONG];
    random_words(text, LONG, 7);
    /* The long one alone fills three quarters. */
    fix_open(&f, &paged,
             &(struct engine_options){.max_rows = 1024,
                                      .step_tokens = 512,
                                      .state_bytes = (LONG + 300) / PAGE *
                                                     PAGE_COST * 4 / 3});
    struct flat_spec l = generate(&f, text, LONG, 200);
    fix_submit(&f, &l, 1, &big);
    for (int i = 0; i < N; i++) {
        int n = 1 + i % 24;
        random_words(ids[i], n, 1000 + (uint64_t)i);
        s[i] = generate(&f, ids[i], n, 1 + i % 40);
    }
    for (int i = 0; i < N; i += GROUP)
        fix_submit(&f, s + i, GROUP, j + i);
    assert_int_equal(watch_wait(&f.w, N + 1), 0);
    check_greedy(&big, text, LONG, 200);
    for (int i = 0; i < N; i++)
        check_greedy(&j[i], ids[i], 1 + i % 24, 1 + i % 40);
    assert_true(atomic_load(&fake_stats.max_items) > 10);
    watch_release(&big, 1);
    fix_end(&f, j, N);
}

static void test_paged_youngest_gives_way_and_starts_again(void **state)
{
    enum { N = 6 };
    struct fix f;
    struct watched j[N] = {{0}};
    struct flat_spec s[N];
    int32_t ids[N][10];
    /* Each may grow to 7 pages; there are 10. */
    fix_open(&f, &paged,
             &(struct engine_options){.state_bytes = 10 * PAGE_COST});
    double before = count_of(METRIC_PREEMPTED, NULL);
    for (int i = 0; i < N; i++) {
        random_words(ids[i], 10, 50 + (uint64_t)i);
        s[i] = generate(&f, ids[i], 10, 100);
        s[i].stream = 1;
    }
    fix_run(&f, s, N, j);
    int long_ones = 0;
    for (int i = 0; i < N; i++) {
        const struct flat_result flat = flat_result(j[i].job), *r = &flat;
        check_greedy(&j[i], ids[i], 10, 100);
        long_ones += r->n_tokens > 60;
        assert_int_equal(j[i].text_len, r->text_len); /* sent once */
        assert_memory_equal(j[i].text, r->text, r->text_len);
    }
    assert_true(long_ones > 2);
    assert_true(count_of(METRIC_PREEMPTED, NULL) > before);
    fix_end(&f, j, N);
}

static void test_paged_job_over_the_budget_is_refused(void **state)
{
    struct fix f;
    struct watched j = {0};
    struct err e = ERR_INIT;
    int32_t ids[100];
    random_words(ids, 100, 1);
    fix_open(&f, &paged,
             &(struct engine_options){.state_bytes = 10 * PAGE_COST});
    struct flat_spec s = generate(&f, ids, 100, 62); /* 161 tokens are fed */
    assert_int_equal(watch_submit(&f.w, f.g, &s, 1, &j, &e), -1);
    assert_int_equal(e.code, ERR_TOO_LARGE);
    assert_non_null(strstr(e.msg, "--state-mb"));
    assert_string_equal(e.param, "input[0]");
    s.max_tokens = 61;
    fix_run(&f, &s, 1, &j);
    check_greedy(&j, ids, 100, 61);
    fix_end(&f, &j, 1);
}

static void test_paged_models_share_the_budget(void **state)
{
    enum { N = 60, LEN = 100 };
    struct fix f;
    static struct watched j[3 * N];
    static struct flat_spec s[3][N];
    static int32_t ids[3][N][LEN];
    struct model *m[3];
    struct err e = ERR_INIT;
    /* One job of 130 tokens fits, two do not. */
    fix_open(&f, &paged,
             &(struct engine_options){.state_bytes = 14 * PAGE_COST});
    assert_int_equal(engine_load(f.g, "two", f.dir, &e), 0);
    assert_int_equal(engine_load(f.g, "three", f.dir, &e), 0);
    assert_int_equal(engine_model(f.g, "fake", NULL, &m[0], &e), 0);
    assert_int_equal(engine_model(f.g, "two", NULL, &m[1], &e), 0);
    assert_int_equal(engine_model(f.g, "three", NULL, &m[2], &e), 0);
    for (int k = 0; k < 3; k++) {
        for (int i = 0; i < N; i++) {
            int n = 1 + i * 37 % LEN;
            random_words(ids[k][i], n, (uint64_t)(k * N + i));
            s[k][i] = generate(&f, ids[k][i], n, 30);
            s[k][i].model = m[k];
        }
        fix_submit(&f, s[k], N, j + k * N);
    }
    assert_int_equal(watch_wait(&f.w, 3 * N), 0);
    for (int i = 0; i < 3 * N; i++)
        check_greedy(&j[i], ids[i / N][i % N], s[i / N][i % N].n_tokens, 30);
    watch_release(j, 3 * N);
    for (int k = 0; k < 3; k++)
        model_release(m[k]);
    fix_close(&f);
}

static void test_paged_jobs_that_wait_end_when_told(void **state)
{
    enum { N = 40 };
    struct fix f;
    static struct watched j[N];
    static struct flat_spec s[N];
    static int32_t ids[N][30];
    for (int way = 0; way < 3; way++) {
        fix_open(&f, &paged,
                 &(struct engine_options){.state_bytes = 12 * PAGE_COST});
        memset(j, 0, sizeof(j));
        for (int i = 0; i < N; i++) {
            random_words(ids[i], 30, (uint64_t)i);
            ids[i][3] = FAKE_SLOW;
            s[i] = generate(&f, ids[i], 30, 120);
            s[i].deadline_us = way == 1 ? clock_now_us() + 20000 : 0;
        }
        fix_submit(&f, s, N, j);
        for (int i = 0; i < N && way == 0; i++)
            job_cancel(j[i].job);
        if (way == 2)
            engine_drain(f.g, 5);
        assert_int_equal(watch_wait(&f.w, N), 0);
        for (int i = 0; i < N; i++) {
            assert_int_equal(j[i].n_final, 1);
            if (j[i].final == JOB_DONE)
                check_greedy(&j[i], ids[i], 30, 120);
        }
        fix_end(&f, j, N);
    }
}

static void test_paged_window_bounds_the_state(void **state)
{
    struct fix f;
    struct watched j = {0};
    static int32_t ids[600], all[1200];
    struct fake_config c = paged;
    c.window = 20;
    random_words(ids, 600, 11);
    fix_open(&f, &c, &(struct engine_options){.state_bytes = 8 * PAGE_COST});
    struct flat_spec s = generate(&f, ids, 600, 500);
    s.sample.temperature = 0;
    fix_run(&f, &s, 1, &j);
    const struct flat_result flat = flat_result(j.job), *r = &flat;
    assert_int_equal(j.final, JOB_DONE);
    assert_true(r->n_tokens > 0);
    memcpy(all, ids, sizeof(ids));
    memcpy(all + 600, r->tokens, (size_t)r->n_tokens * sizeof(int32_t));
    for (int i = 0; i < r->n_tokens; i++) { /* of the last 20 tokens only */
        uint32_t h = fake_state(all + 600 + i - 20, 20);
        for (int v = FAKE_EOS; v < V; v++) {
            assert_true(fake_logit(h, v, 0, 0, V) <=
                        fake_logit(h, all[600 + i], 0, 0, V));
        }
    }
    fix_end(&f, &j, 1);
}

/* --- turns --- */

static void test_paged_prompts_do_not_stall_decoding(void **state)
{
    enum { LEN = 2000 };
    struct fix f;
    struct watched j[3] = {{0}};
    struct flat_spec s[3];
    static int32_t text[2][LEN];
    int32_t ids[4] = {FAKE_WORD, FAKE_WORD, FAKE_WORD, FAKE_WORD};
    struct fake_config c = paged;
    c.chain = 1;
    random_words(text[0], LEN, 1);
    random_words(text[1], LEN, 2);
    fix_open(&f, &c, &(struct engine_options){.step_tokens = 16});
    s[0] = generate(&f, ids, 4, 50);
    s[1] = fix_spec(&f, &task_classify, text[0], LEN);
    s[2] = fix_spec(&f, &task_classify, text[1], LEN);
    fix_hold(&f, s, 3, j, 0);
    fix_go(&f, 3);
    /* One token at each step from the first on: no gaps. */
    assert_true(j[0].stamp <= 50 + 1);
    assert_true(j[1].stamp > 2 * LEN / 16 - 20);
    fix_end(&f, j, 3);
}

/* --- attention --- */

static void test_paged_attention_is_the_items_own(void **state)
{
    enum { N = 4, LEN = 30, HEADS = 3 };
    struct fix f;
    struct watched j[N] = {{0}};
    struct flat_spec s[N];
    int32_t ids[LEN];
    struct fake_config c = paged;
    c.attention = HEADS;
    random_words(ids, LEN, 1);
    fix_open(&f, &c, &(struct engine_options){.step_tokens = 20});
    for (int round = 0; round < 2; round++) { /* the second with a prefix */
        for (int i = 0; i < N; i++) {
            s[i] =
                fix_spec(&f, i % 2 ? &task_classify : &task_next, ids, LEN - i);
            s[i].attention = i < 3;
        }
        fix_run(&f, s, N, j);
        for (int i = 0; i < N; i++) {
            const struct flat_result flat = flat_result(j[i].job), *r = &flat;
            int n = LEN - i;
            assert_int_equal(j[i].final, JOB_DONE);
            if (i == 3) {
                assert_null(r->attention);
                continue;
            }
            for (int k = 0; k < 2 * HEADS * n * n; k++) {
                int row = k / n % n, col = k % n;
                float want =
                    col > row ? 0.0f
                              : fake_weight(k / n / n / HEADS,
                                            k / n / n % HEADS, ids, row, col);
                assert_true(r->attention[k] == want);
            }
            assert_int_equal(r->cached_tokens, 0);
        }
        watch_release(j, N);
    }
    int32_t many[MODEL_MAX_SHOWN + 1];
    random_words(many, MODEL_MAX_SHOWN + 1, 1);
    s[0] = fix_spec(&f, &task_next, many, MODEL_MAX_SHOWN + 1);
    s[0].attention = 1;
    fix_refused(&f, s, 1, j, ERR_INVALID, NULL, NULL);
    fix_close(&f);
    /* 64 x 64 weights in 2 layers of 10,000 heads are 328 MB */
    c.attention = 10000;
    fix_open(&f, &c, NULL);
    s[0] = fix_spec(&f, &task_next, many, MODEL_MAX_SHOWN);
    s[0].attention = 1;
    fix_refused(&f, s, 1, j, ERR_INVALID, "invalid_value", "attention");
    fix_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paged_prefix_is_computed_once),
        cmocka_unit_test(test_paged_prefix_leaves_the_last_token_to_compute),
        cmocka_unit_test(test_paged_prefix_of_a_running_job_is_followed),
        cmocka_unit_test(test_paged_made_tokens_are_a_prefix_too),
        cmocka_unit_test(test_paged_short_sequences_and_a_long_one_share),
        cmocka_unit_test(test_paged_youngest_gives_way_and_starts_again),
        cmocka_unit_test(test_paged_job_over_the_budget_is_refused),
        cmocka_unit_test(test_paged_models_share_the_budget),
        cmocka_unit_test(test_paged_jobs_that_wait_end_when_told),
        cmocka_unit_test(test_paged_window_bounds_the_state),
        cmocka_unit_test(test_paged_prompts_do_not_stall_decoding),
        cmocka_unit_test(test_paged_attention_is_the_items_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
