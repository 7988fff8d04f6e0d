/* Encoders over HTTP: masked words, labels and embeddings of the checkpoints
 * in tests/golden/bert/, from texts: tokens, probabilities, scores and vectors
 * are those of Hugging Face transformers; and how requests are refused.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/base/buf.h"
#include "tests/support/http_rig.h"
#include "tests/support/http_schema.h"

/* fp32 sums in another order, as in the parity tests. */
#define TOLERANCE 1e-5
#define GOLDEN "tests/golden/bert/"
#define WIDTH 24
#define LIMIT 40 /* tokens: max_seq_length of the fixtures */

static const char *const models[] = {
    "bert-embed-mean",     "bert-embed-cls",
    "bert-embed-max",      "distilbert-embed-sqrt",
    "bert-gguf",           "roberta-embed-mean",
    "bert-fill",           "bert-fill-untied",
    "distilbert-fill",     "roberta-fill",
    "bert-class",          "bert-class-many",
    "bert-class-one",      "bert-regression",
    "distilbert-class",    "roberta-class",
    "camembert-class",     "xlmr-fill",
    "xlmr-embed-mean",     "electra-class",
    "electra-fill",        "electra-class-narrow",
    "electra-embed-cls",   "albert-class",
    "albert-class-groups", "albert-fill",
    "albert-embed-mean",   "mpnet-class",
    "mpnet-fill",          "mpnet-embed-mean"};
#define N_MODELS ((int)(COUNT(models)))

static struct {
    struct seqd s;
    struct answer contract;
} t;

static int up(void **state)
{
    char args[4096] = "";
    for (int i = 0, n = 0; i < N_MODELS; i++)
        n += snprintf(args + n, sizeof args - (size_t)n,
                      " --model %s=" GOLDEN "%s", models[i], models[i]);
    if (seqd_start(&t.s, "%s", args) < 0)
        return -1;
    http_get(t.s.port, "/openapi.json", &t.contract);
    return t.contract.status == 200 ? 0 : -1;
}

static int down(void **state)
{
    answer_free(&t.contract);
    return seqd_stop(&t.s);
}

static struct json *expected(const char *model)
{
    struct json_limits lim = {.max_bytes = 1 << 22};
    struct err e = ERR_INIT;
    struct json *j;
    char path[256];
    snprintf(path, sizeof path, GOLDEN "%s/expected.json", model);
    if (json_load(path, "expected.json", &lim, &j, &e))
        fail_msg("%s: %s", model, e.msg);
    return j;
}

/* POST {"model":...,"input":text<more>}; the answer must be 200 and fit. */
static void ask(const char *path, const char *schema, const char *model,
                const char *text, const char *more, struct answer *a)
{
    struct buf b;
    char why[512] = "no JSON";
    buf_init(&b, 1 << 20);
    buf_addf(&b, "{\"model\":\"%s\",\"input\":", model);
    buf_add_json_string(&b, text, strlen(text));
    buf_add_str(&b, more);
    buf_add_char(&b, '}');
    http_post(t.s.port, path, b.p, a);
    const struct json *s = schema_named(t.contract.j, schema);
    if (a->status != 200 || !a->j ||
        !schema_check(t.contract.j, s, a->j, why, sizeof why))
        fail_msg("%s %.300s: %ld %s: %.400s", path, b.p, a->status, why,
                 a->body);
    buf_fini(&b);
}

static void expect_near(const char *model, const char *what, int i, double got,
                        double want)
{
    if (!(fabs(got - want) <= TOLERANCE * fmax(1.0, fabs(want))))
        fail_msg("%s: %s %d is %.9g, expected %.9g", model, what, i, got, want);
}

static void check_tokens(const char *model, const struct json *c)
{
    struct answer a;
    int i = 0;
    ask("/tokenize", "TokenizeAnswer", model, json_string(json_get(c, "text")),
        ",\"add_special\":true,\"parse_special\":true", &a);
    const struct json *got = json_child(answer_at(&a, "data.0.tokens"));
    const struct json *id = json_child(json_get(c, "ids"));
    for (; got && id; got = json_next(got), id = json_next(id), i++)
        assert_int_equal((int)json_number(json_get(got, "id")),
                         (int)json_number(id));
    assert_true(!got && !id);
    answer_free(&a);
}

