/* test_engine: the three tasks through the engine, over the toy recurrence of
 * tests/support/fake_arch: answers, errors, drain. Expected values are computed
 * here, in double, from the toy's own definition.
 *
 * SPDX-License-Identifier: MIT */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "engine/base/metrics.h"
#include "tests/support/engine_fix.h"

#define V 64
#define CLOSE 1e-5 /* fp32 softmax of a few dozen terms against double */

static const int32_t prompt[] = {FAKE_BOS, 10, 20, 30, 40, 50, 60, 11, 12, 13,
                                 14,       15, 16, 17, 18, 19, 21, 22, 23, 24};
#define N_PROMPT ((int)(sizeof(prompt) / sizeof(prompt[0])))

static void test_classify_is_the_softmax_of_the_scores(void **state)
{
    struct fix f;
    struct watched j = {0};
    (void)state;
    fix_open(&f, &(struct fake_config){.max_chain = 8, .n_labels = 4},
             (struct engine_options){0});
    struct job_spec s = fix_spec(&f, TASK_CLASSIFY, prompt, N_PROMPT);
    fix_run(&f, &s, 1, &j);
    const struct job_result *r = job_result(j.job);
    double x[4], sum = 0;
    int best = 0;
    uint32_t h = fake_state(prompt, N_PROMPT);
    for (int i = 0; i < 4; i++) {
        x[i] = exp((double)fake_score(h, i));
        sum += x[i];
        best = x[i] > x[best] ? i : best;
    }
    assert_int_equal(j.final, JOB_DONE);
    assert_int_equal(r->n_scores, 4);
    assert_int_equal(r->best, best);
    assert_int_equal(r->prompt_tokens, N_PROMPT);
    for (int i = 0; i < 4; i++) {
        assert_true(fabs((double)r->scores[i] - x[i] / sum) < CLOSE);
    }
    watch_release(&j, 1);
    fix_close(&f);
}

static void check_next(const struct job_result *r, double temperature, int k)
{
    double p[V], sum = 0, covered = 0;
    uint32_t h = fake_state(prompt, N_PROMPT);
    for (int v = 0; v < V; v++) {
        p[v] = exp((double)fake_logit(h, v, 0, 0, V) / temperature);
        sum += p[v];
    }
    for (int v = 0; v < V; v++) {
        p[v] = v == FAKE_UNK || v == FAKE_BOS ? -1 : p[v] / sum;
        covered += p[v] > 0 ? p[v] : 0;
    }
    assert_int_equal(r->n_predictions, k);
    assert_true(fabs(r->covered_mass - covered) < CLOSE);
    for (int i = 0; i < k; i++) {
        int best = 0;
        for (int v = 0; v < V; v++) {
            best = p[v] > p[best] ? v : best;
        }
        assert_int_equal(r->predictions[i].id, best);
        assert_true(fabs((double)r->predictions[i].prob - p[best]) < CLOSE);
        assert_true(fabs((double)r->predictions[i].logprob - log(p[best])) <
                    1e-4);
        p[best] = -1;
    }
}

static void test_next_lists_the_best_offered_tokens(void **state)
{
    struct fix f;
    struct watched j = {0};
    (void)state;
    fix_open(&f, &(struct fake_config){.max_chain = 8},
             (struct engine_options){0});
    static const double temperature[] = {1, 0.5, 2};
    for (int i = 0; i < 3; i++) {
        struct job_spec s = fix_spec(&f, TASK_NEXT, prompt, N_PROMPT);
        s.temperature = (float)temperature[i];
        s.top_k = 5 + 10 * i;
        fix_run(&f, &s, 1, &j);
        assert_int_equal(j.final, JOB_DONE);
        check_next(job_result(j.job), temperature[i], s.top_k);
        watch_release(&j, 1);
    }
    fix_close(&f);
}

static void test_generate_greedy_follows_the_recurrence(void **state)
{
    struct fix f;
    struct watched j = {0};
    int32_t ids[N_PROMPT + 8];
    (void)state;
    fix_open(&f, &(struct fake_config){.max_chain = 8},
             (struct engine_options){0});
    struct job_spec s = fix_spec(&f, TASK_GENERATE, prompt, N_PROMPT);
    fix_run(&f, &s, 1, &j);
    const struct job_result *r = job_result(j.job);
    assert_int_equal(j.final, JOB_DONE);
    memcpy(ids, prompt, sizeof(prompt));
    int n = 0;
    char text[256] = "";
    for (; n < 8; n++) {
        uint32_t h = fake_state(ids, N_PROMPT + n);
        int best = -1;
        for (int v = 2; v < V; v++) {
            if (best < 0 ||
                fake_logit(h, v, 0, 0, V) > fake_logit(h, best, 0, 0, V)) {
                best = v;
            }
        }
        if (best == FAKE_EOS) {
            break;
        }
        ids[N_PROMPT + n] = best;
        snprintf(text + strlen(text), 16, " w%d", best);
    }
    assert_int_equal(r->n_tokens, n);
    assert_memory_equal(r->tokens, ids + N_PROMPT, (size_t)n * 4);
    assert_string_equal(r->text, text);
    assert_int_equal(r->finish, n < 8 ? FINISH_STOP : FINISH_LENGTH);
    assert_int_equal(r->completion_tokens, n);
    watch_release(&j, 1);
    fix_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_classify_is_the_softmax_of_the_scores),
        cmocka_unit_test(test_next_lists_the_best_offered_tokens),
        cmocka_unit_test(test_generate_greedy_follows_the_recurrence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
