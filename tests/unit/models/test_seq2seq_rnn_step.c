/* A step of a recurrent encoder-decoder: nets large enough that threads share
 * the work, items that are not allowed, forks on one source's pages, and memory
 * that is not there.
 *
 * SPDX-License-Identifier: MIT */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/mem.h"
#include "engine/base/rng.h"
#include "engine/checkpoint/safetensors.h"
#include "models/rnn/seq2seq_rnn.h"
#include "tests/support/arch_rig.h"
#include "tests/support/oom_sweep.h"
#include "tests/support/temp_dir.h"

#define GOLDEN "tests/golden/seq2seq-rnn/"
#define V 40
#define E 24
#define H 96
#define HS 48 /* of each direction */
#define ITEMS 12
#define MOST 200 /* rows of a source */
#define ROWS 6   /* of a target */

static char dir[64];
static struct rig g;

/* --- a larger net --- */

static struct save_tensor tensor[40];
static char name[40][64];
static int n_tensors;
static struct rng rng;

static void add(const char *text, int d0, int d1)
{
    int n = d0 * (d1 ? d1 : 1);
    float *v = mem_floats((size_t)n), scale = 1.5f / sqrtf((float)H);
    assert_non_null(v);
    for (int i = 0; i < n; i++)
        v[i] = scale * ((float)rng_below(&rng, 2001) / 1000.0f - 1.0f);
    snprintf(name[n_tensors], sizeof name[0], "%s", text);
    tensor[n_tensors] = (struct save_tensor){.name = name[n_tensors],
                                             .dtype = DT_F32,
                                             .n_dims = d1 ? 2 : 1,
                                             .dim = {d0, d1},
                                             .data = v};
    n_tensors++;
}

static void add_direction(const char *side, const char *end, int I, int units)
{
    static const char *const part[] = {"weight_ih", "weight_hh", "bias_ih",
                                       "bias_hh"};
    const int cols[] = {I, units, 0, 0};
    for (int k = 0; k < 4; k++) {
        char text[64];
        snprintf(text, sizeof text, "%s.rnn.%s_l0%s", side, part[k], end);
        add(text, 3 * units, cols[k]);
    }
}

/* early: additive, into the decoder; else general, into the output. */
static void make_net(int early)
{
    char text[600], path[100];
    struct err e = ERR_INIT;
    rng_init(&rng, 7);
    n_tensors = 0;
    temp_dir_make(dir);
    snprintf(text, sizeof text,
             "{\"model_type\":\"seq2seq-rnn\",\"cell\":\"gru\","
             "\"source_vocab_size\":%d,\"vocab_size\":%d,\"embedding_dim\":%d,"
             "\"hidden_size\":%d,\"encoder_hidden_size\":%d,"
             "\"bidirectional\":true,\"bridge\":\"tanh\",\"attention\":\"%s\","
             "\"decoder_start_token_id\":1}",
             V, V, E, H, HS, early ? "additive" : "general");
    temp_file_text(dir, "config.json", text);
    add("encoder.embedding.weight", V, E);
    add("decoder.embedding.weight", V, E);
    add_direction("encoder", "", E, HS);
    add_direction("encoder", "_reverse", E, HS);
    add_direction("decoder", "", E + (early ? 2 * HS : 0), H);
    add("bridge.h.0.weight", H, 2 * HS);
    add("attention.key.weight", H, 2 * HS);
    add("output.weight", V, H + 2 * HS);
    if (early) {
        add("attention.query.weight", H, H);
        add("attention.score.weight", 1, H);
    }
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    assert_int_equal(safetensors_save(path, tensor, n_tensors, NULL, 0, &e), 0);
    for (int i = 0; i < n_tensors; i++)
        mem_aligned_free((void *)tensor[i].data);
}

static void open_rig(const char *path, int n_threads)
{
    struct err e = ERR_INIT;
    if (rig_open(&g, &seq2seq_rnn_arch, path, "auto", n_threads, 0, &e))
        fail_msg("%s", e.msg);
}

