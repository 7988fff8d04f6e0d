/* The step of recurrent nets: the same bits with any number of threads, rows
 * and chunks; a bad item fails alone.
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
#include "models/rnn/rnn.h"
#include "tests/support/arch_rig.h"
#include "tests/support/rnn_random.h"

#define MAX_ITEMS 64
#define MAX_LEN 40
#define MAX_OUT 320

/* Shapes big enough that a step is worth more than one thread. */
static const struct rnn_shape lm_lstm = {
    .cell = "lstm", .V = 300, .E = 40, .H = 100, .L = 2, .D = 1};
static const struct rnn_shape lm_gru_projection = {
    .cell = "gru", .V = 130, .E = 33, .H = 112, .L = 1, .D = 1, .P = 21};
static const struct rnn_shape class_mean = {.cell = "lstm",
                                            .V = 90,
                                            .E = 30,
                                            .H = 96,
                                            .L = 1,
                                            .D = 1,
                                            .classifier = 1,
                                            .C = 3,
                                            .pooling = "mean",
                                            .bf16 = 1};
static const struct rnn_shape class_max = {.cell = "elman",
                                           .nonlinearity = "relu",
                                           .V = 90,
                                           .E = 70,
                                           .H = 180,
                                           .L = 2,
                                           .D = 1,
                                           .classifier = 1,
                                           .C = 2,
                                           .pooling = "max"};
static const struct rnn_shape lm_shrunk = {
    .cell = "lstm", .V = 200, .E = 40, .H = 150, .L = 2, .D = 1, .R = 35};
static const struct rnn_shape class_bi_shrunk = {.cell = "lstm",
                                                 .V = 90,
                                                 .E = 30,
                                                 .H = 100,
                                                 .L = 2,
                                                 .D = 2,
                                                 .R = 20,
                                                 .classifier = 1,
                                                 .C = 3,
                                                 .pooling = "max"};
static const struct rnn_shape class_bi = {.cell = "gru",
                                          .V = 90,
                                          .E = 30,
                                          .H = 70,
                                          .L = 2,
                                          .D = 2,
                                          .classifier = 1,
                                          .C = 4,
                                          .pooling = "last"};
/* Words of 8 bits, multiplied by rounded states, and by projected ones. */
static const struct rnn_shape lm_eight = {
    .cell = "lstm", .V = 300, .E = 40, .H = 96, .L = 1, .D = 1, .eight = 1};
static const struct rnn_shape lm_eight_projection = {.cell = "gru",
                                                     .V = 130,
                                                     .E = 33,
                                                     .H = 80,
                                                     .L = 1,
                                                     .D = 1,
                                                     .P = 64,
                                                     .eight = 1};
static const struct rnn_shape *const shapes[] = {
    &lm_lstm,   &lm_gru_projection, &class_mean,
    &class_max, &lm_shrunk,         &class_bi_shrunk,
    &class_bi,  &lm_eight,          &lm_eight_projection};
struct work {
    struct rig g;
    struct rig_seq seq[MAX_ITEMS];
    struct rig_item it[MAX_ITEMS];
    float out[MAX_ITEMS][2 * MAX_OUT];
};

static struct work a, b;
static int32_t ids[MAX_ITEMS][MAX_LEN];
static int len[MAX_ITEMS];
static char dir[64];

static void make_inputs(int V)
{
    unsigned s = 12345;
    for (int i = 0; i < MAX_ITEMS; i++) {
        for (int k = 0; k < MAX_LEN; k++) {
            s = s * 1664525u + 1013904223u;
            ids[i][k] = (int32_t)((s >> 8) % (unsigned)V);
        }
        len[i] = 1 + (i * 7) % MAX_LEN;
    }
}

static void open_work(struct work *w, int n_threads, size_t fold_bytes)
{
    struct err e = ERR_INIT;
    if (rig_open(&w->g, &rnn_arch, dir, "auto", n_threads, fold_bytes, &e))
        fail_msg("%s", e.msg);
    for (int i = 0; i < MAX_ITEMS; i++)
        assert_int_equal(rig_seq_open(&w->g, &w->seq[i]), 0);
}

