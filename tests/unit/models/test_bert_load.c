/* bert_load: checkpoints of encoders that are not what we compute are refused
 * with a message that names the key, the tensor or the file; those that say
 * little are understood.
 *
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "models/transformer/archs.h"
#include "models/transformer/heads.h"
#include "tests/support/arch_rig.h"
#include "tests/support/extra_tensor.h"

#define GOLDEN "tests/golden/bert/"

/* A copy of a fixture in which `from` in one file is `to`. */
static struct {
    char dir[64];
    const char *extra, *ignore; /* a tensor more, --ignore-tensors */
    const char *prefix;         /* in front of all names, or NULL */
} t;

static void path_of(char out[256], const char *dir, const char *file)
{
    snprintf(out, 256, "%s/%s", dir, file);
}

static void write_file(const char *file, const char *text, size_t n)
{
    char path[256];
    path_of(path, t.dir, file);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, n, f), n);
    fclose(f);
}

static void copy(const char *name, const char *file, const char *from,
                 const char *to)
{
    struct err e = ERR_INIT;
    char dir[128], path[256], *text;
    size_t n;
    snprintf(dir, sizeof dir, GOLDEN "%s", name);
    path_of(path, dir, file);
    if (file_read(path, file, 1 << 22, &text, &n, &e))
        return; /* not every fixture has every file */
    char *at = from ? memmem(text, n, from, strlen(from)) : NULL;
    if (!at) {
        write_file(file, text, n);
    } else {
        size_t head = (size_t)(at - text), k = strlen(from);
        char *all = mem_alloc(n + strlen(to));
        assert_non_null(all);
        memcpy(all, text, head);
        memcpy(all + head, to, strlen(to));
        memcpy(all + head + strlen(to), at + k, n - head - k);
        write_file(file, all, n - k + strlen(to));
        mem_free(all);
    }
    mem_free(text);
}

static const char *const files[] = {
    "config.json",           "model.safetensors",
    "modules.json",          "sentence_bert_config.json",
    "1_Pooling/config.json", "model.gguf"};
#define N_FILES ((int)(sizeof files / sizeof *files))

/* The checkpoint, opened; what is to be changed must be there. */
static int open_changed(const char *name, const char *file, const char *from,
                        const char *to, struct rig *g, struct err *e)
{
    char sub[256];
    snprintf(t.dir, sizeof t.dir, "/tmp/seqd-bert-XXXXXX");
    assert_non_null(mkdtemp(t.dir));
    path_of(sub, t.dir, "1_Pooling");
    assert_int_equal(mkdir(sub, 0700), 0);
    for (int i = 0; i < N_FILES; i++)
        copy(name, files[i], file && !strcmp(file, files[i]) ? from : NULL, to);
    if (t.extra || t.prefix) {
        snprintf(sub, sizeof sub, GOLDEN "%s", name);
        assert_int_equal(
            extra_tensor_save(sub, t.dir, t.prefix ? t.prefix : "", t.extra),
            0);
        path_of(sub, t.dir, "1_Pooling");
    }
    struct engine_options options = {.ignore_tensors = t.ignore};
    struct load_opts o = {.options = &options};
    int rc = rig_open_with(g, &bert_arch, t.dir, "generic", 1, &o, e);
    for (int i = 0; i < N_FILES; i++) {
        char path[256];
        path_of(path, t.dir, files[i]);
        unlink(path);
    }
    rmdir(sub);
    rmdir(t.dir);
    return rc;
}

