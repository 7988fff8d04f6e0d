/* pipe: random pipelines of a tokenizer.json give the ids, the places and the
 * texts of Hugging Face tokenizers (tests/golden/make_pipeline_fixtures.py);
 * long texts take time linear in them, whatever the steps; what is not known
 * is refused by its name.
 *
 * SPDX-License-Identifier: MIT */
#include <time.h>

#include "engine/base/buf.h"
#include "engine/base/clock.h"
#include "engine/base/json.h"
#include "engine/base/mem.h"
#include "engine/base/utf8.h"
#include "engine/text/tokenizer.h"
#include "tests/support/unit.h"

#define FIXTURE "tests/golden/tokenizer/pipelines.json"
#define LONG ((size_t)2 << 20)
#define MAX_TOKENS (16 << 20)
#define MOST_S 20       /* of 2 MB; linear takes below 1 s */
#define MOST_LOAD_S 3.0 /* of a CPU, for what takes 0.5 */

static struct json *rows;

static int up(void **state)
{
    const struct json_limits lim = {(size_t)8 << 20, 16, (size_t)1 << 20};
    FILE *f = fopen(FIXTURE, "rb");
    char *text = mem_alloc((size_t)8 << 20);
    size_t n = f && text ? fread(text, 1, (size_t)8 << 20, f) : 0;
    int rc = n ? json_parse_nul(text, n, &lim, &rows, NULL) : -1;
    if (f)
        fclose(f);
    mem_free(text);
    return rc;
}

static int down(void **state)
{
    json_free(rows);
    return 0;
}

static int check_ids(const struct token_list *l, const struct json *want)
{
    const struct json *j = json_child(want);
    int i = 0;
    for (; j && i < l->n; j = json_next(j), i++)
        if (json_number(j) != l->v[i].id)
            return 0;
    return !j && i == l->n;
}

/* Code points before byte i of s [n]; one that it lies in counts at an end. */
static double points(const char *s, size_t n, size_t i, int end)
{
    while (i < n && ((unsigned char)s[i] & 0xc0) == 0x80)
        i = end ? i + 1 : i - 1;
    return (double)utf8_count(s, i);
}

/* A token that is a part of a code point has the place of all of it there;
 * null: what is around a text. */
static int check_places(const struct token_list *l, const char *s, size_t n,
                        const struct json *want)
{
    const struct json *j = json_child(want);
    if (json_type(want) == JSON_NULL)
        return 1;
    for (int i = 0; i < l->n; i++) {
        const struct token *k = &l->v[i];
        if (json_type(j) == JSON_NUMBER &&
            (json_number(j) != points(s, n, k->start, 0) ||
             json_number(json_next(j)) != points(s, n, k->end, 1)))
            return 0;
        j = json_next(json_next(j));
    }
    return j == NULL;
}

static int check_text(const struct tokenizer *t, const struct token_list *l,
                      const char *want)
{
    struct detok d;
    struct buf out;
    detok_init(&d);
    buf_init(&out, 1 << 20);
    buf_add_str(&out, "");
    for (int i = 0; i < l->n; i++)
        assert_int_equal(detok_next(t, &d, l->v[i].id, &out), 0);
    assert_int_equal(detok_finish(t, &d, &out), 0);
    int same = strcmp(out.p, want) == 0;
    buf_fini(&out);
    return same;
}

static void check_case(const struct tokenizer *t, const struct json *c,
                       unsigned flags, int at)
{
    const struct json *text = json_child(c), *ids = json_next(text);
    const struct json *places = json_next(ids);
    const char *want = json_string(json_next(places));
    struct token_list l = {0};
    struct err e = ERR_INIT;
    struct buf s;
    buf_init(&s, 1 << 20);
    buf_add_str(&s, "");
    assert_int_equal(json_text(text, &s), 0);
    assert_int_equal(tokenizer_encode(t, s.p, s.len, flags, MAX_TOKENS, &l, &e),
                     0);
    if (!check_ids(&l, ids))
        fail_msg("row %d, '%s': other ids", at, s.p);
    if (!check_places(&l, s.p, s.len, places))
        fail_msg("row %d, '%s': other places", at, s.p);
    if (want && !check_text(t, &l, want))
        fail_msg("row %d, '%s': another text", at, s.p);
    token_list_fini(&l);
    buf_fini(&s);
}

