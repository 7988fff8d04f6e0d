/* tok_family, tok_mapped, spm_pieces: folders with SentencePiece's own files
 * give the ids and texts that sentencepiece gives, or the class of transformers
 * that reads such a folder (tests/golden/make_spm_model_fixtures.py).
 *
 * SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "engine/base/buf.h"
#include "engine/base/file.h"
#include "engine/base/json.h"
#include "engine/base/mem.h"
#include "engine/checkpoint/checkpoint.h"
#include "tests/support/temp_dir.h"
#include "tests/support/token_vectors.h"
#include "tests/support/tokenizer_at.h"
#include "tests/support/unit.h"

#define MAX_TOKENS 1000000
#define FOLDER "tests/golden/spm_model/"

static struct tokenizer *open_or_fail(const char *name)
{
    char dir[600];
    struct tokenizer *t = NULL;
    struct err e = ERR_INIT;
    snprintf(dir, sizeof dir, FOLDER "%s", name);
    if (tokenizer_at(dir, name, &t, &e))
        fail_msg("%s", e.msg);
    return t;
}

/* NULL: the folder has one tokenizer. */
static struct tokenizer *open_source(const char *dir)
{
    struct checkpoint *c = NULL;
    struct tokenizer *t = NULL;
    struct err e = ERR_INIT;
    if (checkpoint_open(dir, "m", &c, &e) || tokenizer_open_source(c, &t, &e))
        fail_msg("%s: %s", dir, e.msg);
    checkpoint_close(c);
    return t;
}

static struct json *load_json(const char *name, const char *file)
{
    char path[160];
    struct json *j = NULL;
    struct err e = ERR_INIT;
    snprintf(path, sizeof path, FOLDER "%s%s", name, file);
    if (json_load(path, name, NULL, &j, &e))
        fail_msg("%s", e.msg);
    return j;
}

/* `want`: the ids, those that stand around a text included. */
static void check_ids(const struct tokenizer *t, const char *name,
                      const char *text, const struct json *want)
{
    struct token_list l = {0};
    struct err e = ERR_INIT;
    uint32_t last = 0;
    int i = 0;
    if (tokenizer_encode(t, text, strlen(text), TOK_ADD_SPECIAL, MAX_TOKENS, &l,
                         &e))
        fail_msg("%s: %s", name, e.msg);
    for (want = json_child(want); want; want = json_next(want), i++) {
        if (i >= l.n || l.v[i].id != (int32_t)json_number(want))
            fail_msg("%s: '%s' token %d is %d, expected %d", name, text, i,
                     i < l.n ? l.v[i].id : -1, (int)json_number(want));
        assert_true(l.v[i].start >= last && l.v[i].end >= l.v[i].start &&
                    l.v[i].end <= strlen(text));
        last = l.v[i].start;
    }
    assert_int_equal(l.n, i);
    token_list_fini(&l);
}

static void check_text(const struct tokenizer *t, const char *name,
                       const struct json *ids, const char *want)
{
    struct detok d;
    struct buf out;
    buf_init(&out, 1 << 20);
    buf_add_str(&out, "");
    detok_init(&d);
    for (ids = json_child(ids); ids; ids = json_next(ids))
        assert_int_equal(detok_next(t, &d, (int32_t)json_number(ids), &out), 0);
    assert_int_equal(detok_finish(t, &d, &out), 0);
    if (want && strcmp(out.p, want) != 0)
        fail_msg("%s: '%s', expected '%s'", name, out.p, want);
    buf_fini(&out);
}

/* Each row of expected.json; `source`: NULL, or of its other ids. */
static void check_rows(const char *name, const struct tokenizer *t,
                       const struct tokenizer *source)
{
    struct json *rows = load_json(name, "/expected.json");
    assert_true(json_size(rows) >= 60);
    for (const struct json *r = json_child(rows); r; r = json_next(r)) {
        const char *text = json_string(json_get(r, "text"));
        check_ids(t, name, text, json_get(r, "ids"));
        check_text(t, name, json_get(r, "ids"),
                   json_string(json_get(r, "decoded")));
        if (source)
            check_ids(source, name, text, json_get(r, "source"));
    }
    json_free(rows);
}

static void test_family_ids_and_texts(void **state)
{
    static const char *const names[] = {
        "t5",        "llama",     "xlm-r",    "bytes", "users-unigram",
        "users-bpe", "no-prefix", "squeezed", "bare"};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct tokenizer *t = open_or_fail(names[i]);
        check_rows(names[i], t, NULL);
        tokenizer_close(t);
    }
}

