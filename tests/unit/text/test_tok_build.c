/* tok_build: what the trainer writes is what the reader reads, and entries that
 * could not be read are refused.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/base/json.h"
#include "engine/text/tokenizer.h"
#include "tests/support/unit.h"

static struct tokenizer *build(const struct tokenizer_spec *s,
                               const char *const *entries, int n)
{
    struct tokenizer *t = NULL;
    struct buf out;
    struct err e = ERR_INIT;
    buf_init(&out, 1 << 20);
    if (tokenizer_build(s, entries, n, &out, &e) ||
        tokenizer_parse(out.p, out.len, "t", &t, &e))
        fail_msg("%s", e.msg);
    assert_int_equal(tokenizer_size(t), n);
    for (int i = 0; i < n; i++)
        assert_string_equal(tokenizer_text(t, i), entries[i]);
    buf_fini(&out);
    return t;
}

static void test_tokenizer_build_words(void **state)
{
    const char *const entries[] = {"<unk>", "<s>", "\"", "caf\xc3\xa9", "\\"};
    const struct tokenizer_spec s = {.normalizer = "seqd-english",
                                     .lowercase = 0,
                                     .unk = "<unk>",
                                     .bos = "<s>",
                                     .eos = "<s>",
                                     .add_bos = 1};
    struct tokenizer *t = build(&s, entries, 5);
    assert_int_equal(tokenizer_unk(t), 0);
    assert_int_equal(tokenizer_bos(t), 1);
    assert_int_equal(tokenizer_eos(t), 1);
    assert_int_equal(tokenizer_add_bos(t), 1);
    assert_true(tokenizer_is_special(t, 0) && tokenizer_is_special(t, 1));
    assert_false(tokenizer_is_special(t, 2));
    struct token_list l = {0};
    struct err e = ERR_INIT;
    tokenizer_encode(t, "CAF\xc3\x89 caf\xc3\xa9", 11, 0, 10, &l, &e);
    assert_int_equal(l.v[0].id, 0); /* case is kept: not in the vocabulary */
    assert_int_equal(l.v[1].id, 3);
    token_list_fini(&l);
    tokenizer_close(t);
}

/* A line feed that ends a tune is a character like others; the end token of a
 * word model is special even where it is the line feed's name. */
static void test_tokenizer_build_ends_of_text(void **state)
{
    const char *const chars[] = {"\n", "a", "<unk>"};
    const char *const words[] = {"<unk>", "<eos>", "a"};
    const struct tokenizer_spec c = {
        .normalizer = "seqd-characters", .unk = "<unk>", .eos = "\n"};
    const struct tokenizer_spec w = {.normalizer = "seqd-whitespace",
                                     .newline = "<eos>",
                                     .unk = "<unk>",
                                     .eos = "<eos>"};
    struct token_list l = {0};
    struct err e = ERR_INIT;
    struct tokenizer *t = build(&c, chars, 3);
    assert_int_equal(tokenizer_eos(t), 0);
    assert_false(tokenizer_is_special(t, 0));
    assert_true(tokenizer_is_special(t, 2));
    tokenizer_encode(t, "a\n", 2, 0, 10, &l, &e);
    assert_int_equal(l.n, 2);
    assert_int_equal(l.v[1].id, 0);
    token_list_fini(&l);
    tokenizer_close(t);
    t = build(&w, words, 3);
    assert_true(tokenizer_is_special(t, 1));
    tokenizer_encode(t, "a\n<eos>", 7, 0, 10, &l, &e);
    assert_int_equal(l.n, 3);
    assert_int_equal(l.v[1].id, 1);
    assert_int_equal(l.v[2].id, 0);
    token_list_fini(&l);
    tokenizer_close(t);
}

static void test_tokenizer_build_is_a_hugging_face_file(void **state)
{
    const char *const entries[] = {"<unk>", "b"};
    const struct tokenizer_spec s = {
        .normalizer = "seqd-english", .lowercase = 1, .unk = "<unk>"};
    struct buf out;
    struct json *j = NULL;
    struct err e = ERR_INIT;
    buf_init(&out, 1 << 16);
    assert_int_equal(tokenizer_build(&s, entries, 2, &out, &e), 0);
    assert_int_equal(json_parse(out.p, out.len, NULL, &j, &e), 0);
    const struct json *model = json_get(j, "model");
    assert_string_equal(json_string(json_get(j, "version")), "1.0");
    assert_string_equal(json_string(json_get(model, "type")), "WordLevel");
    assert_true(json_number(json_get(json_get(model, "vocab"), "b")) == 1);
    const struct json *norm = json_get(j, "normalizer");
    assert_int_equal(json_bool(json_get(norm, "lowercase")), 1);
    assert_int_equal(json_size(json_get(j, "added_tokens")), 1);
    json_free(j);
    buf_fini(&out);
}

static void test_tokenizer_build_refuses(void **state)
{
    static const struct {
        struct tokenizer_spec s;
        const char *entry;
        enum err_code code;
    } cases[] = {
        {{.normalizer = "seqd-klingon"}, "a", ERR_UNSUPPORTED},
        {{.normalizer = NULL}, "a", ERR_UNSUPPORTED},
        {{.normalizer = "seqd-english", .unk = "<unk>"}, "a", ERR_INVALID},
        {{.normalizer = "seqd-english", .bos = "<s>"}, "a", ERR_INVALID},
        {{.normalizer = "seqd-english", .eos = "<s>"}, "a", ERR_INVALID},
        {{.normalizer = "seqd-english", .mask = "<mask>"}, "a", ERR_INVALID},
        {{.normalizer = "seqd-whitespace", .newline = "x"}, "a", ERR_INVALID},
        {{.normalizer = "seqd-english"}, "", ERR_INVALID},
        {{.normalizer = "seqd-english"}, "a\xff", ERR_INVALID},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct buf out;
        struct err e = ERR_INIT;
        buf_init(&out, 1 << 16);
        assert_int_equal(
            tokenizer_build(&cases[i].s, &cases[i].entry, 1, &out, &e), -1);
        assert_int_equal(e.code, cases[i].code);
        buf_fini(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tokenizer_build_words),
        cmocka_unit_test(test_tokenizer_build_ends_of_text),
        cmocka_unit_test(test_tokenizer_build_is_a_hugging_face_file),
        cmocka_unit_test(test_tokenizer_build_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
