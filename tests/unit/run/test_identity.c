/* test_identity: the answer of a request is the same bits alone or among 63
 * others, at any position, with 1, 2 or 3 threads, in chunks or whole, with a
 * folded input table or without, and in both FMA families. Real (small)
 * checkpoints of tests/golden/rnn, driven through the engine. The histogram of
 * batch sizes has to show that there was company.
 *
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/log.h"
#include "engine/base/metrics.h"
#include "engine/base/rng.h"
#include "models/registry.h"
#include "tests/support/job_watch.h"

#define GOLDEN "tests/golden/rnn/"
#define N 64     /* requests, all at once */
#define N_LEFT 6 /* more, whose clients leave */
#define MAX_LEN 50
#define MAX_BYTES 1024

static const char *const checkpoints[] = {"lstm",
                                          "lstm-32",
                                          "lstm-tied-projection",
                                          "gru-2-bf16",
                                          "elman-tanh",
                                          "elman-relu-2-bf16",
                                          "class-lstm-last",
                                          "class-gru-max",
                                          "class-bi-lstm-mean-projection"};
#define N_CHECKPOINTS ((int)(sizeof(checkpoints) / sizeof(checkpoints[0])))

/* Everything that a request must get again, as bytes. */
struct answer {
    unsigned char byte[MAX_BYTES];
    size_t n;
};

struct requests {
    unsigned tasks;
    int n_ids;
    int32_t ids[N + N_LEFT][MAX_LEN];
    int len[N + N_LEFT];
    unsigned task[N + N_LEFT];
    uint64_t seed[N + N_LEFT];
};

struct setup {
    const char *kernels;
    int threads, step_tokens, max_rows;
    size_t fold;
    int shift; /* the first request stands at this place */
};

static void put(struct answer *a, const void *p, size_t n)
{
    assert_true(a->n + n <= MAX_BYTES);
    memcpy(a->byte + a->n, p, n);
    a->n += n;
}

static void record(const struct watched *j, struct answer *a)
{
    const struct job_result *r = job_result(j->job);
    assert_int_equal(j->n_final, 1);
    assert_int_equal(j->final, JOB_DONE);
    a->n = 0;
    for (int i = 0; i < r->n_predictions; i++) {
        put(a, &r->predictions[i], sizeof(r->predictions[i]));
    }
    put(a, &r->covered_mass, sizeof(r->covered_mass));
    if (r->scores) {
        put(a, r->scores, (size_t)r->n_scores * sizeof(float));
    }
    put(a, &r->best, sizeof(r->best));
    if (r->text) {
        put(a, r->text, r->text_len);
        put(a, r->tokens, (size_t)r->n_tokens * sizeof(int32_t));
        put(a, &r->finish, sizeof(r->finish));
    }
}

static void make_requests(struct requests *q, const struct model *m)
{
    struct rng r;
    rng_init(&r, 21);
    q->tasks = model_get_info(m)->tasks;
    q->n_ids = tokenizer_size(model_tokenizer(m));
    for (int i = 0; i < N + N_LEFT; i++) {
        q->len[i] = 1 + (int)rng_below(&r, MAX_LEN);
        q->seed[i] = rng_next(&r);
        q->task[i] = q->tasks & TASK_CLASSIFY ? TASK_CLASSIFY
                     : i % 2                  ? TASK_GENERATE
                                              : TASK_NEXT;
        for (int t = 0; t < q->len[i]; t++) {
            q->ids[i][t] = (int32_t)rng_below(&r, (uint32_t)q->n_ids);
        }
    }
}

static struct job_spec spec_of(const struct requests *q, struct model *m, int i)
{
    struct job_spec s = {.model = m,
                         .task = q->task[i],
                         .tokens = q->ids[i],
                         .n_tokens = q->len[i],
                         .top_k = 1 + i % 7,
                         .temperature = 0.5f + (float)(i % 5) * 0.25f,
                         .max_tokens = 4 + i % 13,
                         .sample = {.temperature = i % 3 ? 0.9f : 0.0f,
                                    .top_k = i % 4 ? 0 : 8,
                                    .top_p = i % 5 ? 1.0f : 0.8f,
                                    .repetition_penalty = i % 6 ? 1.0f : 1.2f,
                                    .seed = q->seed[i]},
                         .stream = i >= N};
    return s;
}

static void open_engine(const struct setup *o, const char *name,
                        struct watch *w, struct engine **g, struct model **m)
{
    char dir[256];
    struct err e = ERR_INIT;
    struct engine_options eo = {.kernels = o->kernels,
                                .n_threads = o->threads,
                                .step_tokens = o->step_tokens,
                                .max_rows = o->max_rows,
                                .fold_bytes = o->fold,
                                .flush = watch_flush,
                                .ctx = w};
    snprintf(dir, sizeof(dir), GOLDEN "%s", name);
    if (engine_open(&eo, registry_archs, g, &e) ||
        engine_load(*g, name, dir, &e) || engine_model(*g, name, 0, m, &e)) {
        fail_msg("%s: %s", name, e.msg);
    }
}