/* 1, or 0 when the file is refused by its name. */
static int check_row(const struct json *row, int at, int *n)
{
    const char *file = json_string(json_get(row, "tokenizer"));
    unsigned flags =
        TOK_PARSE_SPECIAL |
        (json_bool(json_get(row, "special")) ? TOK_ADD_SPECIAL : 0);
    struct tokenizer *t = NULL;
    struct err e = ERR_INIT;
    if (tokenizer_parse(file, strlen(file), "row", &t, &e)) {
        if (e.code != ERR_UNSUPPORTED)
            fail_msg("row %d: %s", at, e.msg);
        return 0;
    }
    for (const struct json *c = json_child(json_get(row, "cases")); c;
         c = json_next(c)) {
        check_case(t, c, flags, at);
        ++*n;
    }
    tokenizer_close(t);
    return 1;
}

static void test_pipe_equals_the_reference(void **state)
{
    int n = 0, at = 0, n_read = 0;
    for (const struct json *j = json_child(rows); j; j = json_next(j))
        n_read += check_row(j, at++, &n);
    print_message("%d of %d files, %d texts\n", n_read, at, n);
    assert_true(n_read >= 120 && n >= 500);
}

#define MODEL                                                                  \
    "\"model\":{\"type\":\"BPE\",\"unk_token\":\"?\",\"vocab\":{\"?\":0,"      \
    "\"a\":1,\"b\":2,\"aa\":3,\"\xc4\xa0\":4},\"merges\":[\"a a\"]}"

static int parse(const char *norm, const char *pre, const char *more,
                 struct tokenizer **t, struct err *e)
{
    struct buf b;
    buf_init(&b, 1 << 22);
    buf_addf(&b, "{\"normalizer\":%s,", norm);
    buf_addf(&b, "\"pre_tokenizer\":%s,", pre);
    buf_add_str(&b, more);
    buf_add_str(&b, MODEL "}");
    int rc = tokenizer_parse(b.p, b.len, "file", t, e);
    buf_fini(&b);
    return rc;
}

static void refused(const char *norm, const char *pre, const char *more,
                    const char *why)
{
    struct tokenizer *t = NULL;
    struct err e = ERR_INIT;
    assert_int_equal(parse(norm, pre, more, &t, &e), -1);
    assert_int_equal(e.code, ERR_UNSUPPORTED);
    if (!strstr(e.msg, why))
        fail_msg("%s", e.msg);
}

static void test_pipe_refuses_by_name(void **state)
{
    refused("{\"type\":\"Rot13\"}", "null", "", "normalizer 'Rot13'");
    refused("null", "{\"type\":\"UnicodeScripts\"}", "",
            "pre_tokenizer 'UnicodeScripts'");
    refused("null", "null", "\"decoder\":{\"type\":\"Morse\"},",
            "decoder 'Morse'");
    refused("null", "null",
            "\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":"
            "\"ByteFallback\"},{\"type\":\"WordPiece\",\"prefix\":\"##\"}]},",
            "decoder after ByteFallback 'WordPiece'");
    refused("null", "null",
            "\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":"
            "[{\"Sequence\":{\"id\":\"A\"}},{\"Sequence\":{\"id\":\"A\"}}],"
            "\"special_tokens\":{}},",
            "TemplateProcessing of 'A'");
    refused("{\"type\":\"Strip\"}", "null",
            "\"added_tokens\":[{\"id\":5,\"content\":\" \","
            "\"normalized\":true}],",
            "normalized added token ' '");
    refused("{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"(a)\\\\1\"},"
            "\"content\":\"\"}",
            "null", "", "(a)\\1");
}

static void test_pipe_bounds_what_a_text_becomes(void **state)
{
    static const char grow[] = "{\"type\":\"Replace\",\"pattern\":{\"String\":"
                               "\"a\"},\"content\":\"aaaaaaaaaa\"}";
    char norm[512];
    struct tokenizer *t = NULL;
    struct token_list l = {0};
    struct err e = ERR_INIT;
    snprintf(norm, sizeof norm,
             "{\"type\":\"Sequence\",\"normalizers\":[%s,%s,%s]}", grow, grow,
             grow);
    assert_int_equal(parse(norm, "null", "", &t, &e), 0);
    assert_int_equal(tokenizer_encode(t, "aaaaaaaa", 8, 0, MAX_TOKENS, &l, &e),
                     -1);
    assert_int_equal(e.code, ERR_INVALID); /* not: too many tokens */
    token_list_fini(&l);
    tokenizer_close(t);
}