static void check_fill(const char *model, const struct json *c)
{
    struct answer a;
    int i = 0;
    ask("/predict", "PredictAnswer", model, json_string(json_get(c, "text")),
        "", &a);
    const struct json *got = json_child(answer_at(&a, "data.0.predictions"));
    const struct json *want = json_child(json_get(c, "fill"));
    for (; got && want; got = json_next(got), want = json_next(want), i++) {
        double p = json_number(json_get(want, "prob"));
        assert_string_equal(json_string(json_get(got, "text")),
                            json_string(json_get(want, "text")));
        expect_near(model, "prob", i, json_number(json_get(got, "prob")), p);
        expect_near(model, "logprob", i, json_number(json_get(got, "logprob")),
                    log(p));
    }
    assert_int_equal(i, 5);
    double mass = answer_number(&a, "data.0.covered_mass");
    assert_true(mass > 0.5 && mass < 1.0);
    answer_free(&a);
}

static void check_scores(const char *model, const struct json *c)
{
    struct answer a;
    const char *label = "";
    double best = -1e300;
    int i = 0;
    ask("/classify", "ClassifyAnswer", model, json_string(json_get(c, "text")),
        "", &a);
    const struct json *got = json_child(answer_at(&a, "data.0.scores"));
    const struct json *want = json_child(json_get(c, "scores"));
    for (; got && want; got = json_next(got), want = json_next(want), i++) {
        double x = json_number(want);
        expect_near(model, "score", i, json_number(json_get(got, "score")), x);
        label = x > best ? json_string(json_get(got, "label")) : label;
        best = x > best ? x : best;
    }
    assert_true(!got && !want && i > 0);
    assert_string_equal(answer_text(&a, "data.0.label"), label);
    answer_free(&a);
}

static void check_embedding(const char *model, const struct json *c)
{
    struct answer a;
    int i = 0;
    ask("/v1/embeddings", "EmbeddingsAnswer", model,
        json_string(json_get(c, "text")), ",\"user\":\"ignored\"", &a);
    const struct json *got = json_child(answer_at(&a, "data.0.embedding"));
    const struct json *want = json_child(json_get(c, "embedding"));
    for (; got && want; got = json_next(got), want = json_next(want), i++)
        expect_near(model, "value", i, json_number(got), json_number(want));
    assert_int_equal(i, WIDTH);
    assert_int_equal(answer_number(&a, "usage.prompt_tokens"),
                     json_size(json_get(c, "ids")));
    answer_free(&a);
}

/* --- tests --- */

static void test_texts_give_what_transformers_gives(void **state)
{
    int fill = 0, scores = 0, vectors = 0;
    for (int i = 0; i < N_MODELS; i++) {
        struct json *j = expected(models[i]);
        const struct json *c = json_child(json_get(j, "texts"));
        assert_non_null(c);
        for (; c; c = json_next(c)) {
            check_tokens(models[i], c);
            if (json_get(c, "fill")) {
                check_fill(models[i], c);
                fill++;
            } else if (json_get(c, "scores")) {
                check_scores(models[i], c);
                scores++;
            } else {
                check_embedding(models[i], c);
                vectors++;
            }
        }
        json_free(j);
    }
    assert_true(fill > 8 && scores > 8 && vectors > 8);
}

static void test_models_say_what_they_are_for(void **state)
{
    static const char *const want[][3] = {
        {"bert-fill", "fill", ""},
        {"roberta-class", "classify", "softmax"},
        {"bert-class-many", "classify", "sigmoid"},
        {"bert-class-one", "classify", "sigmoid"},
        {"bert-regression", "classify", "raw"},
        {"bert-gguf", "embeddings", ""}};
    for (size_t i = 0; i < COUNT(want); i++) {
        struct answer a;
        char path[64], why[256];
        snprintf(path, sizeof path, "/v1/models/%s", want[i][0]);
        http_answered(t.s.port, path, NULL, &a);
        assert_string_equal(answer_text(&a, "tasks.0"), want[i][1]);
        assert_int_equal(json_size(answer_at(&a, "tasks")), 1);
        assert_string_equal(answer_text(&a, "scores"), want[i][2]);
        assert_true(schema_check(t.contract.j,
                                 schema_named(t.contract.j, "Model"), a.j, why,
                                 sizeof why));
        answer_free(&a);
    }
}

/* Without a name: the first model that has the task. */
static void test_defaults_are_found_by_task(void **state)
{
    struct answer a;
    http_answered(t.s.port, "/v1/embeddings", "{\"input\":\"bad\"}", &a);
    assert_string_equal(answer_text(&a, "model"), "bert-embed-mean");
    answer_free(&a);
    http_answered(t.s.port, "/predict", "{\"input\":\"the [MASK]\"}", &a);
    assert_string_equal(answer_text(&a, "model"), "bert-fill");
    answer_free(&a);
}

