/* fuzz corpus: every stored input, seeds and what once broke something, through
 * the same functions that the fuzzers call.
 *
 * SPDX-License-Identifier: MIT */
#include <dirent.h>

#include "tests/support/fuzz_targets.h"
#include "tests/support/unit.h"

#define INPUT_BYTES 65536

typedef void target_fn(const uint8_t *data, size_t n);

/* Runs fn on each file of the folder, in a block of exactly its size. */
static void replay(const char *name, target_fn *fn)
{
    char path[600];
    static uint8_t block[INPUT_BYTES];
    int n_files = 0;
    snprintf(path, sizeof(path), "tests/fuzz/corpus/%s", name);
    DIR *d = opendir(path);
    assert_non_null(d);
    for (struct dirent *x = readdir(d); x; x = readdir(d)) {
        if (x->d_name[0] == '.')
            continue;
        snprintf(path, sizeof(path), "tests/fuzz/corpus/%s/%s", name,
                 x->d_name);
        FILE *f = fopen(path, "rb");
        assert_non_null(f);
        size_t n = fread(block, 1, sizeof(block), f);
        fclose(f);
        assert_true(n < sizeof(block));
        uint8_t *exact = test_malloc(n + 1);
        for (size_t i = 0; i < n; i++)
            exact[i] = block[i];
        fn(exact, n);
        test_free(exact);
        n_files++;
    }
    closedir(d);
    assert_true(n_files > 0);
}

static void test_fuzz_corpus_json(void **state)
{
    replay("json", fuzz_json);
}

static void test_fuzz_corpus_safetensors(void **state)
{
    replay("safetensors", fuzz_safetensors);
}

static void test_fuzz_corpus_torch(void **state)
{
    replay("torch", fuzz_torch);
}

static void test_fuzz_corpus_hparams(void **state)
{
    replay("hparams", fuzz_hparams);
}

static void test_fuzz_corpus_gguf(void **state)
{
    replay("gguf", fuzz_gguf);
}

static void test_fuzz_corpus_tokenizer(void **state)
{
    replay("tokenizer", fuzz_tokenizer);
}

static void test_fuzz_corpus_bpe(void **state)
{
    replay("bpe", fuzz_bpe);
}

static void test_fuzz_corpus_vocabulary(void **state)
{
    replay("vocabulary", fuzz_vocabulary);
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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