static double cpu_seconds(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return (double)ts.tv_sec + 1e-9 * (double)ts.tv_nsec;
}

/* n entries of `len` bytes that agree but for the last four, half of them
 * looked for behind the normalizer. */
static int parse_alike(int n, int len, struct err *e)
{
    struct tokenizer *t = NULL;
    struct buf b;
    char *many = mem_alloc((size_t)len + 1);
    assert_non_null(many);
    memset(many, 'x', (size_t)len);
    many[len - 4] = 0;
    buf_init(&b, (size_t)n * ((size_t)len + 128));
    buf_add_str(&b, "\"added_tokens\":[");
    for (int i = 0; i < n; i++) {
        buf_addf(&b, "%s{\"id\":%d,\"content\":\"", i ? "," : "", 5 + i);
        buf_add_str(&b, many);
        buf_addf(&b, "%04d\",\"normalized\":%s}", i, i % 2 ? "true" : "false");
    }
    buf_add_str(&b, "],");
    double from = cpu_seconds();
    int rc = parse("null", "{\"type\":\"ByteLevel\"}", b.p, &t, e);
    assert_true(cpu_seconds() - from < MOST_LOAD_S * (unit_is_slow() ? 4 : 1));
    tokenizer_close(t);
    buf_fini(&b);
    mem_free(many);
    return rc;
}

static void test_pipe_many_added_tokens_are_no_wait(void **state)
{
    struct err e = ERR_INIT;
    if (parse_alike(unit_is_slow() ? 200 : 2000, 500, &e))
        fail_msg("%s", e.msg);
    assert_int_equal(parse_alike(16, 60000, &e), -1);
    assert_non_null(strstr(e.msg, "has 60000 bytes, at most 512"));
}

/* Each takes many steps, and few enough for a text; together they are one. */
static void test_pipe_added_tokens_share_their_steps(void **state)
{
    struct tokenizer *t = NULL;
    struct err e = ERR_INIT;
    struct buf b;
    for (int n = 1; n <= 100; n += 99) {
        buf_init(&b, 1 << 15);
        buf_add_str(&b, "\"added_tokens\":[");
        for (int i = 0; i < n; i++)
            buf_addf(&b,
                     "%s{\"id\":%d,\"content\":\"aaaaaaaaaaa%dcb\","
                     "\"normalized\":true}",
                     i ? "," : "", 5 + i, i);
        buf_add_str(&b, "],");
        int rc = parse("{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"(a+)+"
                       "b\"},\"content\":\"\"}",
                       "null", b.p, &t, &e);
        buf_fini(&b);
        if (n == 1) {
            assert_int_equal(rc, 0);
            tokenizer_close(t);
        } else {
            assert_int_equal(rc, -1);
            assert_non_null(strstr(e.msg, "too many steps"));
        }
    }
}

/* A part without a token is looked up like one with. */
static void test_pipe_template_has_few_parts(void **state)
{
    struct tokenizer *t = NULL;
    struct err e = ERR_INIT;
    struct buf b;
    for (int n = 17; n <= 18; n++) {
        buf_init(&b, 1 << 12);
        buf_add_str(&b, "\"post_processor\":{\"type\":\"TemplateProcessing\","
                        "\"special_tokens\":{\"x\":{\"ids\":[]}},\"single\":"
                        "[{\"Sequence\":{\"id\":\"A\"}}");
        for (int i = 1; i < n; i++)
            buf_add_str(&b, ",{\"SpecialToken\":{\"id\":\"x\"}}");
        buf_add_str(&b, "]},");
        assert_int_equal(parse("null", "null", b.p, &t, &e), n > 17 ? -1 : 0);
        buf_fini(&b);
        if (n == 17)
            tokenizer_close(t);
    }
    assert_non_null(strstr(e.msg, "adds more than 8 tokens"));
}

/* Bytes that spell a mark are a space, and nothing where they come first:
 * Metaspace of tokenizers 0.23.3 behind its ByteFallback. */
