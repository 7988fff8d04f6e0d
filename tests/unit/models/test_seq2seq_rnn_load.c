/* Loading a recurrent encoder-decoder: what is refused says what was found and
 * expected. The checkpoints are those of tests/golden/seq2seq-rnn, under a
 * config.json of which one place is another.
 *
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "engine/run/eval_jobs.h"
#include "engine/run/task/beam.h"
#include "models/rnn/seq2seq_rnn.h"
#include "tests/support/extra_tensor.h"
#include "tests/support/temp_dir.h"

#define GOLDEN "tests/golden/seq2seq-rnn/"
#define MAX_TEXT 4096

static struct engine_options options;
static char dir[64];

static void read_config(const char *fixture, char text[MAX_TEXT])
{
    char path[200];
    snprintf(path, sizeof path, GOLDEN "%s/config.json", fixture);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    size_t n = fread(text, 1, MAX_TEXT - 1, f);
    fclose(f);
    text[n] = '\0';
}

/* The fixture's weights and its config.json, `from` in it being `to`. */
static void make_dir(const char *fixture, const char *from, const char *to,
                     const char *extra)
{
    char text[MAX_TEXT], out[MAX_TEXT + 200], path[200];
    snprintf(path, sizeof path, GOLDEN "%s", fixture);
    read_config(fixture, text);
    char *at = strstr(text, from);
    if (!at)
        fail_msg("%s has no %s", fixture, from);
    snprintf(out, sizeof out, "%.*s%s%s", (int)(at - text), text, to,
             at + strlen(from));
    assert_int_equal(extra_tensor_save(path, dir, "", extra), 0);
    temp_file_text(dir, "config.json", out);
}

static int load(int n_tokens, struct model_info *info, struct err *e)
{
    struct load_opts o = {
        .label = "m", .n_vocab_tokenizer = n_tokens, .options = &options};
    struct checkpoint *c;
    void *self = NULL;
    struct err none = ERR_INIT;
    assert_int_equal(kernels_pick("auto", &o.k, &none), 0);
    if (checkpoint_open(dir, "m", &c, e))
        return -1;
    int rc = seq2seq_rnn_arch.load(&o, c, info, &self, e);
    if (!rc)
        seq2seq_rnn_arch.unload(self);
    checkpoint_close(c);
    return rc;
}

static void expect_refused(int n_tokens, const char *says)
{
    struct model_info info;
    struct err e = ERR_INIT;
    if (!load(n_tokens, &info, &e))
        fail_msg("loaded; expected '%s'", says);
    if (e.code != ERR_UNSUPPORTED)
        assert_int_equal(e.code, ERR_FORMAT);
    if (!strstr(e.msg, says))
        fail_msg("'%s' does not say '%s'", e.msg, says);
}

