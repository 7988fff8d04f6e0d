/* Beam search against that of transformers on the same weights
 * (tests/golden/beam.json, make_beam_fixtures.py): ids, ends and scores of all
 * hypotheses, greedy with one beam; and the same bits alone and in company,
 * in steps of any size, on one thread and two, and while states are lost for
 * want of memory.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/base/json.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "engine/run/task/beam.h"
#include "models/transformer/archs.h"
#include "tests/support/golden.h"
#include "tests/support/job_watch.h"
#include "tests/support/model_dir.h"
#include "tests/support/temp_dir.h"
#include "tests/support/unit.h"

/* fp32 logits of size 5 in another order of sums, and a sum of 14 of them. */
#define TOLERANCE 2e-5
#define MAX_CASES 80
#define MAX_LEN 48

static const struct model_arch *const archs[] = {&gpt2_arch, NULL};

struct text {
    int32_t ids[MAX_LEN];
    int n, ended;
    float score;
};

struct asked {
    struct beam_params p;
    struct text want[MOST_BEAMS], got[MOST_BEAMS];
    int n_scores;
};

static struct {
    struct asked c[MAX_CASES];
    int n;
    int32_t prompt[MAX_LEN];
    int n_prompt;
    char ends[80]; /* generation_config.json */
} set;

static int number(const struct json *j, const char *key)
{
    int64_t v = -1;
    assert_int_equal(json_int(json_get(j, key), &v), 0);
    return (int)v;
}

static enum beam_stop stop_of(const struct json *j)
{
    if (json_type(j) == JSON_STRING)
        return BEAM_STOP_NEVER;
    return json_bool(j) ? BEAM_STOP_FULL : BEAM_STOP_ESTIMATE;
}

static void read_case(const struct json *j, struct asked *c)
{
    float scores[MOST_BEAMS];
    int n = 0;

    c->p = (struct beam_params){.beams = number(j, "beams"),
                                .n_best = number(j, "best"),
                                .length_penalty =
                                    json_number(json_get(j, "penalty")),
                                .stop = stop_of(json_get(j, "early")),
                                .max_tokens = number(j, "max_new"),
                                .forced_first = -1};
    c->n_scores = golden_floats(json_get(j, "scores"), scores, MOST_BEAMS);
    const struct json *end = json_child(json_get(j, "ended"));
    for (const struct json *x = json_child(json_get(j, "ids")); x;
         x = json_next(x), end = json_next(end), n++) {
        struct text *t = &c->want[n];
        t->n = golden_ids(x, t->ids, MAX_LEN);
        t->ended = json_bool(end);
        t->score = n < c->n_scores ? scores[n] : 0;
    }
    assert_int_equal(n, c->p.n_best);
}

static void read_set(const struct json *j)
{
    int32_t eos[4] = {0};
    int n = golden_ids(json_get(j, "eos"), eos, 4);

    set.n = 0;
    snprintf(set.ends, sizeof set.ends, "{\"eos_token_id\":[%d,%d,%d]}", eos[0],
             eos[1], eos[n - 1]);
    set.n_prompt = golden_ids(json_get(j, "prompt"), set.prompt, MAX_LEN);
    for (const struct json *x = json_child(json_get(j, "cases")); x;
         x = json_next(x)) {
        assert_true(set.n < MAX_CASES);
        read_case(x, &set.c[set.n++]);
    }
    assert_true(set.n > 5);
}

/* --- runs --- */

static struct watch w;

static void on_event(void *user, const struct job_event *ev)
{
    (void)user;
    (void)ev;
    pthread_mutex_lock(&w.mu);
    w.n_final++;
    pthread_cond_broadcast(&w.cv);
    pthread_mutex_unlock(&w.mu);
}

static void keep(struct asked *c, struct job *j)
{
    if (job_error(j)->code)
        fail_msg("%s", job_error(j)->msg);
    const struct beam_result *r = beam_result(j);
    assert_int_equal(r->n, c->p.n_best);
    for (int i = 0; i < r->n; i++) {
        const struct beam_text *b = &r->best[i];
        c->got[i].n = b->n_tokens;
        memcpy(c->got[i].ids, b->tokens,
               (size_t)b->n_tokens * sizeof *b->tokens);
        c->got[i].ended = b->finish == FINISH_STOP;
        c->got[i].score = b->score;
    }
    job_release(j);
}

