/* test_class_rules: what a config.json may say of labels' scores and of long
 * texts, and how wrong values are refused: by key, found and expected.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/run/class_rules.h"
#include "tests/support/engine_fix.h"
#include "tests/support/temp_dir.h"
#include "tests/support/unit.h"

static const struct class_rules *rules_of(struct fix *f, const char *more)
{
    fix_open(f,
             &(struct fake_config){
                 .max_chain = 8, .outputs = FAKE_CLASS, .more = more},
             NULL);
    return model_class_rules(f->m);
}

static void test_class_rules_without_keys_say_nothing(void **state)
{
    struct fix f;
    const struct class_rules *r = rules_of(&f, ",\"seqd_temperature\":null");
    assert_true(!r->temperature && !r->bias && r->window == 0);
    fix_close(&f);
}

static void test_class_rules_take_a_number_or_one_for_each_label(void **state)
{
    struct fix f;
    const struct class_rules *r = rules_of(&f, ",\"seqd_temperature\":1.5");
    for (int l = 0; l < 3; l++)
        assert_true(r->temperature[l] == 1.5);
    assert_null(r->bias);
    fix_close(&f);
    r = rules_of(&f, ",\"seqd_temperature\":[0.01,2,100],"
                     "\"seqd_bias\":[-100,0,0.5]");
    assert_true(r->temperature[0] == 0.01 && r->temperature[1] == 2 &&
                r->temperature[2] == 100);
    assert_true(r->bias[0] == -100 && r->bias[1] == 0 && r->bias[2] == 0.5);
    fix_close(&f);
}

/* The toy's tokenizer puts one token in front of a text. */
static void test_class_rules_windows_are_side_by_side_by_default(void **state)
{
    struct fix f;
    const struct class_rules *r =
        rules_of(&f, ",\"seqd_windows\":{\"length\":9}");
    assert_true(r->window == 9 && r->stride == 8);
    fix_close(&f);
    r = rules_of(&f, ",\"seqd_windows\":{\"stride\":2,\"length\":9}");
    assert_true(r->window == 9 && r->stride == 2);
    fix_close(&f);
}

static void test_class_rules_scale_rows(void **state)
{
    double t[2] = {2, 0.5}, b[2] = {1, -1};
    float row[2] = {3, 4}, out[2];
    class_rules_scale(&(struct class_rules){.temperature = t}, 2, row, out);
    assert_true(out[0] == 1.5f && out[1] == 8);
    class_rules_scale(&(struct class_rules){.bias = b}, 2, row, out);
    assert_true(out[0] == 4 && out[1] == 3);
    class_rules_scale(&(struct class_rules){t, b, 0, 0}, 2, row, out);
    assert_true(out[0] == 2.5f && out[1] == 7);
    class_rules_scale(&(struct class_rules){0}, 2, row, out);
    assert_memory_equal(out, row, sizeof row);
}

#define T ",\"seqd_temperature\":"
#define B ",\"seqd_bias\":"
#define W ",\"seqd_windows\":"

static const struct {
    int outputs, context;
    const char *more, *why;
} wrong[] = {
    {FAKE_CLASS, 0, T "0", "'seqd_temperature' holds 0, expected 0.01..100"},
    {FAKE_CLASS, 0, T "-1", "holds -1, expected 0.01..100"},
    {FAKE_CLASS, 0, T "1e300", "holds 1e+300, expected"},
    {FAKE_CLASS, 0, T "1e-300", "holds 1e-300, expected"},
    {FAKE_CLASS, 0, T "\"1\"", "'seqd_temperature' holds a string, expected"},
    {FAKE_CLASS, 0, T "true", "'seqd_temperature' holds a boolean"},
    {FAKE_CLASS, 0, T "{}", "'seqd_temperature' holds an object"},
    {FAKE_CLASS, 0, T "[1,1]",
     "'seqd_temperature' has 2 numbers, the model 3 labels"},
    {FAKE_CLASS, 0, T "[]", "has 0 numbers"},
    {FAKE_CLASS, 0, T "[1,1,1,1]", "has 4 numbers"},
    {FAKE_CLASS, 0, T "[1,null,1]", "holds null, expected numbers"},
    {FAKE_CLASS, 0, T "[1,[1],1]", "holds an array, expected numbers"},
    {FAKE_CLASS, 0, T "[1,1,0.009]", "holds 0.009, expected 0.01..100"},
    {FAKE_CLASS, 0, B "0", "'seqd_bias' is a number, expected a list"},
    {FAKE_CLASS, 0, B "[0,0,101]", "'seqd_bias' holds 101, expected -100..100"},
    {FAKE_CLASS, 0, W "9", "'seqd_windows' is a number, expected an object"},
    {FAKE_CLASS, 0, W "{}", "'seqd_windows.length' is missing"},
    {FAKE_CLASS, 0, W "{\"length\":9,\"overlap\":1}",
     "'seqd_windows.overlap', expected length or stride"},
    {FAKE_CLASS, 0, W "{\"length\":1}", "length' is 1, expected 2..1048576"},
    {FAKE_CLASS, 0, W "{\"length\":-4}", "length' is -4, expected"},
    {FAKE_CLASS, 0, W "{\"length\":9.5}", "length' is 9.5, expected"},
    {FAKE_CLASS, 0, W "{\"length\":1e18}", "length' is 1e+18, expected"},
    {FAKE_CLASS, 16, W "{\"length\":17}", "length' is 17, expected 2..16"},
    {FAKE_CLASS, 0, W "{\"length\":10,\"stride\":0}",
     "stride' is 0, expected 3..9"},
    {FAKE_CLASS, 0, W "{\"length\":10,\"stride\":2}",
     "stride' is 2, expected 3..9"},
    {FAKE_CLASS, 0, W "{\"length\":10,\"stride\":10}",
     "stride' is 10, expected 3..9"},
    {FAKE_LOGITS, 0, T "1", "'seqd_temperature' is for models with labels"},
    {FAKE_LOGITS, 0, B "[1]", "'seqd_bias' is for models with labels"},
    {FAKE_LOGITS, 0, W "{\"length\":10}",
     "'seqd_windows' is for models with labels"},
};

