/* test_crowd: random mixed jobs from several threads, some of them broken,
 * cancelled or out of time. Whatever happens, each accepted job gets exactly
 * one final event, and an answer that is given is the one that the same
 * request gets alone.
 *
 * SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/metrics.h"
#include "engine/base/rng.h"
#include "tests/support/engine_fix.h"
#include "tests/support/unit.h"

#define THREADS 3
#define GROUPS 25
#define MAX_GROUP 24
#define N_KINDS 60 /* different requests */
#define MAX_LEN 60

struct kind {
    struct flat_spec spec;
    int32_t ids[MAX_LEN];
    const char *stop[2];
    int bad; /* it may not end well */
    /* Its answer alone. */
    int done;
    enum err_code code;
    float value[16]; /* scores or probabilities */
    int n_values;
    char text[1024];
};

struct group {
    struct watched j[MAX_GROUP];
    struct flat_spec spec[MAX_GROUP];
    int kind[MAX_GROUP];
    int n, accepted, disturbed[MAX_GROUP];
};

struct submitter {
    struct fix *f;
    const struct kind *kind;
    struct group group[GROUPS];
    uint64_t seed;
    int n_accepted, n_refused;
};

static void make_kind(struct fix *f, struct rng *r, struct kind *k)
{
    static const char *const stop[] = {"w20", " w3", "5 w", "44"};
    static const int32_t bad[] = {FAKE_NAN, FAKE_INF, FAKE_ITEM, FAKE_ITEM_OOM};
    int n = 1 + (int)rng_below(r, MAX_LEN);

    memset(k, 0, sizeof *k);
    for (int i = 0; i < n; i++)
        k->ids[i] = FAKE_WORD + (int32_t)rng_below(r, 50);
    if (rng_below(r, 8) == 0) {
        k->ids[rng_below(r, (uint32_t)n)] = bad[rng_below(r, 4)];
        k->bad = 1;
    }
    k->spec = fix_spec(f, fix_tasks[rng_below(r, 3)], k->ids, n);
    k->spec.top_k = 1 + (int)rng_below(r, 10);
    k->spec.max_tokens = (int)rng_below(r, 20);
    k->spec.sample.temperature = (float)rng_below(r, 3) * 0.7f;
    k->spec.sample.top_p = rng_below(r, 2) ? 1.0f : 0.9f;
    k->spec.sample.min_p = rng_below(r, 4) ? 0.0f : 0.05f;
    k->spec.sample.repetition_penalty = rng_below(r, 3) ? 1.0f : 1.3f;
    k->spec.sample.seed = rng_next(r);
    k->spec.stream = (int)rng_below(r, 2);
    k->spec.n_stop = (int)rng_below(r, 3);
    for (int i = 0; i < k->spec.n_stop; i++)
        k->stop[i] = stop[rng_below(r, 4)];
    k->spec.stop = k->stop;
}

static void take_answer(const struct watched *j, struct kind *k)
{
    const struct flat_result flat = flat_result(j->job), *r = &flat;
    k->done = j->final == JOB_DONE;
    if (!k->done) {
        k->code = job_error(j->job)->code;
        return;
    }
    for (int i = 0; i < r->n_scores; i++)
        k->value[k->n_values++] = r->scores[i];
    for (int i = 0; i < r->n_predictions; i++)
        k->value[k->n_values++] = r->predictions[i].prob;
    snprintf(k->text, sizeof(k->text), "%s", r->text ? r->text : "");
}

static void check_answer(const struct watched *j, const struct kind *k,
                         int disturbed)
{
    struct kind got = {0};
    assert_int_equal(j->n_final, 1);
    take_answer(j, &got);
    if (disturbed && !got.done) {
        assert_true(got.code == ERR_CANCELLED || got.code == ERR_TIMEOUT ||
                    got.code == k->code);
        return;
    }
    assert_int_equal(got.done, k->done);
    assert_int_equal(got.code, k->code);
    assert_int_equal(got.n_values, k->n_values);
    assert_memory_equal(got.value, k->value, sizeof(got.value));
    assert_string_equal(got.text, k->text);
    if (k->spec.stream && k->spec.task == &task_generate && k->done)
        assert_string_equal(j->text, k->text);
}

