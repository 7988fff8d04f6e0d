/* Encoders against Hugging Face transformers, on the checkpoints of
 * tests/golden/bert/ (make_bert_fixtures.py): last hidden states, logits,
 * scores of labels, sentence embeddings and attention, for each kernel family
 * that runs here; and the bits are the same alone or in company, on one thread
 * or several.
 *
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/json.h"
#include "engine/base/mem.h"
#include "models/transformer/archs.h"
#include "tests/support/arch_rig.h"
#include "tests/support/golden.h"

/* fp32 sums of up to 70 terms in another order than PyTorch's; its own
 * distance to float64 is up to 5e-6 ("f64" in expected.json). */
#define TOLERANCE 1e-5
#define GOLDEN "tests/golden/bert/"
#define MAX_SEQS 8
#define MAX_LEN 40
#define WIDTH 24
#define MAX_COLS 304 /* a multiple of 16 */
#define SHOWN 17
#define LAYERS 2
#define HEADS 2

struct expected {
    int32_t ids[MAX_LEN];
    int n;
    float hidden[MAX_LEN * WIDTH];
    float out[MAX_LEN * MAX_COLS]; /* logits, scores or the embedding */
    int n_out;
    float attention[LAYERS * HEADS * SHOWN * SHOWN];
    int n_attention;
};

/* Outputs of one sequence. */
struct got {
    float hidden[MAX_LEN * 32];
    float out[MAX_LEN * MAX_COLS];
    float attention[LAYERS * HEADS * SHOWN * SHOWN];
};

static struct {
    char dir[512];
    const char *name;
    struct expected seq[MAX_SEQS];
    int n_seq;
    struct golden_names names;
    struct got got[2 * MAX_SEQS], alone[MAX_SEQS];
} t;

static void read_sequence(const struct json *j, struct expected *s)
{
    static const char *const outs[] = {"logits", "class", "pooled"};
    s->n = golden_ids(json_get(j, "ids"), s->ids, MAX_LEN);
    s->n_out = 0;
    assert_int_equal(
        golden_floats(json_get(j, "hidden"), s->hidden, MAX_LEN * WIDTH),
        s->n * WIDTH);
    for (int i = 0; i < 3 && !s->n_out; i++)
        s->n_out =
            golden_floats(json_get(j, outs[i]), s->out, MAX_LEN * MAX_COLS);
    assert_true(s->n_out > 0);
    s->n_attention = golden_floats(json_get(j, "attention"), s->attention,
                                   LAYERS * HEADS * SHOWN * SHOWN);
}

static void open_fixture(const char *name)
{
    struct json_limits lim = {.max_bytes = 1 << 22};
    struct err e = ERR_INIT;
    struct json *j;
    char path[600];
    snprintf(t.dir, sizeof t.dir, GOLDEN "%s", name);
    snprintf(path, sizeof path, "%s/expected.json", t.dir);
    if (json_load(path, "expected.json", &lim, &j, &e))
        fail_msg("%s: %s", name, e.msg);
    t.name = name;
    t.n_seq = 0;
    for (const struct json *x = json_child(json_get(j, "sequences")); x;
         x = json_next(x)) {
        assert_true(t.n_seq < MAX_SEQS);
        read_sequence(x, &t.seq[t.n_seq++]);
    }
    assert_true(t.n_seq > 3);
    json_free(j);
}

static void open_rig(struct rig *g, const char *family, int n_threads)
{
    struct err e = ERR_INIT;
    if (rig_open(g, &bert_arch, t.dir, family, n_threads, 0, &e))
        fail_msg("%s: %s", t.name, e.msg);
}

static enum out kind_of(const struct rig *g)
{
    return g->info.cols[OUT_LOGITS]  ? OUT_LOGITS
           : g->info.cols[OUT_CLASS] ? OUT_CLASS
                                     : OUT_POOLED;
}

static int columns(const struct rig *g)
{
    return g->info.cols[OUT_LOGITS]  ? g->info.cols[OUT_LOGITS]
           : g->info.cols[OUT_CLASS] ? g->info.cols[OUT_CLASS]
                                     : g->info.cols[OUT_HIDDEN];
}

/* All outputs of the sequences order[0..n) in one step into got[]. `show`: the
 * attention instead of the hidden states. */