static int digit_of(char c)
{
    static const char digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c ? strchr(digits, c) : NULL;
    return at ? (int)(at - digits) : -1;
}

static void test_base64_is_the_same_vector(void **state)
{
    struct answer a, b;
    unsigned char bytes[4 * WIDTH + 3];
    size_t n = 0;
    ask("/v1/embeddings", "EmbeddingsAnswer", "bert-embed-cls", "bad", "", &a);
    ask("/v1/embeddings", "EmbeddingsAnswer", "bert-embed-cls", "bad",
        ",\"encoding_format\":\"base64\",\"dimensions\":24", &b);
    const char *p = answer_text(&b, "data.0.embedding");
    assert_int_equal(strlen(p), 4 * WIDTH / 3 * 4);
    for (; *p; p += 4, n += 3) {
        unsigned v = 0;
        for (int i = 0; i < 4; i++)
            v = v << 6 | (unsigned)digit_of(p[i]);
        bytes[n] = (unsigned char)(v >> 16);
        bytes[n + 1] = (unsigned char)(v >> 8);
        bytes[n + 2] = (unsigned char)v;
    }
    assert_int_equal(n, 4 * WIDTH);
    const struct json *x = json_child(answer_at(&a, "data.0.embedding"));
    for (int i = 0; i < WIDTH; i++, x = json_next(x)) {
        uint32_t u = 0;
        float f;
        for (int k = 3; k >= 0; k--)
            u = u << 8 | bytes[4 * i + k];
        memcpy(&f, &u, sizeof f);
        assert_true((float)json_number(x) == f); /* shortest, reads back */
    }
    answer_free(&a);
    answer_free(&b);
}

/* The same tokens, sent as text, as ids, alone and in a list. */
static void test_lists_and_tokens_are_taken(void **state)
{
    static const char *const more[] = {
        "{\"model\":\"bert-embed-mean\",\"input\":[\"the film\",\"bad\"]}",
        "{\"model\":\"bert-embed-mean\",\"input\":[[2,9,12,3],[2,11,3]]}"};
    struct answer one, a;
    http_answered(t.s.port, "/v1/embeddings",
                  "{\"model\":\"bert-embed-mean\",\"input\":[2,9,12,3]}", &one);
    assert_int_equal(json_size(answer_at(&one, "data")), 1);
    for (int i = 0; i < 2; i++) {
        http_answered(t.s.port, "/v1/embeddings", more[i], &a);
        assert_int_equal(json_size(answer_at(&a, "data")), 2);
        const struct json *x = json_child(answer_at(&one, "data.0.embedding"));
        const struct json *y = json_child(answer_at(&a, "data.0.embedding"));
        for (; x && y; x = json_next(x), y = json_next(y))
            assert_true(json_number(x) == json_number(y));
        assert_true(!x && !y);
        assert_int_equal(answer_number(&a, "data.1.index"), 1);
        answer_free(&a);
    }
    answer_free(&one);
}

static void long_text(char *out, int words)
{
    *out = 0;
    for (int i = 0; i < words; i++)
        memcpy(out + 4 * i, "bad ", 5);
}

static void test_long_texts_are_cut_only_when_allowed(void **state)
{
    char text[400], body[600];
    struct answer cut, whole;
    long_text(text, LIMIT); /* and the two tokens around it */
    snprintf(body, sizeof body,
             "{\"model\":\"bert-embed-mean\",\"input\":[\"a\",\"%s\"]}", text);
    http_refused(t.s.port, "/v1/embeddings", body, 400,
                 "context_length_exceeded", "input[1]");
    ask("/v1/embeddings", "EmbeddingsAnswer", "bert-embed-mean", text,
        ",\"truncate\":true", &cut);
    assert_int_equal(answer_number(&cut, "usage.prompt_tokens"), LIMIT);
    assert_true(json_bool(answer_at(&cut, "data.0.truncated")));
    long_text(text, LIMIT - 2); /* what is left of it */
    ask("/v1/embeddings", "EmbeddingsAnswer", "bert-embed-mean", text, "",
        &whole);
    assert_false(json_bool(answer_at(&whole, "data.0.truncated")));
    const struct json *x = json_child(answer_at(&cut, "data.0.embedding"));
    const struct json *y = json_child(answer_at(&whole, "data.0.embedding"));
    for (; x && y; x = json_next(x), y = json_next(y))
        assert_true(json_number(x) == json_number(y));
    answer_free(&cut);
    answer_free(&whole);
}

