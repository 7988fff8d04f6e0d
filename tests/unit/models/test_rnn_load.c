/* Loading a recurrent net: what is refused says what was found and expected.
 *
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/mem.h"
#include "models/registry.h"
#include "models/rnn/rnn.h"
#include "tests/support/arch_rig.h"
#include "tests/support/extra_tensor.h"
#include "tests/support/rnn_random.h"

static const struct rnn_shape lm = {
    .cell = "lstm", .V = 12, .E = 6, .H = 18, .L = 2, .D = 1};
static const struct rnn_shape classifier = {.cell = "gru",
                                            .V = 12,
                                            .E = 6,
                                            .H = 18,
                                            .L = 1,
                                            .D = 2,
                                            .classifier = 1,
                                            .C = 3,
                                            .pooling = "mean",
                                            .P = 5};

#define SAME "\"vocab_size\": 12, \"embedding_dim\": 6, \"hidden_size\": 18"
#define LM "\"cell\": \"lstm\", \"head\": \"lm\", " SAME
#define LM2 LM ", \"num_layers\": 2"
#define GRU                                                                    \
    "\"cell\": \"gru\", \"head\": \"classifier\", \"projection_dim\": "        \
    "5, " SAME

#define LABELS3 "\"id2label\": {\"0\": \"a\", \"1\": \"b\", \"2\": \"c\"}"

static struct engine_options options;
static struct model_info info;
static char label[2][40];

/* load() of the checkpoint in dir under another config.json, which stays. */
static int load_with(const char *dir, const char *config, int n_tokens,
                     struct err *e)
{
    struct load_opts o = {
        .label = "m", .n_vocab_tokenizer = n_tokens, .options = &options};
    struct checkpoint *c;
    char path[100];
    void *self = NULL;
    int rc;
    assert_int_equal(kernels_pick("auto", &o.k, e), 0);
    snprintf(path, sizeof path, "%s/config.json", dir);
    FILE *f = fopen(path, "w");
    assert_true(f && fputs(config, f) >= 0 && fclose(f) == 0);
    assert_int_equal(checkpoint_open(dir, "m", &c, e), 0);
    rc = rnn_arch.load(&o, c, &info, &self, e);
    for (int i = 0; i < 2 && !rc && info.cols[OUT_CLASS]; i++)
        snprintf(label[i], sizeof label[i], "%s", info.labels[i]);
    if (!rc)
        rnn_arch.unload(self);
    checkpoint_close(c);
    return rc;
}

static void expect_refused(const char *dir, const char *config, int n_tokens,
                           const char *says)
{
    struct err e = ERR_INIT;
    if (!load_with(dir, config, n_tokens, &e))
        fail_msg("loaded: %s", config);
    if (e.code != ERR_UNSUPPORTED)
        assert_int_equal(e.code, ERR_FORMAT);
    if (!strstr(e.msg, says))
        fail_msg("'%s' does not say '%s'", e.msg, says);
}

