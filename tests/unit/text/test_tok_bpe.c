/* Byte-level BPE against Hugging Face tokenizers 0.23.3 on small vocabularies
 * (tests/golden/make_tokenizer_fixtures.py): the words of Llama 3, Qwen2,
 * RoBERTa, Falcon, StarCoder and DeepSeek, added tokens with their flags,
 * texts decoded, files refused, and time.
 *
 * SPDX-License-Identifier: MIT */
#include <time.h>
#include <unistd.h>

#include "engine/base/json.h"
#include "engine/base/mem.h"
#include "engine/base/utf8.h"
#include "tests/support/tokenizer_at.h"
#include "tests/support/temp_dir.h"
#include "tests/support/unit.h"

static const char *const models[] = {"llama3", "qwen2",     "roberta",
                                     "falcon", "starcoder", "deepseek"};
#define N_MODELS ((int)(sizeof(models) / sizeof(models[0])))

static struct tokenizer *open_model(const char *name)
{
    char dir[128];
    struct tokenizer *t = NULL;
    struct err e = ERR_INIT;
    snprintf(dir, sizeof(dir), "tests/golden/tokenizer/%s", name);
    if (tokenizer_at(dir, name, &t, &e))
        fail_msg("%s", e.msg);
    return t;
}

static struct json *open_cases(const char *name)
{
    char path[128];
    struct json *j = NULL;
    struct err e = ERR_INIT;
    snprintf(path, sizeof(path), "tests/golden/tokenizer/%s/cases.json", name);
    if (json_load(path, name, NULL, &j, &e))
        fail_msg("%s", e.msg);
    return j;
}

static void encode(const struct tokenizer *t, const char *text, size_t n,
                   unsigned flags, struct token_list *out)
{
    struct err e = ERR_INIT;
    out->n = out->n_unknown = 0;
    if (tokenizer_encode(t, text, n, flags, 1 << 24, out, &e))
        fail_msg("%s", e.msg);
}

static int same_ids(const struct token_list *l, const struct json *ids)
{
    int i = 0;
    int64_t id;
    for (const struct json *j = json_child(ids); j; j = json_next(j), i++)
        if (i >= l->n || json_int(j, &id) || l->v[i].id != id)
            return 0;
    return i == l->n;
}

/* Offsets stay in the text and ascend, but where a space that was put in front
 * of a character is trimmed: it ends up behind that. */
static void check_offsets(const struct token_list *l, size_t n)
{
    uint32_t last = 0;
    for (int i = 0; i < l->n; i++) {
        assert_true(l->v[i].start + 4 > last && l->v[i].end >= l->v[i].start);
        assert_true(l->v[i].end <= n);
        last = l->v[i].start;
    }
}

static void check_decoded(const struct tokenizer *t, const struct token_list *l,
                          const char *want)
{
    struct detok d;
    struct buf out;
    buf_init(&out, 1 << 20);
    buf_add_str(&out, "");
    detok_init(&d);
    for (int i = 0; i < l->n; i++) {
        assert_int_equal(detok_next(t, &d, l->v[i].id, &out), 0);
        assert_true(utf8_valid(out.p, out.len));
    }
    assert_int_equal(detok_finish(t, &d, &out), 0);
    if (strcmp(out.p, want) != 0)
        fail_msg("decoded '%s', expected '%s'", out.p, want);
    buf_fini(&out);
}

/* A row of cases.json: text, ids plain, parsed, with the tokens around, and
 * the decoded text. */
static void check_row(const char *name, const struct tokenizer *t,
                      const struct json *row, struct token_list *l)
{
    static const unsigned flags[] = {0, TOK_PARSE_SPECIAL,
                                     TOK_PARSE_SPECIAL | TOK_ADD_SPECIAL};
    const struct json *j = json_child(row);
    const char *text = json_string(j);
    const struct json *decoded = j;
    for (int k = 0; k < 4; k++)
        decoded = json_next(decoded);
    for (int k = 0; k < 3; k++) {
        j = json_next(j);
        encode(t, text, strlen(text), flags[k], l);
        check_offsets(l, strlen(text));
        if (!same_ids(l, j))
            fail_msg("%s, way %d: other ids for '%s'", name, k, text);
        if (k == 1)
            check_decoded(t, l, json_string(decoded));
    }
}

