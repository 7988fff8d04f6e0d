/* tok_wordpiece: ids as Hugging Face tokenizers gives them under each way to
 * set up BERT's normalizer (tests/golden/wordpiece.json), places in the text,
 * vocab.txt, decoding, and time that does not grow with malice.
 *
 * SPDX-License-Identifier: MIT */
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/file.h"
#include "engine/base/json.h"
#include "engine/base/mem.h"
#include "tests/support/tokenizer_at.h"
#include "tests/support/temp_dir.h"
#include "tests/support/unit.h"

/* 2 MiB take some 0.1 s; a quadratic step anywhere takes minutes. Sanitizers
 * and busy machines have their share in it. */
#define MAX_SECONDS 20.0
#define LARGE ((size_t)2 << 20)

#define ADDED(id, text)                                                        \
    "{\"id\":" #id ",\"content\":\"" text                                      \
    "\",\"special\":true,\"normalized\":false}"
#define HEAD                                                                   \
    "{\"added_tokens\":[" ADDED(0, "[PAD]") "," ADDED(1, "[UNK]") "," ADDED(   \
        2, "[CLS]") "," ADDED(3, "[SEP]") "," ADDED(4, "[MASK]") "],"
#define TAIL                                                                   \
    "\"post_processor\":{\"type\":\"BertProcessing\",\"cls\":[\"[CLS]\",2],"   \
    "\"sep\":[\"[SEP]\",3]},"                                                  \
    "\"model\":{\"type\":\"WordPiece\",\"unk_token\":\"[UNK]\","               \
    "\"continuing_subword_prefix\":\"##\",\"max_input_chars_per_word\":100,"   \
    "\"vocab\":{\"[PAD]\":0,\"[UNK]\":1,\"[CLS]\":2,\"[SEP]\":3,"              \
    "\"[MASK]\":4,\"film\":5,\"##s\":6,\"fi\":7,\"##lm\":8,\".\":9,\"bad\":"   \
    "10,"                                                                      \
    "\"a\":11,\"##a\":12,\"##aaaa\":13,\"[\":14,\"##e\":15}}}"
#define BERT "\"type\":\"BertNormalizer\""
#define PRE "\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"},"
static const char json[] = HEAD "\"normalizer\":{" BERT "}," PRE TAIL;

static struct tokenizer *parse(const char *text)
{
    struct tokenizer *t = NULL;
    struct err e = ERR_INIT;
    if (tokenizer_parse(text, strlen(text), "tokenizer.json", &t, &e))
        fail_msg("%s", e.msg);
    return t;
}

static void encode(const struct tokenizer *t, const char *text, size_t n,
                   unsigned flags, struct token_list *l)
{
    struct err e = ERR_INIT;
    if (tokenizer_encode(t, text, n, flags, INT32_MAX, l, &e))
        fail_msg("%s", e.msg);
}

static void assert_ids(const char *name, const char *text,
                       const struct token_list *l, const struct json *want)
{
    int i = 0;
    int64_t id;
    for (const struct json *x = json_child(want); x; x = json_next(x), i++) {
        assert_int_equal(json_int(x, &id), 0);
        if (i >= l->n || l->v[i].id != id) {
            fail_msg("%s: '%s': token %d of %d differs, expected %d", name,
                     text, i, l->n, (int)id);
        }
    }
    if (i != l->n)
        fail_msg("%s: '%s': %d tokens, expected %d", name, text, l->n, i);
}

static void check_case(const struct json *c)
{
    struct tokenizer *t = parse(json_string(json_get(c, "tokenizer")));
    const struct json *ids = json_child(json_get(c, "ids"));
    const char *name = json_string(json_get(c, "name"));
    const struct json *x = json_child(json_get(c, "texts"));
    int n = 0;
    for (; x && ids; x = json_next(x), ids = json_next(ids), n++) {
        struct token_list l = {0};
        struct buf text;
        buf_init(&text, 1 << 16);
        assert_int_equal(json_text(x, &text), 0);
        encode(t, text.p ? text.p : "", text.len, TOK_PARSE_SPECIAL, &l);
        assert_ids(name, text.p ? text.p : "", &l, ids);
        token_list_fini(&l);
        buf_fini(&text);
    }
    assert_true(n > 20);
    tokenizer_close(t);
}

