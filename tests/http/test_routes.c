/* Every route answers, and what it answers is what was asked. Expected values
 * are properties (sums of probabilities, offsets, counts), never figures that
 * seqd gave once.
 *
 * SPDX-License-Identifier: MIT */
#include <math.h>

#include "engine/base/buf.h"
#include "tests/support/http_rig.h"

/* A sum of 61 float probabilities, each rounded to nearest. */
#define SUM_TOLERANCE 1e-5

static struct http_rig rig;

static int up(void **state)
{
    return http_rig_up(&rig, NULL);
}

static int down(void **state)
{
    return http_rig_down(&rig);
}

static void post(const char *path, const char *json, struct answer *a)
{
    http_answered(rig.s.port, path, json, a);
    assert_non_null(a->j);
}

static void test_probes_answer_without_a_body(void **state)
{
    struct answer a;
    http_answered(rig.s.port, "/livez", NULL, &a);
    assert_string_equal(answer_text(&a, "status"), "live");
    answer_free(&a);
    http_answered(rig.s.port, "/readyz", NULL, &a);
    assert_string_equal(answer_text(&a, "status"), "ready");
    answer_free(&a);
}

static void test_head_is_get_without_the_body(void **state)
{
    struct answer get, head;
    http_get(rig.s.port, "/version", &get);
    http_send(rig.s.port, "HEAD", "/version", NULL, NULL, 0, &head);
    assert_int_equal(head.status, 200);
    assert_int_equal(head.n, 0);
    assert_string_equal(answer_header(&head, "Content-Length"),
                        answer_header(&get, "Content-Length"));
    answer_free(&get);
    answer_free(&head);
}

static void test_every_answer_has_the_envelope(void **state)
{
    static const char *const ask[][3] = {
        {"/predict", "{\"input\":\"the\"}", "predictions"},
        {"/sentiment", "{\"input\":\"the\"}", "sentiments"},
        {"/generate", "{\"input\":\"the\",\"max_tokens\":3}", "generations"},
        {"/tokenize", "{\"input\":\"the\"}", "tokens"},
        {"/detokenize", "{\"tokens\":[3,5]}", "text"}};
    for (size_t i = 0; i < COUNT(ask); i++) {
        struct answer a;
        post(ask[i][0], ask[i][1], &a);
        assert_string_equal(answer_text(&a, "object"), ask[i][2]);
        assert_string_equal(answer_text(&a, "id"),
                            answer_header(&a, "X-Request-Id"));
        assert_true(answer_number(&a, "created") > 1.7e9);
        assert_true(strlen(answer_text(&a, "model")) > 0);
        assert_int_equal(json_size(answer_at(&a, "data")), 1);
        assert_true(answer_number(&a, "data.0.index") == 0);
        double p = answer_number(&a, "usage.prompt_tokens");
        double c = answer_number(&a, "usage.completion_tokens");
        assert_true(p > 0 && c >= 0);
        assert_true(answer_number(&a, "usage.total_tokens") == p + c);
        answer_free(&a);
    }
}

static void test_predict_offers_all_but_unknown_and_special(void **state)
{
    struct answer a;
    double sum = 0, last = 2;
    char path[64];
    post("/predict", "{\"input\":\"the old man\",\"top_k\":1000}", &a);
    assert_string_equal(answer_text(&a, "model"), "words");
    /* 64 entries, without <unk>, <s> and </s> */
    assert_int_equal(json_size(answer_at(&a, "data.0.predictions")), 61);
    for (int i = 0; i < 61; i++) {
        snprintf(path, sizeof path, "data.0.predictions.%d", i);
        const struct json *p = answer_at(&a, path);
        double prob = json_number(json_at(p, "prob"));
        const char *text = json_string(json_at(p, "text"));
        assert_true(strcmp(text, "<unk>") && strcmp(text, "<s>") &&
                    strcmp(text, "</s>"));
        assert_true(prob <= last);
        if (prob > 0)
            assert_true(fabs(log(prob) - json_number(json_at(p, "logprob"))) <
                        1e-4); /* both are floats */
        last = prob;
        sum += prob;
    }
    assert_true(fabs(sum - answer_number(&a, "data.0.covered_mass")) <
                SUM_TOLERANCE);
    assert_true(sum < 1.0 + SUM_TOLERANCE);
    answer_free(&a);
}

