/* test_engine: the three tasks through the engine, over the toy recurrence of
 * tests/support/fake_arch: answers, errors, drain. Expected values are computed
 * here, in double, from the toy's own definition.
 *
 * SPDX-License-Identifier: MIT */
#include <math.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "engine/base/metrics.h"
#include "engine/run/eval.h"
#include "tests/support/engine_fix.h"
#include "tests/support/temp_dir.h"
#include "tests/support/unit.h"

#define V 64
#define CLOSE 1e-5 /* fp32 softmax of a few dozen terms against double */

static const int32_t prompt[] = {FAKE_BOS, 10, 20, 30, 40, 50, 60, 11, 12, 13,
                                 14,       15, 16, 17, 18, 19, 21, 22, 23, 24};
#define N_PROMPT ((int)(sizeof(prompt) / sizeof(prompt[0])))

static void test_classify_is_the_softmax_of_the_scores(void **state)
{
    struct fix f;
    struct watched j = {0};
    fix_open(&f, &(struct fake_config){.max_chain = 8, .n_labels = 4}, NULL);
    struct flat_spec s = fix_spec(&f, &task_classify, prompt, N_PROMPT);
    fix_run(&f, &s, 1, &j);
    const struct flat_result flat = flat_result(j.job), *r = &flat;
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
    for (int i = 0; i < 4; i++)
        assert_true(fabs((double)r->scores[i] - x[i] / sum) < CLOSE);
    fix_end(&f, &j, 1);
}

