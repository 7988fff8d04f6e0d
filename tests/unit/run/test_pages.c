/* test_pages: states in pages: growth, sharing, copy on write, prefixes,
 * windows, the budget. A page's content is written by the test as an
 * architecture would: one number per token.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/base/mem.h"
#include "engine/base/rng.h"
#include "engine/run/state.h"
#include "tests/support/unit.h"

#define PT 4 /* tokens of a page */

static const struct state_layout paged = {
    .n_ports = 1, .port = {{.page_tokens = PT, .page_bytes = 64}}};
static const struct state_layout windowed = {
    .n_ports = 1, .port = {{.page_tokens = PT, .page_bytes = 64, .window = 6}}};

static size_t page_cost(const struct seq_store *st)
{
    return st->pool[0].each;
}

/* Append ids as a step would; SEQ_OK or what seq_reserve says. */
static int append(struct seq_store *st, struct seq *s, const int32_t *ids,
                  int n)
{
    struct err e = ERR_INIT;
    int rc = seq_reserve(st, s, 0, n, &e);
    if (rc)
        return rc;
    for (int i = 0; i < n; i++) {
        int64_t at = s->s.len[0] + i;
        ((int32_t *)s->s.pages[0][at / PT])[at % PT] = ids[i];
    }
    seq_commit(st, s, 0, ids, n);
    return SEQ_OK;
}

/* The tokens from `from` on are what the sequence holds. */
static void check_holds(const struct seq *s, const int32_t *ids, int from,
                        int n)
{
    assert_int_equal(s->s.len[0], n);
    for (int i = from; i < n; i++)
        assert_int_equal(((int32_t *)s->s.pages[0][i / PT])[i % PT], ids[i]);
}

static void count_up(int32_t *ids, int n, int first)
{
    for (int i = 0; i < n; i++)
        ids[i] = first + i;
}

static void open_store(struct seq_store *st, const struct state_layout *l,
                       struct state_budget *b)
{
    struct err e = ERR_INIT;
    assert_int_equal(seq_store_init(st, l, b, &e), 0);
}

static struct seq *take(struct seq_store *st)
{
    struct err e = ERR_INIT;
    struct seq *s;
    assert_int_equal(seq_take(st, &s, &e), SEQ_OK);
    return s;
}

static void test_pages_grow_with_the_sequence(void **state)
{
    struct state_budget b = {.limit = 1 << 16};
    struct seq_store st;
    int32_t ids[40];
    count_up(ids, 40, 7);
    open_store(&st, &paged, &b);
    struct seq *s = take(&st);
    assert_int_equal(atomic_load(&b.used), 0);
    for (int i = 0; i < 40; i++) {
        assert_int_equal(append(&st, s, ids + i, 1), SEQ_OK);
        assert_int_equal(atomic_load(&b.used),
                         (size_t)(i / PT + 1) * page_cost(&st));
        assert_true((uintptr_t)s->s.pages[0][i / PT] % 64 == 0);
    }
    check_holds(s, ids, 0, 40);
    seq_give(&st, s);
    seq_store_fini(&st);
    assert_int_equal(atomic_load(&b.used), 0);
}

static void test_pages_of_a_fork_are_copied_when_written(void **state)
{
    struct state_budget b = {.limit = 1 << 16};
    struct seq_store st;
    struct seq *fork;
    struct err e = ERR_INIT;
    int32_t ids[20], other[20];
    open_store(&st, &paged, &b);
    for (int cut = 1; cut < 12; cut++) {
        count_up(ids, 20, 100 * cut);
        count_up(other, 20, 100 * cut);
        other[cut] = 1; /* they part here */
        struct seq *s = take(&st);
        assert_int_equal(append(&st, s, ids, cut), SEQ_OK);
        size_t before = atomic_load(&b.used);
        assert_int_equal(seq_fork(&st, s, &fork, &e), SEQ_OK);
        assert_int_equal(atomic_load(&b.used), before); /* nothing copied */
        assert_int_equal(append(&st, fork, other + cut, 15 - cut), SEQ_OK);
        assert_int_equal(append(&st, s, ids + cut, 18 - cut), SEQ_OK);
        check_holds(fork, other, 0, 15);
        check_holds(s, ids, 0, 18);
        for (int i = 0; i < cut / PT; i++) /* full ones stay shared */
            assert_ptr_equal(s->s.pages[0][i], fork->s.pages[0][i]);
        assert_ptr_not_equal(s->s.pages[0][cut / PT],
                             fork->s.pages[0][cut / PT]);
        seq_give(&st, s);
        check_holds(fork, other, 0, 15);
        seq_give(&st, fork);
    }
    seq_store_fini(&st);
    assert_int_equal(atomic_load(&b.used), 0);
}

