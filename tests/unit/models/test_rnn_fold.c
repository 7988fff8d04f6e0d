/* test_rnn_fold: rows of the folded input that steps make by need: which there
 * are, that they are those of a plain product, that a full budget and steps at
 * the same time change no bit.
 *
 * SPDX-License-Identifier: MIT */
#include <pthread.h>

#include "engine/base/mem.h"
#include "models/rnn/rnn.h"
#include "tests/support/arch_rig.h"
#include "tests/support/oom_sweep.h"
#include "tests/support/rnn_random.h"
#include "tests/support/unit.h"

#define N_SEQ 12
#define LEN 24
#define MAX_V 300
#define ROUNDS 6
#define STEPPERS 4

static const struct rnn_shape one_way = {
    .cell = "lstm", .V = MAX_V, .E = 40, .H = 100, .L = 2, .D = 1};
static const struct rnn_shape both_ways = {.cell = "gru",
                                           .V = 90,
                                           .E = 30,
                                           .H = 70,
                                           .L = 1,
                                           .D = 2,
                                           .classifier = 1,
                                           .C = 4,
                                           .pooling = "max"};
static const struct rnn_shape *const shapes[] = {&one_way, &both_ways};

/* A few common words and a tail, as in text. */
static int32_t ids[N_SEQ][LEN];
static float expected[N_SEQ][MAX_V];
static char dir[64];

struct work {
    struct rig g;
    struct rig_seq seq[N_SEQ];
    float out[N_SEQ][MAX_V];
};

static void make_ids(int V)
{
    unsigned s = 99;

    for (int i = 0; i < N_SEQ * LEN; i++) {
        s = s * 1664525u + 1013904223u;
        ids[i / LEN][i % LEN] =
            (int32_t)((s >> 8) % (i % 3 ? 7u : (unsigned)V));
    }
}

static int open_seqs(struct work *w)
{
    int rc = 0;

    for (int i = 0; i < N_SEQ; i++)
        rc |= rig_seq_open(&w->g, &w->seq[i]);
    return rc;
}

static void close_seqs(struct work *w)
{
    for (int i = 0; i < N_SEQ; i++)
        rig_seq_close(&w->seq[i]);
}

/* All sequences in steps of `chunk` tokens; the last output of each. -1 when
 * an item or a step failed. */
static int run(struct work *w, int chunk)
{
    int class = w->g.info.cols[OUT_CLASS] > 0;
    struct err e = ERR_INIT;
    int rc = 0;

    for (int i = 0; i < N_SEQ; i++)
        rig_seq_clear(&w->g, &w->seq[i]);
    for (int at = 0; at < LEN; at += chunk) {
        struct rig_item it[N_SEQ] = {{0}};

        for (int i = 0; i < N_SEQ; i++) {
            it[i].seq = &w->seq[i];
            it[i].ids = ids[i] + at;
            it[i].n = chunk;
            it[i].n_want = 1;
            it[i].want[0] =
                (struct want){.kind = class ? OUT_CLASS : OUT_LOGITS,
                              .from = chunk - 1,
                              .n = 1,
                              .dst = w->out[i],
                              .ld = MAX_V};
        }
        rc |= rig_step(&w->g, it, N_SEQ, &e);
        for (int i = 0; i < N_SEQ; i++)
            rc |= it[i].status;
    }
    return rc;
}

static int same_as_expected(const struct work *w)
{
    size_t bytes = sizeof(float) * (size_t)(w->g.info.cols[OUT_CLASS]
                                                ? w->g.info.cols[OUT_CLASS]
                                                : w->g.info.cols[OUT_LOGITS]);
    int same = 1;

    for (int i = 0; i < N_SEQ; i++)
        same &= memcmp(w->out[i], expected[i], bytes) == 0;
    return same;
}

static void open_work(struct work *w, int n_threads, size_t budget)
{
    struct err e = ERR_INIT;

    if (rig_open(&w->g, &rnn_arch, dir, "auto", n_threads, budget, &e))
        fail_msg("%s", e.msg);
    assert_int_equal(open_seqs(w), 0);
}

static void close_work(struct work *w)
{
    close_seqs(w);
    rig_close(&w->g);
}

