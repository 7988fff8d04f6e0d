/* Beam search over encoder-decoders against that of transformers on the same
 * weights (tests/golden/beam_encdec.json, make_beam_encdec_fixtures.py): ids,
 * ends and scores of all hypotheses, greedy with one beam, with what the
 * checkpoints force and forbid. The fixtures have no tokenizers, so the search
 * reads rows of the architecture itself; what the engine makes of beams is in
 * test_beam.c and test_task_beam.c. Where the best texts look is asked of the
 * engine, with a tokenizer of letters, against cross_attentions.
 *
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "engine/base/json.h"
#include "engine/base/mem.h"
#include "engine/base/log.h"
#include "engine/run/task/beam.h"
#include "models/transformer/archs.h"
#include "tests/support/arch_rig.h"
#include "tests/support/golden.h"
#include "tests/support/job_watch.h"
#include "tests/support/model_dir.h"
#include "tests/support/temp_dir.h"
#include "tests/support/unit.h"

/* fp32 logits of size 5 in another order of sums, and a sum of 12 of them. */
#define TOLERANCE 2e-5
/* Weights from 0 to 1, written with seven digits. */
#define TOLERANCE_SHOWN 1e-5
#define MAX_LEN 64
#define PATH_BYTES 256
#define MAX_ENDS 4

static const struct model_arch *const archs[] = {&marian_arch, &bart_arch,
                                                 &t5_arch};

/* A model, and the set of it that is looked at. */
static struct {
    const char *what;
    struct rig g;
    int32_t source[MAX_LEN], eos[MAX_ENDS];
    int n_source, n_eos;
    float *row;
} at;

static int number(const struct json *j, const char *key)
{
    int64_t v = -1;
    assert_int_equal(json_int(json_get(j, key), &v), 0);
    return (int)v;
}

/* Of keys that only some cases have. */
static int number_or_0(const struct json *j, const char *key)
{
    return json_get(j, key) ? number(j, key) : 0;
}

static enum beam_stop stop_of(const struct json *j)
{
    if (json_type(j) == JSON_STRING)
        return BEAM_STOP_NEVER;
    return json_bool(j) ? BEAM_STOP_FULL : BEAM_STOP_ESTIMATE;
}

static void step(struct rig_item it)
{
    struct err e = ERR_INIT;
    if (rig_step(&at.g, &it, 1, &e))
        fail_msg("%s: %s", at.what, e.msg);
    assert_int_equal(it.status, 0);
}

/* The logits behind n tokens of a target: all of it is read anew. */
static void read_row(const int32_t *ids, int n)
{
    int32_t all[MAX_LEN] = {at.g.info.target.start};
    struct rig_seq seq;

    assert_true(n < MAX_LEN);
    if (n > 0)
        memcpy(all + 1, ids, (size_t)n * sizeof *ids);
    assert_int_equal(rig_seq_open(&at.g, &seq), 0);
    step((struct rig_item){
        .seq = &seq, .port = PORT_SOURCE, .ids = at.source, .n = at.n_source});
    size_t V = (size_t)at.g.info.cols[OUT_LOGITS];
    step((struct rig_item){.seq = &seq,
                           .ids = all,
                           .n = n + 1,
                           .n_want = 1,
                           .want = {{OUT_LOGITS, n, 1, at.row, V}}});
    rig_seq_close(&seq);
}

static void search(struct beam_search *s, const struct json *c)
{
    const struct target_rules *t = &at.g.info.target;
    const struct beam_rules r = {
        .beams = number(c, "beams"),
        .max_new = number(c, "max_new"),
        .length_penalty = json_number(json_get(c, "penalty")),
        .stop = stop_of(json_get(c, "early")),
        .n_vocab = at.g.info.cols[OUT_LOGITS],
        .forbid = t->never,
        .n_forbid = t->n_never,
        .end = at.eos,
        .n_end = at.n_eos,
        .forced_first = t->forced_first,
        .forced_last = t->forced_last,
        .min_new = number_or_0(c, "min_new"),
        .no_repeat = number_or_0(c, "no_repeat"),
        .renormalize = json_bool(json_get(c, "renormalize")),
        .prefix = &t->start,
        .n_prefix = 1};
    struct err e = ERR_INIT;
    int over = 0;

    assert_int_equal(beam_search_init(s, &r, &e), 0);
    while (!over) {
        for (int i = 0; i < s->n_beams; i++) {
            read_row(s->beam[i].ids.v, s->n_made);
            beam_search_row(s, i, at.g.k, at.row);
        }
        over = beam_search_next(s);
    }
    assert_int_equal(over, 1);
}

