/* test_share: clients that share a model. Steps are counted, not timed: a
 * newcomer's work is admitted within a few of them, whatever the others hold,
 * and everybody's answers are those of a job alone.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/run/engine.h"
#include "tests/support/chain_fix.h"
#include "tests/support/unit.h"

/* Tokens: of a step here, but as many as a turn has at least. */
#define MOST_BEHIND 256

/* n generations of `tokens` tokens, of prompts of `len` words. */
static void writers(const struct fix *f, struct flat_spec *s, int n,
                    uint64_t client, int len, int tokens)
{
    fix_specs(f, s, n, &task_generate, len, 0);
    for (int i = 0; i < n; i++) {
        s[i].client = client;
        s[i].max_tokens = tokens;
    }
}

static struct flat_spec asker(const struct fix *f, uint64_t client, int len)
{
    struct flat_spec s = fix_spec(f, &task_next, fix_words, len);
    s.client = client;
    return s;
}

static void cancel(struct watched *j, int n)
{
    for (int i = 0; i < n; i++)
        job_cancel(j[i].job);
}

static void test_share_newcomer_gets_a_place_at_once(void **state)
{
    enum { HEAVY = 20, PLACES = 4, TOKENS = 1000 };
    struct fix f;
    struct flat_spec s[HEAVY], one;
    struct watched j[HEAVY] = {{0}}, light = {0};
    fix_open(&f, &chain, &(struct engine_options){.max_rows = PLACES});
    writers(&f, s, HEAVY, 1, 2, TOKENS);
    fix_hold(&f, s, HEAVY, j, 10);
    for (int i = 1; i <= 5; i++) {
        one = asker(&f, 2, 5);
        fix_submit(&f, &one, 1, &light);
        fake_pass(4); /* the one that waits, and those of the newcomer */
        assert_int_equal(f.w.n_final, i);
        assert_int_equal(light.final, JOB_DONE);
        watch_release(&light, 1);
        memset(&light, 0, sizeof light);
    }
    cancel(j, HEAVY);
    fix_go(&f, HEAVY + 5);
    fix_end(&f, j, HEAVY);
}

static void test_share_who_gave_way_goes_on_with_the_same_answer(void **state)
{
    enum { HEAVY = 6, LIGHT = 12, PLACES = 4, TOKENS = 200 };
    struct fix f;
    struct flat_spec s[HEAVY], one;
    struct watched j[HEAVY] = {{0}}, light[LIGHT] = {{0}};
    fix_open(&f, &chain, &(struct engine_options){.max_rows = PLACES});
    writers(&f, s, HEAVY, 1, 2, TOKENS);
    fix_hold(&f, s, HEAVY, j, 10);
    for (int i = 0; i < LIGHT; i++) {
        one = asker(&f, 2 + (uint64_t)i % 3, 5);
        fix_submit(&f, &one, 1, &light[i]);
        fake_pass(2);
    }
    long before = atomic_load(&fake_stats.tokens);
    fix_go(&f, HEAVY + LIGHT);
    for (int i = 0; i < HEAVY; i++)
        check_chain(&j[i], 2, TOKENS);
    /* Nothing was computed twice. */
    assert_true(atomic_load(&fake_stats.tokens) <=
                HEAVY * (TOKENS + 1) + LIGHT * 5);
    assert_true(before > 0);
    watch_release(light, LIGHT);
    fix_end(&f, j, HEAVY);
}

