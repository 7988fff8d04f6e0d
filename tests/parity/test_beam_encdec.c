/* Beam search over encoder-decoders against that of transformers on the same
 * weights (tests/golden/beam_encdec.json, make_beam_encdec_fixtures.py): ids,
 * ends and scores of all hypotheses, greedy with one beam, with what the
 * checkpoints force and forbid. The fixtures have no tokenizers, so the search
 * reads rows of the architecture itself; what the engine makes of beams is in
 * test_beam.c and test_task_beam.c.
 *
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "engine/base/json.h"
#include "engine/base/mem.h"
#include "engine/run/beam_search.h"
#include "models/transformer/archs.h"
#include "tests/support/arch_rig.h"
#include "tests/support/golden.h"
#include "tests/support/unit.h"

/* fp32 logits of size 5 in another order of sums, and a sum of 12 of them. */
#define TOLERANCE 2e-5
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
    const struct beam_rules r = {.beams = number(c, "beams"),
                                 .max_new = number(c, "max_new"),
                                 .length_penalty =
                                     json_number(json_get(c, "penalty")),
                                 .stop = stop_of(json_get(c, "early")),
                                 .n_vocab = at.g.info.cols[OUT_LOGITS],
                                 .forbid = t->never,
                                 .n_forbid = t->n_never,
                                 .end = at.eos,
                                 .n_end = at.n_eos,
                                 .forced_first = t->forced_first,
                                 .forced_last = t->forced_last};
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

static int check_model(const struct json *sets)
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
             c = json_next(c), n++)
            check_case(c);
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
    int models = 0, cases = 0;

    (void)state;
    if (json_load("tests/golden/beam_encdec.json", "beam_encdec.json", &lim, &j,
                  &e))
        fail_msg("%s", e.msg);
    for (const struct json *m = json_child(j); m; m = json_next(m), models++)
        cases += check_model(m);
    assert_int_equal(models, 11);
    assert_true(cases > 150);
    json_free(j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_beam_encdec_finds_what_transformers_finds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
