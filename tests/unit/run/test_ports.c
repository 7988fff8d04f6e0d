/* The contract of ports, outputs and sequences (arch.h, task/task.h), by a toy
 * that uses all of it and two tasks: several greedy paths (paths_task.h)
 * from one source, whose forks live from step to step, and all rows of a
 * series. Alone and in company, whole and in chunks, with one thread and two,
 * and while states are lost for want of memory: the same answers, which this
 * file computes by itself.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "engine/base/rng.h"
#include "engine/run/task/classify.h"
#include "engine/run/task/generate.h"
#include "engine/run/task/score.h"
#include "engine/run/task/task_impl.h"
#include "tests/support/fake_arch.h"
#include "tests/support/job_watch.h"
#include "tests/support/paths_task.h"
#include "tests/support/ports_arch.h"
#include "tests/support/temp_dir.h"
#include "tests/support/unit.h"

#define MAX_SOURCE 40
#define MAX_ROWS 200
#define N 24

/* --- values: all rows of a series, and what was kept at its end --- */

struct values {
    float value[MAX_ROWS][PORTS_VALUES];
    float kept[20];
};

static int values_init(struct job *j, const void *params, struct err *e)
{
    (void)params;
    j->own = mem_zalloc(sizeof(struct values));
    j->answer = j->own;
    j->most_rows = j->n_tokens + 1;
    return j->own ? 0 : err_nomem(e);
}

static void values_fini(struct job *j)
{
    mem_free(j->own);
}

static int values_plan(struct job *j, int budget, struct batch_plan *p)
{
    int port, left = batch_rows_left(p) - 1;
    struct span in = task_span(j, budget < left ? budget : left, p, &port);
    struct want w[2] = {{.kind = OUT_VALUE, .n = in.n},
                        {.kind = OUT_HIDDEN, .from = in.n - 1, .n = 1}};
    return in.n > 0 ? batch_add(p, j, j->seq, port, &in, w,
                                1 + task_ends(j, port, &in))
                    : 0;
}

static int values_take(struct job *j, const struct task_ctx *x,
                       struct batch_item *first, int n)
{
    struct values *s = j->own;
    const struct batch_item *it = &first[n - 1];
    int at = j->pos[0] - it->in.n;

    for (int i = 0; i < it->in.n; i++)
        memcpy(s->value[at + i], task_row(j, x, it, i, PORTS_VALUES),
               sizeof s->value[0]);
    if (it->n_w < 2)
        return TASK_MORE;
    memcpy(s->kept, it->w[1].dst, sizeof s->kept);
    return TASK_DONE;
}

static const struct task task_values = {.name = "values",
                                        .output = OUT_VALUE,
                                        .needs = TASK_APPEND,
                                        .init = values_init,
                                        .fini = values_fini,
                                        .plan = values_plan,
                                        .take = values_take};

/* --- the engine around them --- */

struct rig {
    struct engine *g;
    struct model *m;
    struct watch w;
    char dir[64];
};

static void rig_up(struct rig *r, enum ports_kind kind, int max_chain,
                   struct engine_options o)
{
    struct err e = ERR_INIT;

    log_configure(LOG_ERROR, 0);
    memset(r, 0, sizeof *r);
    memset(&ports_stats, 0, sizeof ports_stats);
    watch_init(&r->w);
    o.flush = watch_flush;
    o.ctx = &r->w;
    ports_dir(kind, max_chain, r->dir);
    if (engine_open(&o, ports_archs, &r->g, &e) ||
        engine_load(r->g, "ports", r->dir, &e) ||
        engine_model(r->g, NULL, NULL, &r->m, &e))
        fail_msg("%s", e.msg);
}