static void test_tok_bpe_gives_the_ids_of_hugging_face(void **state)
{
    for (int i = 0; i < N_MODELS; i++) {
        struct tokenizer *t = open_model(models[i]);
        struct json *cases = open_cases(models[i]);
        struct token_list l = {0};
        int n = 0;
        assert_int_equal(tokenizer_level(t), TOK_LEVEL_SUBWORD);
        for (const struct json *r = json_child(cases); r; r = json_next(r)) {
            check_row(models[i], t, r, &l);
            n++;
        }
        assert_true(n > 50);
        token_list_fini(&l);
        json_free(cases);
        tokenizer_close(t);
    }
}

static void test_tok_bpe_knows_what_stands_around_a_text(void **state)
{
    int before, after;
    struct tokenizer *t = open_model("llama3");
    tokenizer_around(t, &before, &after);
    assert_int_equal(before, 1);
    assert_int_equal(after, 0);
    assert_true(tokenizer_is_special(t, 0));
    assert_false(tokenizer_is_special(t, 300));
    tokenizer_close(t);
    t = open_model("roberta");
    tokenizer_around(t, &before, &after);
    assert_int_equal(before, 1);
    assert_int_equal(after, 1);
    assert_int_equal(tokenizer_mask(t), tokenizer_id(t, "<mask>"));
    tokenizer_close(t);
}

/* As tokenizers 0.23.3 has them: a space of a token is in no place, but for
 * the first's, which may have been put there. */
static void test_tok_bpe_trims_places_where_told(void **state)
{
    static const uint32_t want[][2] = {{0, 1}, {2, 3}, {4, 4}, {5, 5}, {5, 6}};
    struct tokenizer *t = open_model("roberta");
    struct token_list l = {0};
    encode(t, "a b  c", 6, 0, &l);
    assert_int_equal(l.n, 5);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(l.v[i].start, want[i][0]);
        assert_int_equal(l.v[i].end, want[i][1]);
    }
    encode(t, " a", 2, TOK_ADD_SPECIAL, &l);
    assert_int_equal(l.n, 3);
    assert_int_equal(l.v[1].start, 0);
    assert_int_equal(l.v[1].end, 2);
    token_list_fini(&l);
    tokenizer_close(t);
}

/* Bytes without a token: dropped, and counted. */
static void test_tok_bpe_drops_bytes_that_have_no_token(void **state)
{
    struct tokenizer *t = open_model("deepseek");
    struct token_list l = {0};
    assert_true(tokenizer_can_miss(t));
    encode(t, "a\001b", 3, 0, &l);
    assert_int_equal(l.n, 2);
    assert_int_equal(l.n_unknown, 1);
    token_list_fini(&l);
    tokenizer_close(t);
    t = open_model("qwen2");
    assert_false(tokenizer_can_miss(t));
    tokenizer_close(t);
}

/* A code point that is cut over tokens is written once it is whole. */
static void test_tok_bpe_holds_unfinished_code_points_back(void **state)
{
    struct tokenizer *t = open_model("qwen2");
    struct token_list l = {0};
    struct detok d;
    struct buf out;
    const char *text = "\xf0\x9f\xa6\xa9x";
    buf_init(&out, 100);
    buf_add_str(&out, "");
    encode(t, text, strlen(text), 0, &l);
    assert_true(l.n >= 3);
    detok_init(&d);
    for (int i = 0; i < l.n; i++) {
        detok_next(t, &d, l.v[i].id, &out);
        assert_true(out.len == 0 || out.len >= 4);
    }
    assert_string_equal(out.p, text);
    buf_clear(&out);
    detok_init(&d);
    detok_next(t, &d, l.v[0].id, &out);
    assert_int_equal(detok_finish(t, &d, &out), 0);
    assert_string_equal(out.p, "\xef\xbf\xbd");
    buf_fini(&out);
    token_list_fini(&l);
    tokenizer_close(t);
}

static void test_tok_bpe_stops_at_the_limit(void **state)
{
    struct tokenizer *t = open_model("qwen2");
    struct token_list l = {0};
    struct err e = ERR_INIT;
    assert_int_equal(tokenizer_encode(t, "1234567", 7, 0, 5, &l, &e), -1);
    assert_int_equal(e.code, ERR_TOO_LARGE);
    assert_string_equal(e.reason, "context_length_exceeded");
    assert_int_equal(l.n, 5);
    token_list_fini(&l);
    tokenizer_close(t);
}