static void test_load_refuses_what_does_not_fit(void **state)
{
    static const struct {
        const char *fixture, *from, *to, *says;
    } row[] = {
        {"gru-none", "\"gru\"", "\"elman\"", "'cell' is 'elman'"},
        {"gru-none", "\"gru\"", "\"lstm\"",
         "tensor 'encoder.rnn.weight_ih_l0' is [51,11], expected [68,11]"},
        {"gru-none", "\"attention\": \"none\",", "", "'attention'"},
        {"gru-none", "\"none\"", "\"cosine\"", "'attention' is 'cosine'"},
        {"gru-none", "\"num_layers\": 1", "\"num_layers\": 5",
         "'num_layers' is 5, expected 1..4"},
        {"gru-none", "\"num_layers\": 1", "\"num_layers\": 2",
         "encoder.rnn.weight_ih_l1"},
        {"gru-none-bi-4", "\"num_layers\": 4", "\"num_layers\": 3",
         "rnn.weight_ih_l3"},
        {"gru-none", "false", "true", "'bridge' is \"copy\""},
        {"gru-none", "\"encoder_hidden_size\": 17",
         "\"encoder_hidden_size\": 9", "'bridge' is \"copy\""},
        {"gru-none", "\"copy\"", "\"sum\"", "'bridge' is 'sum'"},
        {"gru-none", "\"copy\"", "\"tanh\"", "bridge.h.0.weight"},
        {"gru-none", "\"copy\"", "\"copy\", \"bridge_cell\": true",
         "'bridge_cell' is true"},
        {"gru-none-bi-4", "\"linear\"", "\"linear\", \"combine_dim\": 4",
         "'combine_dim' is there"},
        {"gru-none", "\"copy\"", "\"copy\", \"max_source_length\": 4",
         "'max_source_length' is there"},
        {"lstm-none-bi-2", "\"bridge_cell\": true", "\"bridge_cell\": false",
         "tensor 'bridge.c.0.weight' is not part"},
        {"lstm-none-2", "\"source_vocab_size\": 19", "\"source_vocab_size\": 0",
         "'source_vocab_size' is 0"},
        {"lstm-none-2", "\"source_vocab_size\": 19",
         "\"source_vocab_size\": 20",
         "'encoder.embedding.weight' is [19,11], expected [20,11]"},
        {"lstm-none-2", "_start_token_id\": 1", "_start_token_id\": 23",
         "'decoder_start_token_id' is 23, expected 0..22"},
        {"lstm-none-2", "_start_token_id\": 1", "_end_token_id\": 1",
         "'decoder_start_token_id'"},
        {"lstm-dot", "\"dot\"", "\"dot\", \"attention_dim\": 3",
         "'attention_dim' is there"},
        {"lstm-dot", "\"dot\"", "\"general\"", "attention.key.weight"},
        {"lstm-dot", "\"output_context\": true", "\"output_context\": false",
         "'output_context' is false"},
        {"lstm-dot", "64", "65537", "'max_source_length' is 65537"},
        {"lstm-dot", "\"output\"", "\"state\"", "'context_into'"},
        {"lstm-dot", "\"output\"", "\"input\"",
         "'decoder.rnn.weight_ih_l0' is [68,7], expected [68,24]"},
        {"gru-dot-bi-2-combine", "\"encoder_hidden_size\": 8",
         "\"encoder_hidden_size\": 9", "'hidden_size' 16 outputs, found 18"},
        {"gru-dot-bi-2-combine", "\"combine_dim\": 19", "\"combine_dim\": 18",
         "'attention.combine.weight' is [19,32], expected [18,32]"},
        {"gru-additive-2-state", "64", "64, \"combine_dim\": 4",
         "'combine_dim' is there"},
        {"gru-additive-bi", "\"attention_dim\": 13", "\"attention_dim\": 14",
         "'attention.key.weight' is [13,20], expected [14,20]"},
        {"gru-additive-bi", "\"additive\",\n \"bridge\": \"tanh\"",
         "\"general\",\n \"bridge\": \"tanh\"", "'attention_dim' is there"},
        {"gru-additive-bi", "64", "64, \"tie_word_embeddings\": true",
         "needs embedding_dim 37, found 7"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        make_dir(row[i].fixture, row[i].from, row[i].to, NULL);
        expect_refused(0, row[i].says);
    }
}

static void test_load_refuses_what_nothing_reads(void **state)
{
    static const char *const extra[] = {
        "encoder.rnn.weight_ih_l0_reverse", "decoder.rnn.bias_ih_l1",
        "attention.query.weight", "bridge.h.0.weight", "norm.weight"};
    (void)state;
    for (size_t i = 0; i < sizeof extra / sizeof *extra; i++) {
        char says[100];
        snprintf(says, sizeof says, "tensor '%s' is not part of", extra[i]);
        make_dir("lstm-dot", "\"dot\"", "\"dot\"", extra[i]);
        expect_refused(0, says);
        options.ignore_tensors = extra[i];
        struct model_info info;
        struct err e = ERR_INIT;
        assert_int_equal(load(0, &info, &e), 0);
        options.ignore_tensors = NULL;
    }
}

static void test_load_refuses_another_vocabulary(void **state)
{
    (void)state;
    make_dir("lstm-dot", "\"dot\"", "\"dot\"", NULL);
    expect_refused(24, "tokenizer.json has 24 entries, config.json's "
                       "'vocab_size' is 23");
}

static void test_load_states_ports_and_outputs(void **state)
{
    struct model_info info;
    struct err e = ERR_INIT;
    (void)state;
    make_dir("gru-additive-bi", "\"tanh\"", "\"tanh\"", NULL);
    assert_int_equal(load(23, &info, &e), 0);
    assert_int_equal(info.state.n_ports, 2);
    assert_int_equal(info.target.start, 1);
    assert_int_equal(info.cols[OUT_LOGITS], 23);
    assert_int_equal(info.cols[OUT_ATTENTION], 1);
    assert_false(info.state.port[PORT_TARGET].whole);
    assert_true(info.state.port[PORT_SOURCE].whole);
    assert_int_equal(info.state.port[PORT_SOURCE].context_length, 64);
    assert_int_equal(info.state.port[PORT_SOURCE].page_tokens, ATTN_KEYS);
    assert_int_equal(info.state.port[PORT_SOURCE].page_bytes,
                     ATTN_KEYS * (16 + 32) * sizeof(float));
    make_dir("gru-none", "\"copy\"", "\"copy\"", NULL);
    assert_int_equal(load(0, &info, &e), 0);
    assert_int_equal(info.cols[OUT_ATTENTION], 0);
    assert_int_equal(info.state.port[PORT_SOURCE].page_tokens, 0);
}

static int make_temp(void **state)
{
    (void)state;
    temp_dir_make(dir);
    return 0;
}

static int drop_temp(void **state)
{
    (void)state;
    temp_dir_drop(dir);
    return 0;
}

/* One tokenizer serves both sides; its last entries are the target's alone. */
static void test_a_source_has_no_tokens_that_its_encoder_lacks(void **state)
{
    static const struct model_arch *const archs[] = {&seq2seq_rnn_arch, NULL};
    const struct engine_options o = {.n_threads = 1};
    const struct beam_params p = {
        .beams = 1, .n_best = 1, .max_tokens = 3, .forced_first = -1};
    struct engine *g;
    struct model *m;
    struct job *j = NULL;
    struct err e = ERR_INIT;
    (void)state;
    log_configure(LOG_ERROR, 0);
    if (engine_open(&o, archs, &g, &e) ||
        engine_load(g, "m", GOLDEN "lstm-dot", &e) ||
        engine_model(g, NULL, NULL, &m, &e))
        fail_msg("%s", e.msg);
    int32_t start = model_get_info(m)->target.start, source[] = {18, 19};
    struct job_spec spec = {
        .model = m,
        .task = &task_beam,
        .params = &p,
        .in = {{.n = 1, .p = &start}, {.n = 2, .p = source}}};
    assert_int_equal(eval_jobs(g, &spec, 1, &j, &e), -1);
    assert_non_null(strstr(e.msg, "token 1 is 19, expected 0..18"));
    source[1] = 17;
    e = (struct err)ERR_INIT;
    assert_int_equal(eval_jobs(g, &spec, 1, &j, &e), 0);
    assert_int_equal(eval_failed(j, &e), 0);
    job_release(j);
    model_release(m);
    engine_close(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_load_refuses_what_does_not_fit),
        cmocka_unit_test(test_load_refuses_what_nothing_reads),
        cmocka_unit_test(test_load_refuses_another_vocabulary),
        cmocka_unit_test(test_load_states_ports_and_outputs),
        cmocka_unit_test(test_a_source_has_no_tokens_that_its_encoder_lacks),
    };
    return cmocka_run_group_tests(tests, make_temp, drop_temp);
}