static void test_load_refuses_what_does_not_fit(void **state)
{
    static const struct {
        const char *config, *message;
    } row[] = {
        {"{" SAME ", \"head\": \"lm\"}", "cell"},
        {"{\"cell\": \"lstm\", " SAME "}", "head"},
        {"{\"cell\": \"rwkv\", \"head\": \"lm\", " SAME "}", "cell"},
        {"{" LM ", \"num_layers\": 9}", "num_layers"},
        {"{" LM ", \"bidirectional\": true}", "'bidirectional' is true"},
        {"{" LM ", \"nonlinearity\": \"relu\"}", "'nonlinearity'"},
        {"{\"cell\": \"lstm\", \"head\": \"classifier\", " SAME "}",
         "'id2label' has 0 entries"},
        {"{\"cell\": \"lstm\", \"head\": \"classifier\", \"id2label\": {\"0\": "
         "\"a\", \"2\": \"b\"}, " SAME "}",
         "no string \"1\""},
        {"{" LM ", \"tie_word_embeddings\": true}",
         "needs embedding_dim 18, found 6"},
        {"{\"cell\": \"gru\", \"head\": \"lm\", " SAME "}",
         "tensor 'rnn.weight_ih_l0' is [72,6], expected [54,6]"},
        {"{" LM ", \"num_layers\": 3}", "rnn.weight_ih_l2"},
        {"{\"cell\": \"lstm\", \"head\": \"lm\", \"num_layers\": 2, "
         "\"vocab_size\": 13, \"embedding_dim\": 6, \"hidden_size\": 18}",
         "tensor 'embedding.weight' is [12,6], expected [13,6]"},
        {"{" LM2 ", \"projection_dim\": 4}", "projection.weight"},
        {"{" LM2 ", \"tensor_prefix\": {\"rnn\": \"encoder.\"}}",
         "encoder.weight_ih_l0"},
        {"{" LM "}", "tensor 'rnn.weight_ih_l1' is not part of what "
                     "config.json describes: num_layers 1"},
        {"{" LM2 ", \"bias\": false}", "tensor 'rnn.bias_ih_l0' is not part"},
        {"{" LM2 ", \"tensor_prefix\": \"rnn.\"}",
         "'tensor_prefix' is a string, expected an object"},
        {"{" LM2 ", \"input_size\": 6}", "the net reads vectors"},
        {"{" LM2 ", \"tensor_prefix\": {\"lstm\": \"rnn.\"}}",
         "'tensor_prefix.lstm'"},
    };
    char dir[64];
    (void)state;
    assert_int_equal(rnn_random_write(&lm, 3, dir), 0);
    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        expect_refused(dir, row[i].config, 0, row[i].message);
    rnn_random_remove(dir);
}

static void test_load_compares_the_tokenizer(void **state)
{
    struct err e = ERR_INIT;
    char dir[64];
    (void)state;
    assert_int_equal(rnn_random_write(&lm, 3, dir), 0);
    assert_int_equal(load_with(dir, "{" LM2 "}", 12, &e), 0);
    expect_refused(dir, "{" LM2 "}", 11, "tokenizer.json has 11 entries");
    rnn_random_remove(dir);
}

static void test_load_refuses_a_second_direction_that_config_lacks(void **state)
{
    const char *config = "{" GRU ", " LABELS3 "}";
    char dir[64];
    (void)state;
    assert_int_equal(rnn_random_write(&classifier, 3, dir), 0);
    expect_refused(dir, config, 0, "'rnn.weight_ih_l0_reverse' is not part");
    rnn_random_remove(dir);
}

/* The last tensor of the file ends with a NaN. */
static void test_load_refuses_weights_that_are_not_finite(void **state)
{
    const unsigned char nan[4] = {0, 0, 0xc0, 0x7f};
    char dir[64], path[128];
    (void)state;
    assert_int_equal(rnn_random_write(&lm, 3, dir), 0);
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, -4, SEEK_END), 0);
    assert_int_equal(fwrite(nan, 4, 1, f), 1);
    assert_int_equal(fclose(f), 0);
    expect_refused(dir, "{" LM2 "}", 12, "tensor 'output.bias' holds a number");
    rnn_random_remove(dir);
}

/* A layer between the LSTM and the output, or any other one, changes the
 * answers; counters and losses do not, nor what the user says. */