static void test_pages_of_a_prefix_are_shared(void **state)
{
    struct state_budget b = {.limit = 1 << 16};
    struct seq_store st;
    int32_t ids[23], other[23];
    count_up(ids, 23, 0);
    count_up(other, 23, 0);
    other[9] = 77; /* in the third page */
    open_store(&st, &paged, &b);
    struct seq *s = take(&st), *t = take(&st), *u = take(&st);
    assert_int_equal(seq_share(&st, t, ids, 23), 0);
    assert_int_equal(append(&st, s, ids, 23), SEQ_OK);
    /* Of a running sequence, full pages only, at most so many tokens. */
    assert_int_equal(seq_share(&st, t, ids, 22), 20);
    check_holds(t, ids, 0, 20);
    assert_int_equal(seq_share(&st, u, other, 23), 8);
    assert_ptr_equal(u->s.pages[0][1], s->s.pages[0][1]);
    assert_int_equal(append(&st, u, other + 8, 15), SEQ_OK);
    assert_int_equal(append(&st, t, ids + 20, 3), SEQ_OK);
    check_holds(u, other, 0, 23);
    check_holds(t, ids, 0, 23);
    seq_give(&st, s);
    seq_give(&st, t);
    seq_give(&st, u);
    /* Of finished ones. */
    s = take(&st);
    assert_int_equal(seq_share(&st, s, other, 11), 8);
    assert_int_equal(seq_share(&st, s, other + 8, 15), 12);
    check_holds(s, other, 0, 20);
    seq_give(&st, s);
    seq_store_fini(&st);
    assert_int_equal(atomic_load(&b.used), 0);
}

static void test_pages_with_equal_tokens_become_one(void **state)
{
    struct state_budget b = {.limit = 1 << 16};
    struct seq_store st;
    int32_t ids[16];
    count_up(ids, 16, 3);
    open_store(&st, &paged, &b);
    struct seq *s = take(&st), *t = take(&st);
    for (int i = 0; i < 16; i++) { /* side by side, as in one batch */
        assert_int_equal(append(&st, s, ids + i, 1), SEQ_OK);
        assert_int_equal(append(&st, t, ids + i, 1), SEQ_OK);
    }
    for (int i = 0; i < 4; i++)
        assert_ptr_equal(s->s.pages[0][i], t->s.pages[0][i]);
    check_holds(t, ids, 0, 16);
    seq_give(&st, s);
    seq_give(&st, t);
    assert_int_equal(st.pool[0].n_idle, 4);
    seq_store_fini(&st);
    assert_int_equal(atomic_load(&b.used), 0);
}

static void test_pages_of_other_vectors_are_not_found(void **state)
{
    struct state_budget b = {.limit = 1 << 16};
    struct seq_store st;
    struct err e = ERR_INIT;
    int32_t ids[8];
    count_up(ids, 8, 0);
    open_store(&st, &paged, &b);
    struct seq *s = take(&st), *t = take(&st);
    assert_int_equal(seq_reserve(&st, s, 0, 8, &e), SEQ_OK);
    seq_commit(&st, s, 0, NULL, 8);
    assert_int_equal(seq_share(&st, t, ids, 8), 0);
    assert_int_equal(st.pool[0].n_indexed, 0);
    seq_give(&st, s);
    seq_give(&st, t);
    seq_store_fini(&st);
}

