/* detok: encoding a sentence and joining its words gives the sentence back,
 * and a continuation is joined to its prompt.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/base/mem.h"
#include "engine/text/tokenizer.h"
#include "tests/support/unit.h"

#define MAX_WORDS 256

/* The vocabulary of a text: its own pieces after three special ones. */
struct words {
    const char *v[MAX_WORDS];
    char *own[MAX_WORDS];
    int n, n_own;
};

static int on_piece(void *arg, const char *piece, size_t len, uint32_t start,
                    uint32_t end)
{
    struct words *w = arg;
    (void)start;
    (void)end;
    for (int i = 0; i < w->n; i++)
        if (strcmp(w->v[i], piece) == 0)
            return 0;
    assert_true(w->n < MAX_WORDS);
    w->own[w->n_own] = mem_strndup(piece, len);
    w->v[w->n++] = w->own[w->n_own++];
    return 0;
}

static struct tokenizer *make(const char *normalizer, const char *const *texts,
                              int n_texts)
{
    struct words w = {.v = {"<unk>", "<s>", "</s>"}, .n = 3};
    struct tokenizer_spec spec = {.normalizer = normalizer,
                                  .lowercase = 1,
                                  .unk = "<unk>",
                                  .bos = "<s>",
                                  .eos = "</s>"};
    struct tokenizer *t = NULL;
    struct err e = ERR_INIT;
    struct buf json;
    if (strcmp(normalizer, "seqd-whitespace") == 0) {
        spec.newline = "<nl>";
        w.v[w.n++] = "<nl>";
    }
    for (int i = 0; i < n_texts; i++)
        tokenizer_split(&spec, texts[i], strlen(texts[i]), on_piece, &w, &e);
    buf_init(&json, 1 << 20);
    if (tokenizer_build(&spec, w.v, w.n, &json, &e) ||
        tokenizer_parse(json.p, json.len, "t", &t, &e))
        fail_msg("%s", e.msg);
    buf_fini(&json);
    for (int i = 0; i < w.n_own; i++)
        mem_free(w.own[i]);
    return t;
}

static void join(const struct tokenizer *t, const char *text, struct buf *out)
{
    struct token_list l = {0};
    struct detok d;
    struct err e = ERR_INIT;
    assert_int_equal(tokenizer_encode(t, text, strlen(text), 0, 1000, &l, &e),
                     0);
    detok_init(&d);
    buf_add_str(out, "");
    for (int i = 0; i < l.n; i++)
        assert_int_equal(detok_next(t, &d, l.v[i].id, out), 0);
    assert_int_equal(detok_finish(t, &d, out), 0);
    token_list_fini(&l);
}

static const char *const sentences[] = {
    "the food was good, not bad at all.",
    "i don't like it; can't stand it!",
    "it's bad, i'm sure you'll agree: they've said he'd say we're lost?",
    "\"yes,\" she said. \"no, it's 'fine',\" he said.",
    "wait... what?",
    "one--two",
    "(a well-made [old-fashioned] film)",
    "it costs $1,000.50, or 3.5% of that, at 10:30.",
    "mr. smith's dogs' bones, and the u.s. film",
    "rock 'n' roll in the '70s",
    "i cannot go",
    "this is 'so' good, the boys' toys",
    "#1 at&t and/or writer/director",
    "caf\xc3\xa9 \xe4\xbd\xa0\xe5\xa5\xbd",
};
#define N_SENTENCES ((int)(sizeof(sentences) / sizeof(sentences[0])))

static void test_detok_gives_the_sentence_back(void **state)
{
    struct tokenizer *t = make("seqd-english", sentences, N_SENTENCES);
    for (int i = 0; i < N_SENTENCES; i++) {
        struct buf out;
        buf_init(&out, 1 << 16);
        join(t, sentences[i], &out);
        assert_string_equal(out.p, sentences[i]);
        buf_fini(&out);
    }
    tokenizer_close(t);
}

/* Cut anywhere, the joined prompt and continuation are the whole. */
static void test_detok_seed_joins_a_continuation(void **state)
{
    struct tokenizer *t = make("seqd-english", sentences, N_SENTENCES);
    for (int s = 0; s < N_SENTENCES; s++) {
        struct token_list l = {0};
        struct err e = ERR_INIT;
        const char *text = sentences[s];
        tokenizer_encode(t, text, strlen(text), 0, 1000, &l, &e);
        for (int cut = 0; cut <= l.n; cut++) {
            struct buf out;
            struct detok d, seeded;
            int32_t ids[64];
            buf_init(&out, 1 << 16);
            buf_add_str(&out, "");
            detok_init(&d);
            for (int i = 0; i < cut; i++) {
                ids[i] = l.v[i].id;
                detok_next(t, &d, l.v[i].id, &out);
            }
            detok_init(&seeded);
            detok_seed(t, &seeded, ids, cut);
            assert_memory_equal(&seeded, &d, sizeof(d));
            for (int i = cut; i < l.n; i++)
                detok_next(t, &seeded, l.v[i].id, &out);
            assert_string_equal(out.p, text);
            buf_fini(&out);
        }
        token_list_fini(&l);
    }
    tokenizer_close(t);
}

static void test_detok_special_tokens_write_nothing(void **state)
{
    const char *const texts[] = {"a b"};
    struct tokenizer *t = make("seqd-english", texts, 1);
    struct buf out;
    struct detok d;
    buf_init(&out, 100);
    buf_add_str(&out, "");
    detok_init(&d);
    detok_next(t, &d, tokenizer_bos(t), &out);
    detok_next(t, &d, tokenizer_id(t, "a"), &out);
    detok_next(t, &d, tokenizer_unk(t), &out);
    detok_next(t, &d, tokenizer_id(t, "b"), &out);
    detok_next(t, &d, tokenizer_eos(t), &out);
    detok_next(t, &d, tokenizer_id(t, "a"), &out);
    detok_next(t, &d, -1, &out);
    detok_next(t, &d, 9999, &out);
    assert_string_equal(out.p, "a ba");
    buf_fini(&out);
    tokenizer_close(t);
}

static void test_detok_whitespace_and_characters(void **state)
{
    const char *const texts[] = {"Don't stop .\nx , y\n", "ab\n \xc3\xa9"};
    struct tokenizer *w = make("seqd-whitespace", texts, 1);
    struct tokenizer *c = make("seqd-characters", texts + 1, 1);
    struct buf out;
    buf_init(&out, 1000);
    join(w, texts[0], &out);
    assert_string_equal(out.p, texts[0]);
    buf_clear(&out);
    join(c, texts[1], &out);
    assert_string_equal(out.p, texts[1]);
    buf_fini(&out);
    tokenizer_close(w);
    tokenizer_close(c);
}

static void test_detok_reports_a_full_buffer(void **state)
{
    const char *const texts[] = {"word"};
    struct tokenizer *t = make("seqd-english", texts, 1);
    struct buf out;
    struct detok d;
    buf_init(&out, 3);
    detok_init(&d);
    assert_int_equal(detok_next(t, &d, tokenizer_id(t, "word"), &out), -1);
    buf_fini(&out);
    tokenizer_close(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_detok_gives_the_sentence_back),
        cmocka_unit_test(test_detok_seed_joins_a_continuation),
        cmocka_unit_test(test_detok_special_tokens_write_nothing),
        cmocka_unit_test(test_detok_whitespace_and_characters),
        cmocka_unit_test(test_detok_reports_a_full_buffer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
