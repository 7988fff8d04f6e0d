/* Checkpoints as people publish them, over HTTP: a Hugging Face directory with
 * a tokenizer.json of the model's own kind, text in and text out. served.json
 * of each says what transformers makes of the same texts.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/base/buf.h"
#include "tests/support/http_rig.h"

#define NEOX "tests/golden/gpt_neox/gpt_neox-served"
#define QWEN3 "tests/golden/qwen3/qwen3-served"
#define LABELS "tests/golden/decoder_class/qwen3-class"

static struct seqd server;

static int up(void **state)
{
    return seqd_start(&server,
                      "--model neox=" NEOX "/hf --model qwen3=" QWEN3
                      "/hf --model labels=" LABELS " --log-level warn");
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

/* The text's end token is the padding token and does not count, not even when
 * it is read in a step of its own (the longest text) or when all before it is
 * known already (each text is asked about twice). */
static void test_labels_of_a_decoder_are_those_of_transformers(void **state)
{
    struct json_limits lim = {.max_bytes = 1 << 20};
    struct err e = ERR_INIT;
    struct json *all;
    int n = 0;

    (void)state;
    if (json_load(LABELS "/expected.json", "expected", &lim, &all, &e))
        fail_msg("%s", e.msg);
    for (const struct json *x = json_child(json_get(all, "texts")); x;
         x = json_next(x), n++) {
        const char *text = json_string(json_get(x, "text"));

        for (int i = 0; i < 2; i++) {
            const struct json *want = json_child(json_get(x, "scores"));
            const struct json *got;
            struct answer a;

            ask("/sentiment", "labels", text, "", &a);
            assert_int_equal(answer_number(&a, "usage.prompt_tokens"),
                             json_size(json_get(x, "ids")));
            got = json_child(answer_at(&a, "data.0.scores"));
            for (; got && want; got = json_next(got), want = json_next(want))
                assert_true(fabs(json_number(json_get(got, "score")) -
                                 json_number(want)) < 1e-5);
            assert_true(!got && !want);
            answer_free(&a);
        }
    }
    assert_int_equal(n, 4);
    json_free(all);
}

static void test_a_decoder_with_labels_has_no_next_words(void **state)
{
    struct answer a;

    (void)state;
    http_answered(server.port, "/v1/models/labels", NULL, &a);
    assert_int_equal(json_size(answer_at(&a, "tasks")), 2);
    assert_string_equal(answer_text(&a, "tasks.0"), "classify");
    assert_string_equal(answer_text(&a, "tasks.1"), "sentiment");
    answer_free(&a);
    http_post(server.port, "/predict", "{\"model\":\"labels\",\"input\":\"a\"}",
              &a);
    assert_int_equal(a.status, 400);
    assert_string_equal(answer_text(&a, "error.code"), "task_not_supported");
    answer_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pythia_directory_answers_as_transformers_does),
        cmocka_unit_test(test_qwen3_directory_answers_as_transformers_does),
        cmocka_unit_test(test_labels_of_a_decoder_are_those_of_transformers),
        cmocka_unit_test(test_a_decoder_with_labels_has_no_next_words),
    };

    return cmocka_run_group_tests(tests, up, down);
}