static void step(struct rig *g, const int *order, int n, int show,
                 struct got *got)
{
    struct rig_item it[2 * MAX_SEQS];
    struct rig_seq q[2 * MAX_SEQS];
    struct err e = ERR_INIT;
    memset(it, 0, sizeof it);
    for (int i = 0; i < n; i++) {
        const struct expected *s = &t.seq[order[i]];
        assert_int_equal(rig_seq_open(g, &q[i]), 0);
        it[i] = (struct rig_item){
            .seq = &q[i],
            .ids = s->ids,
            .n = s->n,
            .n_want = 2,
            .want = {{.kind = kind_of(g),
                      .n = s->n,
                      .dst = got[i].out,
                      .ld = MAX_COLS},
                     {.kind = show ? OUT_ATTENTION : OUT_HIDDEN,
                      .n = s->n,
                      .dst = show ? got[i].attention : got[i].hidden,
                      .ld = 32}}};
    }
    if (rig_step(g, it, n, &e))
        fail_msg("%s: %s", t.name, e.msg);
    for (int i = 0; i < n; i++) {
        assert_int_equal(it[i].status, 0);
        rig_seq_close(&q[i]);
    }
}

static void check_outputs(const struct rig *g, int i, const struct got *got)
{
    const struct expected *s = &t.seq[i];
    int cols = columns(g), rows = s->n_out / cols;
    assert_int_equal(rows * cols, s->n_out);
    for (int r = 0; r < rows; r++)
        golden_close(got->out + (size_t)r * MAX_COLS,
                     s->out + (size_t)r * (size_t)cols, cols, TOLERANCE,
                     "%s: sequence %d: out", t.name, i);
    for (int r = 0; r < s->n; r++)
        golden_close(got->hidden + (size_t)r * 32,
                     s->hidden + (size_t)r * WIDTH, WIDTH, TOLERANCE,
                     "%s: sequence %d: hidden", t.name, i);
}

/* --- tests --- */

static void each_fixture(void (*fn)(void))
{
    assert_true(t.names.n > 10);
    for (int i = 0; i < t.names.n; i++) {
        open_fixture(t.names.name[i]);
        fn();
    }
}

static void outputs(void)
{
    const struct kernels *k;
    for (int i = 0; (k = kernels_available(i)) != NULL; i++) {
        struct rig g;
        open_rig(&g, k->name, 1);
        assert_int_equal(g.info.cols[OUT_HIDDEN], WIDTH);
        for (int s = 0; s < t.n_seq; s++) {
            step(&g, &s, 1, 0, &t.got[0]);
            check_outputs(&g, s, &t.got[0]);
        }
        rig_close(&g);
    }
}

static void test_bert_equals_transformers(void **state)
{
    (void)state;
    each_fixture(outputs);
}

static void attention(void)
{
    struct rig g;
    int seen = 0;
    open_rig(&g, "auto", 1);
    assert_int_equal(g.info.n_layers, LAYERS);
    assert_int_equal(g.info.n_heads, HEADS);
    for (int s = 0; s < t.n_seq; s++) {
        int n = t.seq[s].n;
        if (!t.seq[s].n_attention)
            continue;
        assert_int_equal(t.seq[s].n_attention, LAYERS * HEADS * n * n);
        step(&g, &s, 1, 1, &t.got[0]);
        golden_close(t.got[0].attention, t.seq[s].attention,
                     LAYERS * HEADS * n * n, TOLERANCE,
                     "%s: sequence %d: attention", t.name, s);
        seen++;
    }
    assert_true(seen > 2);
    rig_close(&g);
}

static void test_bert_attention_equals_transformers(void **state)
{
    (void)state;
    each_fixture(attention);
}

static void company(void)
{
    static const int order[] = {5, 0, 3, 3, 1, 4, 2, 5, 0, 2};
    const struct kernels *k;
    int n = (int)(sizeof order / sizeof *order);
    for (int i = 0; (k = kernels_available(i)) != NULL; i++) {
        struct rig g;
        memset(t.alone, 0, sizeof t.alone);
        open_rig(&g, k->name, 1);
        for (int s = 0; s < t.n_seq; s++)
            step(&g, &s, 1, 0, &t.alone[s]);
        rig_close(&g);
        for (int threads = 1; threads <= 3; threads++) {
            memset(t.got, 0, sizeof t.got);
            open_rig(&g, k->name, threads);
            step(&g, order, n, 0, t.got);
            rig_close(&g);
            for (int j = 0; j < n; j++) {
                const struct got *a = &t.alone[order[j]];
                golden_same(t.got[j].hidden, a->hidden, MAX_LEN * 32,
                            "%s: sequence %d: hidden", t.name, order[j]);
                golden_same(t.got[j].out, a->out, MAX_LEN * MAX_COLS,
                            "%s: sequence %d: out", t.name, order[j]);
            }
        }
    }
}

static void test_bert_bits_do_not_depend_on_company_or_threads(void **state)
{
    (void)state;
    each_fixture(company);
}

static int list_fixtures(void **state)
{
    (void)state;
    return golden_names(GOLDEN, &t.names);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bert_equals_transformers),
        cmocka_unit_test(test_bert_attention_equals_transformers),
        cmocka_unit_test(test_bert_bits_do_not_depend_on_company_or_threads),
    };
    return cmocka_run_group_tests(tests, list_fixtures, NULL);
}