static void test_pages_idle_longest_go_first(void **state)
{
    struct state_budget b = {.limit = 1 << 16};
    struct seq_store st;
    int32_t a[8], c[8], big[64];
    count_up(a, 8, 10);
    count_up(c, 8, 20);
    count_up(big, 64, 30);
    open_store(&st, &paged, &b);
    b.limit = 6 * page_cost(&st);
    struct seq *s = take(&st);
    assert_int_equal(append(&st, s, a, 8), SEQ_OK);
    seq_give(&st, s);
    s = take(&st);
    assert_int_equal(append(&st, s, c, 8), SEQ_OK);
    seq_give(&st, s);
    s = take(&st);
    assert_int_equal(seq_share(&st, s, a, 8), 8); /* a is used again */
    seq_give(&st, s);
    s = take(&st);
    assert_int_equal(append(&st, s, big, 12), SEQ_OK); /* one page too many */
    struct seq *t = take(&st);
    assert_int_equal(seq_share(&st, t, c, 8), 4); /* its end went first */
    assert_int_equal(seq_share(&st, t, c + 4, 4), 0);
    seq_give(&st, t);
    t = take(&st);
    assert_int_equal(seq_share(&st, t, a, 8), 8);
    /* Pages in use are never dropped: what does not fit has to wait. */
    assert_int_equal(append(&st, s, big + 12, 8), SEQ_WAIT);
    check_holds(s, big, 0, 12);
    check_holds(t, a, 0, 8);
    seq_give(&st, t);
    assert_int_equal(append(&st, s, big + 12, 12), SEQ_OK);
    check_holds(s, big, 0, 24);
    seq_give(&st, s);
    seq_store_fini(&st);
}

static void test_pages_are_given_back_when_others_need_them(void **state)
{
    struct state_budget b = {.limit = 1 << 16};
    struct seq_store one, two;
    int32_t ids[32];
    count_up(ids, 32, 0);
    open_store(&one, &paged, &b);
    open_store(&two, &paged, &b);
    b.limit = 8 * page_cost(&one);
    struct seq *s = take(&one), *t = take(&two);
    assert_int_equal(append(&one, s, ids, 30), SEQ_OK);
    assert_int_equal(seq_room(&two), 0);
    assert_int_equal(append(&two, t, ids, 1), SEQ_WAIT);
    seq_give(&one, s); /* idle prefixes and one free page: still its own */
    assert_int_equal(one.pool[0].n_idle, 7);
    assert_int_equal(one.pool[0].n_free, 1);
    assert_int_equal(append(&two, t, ids, 1), SEQ_WAIT);
    seq_trim(&one);
    assert_int_equal(atomic_load(&b.used), 0);
    assert_int_equal(append(&two, t, ids, 32), SEQ_OK);
    seq_give(&two, t);
    seq_store_fini(&one);
    seq_store_fini(&two);
    assert_int_equal(atomic_load(&b.used), 0);
}

static void test_pages_behind_a_window_are_given_back(void **state)
{
    struct state_budget b = {.limit = 1 << 16};
    struct seq_store st;
    struct seq *fork;
    struct err e = ERR_INIT;
    int32_t ids[200];
    count_up(ids, 200, 5);
    open_store(&st, &windowed, &b);
    struct seq *s = take(&st);
    st.share = 0; /* else they stay as idle prefixes */
    for (int i = 0; i < 199; i++) {
        assert_int_equal(append(&st, s, ids + i, 1), SEQ_OK);
        int from = i + 1 > 6 ? i + 1 - 6 : 0;
        check_holds(s, ids, from, i + 1);
        assert_true(st.pool[0].n_pages - st.pool[0].n_free <= 3);
    }
    assert_true(seq_most_bytes(&st, (int64_t[]){200, 0}, 1) <=
                4 * page_cost(&st));
    assert_int_equal(seq_fork(&st, s, &fork, &e), SEQ_OK);
    assert_int_equal(append(&st, fork, ids + 199, 1), SEQ_OK);
    check_holds(fork, ids, 194, 200);
    seq_give(&st, s);
    seq_give(&st, fork);
    seq_store_fini(&st);
    assert_int_equal(atomic_load(&b.used), 0);
}

static void test_pages_of_a_windowed_prefix_are_shared(void **state)
{
    struct state_budget b = {.limit = 1 << 16};
    struct seq_store st;
    int32_t ids[40];
    count_up(ids, 40, 5);
    open_store(&st, &windowed, &b);
    struct seq *s = take(&st), *t = take(&st);
    assert_int_equal(append(&st, s, ids, 40), SEQ_OK);
    assert_int_equal(seq_share(&st, t, ids, 39), 36);
    check_holds(t, ids, 30, 36);
    assert_int_equal(append(&st, t, ids + 36, 4), SEQ_OK);
    check_holds(t, ids, 34, 40);
    seq_give(&st, s);
    seq_give(&st, t);
    seq_store_fini(&st);
    assert_int_equal(atomic_load(&b.used), 0);
}

