/* tok_spm, tok_unigram, spm_norm: ids and texts equal those of Hugging Face
 * tokenizers (tokenizer.json) and of sentencepiece (GGUF), from small trained
 * vocabularies (tests/golden/make_spm_fixtures.py); what is not supported is
 * refused by its name; long texts take no more than n log n.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/base/buf.h"
#include "engine/base/clock.h"
#include "engine/base/json.h"
#include "engine/base/mem.h"
#include "tests/support/tokenizer_at.h"
#include "tests/support/unit.h"

#define MAX_TOKENS 1000000

static struct tokenizer *open_or_fail(const char *name)
{
    char dir[100];
    struct tokenizer *t = NULL;
    struct err e = ERR_INIT;
    snprintf(dir, sizeof(dir), "tests/golden/spm/%s", name);
    if (tokenizer_at(dir, name, &t, &e))
        fail_msg("%s: %s", name, e.msg);
    return t;
}

static void decode(const struct tokenizer *t, const struct token_list *l,
                   struct buf *out)
{
    struct detok d;
    detok_init(&d);
    buf_init(out, 1 << 20);
    buf_add_str(out, "");
    for (int i = 0; i < l->n; i++)
        assert_int_equal(detok_next(t, &d, l->v[i].id, out), 0);
    assert_int_equal(detok_finish(t, &d, out), 0);
}

/* Offsets ascend and stay inside the text. */
static void check_offsets(const struct token_list *l, size_t n)
{
    uint32_t last = 0;
    for (int i = 0; i < l->n; i++) {
        assert_true(l->v[i].start >= last && l->v[i].end >= l->v[i].start);
        assert_true(l->v[i].end <= n);
        last = l->v[i].start;
    }
}

/* One row of expected.json. `parse`: control tokens in texts are found. */
static void check_row(const struct tokenizer *t, const char *name,
                      const struct json *row, unsigned parse)
{
    const char *text = json_string(json_get(row, "text"));
    const char *want = json_string(json_get(row, "decoded"));
    const struct json *id = json_child(json_get(row, "ids"));
    struct token_list l = {0};
    struct err e = ERR_INIT;
    struct buf out;
    int i = 0;
    assert_int_equal(
        tokenizer_encode(t, text, strlen(text), parse, MAX_TOKENS, &l, &e), 0);
    for (; id; id = json_next(id), i++) {
        if (i >= l.n || l.v[i].id != (int32_t)json_number(id)) {
            fail_msg("%s: '%s' token %d is %d, expected %d", name, text, i,
                     i < l.n ? l.v[i].id : -1, (int)json_number(id));
        }
    }
    assert_int_equal(l.n, i);
    check_offsets(&l, strlen(text));
    decode(t, &l, &out);
    if (want && strcmp(out.p, want) != 0) {
        fail_msg("%s: '%s' decodes to '%s', expected '%s'", name, text, out.p,
                 want);
    }
    buf_fini(&out);
    token_list_fini(&l);
}

static void check(const char *name, unsigned parse)
{
    char path[120];
    struct json *rows = NULL;
    struct err e = ERR_INIT;
    struct tokenizer *t = open_or_fail(name);
    snprintf(path, sizeof(path), "tests/golden/spm/%s/expected.json", name);
    if (json_load(path, name, NULL, &rows, &e))
        fail_msg("%s", e.msg);
    assert_true(json_size(rows) > 55);
    for (const struct json *j = json_child(rows); j; j = json_next(j))
        check_row(t, name, j, parse);
    json_free(rows);
    tokenizer_close(t);
}

static void test_spm_bpe_of_tokenizer_json(void **state)
{
    check("llama", TOK_PARSE_SPECIAL);
    check("mistral", TOK_PARSE_SPECIAL);
    check("gemma", TOK_PARSE_SPECIAL);
    check("words", TOK_PARSE_SPECIAL);
}

static void test_spm_unigram_of_tokenizer_json(void **state)
{
    check("unigram", TOK_PARSE_SPECIAL);
    check("t5", TOK_PARSE_SPECIAL);
    check("xlm-r", TOK_PARSE_SPECIAL);
}

static void test_spm_of_gguf(void **state)
{
    check("gguf-llama", 0);
    check("gguf-t5", 0);
}

