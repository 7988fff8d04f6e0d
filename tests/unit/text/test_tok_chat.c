/* The chat template of a checkpoint: the places it may stand in, and the tokens
 * that it names. Expected: what transformers reads (tokenizer_config.json's
 * chat_template, a text or a list by name, and chat_template.jinja) and ggml's
 * docs/gguf.md (tokenizer.chat_template).
 *
 * SPDX-License-Identifier: MIT */
#include "engine/base/clock.h"
#include "tests/support/gguf_make.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tokenizer_at.h"
#include "tests/support/unit.h"

/* Ids and token_type: 1 plain, 3 control, 4 user-defined. */
static const char *const entries[] = {"a",      "b",    "<|turn|>", "<|end|>",
                                      "[TOOL]", "role", "<|bos|>"};
static const int types[] = {1, 1, 3, 3, 4, 4, 3};
#define N ((int)(sizeof types / sizeof types[0]))

#define TEMPLATE "{{ '<|turn|>' + role }}[TOOL]{% if a %}<|end|>{% endif %}"
#define JSON(text) "\"chat_template\":" text

/* A folder with tokenizer.json and these files, NULL: without it. */
static struct tokenizer *of_files(const char *setup, const char *jinja)
{
    struct tokenizer *t = NULL;
    struct err e = ERR_INIT;
    struct buf b;
    char dir[64];

    buf_init(&b, 1 << 16);
    buf_add_str(&b, "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1},"
                    "\"merges\":[]},\"pre_tokenizer\":{\"type\":\"ByteLevel\"},"
                    "\"added_tokens\":[");
    for (int i = 2; i < N; i++) {
        buf_addf(&b, "%s{\"id\":%d,\"content\":\"%s\",\"special\":%s}",
                 i > 2 ? "," : "", i, entries[i],
                 types[i] == 3 ? "true" : "false");
    }
    buf_add_str(&b, "]}");
    assert_false(b.failed);
    temp_dir_make(dir);
    temp_file_text(dir, "tokenizer.json", b.p);
    if (setup)
        temp_file_text(dir, "tokenizer_config.json", setup);
    if (jinja)
        temp_file_text(dir, "chat_template.jinja", jinja);
    if (tokenizer_at(dir, "m", &t, &e))
        fail_msg("%s", e.msg);
    temp_dir_drop(dir);
    buf_fini(&b);
    return t;
}

/* The template has these, which no plain text holds: not the word "role". */
static void expect_turns(struct tokenizer *t)
{
    assert_true(tokenizer_has_chat(t));
    for (int id = -1; id <= N; id++)
        assert_int_equal(tokenizer_is_turn(t, id), id >= 2 && id <= 4);
    tokenizer_close(t);
}

static void test_tok_chat_of_a_folder(void **state)
{
    expect_turns(of_files("{" JSON("\"" TEMPLATE "\"") "}", NULL));
    expect_turns(of_files("{" JSON("[{\"name\":\"tools\",\"template\":"
                                   "\"[TOOL]<|end|>\"},{\"name\":\"default\","
                                   "\"template\":\"<|turn|>\"}]") "}",
                          NULL));
    expect_turns(of_files(NULL, TEMPLATE));
    expect_turns(of_files("{" JSON("\"<|end|>\"") "}", TEMPLATE));
}

static void test_tok_chat_is_not_there(void **state)
{
    static const char *const setup[] = {NULL,
                                        "{}",
                                        "{" JSON("null") "}",
                                        "{" JSON("\"\"") "}",
                                        "{" JSON("7") "}",
                                        "{" JSON("[7,{\"name\":\"x\"},[]]") "}",
                                        "{" JSON("{\"a\":1}") "}"};
    for (size_t i = 0; i < COUNT(setup); i++) {
        struct tokenizer *t = of_files(setup[i], "");
        assert_false(tokenizer_has_chat(t));
        for (int id = 0; id < N; id++)
            assert_false(tokenizer_is_turn(t, id));
        tokenizer_close(t);
    }
}

