/* tokenizer: tokenizer.json is read or refused with a reason, texts become ids
 * with spans, and special tokens never come from plain text.
 *
 * SPDX-License-Identifier: MIT */
#include <glob.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "tests/support/tokenizer_at.h"
#include "tests/support/temp_dir.h"
#include "tests/support/unit.h"

#define HEAD                                                                   \
    "\"added_tokens\":[{\"id\":0,\"content\":\"<unk>\",\"special\":true},"     \
    "{\"id\":1,\"content\":\"</s>\",\"special\":true}],"
#define MODEL                                                                  \
    "\"model\":{\"type\":\"WordLevel\",\"unk_token\":\"<unk>\",\"vocab\":"     \
    "{\"<unk>\":0,\"</s>\":1,\"good\":2,\"film\":3,\"n't\":4,\"is\":5,"        \
    "\".\":6,\"s\":7}}"
static const char json[] =
    "{" HEAD "\"normalizer\":{\"type\":\"seqd-english\"},\"seqd\":"
    "{\"bos\":\"</s>\",\"eos\":\"</s>\",\"add_bos\":true}," MODEL "}";

static struct tokenizer *parse(const char *text)
{
    struct tokenizer *t = NULL;
    struct err e = ERR_INIT;
    if (tokenizer_parse(text, strlen(text), "tokenizer.json", &t, &e))
        fail_msg("%s", e.msg);
    return t;
}

static void encode(const struct tokenizer *t, const char *text, unsigned flags,
                   struct token_list *l)
{
    struct err e = ERR_INIT;
    if (tokenizer_encode(t, text, strlen(text), flags, 1000, l, &e))
        fail_msg("%s", e.msg);
}

static void assert_ids(const struct token_list *l, const int *ids, int n)
{
    assert_int_equal(l->n, n);
    for (int i = 0; i < n; i++)
        assert_int_equal(l->v[i].id, ids[i]);
}

static void test_tokenizer_describes_itself(void **state)
{
    struct tokenizer *t = parse(json);
    assert_int_equal(tokenizer_size(t), 8);
    assert_int_equal(tokenizer_level(t), TOK_LEVEL_WORD);
    assert_int_equal(tokenizer_unk(t), 0);
    assert_int_equal(tokenizer_bos(t), 1);
    assert_int_equal(tokenizer_eos(t), 1);
    assert_int_equal(tokenizer_add_bos(t), 1);
    assert_int_equal(tokenizer_can_miss(t), 1);
    assert_true(tokenizer_is_special(t, 0) && tokenizer_is_special(t, 1));
    assert_false(tokenizer_is_special(t, 2) || tokenizer_is_special(t, -1) ||
                 tokenizer_is_special(t, 8));
    assert_string_equal(tokenizer_text(t, 4), "n't");
    assert_null(tokenizer_text(t, 8));
    assert_null(tokenizer_text(t, -1));
    for (int i = 0; i < 8; i++)
        assert_int_equal(tokenizer_id(t, tokenizer_text(t, i)), i);
    assert_int_equal(tokenizer_id(t, "bad"), -1);
    assert_int_equal(tokenizer_id(t, "a-very-long-entry-indeed"), -1);
    tokenizer_close(t);
    tokenizer_close(NULL);
}

static void test_tokenizer_encodes_with_spans_and_unknowns(void **state)
{
    struct tokenizer *t = parse(json);
    struct token_list l = {0};
    static const int want[] = {0, 3, 5, 4, 2, 6};
    encode(t, "This FILM isn't good.", 0, &l);
    assert_ids(&l, want, 6);
    assert_int_equal(l.n_unknown, 1);
    assert_int_equal(l.v[3].start, 12);
    assert_int_equal(l.v[3].end, 15);
    encode(t, "good", 0, &l); /* appended */
    assert_int_equal(l.n, 7);
    assert_int_equal(l.v[6].id, 2);
    token_list_fini(&l);
    assert_int_equal(l.n, 0);
    tokenizer_close(t);
}