static void test_bert_refuses_what_it_does_not_compute(void **state)
{
#define C "config.json"
#define M "modules.json"
#define P "1_Pooling/config.json"
#define G "model.gguf"
    static const struct {
        const char *name, *file, *from, *to, *says;
    } bad[] = {
        {"bert-class", C, "\"gelu\"", "\"silu\"", "silu"},
        {"distilbert-class", C, "\"activation\": \"gelu\"",
         "\"activation\": \"mish\"", "activation"},
        {"bert-class", C, "\"absolute\"", "\"relative_key\"", "relative_key"},
        {"bert-class", C, "\"use_cache\"", "\"is_decoder\": true, \"x\"",
         "is_decoder"},
        {"bert-class", C, "\"use_cache\"",
         "\"quantization_config\": {\"bits\": 8}, \"x\"",
         "'quantization_config' is set"},
        {"bert-class", C, "\"use_cache\"", "\"num_key_value_heads\": 1, \"x\"",
         "1 heads of keys"},
        {"bert-class", C, "ForSequence", "ForToken", "BertForToken"},
        {"bert-class", C, "BertForSequenceClassification",
         "BertForQuestionAnswering", "\"BertForQuestionAnswering\", expected"},
        {"bert-class", C, "BertForSequenceClassification", "BertLMHeadModel",
         "\"BertLMHeadModel\", expected"},
        {"bert-class", C, "\"hidden_size\": 24", "\"hidden_size\": 32",
         "[70,24], expected [70,32]"},
        {"bert-class", C, "attention_heads\": 2", "attention_heads\": 5",
         "no multiple"},
        {"bert-class", C, "hidden_layers\": 2", "hidden_layers\": 3",
         "layer.2"},
        {"bert-class", C, "hidden_layers\": 2", "hidden_layers\": 1",
         "bert.encoder.layer.1."},
        {"bert-class", C, "\"2\": \"good\"", "\"5\": \"good\"", "id2label"},
        {"bert-class", C, ",\n    \"2\": \"good\"", "", "id2label"},
        {"bert-class-many", C, "multi_label_c", "x", "problem_type"},
        {"bert-class", C, "position_embeddings\": 48",
         "position_embeddings\": 49", "position_embeddings"},
        {"bert-class", C, "ForSequenceClassification", "ForMaskedLM",
         "cls.predictions"},
        {"bert-fill", C, "ForMaskedLM", "ForSequenceClassification",
         "classifier"},
        {"bert-fill", "model.safetensors", "bert.embeddings.word",
         "bert.embeddings.wurd", "embeddings.word_embeddings"},
        {"bert-embed-mean", M, "models.Normalize", "models.Dense",
         "models.Dense"},
        {"bert-embed-mean", M, "\"1_Pooling\"", "\"../1_Pooling\"",
         "inside the checkpoint"},
        {"bert-embed-mean", M, "\"1_Pooling\"", "\"2_Pooling\"", "2_Pooling"},
        {"bert-embed-mean", P, "\"pooling_mode_cls_token\": false",
         "\"pooling_mode_cls_token\": true", "2 kinds"},
        {"bert-embed-mean", P, "\"pooling_mode_mean_tokens\": true",
         "\"pooling_mode_lasttoken\": true", "pooling_mode_lasttoken"},
        {"bert-embed-mean", "sentence_bert_config.json", "40", "2",
         "max_seq_length"},
        {"electra-class-narrow", C, "\"embedding_size\": 12",
         "\"embedding_size\": 13", "[70,12], expected [70,13]"},
        {"electra-class-narrow", C, "\"embedding_size\": 12",
         "\"embedding_size\": 0", "embedding_size"},
        {"electra-class-narrow", "model.safetensors", "embeddings_project.w",
         "embeddings_projekt.w", "electra.embeddings_project.weight"},
        {"electra-fill", C, "ForMaskedLM", "ForPreTraining",
         "ElectraForPreTraining"},
        {"albert-class-groups", C, "hidden_groups\": 2", "hidden_groups\": 1",
         "layer_groups.1."},
        {"albert-class", C, "hidden_groups\": 1", "hidden_groups\": 2",
         "albert_layer_groups.1.albert_layers.0.attention.query"},
        {"albert-class", C, "hidden_groups\": 1", "hidden_groups\": 3",
         "num_hidden_groups"},
        {"albert-class-groups", C, "hidden_layers\": 2", "hidden_layers\": 3",
         "'num_hidden_groups' 2 does not divide the 3 layers"},
        {"albert-class", C, "inner_group_num\": 1", "inner_group_num\": 2",
         "inner_group_num"},
        {"albert-class", "model.safetensors", "embedding_hidden_mapping_in.w",
         "embedding_hidden_mapping_im.w", "embedding_hidden_mapping_in.weight"},
        {"mpnet-class", C, "num_buckets\": 32", "num_buckets\": 64",
         "relative_attention_num_buckets"},
        {"mpnet-class", "model.safetensors", "relative_attention_bias.w",
         "relative_attention_bios.w", "mpnet.encoder.relative_attention_bias"},
        {"bert-gguf", G, "position_embd", "position_embx", "0 positions"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct rig g;
        struct err e = ERR_INIT;
        if (open_changed(bad[i].name, bad[i].file, bad[i].from, bad[i].to, &g,
                         &e) == 0)
            fail_msg("row %zu is taken", i);
        if (!strstr(e.msg, bad[i].says) || e.code == ERR_INTERNAL)
            fail_msg("row %zu: '%s' does not say '%s'", i, e.msg, bad[i].says);
    }
}

static void test_bert_understands_what_is_left_out(void **state)
{
    static const struct {
        const char *name, *file, *from, *to;
        enum out output;
    } ok[] = {
        {"bert-class", C, "\"architectures\"", "\"x\"", OUT_CLASS},
        {"bert-fill", C, "\"architectures\"", "\"x\"", OUT_LOGITS},
        {"bert-embed-mean", C, "\"architectures\"", "\"x\"", OUT_POOLED},
        {"bert-class", C, "\"id2label\"", "\"x\"", OUT_CLASS},
        {"bert-fill", C, "ForMaskedLM", "ForPreTraining", OUT_LOGITS},
        {"roberta-class", C, "\"roberta\"", "\"xlm-roberta\"", OUT_CLASS},
        {"bert-embed-mean", C, "BertModel", "BertForMaskedLM", OUT_POOLED},
    };
    (void)state;
    for (size_t i = 0; i < sizeof ok / sizeof *ok; i++) {
        struct rig g;
        struct err e = ERR_INIT;
        if (open_changed(ok[i].name, ok[i].file, ok[i].from, ok[i].to, &g, &e))
            fail_msg("row %zu: %s", i, e.msg);
        for (int k = 0; k < N_OUT; k++)
            if (k != OUT_HIDDEN && k != OUT_ATTENTION)
                assert_int_equal(g.info.cols[k] > 0, k == (int)ok[i].output);
        if (i == 3)
            assert_string_equal(g.info.labels[2], "LABEL_2");
        rig_close(&g);
    }
}

static int open_more(const char *name, const char *extra, struct err *e)
{
    struct rig g;
    t.extra = extra;
    int rc = open_changed(name, NULL, NULL, NULL, &g, e);
    t.extra = NULL;
    if (rc == 0)
        rig_close(&g);
    return rc;
}

static void test_bert_refuses_a_tensor_that_nothing_reads(void **state)
{
    static const char *const bad[] = {
        "classifier.1.weight", "fc1.weight", "norm.bias",
        "bert.encoder.layer.0.attention.self.key.lora_A.weight"};
    static const char *const names[] = {"bert-class", "bert-fill",
                                        "bert-embed-mean", "distilbert-class",
                                        "roberta-fill"};
    struct err e;
    (void)state;
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
            err_clear(&e);
            if (open_more(names[k], bad[i], &e) == 0)
                fail_msg("%s with %s is taken", names[k], bad[i]);
            assert_int_equal(e.code, ERR_UNSUPPORTED);
            if (!strstr(e.msg, bad[i]))
                fail_msg("'%s' does not say '%s'", e.msg, bad[i]);
        }
    }
    err_clear(&e);
    t.ignore = "fc1.weight,fc1.bias";
    if (open_more("bert-class", "fc1.weight", &e))
        fail_msg("%s", e.msg);
    t.ignore = NULL;
}