static void test_predict_takes_top_k_and_temperature(void **state)
{
    struct answer cold, hot;
    post("/predict", "{\"input\":\"a\",\"top_k\":2,\"temperature\":0.25}",
         &cold);
    post("/predict", "{\"input\":\"a\",\"top_k\":2,\"temperature\":4}", &hot);
    assert_int_equal(json_size(answer_at(&cold, "data.0.predictions")), 2);
    assert_string_equal(answer_text(&cold, "data.0.predictions.0.text"),
                        answer_text(&hot, "data.0.predictions.0.text"));
    assert_true(answer_number(&cold, "data.0.predictions.0.prob") >
                answer_number(&hot, "data.0.predictions.0.prob"));
    answer_free(&cold);
    answer_free(&hot);
}

/* The probability of a word among predictions, -1: it is not there. */
static double prob_of(const struct json *predictions, const char *word)
{
    const struct json *p = json_child(predictions);
    for (; p; p = json_next(p))
        if (!strcmp(json_string(json_at(p, "text")), word))
            return json_number(json_at(p, "prob"));
    return -1;
}

/* Of all predictions those that begin so, and no others. The vocabulary has a
 * capital, so that "T" stands for "t", too. */
static void check_prefix(const struct json *all, const struct json *item,
                         const char *prefix, const char *small, int n_want)
{
    const struct json *p = json_child(json_at(item, "predictions"));
    size_t n = strlen(prefix);
    double sum = 0;
    assert_int_equal(json_size(json_at(item, "predictions")), n_want);
    for (; p; p = json_next(p)) {
        const char *text = json_string(json_at(p, "text"));
        char word[64];
        assert_memory_equal(text, prefix, n);
        snprintf(word, sizeof word, "%s%s", small, text + n);
        double prob = json_number(json_at(p, "prob"));
        assert_true(fabs(prob - prob_of(all, word)) < SUM_TOLERANCE);
        sum += prob;
    }
    assert_true(fabs(sum - json_number(json_at(item, "covered_mass"))) <
                SUM_TOLERANCE);
}

static void test_predict_offers_what_begins_as_was_typed(void **state)
{
    struct answer a, b;
    post("/predict", "{\"input\":\"the old man\",\"top_k\":1000}", &a);
    const struct json *all = answer_at(&a, "data.0.predictions");
    post("/predict",
         "{\"input\":[\"the old man\",\"the old man\",\"the old man\","
         "\"the old man\",\"the old man\"],\"top_k\":1000,"
         "\"prefix\":[\"th\",\"Th\",\"I\",\"<\",\"\"]}",
         &b);
    /* the they this that three */
    check_prefix(all, answer_at(&b, "data.0"), "th", "th", 5);
    check_prefix(all, answer_at(&b, "data.1"), "Th", "th", 5);
    assert_int_equal(json_size(answer_at(&b, "data.2.predictions")), 4);
    assert_true(fabs(prob_of(answer_at(&b, "data.2.predictions"), "I") -
                     prob_of(all, "I")) < SUM_TOLERANCE);
    assert_true(fabs(prob_of(answer_at(&b, "data.2.predictions"), "In") -
                     prob_of(all, "in")) < SUM_TOLERANCE);
    assert_int_equal(json_size(answer_at(&b, "data.3.predictions")), 0);
    assert_true(answer_number(&b, "data.3.covered_mass") == 0);
    check_prefix(all, answer_at(&b, "data.4"), "", "", 61);
    answer_free(&b);
    post("/predict",
         "{\"input\":[\"the old man\",\"the old man \"],\"top_k\":1000,"
         "\"prefix\":\"w\"}",
         &b);
    /* woman was we walk with */
    check_prefix(all, answer_at(&b, "data.0"), "w", "w", 5);
    check_prefix(all, answer_at(&b, "data.1"), "w", "w", 5);
    answer_free(&b);
    answer_free(&a);
}

