/* test_faults: whatever goes wrong, each accepted job gets exactly one final
 * event, its neighbours are unharmed and the engine goes on.
 *
 * SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "tests/support/engine_fix.h"
#include "tests/support/unit.h"

static const struct fake_config chunks = {.max_chain = 8};

/* A classification of ids must be what the toy says. */
static void check_scores(const struct watched *j, const int32_t *ids, int n)
{
    const struct flat_result flat = flat_result(j->job), *r = &flat;
    uint32_t h = fake_state(ids, n);
    int best = 0;
    assert_int_equal(j->final, JOB_DONE);
    for (int k = 1; k < r->n_scores; k++)
        best = fake_score(h, k) > fake_score(h, best) ? k : best;
    assert_int_equal(r->best, best);
}

static void check_failed(const struct watched *j, enum err_code code)
{
    assert_int_equal(j->n_final, 1);
    assert_int_equal(j->final, JOB_FAILED);
    assert_int_equal(job_error(j->job)->code, code);
    assert_true(job_error(j->job)->msg[0] != 0);
}

/* --- items that fail --- */

static void test_fault_of_an_item_harms_no_neighbour(void **state)
{
    static const struct {
        int32_t id;
        enum err_code code;
    } bad[] = {{FAKE_NAN, ERR_INTERNAL},
               {FAKE_INF, ERR_INTERNAL},
               {FAKE_ITEM, ERR_INTERNAL},
               {FAKE_ITEM_OOM, ERR_NOMEM}};
    enum { N = 9 };
    for (int task = 0; task < 3; task++) {
        struct fix f;
        fix_open(&f, &chunks, NULL);
        for (int k = 0; k < 4; k++) {
            for (int place = 0; place < N; place += 4) {
                struct watched j[N] = {{0}};
                struct flat_spec s[N];
                int32_t ill[30];
                memcpy(ill, fix_words, sizeof ill);
                ill[11] = bad[k].id;
                fix_specs(&f, s, N, &task_classify, 20, 1);
                s[place] = fix_spec(&f, fix_tasks[task], ill, 30);
                fix_run(&f, s, N, j);
                for (int i = 0; i < N; i++)
                    if (i == place)
                        check_failed(&j[i], bad[k].code);
                    else
                        check_scores(&j[i], fix_words, 20 + i);
                watch_release(j, N);
            }
        }
        fix_close(&f);
    }
}

static void test_fault_of_a_step_fails_its_jobs_only(void **state)
{
    struct fix f;
    struct watched j[4] = {{0}};
    struct flat_spec s[4];
    int32_t ill[100];
    fix_open(&f, &chunks, &(struct engine_options){.max_rows = 2});
    memcpy(ill, fix_words, sizeof ill);
    ill[20] = FAKE_STEP;
    fix_specs(&f, s, 4, &task_classify, 50, 1);
    s[1].tokens = ill;
    fix_run(&f, s, 4, j);
    check_failed(&j[0], ERR_INTERNAL); /* it was in the step */
    check_failed(&j[1], ERR_INTERNAL);
    check_scores(&j[2], fix_words, 52);
    check_scores(&j[3], fix_words, 53);
    assert_null(strstr(job_error(j[0].job)->msg, "fake")); /* a fixed text */
    fix_end(&f, j, 4);
}

static void test_fault_of_a_cut_file_fails_jobs_not_the_process(void **state)
{
    struct fix f;
    struct watched j[3] = {{0}};
    struct flat_spec s[3];
    char path[128];
    fix_open(&f, &chunks, NULL);
    fix_specs(&f, s, 3, &task_classify, 30, 0);
    fix_run(&f, s, 1, j);
    check_scores(&j[0], fix_words, 30);
    watch_release(j, 1);
    assert_int_equal(engine_damaged(f.g), 0);
    snprintf(path, sizeof(path), "%s/model.safetensors", f.dir);
    assert_int_equal(truncate(path, 0), 0);
    fix_run(&f, s, 3, j);
    for (int i = 0; i < 3; i++)
        check_failed(&j[i], ERR_INTERNAL);
    assert_int_equal(engine_damaged(f.g), 1);
    fix_end(&f, j, 3);
}

/* --- memory --- */