static void check_next(const struct flat_result *r, double temperature, int k)
{
    double p[V], sum = 0, covered = 0;
    uint32_t h = fake_state(prompt, N_PROMPT);
    for (int v = 0; v < V; v++) {
        p[v] = exp((double)fake_logit(h, v, 0, 0, V) / temperature);
        sum += p[v];
    }
    for (int v = 0; v < V; v++) {
        p[v] =
            v == FAKE_UNK || v == FAKE_BOS || v == FAKE_EOS ? -1 : p[v] / sum;
        covered += p[v] > 0 ? p[v] : 0;
    }
    assert_int_equal(r->n_predictions, k);
    assert_true(fabs(r->covered_mass - covered) < CLOSE);
    for (int i = 0; i < k; i++) {
        int best = 0;
        for (int v = 0; v < V; v++)
            best = p[v] > p[best] ? v : best;
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
    fix_open(&f, &(struct fake_config){.max_chain = 8}, NULL);
    static const double temperature[] = {1, 0.5, 2};
    for (int i = 0; i < 3; i++) {
        struct flat_spec s = fix_spec(&f, &task_next, prompt, N_PROMPT);
        s.temperature = (float)temperature[i];
        s.top_k = 5 + 10 * i;
        fix_run(&f, &s, 1, &j);
        assert_int_equal(j.final, JOB_DONE);
        struct flat_result r = flat_result(j.job);
        check_next(&r, temperature[i], s.top_k);
        watch_release(&j, 1);
    }
    fix_close(&f);
}

static void test_generate_greedy_follows_the_recurrence(void **state)
{
    struct fix f;
    struct watched j = {0};
    int32_t ids[N_PROMPT + 8];
    fix_open(&f, &(struct fake_config){.max_chain = 8}, NULL);
    struct flat_spec s = fix_spec(&f, &task_generate, prompt, N_PROMPT);
    fix_run(&f, &s, 1, &j);
    const struct flat_result flat = flat_result(j.job), *r = &flat;
    assert_int_equal(j.final, JOB_DONE);
    memcpy(ids, prompt, sizeof(prompt));
    int n = 0;
    char text[256] = "";
    for (; n < 8; n++) {
        uint32_t h = fake_state(ids, N_PROMPT + n);
        int best = -1;
        for (int v = 2; v < V; v++)
            if (best < 0 ||
                fake_logit(h, v, 0, 0, V) > fake_logit(h, best, 0, 0, V))
                best = v;
        if (best == FAKE_EOS)
            break;
        ids[N_PROMPT + n] = best;
        snprintf(text + strlen(text), 16, " w%d", best);
    }
    assert_int_equal(r->n_tokens, n);
    assert_memory_equal(r->tokens, ids + N_PROMPT, (size_t)n * 4);
    assert_string_equal(r->text, text);
    assert_int_equal(r->finish, n < 8 ? FINISH_STOP : FINISH_LENGTH);
    assert_int_equal(r->completion_tokens, n);
    fix_end(&f, &j, 1);
}

/* --- score --- */

static double nats_of(const int32_t *ids, int from, int n)
{
    double total = 0;
    for (int i = from + 1; i < n; i++) {
        uint32_t h = fake_state(ids + from, i - from);
        double sum = 0;
        for (int v = 0; v < V; v++)
            sum += exp((double)fake_logit(h, v, 0, 0, V));
        total += log(sum) - (double)fake_logit(h, ids[i], 0, 0, V);
    }
    return total;
}

static void test_score_carries_the_state_over_windows_of_tokens(void **state)
{
    enum { N = 300 };
    static const int windows[] = {0, 1, 2, 7, 64, 65, 299, 300, 1000};
    struct fix f;
    int32_t ids[N];
    fix_open(&f, &(struct fake_config){.max_chain = 8}, NULL);
    for (int i = 0; i < N; i++)
        ids[i] = FAKE_WORD + i * 7 % 50;
    for (size_t k = 0; k < sizeof(windows) / sizeof(windows[0]); k++) {
        struct eval_score s;
        struct err e = ERR_INIT;
        int step = windows[k] ? windows[k] : N, n = 0;
        double nats = 0;
        for (int at = 0; at < N; at += step) {
            int end = at + step < N ? at + step : N;
            nats += nats_of(ids + at, 0, end - at);
            n += end - at - 1;
        }
        assert_int_equal(eval_score(f.g, f.m, ids, N, windows[k], &s, &e), 0);
        assert_int_equal(s.tokens, n);
        assert_true(fabs(s.nats - nats) < 1e-3);
    }
    fix_close(&f);
}

static void test_score_refuses_what_it_cannot_do(void **state)
{
    struct fix f;
    struct eval_score s;
    int32_t ids[3] = {10, 11, V};
    int32_t nan[3] = {10, FAKE_NAN, 11};
    struct err e = ERR_INIT, e2 = ERR_INIT, e3 = ERR_INIT;
    fix_open(&f, &(struct fake_config){0}, NULL);
    assert_int_equal(eval_score(f.g, f.m, ids, 3, 0, &s, &e), -1);
    assert_int_equal(e.code, ERR_INVALID);
    assert_int_equal(eval_score(f.g, f.m, nan, 3, 0, &s, &e2), -1);
    assert_int_equal(e2.code, ERR_INTERNAL);
    fix_close(&f);
    fix_open(&f, &(struct fake_config){.outputs = FAKE_CLASS}, NULL);
    assert_int_equal(eval_score(f.g, f.m, ids, 2, 0, &s, &e3), -1);
    assert_int_equal(e3.code, ERR_UNSUPPORTED);
    fix_close(&f);
}

/* --- models --- */

static void test_engine_finds_models_by_name_and_task(void **state)
{
    struct fix f;
    struct model *m, *all[8];
    char dir[64];
    fix_open(&f, &(struct fake_config){.outputs = FAKE_CLASS}, NULL);
    struct err e = ERR_INIT;
    fake_dir(&(struct fake_config){0}, dir);
    assert_int_equal(engine_load(f.g, "both.1-x_Y", dir, &e), 0);
    temp_dir_drop(dir); /* a loaded model needs its mapping only */
    assert_int_equal(engine_model(f.g, NULL, &task_classify, &m, &e), 0);
    assert_string_equal(model_name(m), "fake");
    model_release(m);
    assert_int_equal(engine_model(f.g, NULL, &task_generate, &m, &e), 0);
    assert_string_equal(model_name(m), "both.1-x_Y");
    assert_string_equal(model_arch_name(m), "fake");
    assert_string_equal(model_dtype(m), "F32");
    assert_int_equal(model_max_tokens(m, PORT_TARGET), 8192);
    assert_int_equal(strncmp(model_digest(m, NULL), "sha256:", 7), 0);
    model_release(m);
    assert_int_equal(engine_models(f.g, all, 8), 2);
    model_release(all[0]);
    model_release(all[1]);
    assert_int_equal(engine_model(f.g, "none", NULL, &m, &e), -1);
    assert_int_equal(e.code, ERR_NOT_FOUND);
    assert_string_equal(e.reason, "model_not_found");
    err_clear(&e);
    assert_int_equal(engine_model(f.g, "fake", &task_next, &m, &e), -1);
    assert_int_equal(e.code, ERR_UNSUPPORTED);
    assert_string_equal(e.reason, "task_not_supported");
    fix_close(&f);
}

static void test_engine_refuses_bad_names_and_checkpoints(void **state)
{
    static const char *const names[] = {
        "",
        "a/b",
        "a b",
        "\xc3\xa9",
        "fake",
        "0123456789012345678901234567890123456789012345678901234567890123x"};
    struct fix f;
    fix_open(&f, &(struct fake_config){0}, NULL);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct err e = ERR_INIT;
        assert_int_equal(engine_load(f.g, names[i], f.dir, &e), -1);
        assert_int_equal(e.code, ERR_INVALID);
    }
    struct err e = ERR_INIT;
    assert_int_equal(engine_load(f.g, "new", "/nowhere", &e), -1);
    assert_int_equal(e.code, ERR_NOT_FOUND);
    temp_file_text(f.dir, "config.json", "{\"model_type\":\"other\"}");
    err_clear(&e);
    assert_int_equal(engine_load(f.g, "new", f.dir, &e), -1);
    assert_int_equal(e.code, ERR_UNSUPPORTED);
    assert_non_null(strstr(e.msg, "'other'"));
    fix_close(&f);
}