/* A piece arrives whole or not at all: the bytes of one character. */
static void test_spm_streams_bytes_as_whole_characters(void **state)
{
    struct tokenizer *t = open_or_fail("gguf-llama");
    static const char *const bytes[] = {"<0xF0>", "<0x9F>", "<0x98>", "<0x80>"};
    struct buf out;
    struct detok d;
    detok_init(&d);
    buf_init(&out, 100);
    buf_add_str(&out, "");
    for (int i = 0; i < 4; i++) {
        assert_string_equal(out.p, "");
        int32_t id = tokenizer_id(t, bytes[i]);
        assert_true(id >= 0);
        assert_int_equal(detok_next(t, &d, id, &out), 0);
    }
    assert_string_equal(out.p, "\xf0\x9f\x98\x80");
    buf_fini(&out);
    tokenizer_close(t);
}

/* The first space is the prefix's, behind a begin token as well; that of a
 * continuation is a space. */
static void test_spm_strips_the_first_space_of_a_text_only(void **state)
{
    struct tokenizer *t = open_or_fail("gguf-llama");
    int32_t the = tokenizer_id(t, "\xe2\x96\x81the"), bos = tokenizer_bos(t);
    struct buf out;
    struct detok d;
    assert_true(the >= 0 && bos >= 0);
    detok_init(&d);
    buf_init(&out, 100);
    assert_int_equal(detok_next(t, &d, bos, &out), 0);
    assert_int_equal(detok_next(t, &d, the, &out), 0);
    assert_string_equal(out.p, "the");
    assert_int_equal(detok_next(t, &d, the, &out), 0);
    assert_string_equal(out.p, "the the");
    buf_clear(&out);
    detok_init(&d);
    detok_seed(t, &d, &the, 1);
    assert_int_equal(detok_next(t, &d, the, &out), 0);
    assert_string_equal(out.p, " the");
    buf_fini(&out);
    tokenizer_close(t);
}

/* --- refusals --- */

static void refuse(const char *text, enum err_code code, const char *says)
{
    struct tokenizer *t = NULL;
    struct err e = ERR_INIT;
    if (tokenizer_parse(text, strlen(text), "t.json", &t, &e) == 0)
        fail_msg("taken, expected: %s", says);
    assert_null(t);
    if (e.code != code || !strstr(e.msg, says))
        fail_msg("'%s' (%d), expected '%s' (%d)", e.msg, e.code, says, code);
}

#define UNIGRAM(normalizer, pre, vocab)                                        \
    "{\"normalizer\":" normalizer ",\"pre_tokenizer\":" pre                    \
    ",\"model\":{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":" vocab "}}"
#define TWO "[[\"<unk>\",0],[\"a\",-1]]"
#define META "{\"type\":\"Metaspace\",\"replacement\":\"\xe2\x96\x81\"}"
#define CHARSMAP(base64)                                                       \
    "{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"" base64 "\"}"

/* White space that a Strip takes away is in no place. */
static void test_spm_strip_takes_space_out_of_places(void **state)
{
    static const char file[] =
        UNIGRAM("{\"type\":\"Strip\",\"strip_left\":true,"
                "\"strip_right\":true}",
                META, TWO);
    struct tokenizer *t = NULL;
    struct token_list l = {0};
    struct err e = ERR_INIT;
    if (tokenizer_parse(file, strlen(file), "t.json", &t, &e) ||
        tokenizer_encode(t, "  a   ", 6, 0, 10, &l, &e))
        fail_msg("%s", e.msg);
    assert_int_equal(l.n, 2); /* the mark, which is unknown, and the letter */
    assert_int_equal(l.v[1].start, 2);
    assert_int_equal(l.v[1].end, 3);
    token_list_fini(&l);
    tokenizer_close(t);
}

