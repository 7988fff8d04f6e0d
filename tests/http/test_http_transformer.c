/* test_transformer: what only Transformers and sub-words have, over HTTP: whole
 * words searched for, attention to look at, shared prefixes.
 *
 * SPDX-License-Identifier: MIT */
#include "tests/support/http_rig.h"
#include "tests/support/http_schema.h"
#include "tests/support/model_dir.h"

#define BERT "tests/golden/bert/bert-class"
/* Numbers are printed so that they read back to the same fp32. */
#define SUM_TOLERANCE 1e-5

static struct seqd server;
static struct answer contract;
static char dir[64];

static int up(void **state)
{
    if (model_dir_letters("tests/golden/gpt2/gpt2/hf", dir) < 0)
        return -1;
    if (seqd_start(&server,
                   "--model gpt=%s --model bert=" BERT
                   " --model lstm=tests/golden/rnn/class-lstm-last"
                   " --log-level warn",
                   dir) < 0)
        return -1;
    http_get(server.port, "/openapi.json", &contract);
    return contract.j ? 0 : -1;
}

static int down(void **state)
{
    answer_free(&contract);
    model_dir_remove(dir);
    return seqd_stop(&server);
}

static void post(const char *path, const char *body, const char *schema,
                 struct answer *a)
{
    char why[512] = "";
    http_answered(server.port, path, body, a);
    if (!schema_check(contract.j, schema_named(contract.j, schema), a->j, why,
                      sizeof why))
        fail_msg("%s: %s", schema, why);
}

static void test_predict_searches_for_whole_words(void **state)
{
    struct answer words, again, tokens;
    post("/predict", "{\"model\":\"gpt\",\"input\":\"the cat s\"}",
         "PredictAnswer", &words);
    post("/predict",
         "{\"model\":\"gpt\",\"input\":\"the cat s\",\"level\":\"word\"}",
         "PredictAnswer", &again);
    post("/predict",
         "{\"model\":\"gpt\",\"input\":\"the cat s\",\"level\":\"token\"}",
         "PredictAnswer", &tokens);
    double mass = answer_number(&words, "data.0.covered_mass");
    assert_true(mass > 0 && mass < 1);
    assert_true(answer_number(&tokens, "data.0.covered_mass") > 0.999);
    double before = 1, sum = 0;
    for (int i = 0; i < 5; i++) {
        char at[64];
        snprintf(at, sizeof at, "data.0.predictions.%d.prob", i);
        double p = answer_number(&words, at);
        assert_true(p > 0 && p <= before);
        assert_true(p == answer_number(&again, at));
        before = p;
        sum += p;
        snprintf(at, sizeof at, "data.0.predictions.%d.text", i);
        const char *text = answer_text(&words, at);
        assert_true(text[0] && (text[0] != ' ' || !text[1]));
    }
    assert_true(sum <= mass + SUM_TOLERANCE);
    answer_free(&words);
    answer_free(&again);
    answer_free(&tokens);
}

/* What a body's item answers, up to its end. */
static void same_item(const char *one, const char *other)
{
    struct answer a, b;
    post("/predict", one, "PredictAnswer", &a);
    post("/predict", other, "PredictAnswer", &b);
    assert_string_equal(strstr(a.body, "\"data\""), strstr(b.body, "\"data\""));
    answer_free(&a);
    answer_free(&b);
}

#define GPT "{\"model\":\"gpt\",\"input\":"

/* The space before a word is read as the word's, whoever sends it. */
static void
test_predict_takes_a_space_at_the_end_for_the_next_words(void **state)
{
    struct answer words;
    same_item(GPT "\"the cat \"}", GPT "\"the cat\",\"prefix\":\"\"}");
    same_item(GPT "\"the cat  \"}", GPT "\"the cat\",\"prefix\":\"\"}");
    same_item(GPT "\"the cat \",\"prefix\":\"sa\"}",
              GPT "\"the cat\",\"prefix\":\"sa\"}");
    same_item(GPT "\"the \\u0000   \",\"prefix\":\"sa\"}",
              GPT "\"the \\u0000\",\"prefix\":\"sa\"}");
    /* a text of spaces is one where nothing else begins a text */
    post("/predict", GPT "\" \",\"prefix\":\"s\"}", "PredictAnswer", &words);
    answer_free(&words);
    /* tokens are offered as they go on */
    post("/predict", GPT "\"the cat \",\"level\":\"token\"}", "PredictAnswer",
         &words);
    assert_true(answer_number(&words, "usage.prompt_tokens") == 7);
    answer_free(&words);
}

/* Each letter is a token, with a space in front and without, so that a word of
 * three letters is spelled in three steps. */