static void close_work(struct work *w)
{
    for (int i = 0; i < MAX_ITEMS; i++)
        rig_seq_close(&w->seq[i]);
    rig_close(&w->g);
}

/* Item i: n tokens from `from`; it wants its last row and its last state. */
static void set_item(struct work *w, int i, int from, int n)
{
    struct rig_item *it = &w->it[i];
    int class = w->g.info.cols[OUT_CLASS] > 0;
    memset(it, 0, sizeof *it);
    it->seq = &w->seq[i];
    it->ids = ids[i] + from;
    it->n = n;
    it->n_want = 2;
    it->want[0] = (struct want){.kind = class ? OUT_CLASS : OUT_LOGITS,
                                .from = n - 1,
                                .n = 1,
                                .dst = w->out[i],
                                .ld = MAX_OUT};
    it->want[1] = (struct want){.kind = class ? OUT_POOLED : OUT_HIDDEN,
                                .from = n - 1,
                                .n = 1,
                                .dst = w->out[i] + MAX_OUT,
                                .ld = MAX_OUT};
}

static void step(struct work *w, int first, int n)
{
    struct err e = ERR_INIT;
    if (rig_step(&w->g, w->it + first, n, &e))
        fail_msg("%s", e.msg);
}

/* All items one by one with one thread, each whole. */
static void run_alone(struct work *w, int n)
{
    for (int i = 0; i < n; i++) {
        rig_seq_clear(&w->g, &w->seq[i]);
        set_item(w, i, 0, len[i]);
        step(w, i, 1);
        assert_int_equal(w->it[i].status, 0);
    }
}

static void expect_equal(const char *what, int n)
{
    int cols = a.g.info.cols[OUT_CLASS] ? a.g.info.cols[OUT_CLASS]
                                        : a.g.info.cols[OUT_LOGITS];
    size_t bytes = (size_t)cols * sizeof(float);
    for (int i = 0; i < n; i++) {
        if (b.it[i].status)
            fail_msg("%s: item %d failed", what, i);
        if (memcmp(a.out[i], b.out[i], bytes) ||
            memcmp(a.out[i] + MAX_OUT, b.out[i] + MAX_OUT,
                   (size_t)a.g.info.cols[OUT_HIDDEN] * sizeof(float)))
            fail_msg("%s: outputs of item %d of %d differ", what, i, n);
        if (memcmp(a.seq[i].fixed[0], b.seq[i].fixed[0],
                   a.g.info.state.fixed_bytes))
            fail_msg("%s: state of item %d of %d differs", what, i, n);
    }
}

static void open_shape(const struct rnn_shape *s)
{
    assert_int_equal(rnn_random_write(s, 7, dir), 0);
    make_inputs(s->V);
}

static void test_step_threads_and_batches_keep_the_bits(void **state)
{
    static const int sizes[] = {1, 2, 5, 16, 33, MAX_ITEMS};
    char what[64];
    (void)state;
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        open_shape(shapes[s]);
        open_work(&a, 1, 0);
        run_alone(&a, MAX_ITEMS);
        for (int threads = 1; threads <= 4; threads++) {
            open_work(&b, threads, 0);
            for (int k = 0; k < 6; k++) {
                for (int i = 0; i < sizes[k]; i++) {
                    rig_seq_clear(&b.g, &b.seq[i]);
                    set_item(&b, i, 0, len[i]);
                }
                step(&b, 0, sizes[k]);
                snprintf(what, sizeof what, "shape %d, %d threads", (int)s,
                         threads);
                expect_equal(what, sizes[k]);
            }
            close_work(&b);
        }
        close_work(&a);
        rnn_random_remove(dir);
    }
}

/* Chunks of changing size in changing company, with decoding steps between,
 * and folded rows appearing for some of the tokens. */
