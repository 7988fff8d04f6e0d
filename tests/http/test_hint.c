/* The hint of an empty answer: a model with a chat template that ended at once.
 * The net is the one of qwen3-served; that its first token ends a text is said
 * by a generation_config.json of our own: served.json has what transformers
 * finds most likely, "R" (id 52) after the first of its texts and "z" after
 * the second.
 *
 * SPDX-License-Identifier: MIT */
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include "engine/base/buf.h"
#include "tests/support/http_rig.h"
#include "tests/support/http_schema.h"
#include "tests/support/temp_dir.h"

#define NET "tests/golden/qwen3/qwen3-served/hf/"
#define ENDS_AT_ONCE "The daemon answers"
#define GOES_ON "we've 2024 days;  Gr\\u00fc\\u00dfe"
/* An added token that plain text may hold; after it the net says what no
 * reference tells: the test looks, and makes that token an end. */
#define MARKED "The daemon answers<tool_call>"
#define CHAT "{\"chat_template\":\"<|im_start|>user {{ m }}<|im_end|>\"}"
#define TOOLS "{\"chat_template\":\"<|im_start|>{{ m }}<tool_call>\"}"

static struct seqd server;
static struct answer contract;
static char chat[64], tools[64], plain[64];

static void make(char dir[64], const char *setup, const char *ends)
{
    static const char *const names[] = {"config.json", "model.safetensors",
                                        "tokenizer.json"};
    temp_dir_make(dir);
    for (size_t i = 0; i < COUNT(names); i++) {
        char from[PATH_MAX], to[128], name[128];
        snprintf(name, sizeof name, NET "%s", names[i]);
        snprintf(to, sizeof to, "%s/%s", dir, names[i]);
        assert_non_null(realpath(name, from));
        assert_int_equal(symlink(from, to), 0);
    }
    temp_file_text(dir, "tokenizer_config.json", setup);
    temp_file_text(dir, "generation_config.json", ends);
}

static void generate(const char *model, const char *text, const char *more,
                     struct answer *a)
{
    char body[512];
    snprintf(body, sizeof body,
             "{\"model\":\"%s\",\"temperature\":0,\"max_tokens\":4,%s"
             "\"input\":%s}",
             model, more, text);
    http_answered(server.port, "/generate", body, a);
}

/* The token that stands first after a text, by its id. */
static int first_after(const char *model, const char *text)
{
    struct answer a, ids;
    struct buf b;

    generate(model, text, "", &a);
    buf_init(&b, 4096);
    buf_addf(&b, "{\"model\":\"%s\",\"input\":", model);
    const char *made = answer_text(&a, "data.0.text");
    buf_add_json_string(&b, made, strlen(made));
    buf_add_char(&b, '}');
    http_answered(server.port, "/tokenize", b.p, &ids);
    int id = (int)answer_number(&ids, "data.0.tokens.0.id");
    buf_fini(&b);
    answer_free(&a);
    answer_free(&ids);
    return id;
}

static int up(void **state)
{
    char ends[64];
    make(plain, "{}", "{\"eos_token_id\":2}");
    if (seqd_start(&server, "--model m=%s --log-level warn", plain) < 0)
        return -1;
    int id = first_after("m", "\"" MARKED "\"");
    if (seqd_stop(&server))
        return -1;
    temp_dir_drop(plain);
    snprintf(ends, sizeof ends, "{\"eos_token_id\":[2,52,%d]}", id);
    make(chat, CHAT, ends);
    make(tools, TOOLS, ends);
    make(plain, "{}", ends);
    if (seqd_start(&server,
                   "--model chat=%s --model tools=%s --model plain=%s "
                   "--log-level warn",
                   chat, tools, plain) < 0)
        return -1;
    http_get(server.port, "/openapi.json", &contract);
    return contract.j ? 0 : -1;
}

static int down(void **state)
{
    answer_free(&contract);
    temp_dir_drop(chat);
    temp_dir_drop(tools);
    temp_dir_drop(plain);
    return seqd_stop(&server);
}

