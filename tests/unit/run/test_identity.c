/* test_identity: the answer of a request is the same bits alone or among 63
 * others, at any position, with 1, 2 or 3 threads, in chunks or whole, with a
 * folded input table or without, with shared prefixes, in a full budget of
 * states, and in both FMA families. Small checkpoints of tests/golden,
 * recurrent nets and Transformers, driven through the engine, each kind by
 * itself and all in flight together. The histogram of batch sizes has to show
 * that there was company.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/base/log.h"
#include "engine/base/metrics.h"
#include "engine/base/rng.h"
#include "models/registry.h"
#include "tests/support/job_watch.h"
#include "tests/support/model_dir.h"
#include "tests/support/unit.h"

#define GOLDEN "tests/golden/"
#define N 64     /* requests, all at once */
#define N_LEFT 6 /* more, whose clients leave */
#define MAX_LEN 50
#define COMMON 34 /* tokens that some requests begin with */
#define MAX_BYTES 1024

static const char *const recurrent[] = {"rnn/lstm",
                                        "rnn/lstm-32",
                                        "rnn/lstm-tied-projection",
                                        "rnn/gru-2-bf16",
                                        "rnn/elman-tanh",
                                        "rnn/elman-relu-2-bf16",
                                        "rnn/class-lstm-last",
                                        "rnn/class-gru-max",
                                        "rnn/class-bi-lstm-mean-projection",
                                        NULL};
static const char *const transformers[] = {
    "gpt2/gpt2/hf",   "llama/llama/hf",   "llama/mistral/hf",
    "llama/qwen2/hf", "gemma3/gemma3/hf", "gpt_neox/gpt_neox/hf",
    "qwen3/qwen3/hf", "bert/bert-class",  NULL};
static const char *const together[] = {
    "rnn/lstm",        "gpt2/gpt2/hf",        "llama/mistral/hf",
    "bert/bert-class", "rnn/class-lstm-last", NULL};
#define MAX_TOGETHER 5

/* Everything that a request must get again, as bytes. */
struct answer {
    unsigned char byte[MAX_BYTES];
    size_t n;
};

struct requests {
    int n_ids;
    int32_t ids[N + N_LEFT][MAX_LEN];
    int len[N + N_LEFT];
    const struct task *task[N + N_LEFT];
    uint64_t seed[N + N_LEFT];
};

struct setup {
    const char *kernels;
    int threads, step_tokens, max_rows;
    size_t fold, state_bytes;
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
    const struct flat_result flat = flat_result(j->job), *r = &flat;
    assert_int_equal(j->n_final, 1);
    assert_int_equal(j->final, JOB_DONE);
    a->n = 0;
    for (int i = 0; i < r->n_predictions; i++) { /* without their padding */
        const struct prediction *p = &r->predictions[i];
        put(a, &p->id, sizeof p->id);
        put(a, &p->prob, sizeof p->prob);
        put(a, &p->logprob, sizeof p->logprob);
    }
    put(a, &r->covered_mass, sizeof(r->covered_mass));
    if (r->scores)
        put(a, r->scores, (size_t)r->n_scores * sizeof(float));
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
    int classes = model_can(m, &task_classify);
    q->n_ids = tokenizer_size(model_tokenizer(m));
    for (int i = 0; i < N + N_LEFT; i++) {
        int most = model_max_tokens(m, PORT_TARGET);
        most = most < MAX_LEN ? most : MAX_LEN;
        q->len[i] = 1 + (int)rng_below(&r, (uint32_t)most);
        q->seed[i] = rng_next(&r);
        q->task[i] = classes ? &task_classify
                     : i % 2 ? &task_generate
                             : &task_next;
        for (int t = 0; t < q->len[i]; t++)
            q->ids[i][t] = (int32_t)rng_below(&r, (uint32_t)q->n_ids);
        for (int t = 0; i % 4 == 3 && t < q->len[i] && t < COMMON; t++)
            q->ids[i][t] = (t * 7 + 3) % q->n_ids;
    }
}