static void test_share_two_clients_get_equal_parts(void **state)
{
    enum { N = 12, PLACES = 4, TOKENS = 100 };
    struct fix f;
    struct flat_spec a[N], b[N];
    struct watched ja[N] = {{0}}, jb[N] = {{0}};
    int early = 0;
    fix_open(&f, &chain, &(struct engine_options){.max_rows = PLACES});
    writers(&f, a, N, 1, 2, TOKENS);
    writers(&f, b, N, 2, 2, TOKENS);
    fix_hold(&f, a, N, ja, 10);
    fix_submit(&f, b, N, jb);
    fix_go(&f, 2 * N);
    /* Among the first half of the answers both have a part. */
    for (int i = 0; i < N; i++)
        early += jb[i].order < N;
    if (early < N / 3 || early > 2 * N / 3)
        fail_msg("%d of %d are of the second client", early, N);
    for (int i = 0; i < N; i++)
        check_chain(&jb[i], 2, TOKENS);
    watch_release(ja, N);
    fix_end(&f, jb, N);
}

static void test_share_more_clients_than_places_take_turns(void **state)
{
    enum { N = 6, PLACES = 2, TOKENS = 1500 };
    struct fix f;
    struct flat_spec s[N], one;
    struct watched j[N] = {{0}}, light = {0};
    fix_open(&f, &chain, &(struct engine_options){.max_rows = PLACES});
    atomic_store(&fake_stats.hold, 1);
    for (int i = 0; i < N; i++) {
        writers(&f, &s[i], 1, 1 + (uint64_t)i, 2, TOKENS);
        fix_submit(&f, &s[i], 1, &j[i]);
    }
    fake_pass(5);
    one = asker(&f, 100, 5);
    fix_submit(&f, &one, 1, &light);
    fix_go(&f, N + 1);
    /* It waited for turns of the others, not for their ends. */
    assert_true(light.stamp < TOKENS);
    for (int i = 0; i < N; i++)
        check_chain(&j[i], 2, TOKENS);
    watch_release(&light, 1);
    fix_end(&f, j, N);
}

/* A client whose long work went on while nobody else was there, and one that
 * comes just then: what was free is not paid for. */
static void test_share_nobody_pays_for_what_was_free(void **state)
{
    enum { TOKENS = 1500, N = 3, LEN = CHAIN_VOCAB - 10 };
    struct fix f;
    struct flat_spec s, other[N], one;
    struct watched j = {0}, k[N] = {{0}}, light = {0};
    fix_open(&f, &chain, &(struct engine_options){.step_tokens = 8});
    writers(&f, &s, 1, 1, 2, TOKENS);
    fix_run(&f, &s, 1, &j);
    fix_specs(&f, other, N, &task_next, LEN, 0);
    for (int i = 0; i < N; i++)
        other[i].client = 2;
    fix_hold(&f, other, N, k, 4);
    one = asker(&f, 1, 5);
    fix_submit(&f, &one, 1, &light);
    fake_pass(MOST_BEHIND / 8 + 4);
    assert_int_equal(light.n_final, 1);
    cancel(k, N);
    fix_go(&f, N + 2);
    watch_release(&light, 1);
    watch_release(k, N);
    fix_end(&f, &j, 1);
}

/* Client 1 is there all the time with one text that grows by a token a step:
 * that does not give it the right to all steps for a long time. (No client is
 * heavy here: that is another rule's business.) */
static void test_share_nobody_saves_up_by_asking_for_little(void **state)
{
    enum { TOKENS = 1500, N = 2, LEN = CHAIN_VOCAB - 10 };
    struct fix f;
    struct flat_spec s, long_one, other[N], one;
    struct watched j = {0}, k = {0}, more[N] = {{0}}, light = {0};
    fix_open(&f, &chain, &(struct engine_options){.step_tokens = 8});
    writers(&f, &s, 1, 1, 2, TOKENS);
    long_one = asker(&f, 2, LEN);
    fix_hold(&f, &s, 1, &j, 4);
    fix_submit(&f, &long_one, 1, &k);
    fake_pass(LEN / 7 + 8);
    assert_int_equal(k.n_final, 1);
    fix_specs(&f, other, N, &task_next, LEN, 0);
    for (int i = 0; i < N; i++)
        other[i].client = 1;
    one = asker(&f, 2, 5);
    fix_submit(&f, other, N, more);
    fix_submit(&f, &one, 1, &light);
    fake_pass(MOST_BEHIND / 7 + 8);
    assert_int_equal(light.n_final, 1);
    cancel(&j, 1);
    cancel(more, N);
    fix_go(&f, N + 3);
    watch_release(&light, 1);
    watch_release(more, N);
    watch_release(&k, 1);
    fix_end(&f, &j, 1);
}