static void test_pages_whose_memory_fails_leave_the_sequence(void **state)
{
    struct state_budget b = {.limit = 1 << 16};
    struct err e = ERR_INIT;
    int32_t ids[300];
    int failed = 0;
    count_up(ids, 300, 0);
    for (int n = 1; n < 200; n++) {
        struct seq_store st;
        struct seq *s, *fork = NULL;
        open_store(&st, &paged, &b);
        s = take(&st);
        assert_int_equal(append(&st, s, ids, 3), SEQ_OK);
        mem_fail_at(n);
        int rc = append(&st, s, ids + 3, 297);
        int rf = rc ? -1 : seq_fork(&st, s, &fork, &e);
        mem_fail_at(0);
        err_clear(&e);
        failed += rc != 0;
        check_holds(s, ids, 0, rc ? 3 : 300);
        if (rc) {
            assert_int_equal(append(&st, s, ids + 3, 297), SEQ_OK);
            check_holds(s, ids, 0, 300);
        }
        if (rf == 0)
            seq_give(&st, fork);
        seq_give(&st, s);
        seq_store_fini(&st);
        assert_int_equal(atomic_load(&b.used), 0);
    }
    assert_true(failed > 70);
}

/* Random life of many sequences against plain arrays. */
static void test_pages_stay_right_in_a_crowd(void **state)
{
    enum { N = 12, MAX = 60 };
    static int32_t want[N][MAX];
    struct seq *s[N] = {0};
    int len[N] = {0};
    struct state_budget b = {.limit = 1 << 16};
    struct seq_store st;
    struct err e = ERR_INIT;
    struct rng r;
    int waits = 0, shared = 0;
    rng_init(&r, 4);
    open_store(&st, &paged, &b);
    b.limit = 60 * page_cost(&st);
    for (int round = 0; round < 20000; round++) {
        int i = (int)rng_below(&r, N), k = (int)rng_below(&r, N);
        uint32_t what = rng_below(&r, 10);
        if (!s[i]) {
            s[i] = take(&st);
            /* Few different texts: prefixes meet. */
            for (int t = 0; t < MAX; t++)
                want[i][t] = (int32_t)(rng_below(&r, 40) == 0) + t;
            len[i] = seq_share(&st, s[i], want[i], MAX - 1);
            shared += len[i];
        } else if (what == 0) {
            seq_give(&st, s[i]);
            s[i] = NULL;
        } else if (what == 1 && s[k] && k != i) {
            seq_give(&st, s[i]);
            assert_int_equal(seq_fork(&st, s[k], &s[i], &e), SEQ_OK);
            memcpy(want[i], want[k], sizeof(want[i]));
            len[i] = len[k];
            for (int t = len[i]; t < MAX; t++)
                want[i][t] = (int32_t)rng_below(&r, 2);
        } else if (what == 2) {
            seq_give(&st, s[i]);
            s[i] = take(&st);
            len[i] = 0;
        } else if (len[i] < MAX) {
            int n = 1 + (int)rng_below(&r, (uint32_t)(MAX - len[i]));
            int rc = append(&st, s[i], want[i] + len[i], n);
            waits += rc == SEQ_WAIT;
            assert_true(rc == SEQ_OK || rc == SEQ_WAIT);
            len[i] += rc == SEQ_OK ? n : 0;
        }
        if (s[i])
            check_holds(s[i], want[i], 0, len[i]);
        assert_true(atomic_load(&b.used) <= b.limit);
    }
    assert_true(waits > 100 && shared > 1000);
    for (int i = 0; i < N; i++)
        if (s[i])
            seq_give(&st, s[i]);
    seq_store_fini(&st);
    assert_int_equal(atomic_load(&b.used), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pages_grow_with_the_sequence),
        cmocka_unit_test(test_pages_of_a_fork_are_copied_when_written),
        cmocka_unit_test(test_pages_of_a_prefix_are_shared),
        cmocka_unit_test(test_pages_with_equal_tokens_become_one),
        cmocka_unit_test(test_pages_of_other_vectors_are_not_found),
        cmocka_unit_test(test_pages_idle_longest_go_first),
        cmocka_unit_test(test_pages_are_given_back_when_others_need_them),
        cmocka_unit_test(test_pages_behind_a_window_are_given_back),
        cmocka_unit_test(test_pages_of_a_windowed_prefix_are_shared),
        cmocka_unit_test(test_pages_whose_memory_fails_leave_the_sequence),
        cmocka_unit_test(test_pages_stay_right_in_a_crowd),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
