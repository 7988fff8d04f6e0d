/* What a byte-level BPE vocabulary learns from a text: against the plainest of
 * learners and Hugging Face's file (tests/golden/make_bpe_learn_fixtures.py),
 * and against the 243 merges that somebody else learned.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/base/file.h"
#include "engine/base/json.h"
#include "engine/base/mem.h"
#include "models/train/vocab.h"
#include "tests/support/golden.h"
#include "tests/support/oom_sweep.h"
#include "tests/support/shared_file.h"
#include "tests/support/temp_dir.h"
#include "tests/support/unit.h"

#define FIXTURE "tests/golden/bpe_learn/"
#define SPECIAL "<pad>,>>fr<<,>>de<<"
#define MAX_IDS 128

static struct options with(const char *files, int size, const char *special)
{
    return (struct options){.data = files,
                            .tokenizer = TOKENIZER_BPE,
                            .sub_words = size,
                            .vocab_size = 100,
                            .min_count = 1,
                            .special = special};
}

static const struct data_format lines = {.record = RECORD_LINE};

static void learn(const struct options *o, struct buf *out, struct buf *setup)
{
    struct err e = ERR_INIT;
    buf_init(out, 1 << 24);
    buf_init(setup, 1 << 20);
    if (vocab_files(o, &lines, out, setup, &e) != 0)
        fail_msg("%s", e.msg);
}

static struct json *parsed(const char *text, size_t n)
{
    struct err e = ERR_INIT;
    struct json *j = NULL;
    if (json_parse_nul(text, n, NULL, &j, &e) != 0)
        fail_msg("%s", e.msg);
    return j;
}

static struct json *loaded(const char *path)
{
    struct err e = ERR_INIT;
    char *text;
    size_t n;
    if (file_read(path, path, 1 << 24, &text, &n, &e) != 0)
        fail_msg("%s", e.msg);
    struct json *j = parsed(text, n);
    mem_free(text);
    return j;
}

/* The same members and elements; objects in any order. */
static void assert_same(const struct json *a, const struct json *b,
                        const char *where)
{
    if (json_type(a) != json_type(b) || json_size(a) != json_size(b))
        fail_msg("%s: another type, or another number of members", where);
    const struct json *y = json_child(b);
    for (const struct json *x = json_child(a); x; x = json_next(x)) {
        const char *key = json_key(x);
        assert_same(x, key ? json_get(b, key) : y, key ? key : where);
        y = json_next(y);
    }
    if (json_type(a) == JSON_STRING &&
        strcmp(json_string(a), json_string(b)) != 0)
        fail_msg("%s: '%s', expected '%s'", where, json_string(a),
                 json_string(b));
    if (json_number(a) != json_number(b) || json_bool(a) != json_bool(b))
        fail_msg("%s: %g, expected %g", where, json_number(a), json_number(b));
}

static void test_learned_file_is_the_one_of_hugging_face(void **state)
{
    struct options o = with(FIXTURE "text.txt", 640, SPECIAL);
    struct buf out, setup;
    learn(&o, &out, &setup);
    struct json *got = parsed(out.p, out.len);
    struct json *want = loaded(FIXTURE "tokenizer.json");
    assert_int_equal(json_size(json_get(json_get(want, "model"), "merges")),
                     380);
    assert_same(got, want, "tokenizer.json");
    json_free(got);
    json_free(want);
    buf_fini(&out);
    buf_fini(&setup);
}

static void expect_ids(const struct token_list *l, const struct json *want,
                       const char *text)
{
    int32_t ids[MAX_IDS];
    int n = golden_ids(want, ids, MAX_IDS);
    int same = l->n == n;
    for (int i = 0; i < n && same; i++)
        same = l->v[i].id == ids[i];
    if (!same)
        fail_msg("'%s': %d ids, expected %d, or other ones", text, l->n, n);
}

