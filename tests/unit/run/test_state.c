/* test_state: sequences' memory and its budget; and a state that is carried
 * over two calls gives the bits of one call with the whole text.
 *
 * SPDX-License-Identifier: MIT */
#include <pthread.h>

#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "engine/run/model.h"
#include "engine/run/state.h"
#include "models/registry.h"
#include "tests/support/unit.h"

static const struct state_layout layout = {.fixed_bytes = 192, .n_ports = 1};

static void test_state_is_empty_when_taken_again(void **state)
{
    struct state_budget b = {.limit = 4096};
    struct seq_store st;
    struct seq *s, *again;
    struct err e = ERR_INIT;
    static const unsigned char zero[192];
    assert_int_equal(seq_store_init(&st, &layout, &b, &e), 0);
    assert_int_equal(seq_take(&st, &s, &e), SEQ_OK);
    assert_int_equal(atomic_load(&b.used), 384);
    for (int i = 0; i < 3; i++) { /* an odd number of steps */
        memset(s->buf[s->cur ^ 1], 0x77, 192);
        seq_commit(&st, s, 0, NULL, 5);
    }
    assert_int_equal(s->s.len[0], 15);
    assert_int_equal(s->buf[s->cur][191], 0x77);
    seq_give(&st, s);
    assert_int_equal(atomic_load(&b.used), 0);
    assert_int_equal(seq_take(&st, &again, &e), SEQ_OK);
    assert_ptr_equal(again, s);
    assert_int_equal(again->s.len[0], 0);
    assert_memory_equal(again->buf[again->cur], zero, 192);
    assert_true((uintptr_t)again->buf[0] % 64 == 0 &&
                (uintptr_t)again->buf[1] % 64 == 0);
    seq_give(&st, again);
    seq_store_fini(&st);
}

static void test_state_budget_makes_wait_or_fail(void **state)
{
    struct state_budget b = {.limit = 800}, tiny = {.limit = 383};
    struct seq_store st;
    struct seq *s[3];
    struct err e = ERR_INIT;
    assert_int_equal(seq_store_init(&st, &layout, &b, &e), 0);
    assert_int_equal(seq_take(&st, &s[0], &e), SEQ_OK);
    assert_int_equal(seq_take(&st, &s[1], &e), SEQ_OK);
    assert_int_equal(seq_take(&st, &s[2], &e), SEQ_WAIT);
    assert_int_equal(e.code, ERR_NONE);
    seq_give(&st, s[0]);
    mem_fail_at(1);
    assert_int_equal(seq_take(&st, &s[2], &e), SEQ_OK); /* from the store */
    mem_fail_at(0);
    seq_give(&st, s[1]);
    seq_give(&st, s[2]);
    seq_store_fini(&st);
    st.budget = &tiny;
    assert_int_equal(seq_take(&st, &s[0], &e), -1);
    assert_int_equal(e.code, ERR_NOMEM);
    assert_int_equal(atomic_load(&tiny.used), 0);
}

static void *reserve_much(void *arg)
{
    struct state_budget *b = arg;
    long got = 0;
    for (int i = 0; i < 20000; i++) {
        if (state_reserve(b, 10) == 0) {
            got += atomic_load(&b->used) > b->limit;
            state_unreserve(b, 10);
        }
    }
    return (void *)got;
}

static void test_state_budget_is_never_passed(void **state)
{
    struct state_budget b = {.limit = 25};
    pthread_t t[3];
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&t[i], NULL, reserve_much, &b), 0);
    for (int i = 0; i < 3; i++) {
        void *passed;
        pthread_join(t[i], &passed);
        assert_null(passed);
    }
    assert_int_equal(atomic_load(&b.used), 0);
}

/* --- a state that is carried --- */

struct carried {
    struct seq_store *st;
    struct model *m;
    const struct kernels *k;
    struct pool *pool;
    void *scratch;
    float *row;
};