static void rig_down(struct rig *r)
{
    model_release(r->m);
    engine_close(r->g);
    temp_dir_drop(r->dir);
    assert_int_equal(r->w.n_late, 0);
    assert_int_equal(atomic_load(&ports_stats.violations), 0);
    watch_fini(&r->w);
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

static void run(struct rig *r, struct job_spec *spec, int n, struct job **job)
{
    struct err e = ERR_INIT;
    int before = r->w.n_final;

    for (int i = 0; i < n; i++) {
        spec[i].model = r->m;
        spec[i].on_event = on_event;
        spec[i].user = &r->w;
    }
    if (engine_submit(r->g, spec, n, job, &e))
        fail_msg("%s %s", e.param, e.msg);
    assert_int_equal(watch_wait(&r->w, before + n), 0);
    for (int i = 0; i < n; i++)
        if (job_error(job[i])->code)
            fail_msg("%s", job_error(job[i])->msg);
}

/* --- pairs --- */

struct pair {
    int32_t source[MAX_SOURCE], target[8];
    int n_source, n_target;
    int32_t expected[PATHS][PATH_STEPS];
};

static int32_t next_of(const struct pair *p, const int32_t *ids, int n,
                       int rank)
{
    float row[PORTS_VOCAB];
    for (int v = 0; v < PORTS_VOCAB; v++)
        row[v] = ports_logit(p->source, p->n_source, ids, n, v);
    return paths_best(row, PORTS_VOCAB, rank);
}

static void make_pair(struct pair *p, struct rng *r)
{
    int32_t ids[8 + PATH_STEPS];

    p->n_source = 1 + (int)rng_below(r, MAX_SOURCE);
    p->n_target = 1 + (int)rng_below(r, 8);
    for (int i = 0; i < p->n_source; i++)
        p->source[i] = 9 + (int32_t)rng_below(r, PORTS_VOCAB - 9);
    for (int i = 0; i < p->n_target; i++)
        p->target[i] = 9 + (int32_t)rng_below(r, PORTS_VOCAB - 9);
    for (int k = 0; k < PATHS; k++) {
        memcpy(ids, p->target, sizeof p->target);
        for (int i = 0; i < PATH_STEPS; i++) {
            ids[p->n_target + i] =
                next_of(p, ids, p->n_target + i, i == 0 ? k : 0);
            p->expected[k][i] = ids[p->n_target + i];
        }
    }
}

static struct job_spec spec_of(const struct pair *p)
{
    return (struct job_spec){.task = &task_paths,
                             .in = {{.n = p->n_target, .p = p->target},
                                    {.n = p->n_source, .p = p->source}}};
}

static void check_pair(const struct pair *p, const struct job *j)
{
    const struct paths *s = job_answer(j, &task_paths);
    assert_memory_equal(s->ids, p->expected, sizeof s->ids);
    assert_int_equal(job_result(j)->prompt_tokens, p->n_source);
}

/* How many sources were read. */
static int check_pairs(const struct engine_options *o, int chain, int company)
{
    struct pair *p = mem_array(N, sizeof *p);
    struct job_spec spec[N];
    struct job *job[N];
    struct rng rng;
    struct rig r;

    rng_init(&rng, 5);
    rig_up(&r, PORTS_PAIR, chain, *o);
    for (int i = 0; i < N; i++) {
        make_pair(&p[i], &rng);
        spec[i] = spec_of(&p[i]);
    }
    for (int i = 0; i < N; i += company)
        run(&r, spec + i, company, job + i);
    for (int i = 0; i < N; i++) {
        check_pair(&p[i], job[i]);
        job_release(job[i]);
    }
    /* In smaller steps a source runs alone, in larger ones all come at once. */
    if (o->step_tokens == 50)
        assert_int_equal(atomic_load(&ports_stats.both) > 0, company > 1);
    assert_int_equal(atomic_load(&ports_stats.shared) > 0, o->step_tokens != 1);
    int sources = atomic_load(&ports_stats.sources);
    rig_down(&r);
    mem_free(p);
    return sources;
}

static void test_ports_of_a_pair_alone_and_in_company(void **state)
{
    static const int budget[] = {1, 3, 50, 1024}, chain[] = {0, 1, 3};
    for (int b = 0; b < 4; b++)
        for (int c = 0; c < 3; c++)
            for (int threads = 1; threads <= 2; threads++) {
                struct engine_options o = {.n_threads = threads,
                                           .step_tokens = budget[b]};
                check_pairs(&o, chain[c], 1);
                check_pairs(&o, chain[c], N);
            }
}

static void test_ports_survive_lost_states(void **state)
{
    /* Enough for two or three jobs of the largest size. */
    struct engine_options o = {.n_threads = 2, .state_bytes = 14000};
    int again = 0;
    for (int k = 0; k < 4; k++) {
        again += check_pairs(&o, 2, N) - N;
        o.state_bytes += 2500;
    }
    assert_true(again > 0); /* sources that had to be read twice */
}

/* Longer than what the runner has scratch for from the start. */
static void test_ports_have_scratch_for_the_longest_source(void **state)
{
    static int32_t ids[PORTS_SOURCE];
    struct job_spec spec = {
        .task = &task_paths,
        .in = {{.n = 1, .p = ids}, {.n = PORTS_SOURCE, .p = ids}}};
    struct job *job;
    struct rig r;

    for (int i = 0; i < PORTS_SOURCE; i++)
        ids[i] = 9 + i % 20;
    rig_up(&r, PORTS_PAIR, 0, (struct engine_options){0});
    assert_true(atomic_load(&ports_stats.longest) < PORTS_SOURCE);
    run(&r, &spec, 1, &job);
    assert_true(atomic_load(&ports_stats.longest) >= PORTS_SOURCE);
    job_release(job);
    rig_down(&r);
}

static void test_ports_of_a_pair_say_what_is_wrong(void **state)
{
    static const int32_t ids[PORTS_SOURCE + 1] = {9, 10, 11},
                                            wrong[2] = {9, PORTS_VOCAB};
    static const float x[3] = {1, 2, 3};
    const struct span good = {.n = 3, .p = ids};
    const struct {
        struct span target, source;
        enum err_code code;
        const char *says;
    } cases[] = {
        {good, {.n = 0}, ERR_INVALID, "input has no tokens"},
        {{.n = 0}, good, ERR_INVALID, "input has no tokens"},
        {good,
         {.n = PORTS_SOURCE + 1, .p = ids},
         ERR_TOO_LARGE,
         "at most 5000"},
        {good, {.n = 2, .p = wrong}, ERR_INVALID, "token 1 is 40"},
        {{.unit = UNIT_VECTORS, .n = 1, .p = x},
         good,
         ERR_INVALID,
         "reads tokens"},
    };
    struct job *job;
    struct rig r;

    rig_up(&r, PORTS_PAIR, 0, (struct engine_options){0});
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err e = ERR_INIT;
        struct job_spec s = {.model = r.m,
                             .task = &task_paths,
                             .in = {cases[i].target, cases[i].source}};
        assert_int_equal(engine_submit(r.g, &s, 1, &job, &e), -1);
        assert_int_equal(e.code, cases[i].code);
        if (!strstr(e.msg, cases[i].says))
            fail_msg("'%s' does not say '%s'", e.msg, cases[i].says);
    }
    /* Tasks that know no source, and outputs that are not there. */
    assert_true(model_can(r.m, &task_paths));
    assert_true(model_can(r.m, &task_generate));
    assert_false(model_can(r.m, &task_score));
    assert_false(model_can(r.m, &task_classify));
    rig_down(&r);
}