static int32_t source[ITEMS][MOST], target[ROWS];
static float alone[ITEMS][ROWS * V], row[ITEMS][ROWS * V];
static float shown[2][ROWS * 64];

static struct rig_item item(struct rig_seq *s, int port, const int32_t *ids,
                            int n, float *dst)
{
    struct rig_item it = {.seq = s, .port = port, .ids = ids, .n = n};
    it.n_want = dst != NULL;
    it.want[0] = (struct want){.n = n, .dst = dst, .ld = V};
    return it;
}

static int step(struct rig_item *it, int n)
{
    struct err e = ERR_INIT;
    if (rig_step(&g, it, n, &e))
        fail_msg("%s", e.msg);
    int failed = 0;
    for (int i = 0; i < n; i++)
        failed += it[i].status != 0;
    return failed;
}

static int source_rows(int i)
{
    return MOST - 13 * i;
}

static void run_all(int n_threads, int together, float out[ITEMS][ROWS * V])
{
    struct rig_seq s[ITEMS];
    struct rig_item it[ITEMS];
    open_rig(dir, n_threads);
    for (int i = 0; i < ITEMS; i++)
        assert_int_equal(rig_seq_open(&g, &s[i]), 0);
    for (int port = 1; port >= 0; port--) {
        for (int i = 0; i < ITEMS; i++) {
            it[i] = port ? item(&s[i], 1, source[i], source_rows(i), NULL)
                         : item(&s[i], 0, target, ROWS, out[i]);
            if (!together)
                assert_int_equal(step(&it[i], 1), 0);
        }
        if (together)
            assert_int_equal(step(it, ITEMS), 0);
    }
    for (int i = 0; i < ITEMS; i++)
        rig_seq_close(&s[i]);
    rig_close(&g);
}

static void check_threads(int early)
{
    make_net(early);
    for (int i = 0; i < ITEMS; i++)
        for (int k = 0; k < MOST; k++)
            source[i][k] = (int32_t)rng_below(&rng, V);
    for (int k = 0; k < ROWS; k++)
        target[k] = (int32_t)rng_below(&rng, V);
    run_all(1, 0, alone);
    for (int threads = 1; threads <= 3; threads++) {
        memset(row, 0, sizeof row);
        run_all(threads, 1, row);
        assert_memory_equal(alone, row, sizeof row);
        run_all(threads, 0, row);
        assert_memory_equal(alone, row, sizeof row);
    }
    assert_memory_not_equal(alone[0], alone[1], sizeof alone[0]);
    temp_dir_drop(dir);
}

static void test_step_keeps_the_bits_with_any_thread_count(void **state)
{
    (void)state;
    check_threads(0);
    check_threads(1);
}

/* --- what is not allowed --- */

/* Of the small nets, whose logits have 23 columns. */
static void same_rows(const float *a, const float *b, int n)
{
    for (int k = 0; k < n; k++)
        assert_memory_equal(a + k * V, b + k * V, 23 * sizeof *a);
}