static void test_bert_leaves_buffers_and_other_heads(void **state)
{
    struct err e = ERR_INIT;
    (void)state;
    for (int i = 0; heads_ignored[i]; i++) {
        char name[100];
        snprintf(name, sizeof name, "bert.%s", heads_ignored[i]);
        if (open_more("distilbert-class", name, &e) ||
            open_more("roberta-embed-mean", name, &e))
            fail_msg("%s", e.msg);
    }
    for (int i = 0; i < 2; i++) {
        struct rig g;
        t.prefix = i ? "module." : "_orig_mod.";
        if (open_changed(i ? "bert-fill" : "distilbert-class", NULL, NULL, NULL,
                         &g, &e))
            fail_msg("%s", e.msg);
        rig_close(&g);
        t.prefix = NULL;
    }
}

static void test_bert_states_its_limits(void **state)
{
    struct rig g;
    struct err e = ERR_INIT;
    (void)state;
    /* 48 positions; sentence_bert_config.json says 40; RoBERTa's begin at 2. */
    assert_int_equal(open_changed("bert-class", NULL, NULL, NULL, &g, &e), 0);
    assert_int_equal(g.info.state.port[0].context_length, 48);
    assert_int_equal(g.info.state.port[0].whole, 1);
    assert_int_equal(g.info.state.port[0].page_tokens, 0);
    rig_close(&g);
    assert_int_equal(open_changed("bert-embed-mean", NULL, NULL, NULL, &g, &e),
                     0);
    assert_int_equal(g.info.state.port[0].context_length, 40);
    rig_close(&g);
    assert_int_equal(open_changed("roberta-class", NULL, NULL, NULL, &g, &e),
                     0);
    assert_int_equal(g.info.state.port[0].context_length, 46);
    assert_int_equal(g.info.scores, SCORE_SOFTMAX);
    rig_close(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bert_refuses_what_it_does_not_compute),
        cmocka_unit_test(test_bert_understands_what_is_left_out),
        cmocka_unit_test(test_bert_refuses_a_tensor_that_nothing_reads),
        cmocka_unit_test(test_bert_leaves_buffers_and_other_heads),
        cmocka_unit_test(test_bert_states_its_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