static void test_step_chunks_in_company_keep_the_bits(void **state)
{
    (void)state;
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        if (shapes[s]->D == 2)
            continue; /* comes in one piece */
        int at[MAX_ITEMS] = {0}, left = 1;
        open_shape(shapes[s]);
        open_work(&a, 1, 0);
        run_alone(&a, MAX_ITEMS);
        open_work(&b, 2, (size_t)1 << 16);
        for (int round = 0; left; round++) {
            struct rig_item list[MAX_ITEMS];
            struct err e = ERR_INIT;
            int n = 0, item[MAX_ITEMS];
            for (int i = 0; i < MAX_ITEMS; i++) {
                int most = len[i] - at[i];
                int want = (i + round) % 4 == 0 ? 1 : 1 + (i * round) % 16;
                if (!most || (i + round) % 5 == 0)
                    continue;
                set_item(&b, i, at[i], want < most ? want : most);
                item[n] = i;
                list[n++] = b.it[i];
            }
            assert_int_equal(rig_step(&b.g, list, n, &e), 0);
            left = 0;
            for (int k = 0; k < n; k++) {
                b.it[item[k]].status = list[k].status;
                at[item[k]] += list[k].n;
            }
            for (int i = 0; i < MAX_ITEMS; i++)
                left += len[i] - at[i];
        }
        expect_equal("chunks", MAX_ITEMS);
        close_work(&a);
        close_work(&b);
        rnn_random_remove(dir);
    }
}

/* Rows that do not lie at equal distances take the tiled way. */
static void check_scattered(const struct rnn_shape *s)
{
    struct err e = ERR_INIT;
    float *far = mem_floats(MAX_ITEMS * 3 * 512);
    assert_non_null(far);
    open_shape(s);
    open_work(&a, 1, 0);
    assert_int_equal(a.g.info.fast, s->eight);
    open_work(&b, 2, 0);
    run_alone(&a, MAX_ITEMS);
    for (int i = 0; i < MAX_ITEMS; i++) {
        set_item(&b, i, 0, len[i]);
        b.it[i].want[0].dst = far + (i * 3 + i % 2) * 512;
    }
    assert_int_equal(rig_step(&b.g, b.it, MAX_ITEMS, &e), 0);
    for (int i = 0; i < MAX_ITEMS; i++)
        memcpy(b.out[i], b.it[i].want[0].dst, (size_t)s->V * sizeof(float));
    expect_equal("scattered", MAX_ITEMS);
    close_work(&a);
    close_work(&b);
    rnn_random_remove(dir);
    mem_aligned_free(far);
}

static void test_step_scattered_rows_keep_the_bits(void **state)
{
    (void)state;
    check_scattered(&lm_lstm);
    check_scattered(&lm_eight);
}

/* Overwrite one number of the embedding, the first tensor of the file. */
static void poison(int row, int E, float value)
{
    unsigned char n[8];
    char path[128];
    uint64_t header = 0;
    FILE *f;
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fread(n, 1, 8, f), 8);
    for (int i = 7; i >= 0; i--)
        header = header << 8 | n[i];
    assert_int_equal(fseek(f, (long)(8 + header) + row * E * 4L, SEEK_SET), 0);
    assert_int_equal(fwrite(&value, sizeof value, 1, f), 1);
    assert_int_equal(fclose(f), 0);
}