static void test_tokenizer_special_tokens_need_their_flag(void **state)
{
    struct tokenizer *t = parse(json);
    struct token_list l = {0};
    static const int plain[] = {1, 2, 0, 0, 7, 0, 3};
    static const int parsed[] = {2, 1, 3, 1};
    encode(t, "good </s> film", TOK_ADD_SPECIAL, &l);
    assert_ids(&l, plain, 7); /* the begin token, then "<" "/" "s" ">" */
    assert_int_equal(l.v[0].start, 0);
    assert_int_equal(l.v[0].end, 0);
    token_list_fini(&l);
    encode(t, "good</s>film</s>", TOK_PARSE_SPECIAL, &l);
    assert_ids(&l, parsed, 4);
    assert_int_equal(l.n_unknown, 0);
    assert_int_equal(l.v[1].start, 4);
    assert_int_equal(l.v[1].end, 8);
    assert_int_equal(l.v[2].start, 8);
    assert_int_equal(l.v[2].end, 12);
    assert_int_equal(l.v[3].end, 16);
    token_list_fini(&l);
    tokenizer_close(t);
}

static void test_tokenizer_special_entry_is_unknown_in_plain_text(void **state)
{
    const char *text = "{" HEAD "\"normalizer\":{\"type\":\"seqd-whitespace\","
                       "\"newline\":\"</s>\"}," MODEL "}";
    struct tokenizer *t = parse(text);
    struct token_list l = {0};
    static const int want[] = {2, 0, 0, 1, 3};
    encode(t, "good <unk> </s>\nfilm", 0, &l);
    assert_ids(&l, want, 5);
    assert_int_equal(l.n_unknown, 2);
    token_list_fini(&l);
    tokenizer_close(t);
}

static void test_tokenizer_limits_the_number_of_tokens(void **state)
{
    struct tokenizer *t = parse(json);
    struct token_list l = {0};
    struct err e = ERR_INIT;
    const char *text = "good film is good film";
    assert_int_equal(tokenizer_encode(t, text, strlen(text), 0, 5, &l, &e), 0);
    token_list_fini(&l);
    assert_int_equal(tokenizer_encode(t, text, strlen(text), 0, 3, &l, &e), -1);
    assert_int_equal(e.code, ERR_TOO_LARGE);
    assert_string_equal(e.reason, "context_length_exceeded");
    static const int first[] = {2, 3, 5};
    assert_ids(&l, first, 3);
    token_list_fini(&l);
    err_clear(&e);
    assert_int_equal(tokenizer_encode(t, "", 0, 0, 0, &l, &e), 0);
    assert_int_equal(tokenizer_encode(t, "good", 4, 0, 0, &l, &e), -1);
    token_list_fini(&l);
    tokenizer_close(t);
}

static void test_tokenizer_without_unk_leaves_pieces_out(void **state)
{
    struct tokenizer *t =
        parse("{\"normalizer\":{\"type\":\"seqd-characters\"},\"model\":"
              "{\"type\":\"WordLevel\",\"vocab\":{\"a\":1,\"\\n\":0}}}");
    struct token_list l = {0};
    static const int want[] = {1, 0, 1};
    encode(t, "a\nxxa", 0, &l);
    assert_ids(&l, want, 3);
    assert_int_equal(l.n_unknown, 2);
    assert_int_equal(tokenizer_level(t), TOK_LEVEL_CHAR);
    assert_int_equal(tokenizer_unk(t), -1);
    assert_int_equal(tokenizer_bos(t), -1);
    assert_int_equal(tokenizer_add_bos(t), 0);
    token_list_fini(&l);
    tokenizer_close(t);
}

#define NORM "\"normalizer\":{\"type\":\"seqd-english\"}"
#define VOCAB(v) "\"model\":{\"type\":\"WordLevel\",\"vocab\":" v "}"