/* All cases of the set, `company` at a time. */
static void run(struct engine_options o, int company)
{
    struct job_spec spec[MAX_CASES];
    struct job *job[MAX_CASES];
    struct err e = ERR_INIT;
    struct engine *g;
    struct model *m;
    char dir[64];

    assert_int_equal(
        model_dir_letters("tests/golden/gpt2/gpt2-untied-bf16/hf", dir), 0);
    temp_file_text(dir, "generation_config.json", set.ends);
    watch_init(&w);
    if (engine_open(&o, archs, &g, &e) || engine_load(g, "m", dir, &e) ||
        engine_model(g, NULL, NULL, &m, &e))
        fail_msg("%s", e.msg);
    for (int i = 0, n; i < set.n; i += n) {
        int before = w.n_final;
        n = company < set.n - i ? company : set.n - i;
        for (int k = 0; k < n; k++) {
            spec[k] =
                (struct job_spec){.model = m,
                                  .task = &task_beam,
                                  .params = &set.c[i + k].p,
                                  .in = {{.n = set.n_prompt, .p = set.prompt}},
                                  .client = (uint64_t)k % 3,
                                  .on_event = on_event};
        }
        if (engine_submit(g, spec, n, job, &e))
            fail_msg("%s", e.msg);
        assert_int_equal(watch_wait(&w, before + n), 0);
        for (int k = 0; k < n; k++)
            keep(&set.c[i + k], job[k]);
    }
    model_release(m);
    engine_close(g);
    watch_fini(&w);
    model_dir_remove(dir);
}

static void check_case(const struct asked *c)
{
    for (int i = 0; i < c->p.n_best; i++) {
        const struct text *a = &c->want[i], *b = &c->got[i];
        if (a->n != b->n || a->ended != b->ended ||
            memcmp(a->ids, b->ids, (size_t)a->n * sizeof *a->ids) != 0)
            fail_msg("beams %d penalty %g stop %d: text %d has other ids",
                     c->p.beams, c->p.length_penalty, c->p.stop, i);
    }
    for (int i = 0; i < c->n_scores; i++)
        golden_close(&c->got[i].score, &c->want[i].score, 1, TOLERANCE,
                     "beams %d penalty %g stop %d: score %d", c->p.beams,
                     c->p.length_penalty, c->p.stop, i);
}

static void run_sets(void (*each)(void))
{
    const struct json_limits lim = {.max_bytes = 1 << 20};
    struct err e = ERR_INIT;
    struct json *j;

    log_configure(LOG_ERROR, 0);
    if (json_load("tests/golden/beam.json", "beam.json", &lim, &j, &e))
        fail_msg("%s", e.msg);
    for (const struct json *s = json_child(j); s; s = json_next(s)) {
        read_set(s);
        each();
    }
    json_free(j);
}

static void check_set(void)
{
    run((struct engine_options){.n_threads = 1}, 1);
    for (int i = 0; i < set.n; i++)
        check_case(&set.c[i]);
}

static void test_beam_finds_what_transformers_finds(void **state)
{
    run_sets(check_set);
}

/* Against `alone`: all that was found, bit by bit. */
static void same_bits(const struct asked *alone)
{
    for (int i = 0; i < set.n; i++)
        for (int k = 0; k < set.c[i].p.n_best; k++) {
            const struct text *a = &alone[i].got[k], *b = &set.c[i].got[k];
            assert_int_equal(a->n, b->n);
            assert_memory_equal(a->ids, b->ids, (size_t)a->n * sizeof *a->ids);
            golden_same(&a->score, &b->score, 1, "case %d text %d", i, k);
        }
}

static void check_bits(void)
{
    static const struct engine_options o[] = {
        {.n_threads = 2},
        {.n_threads = 1, .step_tokens = 3},
        {.n_threads = 2, .step_tokens = 7, .max_rows = 5},
        {.n_threads = 2, .state_bytes = 150000}};
    struct asked *alone = mem_array(MAX_CASES, sizeof *alone);

    run((struct engine_options){.n_threads = 1}, 1);
    memcpy(alone, set.c, sizeof set.c);
    for (size_t i = 0; i < sizeof o / sizeof *o; i++) {
        run(o[i], MAX_CASES);
        same_bits(alone);
    }
    mem_free(alone);
}

static void test_beam_has_the_same_bits_in_company(void **state)
{
    run_sets(check_bits);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_beam_finds_what_transformers_finds),
        cmocka_unit_test(test_beam_has_the_same_bits_in_company),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