static void test_predict_level_token_is_for_characters(void **state)
{
    struct answer a;
    post("/predict", "{\"model\":\"chars\",\"input\":\"the\"}", &a);
    assert_string_equal(answer_text(&a, "model"), "chars");
    assert_true(answer_number(&a, "usage.prompt_tokens") == 3);
    answer_free(&a);
    post("/predict", "{\"input\":\"the\",\"level\":\"word\"}", &a);
    answer_free(&a);
    http_refused(rig.s.port, "/predict",
                 "{\"model\":\"chars\",\"input\":\"the\",\"level\":\"word\"}",
                 400, "task_not_supported", "level");
    http_refused(rig.s.port, "/predict",
                 "{\"input\":\"the\",\"level\":\"page\"}", 400, "invalid_value",
                 "level");
}

static void test_an_empty_text_is_the_start_of_one(void **state)
{
    struct answer a;
    post("/predict", "{\"input\":\"\"}", &a);
    assert_true(answer_number(&a, "usage.prompt_tokens") == 1);
    answer_free(&a);
    post("/generate", "{\"input\":[\"\",\"the\"],\"max_tokens\":3}", &a);
    /* <s>, and <s> the */
    assert_true(answer_number(&a, "usage.prompt_tokens") == 3);
    answer_free(&a);
    http_refused(rig.s.port, "/sentiment", "{\"input\":\"\"}", 400,
                 "invalid_value", "input");
    http_refused(rig.s.port, "/predict",
                 "{\"model\":\"chars\",\"input\":[\"a\",\"\"]}", 400,
                 "invalid_value", "input[1]");
}

static void test_sentiment_scores_are_a_distribution(void **state)
{
    struct answer a;
    post("/sentiment", "{\"input\":[\"the food was good\",\"zebra zebra\"]}",
         &a);
    assert_int_equal(json_size(answer_at(&a, "data")), 2);
    assert_string_equal(answer_text(&a, "data.0.scores.0.label"), "negative");
    assert_string_equal(answer_text(&a, "data.0.scores.1.label"), "positive");
    double n = answer_number(&a, "data.0.scores.0.score");
    double p = answer_number(&a, "data.0.scores.1.score");
    assert_true(fabs(n + p - 1) < SUM_TOLERANCE);
    assert_string_equal(answer_text(&a, "data.0.label"),
                        p > n ? "positive" : "negative");
    assert_true(answer_number(&a, "data.0.score") == (p > n ? p : n));
    assert_true(answer_number(&a, "data.0.unknown") == 0);
    assert_true(answer_number(&a, "data.1.unknown") == 2);
    answer_free(&a);
}

static void test_generate_repeats_itself_with_its_seed(void **state)
{
    struct answer a, b;
    char ask[160];
    post("/generate", "{\"input\":\"the\",\"max_tokens\":20}", &a);
    double seed = answer_number(&a, "data.0.seed");
    assert_true(seed >= 0 && seed < 9007199254740992.0);
    assert_string_equal(answer_text(&a, "data.0.finish_reason"), "length");
    assert_true(answer_number(&a, "usage.completion_tokens") == 20);
    snprintf(ask, sizeof ask,
             "{\"input\":[\"a\",\"the\"],\"max_tokens\":20,\"seed\":%.0f}",
             seed);
    post("/generate", ask, &b);
    assert_string_equal(answer_text(&a, "data.0.text"),
                        answer_text(&b, "data.1.text"));
    assert_true(answer_number(&b, "data.0.seed") == seed);
    answer_free(&a);
    answer_free(&b);
}

static void test_generate_stops_at_a_stop_text(void **state)
{
    struct answer a, b;
    char ask[256], word[32];
    post("/generate", "{\"input\":\"the\",\"max_tokens\":12,\"temperature\":0}",
         &a);
    const char *text = answer_text(&a, "data.0.text");
    text += strspn(text, " ");
    text += strcspn(text, " ");
    text += strspn(text, " ");
    snprintf(word, sizeof word, "%.*s", (int)strcspn(text, " "), text);
    assert_true(strlen(word) > 0);
    snprintf(ask, sizeof ask,
             "{\"input\":\"the\",\"max_tokens\":12,\"temperature\":0,"
             "\"stop\":[\"%s\",\"nothing\"]}",
             word);
    post("/generate", ask, &b);
    assert_string_equal(answer_text(&b, "data.0.finish_reason"), "stop");
    assert_null(strstr(answer_text(&b, "data.0.text"), word));
    answer_free(&a);
    answer_free(&b);
}