static void test_load_refuses_a_tensor_that_nothing_reads(void **state)
{
    static const char *const bad[] = {
        "fc1.weight",          "norm.bias",         "attention.weight",
        "rnn.weight_hr_l0",    "rnn.weight_ih_l2",  "projection.weight",
        "embedding.bias",      "fc.0.weight",       "bn.running_mean",
        "rnn.bias_ih_l0_back", "decoder.criterion", "output.weight_g"};
    static const char *const fine[] = {
        "bn.num_batches_tracked", "criterion.weight", "loss_fn.pos_weight"};
    struct err e = ERR_INIT;
    char from[64], dir[64];
    (void)state;
    assert_int_equal(rnn_random_write(&lm, 3, from), 0);
    assert_int_equal(rnn_random_write(&lm, 3, dir), 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char says[64];
        assert_int_equal(extra_tensor_save(from, dir, "", bad[i]), 0);
        snprintf(says, sizeof says, "tensor '%s' is not part of", bad[i]);
        expect_refused(dir, "{" LM2 "}", 12, says);
    }
    for (size_t i = 0; i < sizeof fine / sizeof *fine; i++) {
        assert_int_equal(extra_tensor_save(from, dir, "", fine[i]), 0);
        if (load_with(dir, "{" LM2 "}", 12, &e))
            fail_msg("%s", e.msg);
    }
    assert_int_equal(extra_tensor_save(from, dir, "", "fc1.weight"), 0);
    options.ignore_tensors = "fc1.bias, .bias";
    expect_refused(dir, "{" LM2 "}", 12, "tensor 'fc1.weight'");
    options.ignore_tensors = "x, fc1.weight ,";
    if (load_with(dir, "{" LM2 "}", 12, &e))
        fail_msg("%s", e.msg);
    options.ignore_tensors = NULL;
    rnn_random_remove(from);
    rnn_random_remove(dir);
}

/* DataParallel and torch.compile put theirs in front of all names. */
static void test_load_understands_wrapped_nets(void **state)
{
    static const char *const prefixes[] = {"module.", "_orig_mod.",
                                           "module._orig_mod."};
    struct err e = ERR_INIT;
    char from[64], dir[64];
    (void)state;
    assert_int_equal(rnn_random_write(&lm, 3, from), 0);
    assert_int_equal(rnn_random_write(&lm, 3, dir), 0);
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        assert_int_equal(extra_tensor_save(from, dir, prefixes[i], NULL), 0);
        if (load_with(dir, "{" LM2 "}", 12, &e))
            fail_msg("%s", e.msg);
    }
    assert_int_equal(extra_tensor_save(from, dir, "module.", NULL), 0);
    if (load_with(dir,
                  "{" LM2 ", \"tensor_prefix\": {\"embedding\": "
                  "\"module.embedding.\", \"rnn\": \"module.rnn.\"}}",
                  12, &e))
        fail_msg("%s", e.msg);
    assert_int_equal(extra_tensor_save(from, dir, "module.", "epoch"), 0);
    expect_refused(dir, "{" LM2 "}", 12,
                   "'embedding.weight' is missing, but "
                   "'module.embedding.weight' is there");
    rnn_random_remove(from);
    rnn_random_remove(dir);
}

/* One output is the chance of the second of two labels. */
static void test_load_names_the_labels_of_one_output(void **state)
{
    static const struct rnn_shape one = {.cell = "gru",
                                         .V = 12,
                                         .E = 6,
                                         .H = 18,
                                         .L = 1,
                                         .D = 1,
                                         .classifier = 1,
                                         .C = 1,
                                         .P = 5};
    static const struct {
        const char *labels, *negative, *positive;
    } row[] = {
        {"", "LABEL_0", "LABEL_1"},
        {", \"id2label\": {\"0\": \"spam\"}", "not spam", "spam"},
        {", \"id2label\": {\"0\": \"a\", \"1\": \"b\"}", "a", "b"},
    };
    struct err e = ERR_INIT;
    char dir[64], config[300];
    (void)state;
    assert_int_equal(rnn_random_write(&one, 3, dir), 0);
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        snprintf(config, sizeof config, "{" GRU "%s}", row[i].labels);
        if (load_with(dir, config, 12, &e))
            fail_msg("%s", e.msg);
        assert_int_equal(info.cols[OUT_CLASS], 2);
        assert_int_equal(info.scores, SCORE_SIGMOID);
        assert_string_equal(label[0], row[i].negative);
        assert_string_equal(label[1], row[i].positive);
    }
    expect_refused(dir,
                   "{" GRU ", \"id2label\": {\"0\": \"a\", \"1\": \"b\", "
                   "\"2\": \"c\"}}",
                   12, "has 3 entries, expected 2");
    expect_refused(dir, "{" GRU ", \"id2label\": {\"1\": \"a\"}}", 12,
                   "has no string \"0\"");
    expect_refused(dir, "{" GRU ", \"id2label\": [\"a\", \"b\"]}", 12,
                   "'id2label' is an array, expected an object");
    rnn_random_remove(dir);
}