static void fits(const char *schema, const struct json *j)
{
    char why[512] = "";
    if (!schema_check(contract.j, schema_named(contract.j, schema), j, why,
                      sizeof why))
        fail_msg("%s: %s", schema, why);
}

/* Whole: the hint is there or not; the text is empty or not. */
static void expect(const char *model, const char *text, const char *more,
                   int empty, int hint)
{
    struct answer a;

    generate(model, text, more, &a);
    fits("GenerateAnswer", a.j);
    assert_int_equal(!answer_text(&a, "data.0.text")[0], empty);
    assert_int_equal(answer_at(&a, "data.0.hint") != NULL, hint);
    if (hint) {
        assert_non_null(
            strstr(answer_text(&a, "data.0.hint"), "chat template"));
        assert_string_equal(answer_text(&a, "data.0.finish_reason"), "stop");
    }
    answer_free(&a);
}

static void test_hint_of_a_chat_model_that_ends_at_once(void **state)
{
    expect("chat", "\"" ENDS_AT_ONCE "\"", "", 1, 1);
    expect("chat", "\"" GOES_ON "\"", "", 0, 0);
}

static void test_hint_is_not_for_models_of_plain_text(void **state)
{
    expect("plain", "\"" ENDS_AT_ONCE "\"", "", 1, 0);
}

static void test_hint_is_not_for_a_prompt_with_the_marks(void **state)
{
    expect("tools", "\"" ENDS_AT_ONCE "\"", "", 1, 1);
    expect("tools", "\"" MARKED "\"", "", 1, 0);
    expect("chat", "\"" MARKED "\"", "", 1, 1); /* its template has no such */
}

/* Empty for another reason: no token was wanted, a stop text came first. */
static void test_hint_is_for_an_end_of_the_models_own(void **state)
{
    expect("chat", "\"" GOES_ON "\"", "\"stop\":\"z\",", 1, 0);
    struct answer a;
    http_answered(server.port, "/generate",
                  "{\"model\":\"chat\",\"max_tokens\":0,\"input\":"
                  "\"" ENDS_AT_ONCE "\"}",
                  &a);
    assert_null(answer_at(&a, "data.0.hint"));
    answer_free(&a);
}

static void test_hint_is_of_an_item(void **state)
{
    struct answer a;
    generate("chat", "[\"" GOES_ON "\",\"" ENDS_AT_ONCE "\"]", "", &a);
    fits("GenerateAnswer", a.j);
    assert_null(answer_at(&a, "data.0.hint"));
    assert_non_null(answer_at(&a, "data.1.hint"));
    answer_free(&a);
}

static void test_hint_in_the_last_event_of_a_stream(void **state)
{
    struct answer whole, a;
    int n = 0, hints = 0;

    generate("chat", "\"" ENDS_AT_ONCE "\"", "", &whole);
    generate("chat", "\"" ENDS_AT_ONCE "\"", "\"stream\":true,", &a);
    for (char *p = a.body; (p = strstr(p, "data: {")) != NULL; n++) {
        struct json *j = NULL;
        p += 6;
        assert_int_equal(json_parse(p, strcspn(p, "\n"), NULL, &j, NULL), 0);
        fits("GenerateChunk", j);
        const struct json *hint = json_at(j, "data.0.hint");
        assert_int_equal(hint != NULL, json_get(j, "usage") != NULL);
        if (hint) {
            assert_string_equal(json_string(hint),
                                answer_text(&whole, "data.0.hint"));
            hints++;
        }
        json_free(j);
    }
    assert_true(n >= 1);
    assert_int_equal(hints, 1);
    assert_non_null(strstr(a.body, "data: [DONE]"));
    answer_free(&a);
    answer_free(&whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hint_of_a_chat_model_that_ends_at_once),
        cmocka_unit_test(test_hint_is_not_for_models_of_plain_text),
        cmocka_unit_test(test_hint_is_not_for_a_prompt_with_the_marks),
        cmocka_unit_test(test_hint_is_for_an_end_of_the_models_own),
        cmocka_unit_test(test_hint_is_of_an_item),
        cmocka_unit_test(test_hint_in_the_last_event_of_a_stream),
    };
    return cmocka_run_group_tests(tests, up, down);
}