static struct flat_spec spec_of(const struct requests *q, struct model *m,
                                int i)
{
    struct flat_spec s = {.model = m,
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

/* An engine with these checkpoints, named m0, m1 ... */
struct rig {
    struct watch w;
    struct engine *g;
    struct model *m[MAX_TOGETHER];
    char dir[MAX_TOGETHER][64];
    int n;
};

static void rig_open(struct rig *x, const struct setup *o,
                     const char *const *names, int n)
{
    struct err e = ERR_INIT;
    struct engine_options eo = {.kernels = o->kernels,
                                .n_threads = o->threads,
                                .step_tokens = o->step_tokens,
                                .max_rows = o->max_rows,
                                .fold_bytes = o->fold,
                                .state_bytes = o->state_bytes,
                                .flush = watch_flush,
                                .ctx = &x->w};
    memset(x, 0, sizeof *x);
    watch_init(&x->w);
    if (engine_open(&eo, registry_archs, &x->g, &e))
        fail_msg("%s", e.msg);
    for (x->n = 0; x->n < n; x->n++) {
        char src[256], name[8];
        snprintf(src, sizeof(src), GOLDEN "%s", names[x->n]);
        snprintf(name, sizeof(name), "m%d", x->n);
        assert_int_equal(model_dir_make(src, x->dir[x->n]), 0);
        const char *dir = x->dir[x->n][0] ? x->dir[x->n] : src;
        if (engine_load(x->g, name, dir, &e) ||
            engine_model(x->g, name, NULL, &x->m[x->n], &e))
            fail_msg("%s: %s", src, e.msg);
    }
}

static void rig_close(struct rig *x)
{
    for (int i = 0; i < x->n; i++)
        model_release(x->m[i]);
    engine_close(x->g);
    for (int i = 0; i < x->n; i++)
        model_dir_remove(x->dir[i]);
    assert_int_equal(x->w.n_late, 0);
    watch_fini(&x->w);
}

/* Each request by itself. Those that begin alike get an engine of their own,
 * so that they find no prefix. */
static void run_alone(const struct setup *o, const char *name,
                      struct requests *q, struct answer *a)
{
    struct rig x;
    rig_open(&x, o, &name, 1);
    make_requests(q, x.m[0]);
    for (int i = 0; i < N; i++) {
        if (i % 4 == 3) {
            rig_close(&x);
            rig_open(&x, o, &name, 1);
        }
        struct watched j = {0};
        struct flat_spec s = spec_of(q, x.m[0], i);
        struct err e = ERR_INIT;
        int before = x.w.n_final;
        if (watch_submit(&x.w, x.g, &s, 1, &j, &e))
            fail_msg("%s: %s", name, e.msg);
        assert_int_equal(watch_wait(&x.w, before + 1), 0);
        record(&j, &a[i]);
        watch_release(&j, 1);
    }
    rig_close(&x);
}

/* All at once, with some more that are cancelled on their way; of n models. */
static void run_crowd(const struct setup *o, const char *const *names, int n,
                      const struct requests *q, struct answer (*alone)[N])
{
    enum { ALL = N + N_LEFT };
    static struct watched j[MAX_TOGETHER][ALL];
    static struct flat_spec s[MAX_TOGETHER][ALL];
    static struct answer a;
    struct rig x;
    struct err e = ERR_INIT;
    rig_open(&x, o, names, n);
    struct metric_series *sizes =
        metrics_series(METRIC_BATCH_SIZE, "m0", NULL, NULL);
    uint64_t before = metric_count(sizes, 32);
    for (int k = 0; k < n; k++) {
        for (int i = 0; i < ALL; i++) {
            int at = (i + o->shift) % ALL;
            s[k][at] = spec_of(&q[k], x.m[k], i);
            j[k][at].cancel_after = i >= N ? 1 + i % 3 : 0;
        }
        assert_int_equal(watch_submit(&x.w, x.g, s[k], ALL, j[k], &e), 0);
        for (int i = N; i < ALL; i += 3) /* at some step, or before it */
            job_cancel(j[k][(i + o->shift) % ALL].job);
    }
    assert_int_equal(watch_wait(&x.w, n * ALL), 0);
    for (int k = 0; k < n; k++) {
        for (int i = 0; i < N; i++) {
            record(&j[k][(i + o->shift) % ALL], &a);
            if (a.n != alone[k][i].n ||
                memcmp(a.byte, alone[k][i].byte, a.n) != 0) {
                fail_msg("%s: request %d of %d tokens differs (%s, %d "
                         "threads, %d tokens a step, shift %d)",
                         names[k], i, q[k].len[i], o->kernels, o->threads,
                         o->step_tokens, o->shift);
            }
        }
        watch_release(j[k], ALL);
    }
    rig_close(&x);
    if (o->step_tokens >= 1024)
        assert_true(metric_count(sizes, 32) > before);
}

/* Families whose bits must agree with each other. */
static const char *const fused[] = {"avx2", "avx512", NULL};
static const char *const portable[] = {"generic", NULL};

static const char *first_here(const char *const *family)
{
    const struct kernels *k;
    for (int i = 0; family[i]; i++)
        if (kernels_pick(family[i], &k, NULL) == 0)
            return family[i];
    return NULL;
}

static const struct setup ways[] = {
    {NULL, 1, 1024, 70, 0, 0, 0},       {NULL, 2, 1024, 70, 0, 0, 13},
    {NULL, 3, 1024, 70, 0, 0, 40},      {NULL, 2, 7, 70, 0, 0, 5},
    {NULL, 1, 1, 70, 0, 0, 22},         {NULL, 2, 100, 64, 0, 0, 31},
    {NULL, 3, 1024, 64, 1 << 20, 0, 9}, {NULL, 1, 64, 40, 1 << 20, 0, 63},
    {NULL, 2, 64, 70, 0, 200000, 17},
};
#define N_WAYS ((int)(sizeof(ways) / sizeof(ways[0])))

/* n models in flight together, in all ways and families. */
static void check_models(const char *const *names, int n,
                         const char *const *family)
{
    static struct requests q[MAX_TOGETHER];
    static struct answer alone[MAX_TOGETHER][N];
    const char *first = first_here(family);
    for (int k = 0; k < n; k++) {
        struct setup lone = {first, 1, 1024, 1, 0, 0, 0};
        run_alone(&lone, names[k], &q[k], alone[k]);
    }
    for (int f = 0; family[f]; f++) {
        const struct kernels *k;
        if (kernels_pick(family[f], &k, NULL))
            continue;
        for (int i = 0; i < N_WAYS; i++) {
            struct setup o = ways[i];
            o.kernels = family[f];
            run_crowd(&o, names, n, q, alone);
        }
    }
}

static void check_each(const char *const *names, const char *const *family)
{
    if (!first_here(family))
        skip();
    for (; *names; names++)
        check_models(names, 1, family);
}

static void test_identity_of_recurrent_nets_in_the_fma_families(void **state)
{
    check_each(recurrent, fused);
}

static void test_identity_of_recurrent_nets_in_portable_c(void **state)
{
    check_each(recurrent, portable);
}

static void test_identity_of_transformers_in_the_fma_families(void **state)
{
    check_each(transformers, fused);
}

static void test_identity_of_transformers_in_portable_c(void **state)
{
    check_each(transformers, portable);
}

static void test_identity_of_all_kinds_in_flight_together(void **state)
{
    if (!first_here(fused)) {
        check_models(together, MAX_TOGETHER, portable);
        return;
    }
    check_models(together, MAX_TOGETHER, fused);
}

/* The longest text that an item may be, read in one go by nets that keep a
 * state: in steps of any size, beside others, on any number of threads. */
static void run_long(const struct setup *o, const char *name, int company,
                     struct answer *a)
{
    enum { LONG = 8192, OTHERS = 5 };
    static int32_t ids[LONG];
    struct watched j[1 + OTHERS] = {{0}};
    struct flat_spec s[1 + OTHERS];
    struct err e = ERR_INIT;
    struct rig x;
    struct rng r;
    rig_open(&x, o, &name, 1);
    rng_init(&r, 5);
    int n_ids = tokenizer_size(model_tokenizer(x.m[0]));
    for (int i = 0; i < LONG; i++)
        ids[i] = (int32_t)rng_below(&r, (uint32_t)n_ids);
    for (int i = 0; i < 1 + company; i++)
        s[i] = (struct flat_spec){.model = x.m[0],
                                  .task = &task_classify,
                                  .tokens = ids + i,
                                  .n_tokens = i ? 300 * i : LONG};
    if (watch_submit(&x.w, x.g, s, 1 + company, j, &e))
        fail_msg("%s: %s", name, e.msg);
    assert_int_equal(watch_wait(&x.w, 1 + company), 0);
    record(&j[0], a);
    watch_release(j, 1 + company);
    rig_close(&x);
}

static void test_identity_of_long_texts_of_recurrent_nets(void **state)
{
    static const char *const nets[] = {
        "rnn/class-lstm-last", "rnn/class-gru-max", "rnn/class-elman-mean",
        "rnn/class-bi-lstm-mean-projection"};
    static const struct setup some[] = {{NULL, 1, 1024, 70, 0, 0, 0},
                                        {NULL, 3, 64, 70, 1 << 20, 0, 0},
                                        {NULL, 2, 5, 70, 0, 0, 0}};
    static struct answer alone, a;
    const char *first = first_here(fused);
    for (size_t i = 0; i < COUNT(nets); i++)
        for (size_t k = 0; k < COUNT(some); k++) {
            struct setup o = some[k];
            o.kernels = first ? first : "generic";
            run_long(&o, nets[i], k > 0 ? 5 : 0, k > 0 ? &a : &alone);
            if (k > 0 &&
                (a.n != alone.n || memcmp(a.byte, alone.byte, a.n) != 0))
                fail_msg("%s differs in steps of %d", nets[i], o.step_tokens);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_identity_of_recurrent_nets_in_the_fma_families),
        cmocka_unit_test(test_identity_of_recurrent_nets_in_portable_c),
        cmocka_unit_test(test_identity_of_transformers_in_the_fma_families),
        cmocka_unit_test(test_identity_of_transformers_in_portable_c),
        cmocka_unit_test(test_identity_of_all_kinds_in_flight_together),
        cmocka_unit_test(test_identity_of_long_texts_of_recurrent_nets),
    };
    log_configure(LOG_ERROR, 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
