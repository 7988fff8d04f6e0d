/* Token ids against llama.cpp and Hugging Face tokenizers: the strings of
 * llama.cpp's own vocabularies (byte-level BPE, SentencePiece, WordPiece),
 * 3,000 lines of mixed text, and SmolLM2's control tokens. $SEQD_SHARED
 * (default ../shared) has the data, $SEQD_MODELS the real checkpoints; what is
 * missing is skipped.
 *
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/json.h"
#include "engine/base/mem.h"
#include "tests/support/shared_file.h"
#include "tests/support/token_vectors.h"
#include "tests/support/tokenizer_at.h"

static struct token_vectors vectors;

static void need(int rc)
{
    if (rc && vectors.n == 0) {
        print_message("skipped: no shared data\n");
        skip();
    }
    assert_int_equal(rc, 0);
}

static struct tokenizer *open_path(const char *path)
{
    struct tokenizer *t = NULL;
    struct err e = ERR_INIT;
    if (tokenizer_at(path, "t", &t, &e))
        fail_msg("%s: %s", path, e.msg);
    return t;
}

static struct tokenizer *open_shared(const char *name)
{
    char path[512];
    assert_true(shared_path(name, path, sizeof(path)));
    return open_path(path);
}

static struct tokenizer *open_model(const char *name)
{
    char path[512];
    const char *models = getenv("SEQD_MODELS");
    if (!models) {
        print_message("skipped: SEQD_MODELS is not set\n");
        skip();
    }
    snprintf(path, sizeof(path), "%s/%s", models, name);
    return open_path(path);
}

static void encode(const struct tokenizer *t, const char *text, size_t n,
                   unsigned flags, struct token_list *l)
{
    struct err e = ERR_INIT;
    l->n = 0;
    if (tokenizer_encode(t, text, n, flags, 1 << 20, l, &e))
        fail_msg("%s", e.msg);
}

/* The text that the ids stand for. */
static void decode(const struct tokenizer *t, const struct token_list *l,
                   struct buf *out)
{
    struct detok d;
    buf_clear(out);
    buf_add_str(out, "");
    detok_init(&d);
    for (int i = 0; i < l->n; i++)
        detok_next(t, &d, l->v[i].id, out);
    detok_finish(t, &d, out);
}

/* Returns how many of the texts do not come back from their ids. */
static int check_all(const char *what, const struct tokenizer *t)
{
    struct token_list l = {0};
    struct buf out;
    int lost = 0;
    buf_init(&out, 1 << 20);
    for (int i = 0; i < vectors.n; i++) {
        int32_t ids[4096];
        encode(t, vectors.text[i], vectors.len[i], 0, &l);
        assert_true(l.n <= 4096);
        for (int k = 0; k < l.n; k++)
            ids[k] = l.v[k].id;
        if (!token_vectors_same(&vectors, i, ids, l.n)) {
            fail_msg("%s, line %d: other ids than %s", what, i + 1,
                     vectors.ids[i]);
        }
        decode(t, &l, &out);
        lost += out.len != vectors.len[i] ||
                memcmp(out.p, vectors.text[i], out.len) != 0;
    }
    buf_fini(&out);
    token_list_fini(&l);
    return lost;
}

/* The 46 strings of one of llama.cpp's vocabularies; how many are lost. */
static int check_ggml(const char *name, int size)
{
    char path[128];
    need(token_vectors_ggml(&vectors, name));
    assert_int_equal(vectors.n, 46);
    snprintf(path, sizeof(path), "data/tokenizers/ggml/ggml-vocab-%s.gguf",
             name);
    struct tokenizer *t = open_shared(path);
    if (size)
        assert_int_equal(tokenizer_size(t), size);
    if (strcmp(name, "llama-spm") == 0)
        assert_int_equal(tokenizer_add_bos(t), 1);
    int lost = check_all(name, t);
    tokenizer_close(t);
    token_vectors_free(&vectors);
    return lost;
}

static void test_token_ids_of_gpt_2(void **state)
{
    (void)state;
    assert_int_equal(check_ggml("gpt-2", 0), 0);
}

static void test_token_ids_of_deepseek_coder(void **state)
{
    (void)state;
    assert_int_equal(check_ggml("deepseek-coder", 0), 0);
}

static void test_token_ids_of_falcon(void **state)
{
    (void)state;
    assert_int_equal(check_ggml("falcon", 0), 0);
}