static void test_fault_of_each_allocation_fails_jobs_only(void **state)
{
    int failed = 0, refused = 0, reached = 1;
    for (long n = 1; reached; n++) {
        struct fix f;
        struct watched j[3] = {{0}}, after = {0};
        struct flat_spec s[3];
        struct err e = ERR_INIT;
        static const char *const stop[] = {"some", "stop"};
        assert_true(n < 200);
        fix_open(&f, &chunks, NULL);
        s[0] = fix_spec(&f, &task_classify, fix_words, 200);
        s[1] = fix_spec(&f, &task_next, fix_words, 20);
        s[2] = fix_spec(&f, &task_generate, fix_words, 20);
        s[2].sample.temperature = 1;
        s[2].sample.repetition_penalty = 1.5f;
        s[2].max_tokens = 40;
        s[2].stop = stop;
        s[2].n_stop = 2;
        mem_fail_at(n);
        int rc = watch_submit(&f.w, f.g, s, 3, j, &e);
        if (rc) {
            assert_int_equal(e.code, ERR_NOMEM);
            assert_int_equal(f.w.n_final, 0);
            refused++;
        } else {
            assert_int_equal(watch_wait(&f.w, 3), 0);
            reached = 0;
            for (int i = 0; i < 3; i++) {
                if (j[i].final == JOB_FAILED) {
                    check_failed(&j[i], ERR_NOMEM);
                    failed++;
                    reached = 1;
                }
            }
            if (j[0].final == JOB_DONE)
                check_scores(&j[0], fix_words, 200);
            watch_release(j, 3);
        }
        mem_fail_at(0);
        fix_run(&f, s, 1, &after); /* it goes on */
        check_scores(&after, fix_words, 200);
        fix_end(&f, &after, 1);
    }
    assert_true(refused >= 10); /* of the submitter's side */
    assert_true(failed >= 3);   /* of the runner's */
}

static void test_fault_of_each_allocation_of_a_load_is_an_error(void **state)
{
    struct fix f;
    int rc = -1, tries = 0;
    fix_open(&f, &chunks, NULL);
    for (long n = 1; rc; n++) {
        struct err e = ERR_INIT;
        assert_true(n < 3000);
        mem_fail_at(n);
        rc = engine_load(f.g, "second", f.dir, &e);
        mem_fail_at(0);
        assert_true(rc == 0 || e.code == ERR_NOMEM);
        tries++;
    }
    assert_true(tries > 20);
    fix_close(&f);
}

/* --- cancel, deadline, drain --- */

static void test_cancel_at_every_step_ends_the_job_once(void **state)
{
    enum { N = 4, STEPS = 10 };
    for (int at = 0; at < STEPS; at++) {
        struct fix f;
        struct watched j[N] = {{0}};
        struct flat_spec s[N];
        fix_open(&f, &chunks, NULL);
        fix_specs(&f, s, N, &task_classify, 27, 1);
        s[0] = fix_spec(&f, &task_generate, fix_words, 20); /* 3 + 7 steps */
        s[0].sample.temperature = 1;
        s[0].sample.seed = 3; /* no end token among its eight */
        fix_hold(&f, s, N, j, at);
        job_cancel(j[0].job);
        job_cancel(j[0].job);
        fix_go(&f, N);
        assert_int_equal(j[0].n_final, 1);
        if (at < 9) /* the step that is held is its last but one at most */
            check_failed(&j[0], ERR_CANCELLED);
        else
            assert_int_equal(j[0].final, JOB_DONE);
        for (int i = 1; i < N; i++)
            check_scores(&j[i], fix_words, 27 + i);
        job_cancel(j[1].job); /* too late: nothing happens */
        fix_end(&f, j, N);
    }
}

static void test_cancel_from_the_event_itself(void **state)
{
    struct fix f;
    struct watched j = {.cancel_after = 3};
    int32_t ids[2] = {FAKE_BOS, 10};
    fix_open(&f, &(struct fake_config){.chain = 1, .max_chain = 8}, NULL);
    struct flat_spec s = fix_spec(&f, &task_generate, ids, 2);
    s.stream = 1;
    s.max_tokens = 30;
    fix_run(&f, &s, 1, &j);
    check_failed(&j, ERR_CANCELLED);
    assert_int_equal(j.n_text, 3);
    fix_end(&f, &j, 1);
}

static void test_cancel_of_waiting_jobs(void **state)
{
    enum { N = 20 };
    struct fix f;
    struct watched j[N] = {{0}};
    struct flat_spec s[N];
    fix_open(&f, &chunks, &(struct engine_options){.max_rows = 1});
    fix_specs(&f, s, N, &task_classify, 10, 1);
    fix_hold(&f, s, N, j, 0);
    for (int i = 1; i < N; i += 2)
        job_cancel(j[i].job);
    fix_go(&f, N);
    for (int i = 0; i < N; i++)
        if (i % 2)
            check_failed(&j[i], ERR_CANCELLED);
        else
            check_scores(&j[i], fix_words, 10 + i);
    fix_end(&f, j, N);
}