static void test_tokenizer_refuses(void **state)
{
    static const struct {
        const char *text;
        enum err_code code;
        const char *cause;
    } cases[] = {
        {"", ERR_FORMAT, "invalid JSON"},
        {"[]", ERR_UNSUPPORTED, "model type"},
        {"{" NORM "}", ERR_UNSUPPORTED, "model type ''"},
        {"{\"model\":{\"type\":\"Other\",\"vocab\":{\"a\":0}}," NORM "}",
         ERR_UNSUPPORTED, "model type 'Other'"},
        {"{" VOCAB("{\"a\":0}") ",\"normalizer\":{\"type\":\"NFX\"}}",
         ERR_UNSUPPORTED, "normalizer 'NFX'"},
        {"{" VOCAB("[]") "," NORM "}", ERR_FORMAT, "no vocabulary"},
        {"{" VOCAB("{}") "," NORM "}", ERR_FORMAT, "is empty"},
        {"{" VOCAB("{\"a\":1}") "," NORM "}", ERR_FORMAT, "not in 0..0"},
        {"{" VOCAB("{\"a\":-1}") "," NORM "}", ERR_FORMAT, "not in 0..0"},
        {"{" VOCAB("{\"a\":0.5}") "," NORM "}", ERR_FORMAT, "not in 0..0"},
        {"{" VOCAB("{\"a\":\"0\"}") "," NORM "}", ERR_FORMAT, "not in 0..0"},
        {"{" VOCAB("{\"a\":0,\"b\":0}") "," NORM "}", ERR_FORMAT,
         "two entries have the id 0"},
        {"{" VOCAB("{\"a\":0,\"a\":1}") "," NORM "}", ERR_FORMAT,
         "duplicate key"},
        {"{" VOCAB("{\"\":0}") "," NORM "}", ERR_FORMAT, "is empty"},
        {"{" VOCAB("{\"a\":0}") "," NORM ",\"added_tokens\":{}}", ERR_FORMAT,
         "not a list"},
        {"{" VOCAB("{\"a\":0}") "," NORM ",\"added_tokens\":[1]}", ERR_FORMAT,
         "added token"},
        {"{" VOCAB(
             "{\"a\":0}") "," NORM
                          ",\"added_tokens\":[{\"id\":2,\"content\":\"b\"}]}",
         ERR_FORMAT, "no valid id"},
        {"{" VOCAB(
             "{\"a\":0}") "," NORM
                          ",\"added_tokens\":[{\"id\":0,\"content\":\"b\"}]}",
         ERR_FORMAT, "'b' has the id of 'a'"},
        {"{" VOCAB(
             "{\"a\":0}") "," NORM
                          ",\"added_tokens\":[{\"id\":1,\"content\":\"a\"}]}",
         ERR_FORMAT, "'a' is there twice"},
        {"{" VOCAB(
             "{\"a\":2}") "," NORM
                          ",\"added_tokens\":[{\"id\":0,\"content\":\"b\"},"
                          "{\"id\":0,\"content\":\"b\"}]}",
         ERR_FORMAT, "no entry has the id 1"},
        {"{" VOCAB("{\"a\":0}") "," NORM ",\"seqd\":\"a\"}", ERR_FORMAT,
         "'seqd' is not an object"},
        {"{" VOCAB("{\"a\":0}") "," NORM ",\"seqd\":{\"bos\":\"b\"}}",
         ERR_FORMAT, "'bos' does not name"},
        {"{" VOCAB("{\"a\":0}") "," NORM ",\"seqd\":{\"eos\":0}}", ERR_FORMAT,
         "'eos' does not name"},
        {"{" VOCAB("{\"a\":0}") "," NORM ",\"seqd\":{\"add_bos\":1}}",
         ERR_FORMAT, "not a boolean"},
        {"{" VOCAB("{\"a\":0}") "," NORM ",\"seqd\":{\"add_bos\":true}}",
         ERR_FORMAT, "add_bos without bos"},
        {"{\"model\":{\"type\":\"WordLevel\",\"vocab\":{\"a\":0},"
         "\"unk_token\":\"u\"}," NORM "}",
         ERR_FORMAT, "'unk_token' does not name"},
        {"{" VOCAB("{\"a\":0}") ",\"normalizer\":{\"type\":\"seqd-whitespace\","
                                "\"newline\":\"n\"}}",
         ERR_FORMAT, "'newline' does not name"},
        {"{" VOCAB("{\"a\":0}") ",\"normalizer\":{\"type\":\"seqd-english\","
                                "\"lowercase\":1}}",
         ERR_FORMAT, "not a boolean"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct tokenizer *t = NULL;
        struct err e = ERR_INIT;
        if (tokenizer_parse(cases[i].text, strlen(cases[i].text), "t", &t,
                            &e) == 0)
            fail_msg("accepted: %s", cases[i].text);
        assert_null(t);
        if (e.code != cases[i].code || !strstr(e.msg, cases[i].cause) ||
            memcmp(e.msg, "t: ", 3) != 0) {
            fail_msg("%s: '%s' lacks '%s'", cases[i].text, e.msg,
                     cases[i].cause);
        }
    }
}

static void test_tokenizer_open_names_the_model(void **state)
{
    char dir[64];
    struct tokenizer *t = NULL;
    struct err e = ERR_INIT;
    temp_dir_make(dir);
    assert_int_equal(tokenizer_at(dir, "m1", &t, &e), -1);
    assert_int_equal(e.code, ERR_NOT_FOUND);
    assert_string_equal(e.msg, "m1/tokenizer.json: no such file");
    temp_file_text(dir, "tokenizer.json", json);
    err_clear(&e);
    assert_int_equal(tokenizer_at(dir, "m1", &t, &e), 0);
    assert_int_equal(tokenizer_size(t), 8);
    tokenizer_close(t);
    temp_dir_drop(dir);
}

/* A vocabulary as large as real ones: every entry is found under its id. */
static void test_tokenizer_large_vocabulary(void **state)
{
    enum { N = 50000 };
    static char names[N][16];
    static const char *entries[N];
    const struct tokenizer_spec spec = {.normalizer = "seqd-english",
                                        .lowercase = 1,
                                        .unk = "w0",
                                        .bos = "w1",
                                        .eos = "w1",
                                        .add_bos = 1};
    struct buf out;
    struct err e = ERR_INIT;
    for (int i = 0; i < N; i++) {
        snprintf(names[i], sizeof(names[i]), "w%d", i);
        entries[i] = names[i];
    }
    buf_init(&out, 64 << 20);
    assert_int_equal(tokenizer_build(&spec, entries, N, &out, &e), 0);
    struct tokenizer *t = parse(out.p);
    assert_int_equal(tokenizer_size(t), N);
    for (int i = 0; i < N; i++)
        assert_int_equal(tokenizer_id(t, entries[i]), i);
    assert_int_equal(tokenizer_id(t, "w50000"), -1);
    struct token_list l = {0};
    static const int want[] = {1, 49999, 2};
    encode(t, "W49999 w2", TOK_ADD_SPECIAL, &l);
    assert_ids(&l, want, 3);
    token_list_fini(&l);
    tokenizer_close(t);
    buf_fini(&out);
}

/* A token that is white space and takes what follows along: each finds the end
 * of the same run. A look through all of it for each would take minutes. */
static void test_tokenizer_tokens_of_white_space_take_linear_time(void **state)
{
    enum { BYTES = 200000, LIMIT_US = 5000000 };
    struct tokenizer *t = parse(
        "{\"added_tokens\":[{\"id\":8,\"content\":\" \",\"rstrip\":true}],"
        "\"normalizer\":{\"type\":\"seqd-english\"}," MODEL "}");
    struct token_list l = {0};
    char *text = test_malloc(BYTES);
    memset(text, ' ', BYTES);
    text[BYTES - 1] = '.';
    int64_t begin = clock_now_us();
    assert_int_equal(tokenizer_encode(t, text, BYTES, 0, BYTES, &l, NULL), 0);
    assert_true(clock_now_us() - begin < LIMIT_US);
    assert_int_equal(l.n, BYTES);
    assert_int_equal(l.v[0].end, BYTES - 1);
    assert_int_equal(l.v[BYTES - 2].id, 8);
    assert_int_equal(l.v[BYTES - 2].end, BYTES - 1);
    assert_int_equal(l.v[BYTES - 1].id, 6);
    test_free(text);
    token_list_fini(&l);
    tokenizer_close(t);
}

static void test_tokenizer_reads_the_fixtures(void **state)
{
    glob_t g;
    assert_int_equal(glob("tests/golden/rnn/*/tokenizer.json", 0, NULL, &g), 0);
    for (size_t i = 0; i < g.gl_pathc; i++) {
        struct tokenizer *t = NULL;
        struct err e = ERR_INIT;
        g.gl_pathv[i][strlen(g.gl_pathv[i]) - strlen("/tokenizer.json")] = 0;
        if (tokenizer_at(g.gl_pathv[i], "m", &t, &e))
            fail_msg("%s: %s", g.gl_pathv[i], e.msg);
        assert_true(tokenizer_size(t) > 0);
        tokenizer_close(t);
    }
    globfree(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tokenizer_describes_itself),
        cmocka_unit_test(test_tokenizer_encodes_with_spans_and_unknowns),
        cmocka_unit_test(test_tokenizer_special_tokens_need_their_flag),
        cmocka_unit_test(test_tokenizer_special_entry_is_unknown_in_plain_text),
        cmocka_unit_test(test_tokenizer_limits_the_number_of_tokens),
        cmocka_unit_test(test_tokenizer_without_unk_leaves_pieces_out),
        cmocka_unit_test(test_tokenizer_refuses),
        cmocka_unit_test(test_tokenizer_open_names_the_model),
        cmocka_unit_test(test_tokenizer_large_vocabulary),
        cmocka_unit_test(test_tokenizer_tokens_of_white_space_take_linear_time),
        cmocka_unit_test(test_tokenizer_reads_the_fixtures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
