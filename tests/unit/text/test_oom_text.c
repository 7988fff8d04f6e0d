/* oom: every allocation of text fails once.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/base/mem.h"
#include "tests/support/oom_sweep.h"
#include "tests/support/tokenizer_at.h"
#include "tests/support/unit.h"

static const char *const entries[] = {"<unk>", "<s>", "a", "b", "c"};
static const struct tokenizer_spec spec = {
    .normalizer = "seqd-english", .lowercase = 1, .unk = "<unk>", .bos = "<s>"};

static int build(void *arg, struct err *e)
{
    (void)arg;
    struct buf out;
    buf_init(&out, 1 << 20);
    int rc = tokenizer_build(&spec, entries, 5, &out, e);
    buf_fini(&out);
    return rc;
}

static int parse(void *arg, struct err *e)
{
    const struct buf *text = arg;
    struct tokenizer *t;
    if (tokenizer_parse(text->p, text->len, "t", &t, e))
        return -1;
    tokenizer_close(t);
    return 0;
}

static int encode(void *arg, struct err *e)
{
    struct token_list l = {0};
    char text[1000];
    memset(text, ' ', sizeof(text));
    for (size_t i = 0; i < sizeof(text); i += 2)
        text[i] = 'a';
    int rc =
        tokenizer_encode(arg, text, sizeof(text), TOK_ADD_SPECIAL, 1000, &l, e);
    token_list_fini(&l);
    return rc;
}

static void test_oom_tokenizer(void **state)
{
    struct buf text;
    struct tokenizer *t = NULL;
    struct err e = ERR_INIT;
    assert_true(oom_sweep(build, NULL) >= 2);
    buf_init(&text, 1 << 20);
    assert_int_equal(tokenizer_build(&spec, entries, 5, &text, &e), 0);
    assert_true(oom_sweep(parse, &text) >= 8);
    assert_int_equal(tokenizer_parse(text.p, text.len, "t", &t, &e), 0);
    assert_true(oom_sweep(encode, t) >= 4);
    tokenizer_close(t);
    buf_fini(&text);
}

/* Byte-level BPE: its file, and a text that is normalised and cut. */
static const char bpe[] =
    "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"ab\":2,"
    "\"<e>\":3},\"merges\":[\"a b\"]},\"normalizer\":{\"type\":\"NFC\"},"
    "\"added_tokens\":[{\"id\":3,\"content\":\"<e>\",\"special\":true}],"
    "\"pre_tokenizer\":{\"type\":\"ByteLevel\"}}";

static int encode_marks(void *arg, struct err *e)
{
    struct token_list l = {0};
    const char *text = "ab <e>abe\xcc\x81\xcc\x96 ab";
    int rc = tokenizer_encode(arg, text, strlen(text), TOK_PARSE_SPECIAL, 100,
                              &l, e);
    token_list_fini(&l);
    return rc;
}

static void test_oom_tok_bpe(void **state)
{
    struct buf text = {.p = (char *)(uintptr_t)bpe, .len = strlen(bpe)};
    struct tokenizer *t = NULL;
    struct err e = ERR_INIT;
    assert_true(oom_sweep(parse, &text) >= 20);
    assert_int_equal(tokenizer_parse(bpe, strlen(bpe), "t", &t, &e), 0);
    assert_true(oom_sweep(encode_marks, t) >= 8);
    tokenizer_close(t);
}

/* SentencePiece: small files with every part, and GGUF's. */
static const char spm[] =
    "{\"model\":{\"type\":\"BPE\",\"byte_fallback\":true,\"unk_token\":\"<unk>"
    "\","
    "\"vocab\":{\"<unk>\":0,\"a\":1,\"b\":2,\"ab\":3},\"merges\":[\"a b\"]},"
    "\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":"
    "\"Prepend\","
    "\"prepend\":\"\xe2\x96\x81\"},{\"type\":\"Strip\"}]}}";