/* One row of cases.json. */
static void expect_case(const struct tokenizer *t, const struct json *row)
{
    struct token_list l = {0};
    struct err e = ERR_INIT;
    struct buf text, back;
    struct detok d;
    const struct json *plain = json_next(json_child(row));
    const struct json *around = json_next(plain);
    buf_init(&text, 1 << 12);
    buf_init(&back, 1 << 12);
    json_text(json_child(row), &text);
    const char *s = text.len > 0 ? text.p : "";
    assert_int_equal(
        tokenizer_encode(t, s, text.len, TOK_PARSE_SPECIAL, INT32_MAX, &l, &e),
        0);
    expect_ids(&l, plain, s);
    l.n = 0;
    assert_int_equal(tokenizer_encode(t, s, text.len,
                                      TOK_PARSE_SPECIAL | TOK_ADD_SPECIAL,
                                      INT32_MAX, &l, &e),
                     0);
    expect_ids(&l, around, s);
    detok_init(&d);
    for (int i = 0; i < l.n; i++)
        detok_next(t, &d, l.v[i].id, &back);
    detok_finish(t, &d, &back);
    buf_clear(&text);
    json_text(json_next(around), &text);
    assert_int_equal(back.len, text.len);
    assert_memory_equal(back.len > 0 ? back.p : "", text.len > 0 ? text.p : "",
                        text.len);
    token_list_fini(&l);
    buf_fini(&text);
    buf_fini(&back);
}

static void test_learned_ids_are_those_of_hugging_face(void **state)
{
    struct options o = with(FIXTURE "text.txt", 640, SPECIAL);
    struct err e = ERR_INIT;
    struct tokenizer *t;
    struct buf out, setup;
    int n = 0;
    learn(&o, &out, &setup);
    if (tokenizer_parse_both(out.p, out.len, setup.p, setup.len, &t, &e) != 0)
        fail_msg("%s", e.msg);
    assert_int_equal(tokenizer_size(t), 640);
    assert_int_equal(tokenizer_level(t), TOK_LEVEL_SUBWORD);
    assert_int_equal(tokenizer_bos(t), 0);
    assert_int_equal(tokenizer_eos(t), 0);
    assert_int_equal(tokenizer_add_bos(t), 1);
    assert_int_equal(tokenizer_can_miss(t), 0);
    assert_int_equal(tokenizer_id(t, "<pad>"), 1);
    for (int i = 0; i < 4; i++)
        assert_true(tokenizer_is_special(t, i));
    struct json *cases = loaded(FIXTURE "cases.json");
    for (const struct json *row = json_child(cases); row; row = json_next(row))
        expect_case(t, row), n++;
    assert_true(n > 25);
    json_free(cases);
    tokenizer_close(t);
    buf_fini(&out);
    buf_fini(&setup);
}

static void test_learned_merges_are_those_of_others(void **state)
{
    char path[512], line[256];
    struct buf out, setup;
    size_t n;
    char *want = shared_read(
        "data/tokenizers/bpe-train/train-bpe-reference-merges.txt", &n);
    if (want == NULL || !shared_path("data/tokenizers/bpe-train/corpus.en",
                                     path, sizeof path)) {
        print_message("skipped: no shared data\n");
        skip();
    }
    struct options o = with(path, 500, NULL);
    learn(&o, &out, &setup);
    struct json *j = parsed(out.p, out.len);
    const struct json *m = json_child(json_get(json_get(j, "model"), "merges"));
    int k = 0;
    for (char *at = want; *at != '\0'; k++, m = json_next(m)) {
        assert_non_null(m);
        snprintf(line, sizeof line, "%s %s", json_string(json_child(m)),
                 json_string(json_next(json_child(m))));
        at[strcspn(at, "\n")] = '\0';
        assert_string_equal(line, at);
        at += strlen(at) + 1;
    }
    assert_null(m);
    assert_int_equal(k, 243);
    json_free(j);
    free(want);
    buf_fini(&out);
    buf_fini(&setup);
}