static void test_family_marian_has_two_tokenizers(void **state)
{
    static const char *const names[] = {"marian", "marian-two"};
    (void)state;
    for (int i = 0; i < 2; i++) {
        char dir[600];
        snprintf(dir, sizeof dir, FOLDER "%s", names[i]);
        struct tokenizer *t = open_or_fail(names[i]), *s = open_source(dir);
        assert_non_null(s);
        check_rows(names[i], t, s);
        assert_int_equal(tokenizer_size(t) == tokenizer_size(s), i == 0);
        assert_int_equal(tokenizer_eos(s), 0);
        assert_int_equal(tokenizer_is_end(t, 0), 1);
        assert_int_equal(tokenizer_is_special(t, tokenizer_id(t, "<pad>")), 1);
        assert_int_equal(tokenizer_is_special(s, tokenizer_id(s, ">>fra<<")),
                         0);
        tokenizer_close(s);
        tokenizer_close(t);
    }
}

static void copy_file(const char *from, const char *dir, const char *name)
{
    char path[128], *bytes = NULL;
    struct err e = ERR_INIT;
    size_t n;
    snprintf(path, sizeof path, FOLDER "%s%s", from, name);
    assert_int_equal(file_read(path, "f", 1 << 20, &bytes, &n, &e), 0);
    temp_file_put(dir, name, bytes, n);
    mem_free(bytes);
}

/* mBART's and CamemBERT's models have XLM-RoBERTa's file, but other tokens. */
static void test_family_a_name_of_several_goes_by_the_models_size(void **state)
{
    static const char name[] = "sentencepiece.bpe.model";
    struct tokenizer *t = NULL;
    struct err e = ERR_INIT;
    char dir[64], config[64];
    int n, rc[3];
    (void)state;
    temp_dir_make(dir);
    copy_file("xlm-r/", dir, name);
    assert_int_equal(tokenizer_at(dir, "m", &t, &e), 0);
    n = tokenizer_size(t);
    tokenizer_close(t);
    for (int i = 0; i < 3; i++) { /* its own, more, and more with a class */
        snprintf(config, sizeof config, "{\"vocab_size\": %d}", n + 25 * !!i);
        temp_file_text(dir, "config.json", config);
        if (i == 2)
            temp_file_text(dir, "tokenizer_config.json",
                           "{\"tokenizer_class\": \"XLMRobertaTokenizer\"}");
        rc[i] = tokenizer_at(dir, "m", &t, &e);
        if (rc[i] == 0)
            tokenizer_close(t);
    }
    assert_true(rc[0] == 0 && rc[1] == -1 && rc[2] == 0);
    assert_non_null(strstr(e.msg, "no file names a 'tokenizer_class'"));
    temp_dir_drop(dir);
}

/* A tokenizer.json beside Marian's files is not what transformers reads. */
static void test_family_marian_needs_no_tokenizer_json(void **state)
{
    static const char *const files[] = {"source.spm", "target.spm",
                                        "vocab.json", "tokenizer_config.json"};
    char dir[64];
    struct tokenizer *t = NULL;
    struct err e = ERR_INIT;
    (void)state;
    temp_dir_make(dir);
    for (int i = 0; i < 4; i++)
        copy_file("marian/", dir, files[i]);
    temp_file_text(dir, "tokenizer.json", "{}");
    if (tokenizer_at(dir, "m", &t, &e))
        fail_msg("%s", e.msg);
    struct tokenizer *s = open_source(dir);
    check_rows("marian", t, s);
    tokenizer_close(s);
    tokenizer_close(t);
    temp_dir_drop(dir);
}

/* T5's sentinels count down behind the pieces, and come from no plain text. */
static void test_family_t5_has_sentinels(void **state)
{
    struct tokenizer *t = open_or_fail("t5");
    int n = tokenizer_size(t);
    (void)state;
    assert_int_equal(tokenizer_id(t, "<extra_id_0>"), n - 1);
    assert_int_equal(tokenizer_id(t, "<extra_id_9>"), n - 10);
    assert_int_equal(tokenizer_id(t, "<extra_id_10>"), -1);
    struct token_list l = {0};
    const char *text = "the <extra_id_1> house";
    assert_int_equal(tokenizer_encode(t, text, strlen(text), TOK_PARSE_SPECIAL,
                                      100, &l, NULL),
                     0);
    int found = 0;
    for (int i = 0; i < l.n; i++)
        found += l.v[i].id == n - 2;
    assert_int_equal(found, 1);
    l.n = 0;
    assert_int_equal(tokenizer_encode(t, text, strlen(text), 0, 100, &l, NULL),
                     0);
    for (int i = 0; i < l.n; i++)
        assert_true(l.v[i].id < n - 10);
    token_list_fini(&l);
    tokenizer_close(t);
}