/* A checkpoint of the shape, and what a model without a table answers. */
static void open_shape(const struct rnn_shape *s)
{
    static struct work plain;

    assert_int_equal(rnn_random_write(s, 7, dir), 0);
    make_ids(s->V);
    open_work(&plain, 1, 0);
    assert_int_equal(run(&plain, LEN), 0);
    assert_int_equal(rnn_arch.table_bytes(plain.g.self), 0);
    memcpy(expected, plain.out, sizeof expected);
    close_work(&plain);
}

static int chunk_of(const struct rnn_shape *s)
{
    return s->D == 2 ? LEN : 6;
}

static int seen(int32_t id)
{
    int n = 0;

    for (int i = 0; i < N_SEQ * LEN; i++)
        n += ids[i / LEN][i % LEN] == id;
    return n > 0;
}

static int count_rows(const struct rnn *m)
{
    int n = 0;

    for (int32_t v = 0; v < m->V; v++)
        n += rnn_fold_row(m->fold, 0, v, 0) != NULL;
    return n;
}

/* Rows of a model that has run: those of the tokens that came, each once, and
 * with the bits of a product of its own. */
static void check_rows(const struct work *w)
{
    const struct rnn *m = w->g.self;
    int used = 0;

    for (int32_t v = 0; v < m->V; v++) {
        float x[64], want[4 * 112];
        const float *init;

        used += seen(v);
        tensor_read(m->embedding, (size_t)v * (size_t)m->E, (size_t)m->E, x);
        for (int d = 0; d < m->D; d++) {
            const float *row = rnn_fold_row(m->fold, d, v, 0);

            assert_int_equal(row != NULL, seen(v));
            if (!row)
                continue;
            cell_project(w->g.k, &m->cell[0][d], 1, 0, m->Hp, x, 64, want,
                         &init);
            assert_memory_equal(row, want, m->fold->width * sizeof *want);
        }
    }
    assert_int_equal(m->fold->used, used);
}

static void test_fold_rows_are_made_for_the_tokens_that_came(void **state)
{
    static struct work w;

    for (size_t s = 0; s < COUNT(shapes); s++) {
        open_shape(shapes[s]);
        for (int threads = 1; threads <= 3; threads++) {
            open_work(&w, threads, (size_t)1 << 24);
            assert_int_equal(count_rows(w.g.self), 0);
            for (int round = 0; round < 2; round++) { /* made, then read */
                assert_int_equal(run(&w, chunk_of(shapes[s])), 0);
                assert_true(same_as_expected(&w));
                check_rows(&w);
            }
            close_work(&w);
        }
        rnn_random_remove(dir);
    }
}

static void test_fold_full_budget_keeps_the_bits(void **state)
{
    static struct work w;

    for (size_t s = 0; s < COUNT(shapes); s++) {
        open_shape(shapes[s]);
        open_work(&w, 2, (size_t)1 << 24);
        size_t row = ((const struct rnn *)w.g.self)->fold->row_bytes;
        close_work(&w);
        for (int rows = 0; rows < 9; rows++) {
            size_t limit = (size_t)rows * row + (rows ? row - 1 : 0);

            open_work(&w, 1 + rows % 3, limit);
            for (int round = 0; round < 2; round++) {
                assert_int_equal(run(&w, chunk_of(shapes[s])), 0);
                assert_true(same_as_expected(&w));
            }
            assert_int_equal(count_rows(w.g.self), rows);
            assert_int_equal(rnn_arch.table_bytes(w.g.self), rows * row);
            assert_int_equal(atomic_load(&w.g.tables->used), rows * row);
            close_work(&w);
        }
        rnn_random_remove(dir);
    }
}