static void test_deadline_ends_running_and_waiting_jobs(void **state)
{
    enum { N = 6 };
    struct fix f;
    struct watched j[N] = {{0}};
    struct flat_spec s[N];
    int32_t slow[2000];
    for (int i = 0; i < 2000; i++)
        slow[i] = i % 8 ? FAKE_WORD : FAKE_SLOW;
    fix_open(&f, &chunks, &(struct engine_options){.max_rows = 2});
    fix_specs(&f, s, N, &task_classify, 30, 0);
    for (int i = 0; i < 2; i++)
        s[i] = fix_spec(&f, &task_classify, slow, 2000);
    int64_t now = clock_now_us();
    s[0].deadline_us = now + 30000; /* 250 slow steps take longer */
    s[1].deadline_us = now + 60000;
    s[2].deadline_us = now + 5000; /* while it waits */
    s[3].deadline_us = now - 1;
    s[4].deadline_us = now + 20000000;
    fix_run(&f, s, N, j);
    for (int i = 0; i < 4; i++) {
        check_failed(&j[i], ERR_TIMEOUT);
        assert_string_equal(job_error(j[i].job)->reason, "deadline_exceeded");
    }
    check_scores(&j[4], fix_words, 30);
    check_scores(&j[5], fix_words, 30);
    fix_end(&f, j, N);
}

/* The submitter's own clock may be the first to cancel. */
static void test_a_late_job_that_is_cancelled_was_late(void **state)
{
    struct fix f;
    struct watched j = {0};
    fix_open(&f, &chunks, NULL);
    struct flat_spec s = fix_spec(&f, &task_classify, fix_words, 30);
    s.deadline_us = clock_now_us() + 20000;
    fix_hold(&f, &s, 1, &j, 0);
    while (clock_now_us() <= s.deadline_us) {
    }
    job_cancel(j.job);
    fix_go(&f, 1);
    check_failed(&j, ERR_TIMEOUT);
    fix_end(&f, &j, 1);
}

static void test_drain_lets_running_jobs_end(void **state)
{
    enum { N = 50 };
    struct fix f;
    struct watched j[N] = {{0}}, late = {0};
    struct flat_spec s[N];
    fix_open(&f, &chunks, &(struct engine_options){.max_rows = 4});
    fix_specs(&f, s, N, &task_classify, 5, 1);
    fix_submit(&f, s, N, j);
    assert_int_equal(engine_draining(f.g), 0);
    assert_int_equal(engine_drain(f.g, 10000), 0);
    assert_int_equal(engine_draining(f.g), 1);
    for (int i = 0; i < N; i++) {
        assert_int_equal(j[i].n_final, 1);
        check_scores(&j[i], fix_words, 5 + i);
    }
    fix_refused(&f, s, 1, &late, ERR_DRAINING, NULL, NULL);
    fix_end(&f, j, N);
}

static void test_drain_ends_the_rest_after_its_time(void **state)
{
    enum { N = 10 };
    struct fix f;
    struct watched j[N] = {{0}};
    struct flat_spec s[N];
    static int32_t slow[8000];
    for (int i = 0; i < 8000; i++)
        slow[i] = i % 8 ? FAKE_WORD : FAKE_SLOW;
    fix_open(&f, &chunks, &(struct engine_options){.max_rows = 2});
    for (int i = 0; i < N; i++)
        s[i] = fix_spec(&f, &task_classify, slow, i == 0 ? 8 : 8000);
    fix_submit(&f, s, N, j);
    assert_int_equal(engine_drain(f.g, 250), 1);
    check_scores(&j[0], slow, 8);
    for (int i = 1; i < N; i++)
        check_failed(&j[i], ERR_DRAINING);
    fix_end(&f, j, N);
}