/* Texts added one by one are one vocabulary, whatever their order. */
static void test_learned_from_both_sides_is_joint(void **state)
{
    static const char *const texts[] = {"low lower lowest low", "new newer",
                                        "lower newer wider wider"};
    struct options o = with(NULL, 270, NULL);
    struct buf got[2];
    for (int way = 0; way < 2; way++) {
        struct err e = ERR_INIT;
        struct vocab *v;
        assert_int_equal(vocab_open(&o, &lines, &v, &e), 0);
        for (int i = 0; i < 3; i++) {
            const char *s = texts[way ? 2 - i : i];
            assert_int_equal(vocab_add(v, s, strlen(s), &e), 0);
        }
        buf_init(&got[way], 1 << 20);
        assert_int_equal(vocab_write(v, &got[way], &e), 0);
        vocab_close(v);
    }
    assert_string_equal(got[0].p, got[1].p);
    /* "er" stands 5 times, each other pair 4 times at most */
    assert_non_null(strstr(got[0].p, "\"merges\":[\n[\"e\",\"r\"]"));
    buf_fini(&got[0]);
    buf_fini(&got[1]);
}

static void test_learned_words_are_no_special_tokens(void **state)
{
    struct options o = with(NULL, 300, "abab");
    struct err e = ERR_INIT;
    struct vocab *v;
    struct buf b;
    assert_int_equal(vocab_open(&o, &lines, &v, &e), 0);
    for (int i = 0; i < 9; i++)
        assert_int_equal(vocab_add(v, "abab ababab", 11, &e), 0);
    buf_init(&b, 1 << 20);
    assert_int_equal(vocab_write(v, &b, &e), 0);
    assert_non_null(strstr(b.p, "[\"a\",\"b\"]"));
    assert_null(strstr(b.p, "[\"ab\",\"ab\"]"));
    assert_null(strstr(b.p, "[\"a\",\"bab\"]"));
    vocab_close(v);
    buf_fini(&b);
}

/* A line of one letter would be one entry, longer than one can be. */
static void test_learned_entries_are_no_longer_than_they_can_be(void **state)
{
    enum { LONG = 1 << 19 };
    struct options o = with(NULL, 300, NULL);
    struct err e = ERR_INIT;
    struct vocab *v;
    struct tokenizer *t;
    struct buf b;
    char *text = mem_alloc(LONG);
    memset(text, 0xc3, LONG); /* letters of two bytes, as its alphabet's */
    for (int i = 1; i < LONG; i += 2)
        text[i] = (char)0xa4;
    assert_int_equal(vocab_open(&o, &lines, &v, &e), 0);
    assert_int_equal(vocab_add(v, text, LONG, &e), 0);
    buf_init(&b, 1 << 24);
    assert_int_equal(vocab_write(v, &b, &e), 0);
    if (tokenizer_parse(b.p, b.len, "test", &t, &e) != 0)
        fail_msg("%s", e.msg);
    tokenizer_close(t);
    vocab_close(v);
    buf_fini(&b);
    mem_free(text);
}

