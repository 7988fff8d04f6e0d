/* Decoders with a head for labels against what transformers says about the
 * same weights (tests/golden/decoder_class/, make_class_fixtures.py): the raw
 * scores of the last token that is not padding, for each kernel family; and
 * the bits are the same in chunks, in company and on several threads.
 *
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/file.h"
#include "engine/base/json.h"
#include "engine/base/mem.h"
#include "models/transformer/archs.h"
#include "tests/support/arch_rig.h"
#include "tests/support/golden.h"
#include "tests/support/model_dir.h"

/* fp32 sums of up to 50 terms in another order, over two layers. */
#define TOLERANCE 1e-5
#define GOLDEN "tests/golden/decoder_class/"
#define MAX_SEQS 8
#define MAX_LEN 48
#define LD 16

static const struct label_case {
    const char *name;
    const struct model_arch *arch;
    int labels;
    enum score_kind scores;
    int padding; /* id, -1: none */
} cases[] = {
    {"gpt2-class", &gpt2_arch, 3, SCORE_SOFTMAX, -1},
    {"llama-class", &llama_arch, 3, SCORE_SOFTMAX, 5},
    {"mistral-class-one-bf16", &llama_arch, 1, SCORE_SIGMOID, 5},
    {"qwen2-class-many", &llama_arch, 3, SCORE_SIGMOID, 5},
    {"gemma3-class", &gemma3_arch, 2, SCORE_SOFTMAX, 0},
    {"gpt_neox-class", &gpt_neox_arch, 3, SCORE_SOFTMAX, 5},
    {"qwen3-class", &qwen3_arch, 3, SCORE_SOFTMAX, 0},
    {"phi3-class", &phi3_arch, 3, SCORE_SOFTMAX, 5},
    {"smollm3-class", &llama_arch, 3, SCORE_SOFTMAX, 5},
};
#define N_CASES ((int)(sizeof cases / sizeof *cases))

static struct {
    const struct label_case *c;
    int32_t ids[MAX_SEQS][MAX_LEN];
    int n[MAX_SEQS], n_seq;
    float want[MAX_SEQS][LD];
    float alone[MAX_SEQS][LD];
} t;

static void open_fixture(const struct label_case *c)
{
    struct json_limits lim = {.max_bytes = 1 << 20};
    struct err e = ERR_INIT;
    struct json *j;
    char path[200];

    snprintf(path, sizeof path, GOLDEN "%s/expected.json", c->name);
    if (json_load(path, "expected.json", &lim, &j, &e))
        fail_msg("%s: %s", c->name, e.msg);
    t.c = c;
    t.n_seq = 0;
    for (const struct json *x = json_child(json_get(j, "sequences")); x;
         x = json_next(x)) {
        int i = t.n_seq++;

        assert_true(i < MAX_SEQS);
        t.n[i] = golden_ids(json_get(x, "ids"), t.ids[i], MAX_LEN);
        assert_int_equal(golden_floats(json_get(x, "class"), t.want[i], LD),
                         c->labels);
    }
    assert_int_equal(t.n_seq, MAX_SEQS);
    json_free(j);
}

static void open_rig(struct rig *g, const char *kernels, int threads)
{
    struct err e = ERR_INIT;
    char path[200];

    snprintf(path, sizeof path, GOLDEN "%s", t.c->name);
    if (rig_open(g, t.c->arch, path, kernels, threads, 0, &e))
        fail_msg("%s: %s", t.c->name, e.msg);
    assert_int_equal(g->info.cols[OUT_CLASS], t.c->labels);
    assert_int_equal(g->info.cols[OUT_LOGITS], 0);
    assert_int_equal(g->info.scores, t.c->scores);
    assert_int_equal(g->info.class_padding, t.c->padding + 1);
}

/* The token whose row has the scores. */
static int last_of(int i)
{
    int last = t.n[i] - 1;

    while (last > 0 && t.ids[i][last] == t.c->padding)
        last--;
    return last;
}

static void step(struct rig *g, struct rig_item *it, int n)
{
    struct err e = ERR_INIT;

    if (rig_step(g, it, n, &e))
        fail_msg("%s: %s", t.c->name, e.msg);
    for (int i = 0; i < n; i++)
        assert_int_equal(it[i].status, 0);
}

/* One sequence, `chunk` tokens at a time, until its scores are there. */
static void run_alone(struct rig *g, int i, int chunk, float *got)
{
    struct rig_seq q;

    assert_int_equal(rig_seq_open(g, &q), 0);
    for (int at = 0; at <= last_of(i); at += chunk) {
        int left = t.n[i] - at, n = left < chunk ? left : chunk;
        struct rig_item it = {.seq = &q, .ids = t.ids[i] + at, .n = n};

        it.n_want = at + n > last_of(i);
        it.want[0] = (struct want){OUT_CLASS, n - 1, 1, got, LD};
        step(g, &it, 1);
    }
    rig_seq_close(&q);
}