static void *submit_some(void *arg)
{
    struct submitter *s = arg;
    struct rng r;
    rng_init(&r, s->seed);
    for (int g = 0; g < GROUPS; g++) {
        struct group *p = &s->group[g];
        struct err e = ERR_INIT;
        p->n = 1 + (int)rng_below(&r, MAX_GROUP);
        for (int i = 0; i < p->n; i++) {
            uint32_t fate = rng_below(&r, 12);
            p->kind[i] = (int)rng_below(&r, N_KINDS);
            p->spec[i] = s->kind[p->kind[i]].spec;
            if (fate == 0) {
                p->spec[i].deadline_us =
                    clock_now_us() + (int64_t)rng_below(&r, 3000) - 200;
            }
            p->j[i].cancel_after = fate == 1 ? 1 + (int)rng_below(&r, 3) : 0;
            p->disturbed[i] = fate <= 2;
        }
        p->accepted =
            watch_submit(&s->f->w, s->f->g, p->spec, p->n, p->j, &e) == 0;
        s->n_accepted += p->accepted ? p->n : 0;
        s->n_refused += !p->accepted && e.code == ERR_BUSY;
        for (int i = 0; p->accepted && i < p->n; i++)
            if (p->disturbed[i] && rng_below(&r, 2))
                job_cancel(p->j[i].job);
        if (rng_below(&r, 4) == 0)
            usleep(rng_below(&r, 1500));
    }
    return NULL;
}

static void run_crowd(const struct fake_config *c, struct engine_options o,
                      struct kind *kind, uint64_t seed)
{
    static struct submitter s[THREADS];
    pthread_t t[THREADS];
    struct fix f;
    int accepted = 0;

    fix_open(&f, c, &o);
    for (int i = 0; i < N_KINDS; i++)
        kind[i].spec.model = f.m;
    memset(s, 0, sizeof(s));
    for (int i = 0; i < THREADS; i++) {
        s[i].f = &f;
        s[i].kind = kind;
        s[i].seed = seed + (uint64_t)i;
        assert_int_equal(pthread_create(&t[i], NULL, submit_some, &s[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(t[i], NULL);
        accepted += s[i].n_accepted;
    }
    assert_true(accepted > 0);
    assert_int_equal(watch_wait(&f.w, accepted), 0);
    assert_int_equal(f.w.n_final, accepted);
    for (int i = 0; i < THREADS; i++) {
        for (int g = 0; g < GROUPS; g++) {
            struct group *p = &s[i].group[g];
            for (int k = 0; p->accepted && k < p->n; k++)
                check_answer(&p->j[k], &kind[p->kind[k]], p->disturbed[k]);
            watch_release(p->j, p->n);
        }
    }
    fix_close(&f);
}

static void test_crowd_of_random_jobs_gets_the_lone_answers(void **state)
{
    static struct kind kind[N_KINDS];
    static const struct engine_options ways[] = {
        {.n_threads = 1},
        {.n_threads = 2, .max_rows = 33, .step_tokens = 200},
        {.n_threads = 3, .step_tokens = 7, .max_rows = 10},
        {.n_threads = 2, .max_queue = 60},
        {.n_threads = 2, .state_bytes = 1200, .runner_spin_us = -1},
    };
    struct fake_config c = {.max_chain = 8, .n_vocab = 60, .flops = 40000};
    struct metric_series *sizes =
        metrics_series(METRIC_BATCH_SIZE, "fake", NULL, NULL);
    struct fix f;
    struct rng r;
    int bad = 0;
    rng_init(&r, 99);
    fix_open(&f, &c, &(struct engine_options){.n_threads = 1, .max_rows = 1});
    for (int i = 0; i < N_KINDS; i++) {
        struct watched j = {0};
        make_kind(&f, &r, &kind[i]);
        fix_run(&f, &kind[i].spec, 1, &j);
        take_answer(&j, &kind[i]);
        assert_true(kind[i].done || kind[i].bad);
        bad += !kind[i].done;
        watch_release(&j, 1);
    }
    fix_close(&f);
    assert_true(bad > 2);
    uint64_t before = metric_count(sizes, 32);
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
        run_crowd(&c, ways[i], kind, 1000 * (uint64_t)i);
    assert_true(metric_count(sizes, 32) > before);
    /* The same toy with its state in pages, of which there are few. */
    static const struct engine_options paged[] = {
        {.n_threads = 2},
        {.n_threads = 2,
         .max_rows = 33,
         .step_tokens = 50,
         .state_bytes = 9000},
        {.n_threads = 1, .state_bytes = 2800, .step_tokens = 20},
    };
    c.page = 8;
    for (size_t i = 0; i < sizeof(paged) / sizeof(paged[0]); i++)
        run_crowd(&c, paged[i], kind, 7000 * (uint64_t)i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crowd_of_random_jobs_gets_the_lone_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