static int token_of(const char *word)
{
    struct answer a;
    char ask[128];
    snprintf(ask, sizeof ask, "{\"input\":\"%s\"}", word);
    post("/tokenize", ask, &a);
    int id = (int)answer_number(&a, "data.0.tokens.0.id");
    answer_free(&a);
    return id;
}

static int count_of(const char *text, const char *word)
{
    int n = 0;
    for (const char *p = text; (p = strstr(p, word)); p++)
        n++;
    return n;
}

static void test_generate_biases_tokens_and_counts_them(void **state)
{
    struct answer a;
    char ask[512];
    int cat = token_of("cat"), food = token_of("food");
    snprintf(ask, sizeof ask,
             "{\"input\":\"the\",\"max_tokens\":4,\"logit_bias\":{\"%d\":100}}",
             cat);
    post("/generate", ask, &a);
    assert_string_equal(answer_text(&a, "data.0.text"), " cat cat cat cat");
    answer_free(&a);
    snprintf(ask, sizeof ask,
             "{\"input\":\"the\",\"max_tokens\":300,\"seed\":1,"
             "\"logit_bias\":{\"%d\":-100}}",
             cat);
    post("/generate", ask, &a);
    assert_int_equal(count_of(answer_text(&a, "data.0.text"), "cat"), 0);
    answer_free(&a);
    /* Two words at 90: the one that is likelier by less than 40 takes turns
     * with the other as soon as each time costs 2. */
    snprintf(ask, sizeof ask,
             "{\"input\":\"the\",\"max_tokens\":60,\"temperature\":0,"
             "\"frequency_penalty\":2,\"logit_bias\":{\"%d\":90,\"%d\":90}}",
             cat, food);
    post("/generate", ask, &a);
    const char *text = answer_text(&a, "data.0.text");
    assert_true(count_of(text, "cat") >= 10 && count_of(text, "food") >= 10);
    assert_int_equal(count_of(text, "cat") + count_of(text, "food"), 60);
    answer_free(&a);
    /* Each one's presence costs once: the likelier one stays so. */
    snprintf(ask, sizeof ask,
             "{\"input\":\"the\",\"max_tokens\":20,\"temperature\":0,"
             "\"presence_penalty\":2,\"logit_bias\":{\"%d\":90,\"%d\":60}}",
             cat, food);
    post("/generate", ask, &a);
    assert_int_equal(count_of(answer_text(&a, "data.0.text"), "cat"), 20);
    answer_free(&a);
}

/* What /predict says of the next word, /generate says of the one that it
 * takes, whatever else the request does to the choice. */
static void test_generate_says_how_likely_its_tokens_were(void **state)
{
    struct answer a, b;
    char ask[256];
    int cat = token_of("cat");
    post("/predict", "{\"input\":\"the\",\"top_k\":3}", &b);
    snprintf(ask, sizeof ask,
             "{\"input\":\"the\",\"max_tokens\":3,\"temperature\":0,"
             "\"logprobs\":20,\"n\":2,\"logit_bias\":{\"%d\":100}}",
             cat);
    post("/generate", ask, &a);
    assert_string_equal(answer_text(&a, "data.0.tokens.0.text"), "cat");
    assert_int_equal((int)answer_number(&a, "data.0.tokens.2.id"), cat);
    assert_true(answer_number(&a, "data.0.tokens.3.id") < 0); /* three */
    assert_int_equal(
        (int)answer_number(&a, "data.0.alternatives.0.tokens.2.id"), cat);
    double before = 0;
    int found = 0;
    for (int i = 0; i < 20; i++) { /* /predict leaves out what is no word */
        char path[64], other[64], text[64];
        snprintf(path, sizeof path, "data.0.tokens.0.top.%d.text", i);
        snprintf(other, sizeof other, "data.0.predictions.%d.text", found);
        snprintf(text, sizeof text, "%s", answer_text(&a, path));
        snprintf(path, sizeof path, "data.0.tokens.0.top.%d.logprob", i);
        double x = answer_number(&a, path);
        assert_true(x <= before);
        before = x;
        if (found == 3 || strcmp(text, answer_text(&b, other)) != 0)
            continue;
        snprintf(other, sizeof other, "data.0.predictions.%d.logprob", found);
        assert_true(fabs(x - answer_number(&b, other)) < 1e-4);
        found++;
    }
    assert_int_equal(found, 3);
    assert_true(answer_number(&a, "data.0.tokens.0.logprob") < 0);
    answer_free(&a);
    answer_free(&b);
    /* true: without others; in a stream behind the text */
    post("/generate",
         "{\"input\":\"the\",\"max_tokens\":2,\"seed\":4,\"logprobs\":true}",
         &a);
    assert_true(answer_number(&a, "data.0.tokens.1.logprob") < 0);
    assert_null(strstr(a.body, "\"top\""));
    answer_free(&a);
    http_post(rig.s.port, "/generate",
              "{\"input\":\"the\",\"max_tokens\":2,\"seed\":4,"
              "\"logprobs\":1,\"stream\":true}",
              &a);
    assert_int_equal(a.status, 200);
    assert_int_equal(count_of(a.body, "\"tokens\":[{\"id\":"), 1);
    assert_int_equal(count_of(a.body, "\"top\":[{"), 2);
    answer_free(&a);
}