/* Labels that do not exclude each other have a sigmoid each. */
static void test_load_reads_the_kind_of_problem(void **state)
{
    static const struct {
        const char *type;
        enum score_kind scores;
    } row[] = {
        {"", SCORE_SOFTMAX},
        {", \"problem_type\": null", SCORE_SOFTMAX},
        {", \"problem_type\": \"single_label_classification\"", SCORE_SOFTMAX},
        {", \"problem_type\": \"multi_label_classification\"", SCORE_SIGMOID},
    };
    struct rnn_shape s = classifier;
    struct err e = ERR_INIT;
    char dir[64], config[400];
    (void)state;
    s.D = 1;
    assert_int_equal(rnn_random_write(&s, 3, dir), 0);
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        snprintf(config, sizeof config, "{" GRU ", " LABELS3 "%s}",
                 row[i].type);
        if (load_with(dir, config, 12, &e))
            fail_msg("%s", e.msg);
        assert_int_equal(info.scores, row[i].scores);
    }
    expect_refused(dir,
                   "{" GRU ", " LABELS3 ", \"problem_type\": \"regression\"}",
                   12, "'problem_type' is 'regression', expected single_");
    rnn_random_remove(dir);
}

/* The commonest config.json says nothing of bias: the tensors do. */
static void test_load_finds_that_there_are_no_biases(void **state)
{
    struct rnn_shape s = lm;
    struct err e = ERR_INIT;
    char from[64], dir[64];
    (void)state;
    s.no_bias = 1;
    assert_int_equal(rnn_random_write(&s, 3, from), 0);
    assert_int_equal(rnn_random_write(&s, 3, dir), 0);
    if (load_with(dir, "{" LM2 "}", 12, &e) ||
        load_with(dir, "{" LM2 ", \"bias\": null}", 12, &e) ||
        load_with(dir, "{" LM2 ", \"bias\": false}", 12, &e))
        fail_msg("%s", e.msg);
    expect_refused(dir, "{" LM2 ", \"bias\": true}", 12,
                   "tensor 'rnn.bias_ih_l0' is missing");
    assert_int_equal(extra_tensor_save(from, dir, "", "rnn.bias_hh_l1"), 0);
    expect_refused(dir, "{" LM2 "}", 12,
                   "tensor 'rnn.bias_hh_l1' is not part of what config.json "
                   "describes: num_layers 2, bidirectional false, bias false");
    assert_int_equal(extra_tensor_save(from, dir, "", "rnn.bias_ih_l0"), 0);
    expect_refused(dir, "{" LM2 "}", 12,
                   "tensor 'rnn.bias_ih_l0' is [2], expected [72]");
    rnn_random_remove(from);
    rnn_random_remove(dir);
}