static void check_chunks(struct rig *g)
{
    static const int chunks[] = {1, 7, 16};

    for (int i = 0; i < t.n_seq; i++) {
        for (int c = 0; c < 3; c++) {
            float got[LD] = {0};

            run_alone(g, i, chunks[c], got);
            golden_same(got, t.alone[i], (size_t)t.c->labels,
                        "%s: sequence %d in chunks of %d", t.c->name, i,
                        chunks[c]);
        }
    }
}

static void check_company(const char *kernels, int threads)
{
    float got[MAX_SEQS][LD] = {{0}};
    struct rig_item it[MAX_SEQS];
    struct rig_seq q[MAX_SEQS];
    struct rig g;

    open_rig(&g, kernels, threads);
    memset(it, 0, sizeof it);
    for (int k = 0; k < t.n_seq; k++) {
        int i = t.n_seq - 1 - k;

        assert_int_equal(rig_seq_open(&g, &q[k]), 0);
        it[k] = (struct rig_item){
            .seq = &q[k], .ids = t.ids[i], .n = t.n[i], .n_want = 1};
        it[k].want[0] = (struct want){OUT_CLASS, 0, 1, got[i], LD};
    }
    step(&g, it, t.n_seq);
    for (int i = 0; i < t.n_seq; i++) {
        golden_same(got[i], t.alone[i], (size_t)t.c->labels,
                    "%s: sequence %d in company", t.c->name, i);
        rig_seq_close(&q[i]);
    }
    rig_close(&g);
}

static void check_case(void **state)
{
    const struct kernels *k;

    open_fixture(*state);
    for (int f = 0; (k = kernels_available(f)) != NULL; f++) {
        struct rig g;

        open_rig(&g, k->name, 1);
        for (int i = 0; i < t.n_seq; i++) {
            run_alone(&g, i, MAX_LEN, t.alone[i]);
            golden_close(t.alone[i], t.want[i], t.c->labels, TOLERANCE,
                         "%s (%s): sequence %d", t.c->name, k->name, i);
        }
        check_chunks(&g);
        rig_close(&g);
        for (int threads = 1; threads <= 3; threads++)
            check_company(k->name, threads);
    }
}

/* What padding is where config.json says nothing is the class's in
 * transformers; where it says null there is none. */
static void test_padding_that_no_file_names_is_the_class_default(void **state)
{
    static const struct {
        const char *name;
        const struct model_arch *arch;
        const char *was, *instead;
        int padding; /* 1 + id */
    } rows[] = {
        {"gemma3-class", &gemma3_arch, "0", "\"pad_token_id\": 7", 8},
        {"gemma3-class", &gemma3_arch, "0", "\"x\": 7", 1},
        {"gemma3-class", &gemma3_arch, "0", "\"pad_token_id\": null", 0},
        {"gemma3-class", &gemma3_arch, "0", "\"pad_token_id\": -1", 0},
        {"llama-class", &llama_arch, "5", "\"x\": 7", 0},
        {"qwen2-class-many", &llama_arch, "5", "\"x\": 7", 0},
        {"phi3-class", &phi3_arch, "5", "\"x\": 7", 32001},
        {"phi3-class", &phi3_arch, "5", "\"pad_token_id\": null", 0},
        {"smollm3-class", &llama_arch, "5", "\"x\": 7", 128005},
        {"smollm3-class", &llama_arch, "5", "\"pad_token_id\": null", 0}};
    (void)state;

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char path[200], dir[64], was[40], *text, *at;
        struct err e = ERR_INIT;
        struct buf b;
        struct rig g;
        size_t n;

        snprintf(path, sizeof path, GOLDEN "%s/config.json", rows[i].name);
        assert_int_equal(file_read(path, path, 1 << 16, &text, &n, &e), 0);
        snprintf(was, sizeof was, "\"pad_token_id\": %s", rows[i].was);
        at = memmem(text, n, was, strlen(was));
        assert_non_null(at);
        buf_init(&b, 1 << 16);
        buf_add(&b, text, (size_t)(at - text));
        buf_add_str(&b, rows[i].instead);
        at += strlen(was);
        buf_add(&b, at, (size_t)(text + n - at));
        snprintf(path, sizeof path, GOLDEN "%s", rows[i].name);
        assert_int_equal(model_dir_config(path, &b, dir), 0);
        if (rig_open(&g, rows[i].arch, dir, "generic", 1, 0, &e))
            fail_msg("%s, %s: %s", rows[i].name, rows[i].instead, e.msg);
        if (g.info.class_padding != rows[i].padding)
            fail_msg("%s, %s: padding %d, expected %d", rows[i].name,
                     rows[i].instead, g.info.class_padding, rows[i].padding);
        rig_close(&g);
        model_dir_remove(dir);
        buf_fini(&b);
        mem_free(text);
    }
}

int main(void)
{
    struct CMUnitTest tests[N_CASES + 1] = {
        [N_CASES] = cmocka_unit_test(
            test_padding_that_no_file_names_is_the_class_default)};

    for (int i = 0; i < N_CASES; i++) {
        tests[i].name = cases[i].name;
        tests[i].test_func = check_case;
        tests[i].initial_state = (void *)&cases[i];
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