/* logprob of the tokens that a bias of 100 makes /generate write. */
static double sum_of_made(const char *model, const char *input,
                          const char *word, int id, int n)
{
    struct answer a;
    char ask[256], path[64];
    double sum = 0;
    snprintf(ask, sizeof ask,
             "{\"model\":\"%s\",\"input\":\"%s\",\"max_tokens\":%d,"
             "\"temperature\":0,\"logprobs\":true,\"logit_bias\":{\"%d\":100}}",
             model, input, n, id);
    post("/generate", ask, &a);
    for (int i = 0; i < n; i++) {
        snprintf(path, sizeof path, "data.0.tokens.%d.text", i);
        assert_string_equal(answer_text(&a, path), word);
        snprintf(path, sizeof path, "data.0.tokens.%d.logprob", i);
        sum += answer_number(&a, path);
    }
    answer_free(&a);
    return sum;
}

static void test_predict_says_how_likely_candidates_are(void **state)
{
    struct answer a, b;
    struct buf ask;
    int cat = token_of("cat");
    post("/predict",
         "{\"input\":[\"the\",\"\"],\"candidates\":[\"cat cat cat\",\"cat\","
         "\"cat\",\"cat cat\"]}",
         &a);
    for (int n = 1; n <= 3; n++) {
        char path[64];
        double made = sum_of_made("words", "the", "cat", cat, n);
        int at = n + (n > 1); /* by rank, cat being there twice */
        snprintf(path, sizeof path, "data.0.predictions.%d.logprob", at - 1);
        assert_true(fabs(answer_number(&a, path) - made) < 1e-4);
        snprintf(path, sizeof path, "data.0.predictions.%d.prob", at - 1);
        assert_true(fabs(answer_number(&a, path) - exp(made)) < 1e-5);
    }
    assert_string_equal(answer_text(&a, "data.0.predictions.3.text"),
                        "cat cat cat");
    assert_true(fabs(answer_number(&a, "data.1.predictions.0.logprob") -
                     sum_of_made("words", "", "cat", cat, 1)) < 1e-4);
    /* The two best, and more than go on side by side. */
    buf_init(&ask, 4096);
    buf_add_str(&ask, "{\"input\":\"the\",\"top_k\":2,\"candidates\":[");
    for (int i = 0; i < 40; i++)
        buf_addf(&ask, "\"%s\",", i == 30 ? "cat cat" : "cat cat cat cat");
    buf_add_str(&ask, "\"cat cat cat\"]}");
    post("/predict", ask.p, &b);
    assert_string_equal(answer_text(&b, "data.0.predictions.0.text"),
                        "cat cat");
    assert_true(fabs(answer_number(&b, "data.0.predictions.1.logprob") -
                     answer_number(&a, "data.0.predictions.3.logprob")) < 1e-6);
    assert_string_equal(answer_text(&b, "data.0.predictions.2.text"), "");
    answer_free(&a);
    answer_free(&b);
    buf_fini(&ask);
    /* Characters: nothing is put between. */
    post("/predict",
         "{\"model\":\"chars\",\"input\":\"X:1\\n\",\"candidates\":[\"AA\"]}",
         &a);
    post("/tokenize", "{\"model\":\"chars\",\"input\":\"A\"}", &b);
    assert_true(fabs(answer_number(&a, "data.0.predictions.0.logprob") -
                     sum_of_made("chars", "X:1\\n", "A",
                                 (int)answer_number(&b, "data.0.tokens.0.id"),
                                 2)) < 1e-4);
    answer_free(&a);
    answer_free(&b);
}