/* A source may have a file of ours. */
static void test_family_source_tokenizer_json(void **state)
{
    static const char *const file =
        "{\"model\":{\"type\":\"WordLevel\",\"unk_token\":\"<unk>\",\"vocab\":"
        "{\"<unk>\":0,\"%s\":1}},\"normalizer\":{\"type\":\"seqd-whitespace\"},"
        "\"added_tokens\":[{\"id\":0,\"content\":\"<unk>\",\"special\":true}],"
        "\"seqd\":{\"add_bos\":false}}";
    char dir[64], text[512];
    (void)state;
    temp_dir_make(dir);
    snprintf(text, sizeof text, file, "ja");
    temp_file_text(dir, "tokenizer.json", text);
    assert_null(open_source(dir));
    snprintf(text, sizeof text, file, "yes");
    temp_file_text(dir, "source_tokenizer.json", text);
    struct tokenizer *s = open_source(dir);
    assert_int_equal(tokenizer_id(s, "yes"), 1);
    tokenizer_close(s);
    temp_dir_drop(dir);
}

/* --- 3,000 lines --- */

static uint32_t fnv(uint32_t h, const char *s)
{
    for (; *s; s++)
        h = (h ^ (unsigned char)*s) * 0x01000193u;
    return h;
}

static void check_lines(const struct token_vectors *v, struct tokenizer *t,
                        const char *name, const struct json *sums)
{
    struct token_list l = {0};
    int i = 0;
    for (const struct json *j = json_child(sums); j; j = json_next(j)) {
        uint32_t h = 0x811c9dc5u;
        for (int end = i + 100; i < end && i < v->n; i++) {
            char text[16];
            l.n = 0;
            assert_int_equal(tokenizer_encode(t, v->text[i], v->len[i], 0,
                                              MAX_TOKENS, &l, NULL),
                             0);
            for (int k = 0; k < l.n; k++) {
                snprintf(text, sizeof text, "%d ", l.v[k].id);
                h = fnv(h, text);
            }
            h = fnv(h, "\n");
        }
        if (h != (uint32_t)strtoul(json_string(j), NULL, 16))
            fail_msg("%s: other ids before line %d", name, i);
    }
    assert_int_equal(i, 3000);
    token_list_fini(&l);
    tokenizer_close(t);
}

/* The lines lie outside, and so does a published model. */
static struct tokenizer *open_line_model(const char *name)
{
    char path[512];
    struct tokenizer *t = NULL;
    const char *models = getenv("SEQD_MODELS");
    struct err e = ERR_INIT;
    snprintf(path, sizeof path, "%.*s", (int)strcspn(name, "/"), name);
    if (strncmp(path, "marian-tiny", 11) != 0)
        return open_or_fail(path);
    if (!models)
        return NULL;
    snprintf(path, sizeof path, "%s/%.*s", models, (int)strcspn(name, "/"),
             name);
    if (tokenizer_at(path, "m", &t, &e))
        fail_msg("%s", e.msg);
    return t;
}

static void test_family_ids_of_3000_lines(void **state)
{
    static struct token_vectors v;
    (void)state;
    if (token_vectors_lines(&v, "gpt2")) { /* any, for the lines */
        print_message("skipped: no shared data\n");
        skip();
    }
    struct json *sums = load_json("", "lines.json");
    assert_int_equal(json_size(sums), 9);
    for (const struct json *j = json_child(sums); j; j = json_next(j)) {
        struct tokenizer *t = open_line_model(json_key(j));
        if (t)
            check_lines(&v, t, json_key(j), j);
    }
    json_free(sums);
    token_vectors_free(&v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_family_ids_and_texts),
        cmocka_unit_test(test_family_marian_has_two_tokenizers),
        cmocka_unit_test(test_family_marian_needs_no_tokenizer_json),
        cmocka_unit_test(test_family_a_name_of_several_goes_by_the_models_size),
        cmocka_unit_test(test_family_t5_has_sentinels),
        cmocka_unit_test(test_family_source_tokenizer_json),
        cmocka_unit_test(test_family_ids_of_3000_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