static void test_class_rules_refuse_what_makes_no_sense(void **state)
{
    struct engine *g;
    struct err e = ERR_INIT;
    assert_int_equal(engine_open(&(struct engine_options){.n_threads = 1},
                                 fake_archs, &g, &e),
                     0);
    for (size_t i = 0; i < COUNT(wrong); i++) {
        char dir[64];
        fake_dir(&(struct fake_config){.max_chain = 8,
                                       .outputs = wrong[i].outputs,
                                       .context = wrong[i].context,
                                       .more = wrong[i].more},
                 dir);
        err_clear(&e);
        assert_int_equal(engine_load(g, "toy", dir, &e), -1);
        if (e.code != ERR_FORMAT || !strstr(e.msg, wrong[i].why) ||
            !strstr(e.msg, "config.json"))
            fail_msg("%s: %s", wrong[i].more, e.msg);
        temp_dir_drop(dir);
    }
    engine_close(g);
}

/* Where there is nothing to scale, or no text to read in parts. */
static void test_class_rules_are_for_what_they_speak_of(void **state)
{
    static const struct {
        enum score_kind scores;
        enum unit unit;
        int ports;
        const char *config, *why; /* NULL: it is fine */
    } rows[] = {
        {SCORE_SIGMOID, UNIT_TOKENS, 1, "{\"seqd_temperature\":2}", NULL},
        {SCORE_RAW, UNIT_TOKENS, 1, "{\"seqd_temperature\":2}",
         "'seqd_temperature' is for probabilities"},
        {SCORE_RAW, UNIT_TOKENS, 1, "{\"seqd_bias\":[0,0]}",
         "'seqd_bias' is for probabilities"},
        {SCORE_RAW, UNIT_TOKENS, 1, "{\"seqd_windows\":{\"length\":9}}", NULL},
        {SCORE_SOFTMAX, UNIT_VECTORS, 1, "{\"seqd_windows\":{\"length\":9}}",
         "'seqd_windows' is for models that read a text"},
        {SCORE_SOFTMAX, UNIT_TOKENS, 2, "{\"seqd_windows\":{\"length\":9}}",
         "'seqd_windows' is for models that read a text"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        static struct model_info info;
        struct class_rules r;
        struct hparams *h;
        struct err e = ERR_INIT;
        info.cols[OUT_CLASS] = 2;
        info.scores = rows[i].scores;
        info.state.n_ports = rows[i].ports;
        info.state.port[PORT_TARGET].unit = rows[i].unit;
        assert_int_equal(hparams_parse(rows[i].config, strlen(rows[i].config),
                                       "config.json", &h, &e),
                         0);
        int rc = class_rules_read(h, &info, 2, "toy", &r, &e);
        if (rc != (rows[i].why ? -1 : 0) || (rc && !strstr(e.msg, rows[i].why)))
            fail_msg("%s: %s", rows[i].config, e.msg);
        class_rules_fini(&r);
        hparams_close(h);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_class_rules_without_keys_say_nothing),
        cmocka_unit_test(test_class_rules_take_a_number_or_one_for_each_label),
        cmocka_unit_test(test_class_rules_windows_are_side_by_side_by_default),
        cmocka_unit_test(test_class_rules_scale_rows),
        cmocka_unit_test(test_class_rules_are_for_what_they_speak_of),
        cmocka_unit_test(test_class_rules_refuse_what_makes_no_sense),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