static void test_close_gives_every_job_its_final_event(void **state)
{
    enum { N = 30 };
    for (int pass = 0; pass < 6; pass++) {
        struct fix f;
        struct watched j[N] = {{0}};
        struct flat_spec s[N];
        fix_open(&f, &chunks, &(struct engine_options){.max_rows = 4});
        fix_specs(&f, s, N, &task_generate, 60, 0);
        fix_hold(&f, s, N, j, pass * 3);
        /* Half of the submitters lose interest before the end. */
        watch_release(j, N / 2);
        atomic_store(&fake_stats.hold, 0);
        fix_shut(&f);
        for (int i = 0; i < N; i++)
            assert_int_equal(j[i].n_final, 1);
        for (int i = N / 2; i < N; i++) /* outlive the engine */
            job_cancel(j[i].job);
        watch_release(j + N / 2, N / 2);
        fix_check(&f);
    }
}

/* --- the queue --- */

static void test_queue_takes_groups_as_a_whole(void **state)
{
    enum { N = 40 };
    struct fix f;
    struct watched j[N] = {{0}};
    struct flat_spec s[N];
    fix_open(&f, &chunks,
             &(struct engine_options){.max_queue = 10, .max_rows = 2});
    fix_specs(&f, s, N, &task_classify, 8, 0);
    atomic_store(&fake_stats.hold, 1);
    fix_submit(&f, s, 2, j); /* these run */
    fake_pass(0);
    fix_submit(&f, s, 7, j + 2);
    fix_refused(&f, s, 4, j + 20, ERR_BUSY, "queue_full", NULL);
    fix_submit(&f, s, 3, j + 9);
    fix_refused(&f, s, 1, j + 20, ERR_BUSY, NULL, NULL);
    fix_refused(&f, s, 11, j + 20, ERR_TOO_LARGE, NULL, NULL);
    fix_go(&f, 12);
    fix_run(&f, s, 10, j + 12); /* all room is back */
    for (int i = 0; i < 22; i++)
        check_scores(&j[i], fix_words, 8);
    fix_end(&f, j, 22);
}

static void test_queue_refuses_a_group_with_one_bad_item(void **state)
{
    struct fix f;
    struct watched j[5] = {{0}};
    int32_t wrong[2] = {3, 64}, minus[1] = {-1};
    static int32_t many[8193];
    fix_open(&f,
             &(struct fake_config){.max_chain = 8,
                                   .outputs = FAKE_CLASS | FAKE_LOGITS},
             NULL);
    for (int k = 0; k < 6; k++) {
        static const enum err_code code[] = {ERR_INVALID,     ERR_INVALID,
                                             ERR_INVALID,     ERR_TOO_LARGE,
                                             ERR_UNSUPPORTED, ERR_INVALID};
        struct flat_spec s[5];
        fix_specs(&f, s, 5, &task_classify, 30, 0);
        s[3] = k == 0   ? fix_spec(&f, &task_classify, wrong, 2)
               : k == 1 ? fix_spec(&f, &task_classify, minus, 1)
               : k == 2 ? fix_spec(&f, &task_classify, fix_words, 0)
               : k == 3 ? fix_spec(&f, &task_classify, many, 8193)
               : k == 4 ? fix_spec(&f, &task_embed, fix_words, 30)
                        : fix_spec(&f, &task_next, fix_words, 30);
        s[3].top_k = k == 5 ? 1001 : 1;
        fix_refused(&f, s, 5, j, code[k], NULL,
                    k == 4   ? "model"
                    : k == 5 ? "top_k"
                             : "input[3]");
    }
    assert_int_equal(atomic_load(&fake_stats.steps), 0);
    fix_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fault_of_an_item_harms_no_neighbour),
        cmocka_unit_test(test_fault_of_a_step_fails_its_jobs_only),
        cmocka_unit_test(test_fault_of_a_cut_file_fails_jobs_not_the_process),
        cmocka_unit_test(test_fault_of_each_allocation_fails_jobs_only),
        cmocka_unit_test(test_fault_of_each_allocation_of_a_load_is_an_error),
        cmocka_unit_test(test_cancel_at_every_step_ends_the_job_once),
        cmocka_unit_test(test_cancel_from_the_event_itself),
        cmocka_unit_test(test_cancel_of_waiting_jobs),
        cmocka_unit_test(test_deadline_ends_running_and_waiting_jobs),
        cmocka_unit_test(test_a_late_job_that_is_cancelled_was_late),
        cmocka_unit_test(test_drain_lets_running_jobs_end),
        cmocka_unit_test(test_drain_ends_the_rest_after_its_time),
        cmocka_unit_test(test_close_gives_every_job_its_final_event),
        cmocka_unit_test(test_queue_takes_groups_as_a_whole),
        cmocka_unit_test(test_queue_refuses_a_group_with_one_bad_item),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