static void test_pipe_marks_that_bytes_spell(void **state)
{
    static const char file[] =
        "{\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":"
        "\"ByteFallback\"},{\"type\":\"Metaspace\",\"replacement\":"
        "\"\xe2\x96\x81\",\"prepend_scheme\":\"always\"}]},\"model\":{"
        "\"type\":\"BPE\",\"unk_token\":\"?\",\"byte_fallback\":true,"
        "\"vocab\":{\"?\":0,\"\xe2\x96\x81"
        "a\":1,\"<0xE2>\":2,\"<0x96>\":3,\"<0x81>\":4,\"b\":5},\"merges\":"
        "[]}}";
    static const struct token ids[][6] = {
        {{2, 0, 0}, {3, 0, 0}, {4, 0, 0}, {5, 0, 0}, {5, 0, 0}},
        {{1, 0, 0}, {2, 0, 0}, {3, 0, 0}, {4, 0, 0}, {5, 0, 0}},
        {{5, 0, 0}, {2, 0, 0}, {3, 0, 0}, {4, 0, 0}, {5, 0, 0}}};
    static const char *const want[] = {"bb", "a b", "b b"};
    struct tokenizer *t = NULL;
    struct err e = ERR_INIT;
    if (tokenizer_parse(file, sizeof file - 1, "file", &t, &e))
        fail_msg("%s", e.msg);
    for (int i = 0; i < 3; i++) {
        struct token v[6];
        memcpy(v, ids[i], sizeof v);
        const struct token_list l = {.v = v, .n = 5};
        if (!check_text(t, &l, want[i]))
            fail_msg("row %d", i);
    }
    tokenizer_close(t);
}

/* LONG of `unit`, once over. */
static void takes_little(const char *norm, const char *pre, const char *unit)
{
    struct tokenizer *t = NULL;
    struct token_list l = {0};
    struct err e = ERR_INIT;
    size_t k = strlen(unit), n = LONG / (unit_is_slow() ? 8 : 1) / k * k;
    char *s = mem_alloc(n);
    assert_non_null(s);
    for (size_t i = 0; i < n; i += k)
        memcpy(s + i, unit, k);
    if (parse(norm, pre, "", &t, &e))
        fail_msg("%s", e.msg);
    int64_t from = clock_now_us();
    int rc = tokenizer_encode(t, s, n, 0, MAX_TOKENS, &l, &e);
    if (rc && e.code != ERR_INVALID && e.code != ERR_TOO_LARGE)
        fail_msg("%s", e.msg);
    assert_true(clock_now_us() - from < (int64_t)MOST_S * 1000000);
    token_list_fini(&l);
    tokenizer_close(t);
    mem_free(s);
}

static void test_pipe_takes_linear_time(void **state)
{
    static const char *const norms[] = {
        "null",
        "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFKD\"},{\"type\":"
        "\"StripAccents\"},{\"type\":\"Lowercase\"},{\"type\":\"Strip\"}]}",
        "{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"\\\\s*\"},\"content\":"
        "\"-\"}"};
    static const char *const pres[] = {
        "{\"type\":\"Whitespace\"}",
        "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Digits\","
        "\"individual_digits\":true},{\"type\":\"Split\",\"pattern\":{"
        "\"String\":\"ab\"},\"behavior\":\"MergedWithNext\",\"invert\":true},"
        "{\"type\":\"Metaspace\",\"replacement\":\"\xe2\x96\x81\"},"
        "{\"type\":\"ByteLevel\"}]}"};
    static const char *const units[] = {"a", "a ", " ", "\xcc\x81", "ab1,"};
    for (size_t i = 0; i < 3; i++)
        for (size_t j = 0; j < 2; j++)
            for (size_t k = 0; k < 5; k++)
                takes_little(norms[i], pres[j], units[k]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pipe_equals_the_reference),
        cmocka_unit_test(test_pipe_refuses_by_name),
        cmocka_unit_test(test_pipe_bounds_what_a_text_becomes),
        cmocka_unit_test(test_pipe_many_added_tokens_are_no_wait),
        cmocka_unit_test(test_pipe_added_tokens_share_their_steps),
        cmocka_unit_test(test_pipe_template_has_few_parts),
        cmocka_unit_test(test_pipe_marks_that_bytes_spell),
        cmocka_unit_test(test_pipe_takes_linear_time),
    };
    return cmocka_run_group_tests(tests, up, down);
}
