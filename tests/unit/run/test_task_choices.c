/* Several choices of one prompt: the first one is what a single one would be,
 * each has its own stream of the seed, the prompt is read once; and all of it
 * is the same in company, in small steps and while states are lost. What is
 * made from a source is read off the toy of ports_arch.h.
 *
 * SPDX-License-Identifier: MIT */
#include <math.h>

#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "tests/support/engine_fix.h"
#include "tests/support/ports_arch.h"
#include "tests/support/temp_dir.h"
#include "tests/support/unit.h"

#define N 12
#define CHOICES 5
#define MOST 10 /* tokens */
#define PROMPT 9

struct answer {
    int32_t ids[MOST];
    int n;
    enum finish_reason why;
    double logprob;
};

static void keep(const struct job *j, struct answer *a, int n)
{
    const struct generate_result *r = generate_result(j);

    if (job_error(j)->code)
        fail_msg("%s", job_error(j)->msg);
    assert_int_equal(r->n, n);
    for (int i = 0; i < n; i++) {
        assert_true(r[i].n_tokens <= MOST);
        a[i] = (struct answer){
            .n = r[i].n_tokens, .why = r[i].finish, .logprob = r[i].logprob};
        memcpy(a[i].ids, r[i].tokens, (size_t)a[i].n * sizeof *r[i].tokens);
        assert_int_equal(r[i].n_scored, a[i].n + (a[i].why == FINISH_STOP));
    }
}

/* Job i asks for `choices`, or for one. */
static struct flat_spec spec_of(const struct fix *f, int i, int choices)
{
    struct flat_spec s =
        fix_spec(f, &task_generate, fix_words + i, PROMPT + i % 3);
    s.sample.temperature = 1;
    s.sample.seed = 7 + (uint64_t)i;
    s.max_tokens = MOST;
    s.choices = choices;
    s.logprob = 1;
    s.client = (uint64_t)i % 2;
    return s;
}

static void run(const struct fake_config *c, const struct engine_options *o,
                int company, struct answer got[N][CHOICES])
{
    struct fix f;
    struct flat_spec s[N];
    static struct watched j[N];

    fix_open(&f, c, o);
    memset(j, 0, sizeof j);
    for (int i = 0; i < N; i++)
        s[i] = spec_of(&f, i, CHOICES);
    for (int i = 0; i < N; i += company)
        fix_run(&f, s + i, company, j + i);
    for (int i = 0; i < N; i++)
        keep(j[i].job, got[i], CHOICES);
    fix_end(&f, j, N);
}

static void check_kind(const struct fake_config *c, size_t tight)
{
    const struct engine_options o[] = {
        {.n_threads = 1, .step_tokens = 1},
        {.n_threads = 2, .step_tokens = 7, .max_rows = 3},
        {.n_threads = 2, .state_bytes = tight}};
    static struct answer alone[N][CHOICES], got[N][CHOICES];

    run(c, NULL, 1, alone);
    for (int i = 0; i < 3; i++) {
        memset(got, 0, sizeof got);
        run(c, &o[i], N, got);
        assert_memory_equal(got, alone, sizeof got);
    }
    for (int i = 0; i < N; i++)
        for (int k = 1; k < CHOICES; k++)
            for (int m = 0; m < k; m++)
                assert_true(memcmp(&alone[i][k], &alone[i][m],
                                   sizeof alone[i][k]) != 0);
}

static void test_choices_have_the_same_bits_in_company(void **state)
{
    const struct fake_config fixed = {.max_chain = 2},
                             paged = {.max_chain = 3, .page = 4};
    check_kind(&fixed, 1500);
    check_kind(&paged, 12000);
}

static void test_choices_begin_with_what_a_single_one_is(void **state)
{
    static struct answer all[N][CHOICES], one;
    const struct fake_config c = {.page = 4};
    static struct watched j[N];
    struct fix f;

    run(&c, NULL, N, all);
    fix_open(&f, &c, NULL);
    for (int i = 0; i < N; i++) {
        struct flat_spec s = spec_of(&f, i, i % 2); /* 0 is 1, too */
        memset(&j[i], 0, sizeof j[i]);
        memset(&one, 0, sizeof one);
        fix_run(&f, &s, 1, &j[i]);
        keep(j[i].job, &one, 1);
        assert_memory_equal(&one, &all[i][0], sizeof one);
    }
    fix_end(&f, j, N);
}

