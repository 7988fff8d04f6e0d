/* The "rnn" architecture against PyTorch, on the checkpoints of
 * tests/golden/rnn/ (make_rnn_fixtures.py): logits of every position, class
 * scores and final states, for each kernel family that runs here; and the bits
 * are the same whole or in chunks, alone or in a ragged batch, folded or not.
 *
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/base/json.h"
#include "engine/base/mem.h"
#include "models/registry.h"
#include "models/rnn/rnn.h"
#include "tests/support/arch_rig.h"
#include "tests/support/golden.h"

/* fp32 sums of up to 60 terms of size 1, in another order than PyTorch's. */
#define TOLERANCE 1e-5
#define GOLDEN "tests/golden/"
#define MAX_SEQS 8
#define MAX_LEN 64
#define MAX_COLS 64
#define MAX_STATE 4096

struct expected {
    int32_t ids[MAX_LEN];
    int n;
    float out[MAX_LEN * MAX_COLS]; /* logits [n][V] or scores [C] */
    int n_out;
    float top[MAX_COLS], h[MAX_STATE], c[MAX_STATE];
    int n_top, n_h, n_c;
};

struct fixture {
    char name[128];
    struct expected seq[MAX_SEQS];
    int n_seq;
};

static struct {
    char dir[512];
    struct fixture fixture;
    struct golden_names names;
} t;

/* A single output z is the score of the second label; the first one's is -z,
 * since 1 - sigmoid(z) is sigmoid(-z). */
static void make_two(struct expected *s)
{
    if (s->n_out != 1)
        return;
    s->out[1] = s->out[0];
    s->out[0] = -s->out[1];
    s->n_out = 2;
}

static void read_sequence(const struct json *j, struct expected *s)
{
    s->n = golden_ids(json_get(j, "ids"), s->ids, MAX_LEN);
    s->n_out = golden_floats(json_get(j, "out"), s->out, MAX_LEN * MAX_COLS);
    s->n_top = golden_floats(json_get(j, "top"), s->top, MAX_COLS);
    s->n_h = golden_floats(json_get(j, "h"), s->h, MAX_STATE);
    s->n_c = golden_floats(json_get(j, "c"), s->c, MAX_STATE);
    make_two(s);
}

static void open_fixture(const char *name)
{
    struct json_limits lim = {.max_bytes = 1 << 22};
    struct err e = ERR_INIT;
    struct json *j;
    char path[600];
    memset(&t.fixture, 0, sizeof t.fixture);
    snprintf(t.dir, sizeof t.dir, GOLDEN "rnn/%s", name);
    snprintf(path, sizeof path, "%s/expected.json", t.dir);
    if (json_load(path, "expected.json", &lim, &j, &e))
        fail_msg("%s: %s", name, e.msg);
    snprintf(t.fixture.name, sizeof t.fixture.name, "%s", name);
    for (const struct json *x = json_child(json_get(j, "sequences")); x;
         x = json_next(x)) {
        assert_true(t.fixture.n_seq < MAX_SEQS);
        read_sequence(x, &t.fixture.seq[t.fixture.n_seq++]);
    }
    assert_true(t.fixture.n_seq > 3);
    json_free(j);
}

static void open_rig(struct rig *g, const char *family, int n_threads,
                     size_t fold_bytes)
{
    struct err e = ERR_INIT;
    if (rig_open(g, &rnn_arch, t.dir, family, n_threads, fold_bytes, &e))
        fail_msg("%s: %s", t.fixture.name, e.msg);
}

static int columns(const struct rig *g)
{
    return g->info.cols[OUT_CLASS] ? g->info.cols[OUT_CLASS]
                                   : g->info.cols[OUT_LOGITS];
}

/* What an item wants: all logits, or the class scores at the end. */
static void set_wants(const struct rig *g, struct rig_item *it, float *dst,
                      int last)
{
    memset(it->want, 0, sizeof it->want);
    it->n_want = 1;
    it->want[0].dst = dst;
    it->want[0].ld = (size_t)columns(g);
    it->want[0].kind = g->info.cols[OUT_CLASS] ? OUT_CLASS : OUT_LOGITS;
    it->want[0].n = it->n;
    if (g->info.cols[OUT_CLASS] && !last)
        it->n_want = 0;
}

/* One sequence in chunks of at most `chunk` tokens; out as in struct expected.
 */
static void run_alone(struct rig *g, const struct expected *s, int chunk,
                      struct rig_seq *seq, float *out)
{
    struct err e = ERR_INIT;
    rig_seq_clear(g, seq);
    for (int at = 0; at < s->n; at += chunk) {
        struct rig_item it = {.seq = seq, .ids = s->ids + at};
        float *dst = out;
        it.n = s->n - at < chunk ? s->n - at : chunk;
        if (!g->info.cols[OUT_CLASS])
            dst = out + (size_t)at * (size_t)columns(g);
        set_wants(g, &it, dst, at + it.n == s->n);
        if (rig_step(g, &it, 1, &e) || it.status)
            fail_msg("%s: step failed: %s", t.fixture.name, e.msg);
    }
}