/* What is cut off has been read: it does not hide a mistake. */
static void test_tokens_that_are_cut_off_are_ids_too(void **state)
{
    static const struct {
        const char *last;
        int status;
    } rows[] = {{"9", 200}, {"70", 400}, {"-1", 400}, {"\"a\"", 400}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        char ids[4 * LIMIT] = "", body[6 * LIMIT];
        struct answer a;
        for (int k = 0; k < LIMIT; k++)
            memcpy(ids + 2 * k, "9,", 3);
        snprintf(body, sizeof body,
                 "{\"model\":\"bert-embed-mean\",\"truncate\":true,"
                 "\"input\":[[9],[%s%s]]}",
                 ids, rows[i].last);
        http_post(t.s.port, "/v1/embeddings", body, &a);
        if (rows[i].status == 200)
            assert_true(json_bool(answer_at(&a, "data.1.truncated")));
        else
            assert_true(http_check_error(&a, 400, "invalid_value", "input[1]"));
        answer_free(&a);
    }
}

static void test_the_empty_text_has_a_vector(void **state)
{
    struct answer a;
    ask("/v1/embeddings", "EmbeddingsAnswer", "bert-embed-mean", "", "", &a);
    assert_int_equal(answer_number(&a, "usage.prompt_tokens"), 2);
    answer_free(&a);
    http_post(t.s.port, "/v1/embeddings",
              "{\"model\":\"bert-embed-mean\",\"input\":\"ba\\u0000d\"}", &a);
    assert_int_equal(a.status, 200); /* the normalizer drops it */
    assert_int_equal(answer_number(&a, "usage.prompt_tokens"), 3);
    answer_free(&a);
}

static void test_requests_are_refused_by_name(void **state)
{
#define E "/v1/embeddings"
    static const struct http_refusal invalid_value[] = {
        {E, "{}", "input"},
        {E, "{\"input\":[]}", "input"},
        {E, "{\"input\":7}", "input"},
        {E, "{\"input\":[\"a\",3]}", "input[1]"},
        {E, "{\"input\":[1,\"a\"]}", "input"},
        {E, "{\"input\":[[1],2]}", "input[1]"},
        {E, "{\"input\":[[1],[]]}", "input[1]"},
        {E, "{\"input\":[70]}", "input"},
        {E, "{\"input\":[-1]}", "input"},
        {E, "{\"input\":\"a\",\"encoding_format\":\"hex\"}", "encoding_format"},
        {"/predict", "{\"input\":\"no mask\"}", "input"},
        {"/predict", "{\"input\":[\"[MASK]\",\"[MASK] [MASK]\"]}", "input[1]"},
        {"/sentiment", "{\"input\":\"\",\"model\":\"bert-class\"}", "input"},
    };
    static const struct http_refusal task_not_supported[] = {
        {E, "{\"input\":\"a\",\"dimensions\":12}", "dimensions"},
        {E, "{\"input\":\"a\",\"model\":\"bert-fill\"}", "model"},
        {"/predict", "{\"input\":\"[MASK]\",\"level\":\"word\"}", "level"},
        {"/predict", "{\"input\":\"[MASK]\",\"prefix\":\"a\"}", "prefix"},
        {"/predict", "{\"input\":\"x\",\"model\":\"bert-class\"}", "model"},
        {"/generate", "{\"input\":\"a\",\"model\":\"bert-fill\"}", "model"},
    };
    http_refused_all(t.s.port, 400, "invalid_value", invalid_value,
                     COUNT(invalid_value));
    http_refused_all(t.s.port, 400, "task_not_supported", task_not_supported,
                     COUNT(task_not_supported));
    http_refused(t.s.port, E, "{\"input\":\"a\",\"model\":\"x\"}", 404,
                 "model_not_found", "model");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts_give_what_transformers_gives),
        cmocka_unit_test(test_models_say_what_they_are_for),
        cmocka_unit_test(test_defaults_are_found_by_task),
        cmocka_unit_test(test_base64_is_the_same_vector),
        cmocka_unit_test(test_lists_and_tokens_are_taken),
        cmocka_unit_test(test_long_texts_are_cut_only_when_allowed),
        cmocka_unit_test(test_tokens_that_are_cut_off_are_ids_too),
        cmocka_unit_test(test_the_empty_text_has_a_vector),
        cmocka_unit_test(test_requests_are_refused_by_name),
    };
    return cmocka_run_group_tests(tests, up, down);
}