/* One without tokens of the vocabulary is one all the same. */
static void test_tok_chat_that_names_no_token(void **state)
{
    static const char *const texts[] = {"[INST] {{ x }} [/INST]",
                                        "\xff<|end|>"};
    for (size_t i = 0; i < COUNT(texts); i++) {
        struct tokenizer *t = of_files(NULL, texts[i]);
        assert_true(tokenizer_has_chat(t));
        for (int id = 0; id < N; id++)
            assert_false(tokenizer_is_turn(t, id));
        tokenizer_close(t);
    }
}

static struct tokenizer *of_gguf(const char *template)
{
    struct tokenizer *t = NULL;
    struct err e = ERR_INIT;
    char dir[64], path[80];
    struct buf b;

    temp_dir_make(dir);
    snprintf(path, sizeof path, "%s/m.gguf", dir);
    buf_init(&b, 1 << 16);
    gm_head(&b, 3, 0, template ? 7 : 6);
    gm_kv_string(&b, "general.architecture", "gpt2");
    gm_kv_string(&b, "tokenizer.ggml.model", "gpt2");
    gm_kv_string(&b, "tokenizer.ggml.pre", "gpt-2");
    gm_kv_array(&b, "tokenizer.ggml.tokens", GGUF_STRING, N);
    for (int i = 0; i < N; i++)
        gm_string(&b, entries[i]);
    gm_kv_array(&b, "tokenizer.ggml.token_type", GGUF_I32, N);
    for (int i = 0; i < N; i++)
        gm_int(&b, 4, (uint64_t)types[i]);
    gm_kv_array(&b, "tokenizer.ggml.merges", GGUF_STRING, 0);
    if (template)
        gm_kv_string(&b, "tokenizer.chat_template", template);
    gm_align(&b, 32);
    assert_int_equal(gm_write(&b, path), 0);
    if (tokenizer_at(path, "m", &t, &e))
        fail_msg("%s", e.msg);
    buf_fini(&b);
    temp_dir_drop(dir);
    return t;
}

static void test_tok_chat_of_a_gguf_file(void **state)
{
    struct tokenizer *t = of_gguf(NULL);
    assert_false(tokenizer_has_chat(t));
    tokenizer_close(t);
    expect_turns(of_gguf(TEMPLATE));
}

/* Each space of a long template is a token that takes the ones before along. */
static void test_tok_chat_of_spaces_takes_linear_time(void **state)
{
    enum { BYTES = 1 << 17, LIMIT_US = 5000000 };
    struct tokenizer *t = NULL;
    struct err e = ERR_INIT;
    char dir[64], *text = test_malloc(BYTES + 1);

    memset(text, ' ', BYTES);
    text[BYTES] = 0;
    temp_dir_make(dir);
    temp_file_text(dir, "tokenizer.json",
                   "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},"
                   "\"merges\":[]},\"pre_tokenizer\":{\"type\":\"ByteLevel\"},"
                   "\"added_tokens\":[{\"id\":1,\"content\":\" \",\"special\":"
                   "true,\"lstrip\":true,\"rstrip\":true}]}");
    temp_file_text(dir, "chat_template.jinja", text);
    int64_t from = clock_now_us();
    if (tokenizer_at(dir, "m", &t, &e))
        fail_msg("%s", e.msg);
    assert_true(clock_now_us() - from < LIMIT_US);
    assert_true(tokenizer_is_turn(t, 1));
    tokenizer_close(t);
    temp_dir_drop(dir);
    test_free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tok_chat_of_a_folder),
        cmocka_unit_test(test_tok_chat_is_not_there),
        cmocka_unit_test(test_tok_chat_that_names_no_token),
        cmocka_unit_test(test_tok_chat_of_a_gguf_file),
        cmocka_unit_test(test_tok_chat_of_spaces_takes_linear_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