static void test_predict_spells_what_was_typed(void **state)
{
    static const char *const prefixes[] = {"s", "sa", "sad", "Sad"};
    struct answer a, b;
    double before = 1;
    for (size_t i = 0; i < COUNT(prefixes); i++) {
        char body[128], at[64];
        size_t n = strlen(prefixes[i]);
        snprintf(body, sizeof body,
                 GPT "\"the cat\",\"top_k\":50,\"prefix\":\"%s\"}",
                 prefixes[i]);
        post("/predict", body, "PredictAnswer", &a);
        int found = json_size(answer_at(&a, "data.0.predictions"));
        assert_true(found > 5);
        for (int k = 0; k < found; k++) {
            snprintf(at, sizeof at, "data.0.predictions.%d.text", k);
            assert_memory_equal(answer_text(&a, at), prefixes[i], n);
        }
        double mass = answer_number(&a, "data.0.covered_mass");
        assert_true(mass > 0 && mass <= before);
        before = mass;
        answer_free(&a);
    }
    post("/predict",
         "{\"model\":\"gpt\",\"input\":[\"the cat\",\"a dog\"],"
         "\"prefix\":[\"s\",\"qu\"]}",
         "PredictAnswer", &a);
    post("/predict", GPT "\"a dog\",\"prefix\":\"qu\"}", "PredictAnswer", &b);
    assert_string_equal(answer_text(&a, "data.1.predictions.0.text"),
                        answer_text(&b, "data.0.predictions.0.text"));
    assert_true(answer_number(&a, "data.1.covered_mass") ==
                answer_number(&b, "data.0.covered_mass"));
    answer_free(&a);
    answer_free(&b);
    http_refused(server.port, "/predict",
                 GPT "\"the\",\"level\":\"token\",\"prefix\":\"s\"}", 400,
                 "task_not_supported", "prefix");
}

/* One entry of the vocabulary is the first byte of two. */
static void test_predict_offers_parts_of_a_code_point(void **state)
{
    struct answer a;
    int n, found = 0;
    post("/predict",
         "{\"model\":\"gpt\",\"input\":\"the cat s\",\"level\":\"token\","
         "\"top_k\":61,\"attention\":true}",
         "PredictAnswer", &a);
    n = json_size(answer_at(&a, "data.0.predictions"));
    assert_int_equal(n, 60); /* all but the token that ends a text */
    for (int i = 0; i < n; i++) {
        char at[64];
        snprintf(at, sizeof at, "data.0.predictions.%d.text", i);
        found += strcmp(answer_text(&a, at), "\xef\xbf\xbd") == 0;
    }
    assert_int_equal(found, 1);
    answer_free(&a);
}

/* Each row of each head sums to 1; none looks ahead when it may not. */
#define CONTEXT 48 /* n_positions of the net, whose tokens are letters */

/* {"model":"gpt","input":the last n letters of a text,more} */
static void ask_long(const char *path, int n, const char *more,
                     struct answer *a)
{
    char text[200], body[400];
    for (int i = 0; i < 100; i++)
        text[i] = (char)('a' + i * i % 26);
    text[100] = 0;
    snprintf(body, sizeof body, "{\"model\":\"gpt\",\"input\":\"%s\"%s}",
             text + 100 - n, more);
    http_answered(server.port, path, body, a);
}

/* What is cut is cut to what it would be answered with: else a full context
 * had room for one token more and for no word. */
static void test_a_text_that_is_cut_leaves_room_for_its_answer(void **state)
{
    static const struct {
        const char *path, *more;
        int kept;
    } rows[] = {
        {"/predict", ",\"truncate\":true", CONTEXT - 8},
        {"/predict", ",\"truncate\":true,\"level\":\"token\"", CONTEXT},
        {"/generate",
         ",\"truncate\":true,\"seed\":1,\"temperature\":9,\"max_tokens\":9",
         CONTEXT - 8},
        {"/generate", ",\"truncate\":true,\"seed\":1,\"max_tokens\":8192",
         CONTEXT / 2},
        {"/generate", ",\"truncate\":true,\"seed\":1,\"max_tokens\":0",
         CONTEXT}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct answer cut, kept, whole;
        ask_long(rows[i].path, 100, rows[i].more, &cut);
        ask_long(rows[i].path, rows[i].kept, rows[i].more, &kept);
        ask_long(rows[i].path, CONTEXT, rows[i].more, &whole);
        assert_true(json_bool(answer_at(&cut, "data.0.truncated")));
        assert_false(json_bool(answer_at(&kept, "data.0.truncated")));
        assert_int_equal(answer_number(&cut, "usage.prompt_tokens"),
                         rows[i].kept);
        const char *data = strstr(cut.body, "\"data\"");
        assert_memory_equal(data, strstr(kept.body, "\"data\""),
                            (size_t)(strstr(data, "\"truncated\"") - data));
        assert_string_equal(strstr(cut.body, "\"usage\""),
                            strstr(kept.body, "\"usage\""));
        /* what fits is left as it is */
        assert_false(json_bool(answer_at(&whole, "data.0.truncated")));
        assert_int_equal(answer_number(&whole, "usage.prompt_tokens"), CONTEXT);
        answer_free(&cut);
        answer_free(&kept);
        answer_free(&whole);
    }
    struct answer a;
    ask_long("/generate", 100, rows[2].more, &a);
    assert_int_equal(answer_number(&a, "usage.completion_tokens"), 9);
    answer_free(&a);
    ask_long("/predict", 100, rows[0].more, &a);
    assert_true(answer_number(&a, "data.0.covered_mass") > 0.5);
    answer_free(&a);
}

