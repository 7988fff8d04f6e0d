/* Checkpoints as people publish them, over HTTP: a Hugging Face directory with
 * a tokenizer.json of the model's own kind, text in and text out. served.json
 * of each says what transformers makes of the same texts.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/base/buf.h"
#include "tests/support/http_rig.h"

#define NEOX "tests/golden/gpt_neox/gpt_neox-served"
#define QWEN3 "tests/golden/qwen3/qwen3-served"

static struct seqd server;

static int up(void **state)
{
    return seqd_start(&server, "--model neox=" NEOX "/hf --model qwen3=" QWEN3
                               "/hf --log-level warn");
}

static int down(void **state)
{
    return seqd_stop(&server);
}

/* POST {"model", "input", ...more}. */
static void ask(const char *path, const char *model, const char *text,
                const char *more, struct answer *a)
{
    struct buf b;

    buf_init(&b, 4096);
    buf_addf(&b, "{\"model\":\"%s\",%s\"input\":", model, more);
    buf_add_json_string(&b, text, strlen(text));
    buf_add_char(&b, '}');
    assert_false(b.failed);
    http_answered(server.port, path, b.p, a);
    buf_fini(&b);
}

static void check_ids(const char *model, const char *text,
                      const struct json *ids)
{
    const struct json *t, *id = json_child(ids);
    struct answer a;

    ask("/tokenize", model, text, "", &a);
    t = json_child(answer_at(&a, "data.0.tokens"));
    for (; t && id; t = json_next(t), id = json_next(id))
        assert_true(json_number(json_get(t, "id")) == json_number(id));
    assert_null(t);
    assert_null(id);
    answer_free(&a);
}

static void check_served(const char *model, const char *dir)
{
    char path[128];
    struct json *all;
    struct err e = ERR_INIT;
    int n = 0;

    snprintf(path, sizeof path, "%s/served.json", dir);
    if (json_load(path, "served", NULL, &all, &e))
        fail_msg("%s", e.msg);
    for (const struct json *x = json_child(all); x; x = json_next(x), n++) {
        const char *text = json_string(json_get(x, "input"));
        struct answer a;

        check_ids(model, text, json_get(x, "ids"));
        ask("/generate", model, text, "\"temperature\":0,\"max_tokens\":8,",
            &a);
        assert_string_equal(answer_text(&a, "data.0.text"),
                            json_string(json_get(x, "text")));
        answer_free(&a);
        ask("/predict", model, text, "\"top_k\":3,", &a);
        assert_true(answer_text(&a, "data.0.predictions.2.text")[0]);
        answer_free(&a);
    }
    assert_true(n > 0);
    json_free(all);
}

static void test_pythia_directory_answers_as_transformers_does(void **state)
{
    check_served("neox", NEOX);
}

static void test_qwen3_directory_answers_as_transformers_does(void **state)
{
    check_served("qwen3", QWEN3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pythia_directory_answers_as_transformers_does),
        cmocka_unit_test(test_qwen3_directory_answers_as_transformers_does),
    };

    return cmocka_run_group_tests(tests, up, down);
}