/* Each request by itself: submitted when the one before is answered. */
static void run_alone(const struct setup *o, const char *name,
                      struct requests *q, struct answer *a)
{
    struct watch w;
    struct engine *g;
    struct model *m;
    watch_init(&w);
    open_engine(o, name, &w, &g, &m);
    make_requests(q, m);
    for (int i = 0; i < N; i++) {
        struct watched j = {0};
        struct job_spec s = spec_of(q, m, i);
        struct err e = ERR_INIT;
        assert_int_equal(watch_submit(&w, g, &s, 1, &j, &e), 0);
        assert_int_equal(watch_wait(&w, i + 1), 0);
        record(&j, &a[i]);
        watch_release(&j, 1);
    }
    model_release(m);
    engine_close(g);
    watch_fini(&w);
}

/* All at once, with some more that are cancelled on their way. */
static void run_crowd(const struct setup *o, const char *name,
                      const struct requests *q, const struct answer *alone)
{
    static struct watched j[N + N_LEFT];
    static struct job_spec s[N + N_LEFT];
    static struct answer a;
    struct watch w;
    struct engine *g;
    struct model *m;
    struct err e = ERR_INIT;
    watch_init(&w);
    open_engine(o, name, &w, &g, &m);
    struct metric_series *sizes =
        metrics_series(METRIC_BATCH_SIZE, name, NULL, NULL);
    uint64_t before = metric_count(sizes, 32);
    for (int i = 0; i < N + N_LEFT; i++) {
        int at = (i + o->shift) % (N + N_LEFT);
        s[at] = spec_of(q, m, i);
        j[at].cancel_after = i >= N ? 1 + i % 3 : 0;
    }
    assert_int_equal(watch_submit(&w, g, s, N + N_LEFT, j, &e), 0);
    for (int i = N; i < N + N_LEFT; i += 3) { /* at some step, or before it */
        job_cancel(j[(i + o->shift) % (N + N_LEFT)].job);
    }
    assert_int_equal(watch_wait(&w, N + N_LEFT), 0);
    for (int i = 0; i < N; i++) {
        record(&j[(i + o->shift) % (N + N_LEFT)], &a);
        if (a.n != alone[i].n || memcmp(a.byte, alone[i].byte, a.n) != 0) {
            fail_msg("%s: request %d of %d tokens differs (%s, %d threads, "
                     "%d tokens a step, shift %d)",
                     name, i, q->len[i], o->kernels, o->threads, o->step_tokens,
                     o->shift);
        }
    }
    watch_release(j, N + N_LEFT);
    model_release(m);
    engine_close(g);
    assert_int_equal(w.n_late, 0);
    watch_fini(&w);
    if (o->step_tokens >= 1024) {
        assert_true(metric_count(sizes, 32) > before);
    }
}

/* Families whose bits must agree with each other. */
static const char *const fused[] = {"avx2", "avx512", NULL};
static const char *const portable[] = {"generic", NULL};

static const char *first_here(const char *const *family)
{
    const struct kernels *k;
    for (int i = 0; family[i]; i++) {
        if (kernels_pick(family[i], &k, NULL) == 0) {
            return family[i];
        }
    }
    return NULL;
}

static void check_family(const char *const *family)
{
    static struct requests q;
    static struct answer alone[N];
    static const struct setup ways[] = {
        {NULL, 1, 1024, 70, 0, 0},       {NULL, 2, 1024, 70, 0, 13},
        {NULL, 3, 1024, 70, 0, 40},      {NULL, 2, 7, 70, 0, 5},
        {NULL, 1, 1, 70, 0, 22},         {NULL, 2, 100, 64, 0, 31},
        {NULL, 3, 1024, 64, 1 << 20, 9}, {NULL, 1, 64, 40, 1 << 20, 63},
    };
    const char *first = first_here(family);
    if (!first) {
        skip();
    }
    for (int c = 0; c < N_CHECKPOINTS; c++) {
        struct setup lone = {first, 1, 1024, 1, 0, 0};
        run_alone(&lone, checkpoints[c], &q, alone);
        for (int f = 0; family[f]; f++) {
            const struct kernels *k;
            if (kernels_pick(family[f], &k, NULL)) {
                continue;
            }
            for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
                struct setup o = ways[i];
                o.kernels = family[f];
                run_crowd(&o, checkpoints[c], &q, alone);
            }
        }
    }
}

static void test_identity_of_answers_in_the_fma_families(void **state)
{
    (void)state;
    check_family(fused);
}

static void test_identity_of_answers_in_portable_c(void **state)
{
    (void)state;
    check_family(portable);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_identity_of_answers_in_the_fma_families),
        cmocka_unit_test(test_identity_of_answers_in_portable_c),
    };
    log_configure(LOG_ERROR, 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
