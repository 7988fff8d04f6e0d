/* test_pairs: what an encoder-decoder makes of a source is the same bits alone
 * or among others, whose sources are read while it goes on, whole and in
 * chunks, with 1, 2 or 3 threads, when states are lost on the way, and in both
 * FMA families. Transformers and recurrent nets alike, by small checkpoints of
 * tests/golden; by beams, by choices that are drawn, and by three paths that
 * share the source (a task of the tests' own: it keeps the bits of all rows).
 *
 * SPDX-License-Identifier: MIT */
#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "engine/base/rng.h"
#include "engine/run/job.h"
#include "engine/run/model.h"
#include "engine/run/task/beam.h"
#include "models/registry.h"
#include "tests/support/job_watch.h"
#include "tests/support/metric_line.h"
#include "tests/support/model_dir.h"
#include "tests/support/paths_task.h"
#include "tests/support/unit.h"

#define N 20
#define MAX_ROWS (MODEL_MAX_SHOWN + 1)
#define MOST_ROWS 36 /* of what is answered */
#define MOST_IDS 53
#define MAX_ANSWER 65536
#define WAIT_S 20

/* A fixture, and bytes that its largest job alone needs, or little more. */
static const struct kind {
    const char *name;
    size_t tight;
} kinds[] = {{"marian/marian/hf", 100000},
             {"marian/marian-two-vocabularies/hf", 150000},
             {"bart/mbart-f16/hf", 100000},
             {"t5/t5-gated/hf", 150000},
             {"seq2seq-rnn/gru-none-bi-4", 8000},
             {"seq2seq-rnn/lstm-dot", 20000},
             {"seq2seq-rnn/gru-additive-bi", 15000},
             {"seq2seq-rnn/lstm-general-bi-combine-f16", 30000}};

