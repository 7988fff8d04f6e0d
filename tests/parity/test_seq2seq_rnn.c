/* The "seq2seq-rnn" architecture against PyTorch, on the checkpoints of
 * tests/golden/seq2seq-rnn/ (make_seq2seq_rnn_fixtures.py): logits and
 * attention after each target token, and greedy continuations, for each kernel
 * family that runs here. And the bits are the same whole or in chunks, alone or
 * among sources and targets of others, on one thread or two.
 *
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/json.h"
#include "models/rnn/seq2seq_rnn.h"
#include "tests/support/arch_rig.h"
#include "tests/support/golden.h"

/* fp32 sums of up to 70 terms of size 1, in another order than PyTorch's. */
#define TOLERANCE 1e-5
#define GOLDEN "tests/golden/seq2seq-rnn"
#define MAX_PAIRS 8
#define MAX_LEN 64
#define MAX_V 64
#define END 2

struct pair {
    int32_t source[MAX_LEN], target[MAX_LEN], greedy[MAX_LEN];
    int n_source, n, n_greedy;
    float logits[MAX_LEN * MAX_V], attention[MAX_LEN * MAX_LEN];
    int n_logits, n_attention;
};

static struct {
    char name[128], dir[512];
    struct pair pair[MAX_PAIRS];
    int n;
    struct golden_names names;
} t;

/* What a pair gives here. */
struct result {
    float logits[MAX_LEN * MAX_V], attention[MAX_LEN * MAX_LEN];
};

static void open_fixture(const char *name)
{
    struct json_limits lim = {.max_bytes = 1 << 22};
    struct err e = ERR_INIT;
    struct json *j;
    char path[600];
    snprintf(t.name, sizeof t.name, "%s", name);
    snprintf(t.dir, sizeof t.dir, GOLDEN "/%s", name);
    snprintf(path, sizeof path, "%s/expected.json", t.dir);
    if (json_load(path, "expected.json", &lim, &j, &e))
        fail_msg("%s: %s", name, e.msg);
    t.n = 0;
    for (const struct json *x = json_child(json_get(j, "pairs")); x;
         x = json_next(x)) {
        assert_true(t.n < MAX_PAIRS);
        struct pair *p = &t.pair[t.n++];
        p->n_source = golden_ids(json_get(x, "source"), p->source, MAX_LEN);
        p->n = golden_ids(json_get(x, "target"), p->target, MAX_LEN);
        p->n_greedy = golden_ids(json_get(x, "greedy"), p->greedy, MAX_LEN);
        p->n_logits =
            golden_floats(json_get(x, "logits"), p->logits, MAX_LEN * MAX_V);
        p->n_attention = golden_floats(json_get(x, "attention"), p->attention,
                                       MAX_LEN * MAX_LEN);
    }
    assert_true(t.n > 3);
    json_free(j);
}

static void open_rig(struct rig *g, const char *family, int n_threads,
                     size_t fold_bytes)
{
    struct err e = ERR_INIT;
    if (rig_open(g, &seq2seq_rnn_arch, t.dir, family, n_threads, fold_bytes,
                 &e))
        fail_msg("%s: %s", t.name, e.msg);
}

static struct rig_item source_of(const struct pair *p, struct rig_seq *s)
{
    return (struct rig_item){
        .seq = s, .port = PORT_SOURCE, .ids = p->source, .n = p->n_source};
}

/* Target rows at .. at + n, all that can be wanted of them. */
static struct rig_item target_of(const struct rig *g, const struct pair *p,
                                 struct rig_seq *s, int at, int n,
                                 struct result *r)
{
    struct rig_item it = {.seq = s, .ids = p->target + at, .n = n};
    int V = g->info.cols[OUT_LOGITS];
    it.n_want = g->info.cols[OUT_ATTENTION] ? 2 : 1;
    it.want[0] = (struct want){
        .kind = OUT_LOGITS, .n = n, .dst = r->logits + at * V, .ld = (size_t)V};
    it.want[1] = (struct want){
        .kind = OUT_ATTENTION, .n = n, .dst = r->attention + at * p->n_source};
    return it;
}