static void test_choices_read_the_prompt_once(void **state)
{
    struct fix f;
    struct watched j = {0};
    struct answer a[CHOICES];
    int made = 0;

    fix_open(&f, &(struct fake_config){.max_chain = 8}, NULL);
    struct flat_spec s = spec_of(&f, 0, CHOICES);
    fix_run(&f, &s, 1, &j);
    keep(j.job, a, CHOICES);
    for (int i = 0; i < CHOICES; i++)
        made += a[i].n - (a[i].why == FINISH_LENGTH); /* not the last one */
    assert_int_equal(atomic_load(&fake_stats.tokens), PROMPT + made);
    watch_release(&j, 1);
    /* Nothing to make: nothing but the prompt. */
    memset(&j, 0, sizeof j);
    s.max_tokens = 0;
    fix_run(&f, &s, 1, &j);
    keep(j.job, a, CHOICES);
    for (int i = 0; i < CHOICES; i++)
        assert_int_equal(a[i].n, 0);
    fix_end(&f, &j, 1);
}

/* Under the softmax over all tokens, those that are never drawn included. */
static void test_choices_say_how_likely_they_are(void **state)
{
    struct fix f;
    struct watched j = {0};
    struct answer a[CHOICES];

    fix_open(&f, &(struct fake_config){0}, NULL);
    struct flat_spec s = spec_of(&f, 3, CHOICES);
    s.sample.temperature = 0.5f;
    s.sample.top_k = 20;
    fix_run(&f, &s, 1, &j);
    keep(j.job, a, CHOICES);
    for (int i = 0; i < CHOICES; i++) {
        int32_t ids[PROMPT + MOST];
        double sum = 0;
        memcpy(ids, fix_words + 3, PROMPT * sizeof *ids);
        memcpy(ids + PROMPT, a[i].ids, sizeof a[i].ids);
        for (int k = 0; k < a[i].n + (a[i].why == FINISH_STOP); k++) {
            uint32_t h = fake_state(ids, PROMPT + k);
            int32_t id = k < a[i].n ? a[i].ids[k] : FAKE_EOS;
            double all = 0;
            for (int v = 0; v < 64; v++)
                all += exp((double)fake_logit(h, v, 0, 0, 64));
            sum += (double)fake_logit(h, id, 0, 0, 64) - log(all);
        }
        assert_true(fabs(sum - a[i].logprob) < 1e-4);
    }
    fix_end(&f, &j, 1);
}

static void on_event(void *user, const struct job_event *ev)
{
    struct watch *w = user;
    (void)ev;
    pthread_mutex_lock(&w->mu);
    w->n_final++;
    pthread_cond_broadcast(&w->cv);
    pthread_mutex_unlock(&w->mu);
}

/* Greedy: the likeliest token that may be drawn, again and again. */
static void check_greedy(const int32_t *source, int n_source,
                         const struct generate_result *r)
{
    int32_t ids[1 + MOST] = {FAKE_BOS};

    for (int k = 0; k < r->n_tokens + (r->finish == FINISH_STOP); k++) {
        int32_t best = FAKE_EOS, got = k < r->n_tokens ? r->tokens[k] : best;
        for (int v = FAKE_EOS; v < PORTS_VOCAB; v++)
            if (ports_logit(source, n_source, ids, k + 1, v) >
                ports_logit(source, n_source, ids, k + 1, best))
                best = v;
        assert_int_equal(got, best);
        ids[k + 1] = got;
    }
    assert_true(r->n_tokens == MOST || r->finish == FINISH_STOP);
}

/* An engine with the toy of pairs. */
struct rig {
    struct engine *g;
    struct model *m;
    struct watch w;
    char dir[64];
};

static void rig_up(struct rig *r, enum ports_kind kind, int chain,
                   const struct engine_options *o)
{
    struct err e = ERR_INIT;

    log_configure(LOG_ERROR, 0);
    memset(&ports_stats, 0, sizeof ports_stats);
    watch_init(&r->w);
    ports_dir(kind, chain, r->dir);
    if (engine_open(o, ports_archs, &r->g, &e) ||
        engine_load(r->g, "m", r->dir, &e) ||
        engine_model(r->g, NULL, &task_generate, &r->m, &e))
        fail_msg("%s", e.msg);
}

static void rig_down(struct rig *r)
{
    assert_int_equal(atomic_load(&ports_stats.violations), 0);
    model_release(r->m);
    engine_close(r->g);
    watch_fini(&r->w);
    temp_dir_drop(r->dir);
}

static const int32_t start[] = {FAKE_BOS};

static struct job_spec pair_of(struct rig *r, const int32_t *source, int n,
                               const struct generate_params *p)
{
    return (struct job_spec){
        .model = r->m,
        .task = &task_generate,
        .params = p,
        .in = {{.n = 1, .p = start}, {.n = n, .p = source}},
        .on_event = on_event,
        .user = &r->w};
}