static void test_generate_with_no_tokens_is_empty(void **state)
{
    struct answer a;
    post("/generate", "{\"input\":\"the\",\"max_tokens\":0}", &a);
    assert_string_equal(answer_text(&a, "data.0.text"), "");
    assert_string_equal(answer_text(&a, "data.0.finish_reason"), "length");
    answer_free(&a);
}

static void test_truncate_keeps_the_end_of_a_prompt(void **state)
{
    struct seqd s;
    struct answer a, b;
    assert_int_equal(http_rig_spawn(&rig, &s, "--max-item-tokens 4"), 0);
    http_refused(s.port, "/predict",
                 "{\"input\":[\"the\",\"a cat saw the dog\"]}", 400,
                 "context_length_exceeded", "input[1]");
    /* <s> and the last three words */
    http_post(s.port, "/predict",
              "{\"input\":\"one two three saw the dog\",\"truncate\":true}",
              &a);
    http_post(s.port, "/predict", "{\"input\":\"saw the dog\"}", &b);
    assert_int_equal(json_type(answer_at(&a, "data.0.truncated")), JSON_BOOL);
    assert_true(json_bool(answer_at(&a, "data.0.truncated")));
    assert_false(json_bool(answer_at(&b, "data.0.truncated")));
    assert_true(answer_number(&a, "usage.prompt_tokens") == 4);
    assert_true(answer_number(&a, "data.0.predictions.0.prob") ==
                answer_number(&b, "data.0.predictions.0.prob"));
    answer_free(&a);
    answer_free(&b);
    /* a classifier keeps the first words */
    http_post(s.port, "/sentiment",
              "{\"input\":[\"good bad the a dog\",\"good bad the a\"],"
              "\"truncate\":true}",
              &a);
    assert_true(json_bool(answer_at(&a, "data.0.truncated")));
    assert_true(answer_number(&a, "data.0.score") ==
                answer_number(&a, "data.1.score"));
    answer_free(&a);
    assert_int_equal(seqd_stop(&s), 0);
}

static void test_tokenize_counts_code_points(void **state)
{
    struct answer a;
    post("/tokenize", "{\"input\":\"\xc3\xa9\xf0\x9f\x98\x80 the cat\"}", &a);
    assert_int_equal(json_size(answer_at(&a, "data.0.tokens")), 3);
    assert_string_equal(answer_text(&a, "data.0.tokens.0.text"), "<unk>");
    assert_true(answer_number(&a, "data.0.tokens.0.end") == 2);
    assert_string_equal(answer_text(&a, "data.0.tokens.2.text"), "cat");
    assert_true(answer_number(&a, "data.0.tokens.2.start") == 7);
    assert_true(answer_number(&a, "data.0.tokens.2.end") == 10);
    assert_true(answer_number(&a, "data.0.unknown") == 1);
    answer_free(&a);
}

static void test_tokenize_adds_and_parses_special_tokens_when_told(void **state)
{
    struct answer a;
    post("/tokenize", "{\"input\":\"the </s>\",\"add_special\":true}", &a);
    assert_string_equal(answer_text(&a, "data.0.tokens.0.text"), "<s>");
    assert_string_equal(answer_text(&a, "data.0.tokens.2.text"), "<unk>");
    answer_free(&a);
    post("/tokenize", "{\"input\":\"the </s>\",\"parse_special\":true}", &a);
    assert_string_equal(answer_text(&a, "data.0.tokens.0.text"), "the");
    assert_string_equal(answer_text(&a, "data.0.tokens.1.text"), "</s>");
    answer_free(&a);
}