static void test_spm_refuses_by_name(void **state)
{
    static const struct {
        const char *text;
        enum err_code code;
        const char *says;
    } cases[] = {
        {UNIGRAM("{\"type\":\"NFX\"}", META, TWO), ERR_UNSUPPORTED,
         "t.json: normalizer 'NFX' is not supported"},
        {UNIGRAM("null", "{\"type\":\"White\"}", TWO), ERR_UNSUPPORTED,
         "pre_tokenizer 'White' is not supported"},
        {UNIGRAM("null",
                 "{\"type\":\"Metaspace\",\"replacement\":\"\xe2\x96\x81\","
                 "\"prepend_scheme\":\"last\"}",
                 TWO),
         ERR_UNSUPPORTED, "prepend_scheme 'last' is not supported"},
        {UNIGRAM("null", META, "{}"), ERR_FORMAT, "'vocab' is not a list"},
        {UNIGRAM("null", META, "[[\"a\"]]"), ERR_FORMAT,
         "is not a text and a number"},
        {UNIGRAM("null", META, "[[\"a\",1e300]]"), ERR_FORMAT,
         "a score of 'vocab' is not finite"},
        {UNIGRAM("null", META, "[[\"a\",0],[\"a\",0]]"), ERR_FORMAT,
         "'a' is there twice"},
        {UNIGRAM("null", META, "[]"), ERR_FORMAT, "the vocabulary is empty"},
        {UNIGRAM(CHARSMAP("!!!!"), META, TWO), ERR_FORMAT, "is not base64"},
        {UNIGRAM(CHARSMAP("AAAA"), META, TWO), ERR_FORMAT, "is cut short"},
        {UNIGRAM(CHARSMAP("//////////8="), META, TWO), ERR_FORMAT,
         "is cut short"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        refuse(cases[i].text, cases[i].code, cases[i].says);
}

/* A table whose units point anywhere finds nothing and reads nothing else. */
static void test_spm_wild_table_of_characters_is_harmless(void **state)
{
    static const char *const tables[] = {
        CHARSMAP("BAAAAP////8="),         /* one unit, all ones */
        CHARSMAP("CAAAAAABAABhAQAAQUI="), /* a leaf behind its end */
    };
    for (int i = 0; i < 2; i++) {
        char text[600];
        struct tokenizer *t = NULL;
        struct token_list l = {0};
        struct err e = ERR_INIT;
        snprintf(text, sizeof(text),
                 "{\"normalizer\":%s,\"pre_tokenizer\":%s,\"model\":{\"type\":"
                 "\"Unigram\",\"unk_id\":0,\"vocab\":%s}}",
                 tables[i], META, TWO);
        assert_int_equal(tokenizer_parse(text, strlen(text), "t", &t, &e), 0);
        assert_int_equal(tokenizer_encode(t, "a\xc3\xa9 z", 5, 0, 100, &l, &e),
                         0);
        token_list_fini(&l);
        tokenizer_close(t);
    }
}

/* A tokenizer.json with a table of `units` and `text` [n_text]. */
static char *with_table(const uint32_t *units, size_t n_units, const char *text,
                        size_t n_text)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                 "abcdefghijklmnopqrstuvwxyz0123456789+/";
    const uint32_t size = (uint32_t)(4 * n_units);
    struct buf raw, out;
    buf_init(&raw, 1 << 20);
    buf_init(&out, 1 << 20);
    buf_add(&raw, (const char *)&size, 4); /* little endian, as this machine */
    buf_add(&raw, (const char *)units, size);
    buf_add(&raw, text, n_text);
    while (raw.len % 3)
        buf_add_char(&raw, 0);
    buf_add_str(&out, "{\"normalizer\":{\"type\":\"Precompiled\","
                      "\"precompiled_charsmap\":\"");
    for (size_t i = 0; i < raw.len; i += 3) {
        const unsigned char *p = (const unsigned char *)raw.p + i;
        uint32_t bits = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
        for (int k = 18; k >= 0; k -= 6)
            buf_add_char(&out, digits[bits >> k & 63]);
    }
    buf_add_str(&out, "\"},\"model\":{\"type\":\"Unigram\",\"unk_id\":0,"
                      "\"vocab\":" TWO "}}");
    buf_fini(&raw);
    return out.p;
}

/* A table in which "a" leads back to where it began: a look that followed it
 * would go through the rest of the text, at each place. */
static void test_spm_table_that_goes_round_takes_linear_time(void **state)
{
    enum { BYTES = 200000, LIMIT_US = 5000000 };
    uint32_t units[354] = {256 << 10};
    struct tokenizer *t = NULL;
    struct token_list l = {0};
    units[256 ^ 'a'] = (uint32_t)'a' << 10 | 'a';
    char *file = with_table(units, 354, "", 1);
    char *text = test_malloc(BYTES);
    memset(text, 'a', BYTES);
    assert_int_equal(tokenizer_parse(file, strlen(file), "t", &t, NULL), 0);
    int64_t begin = clock_now_us();
    assert_int_equal(tokenizer_encode(t, text, BYTES, 0, MAX_TOKENS, &l, NULL),
                     0);
    assert_true(clock_now_us() - begin < LIMIT_US);
    assert_int_equal(l.n, BYTES);
    token_list_fini(&l);
    tokenizer_close(t);
    test_free(text);
    mem_free(file);
}

/* Texts of a table and entries: 256 and 512 bytes are taken, one more is not.
 */
static void test_spm_refuses_what_makes_a_text_explode(void **state)
{
    const uint32_t none = 0;
    char many[514], file[800];
    struct tokenizer *t = NULL;
    memset(many, 'b', sizeof many);
    many[256] = 0;
    char *table = with_table(&none, 1, many, 257);
    assert_int_equal(tokenizer_parse(table, strlen(table), "t", &t, NULL), 0);
    tokenizer_close(t);
    mem_free(table);
    many[256] = 'b';
    many[257] = 0;
    table = with_table(&none, 1, many, 258);
    refuse(table, ERR_FORMAT, "charsmap has a text of over 256 bytes");
    mem_free(table);
    many[257] = 'b';
    for (int n = 512; n <= 513; n++) {
        many[n] = 0;
        snprintf(file, sizeof file,
                 UNIGRAM("null", META, "[[\"<unk>\",0],[\"%s\",-1]]"), many);
        if (n > 512) {
            refuse(file, ERR_UNSUPPORTED, "bbb...' has 513 bytes, at most 512");
            break;
        }
        assert_int_equal(tokenizer_parse(file, strlen(file), "t", &t, NULL), 0);
        tokenizer_close(t);
        many[n] = 'b';
    }
}

/* 256 bytes for each "a": a text of them is refused before they fill the
 * memory. */
static void test_spm_bounds_what_a_text_becomes(void **state)
{
    uint32_t units[354] = {256 << 10};
    char many[257], text[1000];
    struct tokenizer *t = NULL;
    struct token_list l = {0};
    struct err e = ERR_INIT;
    memset(many, 'b', sizeof many - 1);
    many[256] = 0;
    memset(text, 'a', sizeof text);
    units[256 ^ 'a'] = (256 ^ 'a' ^ 300u) << 10 | 1 << 8 | 'a';
    units[300] = 1u << 31;
    char *file = with_table(units, 354, many, sizeof many);
    assert_int_equal(tokenizer_parse(file, strlen(file), "t", &t, NULL), 0);
    assert_int_equal(tokenizer_encode(t, text, 1, 0, MAX_TOKENS, &l, &e), 0);
    assert_int_equal(tokenizer_encode(t, text, 1000, 0, MAX_TOKENS, &l, &e),
                     -1);
    assert_int_equal(e.code, ERR_INVALID);
    assert_non_null(strstr(e.msg, "makes more than 32256 bytes of a text"));
    token_list_fini(&l);
    tokenizer_close(t);
    mem_free(file);
}

/* 400 KB of what makes most merges, in well under a second. */
static void test_spm_long_texts_take_n_log_n(void **state)
{
    static const char *const names[] = {"llama", "gguf-llama", "unigram", "t5"};
    static const char *const units[] = {"a", " ", "the", "\xe4\xbd\xa0",
                                        "a b "};
    enum { BYTES = 400000, LIMIT_US = 20000000 };
    char *text = test_malloc(BYTES + 8);
    for (int k = 0; k < 4; k++) {
        struct tokenizer *t = open_or_fail(names[k]);
        for (int u = 0; u < 5; u++) {
            struct token_list l = {0};
            size_t n = 0, len = strlen(units[u]);
            for (; n + len <= BYTES; n += len)
                memcpy(text + n, units[u], len);
            int64_t begin = clock_now_us();
            assert_int_equal(
                tokenizer_encode(t, text, n, 0, MAX_TOKENS, &l, NULL), 0);
            assert_true(clock_now_us() - begin < LIMIT_US);
            token_list_fini(&l);
        }
        tokenizer_close(t);
    }
    test_free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spm_bpe_of_tokenizer_json),
        cmocka_unit_test(test_spm_unigram_of_tokenizer_json),
        cmocka_unit_test(test_spm_of_gguf),
        cmocka_unit_test(test_spm_streams_bytes_as_whole_characters),
        cmocka_unit_test(test_spm_strips_the_first_space_of_a_text_only),
        cmocka_unit_test(test_spm_strip_takes_space_out_of_places),
        cmocka_unit_test(test_spm_refuses_by_name),
        cmocka_unit_test(test_spm_wild_table_of_characters_is_harmless),
        cmocka_unit_test(test_spm_table_that_goes_round_takes_linear_time),
        cmocka_unit_test(test_spm_refuses_what_makes_a_text_explode),
        cmocka_unit_test(test_spm_bounds_what_a_text_becomes),
        cmocka_unit_test(test_spm_long_texts_take_n_log_n),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