static void test_learned_refuses_what_cannot_be(void **state)
{
    static const struct {
        int size;
        const char *special, *message;
    } rows[] = {
        {256, NULL, "bpe:256 has too few entries: 256 bytes and 1 special"},
        {258, "<a>,<b>", "are 259"},
        {300, "x", "--special has 'x', expected tokens of two characters"},
        {300, "<a>,,<b>", "--special has ''"},
        {300, "<a>,<b>,<a>", "'<a>' is there twice"},
        {300, "</s>", "'</s>' is there twice"},
        {300, "a\xff", "--special has"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct options o = with(NULL, rows[i].size, rows[i].special);
        struct err e = ERR_INIT;
        struct vocab *v = NULL;
        assert_int_equal(vocab_open(&o, &lines, &v, &e), -1);
        assert_null(v);
        if (strstr(e.msg, rows[i].message) == NULL)
            fail_msg("'%s' lacks '%s'", e.msg, rows[i].message);
    }
}

/* Of pairs: the end behind each text, nothing before it. */
static void test_learned_texts_end_where_asked(void **state)
{
    char *names[] = {"<pad>", ">>fr<<"};
    struct labels controls = {.name = {names[0], names[1]}, .n = 2};
    struct data_format f = {.controls = &controls, .add_eos = 1, .masked = 1};
    struct options o = with(NULL, 300, ">>de<<");
    struct err e = ERR_INIT;
    struct token_list l = {0};
    struct tokenizer *t;
    struct vocab *v;
    struct buf b, setup;
    int before, after;
    buf_init(&b, 1 << 20);
    buf_init(&setup, 1 << 16);
    assert_int_equal(vocab_open(&o, &f, &v, &e), 0);
    assert_int_equal(vocab_add(v, "so so", 5, &e), 0);
    assert_int_equal(vocab_write(v, &b, &e), 0);
    assert_int_equal(vocab_write_setup(v, &setup, &e), 0);
    vocab_close(v);
    if (tokenizer_parse_both(b.p, b.len, setup.p, setup.len, &t, &e) != 0)
        fail_msg("%s", e.msg);
    static const char *const want[] = {"</s>", "<mask>", "<pad>", ">>fr<<",
                                       ">>de<<"};
    for (int i = 0; i < 5; i++) {
        assert_string_equal(tokenizer_text(t, i), want[i]);
        assert_true(tokenizer_is_special(t, i));
    }
    assert_int_equal(tokenizer_mask(t), 1);
    assert_int_equal(tokenizer_bos(t), -1);
    assert_int_equal(tokenizer_eos(t), 0);
    tokenizer_around(t, &before, &after);
    assert_true(before == 0 && after == 1);
    assert_int_equal(tokenizer_encode(t, ">>fr<<so", 8,
                                      TOK_ADD_SPECIAL | TOK_PARSE_SPECIAL,
                                      INT32_MAX, &l, &e),
                     0);
    assert_int_equal(l.n, 3);
    assert_true(l.v[0].id == 3 && l.v[2].id == 0);
    assert_string_equal(tokenizer_text(t, l.v[1].id), "so");
    token_list_fini(&l);
    tokenizer_close(t);
    buf_fini(&b);
    buf_fini(&setup);
}

static void test_learned_words_have_controls_too(void **state)
{
    char dir[64], path[96];
    struct err e = ERR_INIT;
    struct tokenizer *t;
    struct buf b;
    temp_dir_make(dir);
    temp_file_text(dir, "t", "a b a\n");
    snprintf(path, sizeof path, "%s/t", dir);
    struct options o = with(path, 100, ">>fr<<");
    o.tokenizer = TOKENIZER_WHITESPACE;
    buf_init(&b, 1 << 16);
    assert_int_equal(vocab_build(&o, &lines, &b, &e), 0);
    assert_int_equal(tokenizer_parse(b.p, b.len, "t", &t, &e), 0);
    assert_int_equal(tokenizer_size(t), 5); /* <unk> </s> >>fr<< a b */
    assert_int_equal(tokenizer_id(t, ">>fr<<"), 2);
    assert_true(tokenizer_is_special(t, 2));
    tokenizer_close(t);
    buf_fini(&b);
    temp_dir_drop(dir);
}

static int learn_all(void *arg, struct err *e)
{
    struct buf out, setup;
    buf_init(&out, 1 << 20);
    buf_init(&setup, 1 << 16);
    int rc = vocab_files(arg, &lines, &out, &setup, e);
    buf_fini(&out);
    buf_fini(&setup);
    return rc;
}

static void test_learning_survives_each_failed_allocation(void **state)
{
    char dir[64], path[96];
    temp_dir_make(dir);
    temp_file_text(dir, "t", "low lower lowest newer newest wider widest\n");
    snprintf(path, sizeof path, "%s/t", dir);
    struct options o = with(path, 264, ">>fr<<");
    assert_true(oom_sweep(learn_all, &o) > 30);
    temp_dir_drop(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_learned_file_is_the_one_of_hugging_face),
        cmocka_unit_test(test_learned_ids_are_those_of_hugging_face),
        cmocka_unit_test(test_learned_merges_are_those_of_others),
        cmocka_unit_test(test_learned_from_both_sides_is_joint),
        cmocka_unit_test(test_learned_words_are_no_special_tokens),
        cmocka_unit_test(test_learned_entries_are_no_longer_than_they_can_be),
        cmocka_unit_test(test_learned_refuses_what_cannot_be),
        cmocka_unit_test(test_learned_texts_end_where_asked),
        cmocka_unit_test(test_learned_words_have_controls_too),
        cmocka_unit_test(test_learning_survives_each_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