struct ask {
    int32_t source[MAX_ROWS], target[MAX_ROWS];
    int n, m;
    const struct task *task;
    union {
        struct paths_params paths;
        struct beam_params beam;
        struct generate_params drawn;
    } p;
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
        engine_load(x->g, "pairs", x->dir[0] ? x->dir : src, &e) ||
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

static int less(int a, int b)
{
    return a < b ? a : b;
}

static void make_params(struct ask *a, struct rng *r, int i, int shows)
{
    int n = 1 + (int)rng_below(r, 6), most = 1 + (int)rng_below(r, 12);

    a->task = i % 3 == 0   ? &task_paths
              : i % 3 == 1 ? &task_beam
                           : &task_generate;
    if (i % 3 == 0)
        a->p.paths = (struct paths_params){.attention = shows && i % 2};
    else if (i % 3 == 1)
        a->p.beam = (struct beam_params){.beams = n,
                                         .n_best = 1 + n / 2,
                                         .length_penalty = (i % 5) * 0.5,
                                         .max_tokens = most,
                                         .forced_first = -1,
                                         .stream = i % 4 < 2,
                                         .attention = shows && i % 2};
    else
        a->p.drawn =
            (struct generate_params){.max_tokens = most,
                                     .sample = {.temperature = 1,
                                                .top_p = 1,
                                                .repetition_penalty = 1,
                                                .seed = (uint64_t)i},
                                     .n = n,
                                     .logprob = 1,
                                     .length_penalty = 1,
                                     .attention = shows && i % 2};
}

static void make_asks(struct ask *a, const struct model *m)
{
    const struct model_info *info = &m->info;
    int shows = info->cols[OUT_ATTENTION] > 0;
    int n_source = less(m->n_ids[PORT_SOURCE], MOST_IDS);
    int n_target = less(m->n_ids[PORT_TARGET], MOST_IDS);
    struct rng r;

    rng_init(&r, 77);
    for (int i = 0; i < N; i++, a++) {
        a->n = 1 + (int)rng_below(&r, MOST_ROWS);
        a->m = 1 + (int)rng_below(&r, i % 3 ? 4 : 30);
        make_params(a, &r, i, shows);
        for (int k = 0; k < a->n; k++)
            a->source[k] = (int32_t)rng_below(&r, (uint32_t)n_source);
        a->target[0] = info->target.start;
        for (int k = 1; k < a->m; k++)
            a->target[k] = (int32_t)rng_below(&r, (uint32_t)n_target);
    }
}

/* What is heard of a job. */
struct heard {
    struct watch *w;
    int *n_paused; /* NULL: it is not to pause */
    int n_text;
};

/* A stream pauses with its first text: others may take its memory. */
static void on_event(void *user, const struct job_event *ev)
{
    struct heard *h = user;

    pthread_mutex_lock(&h->w->mu);
    if (ev->kind != JOB_TEXT) {
        h->w->n_final++;
    } else if (h->n_text++ == 0 && h->n_paused) {
        job_pause(ev->job, 1);
        ++*h->n_paused;
    }
    pthread_cond_broadcast(&h->w->cv);
    pthread_mutex_unlock(&h->w->mu);
}

static struct job_spec spec_of(struct rig *x, const struct ask *a,
                               struct heard *h)
{
    return (struct job_spec){
        .model = x->m,
        .task = a->task,
        .params = &a->p,
        .in = {{.n = a->m, .p = a->target}, {.n = a->n, .p = a->source}},
        .on_event = on_event,
        .user = h};
}

/* --- answers as bytes --- */

static void add(struct buf *b, const void *p, size_t n)
{
    if (p)
        assert_int_equal(buf_add(b, p, n), 0);
}

static void add_paths(const struct job *j, struct buf *b)
{
    const struct model_info *info = &j->model->info;
    const struct paths *p = job_answer(j, &task_paths);

    add(b, p->ids, sizeof p->ids);
    add(b, p->bits, sizeof p->bits);
    add(b, job_result(j)->attention,
        (size_t)info->n_layers * (size_t)info->n_heads * (size_t)j->in[0].n *
            (size_t)j->in[1].n * sizeof(float));
}

static void add_text(struct buf *b, const int32_t *ids, int n, double score,
                     int finish, const float *shown, int n_source)
{
    add(b, &n, sizeof n);
    add(b, ids, (size_t)n * sizeof *ids);
    add(b, &score, sizeof score);
    add(b, &finish, sizeof finish);
    add(b, shown, (size_t)n * (size_t)n_source * sizeof *shown);
}

static void take_answer(const struct job *j, struct buf *b)
{
    const struct beam_result *s = beam_result(j);
    const struct generate_result *g = generate_result(j);
    int m = j->in[PORT_SOURCE].n;

    if (job_error(j)->code)
        fail_msg("%s", job_error(j)->msg);
    buf_init(b, MAX_ANSWER);
    for (int i = 0; s && i < s->n; i++)
        add_text(b, s->best[i].tokens, s->best[i].n_tokens,
                 (double)s->best[i].score, s->best[i].finish,
                 i ? NULL : s->attention, m);
    for (int i = 0; g && i < g->n; i++)
        add_text(b, g[i].tokens, g[i].n_tokens, g[i].logprob, g[i].finish,
                 g[i].attention, m);
    if (j->task == &task_paths)
        add_paths(j, b);
    assert_true(b->len > 0);
}

/* --- runs --- */

/* Until nothing is left to be done but what pauses; then that goes on. */
static void go_on(struct rig *x, struct job **job, int n, const int *n_paused)
{
    struct timespec end;

    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += WAIT_S;
    pthread_mutex_lock(&x->w.mu);
    while (x->w.n_final + *n_paused < n)
        if (pthread_cond_timedwait(&x->w.cv, &x->w.mu, &end))
            fail_msg("%d of %d have ended, %d pause", x->w.n_final, n,
                     *n_paused);
    pthread_mutex_unlock(&x->w.mu);
    for (int i = 0; i < n; i++)
        job_pause(job[i], 0);
}

static void run(struct rig *x, const struct ask *a, int n, struct buf *to)
{
    struct job_spec spec[N] = {{0}};
    struct heard heard[N];
    struct job *job[N];
    struct err e = ERR_INIT;
    int before = x->w.n_final, n_paused = 0;

    for (int i = 0; i < n; i++) {
        heard[i] = (struct heard){&x->w, n > 1 ? &n_paused : NULL, 0};
        spec[i] = spec_of(x, &a[i], &heard[i]);
    }
    if (engine_submit(x->g, spec, n, job, &e))
        fail_msg("%s %s", e.param, e.msg);
    if (n > 1)
        go_on(x, job, n, &n_paused);
    assert_int_equal(watch_wait(&x->w, before + n), 0);
    for (int i = 0; i < n; i++) {
        take_answer(job[i], &to[i]);
        job_release(job[i]);
    }
}

static void alone(const char *name, struct ask *a, struct buf *to)
{
    struct rig x;

    rig_open(&x, name, (struct engine_options){.n_threads = 1});
    make_asks(a, x.m);
    for (int i = 0; i < N; i++)
        run(&x, &a[i], 1, &to[i]);
    rig_close(&x);
}

/* How often a state was lost. */
static double company(const char *name, const struct ask *a,
                      const struct buf *want, struct engine_options o)
{
    static const char lost[] = "seqd_preempted_total{model=\"pairs\"} ";
    static struct buf got[N];
    double before = metric_line(lost);
    struct rig x;

    rig_open(&x, name, o);
    run(&x, a, N, got);
    assert_true(
        metric_line("seqd_state_pages{model=\"pairs\",kind=\"used\"} ") <= 0);
    for (int i = 0; i < N; i++) {
        if (got[i].len != want[i].len ||
            memcmp(got[i].p, want[i].p, want[i].len))
            fail_msg("%s: pair %d (%s) differs with %d threads, steps of %d, "
                     "%zu bytes of states, %s",
                     name, i, a[i].task->name, o.n_threads, o.step_tokens,
                     o.state_bytes, o.kernels ? o.kernels : "auto");
        buf_fini(&got[i]);
    }
    rig_close(&x);
    return metric_line(lost) - before;
}

static void check_model(const struct kind *m)
{
    const struct engine_options ways[] = {
        {.n_threads = 1},
        {.n_threads = 2, .step_tokens = 1},
        {.n_threads = 2, .step_tokens = 50},
        {.n_threads = 3, .step_tokens = 7, .max_rows = 5},
        {.n_threads = 2, .kernels = "avx2"},
        {.n_threads = 1, .state_bytes = 2 * m->tight},
        {.n_threads = 3, .state_bytes = m->tight, .step_tokens = 20}};
    static struct buf want[N];
    static struct ask asks[N];
    const struct kernels *k;
    double lost = 0;

    alone(m->name, asks, want);
    for (size_t i = 0; i < COUNT(ways); i++)
        if (!ways[i].kernels || kernels_pick(ways[i].kernels, &k, NULL) == 0)
            lost += company(m->name, asks, want, ways[i]);
    if (lost < 1)
        fail_msg("%s: no state was lost", m->name);
    for (int i = 0; i < N; i++)
        buf_fini(&want[i]);
}

static void test_pairs_have_the_same_bits_in_any_company(void **state)
{
    log_configure(LOG_ERROR, 0);
    for (size_t i = 0; i < COUNT(kinds); i++)
        check_model(&kinds[i]);
}

/* --- what is refused --- */

static void refused(const char *name, const struct ask *a, const char *param,
                    const char *says)
{
    struct err e = ERR_INIT;
    struct job *job;
    struct rig x;

    rig_open(&x, name, (struct engine_options){0});
    struct heard h = {.w = &x.w};
    const struct job_spec s = spec_of(&x, a, &h);
    assert_int_equal(engine_submit(x.g, &s, 1, &job, &e), -1);
    assert_int_equal(e.code, ERR_INVALID);
    assert_string_equal(e.param, param);
    if (!strstr(e.msg, says))
        fail_msg("%s", e.msg);
    rig_close(&x);
}

/* One more source token than attention is shown for. */
static void test_pairs_show_attention_of_short_sources_alone(void **state)
{
    const struct ask a = {.n = MODEL_MAX_SHOWN + 1,
                          .m = 1,
                          .task = &task_paths,
                          .p.paths.attention = 1};

    refused("t5/t5-gated/hf", &a, "attention", "input has 65 tokens");
}

/* Its tokenizer has 23 entries, its encoder 19 rows. */
static void test_pairs_read_no_token_that_the_encoder_lacks(void **state)
{
    const struct ask a = {
        .source = {18, 19}, .target = {1}, .n = 2, .m = 1, .task = &task_paths};

    refused("seq2seq-rnn/lstm-dot", &a, "input[0]",
            "token 1 is 19, expected 0..18");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pairs_have_the_same_bits_in_any_company),
        cmocka_unit_test(test_pairs_show_attention_of_short_sources_alone),
        cmocka_unit_test(test_pairs_read_no_token_that_the_encoder_lacks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