static void check_case(const struct json *c)
{
    struct beam_search s;
    int32_t ids[MAX_LEN];
    float scores[MOST_BEAMS];
    int n_scores = golden_floats(json_get(c, "scores"), scores, MOST_BEAMS);
    int best = number(c, "best"), i = 0;
    const struct json *end = json_child(json_get(c, "ended"));

    search(&s, c);
    assert_int_equal(s.n_done, best);
    assert_int_equal(n_scores, best > 1 ? best : 0);
    for (const struct json *x = json_child(json_get(c, "ids")); x;
         x = json_next(x), end = json_next(end), i++) {
        int n = golden_ids(x, ids, MAX_LEN);
        const struct hypothesis *h = &s.done[i];
        if (h->n != n || h->ended != json_bool(end) ||
            memcmp(h->ids.v, ids, (size_t)n * sizeof *ids) != 0)
            fail_msg("%s: beams %d penalty %g stop %d: text %d has other ids",
                     at.what, s.r.beams, s.r.length_penalty, s.r.stop, i);
        if (n_scores > 0)
            golden_close(&h->score, &scores[i], 1, TOLERANCE,
                         "%s: beams %d penalty %g stop %d: score %d", at.what,
                         s.r.beams, s.r.length_penalty, s.r.stop, i);
    }
    assert_int_equal(i, best);
    beam_search_fini(&s);
}

static void read_source(int pair)
{
    char path[PATH_BYTES], name[32];
    struct weights *w;
    struct err e = ERR_INIT;

    snprintf(path, sizeof path, "tests/golden/%s/expected", at.what);
    snprintf(name, sizeof name, "source.%d", pair);
    if (weights_open(path, "expected", &w, &e))
        fail_msg("%s: %s", path, e.msg);
    const struct tensor *x = weights_find(w, name);
    assert_non_null(x);
    assert_int_equal(x->dtype, DT_I32);
    assert_in_range(x->dim[0], 1, MAX_LEN);
    at.n_source = (int)x->dim[0];
    memcpy(at.source, x->data, (size_t)at.n_source * sizeof *at.source);
    weights_close(w);
}

/* The architecture of "kind/name". */
static const struct model_arch *arch_of(const char *what)
{
    for (size_t i = 0; i < sizeof archs / sizeof *archs; i++)
        if (strncmp(what, archs[i]->name, strlen(archs[i]->name)) == 0)
            return archs[i];
    fail_msg("%s: no architecture", what);
    return NULL;
}

/* --- where a text looks --- */

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