/* --- long sources beside a light client --- */

#define LONG 1000  /* rows of a source: over the budget of a step */
#define HEAVY 40   /* sources of one client */
#define WRITTEN 60 /* tokens of the other's text, a step each */

struct light {
    struct watch *w;
    int sources; /* that were read when it had ended */
};

static void on_light(void *user, const struct job_event *ev)
{
    struct light *l = user;
    l->sources = atomic_load(&ports_stats.sources);
    on_event(l->w, ev);
}

/* A source, *id, that the toy makes so long a text of. */
static void find_source(struct rig *r, struct job_spec *s, int32_t *id)
{
    *id = FAKE_WORD;
    for (int n = 0; n < WRITTEN; ++*id) {
        struct job *j;
        assert_true(*id < PORTS_VOCAB);
        run(r, s, 1, &j);
        n = generate_result(j)->n_tokens;
        job_release(j);
    }
    --*id;
}

/* How many of a heavy client's are read while a light one's text is made. */
static int sources_beside_a_light_one(void)
{
    static const int32_t start[] = {FAKE_BOS};
    static int32_t ids[LONG], id;
    const struct generate_params greedy = {
        .max_tokens = WRITTEN, .sample = {.top_p = 1, .repetition_penalty = 1}};
    struct generate_params one = greedy;
    struct job_spec s[HEAVY],
        light = {.task = &task_generate,
                 .params = &greedy,
                 .in = {{.n = 1, .p = start}, {.n = 1, .p = &id}},
                 .client = 2};
    struct job *job[HEAVY], *j;
    struct err e = ERR_INIT;
    struct rig r;

    rig_up(&r, PORTS_PAIR, 0, (struct engine_options){.step_tokens = 64});
    find_source(&r, &light, &id);
    one.max_tokens = 1;
    for (int i = 0; i < LONG; i++)
        ids[i] = FAKE_WORD;
    for (int i = 0; i < HEAVY; i++)
        s[i] = (struct job_spec){
            .model = r.m,
            .task = &task_generate,
            .params = &one,
            .in = {{.n = 1, .p = start}, {.n = LONG, .p = ids}},
            .client = 1,
            .on_event = on_event,
            .user = &r.w};
    struct light heard = {.w = &r.w};
    int before = r.w.n_final, sources = atomic_load(&ports_stats.sources);
    light.on_event = on_light;
    light.user = &heard;
    assert_int_equal(engine_submit(r.g, s, HEAVY, job, &e), 0);
    assert_int_equal(engine_submit(r.g, &light, 1, &j, &e), 0);
    assert_int_equal(watch_wait(&r.w, before + HEAVY + 1), 0);
    job_release(j);
    for (int i = 0; i < HEAVY; i++)
        job_release(job[i]);
    rig_down(&r);
    return heard.sources - sources;
}