/* Final states without the padding of whole unit blocks, in PyTorch's order
 * [L * D][R] and [L * D][H]. */
static void expect_states(const struct rig *g, const struct rig_seq *seq,
                          const struct expected *s)
{
    const struct rnn *m = g->self;
    int H = m->H, R = m->R;
    assert_int_equal(s->n_h, m->L * m->D * R);
    for (int i = 0; i < m->L; i++) {
        for (int d = 0; d < m->D; d++) {
            const float *h = seq->fixed[0] + rnn_state_h(m, i) + d * m->Rp;
            const float *c = seq->fixed[0] + rnn_state_c(m, i) + d * m->Hp;
            golden_close(h, s->h + (i * m->D + d) * R, R, TOLERANCE, "%s: h",
                         t.fixture.name);
            if (s->n_c)
                golden_close(c, s->c + (i * m->D + d) * H, H, TOLERANCE,
                             "%s: c", t.fixture.name);
            for (int j = R; j < m->Rp; j++)
                assert_true(h[j] == 0.0f);
        }
    }
}

static float out_a[MAX_LEN * MAX_COLS], out_b[MAX_LEN * MAX_COLS];

static void check_outputs(const char *family)
{
    struct rig g;
    struct rig_seq seq;
    open_rig(&g, family, 1, 0);
    assert_int_equal(rig_seq_open(&g, &seq), 0);
    for (int i = 0; i < t.fixture.n_seq; i++) {
        const struct expected *s = &t.fixture.seq[i];
        int rows = g.info.cols[OUT_CLASS] ? 1 : s->n;
        assert_int_equal(s->n_out, rows * columns(&g));
        run_alone(&g, s, MAX_LEN, &seq, out_a);
        golden_close(out_a, s->out, s->n_out, TOLERANCE, "%s: output",
                     t.fixture.name);
        expect_states(&g, &seq, s);
    }
    rig_seq_close(&seq);
    rig_close(&g);
}

/* The top states are PyTorch's, asked for as HIDDEN. */
static void check_hidden(const char *family)
{
    struct rig g;
    struct rig_seq seq;
    struct err e = ERR_INIT;
    float top[MAX_COLS];
    open_rig(&g, family, 1, 0);
    assert_int_equal(rig_seq_open(&g, &seq), 0);
    for (int i = 0; i < t.fixture.n_seq; i++) {
        const struct expected *s = &t.fixture.seq[i];
        struct rig_item it = {.seq = &seq, .ids = s->ids, .n = s->n};
        assert_int_equal(s->n_top, g.info.cols[OUT_HIDDEN]);
        rig_seq_clear(&g, &seq);
        it.n_want = 1;
        it.want[0] = (struct want){.kind = OUT_HIDDEN,
                                   .from = s->n - 1,
                                   .n = 1,
                                   .dst = top,
                                   .ld = MAX_COLS};
        assert_int_equal(rig_step(&g, &it, 1, &e), 0);
        assert_int_equal(it.status, 0);
        golden_close(top, s->top, s->n_top, TOLERANCE, "%s: hidden",
                     t.fixture.name);
    }
    rig_seq_close(&seq);
    rig_close(&g);
}

static void check_chunks(const char *family)
{
    static const int chunk[] = {1, 3, RNN_MAX_CHAIN};
    struct rig g;
    struct rig_seq a, b;
    open_rig(&g, family, 1, 0);
    assert_int_equal(rig_seq_open(&g, &a), 0);
    assert_int_equal(rig_seq_open(&g, &b), 0);
    for (int i = 0; i < t.fixture.n_seq; i++) {
        const struct expected *s = &t.fixture.seq[i];
        if (g.info.state.port[0].whole)
            break;
        run_alone(&g, s, MAX_LEN, &a, out_a);
        for (int k = 0; k < 3; k++) {
            run_alone(&g, s, chunk[k], &b, out_b);
            golden_same(out_a, out_b, (size_t)s->n_out, "%s: chunks",
                        t.fixture.name);
            golden_same(a.fixed[0], b.fixed[0],
                        g.info.state.fixed_bytes / sizeof(float),
                        "%s: state after chunks", t.fixture.name);
        }
    }
    rig_seq_close(&a);
    rig_seq_close(&b);
    rig_close(&g);
}

#define BATCH 37
static float out_batch[BATCH][MAX_LEN * MAX_COLS];