static void test_wordpiece_ids_equal_tokenizers(void **state)
{
    struct err e = ERR_INIT;
    struct json *j;
    char *text;
    size_t n;
    int cases = 0;
    if (file_read("tests/golden/wordpiece.json", "wordpiece.json", 1 << 20,
                  &text, &n, &e) ||
        json_parse_nul(text, n, NULL, &j, &e))
        fail_msg("%s", e.msg);
    const struct json *c = json_child(json_get(j, "cases"));
    for (; c; c = json_next(c), cases++)
        check_case(c);
    assert_true(cases > 4);
    json_free(j);
    mem_free(text);
}

static void test_wordpiece_tokens_have_their_places(void **state)
{
    /* "fi" "##lm" is "film", the longest; 0xc3 0x81 is a letter with an accent
     * that goes, U+200B is dropped and in no place. */
    static const char text[] = "Films  b\xc3\x81"
                               "d.\xe2\x80\x8b x [SEP]";
    static const int want[][3] = {{5, 0, 4},   {6, 4, 5},   {10, 7, 11},
                                  {9, 11, 12}, {1, 16, 17}, {3, 18, 23}};
    struct tokenizer *t = parse(json);
    struct token_list l = {0};
    encode(t, text, sizeof text - 1, TOK_PARSE_SPECIAL, &l);
    assert_int_equal(l.n, 6);
    assert_int_equal(l.n_unknown, 1);
    for (int i = 0; i < 6; i++) {
        assert_int_equal(l.v[i].id, want[i][0]);
        assert_int_equal(l.v[i].start, want[i][1]);
        assert_int_equal(l.v[i].end, want[i][2]);
    }
    token_list_fini(&l);
    tokenizer_close(t);
}

static void test_wordpiece_puts_its_tokens_around(void **state)
{
    struct tokenizer *t = parse(json);
    struct token_list l = {0};
    int before, after;
    encode(t, "bad [SEP]", 9, TOK_ADD_SPECIAL, &l); /* plain: "[" "sep" "]" */
    assert_int_equal(l.n, 6);
    assert_int_equal(l.v[0].id, 2);
    assert_int_equal(l.v[2].id, 14);
    assert_int_equal(l.v[3].id, 1);
    assert_int_equal(l.v[5].id, 3);
    tokenizer_around(t, &before, &after);
    assert_int_equal(before, 1);
    assert_int_equal(after, 1);
    assert_int_equal(tokenizer_mask(t), 4);
    assert_int_equal(tokenizer_unk(t), 1);
    assert_int_equal(tokenizer_level(t), TOK_LEVEL_SUBWORD);
    token_list_fini(&l);
    tokenizer_close(t);
}

static void expect_text(const struct tokenizer *t, const int32_t *ids, int n,
                        const char *want)
{
    struct detok d;
    struct buf b;
    buf_init(&b, 1000);
    detok_init(&d);
    for (int i = 0; i < n; i++)
        assert_int_equal(detok_next(t, &d, ids[i], &b), 0);
    assert_int_equal(detok_finish(t, &d, &b), 0);
    assert_string_equal(b.p, want);
    buf_fini(&b);
}

static void test_wordpiece_decodes_as_tokenizers_does(void **state)
{
    static const int32_t ids[] = {2, 5, 6, 11, 10, 9, 3};
    static const int32_t more[] = {6, 6};
    struct tokenizer *t = parse(json);
    expect_text(t, ids, 7, "films a bad.");
    expect_text(t, more, 2, "##ss");
    tokenizer_close(t);
}