/* More texts are written than a step has tokens; none of their clients is
 * heavy. A prompt is read all the same. */
static void test_share_a_prompt_is_read_beside_many_that_write(void **state)
{
    enum { CLIENTS = 4, EACH = 3, N = CLIENTS * EACH, TOKENS = 1000 };
    struct fix f;
    struct flat_spec s[N], one;
    struct watched j[N] = {{0}}, light = {0};
    fix_open(&f, &chain, &(struct engine_options){.step_tokens = 8});
    writers(&f, s, N, 1, 2, TOKENS);
    atomic_store(&fake_stats.hold, 1);
    for (int i = 0; i < CLIENTS; i++) {
        for (int k = 0; k < EACH; k++)
            s[i * EACH + k].client = 1 + (uint64_t)i;
        fix_submit(&f, s + i * EACH, EACH, j + i * EACH);
    }
    fake_pass(40);
    one = asker(&f, 100, 5);
    fix_submit(&f, &one, 1, &light);
    fake_pass(8);
    assert_int_equal(light.n_final, 1);
    cancel(j, N);
    fix_go(&f, N + 1);
    watch_release(&light, 1);
    fix_end(&f, j, N);
}

/* One client's n writers hold all the memory that the toy has pages for. */
static void fill_memory(struct fix *f, struct flat_spec *s, struct watched *j,
                        int n, int len, int tokens, int pass)
{
    chain_open_paged(f, 0);
    writers(f, s, n, 1, len, tokens);
    for (int i = 0; i < n; i++)
        s[i].tokens = fix_words + i; /* no common beginning */
    fix_hold(f, s, n, j, pass);
}

static void test_share_newcomer_gets_memory_at_once(void **state)
{
    enum { HEAVY = 5, LEN = 140, TOKENS = 300, LIGHT = 40 };
    struct fix f;
    struct flat_spec s[HEAVY], one;
    struct watched j[HEAVY] = {{0}}, light = {0};
    fill_memory(&f, s, j, HEAVY, LEN, TOKENS, LEN / 8 + 40);
    one = asker(&f, 2, LIGHT);
    one.tokens = fix_words + 20;
    fix_submit(&f, &one, 1, &light);
    fake_pass(LIGHT / 8 + 4);
    assert_int_equal(f.w.n_final, 1);
    assert_int_equal(light.final, JOB_DONE);
    fix_go(&f, HEAVY + 1);
    for (int i = 0; i < HEAVY; i++)
        check_chain(&j[i], i + LEN, TOKENS);
    watch_release(&light, 1);
    fix_end(&f, j, HEAVY);
}

/* All need a page and there is none: the one that came last is not the one
 * that loses its state, when it is its client's only one. */
static void test_share_who_has_one_does_not_lose_its_memory(void **state)
{
    enum { HEAVY = 4, LEN = 100, TOKENS = 300, LIGHT = 40, MADE = 60 };
    struct fix f;
    struct flat_spec s[HEAVY], one;
    struct watched j[HEAVY] = {{0}}, light = {0};
    fill_memory(&f, s, j, HEAVY, LEN, TOKENS, LEN / 8 + 1);
    writers(&f, &one, 1, 2, LIGHT, MADE);
    one.tokens = fix_words + 20;
    fix_submit(&f, &one, 1, &light);
    /* It may wait while others fill their pages, and reads nothing again. */
    fake_pass(1 + LIGHT / 8 + MADE + CHAIN_PAGE);
    assert_int_equal(light.n_final, 1);
    fix_go(&f, HEAVY + 1);
    for (int i = 0; i < HEAVY; i++)
        assert_int_equal(j[i].final, JOB_DONE);
    watch_release(&light, 1);
    fix_end(&f, j, HEAVY);
}