/* An output of its own beside "tie_word_embeddings" is another net's. */
static void test_load_compares_the_copy_of_a_tied_output(void **state)
{
    static const struct rnn_shape s = {
        .cell = "gru", .V = 12, .E = 18, .H = 18, .L = 1, .D = 1};
    static const char config[] =
        "{\"cell\": \"gru\", \"head\": \"lm\", \"vocab_size\": 12, "
        "\"embedding_dim\": 18, \"hidden_size\": 18, "
        "\"tie_word_embeddings\": true}";
    enum { MATRIX = 4 * 12 * 18, BIAS = 4 * 12 };
    unsigned char head[8], words[MATRIX];
    struct err e = ERR_INIT;
    char dir[64], path[128];
    (void)state;
    assert_int_equal(rnn_random_write(&s, 3, dir), 0);
    expect_refused(dir, config, 12,
                   "tensor 'output.weight' is not the embedding, but "
                   "config.json's 'tie_word_embeddings' is true");
    /* The embedding is the first in the file, the output's bias the last. */
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    FILE *f = fopen(path, "r+b");
    assert_true(f && fread(head, 8, 1, f) == 1);
    assert_int_equal(fseek(f, 8 + head[0] + 256 * head[1], SEEK_SET), 0);
    assert_int_equal(fread(words, sizeof words, 1, f), 1);
    assert_int_equal(fseek(f, -MATRIX - BIAS, SEEK_END), 0);
    assert_int_equal(fwrite(words, sizeof words, 1, f), 1);
    assert_int_equal(fclose(f), 0);
    if (load_with(dir, config, 12, &e))
        fail_msg("%s", e.msg);
    rnn_random_remove(dir);
}

static void test_load_finds_proj_size(void **state)
{
    struct rnn_shape s = lm;
    struct err e = ERR_INIT;
    char dir[64];
    (void)state;
    s.R = 7;
    assert_int_equal(rnn_random_write(&s, 3, dir), 0);
    if (load_with(dir, "{" LM2 "}", 12, &e) ||
        load_with(dir, "{" LM2 ", \"proj_size\": 7}", 12, &e))
        fail_msg("%s", e.msg);
    assert_int_equal(info.cols[OUT_HIDDEN], 7);
    /* h of 7 in 16, c of 18 in 32 */
    assert_int_equal(info.state.fixed_bytes, 2 * 48 * sizeof(float));
    expect_refused(dir, "{" LM2 ", \"proj_size\": 8}", 12,
                   "'rnn.weight_hh_l0' is [72,7], expected [72,8]");
    expect_refused(dir, "{" LM2 ", \"proj_size\": 18}", 12,
                   "expected less than hidden_size 18");
    rnn_random_remove(dir);
    assert_int_equal(rnn_random_write(&lm, 3, dir), 0);
    expect_refused(dir, "{" LM2 ", \"proj_size\": 7}", 12,
                   "'rnn.weight_hh_l0' is [72,18], expected [72,7]");
    expect_refused(
        dir,
        "{\"cell\": \"gru\", \"head\": \"lm\", \"proj_size\": 7, " SAME "}", 12,
        "'proj_size' is 7, expected 0 for cell \"gru\"");
    rnn_random_remove(dir);
}

static void open_shape(const struct rnn_shape *s, struct rig *g)
{
    struct err e = ERR_INIT;
    char dir[64];
    assert_int_equal(rnn_random_write(s, 3, dir), 0);
    if (rig_open(g, &rnn_arch, dir, "auto", 1, 0, &e))
        fail_msg("%s", e.msg);
    rnn_random_remove(dir);
}

static void test_load_tells_the_engine_what_it_is(void **state)
{
    struct rig g;
    struct err e = ERR_INIT;
    (void)state;
    open_shape(&lm, &g);
    assert_int_equal(g.info.cols[OUT_LOGITS], 12);
    assert_int_equal(g.info.cols[OUT_CLASS], 0);
    assert_int_equal(g.info.state.port[0].whole, 0);
    assert_int_equal(g.info.max_chain, RNN_MAX_CHAIN);
    assert_int_equal(g.info.parameters,
                     weights_parameters(checkpoint_weights(g.c, &e)));
    assert_string_equal(g.info.summary, "lstm 6-18x2");
    assert_int_equal(g.info.token_flops, 2 * (24 + 36) * 72);
    assert_int_equal(g.info.row_flops, 2 * 12 * 18);
    /* 2 layers, h and c, 18 units in 32 */
    assert_int_equal(g.info.state.fixed_bytes, 2 * 2 * 32 * sizeof(float));
    assert_int_equal(g.info.state.port[0].page_tokens, 0);
    rig_close(&g);
    open_shape(&classifier, &g);
    assert_int_equal(g.info.cols[OUT_CLASS], 3);
    assert_string_equal(g.info.labels[2], "label-2");
    assert_int_equal(g.info.state.port[0].whole, 1);
    assert_int_equal(g.info.max_chain, 0);
    assert_int_equal(g.info.cols[OUT_HIDDEN], 36);
    /* h of both directions, and their sum */
    assert_int_equal(g.info.state.fixed_bytes, 2 * 2 * 32 * sizeof(float));
    rig_close(&g);
}