static void test_engine_counts_the_tables_of_a_model(void **state)
{
    struct fix f;
    fix_open(&f, &(struct fake_config){0}, NULL);
    assert_int_equal(model_memory(f.m),
                     model_get_info(f.m)->memory_bytes + FAKE_TABLE_BYTES);
    fix_close(&f);
}

static void test_engine_loads_a_list_in_its_order(void **state)
{
    struct fix f;
    struct model *m[9];
    struct model_place list[8];
    char name[8][8];
    struct err e = ERR_INIT;
    atomic_int stop = 1;
    fix_open(&f, &(struct fake_config){0}, NULL);
    for (int i = 0; i < 8; i++) {
        snprintf(name[i], sizeof name[i], "m%d", 7 - i);
        list[i] = (struct model_place){name[i], f.dir};
    }
    assert_int_equal(engine_load_all(f.g, list, 8, &stop, &e), 0);
    assert_int_equal(engine_models(f.g, m, 0), 1);
    assert_int_equal(engine_load_all(f.g, list, 8, NULL, &e), 0);
    assert_int_equal(engine_models(f.g, m, 9), 9);
    for (int i = 0; i < 9; i++) {
        assert_string_equal(model_name(m[i]), i ? name[i - 1] : "fake");
        model_release(m[i]);
    }
    fix_close(&f);
}

/* The first in the list, whichever thread met one first; and none stays. */
static void test_engine_tells_the_first_error_of_a_list(void **state)
{
    struct fix f;
    struct model *m[9];
    struct err e = ERR_INIT;
    fix_open(&f, &(struct fake_config){0}, NULL);
    const struct model_place list[] = {
        {"no name", f.dir}, {"one", "/nowhere"}, {"two", f.dir}};
    const struct model_place twice[] = {{"one", f.dir}, {"one", f.dir}};
    assert_int_equal(engine_load_all(f.g, list, 3, NULL, &e), -1);
    assert_int_equal(e.code, ERR_INVALID);
    assert_non_null(strstr(e.msg, "'no name'"));
    assert_int_equal(engine_models(f.g, m, 0), 1);
    err_clear(&e);
    assert_int_equal(engine_load_all(f.g, list, 1000, NULL, &e), -1);
    assert_int_equal(e.code, ERR_TOO_LARGE);
    err_clear(&e);
    assert_int_equal(engine_load_all(f.g, twice, 2, NULL, &e), -1);
    assert_string_equal(e.msg, "model name 'one' is taken");
    fix_close(&f);
}

static void test_engine_resolves_its_options(void **state)
{
    struct engine *g;
    struct err e = ERR_INIT;
    struct engine_options o = {.spin_us = -1};
    assert_int_equal(engine_open(&o, fake_archs, &g, &e), 0);
    const struct engine_options *r = engine_get_options(g);
    assert_int_equal(r->max_rows, 64);
    assert_int_equal(r->step_tokens, 1024);
    assert_int_equal(r->max_queue, 4096);
    assert_int_equal(r->max_item_tokens, 8192);
    assert_int_equal(r->spin_us, 50);
    assert_int_equal(r->n_threads, engine_threads(g));
    assert_non_null(engine_kernels(g));
    engine_close(g);
    o.kernels = "nonsense";
    assert_int_equal(engine_open(&o, fake_archs, &g, &e), -1);
    assert_null(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_classify_is_the_softmax_of_the_scores),
        cmocka_unit_test(test_next_lists_the_best_offered_tokens),
        cmocka_unit_test(test_generate_greedy_follows_the_recurrence),
        cmocka_unit_test(test_score_carries_the_state_over_windows_of_tokens),
        cmocka_unit_test(test_score_refuses_what_it_cannot_do),
        cmocka_unit_test(test_engine_finds_models_by_name_and_task),
        cmocka_unit_test(test_engine_refuses_bad_names_and_checkpoints),
        cmocka_unit_test(test_engine_counts_the_tables_of_a_model),
        cmocka_unit_test(test_engine_loads_a_list_in_its_order),
        cmocka_unit_test(test_engine_tells_the_first_error_of_a_list),
        cmocka_unit_test(test_engine_resolves_its_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