static void test_step_row_that_is_not_finite_fails_alone(void **state)
{
    static const float values[] = {NAN, INFINITY};
    (void)state;
    for (int v = 0; v < 2; v++) {
        open_shape(&lm_lstm);
        for (int i = 0; i < MAX_ITEMS; i++)
            for (int k = 0; k < MAX_LEN; k++)
                ids[i][k] = ids[i][k] == 17 ? 18 : ids[i][k];
        open_work(&a, 1, 0);
        open_work(&b, 2, 0);
        poison(17, lm_lstm.E, values[v]); /* load would refuse it */
        run_alone(&a, 20);
        ids[9][0] = 17;
        for (int i = 0; i < 20; i++)
            set_item(&b, i, 0, len[i]);
        step(&b, 0, 20);
        assert_int_equal(b.it[9].status, -1);
        assert_int_equal(b.it[9].fail, ERR_INTERNAL);
        assert_int_equal(b.seq[9].state.len[0], 0);
        expect_equal("before the bad one", 9);
        ids[9][0] = 18;
        run_alone(&a, 10);
        set_item(&b, 9, 0, len[9]);
        step(&b, 9, 1);
        expect_equal("after the bad one", 20);
        close_work(&a);
        close_work(&b);
        rnn_random_remove(dir);
    }
}

static void test_step_invalid_items_fail_alone(void **state)
{
    (void)state;
    open_shape(&lm_lstm);
    open_work(&a, 1, 0);
    open_work(&b, 2, 0);
    run_alone(&a, 8);
    for (int i = 0; i < 8; i++)
        set_item(&b, i, 0, len[i]);
    ids[1][0] = lm_lstm.V;
    ids[2][0] = -1;
    b.it[3].want[0].from = len[3];
    b.it[4].want[0].kind = OUT_CLASS;
    b.it[5].want[1].from = -1;
    step(&b, 0, 8);
    for (int i = 1; i <= 5; i++) {
        assert_int_equal(b.it[i].status, -1);
        assert_int_equal(b.it[i].fail, ERR_INVALID);
    }
    expect_equal("beside invalid ones", 1);
    for (int i = 6; i < 8; i++) {
        assert_int_equal(b.it[i].status, 0);
        assert_memory_equal(a.out[i], b.out[i],
                            (size_t)lm_lstm.V * sizeof(float));
    }
    close_work(&a);
    close_work(&b);
    rnn_random_remove(dir);
}

static void test_step_item_without_tokens_keeps_its_state(void **state)
{
    struct err e = ERR_INIT;
    (void)state;
    open_shape(&class_mean);
    open_work(&a, 1, 0);
    open_work(&b, 1, 0);
    run_alone(&a, 2);
    for (int i = 0; i < 2; i++) { /* scores asked for after the last token */
        set_item(&b, i, 0, len[i]);
        b.it[i].n_want = 0;
        step(&b, i, 1);
        set_item(&b, i, len[i], 0);
        assert_int_equal(rig_step(&b.g, &b.it[i], 1, &e), 0);
    }
    expect_equal("scores later", 2);
    rig_seq_clear(&b.g, &b.seq[0]);
    set_item(&b, 0, 0, 0); /* scores of nothing */
    step(&b, 0, 1);
    assert_int_equal(b.it[0].status, -1);
    close_work(&a);
    close_work(&b);
    rnn_random_remove(dir);
}

static void test_step_batch_that_understates_itself_is_refused(void **state)
{
    struct seq_state seq = {0};
    struct batch_item it = {.seq = &seq};
    struct batch bt = {.item = &it, .n_item = 1, .n_tokens = 2};
    struct exec x = {.n_threads = 1};
    struct err e = ERR_INIT;
    (void)state;
    open_shape(&lm_lstm);
    open_work(&a, 1, 0);
    x.k = a.g.k;
    it.in.p = ids[0];
    it.in.n = 3;
    assert_int_equal(rnn_arch.step(a.g.self, &x, &bt, &e), -1);
    assert_int_equal(e.code, ERR_INTERNAL);
    close_work(&a);
    rnn_random_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_step_threads_and_batches_keep_the_bits),
        cmocka_unit_test(test_step_chunks_in_company_keep_the_bits),
        cmocka_unit_test(test_step_scattered_rows_keep_the_bits),
        cmocka_unit_test(test_step_row_that_is_not_finite_fails_alone),
        cmocka_unit_test(test_step_invalid_items_fail_alone),
        cmocka_unit_test(test_step_item_without_tokens_keeps_its_state),
        cmocka_unit_test(test_step_batch_that_understates_itself_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