static void check_heads(const struct answer *a, int layers, int heads,
                        int causal)
{
    int n = json_size(answer_at(a, "data.0.attention.tokens"));
    assert_true(n > 1);
    assert_int_equal(json_size(answer_at(a, "data.0.attention.layers")),
                     layers);
    for (int l = 0; l < layers; l++) {
        for (int h = 0; h < heads; h++) {
            for (int i = 0; i < n; i++) {
                char at[96];
                double sum = 0;
                for (int k = 0; k < n; k++) {
                    snprintf(at, sizeof at,
                             "data.0.attention.layers.%d.heads.%d.%d.%d", l, h,
                             i, k);
                    double w = answer_number(a, at);
                    assert_true(w >= 0 && w <= 1);
                    assert_true(!causal || k <= i || w == 0);
                    sum += w;
                }
                assert_true(fabs(sum - 1) < SUM_TOLERANCE);
            }
        }
    }
}

static void test_attention_is_shown(void **state)
{
    struct answer a;
    post("/predict",
         "{\"model\":\"gpt\",\"input\":\"the cat s\",\"attention\":true}",
         "PredictAnswer", &a);
    assert_string_equal(answer_text(&a, "data.0.attention.tokens.3"), " c");
    check_heads(&a, 2, 3, 1);
    answer_free(&a);
    post("/predict",
         "{\"model\":\"gpt\",\"input\":\"the cat s\",\"attention\":true,"
         "\"level\":\"token\"}",
         "PredictAnswer", &a);
    check_heads(&a, 2, 3, 1);
    answer_free(&a);
    post("/sentiment",
         "{\"model\":\"bert\",\"input\":\"hello world\",\"attention\":true}",
         "SentimentAnswer", &a);
    int heads = json_size(answer_at(&a, "data.0.attention.layers.0.heads"));
    int layers = json_size(answer_at(&a, "data.0.attention.layers"));
    assert_true(heads > 0);
    check_heads(&a, layers, heads, 0);
    answer_free(&a);
}

static void test_attention_that_is_not_there_is_refused(void **state)
{
    http_refused(server.port, "/sentiment",
                 "{\"model\":\"lstm\",\"input\":\"the\","
                 "\"attention\":true}",
                 400, "task_not_supported", "attention");
    http_refused(server.port, "/generate",
                 "{\"model\":\"gpt\",\"input\":\"the\","
                 "\"attention\":true}",
                 400, "task_not_supported", "attention");
}

static void test_attention_does_not_change_the_answer(void **state)
{
    struct answer a, b;
    post("/predict", "{\"model\":\"gpt\",\"input\":\"a dog and a cat\"}",
         "PredictAnswer", &a);
    post("/predict",
         "{\"model\":\"gpt\",\"input\":\"a dog and a cat\","
         "\"attention\":true}",
         "PredictAnswer", &b);
    for (int i = 0; i < 5; i++) {
        char at[64];
        snprintf(at, sizeof at, "data.0.predictions.%d.prob", i);
        assert_true(answer_number(&a, at) == answer_number(&b, at));
    }
    answer_free(&a);
    answer_free(&b);
}

static void test_prefixes_are_counted(void **state)
{
    static const char body[] = "{\"model\":\"gpt\",\"max_tokens\":3,"
                               "\"temperature\":0,\"input\":"
                               "\"one and the same long beginning\"}";
    struct answer a, b;
    post("/generate", body, "GenerateAnswer", &a);
    double hits =
        metric_value(server.port, "seqd_prefix_hits_total{model=\"gpt\"}");
    post("/generate", body, "GenerateAnswer", &b);
    assert_true(
        metric_value(server.port, "seqd_prefix_hits_total{model=\"gpt\"}") ==
        hits + 1);
    assert_true(metric_value(server.port,
                             "seqd_tokens_total{model=\"gpt\",kind="
                             "\"cached\"}") >= 16);
    assert_string_equal(answer_text(&a, "data.0.text"),
                        answer_text(&b, "data.0.text"));
    answer_free(&a);
    answer_free(&b);
}

static void test_models_say_their_path(void **state)
{
    struct answer a;
    http_get(server.port, "/v1/models/gpt", &a);
    assert_string_equal(answer_text(&a, "path"), "exact");
    assert_string_equal(answer_text(&a, "architecture"), "gpt2");
    assert_true(answer_number(&a, "context_length") == 48);
    answer_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_predict_searches_for_whole_words),
        cmocka_unit_test(
            test_predict_takes_a_space_at_the_end_for_the_next_words),
        cmocka_unit_test(test_predict_spells_what_was_typed),
        cmocka_unit_test(test_predict_offers_parts_of_a_code_point),
        cmocka_unit_test(test_a_text_that_is_cut_leaves_room_for_its_answer),
        cmocka_unit_test(test_attention_is_shown),
        cmocka_unit_test(test_attention_that_is_not_there_is_refused),
        cmocka_unit_test(test_attention_does_not_change_the_answer),
        cmocka_unit_test(test_prefixes_are_counted),
        cmocka_unit_test(test_models_say_their_path),
    };
    return cmocka_run_group_tests(tests, up, down);
}