/* Runs the case in an engine whose steps hold `step_tokens`. */
static void run_shown(const char *dir, const struct json *c, int step_tokens)
{
    const struct engine_options o = {
        .n_threads = 1, .exact = 1, .step_tokens = step_tokens};
    const struct beam_params p = {.beams = number(c, "beams"),
                                  .n_best = 1,
                                  .length_penalty =
                                      json_number(json_get(c, "penalty")),
                                  .stop = stop_of(json_get(c, "early")),
                                  .max_tokens = number(c, "max_new"),
                                  .forced_first = -1,
                                  .attention = 1};
    const struct model_arch *const list[] = {&marian_arch, &t5_arch, NULL};
    int32_t start = at.g.info.target.start, ids[MAX_LEN];
    float want[MAX_LEN * MAX_LEN];
    struct engine *g;
    struct model *m;
    struct job *j;
    struct err e = ERR_INIT;
    int n = 0;

    watch_init(&w);
    if (engine_open(&o, list, &g, &e) || engine_load(g, "m", dir, &e) ||
        engine_model(g, NULL, NULL, &m, &e))
        fail_msg("%s: %s", at.what, e.msg);
    const struct job_spec spec = {
        .model = m,
        .task = &task_beam,
        .params = &p,
        .in = {{.n = 1, .p = &start}, {.n = at.n_source, .p = at.source}},
        .on_event = on_event};
    if (engine_submit(g, &spec, 1, &j, &e))
        fail_msg("%s: %s", at.what, e.msg);
    assert_int_equal(watch_wait(&w, 1), 0);
    if (job_error(j)->code)
        fail_msg("%s: %s", at.what, job_error(j)->msg);
    const struct beam_result *r = beam_result(j);
    int made = golden_ids(json_child(json_get(c, "ids")), ids, MAX_LEN);
    assert_int_equal(r->best[0].n_tokens, made);
    assert_memory_equal(r->best[0].tokens, ids, (size_t)made * sizeof *ids);
    for (const struct json *x = json_child(json_get(c, "attention")); x;
         x = json_next(x), n++)
        assert_int_equal(golden_floats(x, want + n * at.n_source, MAX_LEN),
                         at.n_source);
    assert_int_equal(n, made);
    golden_close(r->attention, want, n * at.n_source, TOLERANCE_SHOWN,
                 "%s: attention", at.what);
    job_release(j);
    model_release(m);
    engine_close(g);
    watch_fini(&w);
}

static int check_shown(const struct json *c)
{
    char path[PATH_BYTES], dir[64], ends[160];

    if (!json_get(c, "attention"))
        return 0;
    snprintf(path, sizeof path, "tests/golden/%s/hf", at.what);
    snprintf(ends, sizeof ends,
             "{\"eos_token_id\":[%d,%d,%d],\"decoder_start_token_id\":%d%s}",
             at.eos[0], at.eos[1], at.eos[2], at.g.info.target.start,
             at.g.info.target.forced_last >= 0 ? ",\"forced_eos_token_id\":0"
                                               : "");
    assert_int_equal(model_dir_letters(path, dir), 0);
    snprintf(path, sizeof path, "%s/generation_config.json", dir);
    assert_int_equal(unlink(path), 0); /* a link to the fixture's */
    temp_file_text(dir, "generation_config.json", ends);
    run_shown(dir, c, 0);
    run_shown(dir, c, 5);
    model_dir_remove(dir);
    return 1;
}

static int check_model(const struct json *sets, int *shown)
{
    struct load_opts o = {.options = &(struct engine_options){.exact = 1}};
    struct err e = ERR_INIT;
    char path[PATH_BYTES];
    int n = 0;

    at.what = json_key(sets);
    snprintf(path, sizeof path, "tests/golden/%s/hf", at.what);
    if (rig_open_with(&at.g, arch_of(at.what), path, "generic", 1, &o, &e))
        fail_msg("%s: %s", at.what, e.msg);
    at.row = mem_floats((size_t)at.g.info.cols[OUT_LOGITS]);
    assert_non_null(at.row);
    for (const struct json *s = json_child(sets); s; s = json_next(s)) {
        at.n_eos = golden_ids(json_get(s, "eos"), at.eos, MAX_ENDS);
        read_source(number(s, "pair"));
        for (const struct json *c = json_child(json_get(s, "cases")); c;
             c = json_next(c), n++) {
            check_case(c);
            *shown += check_shown(c);
        }
    }
    mem_aligned_free(at.row);
    rig_close(&at.g);
    return n;
}

static void test_beam_encdec_finds_what_transformers_finds(void **state)
{
    const struct json_limits lim = {.max_bytes = 1 << 20};
    struct err e = ERR_INIT;
    struct json *j;
    int models = 0, cases = 0, shown = 0;

    (void)state;
    log_configure(LOG_ERROR, 0);
    if (json_load("tests/golden/beam_encdec.json", "beam_encdec.json", &lim, &j,
                  &e))
        fail_msg("%s", e.msg);
    for (const struct json *m = json_child(j); m; m = json_next(m), models++)
        cases += check_model(m, &shown);
    assert_int_equal(models, 12);
    assert_true(cases > 300);
    assert_int_equal(shown, 3);
    json_free(j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_beam_encdec_finds_what_transformers_finds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