static void test_share_the_queue_keeps_room_for_others(void **state)
{
    enum { MOST = 64, FIRST = 30, THEN = 26, MORE = 8 };
    struct fix f;
    struct flat_spec s[MOST], one[2];
    struct watched j[MOST] = {{0}}, light[2] = {{0}};
    fix_open(&f, &chain,
             &(struct engine_options){.max_rows = 1, .max_queue = MOST});
    writers(&f, s, MOST, 1, 2, 100);
    fix_hold(&f, s, FIRST, j, 1);
    fix_submit(&f, s + FIRST, THEN, j + FIRST);
    fix_refused(&f, s, MORE, j + FIRST + THEN, ERR_BUSY, "queue_full", NULL);
    one[0] = asker(&f, 2, 5);
    one[1] = asker(&f, 2, 6);
    fix_submit(&f, one, 2, light);
    cancel(j, FIRST + THEN);
    fix_go(&f, FIRST + THEN + 2);
    for (int i = 0; i < 2; i++)
        assert_int_equal(light[i].final, JOB_DONE);
    watch_release(light, 2);
    fix_end(&f, j, FIRST + THEN);
}

/* A client alone may fill the queue in one go, as long as it is empty. */
static void test_share_a_client_alone_may_fill_the_queue(void **state)
{
    enum { MOST = 64 };
    struct fix f;
    struct flat_spec s[MOST];
    struct watched j[MOST] = {{0}};
    fix_open(&f, &chain, &(struct engine_options){.max_queue = MOST});
    writers(&f, s, MOST, 1, 2, 3);
    fix_run(&f, s, MOST, j);
    fix_end(&f, j, MOST);
}

/* Who reads requests and writes answers needs a core, too. */
static void test_share_steps_beside_a_light_one_leave_a_core_free(void **state)
{
    enum { HEAVY = 8, TOKENS = 300 };
    struct fake_config c = chain;
    c.flops = 1000000; /* so that several threads are worth it */
    for (int light = 0; light < 2; light++) {
        struct fix f;
        struct flat_spec s[HEAVY + 1];
        struct watched j[HEAVY + 1] = {{0}};
        fix_open(&f, &c, &(struct engine_options){.n_threads = 3});
        writers(&f, s, HEAVY, 1, 2, TOKENS);
        writers(&f, s + HEAVY, 1, 1 + (uint64_t)light, 2, TOKENS);
        fix_hold(&f, s, HEAVY, j, 1);
        fix_submit(&f, s + HEAVY, 1, j + HEAVY);
        fix_go(&f, HEAVY + 1);
        assert_int_equal(atomic_load(&fake_stats.threads[2]) > 0, light);
        for (int i = 0; i < HEAVY + 1; i++)
            check_chain(&j[i], 2, TOKENS);
        fix_end(&f, j, HEAVY + 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_share_newcomer_gets_a_place_at_once),
        cmocka_unit_test(test_share_who_gave_way_goes_on_with_the_same_answer),
        cmocka_unit_test(test_share_two_clients_get_equal_parts),
        cmocka_unit_test(test_share_more_clients_than_places_take_turns),
        cmocka_unit_test(test_share_nobody_pays_for_what_was_free),
        cmocka_unit_test(test_share_nobody_saves_up_by_asking_for_little),
        cmocka_unit_test(test_share_a_prompt_is_read_beside_many_that_write),
        cmocka_unit_test(test_share_newcomer_gets_memory_at_once),
        cmocka_unit_test(test_share_who_has_one_does_not_lose_its_memory),
        cmocka_unit_test(test_share_the_queue_keeps_room_for_others),
        cmocka_unit_test(test_share_a_client_alone_may_fill_the_queue),
        cmocka_unit_test(test_share_steps_beside_a_light_one_leave_a_core_free),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
