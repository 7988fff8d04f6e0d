/* reply: an answer that came out longer than it was thought to be has no more
 * room than others.
 *
 * SPDX-License-Identifier: MIT */
#include "server/api/reply.h"
#include "server/config.h"
#include "tests/support/unit.h"

#define MIB ((size_t)1 << 20)
#define THOUGHT 70000 /* bytes that are asked for: more than a small answer */

static struct config cfg;
static struct server sv = {.cfg = &cfg};

static int up(void **state)
{
    static char *argv[] = {"seqd", "--answer-mb", "2", "--unread-mb", "4"};
    struct err e = ERR_INIT;
    return config_load(&cfg, 5, argv, &e);
}

static int down(void **state)
{
    config_fini(&cfg);
    return 0;
}

static struct request *begin(struct request **pool)
{
    struct request *r = request_new(pool, &sv);
    assert_non_null(r);
    return r;
}

/* Write n bytes, of which `thought` were announced (0: nobody asked). */
static int write_bytes(struct request *r, size_t thought, size_t n)
{
    static const char block[1024];
    if (thought)
        assert_int_equal(unread_take(r, thought), 0);
    for (size_t at = 0; at < n; at += sizeof block)
        assert_int_equal(buf_add(&r->out, block, sizeof block), 0);
    return reply_done(r, 200, "text/plain");
}

static void test_a_long_answer_that_was_thought_short_is_counted(void **state)
{
    enum { N = 3 };
    struct request *pool = NULL, *r[N];
    size_t n = 3 * MIB / 2;
    for (int i = 0; i < N; i++)
        r[i] = begin(&pool);
    assert_int_equal(write_bytes(r[0], THOUGHT, n), 0);
    assert_int_equal(write_bytes(r[1], THOUGHT, n), 0);
    assert_int_equal(atomic_load(&sv.unread), 2 * n);
    assert_int_equal(write_bytes(r[2], THOUGHT, n), -1); /* 4.5 of 4 MiB */
    assert_string_equal(reply_code(r[2]), "answers_full");
    assert_true(atomic_load(&sv.unread) <= 4 * MIB);
    reply_error(r[2]);
    assert_int_equal(r[2]->status, 503);
    assert_int_equal(atomic_load(&sv.unread), 2 * n + r[2]->out.len);

    request_reset(r[0]);
    request_reset(r[2]);
    assert_int_equal(write_bytes(r[2], THOUGHT, n),
                     0); /* there is room again */
    for (int i = 0; i < N; i++)
        request_destroy(r[i]);
    assert_int_equal(atomic_load(&sv.unread), 0);
}

/* What operators ask for is told while others' answers fill the room. */
static void test_who_asks_for_no_room_is_not_refused(void **state)
{
    struct request *pool = NULL, *full = begin(&pool), *r = begin(&pool);
    assert_int_equal(unread_take(full, 2 * MIB), 0);
    unread_set(full, 4 * MIB);
    assert_int_equal(write_bytes(r, 0, MIB / 8), 0);
    assert_int_equal(atomic_load(&sv.unread), 4 * MIB + MIB / 8);
    request_destroy(full);
    request_destroy(r);
    assert_int_equal(atomic_load(&sv.unread), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_long_answer_that_was_thought_short_is_counted),
        cmocka_unit_test(test_who_asks_for_no_room_is_not_refused),
    };
    return cmocka_run_group_tests(tests, up, down);
}