static void test_detokenize_undoes_tokenize(void **state)
{
    struct answer a;
    post("/detokenize", "{\"tokens\":[[3,5],[4,6]]}", &a);
    assert_string_equal(answer_text(&a, "data.0.text"), "the cat");
    assert_string_equal(answer_text(&a, "data.1.text"), "a dog");
    answer_free(&a);
    http_refused(rig.s.port, "/detokenize", "{\"tokens\":[64]}", 400,
                 "invalid_value", "tokens");
    http_refused(rig.s.port, "/detokenize", "{\"tokens\":[1.5]}", 400,
                 "invalid_value", "tokens");
    http_refused(rig.s.port, "/detokenize", "{}", 400, "invalid_value",
                 "tokens");
}

static void test_models_are_listed_in_order(void **state)
{
    struct answer a, one;
    http_answered(rig.s.port, "/v1/models", NULL, &a);
    assert_string_equal(answer_text(&a, "object"), "list");
    assert_string_equal(answer_text(&a, "data.0.id"), "words");
    assert_string_equal(answer_text(&a, "data.1.id"), "labels");
    assert_string_equal(answer_text(&a, "data.1.tasks.0"), "classify");
    assert_string_equal(answer_text(&a, "data.1.tasks.1"), "sentiment");
    assert_string_equal(answer_text(&a, "data.0.level"), "word");
    assert_int_equal(json_type(answer_at(&a, "data.0.context_length")),
                     JSON_NULL);
    /* embedding, one LSTM layer with two biases, output with bias */
    assert_true(answer_number(&a, "data.0.parameters") ==
                64 * 96 + 2 * 4 * 96 * 96 + 2 * 4 * 96 + 64 * 96 + 64);
    http_answered(rig.s.port, "/v1/models/words", NULL, &one);
    assert_string_equal(answer_text(&one, "digest"),
                        answer_text(&a, "data.0.digest"));
    assert_int_equal(strncmp(answer_text(&one, "digest"), "sha256:", 7), 0);
    answer_free(&one);
    http_answered(rig.s.port, "/v1/models/chars", NULL, &one);
    assert_string_equal(answer_text(&one, "level"), "character");
    answer_free(&one);
    answer_free(&a);
}

static void test_info_shows_kernels_threads_and_options(void **state)
{
    struct answer a;
    http_answered(rig.s.port, "/info", NULL, &a);
    assert_true(strlen(answer_text(&a, "kernels")) > 0);
    assert_true(answer_number(&a, "threads") >= 1);
    assert_true(answer_number(&a, "options.max_body") == 2097152);
    assert_true(answer_number(&a, "options.max_batch") == 256);
    assert_true(answer_number(&a, "options.max_item_tokens") == 8192);
    assert_true(answer_number(&a, "options.max_queue") == 4096);
    assert_string_equal(answer_text(&a, "models.0.id"), "words");
    answer_free(&a);
}

static void test_metrics_count_requests(void **state)
{
    const char *series = "seqd_requests_total{model=\"labels\",task="
                         "\"sentiment\",code=\"200\"}";
    double before = metric_value(rig.s.port, series);
    assert_true(http_healthy(rig.s.port));
    assert_true(metric_value(rig.s.port, series) == before + 1);
    assert_true(metric_value(rig.s.port, "seqd_build_info") == 1);
    assert_true(metric_value(rig.s.port, "process_resident_memory_bytes") >
                1e6);
}

static void test_the_page_allows_only_its_own_script(void **state)
{
    struct answer a;
    http_answered(rig.s.port, "/", NULL, &a);
    const char *csp = answer_header(&a, "Content-Security-Policy");
    assert_non_null(strstr(csp, "default-src 'none'"));
    assert_non_null(strstr(csp, "script-src 'sha256-"));
    assert_null(strstr(csp, "unsafe"));
    assert_string_equal(answer_header(&a, "Content-Type"),
                        "text/html; charset=utf-8");
    assert_null(strstr(a.body, "http://"));
    assert_null(strstr(a.body, "https://"));
    assert_null(strstr(a.body, "src="));
    answer_free(&a);
}