/* ---------------------------------------------------------------- refused */

#define BYTES ",\"pre_tokenizer\":{\"type\":\"ByteLevel\"}"
#define MODEL(more)                                                            \
    "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"ab\":2}" more "}"
#define MERGES ",\"merges\":[\"a b\"]"
#define PRE(p) "{" MODEL(MERGES) ",\"pre_tokenizer\":" p "}"

static void test_tok_bpe_refuses_what_it_does_not_do(void **state)
{
    static const struct {
        const char *text, *cause;
    } cases[] = {
        {"{" MODEL(MERGES ",\"dropout\":0.1") BYTES "}", "dropout"},
        {"{" MODEL(MERGES ",\"continuing_subword_prefix\":\"##\"") BYTES "}",
         "merge 0 'a b'"},
        {"{" MODEL("") BYTES "}", "'merges' is not a list"},
        {"{" MODEL(",\"merges\":[\"ab\"]") BYTES "}", "merge 0"},
        {"{" MODEL(",\"merges\":[\"a b c\"]") BYTES "}", "merge 0"},
        {"{" MODEL(",\"merges\":[[\"a\"]]") BYTES "}", "merge 0"},
        {"{" MODEL(",\"merges\":[\"a b\",\"b a\"]") BYTES "}",
         "merge 1 'b a' is of or makes"},
        {"{" MODEL(MERGES) BYTES ",\"decoder\":{\"type\":\"WordPiece\"}}",
         "a missing 'prefix'"},
        {"{" MODEL(MERGES) BYTES ",\"post_processor\":{\"type\":\"Odd\"}}",
         "post_processor 'Odd'"},
        {"{" MODEL(MERGES) BYTES
         ",\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":"
         "[{\"SpecialToken\":{\"id\":\"x\"}}],\"special_tokens\":{}}}",
         "names an unknown token"},
        {PRE("{\"type\":\"Metaspace\"}"), "a missing 'replacement'"},
        {PRE("{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(a+)+b(\"},"
             "\"behavior\":\"Isolated\"}"),
         "expression '(a+)+b(' is not supported: a group without an end"},
        {PRE("{\"type\":\"Split\",\"pattern\":{\"Regex\":\"\\\\p{Q}|\"},"
             "\"behavior\":\"Isolated\"}"),
         "expression '\\p{Q}|'"},
        {PRE("{\"type\":\"Split\",\"pattern\":{\"Regex\":\"\\\\p{N}\"},"
             "\"behavior\":\"Melted\"}"),
         "behavior 'Melted'"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"\xc3\xa9\xc3\xa9\":0},"
         "\"merges\":[]}" BYTES "}",
         "holds no byte"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct tokenizer *t = NULL;
        struct err e = ERR_INIT;
        if (tokenizer_parse(cases[i].text, strlen(cases[i].text), "t", &t,
                            &e) == 0)
            fail_msg("accepted: %s", cases[i].text);
        assert_null(t);
        if (!strstr(e.msg, cases[i].cause)) {
            fail_msg("%s: '%s' lacks '%s'", cases[i].text, e.msg,
                     cases[i].cause);
        }
    }
}

/* An expression of the file's own: every b is a word, and where it takes too
 * long the text is refused, no more. */
static void test_tok_bpe_runs_expressions_that_nobody_has_listed(void **state)
{
    static const char own[] = PRE(
        "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\","
        "\"pattern\":{\"Regex\":\"(a+)+[cd]|b\"},\"behavior\":\"Isolated\"},"
        "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":"
        "false}]}");
    const size_t n = (size_t)64 << 10;
    struct tokenizer *t = NULL;
    struct token_list l = {0};
    struct err e = ERR_INIT;
    char *text = mem_alloc(n);
    assert_non_null(text);
    memset(text, 'a', n);
    if (tokenizer_parse(own, sizeof own - 1, "t", &t, &e))
        fail_msg("%s", e.msg);
    encode(t, "abab", 4, 0, &l);
    assert_int_equal(l.n, 4);
    assert_int_equal(tokenizer_encode(t, text, n, 0, 1 << 20, &l, &e), -1);
    assert_int_equal(e.code, ERR_INVALID);
    encode(t, "ba", 2, 0, &l);
    assert_int_equal(l.n, 2);
    token_list_fini(&l);
    tokenizer_close(t);
    mem_free(text);
}

/* Parts between added tokens, of which each takes less than there is for one
 * alone, and two expressions: all of a text takes from one store of steps. */
static void test_tok_bpe_parts_of_a_text_share_its_steps(void **state)
{
    static const char own[] = "{" MODEL(
        MERGES) ",\"added_tokens\":[{\"id\":3,\"content\":\"-\"}],"
                "\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":["
                "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(a+)+[cd]\"},"
                "\"behavior\":\"Isolated\"},{\"type\":\"Split\",\"pattern\":{"
                "\"Regex\":"
                "\"(a+)+[de]\"},\"behavior\":\"Isolated\"},{\"type\":"
                "\"ByteLevel\","
                "\"add_prefix_space\":false,\"use_regex\":false}]}}";
    const char part[] = "aaaaaaaaaa-";
    const size_t len = sizeof part - 1, n = 4000 * len;
    struct tokenizer *t = NULL;
    struct token_list l = {0};
    struct err e = ERR_INIT;
    char *text = mem_alloc(n);
    assert_non_null(text);
    for (size_t i = 0; i < n; i++)
        text[i] = part[i % len];
    if (tokenizer_parse(own, sizeof own - 1, "t", &t, &e))
        fail_msg("%s", e.msg);
    encode(t, text, 4 * len, 0, &l);
    assert_int_equal(tokenizer_encode(t, text, n, 0, 1 << 20, &l, &e), -1);
    assert_non_null(strstr(e.msg, "too many steps"));
    token_list_fini(&l);
    tokenizer_close(t);
    mem_free(text);
}

/* --------------------------------------------------------- files of a model */

static void test_tok_bpe_reads_vocab_and_merges(void **state)
{
    char dir[64];
    struct tokenizer *t = NULL;
    struct token_list l = {0};
    struct err e = ERR_INIT;
    temp_dir_make(dir);
    temp_file_text(dir, "vocab.json",
                   "{\"a\":0,\"b\":1,\"ab\":2,\"\xc4\xa0\":3,\"<e>\":4,"
                   "\"<|endoftext|>\":5}");
    temp_file_text(dir, "merges.txt", "#version: 0.2\r\na b\r\n");
    temp_file_text(
        dir, "tokenizer_config.json",
        "{\"eos_token\":\"<e>\",\"tokenizer_class\":\"GPT2Tokenizer\","
        "\"added_tokens_decoder\":{\"6\":{\"content\":\"<u>\","
        "\"special\":false}}}");
    temp_file_text(dir, "generation_config.json",
                   "{\"eos_token_id\":[4,5,99]}");
    if (tokenizer_at(dir, "m", &t, &e))
        fail_msg("%s", e.msg);
    assert_int_equal(tokenizer_size(t), 7);
    assert_int_equal(tokenizer_eos(t), 4);
    assert_int_equal(tokenizer_bos(t), 5);
    assert_true(tokenizer_is_end(t, 4) && tokenizer_is_end(t, 5));
    assert_false(tokenizer_is_end(t, 0));
    encode(t, "ab<u> a", 7, 0, &l);
    assert_int_equal(l.n, 4);
    assert_int_equal(l.v[0].id, 2);
    assert_int_equal(l.v[1].id, 6);
    assert_int_equal(l.v[2].id, 3);
    tokenizer_close(t);
    temp_file_text(dir, "tokenizer_config.json",
                   "{\"tokenizer_class\":\"OddTokenizer\"}");
    assert_int_equal(tokenizer_at(dir, "m", &t, &e), -1);
    assert_non_null(strstr(e.msg, "tokenizer_class 'OddTokenizer'"));
    token_list_fini(&l);
    temp_dir_drop(dir);
}

/* BART's and RoBERTa's vocab.json and merges.txt with no other file
 * (tests/golden/make_bare_vocab_fixtures.py). */
static void test_tok_bpe_knows_a_bare_vocabulary_of_pairs(void **state)
{
    static const char dir[] = "tests/golden/bare_vocab/bart";
    struct tokenizer *t = NULL;
    struct token_list l = {0};
    struct json *rows = NULL;
    struct err e = ERR_INIT;
    (void)state;
    if (tokenizer_at(dir, "bart", &t, &e) ||
        json_load("tests/golden/bare_vocab/bart/expected.json", dir, NULL,
                  &rows, &e))
        fail_msg("%s", e.msg);
    assert_true(json_size(rows) >= 25);
    for (const struct json *r = json_child(rows); r; r = json_next(r)) {
        const char *text = json_string(json_get(r, "text"));
        encode(t, text, strlen(text), TOK_ADD_SPECIAL | TOK_PARSE_SPECIAL, &l);
        if (!same_ids(&l, json_get(r, "ids")))
            fail_msg("'%s' has other ids", text);
    }
    assert_int_equal(tokenizer_bos(t), tokenizer_id(t, "<s>"));
    assert_int_equal(tokenizer_eos(t), tokenizer_id(t, "</s>"));
    assert_int_equal(tokenizer_unk(t), tokenizer_id(t, "<unk>"));
    assert_int_equal(tokenizer_mask(t), tokenizer_id(t, "<mask>"));
    assert_true(tokenizer_is_end(t, tokenizer_id(t, "</s>")));
    encode(t, "<pad>", 5, 0, &l);
    assert_true(l.n > 1); /* a text is no special token */
    json_free(rows);
    token_list_fini(&l);
    tokenizer_close(t);
}

/* ------------------------------------------------------------------- time */

static double cpu_seconds(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return (double)ts.tv_sec + 1e-9 * (double)ts.tv_nsec;
}

static double time_of(const struct tokenizer *t, const char *text, size_t n)
{
    struct token_list l = {0};
    double begin = cpu_seconds();
    encode(t, text, n, TOK_PARSE_SPECIAL, &l);
    double took = cpu_seconds() - begin;
    token_list_fini(&l);
    return took;
}

/* Eight times the text takes eight times as long, and a logarithm more; 64
 * times would be quadratic. 24: caches, and a machine with other work. */
#define LARGE ((size_t)2 << 20)
#define STEP 8
#define MOST_RATIO 24.0

static void check_time(const struct tokenizer *t, const char *name,
                       const char *unit)
{
    char *text = mem_alloc(LARGE);
    size_t n = strlen(unit);
    assert_non_null(text);
    for (size_t i = 0; i < LARGE; i++)
        text[i] = unit[i % n];
    double small = time_of(t, text, LARGE / STEP);
    double large = time_of(t, text, LARGE);
    mem_free(text);
    if (large > MOST_RATIO * small) {
        fail_msg("%s: %zu bytes of '%s' take %.3f s, an eighth %.3f s", name,
                 LARGE, unit, large, small);
    }
}

static void test_tok_bpe_time_is_not_quadratic(void **state)
{
    static const char *const units[] = {"a", " ", "\t ", "1",
                                        "the <|im_start| cat's 12.5\n"};
    for (int i = 0; i < 3; i++) { /* the third has its places trimmed */
        struct tokenizer *t = open_model(models[i]);
        for (size_t k = 0; k < sizeof(units) / sizeof(units[0]); k++)
            check_time(t, models[i], units[k]);
        tokenizer_close(t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tok_bpe_gives_the_ids_of_hugging_face),
        cmocka_unit_test(test_tok_bpe_knows_what_stands_around_a_text),
        cmocka_unit_test(test_tok_bpe_trims_places_where_told),
        cmocka_unit_test(test_tok_bpe_drops_bytes_that_have_no_token),
        cmocka_unit_test(test_tok_bpe_holds_unfinished_code_points_back),
        cmocka_unit_test(test_tok_bpe_stops_at_the_limit),
        cmocka_unit_test(test_tok_bpe_refuses_what_it_does_not_do),
        cmocka_unit_test(test_tok_bpe_runs_expressions_that_nobody_has_listed),
        cmocka_unit_test(test_tok_bpe_parts_of_a_text_share_its_steps),
        cmocka_unit_test(test_tok_bpe_reads_vocab_and_merges),
        cmocka_unit_test(test_tok_bpe_knows_a_bare_vocabulary_of_pairs),
        cmocka_unit_test(test_tok_bpe_time_is_not_quadratic),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
