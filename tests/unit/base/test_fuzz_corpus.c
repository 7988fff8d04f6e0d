/* fuzz corpus: every stored input, seeds and what once broke something, through
 * the same functions that the fuzzers call: readers of files, tokenizers.
 *
 * SPDX-License-Identifier: MIT */
#include "tests/support/corpus_replay.h"
#include "tests/support/fuzz_targets.h"
#include "tests/support/unit.h"

static void test_fuzz_corpus_json(void **state)
{
    corpus_replay("json", fuzz_json);
}

static void test_fuzz_corpus_safetensors(void **state)
{
    corpus_replay("safetensors", fuzz_safetensors);
}

static void test_fuzz_corpus_torch(void **state)
{
    corpus_replay("torch", fuzz_torch);
}

static void test_fuzz_corpus_hparams(void **state)
{
    corpus_replay("hparams", fuzz_hparams);
}

static void test_fuzz_corpus_gguf(void **state)
{
    corpus_replay("gguf", fuzz_gguf);
}

static void test_fuzz_corpus_tokenizer(void **state)
{
    corpus_replay("tokenizer", fuzz_tokenizer);
}

/* The first byte with each of n_choices in front of what is below `step`. */
static void with_each(corpus_fn *fn, int step, int n_choices,
                      const uint8_t *data, size_t n)
{
    uint8_t *copy = test_malloc(n + 1);
    memcpy(copy, data, n);
    for (int i = 0; n > 0 && i < n_choices; i++) {
        copy[0] = (uint8_t)(data[0] % step + i * step);
        fn(copy, n);
    }
    test_free(copy);
}

static void bpe_with_each_chain(const uint8_t *data, size_t n)
{
    with_each(fuzz_bpe, 4, 64, data, n);
}

static void test_fuzz_corpus_bpe(void **state)
{
    corpus_replay("bpe", bpe_with_each_chain);
}

static void test_fuzz_corpus_vocabulary(void **state)
{
    corpus_replay("vocabulary", fuzz_vocabulary);
}

static void wordpiece_with_all_flags(const uint8_t *data, size_t n)
{
    with_each(fuzz_wordpiece, FUZZ_WORDPIECES, 4, data, n);
}

static void test_fuzz_corpus_wordpiece(void **state)
{
    corpus_replay("wordpiece", wordpiece_with_all_flags);
}

static void unigram_with_all_flags(const uint8_t *data, size_t n)
{
    with_each(fuzz_unigram, FUZZ_UNIGRAMS, 2, data, n);
}

static void test_fuzz_corpus_unigram(void **state)
{
    corpus_replay("unigram", unigram_with_all_flags);
}

static void test_fuzz_corpus_marian(void **state)
{
    corpus_replay_good("marian", fuzz_marian, 2);
}

static void test_fuzz_corpus_model(void **state)
{
    corpus_replay_good("model", fuzz_model, 10);
}

static void test_fuzz_corpus_charsmap(void **state)
{
    corpus_replay_good("charsmap", fuzz_charsmap, 2);
}

static void test_fuzz_corpus_pipe(void **state)
{
    corpus_replay_good("pipe", fuzz_pipe, 10);
}

static void test_fuzz_corpus_records(void **state)
{
    corpus_replay_good("records", fuzz_records, 8);
}

static void test_fuzz_corpus_abc(void **state)
{
    corpus_replay_good("abc", fuzz_abc, 12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fuzz_corpus_json),
        cmocka_unit_test(test_fuzz_corpus_safetensors),
        cmocka_unit_test(test_fuzz_corpus_torch),
        cmocka_unit_test(test_fuzz_corpus_hparams),
        cmocka_unit_test(test_fuzz_corpus_gguf),
        cmocka_unit_test(test_fuzz_corpus_tokenizer),
        cmocka_unit_test(test_fuzz_corpus_bpe),
        cmocka_unit_test(test_fuzz_corpus_vocabulary),
        cmocka_unit_test(test_fuzz_corpus_wordpiece),
        cmocka_unit_test(test_fuzz_corpus_unigram),
        cmocka_unit_test(test_fuzz_corpus_marian),
        cmocka_unit_test(test_fuzz_corpus_model),
        cmocka_unit_test(test_fuzz_corpus_charsmap),
        cmocka_unit_test(test_fuzz_corpus_pipe),
        cmocka_unit_test(test_fuzz_corpus_records),
        cmocka_unit_test(test_fuzz_corpus_abc),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