static void one_step(struct rig *g, struct rig_item *it, int n)
{
    struct err e = ERR_INIT;
    if (rig_step(g, it, n, &e))
        fail_msg("%s: step failed: %s", t.name, e.msg);
    for (int i = 0; i < n; i++)
        if (it[i].status)
            fail_msg("%s: item %d failed", t.name, i);
}

static void run_alone(struct rig *g, const struct pair *p, int chunk,
                      struct rig_seq *s, struct result *r)
{
    struct rig_item it = source_of(p, s);
    rig_seq_clear(g, s);
    one_step(g, &it, 1);
    for (int at = 0; at < p->n; at += chunk) {
        it = target_of(g, p, s, at, p->n - at < chunk ? p->n - at : chunk, r);
        one_step(g, &it, 1);
    }
}

static void expect_same(const struct rig *g, const struct pair *p,
                        const struct result *a, const struct result *b,
                        const char *what)
{
    size_t V = (size_t)g->info.cols[OUT_LOGITS];
    golden_same(a->logits, b->logits, (size_t)p->n * V, "%s: %s: logits",
                t.name, what);
    if (g->info.cols[OUT_ATTENTION])
        golden_same(a->attention, b->attention, (size_t)(p->n * p->n_source),
                    "%s: %s: attention", t.name, what);
}

static struct result whole, other, company[MAX_PAIRS * 8];

static void check_outputs(const char *family)
{
    struct rig_seq s;
    struct rig g;
    open_rig(&g, family, 1, 0);
    assert_int_equal(rig_seq_open(&g, &s), 0);
    for (int i = 0; i < t.n; i++) {
        const struct pair *p = &t.pair[i];
        assert_int_equal(p->n_logits, p->n * g.info.cols[OUT_LOGITS]);
        assert_int_equal(p->n_attention,
                         g.info.cols[OUT_ATTENTION] * p->n * p->n_source);
        run_alone(&g, p, MAX_LEN, &s, &whole);
        golden_close(whole.logits, p->logits, p->n_logits, TOLERANCE,
                     "%s: logits", t.name);
        golden_close(whole.attention, p->attention, p->n_attention, TOLERANCE,
                     "%s: attention", t.name);
    }
    rig_seq_close(&s);
    rig_close(&g);
}

/* The likeliest token each time, from the start token to END. */
static void check_greedy(const char *family)
{
    struct rig_seq s;
    struct rig g;
    open_rig(&g, family, 1, 0);
    assert_int_equal(rig_seq_open(&g, &s), 0);
    for (int i = 0; i < t.n; i++) {
        const struct pair *p = &t.pair[i];
        struct rig_item it = source_of(p, &s);
        int32_t id = g.info.target.start;
        rig_seq_clear(&g, &s);
        one_step(&g, &it, 1);
        for (int k = 0; k < p->n_greedy; k++) {
            const struct pair next = {.target = {id}, .n_source = p->n_source};
            it = target_of(&g, &next, &s, 0, 1, &whole);
            one_step(&g, &it, 1);
            id = 0;
            for (int v = 1; v < g.info.cols[OUT_LOGITS]; v++)
                id = whole.logits[v] > whole.logits[id] ? v : id;
            assert_int_equal(id, p->greedy[k]);
        }
    }
    rig_seq_close(&s);
    rig_close(&g);
}

static void check_chunks(const char *family)
{
    static const int chunk[] = {1, 3, RNN_MAX_CHAIN};
    struct rig_seq a, b;
    struct rig g;
    open_rig(&g, family, 1, 0);
    assert_int_equal(rig_seq_open(&g, &a) | rig_seq_open(&g, &b), 0);
    for (int i = 0; i < t.n; i++)
        for (int k = 0; k < 3; k++) {
            const struct pair *p = &t.pair[i];
            run_alone(&g, p, MAX_LEN, &a, &whole);
            run_alone(&g, p, chunk[k], &b, &other);
            expect_same(&g, p, &whole, &other, "chunks");
            golden_same(a.fixed[0], b.fixed[0],
                        g.info.state.fixed_bytes / sizeof(float),
                        "%s: state after chunks", t.name);
        }
    rig_seq_close(&a);
    rig_seq_close(&b);
    rig_close(&g);
}

/* Sequence i is of pair i % t.n; its source is read in step i % 3, its target
 * from the next one on, at most 5 rows a step. */