/* Append ids to the sequence; the last row of logits goes to c->row. */
static void append(struct carried *c, struct seq *s, const int32_t *ids, int n)
{
    struct want w = {
        .kind = OUT_LOGITS, .from = n - 1, .n = 1, .dst = c->row, .ld = 1024};
    struct batch_item it = {.seq = &s->s,
                            .fixed_in = s->buf[s->cur],
                            .fixed_out = s->buf[s->cur ^ 1],
                            .in = {.unit = UNIT_TOKENS, .p = ids, .n = n},
                            .w = &w,
                            .n_w = 1};
    struct batch b = {&it, 1, n, 1};
    struct exec x = {c->k, c->pool, c->scratch, 1};
    struct err e = ERR_INIT;
    assert_int_equal(c->m->arch->step(c->m->self, &x, &b, &e), 0);
    assert_int_equal(it.status, 0);
    seq_commit(c->st, s, 0, NULL, n);
}

static void check_carried(const char *dir)
{
    static const int32_t text[12] = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8};
    static float whole[1024];
    struct state_budget budget = {.limit = 1 << 20};
    struct carried c = {0};
    struct seq_store st;
    struct seq *a, *b, *fork;
    struct err e = ERR_INIT;

    assert_int_equal(kernels_pick("auto", &c.k, &e), 0);
    assert_int_equal(pool_open(1, 0, &c.pool, &e), 0);
    struct model_open_opts o = {
        .name = "carried",
        .dir = dir,
        .archs = registry_archs,
        .k = c.k,
        .options = &(struct engine_options){.max_item_tokens = 100}};
    if (model_open(&o, &c.m, &e))
        fail_msg("%s", e.msg);
    assert_true(c.m->info.cols[OUT_LOGITS] <= 1024);
    size_t row_bytes = (size_t)c.m->info.cols[OUT_LOGITS] * sizeof(float);
    c.st = &st;
    c.row = mem_floats(1024);
    c.scratch = mem_aligned(c.m->arch->scratch_bytes(
        c.m->self, &(struct step_size){.items = 1,
                                       .tokens = {12},
                                       .rows = 1,
                                       .threads = 1,
                                       .longest = 12}));
    assert_int_equal(seq_store_init(&st, &c.m->info.state, &budget, &e), 0);
    assert_int_equal(seq_take(&st, &a, &e), SEQ_OK);
    append(&c, a, text, 12);
    memcpy(whole, c.row, row_bytes);
    for (int cut = 1; cut < 12; cut++) {
        assert_int_equal(seq_take(&st, &b, &e), SEQ_OK);
        append(&c, b, text, cut);
        /* The state is plain bytes: a copy of them goes on as well. */
        assert_int_equal(seq_fork(&st, b, &fork, &e), SEQ_OK);
        append(&c, b, text + cut, 12 - cut);
        assert_memory_equal(c.row, whole, row_bytes);
        assert_int_equal(b->s.len[0], 12);
        append(&c, fork, text + cut, 12 - cut);
        assert_memory_equal(c.row, whole, row_bytes);
        seq_give(&st, b);
        seq_give(&st, fork);
    }
    seq_give(&st, a);
    seq_store_fini(&st);
    mem_aligned_free(c.row);
    mem_aligned_free(c.scratch);
    model_release(c.m);
    pool_close(c.pool);
}

static void test_state_carried_over_two_calls_equals_one_call(void **state)
{
    check_carried("tests/golden/rnn/lstm");
    check_carried("tests/golden/rnn/gru-2-bf16");
    check_carried("tests/golden/rnn/elman-tanh");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_state_is_empty_when_taken_again),
        cmocka_unit_test(test_state_budget_makes_wait_or_fail),
        cmocka_unit_test(test_state_budget_is_never_passed),
        cmocka_unit_test(test_state_carried_over_two_calls_equals_one_call),
    };
    log_configure(LOG_ERROR, 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