/* One in every second of its steps would be 30, each time. The engine measures
 * what its steps cost, so that where another program takes the core some more
 * are let in: the best of some tries counts. */
static void test_ports_long_sources_do_not_hold_a_light_client_up(void **state)
{
    int least = HEAVY;

    for (int i = 0; i < 10 && least >= HEAVY / 4; i++) {
        int n = sources_beside_a_light_one();
        print_message("%d sources of %d\n", n, HEAVY + 1);
        least = n < least ? n : least;
    }
    assert_true(least < HEAVY / 4);
}

/* --- series --- */

static void check_series(const struct engine_options *o, int chain, int company)
{
    static float x[N][MAX_ROWS * PORTS_WIDTH];
    struct job_spec spec[N];
    struct job *job[N];
    struct rng rng;
    struct rig r;
    int n[N];

    rng_init(&rng, 6);
    rig_up(&r, PORTS_SERIES, chain, *o);
    assert_null(model_tokenizer(r.m));
    for (int i = 0; i < N; i++) {
        n[i] = 1 + (int)rng_below(&rng, MAX_ROWS);
        for (int k = 0; k < n[i] * PORTS_WIDTH; k++)
            x[i][k] = (float)rng_below(&rng, 2000) / 256.0f - 3.0f;
        spec[i] = (struct job_spec){
            .task = &task_values,
            .in = {{.unit = UNIT_VECTORS, .n = n[i], .p = x[i]}}};
    }
    for (int i = 0; i < N; i += company)
        run(&r, spec + i, company, job + i);
    for (int i = 0; i < N; i++) {
        const struct values *s = job_answer(job[i], &task_values);
        for (int t = 0; t < n[i]; t++) {
            float want[PORTS_VALUES];
            ports_value(x[i], t + 1, want);
            assert_memory_equal(s->value[t], want, sizeof want);
        }
        assert_true(s->kept[19] > s->kept[16]);
        job_release(job[i]);
    }
    if (chain == 0 && o->step_tokens >= MAX_ROWS && company == 1)
        assert_true(atomic_load(&ports_stats.rows) > 64);
    rig_down(&r);
}

static void test_ports_of_vectors_whole_and_in_chunks(void **state)
{
    static const int budget[] = {1, 7, 1024}, chain[] = {0, 5};
    for (int b = 0; b < 3; b++)
        for (int c = 0; c < 2; c++) {
            struct engine_options o = {.n_threads = 2,
                                       .step_tokens = budget[b]};
            check_series(&o, chain[c], 1);
            check_series(&o, chain[c], N);
        }
}

static void test_ports_of_vectors_read_no_tokens(void **state)
{
    static const int32_t ids[3] = {9, 10, 11};
    struct err e = ERR_INIT;
    struct job *job;
    struct rig r;

    rig_up(&r, PORTS_SERIES, 0, (struct engine_options){0});
    struct job_spec s = {
        .model = r.m, .task = &task_values, .in = {{.n = 3, .p = ids}}};
    assert_int_equal(engine_submit(r.g, &s, 1, &job, &e), -1);
    assert_non_null(strstr(e.msg, "reads vectors"));
    assert_false(model_can(r.m, &task_paths));
    rig_down(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ports_of_a_pair_alone_and_in_company),
        cmocka_unit_test(test_ports_survive_lost_states),
        cmocka_unit_test(test_ports_have_scratch_for_the_longest_source),
        cmocka_unit_test(test_ports_of_a_pair_say_what_is_wrong),
        cmocka_unit_test(test_ports_long_sources_do_not_hold_a_light_client_up),
        cmocka_unit_test(test_ports_of_vectors_whole_and_in_chunks),
        cmocka_unit_test(test_ports_of_vectors_read_no_tokens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