static void check_refusals(const char *path, int attends)
{
    static const int32_t ids[] = {3, 4, 5}, beyond[] = {3, 23}, low[] = {-1};
    struct rig_seq s[3];
    struct rig_item it[3];
    open_rig(path, 1);
    for (int i = 0; i < 3; i++)
        assert_int_equal(rig_seq_open(&g, &s[i]), 0);
    it[0] = item(&s[0], 1, ids, 3, NULL);
    it[1] = item(&s[1], 0, ids, 3, row[0]); /* without a source */
    it[2] = item(&s[2], 1, beyond, 2, NULL);
    assert_int_equal(step(it, 3), 2);
    assert_int_equal(it[0].status, 0);
    assert_int_equal(it[1].fail, ERR_INVALID);
    it[0] = item(&s[0], 1, ids, 3, NULL); /* a second source */
    it[1] = item(&s[1], 1, ids, 0, NULL); /* an empty one */
    it[2] = item(&s[2], 1, low, 1, NULL);
    assert_int_equal(step(it, 3), 3);
    it[1] = item(&s[1], 1, ids, 3, NULL);
    it[2] = item(&s[2], 1, ids, 3, NULL);
    assert_int_equal(step(it + 1, 2), 0);
    it[0] = item(&s[0], 0, ids, 3, row[0]);
    it[1] = item(&s[1], 0, beyond, 2, row[1]);
    it[2] = item(&s[2], 0, ids, 3, row[2]);
    it[2].want[0].kind = OUT_CLASS;
    assert_int_equal(step(it, 3), 2);
    assert_int_equal(it[0].status, 0);
    it[2].want[0].kind = OUT_ATTENTION;
    it[2].want[0].dst = shown[0];
    assert_int_equal(step(it + 2, 1), !attends);
    it[1] = item(&s[1], 0, ids, 0, NULL); /* nothing, of which nothing comes */
    it[2] = item(&s[1], 0, ids, 3, row[1]);
    assert_int_equal(step(it + 1, 1), 0);
    assert_int_equal(step(it + 2, 1), 0);
    same_rows(row[0], row[1], 3);
    for (int i = 0; i < 3; i++)
        rig_seq_close(&s[i]);
    rig_close(&g);
}

static void test_step_fails_single_items_that_are_not_allowed(void **state)
{
    (void)state;
    check_refusals(GOLDEN "gru-none", 0);
    check_refusals(GOLDEN "lstm-dot", 1);
    check_refusals(GOLDEN "gru-additive-bi", 1);
}

/* --- forks --- */

/* Two targets on the pages of one source, from a copy of its state. */
static void check_forks(const char *path)
{
    static const int32_t ids[] = {3, 4, 5, 6, 7, 8, 9, 10, 11, 12,
                                  3, 3, 5, 6, 7, 8, 9, 10, 2};
    struct rig_seq a, b;
    struct rig_item it[2];
    open_rig(path, 1);
    assert_int_equal(rig_seq_open(&g, &a) | rig_seq_open(&g, &b), 0);
    it[0] = item(&a, 1, ids, 19, NULL);
    assert_int_equal(step(it, 1), 0);
    b.state.len[PORT_SOURCE] = 19;
    b.state.pages[PORT_SOURCE] = a.page[PORT_SOURCE];
    memcpy(b.fixed[0], a.fixed[0], g.info.state.fixed_bytes);
    it[0] = item(&a, 0, ids, ROWS, row[0]);
    assert_int_equal(step(it, 1), 0);
    it[0] = item(&b, 0, ids, 2, row[1]);
    it[1] = item(&a, 0, ids, 2, row[2]);
    assert_int_equal(step(it, 2), 0);
    it[0] = item(&b, 0, ids + 2, ROWS - 2, row[1] + 2 * V);
    assert_int_equal(step(it, 1), 0);
    same_rows(row[0], row[1], ROWS);
    rig_seq_close(&a);
    rig_seq_close(&b);
    rig_close(&g);
}

static void test_step_forks_share_the_pages_of_a_source(void **state)
{
    (void)state;
    check_forks(GOLDEN "lstm-dot");
    check_forks(GOLDEN "gru-additive-bi");
    check_forks(GOLDEN "gru-none");
}

/* --- memory --- */

static int load_once(void *arg, struct err *e)
{
    struct rig r;
    if (rig_open(&r, &seq2seq_rnn_arch, arg, "auto", 1, (size_t)1 << 20, e))
        return -1;
    rig_close(&r);
    return 0;
}

static void test_load_reports_each_lack_of_memory(void **state)
{
    static char path[] = GOLDEN "lstm-additive-bi-2-combine";
    (void)state;
    assert_true(oom_sweep(load_once, path) > 40);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_step_keeps_the_bits_with_any_thread_count),
        cmocka_unit_test(test_step_fails_single_items_that_are_not_allowed),
        cmocka_unit_test(test_step_forks_share_the_pages_of_a_source),
        cmocka_unit_test(test_load_reports_each_lack_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