static void test_choices_are_made_from_sources(void **state)
{
    static const int32_t source[] = {10, 20, 30, 12};
    struct generate_params p = {
        .max_tokens = MOST, .sample = {.top_p = 1, .repetition_penalty = 1}};
    struct err e = ERR_INIT;
    struct rig r;
    struct job *j;

    rig_up(&r, PORTS_PAIR, 0, &(struct engine_options){.n_threads = 1});
    for (p.n = 1; p.n <= 2; p.n++) {
        struct job_spec s = pair_of(&r, source, 4, &p);
        assert_int_equal(engine_submit(r.g, &s, 1, &j, &e), 0);
        assert_int_equal(watch_wait(&r.w, p.n), 0);
        assert_int_equal(job_error(j)->code, 0);
        for (int i = 0; i < p.n; i++)
            check_greedy(source, 4, generate_result(j) + i);
        job_release(j);
    }
    assert_int_equal(atomic_load(&ports_stats.sources), 2);
    rig_down(&r);
}

/* The best choice alone has weights, those of its own rows. */
static void check_shown(const int32_t *source, int n_source,
                        const struct generate_result *r)
{
    int32_t ids[1 + MOST] = {FAKE_BOS};
    int best = 0;

    for (int i = 1; i < r->n; i++)
        best = r[i].score > r[best].score ? i : best;
    for (int i = 0; i < r->n; i++)
        assert_int_equal(r[i].attention != NULL, i == best);
    r += best;
    memcpy(ids + 1, r->tokens, (size_t)r->n_tokens * sizeof *ids);
    for (int i = 0; i < r->n_tokens; i++)
        for (int k = 0; k < n_source; k++) {
            float want = ports_mean_weight(source, n_source, ids, 1 + i, k);
            assert_true(fabsf(r->attention[i * n_source + k] - want) < 1e-6f);
        }
}

/* All jobs without attention one by one, or with it: `company` at a time. The
 * number of sources that were read. */
static int run_shown(const struct engine_options *o, int company, int shown,
                     struct answer got[N][CHOICES])
{
    static int32_t source[N][3 * N];
    struct generate_params p[N];
    struct job_spec s[N];
    struct job *j[N];
    struct err e = ERR_INIT;
    struct rig r;

    rig_up(&r, shown ? PORTS_SHOWN : PORTS_PAIR, 2, o);
    memset(got, 0, sizeof(struct answer[N][CHOICES]));
    for (int i = 0; i < N; i++) {
        for (int k = 0; k < 3 * N; k++)
            source[i][k] = FAKE_WORD + (k * k + 7 * i) % 30;
        p[i] = (struct generate_params){.max_tokens = MOST,
                                        .sample = {.temperature = 1,
                                                   .top_p = 1,
                                                   .repetition_penalty = 1,
                                                   .seed = (uint64_t)i},
                                        .n = 1 + i % CHOICES,
                                        .logprob = 1,
                                        .length_penalty = i % 3 - 1,
                                        .attention = shown};
        s[i] = pair_of(&r, source[i], 1 + 3 * i, &p[i]);
    }
    for (int i = 0; i < N; i += company) {
        if (engine_submit(r.g, s + i, company, j + i, &e))
            fail_msg("%s", e.msg);
        assert_int_equal(watch_wait(&r.w, i + company), 0);
    }
    for (int i = 0; i < N; i++) {
        keep(j[i], got[i], p[i].n);
        if (shown)
            check_shown(source[i], 1 + 3 * i, generate_result(j[i]));
        job_release(j[i]);
    }
    int sources = atomic_load(&ports_stats.sources);
    rig_down(&r);
    return sources;
}

static void test_choices_show_where_the_best_one_looks(void **state)
{
    const struct engine_options o[] = {
        {.n_threads = 1},
        {.n_threads = 1, .step_tokens = 1},
        {.n_threads = 2, .step_tokens = 7, .max_rows = 3},
        {.n_threads = 2, .state_bytes = 6000}};
    static struct answer plain[N][CHOICES], got[N][CHOICES];
    int again = 0;

    run_shown(&o[0], 1, 0, plain);
    for (size_t i = 0; i < COUNT(o); i++) {
        again += run_shown(&o[i], i ? N : 1, 1, got) - N;
        assert_memory_equal(got, plain, sizeof got);
    }
    assert_true(again > 0); /* states were lost, and sources read twice */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_choices_have_the_same_bits_in_company),
        cmocka_unit_test(test_choices_begin_with_what_a_single_one_is),
        cmocka_unit_test(test_choices_read_the_prompt_once),
        cmocka_unit_test(test_choices_say_how_likely_they_are),
        cmocka_unit_test(test_choices_are_made_from_sources),
        cmocka_unit_test(test_choices_show_where_the_best_one_looks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