static void test_wordpiece_reads_vocab_txt(void **state)
{
    char dir[64];
    struct tokenizer *t;
    struct token_list l = {0};
    struct err e = ERR_INIT;
    temp_dir_make(dir);
    temp_file_text(dir, "vocab.txt",
                   "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nfilm\r\n##s\nbad");
    if (tokenizer_at(dir, "m", &t, &e))
        fail_msg("%s", e.msg);
    encode(t,
           "FILMS b\xc3\xa4"
           "d",
           10, TOK_ADD_SPECIAL, &l);
    assert_int_equal(tokenizer_size(t), 8);
    assert_int_equal(l.n, 5);
    assert_int_equal(l.v[0].id, 2);
    assert_int_equal(l.v[1].id, 5);
    assert_int_equal(l.v[2].id, 6);
    assert_int_equal(l.v[3].id, 7);
    assert_int_equal(l.v[4].id, 3);
    assert_int_equal(tokenizer_mask(t), 4);
    assert_true(tokenizer_is_special(t, 0));
    token_list_fini(&l);
    tokenizer_close(t);
    temp_dir_drop(dir);
}

static void test_wordpiece_refuses_what_it_does_not_do(void **state)
{
    static const struct {
        const char *json, *says;
    } bad[] = {
        {HEAD "\"normalizer\":{\"type\":\"NFX\"}," PRE TAIL, "NFX"},
        {HEAD "\"normalizer\":{" BERT "},\"pre_tokenizer\":{\"type\":"
              "\"White\"}," TAIL,
         "White"},
        {HEAD "\"normalizer\":{" BERT ",\"lowercase\":3}," PRE TAIL,
         "lowercase"},
        {HEAD "\"normalizer\":{" BERT "}," PRE
              "\"model\":{\"type\":\"WordPiece\",\"unk_token\":\"[UNK]\","
              "\"max_input_chars_per_word\":0,\"vocab\":{\"[PAD]\":0}}}",
         "max_input_chars_per_word"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct tokenizer *t;
        struct err e = ERR_INIT;
        assert_int_equal(
            tokenizer_parse(bad[i].json, strlen(bad[i].json), "x", &t, &e), -1);
        if (!strstr(e.msg, bad[i].says))
            fail_msg("'%s' does not name %s", e.msg, bad[i].says);
    }
}

static void fill_text(char *p, const char *unit)
{
    size_t k = strlen(unit);
    for (size_t i = 0; i < LARGE; i++)
        p[i] = unit[i % k];
}

static void test_wordpiece_is_fast_on_hostile_texts(void **state)
{
    /* One word; words of 100 that need the most look-ups and then fail; marks;
     * combining marks (U+0301 and U+0323, out of order); spaces. */
    static const char *const units[] = {
        "a",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        "aaaa"
        "aaaaaaaaaaaaaaaaaaaaaaaaz ",
        ".",
        "\xcc\x81\xcc\xa3",
        " ",
        "[CLS",
    };
    struct tokenizer *t = parse(json);
    char *text = mem_alloc(LARGE);
    assert_non_null(text);
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        struct token_list l = {0};
        int64_t begin = clock_now_us();
        fill_text(text, units[i]);
        encode(t, text, LARGE, TOK_PARSE_SPECIAL, &l);
        double s = (double)(clock_now_us() - begin) * 1e-6;
        if (s > MAX_SECONDS)
            fail_msg("text %zu took %.1f s", i, s);
        token_list_fini(&l);
    }
    mem_free(text);
    tokenizer_close(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wordpiece_ids_equal_tokenizers),
        cmocka_unit_test(test_wordpiece_tokens_have_their_places),
        cmocka_unit_test(test_wordpiece_puts_its_tokens_around),
        cmocka_unit_test(test_wordpiece_decodes_as_tokenizers_does),
        cmocka_unit_test(test_wordpiece_reads_vocab_txt),
        cmocka_unit_test(test_wordpiece_refuses_what_it_does_not_do),
        cmocka_unit_test(test_wordpiece_is_fast_on_hostile_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
