/* The tokenizer of a GGUF file: kinds of tokens, the tokens around a text, the
 * ends of generation, and what is refused. Expected: ggml's docs/gguf.md and
 * llama.cpp's src/llama-vocab.cpp.
 *
 * SPDX-License-Identifier: MIT */
#include <unistd.h>

#include "tests/support/gguf_make.h"
#include "tests/support/tokenizer_at.h"
#include "tests/support/unit.h"

/* Ids and token_type: 1 plain, 3 control, 4 user-defined. */
static const char *const entries[] = {"a",          "b",          "ab",
                                      "\xc4\xa0",   "<s>",        "</s>",
                                      "<|im_end|>", "<|eot_id|>", "<tool>"};
static const int types[] = {1, 1, 1, 1, 3, 3, 4, 3, 4};
#define N ((int)(sizeof(types) / sizeof(types[0])))

struct made {
    const char *pre;
    int add_bos, add_eos; /* -1: not said */
    int n_types;
    const char *merge;
};

static void write_file(const struct made *m, const char *path)
{
    struct buf b;
    uint64_t keys = 7 + (m->add_bos >= 0) + (m->add_eos >= 0);
    buf_init(&b, 1 << 20);
    gm_head(&b, 3, 0, keys);
    gm_kv_string(&b, "general.architecture", "gpt2");
    gm_kv_string(&b, "tokenizer.ggml.model", "gpt2");
    gm_kv_string(&b, "tokenizer.ggml.pre", m->pre);
    gm_kv_array(&b, "tokenizer.ggml.tokens", GGUF_STRING, N);
    for (int i = 0; i < N; i++)
        gm_string(&b, entries[i]);
    gm_kv_array(&b, "tokenizer.ggml.token_type", GGUF_I32,
                (uint64_t)m->n_types);
    for (int i = 0; i < m->n_types; i++)
        gm_int(&b, 4, (uint64_t)types[i]);
    gm_kv_array(&b, "tokenizer.ggml.merges", GGUF_STRING, 1);
    gm_string(&b, m->merge);
    gm_kv_int(&b, "tokenizer.ggml.bos_token_id", GGUF_U32, 4);
    if (m->add_bos >= 0) {
        gm_kv_int(&b, "tokenizer.ggml.add_bos_token", GGUF_BOOL,
                  (uint64_t)m->add_bos);
    }
    if (m->add_eos >= 0) {
        gm_kv_int(&b, "tokenizer.ggml.add_eos_token", GGUF_BOOL,
                  (uint64_t)m->add_eos);
    }
    gm_align(&b, 32);
    assert_int_equal(gm_write(&b, path), 0);
    buf_fini(&b);
}

static int open_made(const struct made *m, struct tokenizer **t, struct err *e)
{
    char path[] = "/tmp/seqd-gguf-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    write_file(m, path);
    int rc = tokenizer_at(path, "m", t, e);
    unlink(path);
    return rc;
}

static struct tokenizer *made(const struct made *m)
{
    struct tokenizer *t = NULL;
    struct err e = ERR_INIT;
    if (open_made(m, &t, &e))
        fail_msg("%s", e.msg);
    return t;
}

static void expect_ids(const struct tokenizer *t, const char *text,
                       unsigned flags, const int *want, int n)
{
    struct token_list l = {0};
    assert_int_equal(
        tokenizer_encode(t, text, strlen(text), flags, 100, &l, NULL), 0);
    assert_int_equal(l.n, n);
    for (int i = 0; i < n; i++)
        assert_int_equal(l.v[i].id, want[i]);
    token_list_fini(&l);
}

static void test_tok_gguf_kinds_of_tokens(void **state)
{
    const struct made m = {"gpt-2", -1, -1, N, "a b"};
    struct tokenizer *t = made(&m);
    /* User-defined tokens always, control tokens on request; <|im_end|> is a
     * control token whatever the file says. */
    expect_ids(t, "ab<tool>a", 0, (const int[]){2, 8, 0}, 3);
    expect_ids(t, "a<|im_end|>b", TOK_PARSE_SPECIAL, (const int[]){0, 6, 1}, 3);
    assert_true(tokenizer_is_special(t, 6));
    assert_false(tokenizer_is_special(t, 8));
    assert_false(tokenizer_add_bos(t));
    tokenizer_close(t);
}

static void test_tok_gguf_ends(void **state)
{
    const struct made m = {"gpt-2", -1, -1, N, "a b"};
    struct tokenizer *t = made(&m);
    for (int id = 0; id < N; id++)
        assert_int_equal(tokenizer_is_end(t, id), id == 6 || id == 7);
    tokenizer_close(t);
}

static void test_tok_gguf_begin_token(void **state)
{
    const struct made says_no = {"llama-bpe", 0, -1, N, "a b"};
    const struct made silent = {"llama-bpe", -1, -1, N, "a b"};
    const struct made yes = {"gpt-2", 1, -1, N, "a b"};
    struct tokenizer *t = made(&says_no);
    assert_false(tokenizer_add_bos(t));
    tokenizer_close(t);
    t = made(&silent); /* Llama 3's files need not say it */
    assert_true(tokenizer_add_bos(t));
    tokenizer_close(t);
    t = made(&yes);
    expect_ids(t, "a", TOK_ADD_SPECIAL, (const int[]){4, 0}, 2);
    expect_ids(t, "a", 0, (const int[]){0}, 1);
    tokenizer_close(t);
}

static void test_tok_gguf_refuses(void **state)
{
    static const struct {
        struct made m;
        const char *cause;
    } cases[] = {
        {{"odd-pre", -1, -1, N, "a b"},
         ": tokenizer.ggml.pre 'odd-pre' is not supported"},
        {{"gpt-2", -1, -1, 2, "a b"}, "token_type is shorter"},
        {{"gpt-2", -1, -1, N, "ab"}, "merge 0 is not two entries"},
        {{"gpt-2", -1, -1, N, "b a"}, "merge 0 'b a' is of or makes"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct tokenizer *t = NULL;
        struct err e = ERR_INIT;
        assert_int_equal(open_made(&cases[i].m, &t, &e), -1);
        assert_null(t);
        if (!strstr(e.msg, cases[i].cause) || memcmp(e.msg, "m/seqd-", 7) ||
            strstr(e.msg, "/tmp"))
            fail_msg("'%s' lacks '%s'", e.msg, cases[i].cause);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tok_gguf_kinds_of_tokens),
        cmocka_unit_test(test_tok_gguf_ends),
        cmocka_unit_test(test_tok_gguf_begin_token),
        cmocka_unit_test(test_tok_gguf_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