static void test_request_id_is_kept_when_it_is_one(void **state)
{
    static const struct {
        const char *header, *want; /* NULL: one of ours */
    } cases[] = {{"X-Request-Id: abc-1.2_Z", "abc-1.2_Z"},
                 {"X-Request-Id: with space", NULL},
                 {"X-Request-Id: quote\"", NULL},
                 {"X-Request-Id: 0123456789012345678901234567890123456789"
                  "012345678901234567890123",
                  "012345678901234567890123456789012345678901234567890123"
                  "4567890123"},
                 {"X-Request-Id: 01234567890123456789012345678901234567890"
                  "123456789012345678901234",
                  NULL}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        const char *const headers[] = {cases[i].header, NULL};
        struct answer a;
        http_send(rig.s.port, "GET", "/livez", headers, NULL, 0, &a);
        const char *id = answer_header(&a, "X-Request-Id");
        if (cases[i].want)
            assert_string_equal(id, cases[i].want);
        else
            assert_int_equal(strlen(id), 16);
        answer_free(&a);
    }
}

static void test_a_large_body_does_not_hold_the_event_loop(void **state)
{
    /* 1 MiB of text goes to the worker; its tokens exceed the item limit. */
    size_t n = (size_t)1 << 20;
    char *body = test_malloc(n + 64);
    struct answer a;
    size_t head =
        (size_t)snprintf(body, n + 64, "%s", "{\"truncate\":true,\"input\":\"");
    for (size_t i = 0; i < n; i += 4)
        memcpy(body + head + i, "the ", 4);
    memcpy(body + head + n, "\"}", 3);
    post("/sentiment", body, &a);
    assert_true(json_bool(answer_at(&a, "data.0.truncated")));
    assert_true(answer_number(&a, "usage.prompt_tokens") == 8192);
    answer_free(&a);
    body[head + n - 1] = '\x01'; /* not JSON: the worker's error arrives too */
    http_refused(rig.s.port, "/sentiment", body, 400, "invalid_json", "");
    test_free(body);
}

static void test_a_large_answer_arrives_whole(void **state)
{
    struct answer a;
    char body[4096];
    int n = snprintf(body, sizeof body, "{\"top_k\":1000,\"input\":[\"the\"");
    for (int i = 1; i < 200; i++, n += 8)
        memcpy(body + n, ",\"a cat\"", 8);
    memcpy(body + n, "]}", 3);
    post("/predict", body, &a);
    assert_int_equal(json_size(answer_at(&a, "data")), 200);
    assert_int_equal(json_size(answer_at(&a, "data.199.predictions")), 61);
    assert_true(answer_number(&a, "data.199.index") == 199);
    answer_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_probes_answer_without_a_body),
        cmocka_unit_test(test_head_is_get_without_the_body),
        cmocka_unit_test(test_every_answer_has_the_envelope),
        cmocka_unit_test(test_predict_offers_all_but_unknown_and_special),
        cmocka_unit_test(test_predict_takes_top_k_and_temperature),
        cmocka_unit_test(test_predict_offers_what_begins_as_was_typed),
        cmocka_unit_test(test_predict_level_token_is_for_characters),
        cmocka_unit_test(test_an_empty_text_is_the_start_of_one),
        cmocka_unit_test(test_sentiment_scores_are_a_distribution),
        cmocka_unit_test(test_generate_repeats_itself_with_its_seed),
        cmocka_unit_test(test_generate_stops_at_a_stop_text),
        cmocka_unit_test(test_generate_biases_tokens_and_counts_them),
        cmocka_unit_test(test_generate_says_how_likely_its_tokens_were),
        cmocka_unit_test(test_predict_says_how_likely_candidates_are),
        cmocka_unit_test(test_generate_with_no_tokens_is_empty),
        cmocka_unit_test(test_truncate_keeps_the_end_of_a_prompt),
        cmocka_unit_test(test_tokenize_counts_code_points),
        cmocka_unit_test(
            test_tokenize_adds_and_parses_special_tokens_when_told),
        cmocka_unit_test(test_detokenize_undoes_tokenize),
        cmocka_unit_test(test_models_are_listed_in_order),
        cmocka_unit_test(test_info_shows_kernels_threads_and_options),
        cmocka_unit_test(test_metrics_count_requests),
        cmocka_unit_test(test_the_page_allows_only_its_own_script),
        cmocka_unit_test(test_request_id_is_kept_when_it_is_one),
        cmocka_unit_test(test_a_large_body_does_not_hold_the_event_loop),
        cmocka_unit_test(test_a_large_answer_arrives_whole),
    };
    return cmocka_run_group_tests(tests, up, down);
}
