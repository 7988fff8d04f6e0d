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

static void test_fuzz_corpus_bpe(void **state)
{
    corpus_replay("bpe", fuzz_bpe);
}

static void test_fuzz_corpus_vocabulary(void **state)
{
    corpus_replay("vocabulary", fuzz_vocabulary);
}

static void test_fuzz_corpus_wordpiece(void **state)
{
    corpus_replay("wordpiece", fuzz_wordpiece);
}

static void test_fuzz_corpus_unigram(void **state)
{
    corpus_replay("unigram", fuzz_unigram);
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
        cmocka_unit_test(test_fuzz_corpus_charsmap),
        cmocka_unit_test(test_fuzz_corpus_pipe),
        cmocka_unit_test(test_fuzz_corpus_records),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