static void run_company(struct rig *g, struct rig_seq *s, int n)
{
    struct rig_item it[MAX_PAIRS * 8];
    int at[MAX_PAIRS * 8] = {0}, who[MAX_PAIRS * 8], n_it = 1;
    for (int step = 0; n_it > 0; step++) {
        n_it = 0;
        for (int i = n; i-- > 0;) {
            const struct pair *p = &t.pair[i % t.n];
            int left = p->n - at[i];
            if (step < i % 3 || (step > i % 3 && left == 0))
                continue;
            who[n_it] = i;
            it[n_it++] = step == i % 3
                             ? source_of(p, &s[i])
                             : target_of(g, p, &s[i], at[i],
                                         left < 5 ? left : 5, &company[i]);
        }
        if (n_it > 0)
            one_step(g, it, n_it);
        for (int i = 0; i < n_it; i++)
            at[who[i]] += it[i].port == PORT_TARGET ? it[i].n : 0;
    }
}

static void check_company(const char *family, int n_threads, size_t fold)
{
    struct rig_seq s[MAX_PAIRS * 8], alone;
    int n = t.n * 7;
    struct rig g;
    open_rig(&g, family, n_threads, fold);
    for (int i = 0; i < n; i++)
        assert_int_equal(rig_seq_open(&g, &s[i]), 0);
    run_company(&g, s, n);
    assert_true(!fold == !seq2seq_rnn_arch.table_bytes(g.self));
    for (int i = 0; i < n; i++)
        rig_seq_close(&s[i]);
    rig_close(&g);
    open_rig(&g, family, 1, 0);
    assert_int_equal(rig_seq_open(&g, &alone), 0);
    for (int i = 0; i < n; i++) {
        const struct pair *p = &t.pair[i % t.n];
        run_alone(&g, p, MAX_LEN, &alone, &whole);
        expect_same(&g, p, &whole, &company[i], "company");
    }
    rig_seq_close(&alone);
    rig_close(&g);
}

static void company_plain(const char *family)
{
    check_company(family, 1, 0);
}

static void company_threads(const char *family)
{
    check_company(family, 2, (size_t)1 << 24);
}

static void for_all(void (*check)(const char *family))
{
    golden_each(&t.names, open_fixture, check);
}

static void test_seq2seq_rnn_logits_and_attention_are_pytorchs(void **state)
{
    (void)state;
    for_all(check_outputs);
}

static void test_seq2seq_rnn_greedy_ids_are_pytorchs(void **state)
{
    (void)state;
    for_all(check_greedy);
}

static void test_seq2seq_rnn_chunks_give_the_bits_of_the_whole(void **state)
{
    (void)state;
    for_all(check_chunks);
}

static void test_seq2seq_rnn_company_gives_the_bits_of_each_alone(void **state)
{
    (void)state;
    for_all(company_plain);
    for_all(company_threads);
}

static void test_seq2seq_rnn_avx2_and_avx512_give_the_same_bits(void **state)
{
    struct err e = ERR_INIT;
    const struct kernels *k;
    struct rig_seq sa, sb;
    struct rig a, b;
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
        for (int q = 0; q < t.n; q++) {
            run_alone(&a, &t.pair[q], MAX_LEN, &sa, &whole);
            run_alone(&b, &t.pair[q], MAX_LEN, &sb, &other);
            expect_same(&a, &t.pair[q], &whole, &other, "families");
        }
        rig_seq_close(&sa);
        rig_seq_close(&sb);
        rig_close(&a);
        rig_close(&b);
    }
}

static int list_fixtures(void **state)
{
    (void)state;
    return golden_names(GOLDEN, &t.names);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_seq2seq_rnn_logits_and_attention_are_pytorchs),
        cmocka_unit_test(test_seq2seq_rnn_greedy_ids_are_pytorchs),
        cmocka_unit_test(test_seq2seq_rnn_chunks_give_the_bits_of_the_whole),
        cmocka_unit_test(test_seq2seq_rnn_company_gives_the_bits_of_each_alone),
        cmocka_unit_test(test_seq2seq_rnn_avx2_and_avx512_give_the_same_bits),
    };
    return cmocka_run_group_tests(tests, list_fixtures, NULL);
}
