/* test_pairs: what an encoder-decoder makes of a source is the same bits alone
 * or among others, whose sources are read while it goes on, whole and in
 * chunks, with 1, 2 or 3 threads, when states are lost on the way, and in both
 * FMA families; three paths that share the source each. Small checkpoints of
 * tests/golden, driven through the engine by a task of the tests' own.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "engine/base/rng.h"
#include "models/registry.h"
#include "tests/support/job_watch.h"
#include "tests/support/model_dir.h"
#include "tests/support/paths_task.h"
#include "tests/support/unit.h"

#define N 20
#define MAX_ROWS 36

static const char *const names[] = {
    "marian/marian/hf", "marian/marian-two-vocabularies/hf",
    "bart/mbart-f16/hf", "t5/t5-gated/hf", NULL};

struct ask {
    int32_t source[MAX_ROWS], target[MAX_ROWS];
    int n, m;
    struct paths_params params;
};

/* What has to come again. */
struct answer {
    struct paths paths;
    float *attention;
    size_t n_attention;
};

struct rig {
    struct watch w;
    struct engine *g;
    struct model *m;
    char dir[64];
};

static void rig_open(struct rig *x, const char *name, struct engine_options o)
{
    struct err e = ERR_INIT;
    char src[128];

    memset(x, 0, sizeof *x);
    watch_init(&x->w);
    o.flush = watch_flush;
    o.ctx = &x->w;
    snprintf(src, sizeof src, "tests/golden/%s", name);
    if (model_dir_make(src, x->dir) ||
        engine_open(&o, registry_archs, &x->g, &e) ||
        engine_load(x->g, "pairs", x->dir, &e) ||
        engine_model(x->g, NULL, &task_paths, &x->m, &e))
        fail_msg("%s: %s", src, e.msg);
}

static void rig_close(struct rig *x)
{
    model_release(x->m);
    engine_close(x->g);
    model_dir_remove(x->dir);
    assert_int_equal(x->w.n_late, 0);
    watch_fini(&x->w);
}

static void make_asks(struct ask *a, const struct model *m)
{
    const struct model_info *info = model_get_info(m);
    struct rng r;

    rng_init(&r, 77);
    for (int i = 0; i < N; i++, a++) {
        a->n = 1 + (int)rng_below(&r, MAX_ROWS);
        a->m = 1 + (int)rng_below(&r, i % 3 ? 4 : 30);
        a->params.attention = i % 4 == 1;
        for (int k = 0; k < a->n; k++)
            a->source[k] = (int32_t)rng_below(&r, 53);
        a->target[0] = info->target.start;
        for (int k = 1; k < a->m; k++)
            a->target[k] = (int32_t)rng_below(&r, 53);
    }
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

static void run(struct rig *x, const struct ask *a, int n, struct job **job)
{
    struct job_spec spec[N] = {{0}};
    struct err e = ERR_INIT;
    int before = x->w.n_final;

    for (int i = 0; i < n; i++)
        spec[i] = (struct job_spec){.model = x->m,
                                    .task = &task_paths,
                                    .params = &a[i].params,
                                    .in = {{.n = a[i].m, .p = a[i].target},
                                           {.n = a[i].n, .p = a[i].source}},
                                    .on_event = on_event,
                                    .user = &x->w};
    if (engine_submit(x->g, spec, n, job, &e))
        fail_msg("%s %s", e.param, e.msg);
    assert_int_equal(watch_wait(&x->w, before + n), 0);
    for (int i = 0; i < n; i++)
        if (job_error(job[i])->code)
            fail_msg("%s", job_error(job[i])->msg);
}

static void alone(const char *name, struct ask *a, struct answer *to)
{
    struct rig x;

    rig_open(&x, name, (struct engine_options){.n_threads = 1});
    make_asks(a, x.m);
    for (int i = 0; i < N; i++) {
        const struct model_info *info = model_get_info(x.m);
        struct job *job;

        run(&x, &a[i], 1, &job);
        to[i].paths = *(const struct paths *)job_answer(job, &task_paths);
        to[i].n_attention = (size_t)info->n_layers * (size_t)info->n_heads *
                            (size_t)a[i].m * (size_t)a[i].n;
        to[i].attention = mem_array(to[i].n_attention, sizeof(float));
        assert_non_null(to[i].attention);
        assert_int_equal(job_result(job)->attention != NULL,
                         a[i].params.attention);
        if (job_result(job)->attention)
            memcpy(to[i].attention, job_result(job)->attention,
                   to[i].n_attention * sizeof(float));
        job_release(job);
    }
    rig_close(&x);
}

static void company(const char *name, const struct ask *a,
                    const struct answer *want, struct engine_options o)
{
    struct job *job[N];
    struct rig x;

    rig_open(&x, name, o);
    run(&x, a, N, job);
    for (int i = 0; i < N; i++) {
        const struct paths *p = job_answer(job[i], &task_paths);
        const float *w = job_result(job[i])->attention;

        if (memcmp(p->ids, want[i].paths.ids, sizeof p->ids) ||
            memcmp(p->bits, want[i].paths.bits, sizeof p->bits) ||
            (w &&
             memcmp(w, want[i].attention, want[i].n_attention * sizeof *w)))
            fail_msg("%s: pair %d differs with %d threads, steps of %d, %zu "
                     "bytes of states, %s",
                     name, i, o.n_threads, o.step_tokens, o.state_bytes,
                     o.kernels ? o.kernels : "auto");
        job_release(job[i]);
    }
    rig_close(&x);
}

static void check_model(const char *name)
{
    static const struct engine_options ways[] = {
        {.n_threads = 1},
        {.n_threads = 2, .step_tokens = 1},
        {.n_threads = 2, .step_tokens = 50},
        {.n_threads = 3, .step_tokens = 7, .max_rows = 5},
        {.n_threads = 2, .kernels = "avx2"},
        {.n_threads = 1, .state_bytes = 600000},
        {.n_threads = 3, .state_bytes = 300000, .step_tokens = 20}};
    static struct answer want[N];
    static struct ask asks[N];
    const struct kernels *k;

    alone(name, asks, want);
    for (size_t i = 0; i < COUNT(ways); i++)
        if (!ways[i].kernels || kernels_pick(ways[i].kernels, &k, NULL) == 0)
            company(name, asks, want, ways[i]);
    for (int i = 0; i < N; i++)
        mem_free(want[i].attention);
}

static void test_pairs_have_the_same_bits_in_any_company(void **state)
{
    log_configure(LOG_ERROR, 0);
    for (int i = 0; names[i]; i++)
        check_model(names[i]);
}

/* One more source token than attention is shown for. */
static void test_pairs_show_attention_of_short_sources_alone(void **state)
{
    static const int32_t ids[MODEL_MAX_SHOWN + 1];
    const struct paths_params params = {.attention = 1};
    struct err e = ERR_INIT;
    struct job *job;
    struct rig x;

    rig_open(&x, "t5/t5-gated/hf", (struct engine_options){0});
    struct job_spec s = {
        .model = x.m,
        .task = &task_paths,
        .params = &params,
        .in = {{.n = 1, .p = ids}, {.n = MODEL_MAX_SHOWN + 1, .p = ids}}};
    assert_int_equal(engine_submit(x.g, &s, 1, &job, &e), -1);
    assert_string_equal(e.param, "attention");
    if (!strstr(e.msg, "input has 65 tokens"))
        fail_msg("%s", e.msg);
    rig_close(&x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pairs_have_the_same_bits_in_any_company),
        cmocka_unit_test(test_pairs_show_attention_of_short_sources_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