static void test_token_ids_of_vocab_and_merges(void **state)
{
    (void)state;
    need(token_vectors_ggml(&vectors, "gpt-2"));
    struct tokenizer *t = open_shared("data/tokenizers/gpt2-hf");
    assert_int_equal(check_all("gpt2-hf", t), 0);
    token_vectors_free(&vectors);
    need(token_vectors_lines(&vectors, "gpt2"));
    assert_int_equal(vectors.n, 3000);
    assert_int_equal(check_all("gpt2-hf, lines", t), 0);
    tokenizer_close(t);
    token_vectors_free(&vectors);
}

/* Llama's vocabulary and BERT's: not every text comes back as it was. */
static void test_spm_llama_vocabulary_equals_llama_cpp(void **state)
{
    (void)state;
    check_ggml("llama-spm", 32000);
}

static void test_wordpiece_equals_ggml_on_bert_bge(void **state)
{
    (void)state;
    check_ggml("bert-bge", 30522);
}

static void test_wordpiece_equals_tokenizers_on_3000_lines(void **state)
{
    (void)state;
    struct tokenizer *t = open_model("all-minilm-l6-v2");
    need(token_vectors_lines(&vectors, "all-minilm-l6-v2"));
    assert_int_equal(vectors.n, 3000);
    check_all("all-minilm-l6-v2", t);
    tokenizer_close(t);
    token_vectors_free(&vectors);
}

/* README of the data: 6 lines do not decode to themselves, as bytes of theirs
 * have no token. */
static void test_token_ids_of_smollm2(void **state)
{
    (void)state;
    struct tokenizer *t = open_model("smollm2-135m-instruct");
    need(token_vectors_lines(&vectors, "smollm2"));
    assert_int_equal(vectors.n, 3000);
    assert_int_equal(check_all("smollm2", t), 6);
    assert_false(tokenizer_add_bos(t));
    assert_int_equal(tokenizer_eos(t), 2);
    for (int id = 0; id < tokenizer_size(t); id++) {
        assert_int_equal(tokenizer_is_end(t, id), id == 2 || id == 0);
        assert_int_equal(tokenizer_is_special(t, id), id < 17);
    }
    tokenizer_close(t);
    token_vectors_free(&vectors);
}

static void check_entry(const struct tokenizer *t, const struct json *row,
                        struct token_list *l, struct buf *text)
{
    unsigned flags =
        json_bool(json_get(row, "parse_special")) ? TOK_PARSE_SPECIAL : 0;
    const struct json *id = json_child(json_get(row, "ids"));
    int64_t want;
    buf_clear(text);
    buf_add_str(text, "");
    assert_int_equal(json_text(json_get(row, "text"), text), 0);
    encode(t, text->p, text->len, flags, l);
    for (int i = 0; i < l->n; i++, id = json_next(id))
        if (json_int(id, &want) || want != l->v[i].id)
            fail_msg("other ids for '%s'", text->p);
    assert_null(id);
}

static void test_token_ids_of_smollm2_with_control_tokens(void **state)
{
    (void)state;
    size_t n;
    int count = 0;
    struct json *root = NULL;
    struct err e = ERR_INIT;
    struct token_list l = {0};
    struct buf text;
    struct tokenizer *t = open_model("smollm2-135m-instruct");
    char *all =
        shared_read("models/smollm2-135m-instruct/tokenization.json.gz", &n);
    if (!all) {
        tokenizer_close(t);
        print_message("skipped: no shared data\n");
        skip();
    }
    if (json_parse_nul(all, n, NULL, &root, &e))
        fail_msg("%s", e.msg);
    const struct json *rows = json_get(root, "entries");
    buf_init(&text, 1 << 20);
    for (const struct json *r = json_child(rows ? rows : root); r;
         r = json_next(r)) {
        check_entry(t, r, &l, &text);
        count++;
    }
    assert_int_equal(count, 450);
    buf_fini(&text);
    token_list_fini(&l);
    json_free(root);
    free(all);
    tokenizer_close(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_token_ids_of_gpt_2),
        cmocka_unit_test(test_token_ids_of_deepseek_coder),
        cmocka_unit_test(test_token_ids_of_falcon),
        cmocka_unit_test(test_token_ids_of_vocab_and_merges),
        cmocka_unit_test(test_spm_llama_vocabulary_equals_llama_cpp),
        cmocka_unit_test(test_wordpiece_equals_ggml_on_bert_bge),
        cmocka_unit_test(test_wordpiece_equals_tokenizers_on_3000_lines),
        cmocka_unit_test(test_token_ids_of_smollm2),
        cmocka_unit_test(test_token_ids_of_smollm2_with_control_tokens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