static const char unigram[] =
    "{\"model\":{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[[\"<unk>\",0],"
    "[\"a\",-1],[\"ab\",-2]]},\"normalizer\":{\"type\":\"Precompiled\","
    "\"precompiled_charsmap\":\"BAAAAP////8=\"},\"pre_tokenizer\":{\"type\":"
    "\"Metaspace\",\"replacement\":\"\xe2\x96\x81\"}}";

static int open_folder(void *arg, struct err *e)
{
    struct tokenizer *t;
    if (tokenizer_at(arg, "t", &t, e))
        return -1;
    tokenizer_close(t);
    return 0;
}

static void test_oom_tok_spm(void **state)
{
    static const char *const files[] = {spm, unigram};
    static const char *const dirs[] = {"tests/golden/spm/gguf-llama",
                                       "tests/golden/spm/gguf-t5"};
    for (int i = 0; i < 2; i++) {
        struct buf text = {.p = (char *)(uintptr_t)files[i],
                           .len = strlen(files[i])};
        struct tokenizer *t = NULL;
        struct err e = ERR_INIT;
        assert_true(oom_sweep(parse, &text) >= 12);
        assert_int_equal(tokenizer_parse(text.p, text.len, "t", &t, &e), 0);
        assert_true(oom_sweep(encode_marks, t) >= 5);
        tokenizer_close(t);
        assert_true(oom_sweep(open_folder, (void *)(uintptr_t)dirs[i]) >= 20);
    }
}

/* sentencepiece's own files: a model, and one with ids of another list. */
static void test_oom_tok_family(void **state)
{
    static const char *const dirs[] = {"tests/golden/spm_model/users-bpe",
                                       "tests/golden/spm_model/t5",
                                       "tests/golden/spm_model/marian"};
    for (int i = 0; i < 3; i++) {
        struct tokenizer *t = NULL;
        assert_true(oom_sweep(open_folder, (void *)(uintptr_t)dirs[i]) >= 15);
        assert_int_equal(tokenizer_at(dirs[i], "t", &t, NULL), 0);
        assert_true(oom_sweep(encode_marks, t) >= 5);
        tokenizer_close(t);
    }
}

/* A pipeline with each of the parts that allocate. */
static const char piped[] =
    "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"ab\":2,"
    "\"<e>\":3},\"merges\":[\"a b\"]},\"normalizer\":{\"type\":\"Sequence\","
    "\"normalizers\":[{\"type\":\"NFKC\"},{\"type\":\"Replace\",\"pattern\":{"
    "\"Regex\":\"e+\"},\"content\":\"ee\"}]},"
    "\"added_tokens\":[{\"id\":3,\"content\":\"<e>\",\"normalized\":true}],"
    "\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":["
    "{\"type\":\"Whitespace\"},{\"type\":\"Metaspace\",\"replacement\":"
    "\"\xe2\x96\x81\"}]},\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{"
    "\"type\":\"Replace\",\"pattern\":{\"String\":\"a\"},\"content\":\"A\"},"
    "{\"type\":\"Fuse\"}]}}";

static void test_oom_pipe(void **state)
{
    struct buf text = {.p = (char *)(uintptr_t)piped, .len = strlen(piped)};
    struct tokenizer *t = NULL;
    struct token_list l = {0};
    struct err e = ERR_INIT;
    assert_true(oom_sweep(parse, &text) >= 40);
    assert_int_equal(tokenizer_parse(piped, strlen(piped), "t", &t, &e), 0);
    assert_true(oom_sweep(encode_marks, t) >= 20);
    assert_int_equal(tokenizer_encode(t, "ab<e>", 5, 0, 9, &l, &e), 0);
    assert_int_equal(l.v[l.n - 1].id, 3); /* as "<ee>" */
    token_list_fini(&l);
    tokenizer_close(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_oom_tokenizer),
        cmocka_unit_test(test_oom_tok_bpe),
        cmocka_unit_test(test_oom_tok_spm),
        cmocka_unit_test(test_oom_tok_family),
        cmocka_unit_test(test_oom_pipe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