/* A ragged batch of copies of the sequences against each one alone. */
static void check_batch(const char *family, int n_threads, int fold)
{
    struct rig g;
    struct rig_seq seq[BATCH], alone;
    struct rig_item it[BATCH];
    struct err e = ERR_INIT;
    open_rig(&g, family, n_threads, fold ? (size_t)1 << 24 : 0);
    assert_int_equal(rig_seq_open(&g, &alone), 0);
    memset(it, 0, sizeof it);
    for (int i = 0; i < BATCH; i++) {
        const struct expected *s = &t.fixture.seq[(i * 5) % t.fixture.n_seq];
        assert_int_equal(rig_seq_open(&g, &seq[i]), 0);
        it[i].seq = &seq[i];
        it[i].ids = s->ids;
        it[i].n = s->n;
        set_wants(&g, &it[i], out_batch[i], 1);
    }
    for (int pass = 0; pass <= fold; pass++) { /* rows are made, then used */
        for (int i = 0; i < BATCH; i++)
            rig_seq_clear(&g, &seq[i]);
        assert_int_equal(rig_step(&g, it, BATCH, &e), 0);
        assert_true(!fold == !rnn_arch.table_bytes(g.self));
    }
    if (fold) {
        rig_close(&g);
        open_rig(&g, family, 1, 0);
    }
    for (int q = 0; q < t.fixture.n_seq; q++) {
        const struct expected *s = &t.fixture.seq[q];
        run_alone(&g, s, MAX_LEN, &alone, out_a);
        for (int i = 0; i < BATCH; i++) {
            if ((i * 5) % t.fixture.n_seq != q)
                continue;
            assert_int_equal(it[i].status, 0);
            golden_same(out_a, out_batch[i], (size_t)s->n_out, "%s: %s",
                        t.fixture.name, fold ? "folded batch" : "batch");
        }
    }
    for (int i = 0; i < BATCH; i++)
        rig_seq_close(&seq[i]);
    rig_seq_close(&alone);
    rig_close(&g);
}

static void for_all(void (*check)(const char *family))
{
    golden_each(&t.names, open_fixture, check);
}

static void test_rnn_outputs_and_states_are_pytorchs(void **state)
{
    (void)state;
    for_all(check_outputs);
}

static void test_rnn_hidden_rows_are_pytorchs(void **state)
{
    (void)state;
    for_all(check_hidden);
}

static void test_rnn_chunks_give_the_bits_of_the_whole(void **state)
{
    (void)state;
    for_all(check_chunks);
}

static void batch_plain(const char *family)
{
    check_batch(family, 1, 0);
}

static void batch_threads(const char *family)
{
    check_batch(family, 2, 0);
}

static void batch_folded(const char *family)
{
    check_batch(family, 1, 1);
}

static void test_rnn_ragged_batch_gives_the_bits_of_each_alone(void **state)
{
    (void)state;
    for_all(batch_plain);
    for_all(batch_threads);
}

static void test_rnn_folded_table_keeps_the_bits(void **state)
{
    (void)state;
    for_all(batch_folded);
}

static void test_rnn_avx2_and_avx512_give_the_same_bits(void **state)
{
    struct err e = ERR_INIT;
    const struct kernels *k;
    struct rig a, b;
    struct rig_seq sa, sb;
    (void)state;
    if (kernels_pick("avx512", &k, &e) || kernels_pick("avx2", &k, &e)) {
        print_message("skipped: this CPU lacks AVX-512 or AVX2\n");
        skip();
    }
    for (int i = 0; i < t.names.n; i++) {
        open_fixture(t.names.name[i]);
        open_rig(&a, "avx2", 1, 0);
        open_rig(&b, "avx512", 1, 0);
        assert_int_equal(rig_seq_open(&a, &sa) | rig_seq_open(&b, &sb), 0);
        for (int q = 0; q < t.fixture.n_seq; q++) {
            const struct expected *s = &t.fixture.seq[q];
            run_alone(&a, s, MAX_LEN, &sa, out_a);
            run_alone(&b, s, MAX_LEN, &sb, out_b);
            golden_same(out_a, out_b, (size_t)s->n_out, "%s: families",
                        t.fixture.name);
        }
        rig_seq_close(&sa);
        rig_seq_close(&sb);
        rig_close(&a);
        rig_close(&b);
    }
}

/* A new architecture must bring its fixtures with it. */
static void test_every_registered_architecture_has_a_fixture(void **state)
{
    (void)state;
    for (int i = 0; registry_archs[i]; i++) {
        struct golden_names cases;
        int n = 0;
        char dir[128], path[600];
        snprintf(dir, sizeof dir, GOLDEN "%s", registry_archs[i]->name);
        golden_names(dir, &cases);
        for (int k = 0; k < cases.n; k++) {
            snprintf(path, sizeof path, "%s/%s/expected.json", dir,
                     cases.name[k]);
            n += access(path, R_OK) == 0;
            snprintf(path, sizeof path, "%s/%s/expected", dir, cases.name[k]);
            n += access(path, R_OK) == 0;
        }
        if (n == 0)
            fail_msg("architecture '%s' has no fixture under " GOLDEN,
                     registry_archs[i]->name);
    }
}

static int list_fixtures(void **state)
{
    (void)state;
    return golden_names(GOLDEN "rnn", &t.names);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_registered_architecture_has_a_fixture),
        cmocka_unit_test(test_rnn_outputs_and_states_are_pytorchs),
        cmocka_unit_test(test_rnn_hidden_rows_are_pytorchs),
        cmocka_unit_test(test_rnn_chunks_give_the_bits_of_the_whole),
        cmocka_unit_test(test_rnn_ragged_batch_gives_the_bits_of_each_alone),
        cmocka_unit_test(test_rnn_folded_table_keeps_the_bits),
        cmocka_unit_test(test_rnn_avx2_and_avx512_give_the_same_bits),
    };
    return cmocka_run_group_tests(tests, list_fixtures, NULL);
}