static void test_load_fails_cleanly_without_memory(void **state)
{
    struct load_opts o = {.label = "m", .options = &options};
    struct rig g;
    void *self;
    int failures = 0;
    (void)state;
    open_shape(&classifier, &g);
    for (long n = 1; n < 200; n++) {
        struct err e = ERR_INIT;
        int rc;
        mem_fail_at(n);
        rc = rnn_arch.load(&o, g.c, &info, &self, &e);
        mem_fail_at(0);
        if (!rc) {
            rnn_arch.unload(self);
            break;
        }
        assert_int_equal(e.code, ERR_NOMEM);
        failures++;
    }
    assert_in_range(failures, 20, 190);
    rig_close(&g);
}

static size_t scratch(const void *self, int items, int tokens, int rows,
                      int threads)
{
    return rnn_arch.scratch_bytes(self,
                                  &(struct step_size){.items = items,
                                                      .tokens = {tokens},
                                                      .rows = rows,
                                                      .threads = threads});
}

static void test_scratch_grows_with_every_limit(void **state)
{
    struct rig g;
    size_t base;
    (void)state;
    open_shape(&classifier, &g);
    base = scratch(g.self, 64, 256, 64, 2);
    assert_true(scratch(g.self, 65, 256, 64, 2) > base);
    assert_true(scratch(g.self, 64, 257, 64, 2) > base);
    assert_true(scratch(g.self, 64, 256, 65, 2) > base);
    assert_true(scratch(g.self, 64, 256, 64, 3) > base);
    rig_close(&g);
}

static void test_registry_names_are_unique_and_complete(void **state)
{
    (void)state;
    assert_non_null(registry_archs[0]);
    for (int i = 0; registry_archs[i]; i++) {
        const struct model_arch *a = registry_archs[i];
        assert_true(a->name && a->load && a->unload && a->scratch_bytes &&
                    a->step);
        for (int k = 0; k < i; k++)
            assert_string_not_equal(a->name, registry_archs[k]->name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_load_refuses_what_does_not_fit),
        cmocka_unit_test(test_load_compares_the_tokenizer),
        cmocka_unit_test(
            test_load_refuses_a_second_direction_that_config_lacks),
        cmocka_unit_test(test_load_refuses_weights_that_are_not_finite),
        cmocka_unit_test(test_load_refuses_a_tensor_that_nothing_reads),
        cmocka_unit_test(test_load_understands_wrapped_nets),
        cmocka_unit_test(test_load_names_the_labels_of_one_output),
        cmocka_unit_test(test_load_reads_the_kind_of_problem),
        cmocka_unit_test(test_load_finds_that_there_are_no_biases),
        cmocka_unit_test(test_load_compares_the_copy_of_a_tied_output),
        cmocka_unit_test(test_load_finds_proj_size),
        cmocka_unit_test(test_load_tells_the_engine_what_it_is),
        cmocka_unit_test(test_load_fails_cleanly_without_memory),
        cmocka_unit_test(test_scratch_grows_with_every_limit),
        cmocka_unit_test(test_registry_names_are_unique_and_complete),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