/* The budget is one for all; a model that goes gives its part back. */
static void test_fold_budget_is_shared(void **state)
{
    static struct work a, b;
    struct mem_budget *budget;
    struct err e = ERR_INIT;

    open_shape(&one_way);
    open_work(&a, 1, (size_t)1 << 24);
    size_t row = ((const struct rnn *)a.g.self)->fold->row_bytes;
    close_work(&a);
    budget = mem_budget_new(5 * row);
    assert_non_null(budget);
    struct load_opts o = {.options = &(struct engine_options){0},
                          .tables = budget};
    assert_int_equal(rig_open_with(&a.g, &rnn_arch, dir, "auto", 1, &o, &e), 0);
    assert_int_equal(rig_open_with(&b.g, &rnn_arch, dir, "auto", 1, &o, &e), 0);
    assert_int_equal(open_seqs(&a) | open_seqs(&b), 0);
    assert_int_equal(run(&a, 6) | run(&b, 6), 0);
    assert_int_equal(count_rows(a.g.self), 5);
    assert_int_equal(count_rows(b.g.self), 0);
    assert_true(same_as_expected(&b));
    close_work(&a);
    assert_int_equal(atomic_load(&budget->used), 0);
    assert_int_equal(run(&b, 6), 0);
    assert_int_equal(count_rows(b.g.self), 5);
    assert_true(same_as_expected(&b));
    close_work(&b);
    assert_int_equal(atomic_load(&budget->used), 0);
    mem_budget_drop(budget);
    rnn_random_remove(dir);
}

/* --- several steps of one model at a time --- */

struct stepper {
    struct work w; /* its own scratch, sequences and pool */
    int chunk, bad;
};

static void *step_often(void *arg)
{
    struct stepper *t = arg;

    for (int round = 0; round < ROUNDS; round++)
        t->bad |= run(&t->w, t->chunk) || !same_as_expected(&t->w);
    return NULL;
}

static void open_stepper(struct stepper *t, const struct rig *of, int i)
{
    static const int chunks[] = {1, 2, 6, LEN};
    int whole = of->info.state.port[0].whole;

    memset(t, 0, sizeof *t);
    t->w.g = *of;
    t->w.g.scratch = NULL;
    t->w.g.scratch_bytes = 0;
    t->w.g.n_threads = 1 + i % 2;
    t->w.g.pool = NULL;
    t->chunk = whole ? LEN : chunks[i % 4];
    if (t->w.g.n_threads > 1)
        assert_int_equal(pool_open(2, 50, &t->w.g.pool, NULL), 0);
    assert_int_equal(open_seqs(&t->w), 0);
}

static void close_stepper(struct stepper *t)
{
    close_seqs(&t->w);
    mem_aligned_free(t->w.g.scratch);
    pool_close(t->w.g.pool);
}

static void test_fold_steps_at_the_same_time_keep_the_bits(void **state)
{
    static struct stepper t[STEPPERS];
    pthread_t thread[STEPPERS];

    for (size_t s = 0; s < COUNT(shapes); s++) {
        for (int full = 0; full < 2; full++) {
            static struct work w;

            open_shape(shapes[s]);
            open_work(&w, 1, full ? (size_t)1 << 14 : (size_t)1 << 24);
            for (int i = 0; i < STEPPERS; i++)
                open_stepper(&t[i], &w.g, i);
            for (int i = 0; i < STEPPERS; i++)
                assert_int_equal(
                    pthread_create(&thread[i], NULL, step_often, &t[i]), 0);
            for (int i = 0; i < STEPPERS; i++)
                pthread_join(thread[i], NULL);
            for (int i = 0; i < STEPPERS; i++) {
                assert_int_equal(t[i].bad, 0);
                close_stepper(&t[i]);
            }
            assert_int_equal(run(&w, chunk_of(shapes[s])), 0);
            assert_true(same_as_expected(&w));
            if (!full)
                check_rows(&w);
            assert_true(count_rows(w.g.self) > 0);
            close_work(&w);
            rnn_random_remove(dir);
        }
    }
}

static int open_once(void *arg, struct err *e)
{
    struct rig g;
    int rc = rig_open(&g, &rnn_arch, dir, "auto", 1, (size_t)1 << 20, e);

    if (!rc)
        rig_close(&g);
    return rc;
}

static void test_oom_every_allocation_of_a_table_fails_once(void **state)
{
    open_shape(&both_ways);
    assert_true(oom_sweep(open_once, NULL) > 20);
    rnn_random_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fold_rows_are_made_for_the_tokens_that_came),
        cmocka_unit_test(test_fold_full_budget_keeps_the_bits),
        cmocka_unit_test(test_fold_budget_is_shared),
        cmocka_unit_test(test_fold_steps_at_the_same_time_keep_the_bits),
        cmocka_unit_test(test_oom_every_allocation_of_a_table_fails_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
