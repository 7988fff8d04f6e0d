/* mutations: a checkpoint with a damaged file is refused with a message, or
 * loads and makes a step; it never crashes, hangs or reads beside the file
 * (run it under the address sanitizer). Each file is damaged in many ways, one
 * at a time.
 *
 * The small checkpoints are in the repository. SEQD_MODELS names a folder that
 * ../shared/models/get.sh filled: the large ones are tried then, too.
 * SEQD_MUTATIONS: how many of each file (100).
 *
 * SPDX-License-Identifier: MIT */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "engine/base/clock.h"
#include "tests/support/model_use.h"
#include "tests/support/mutate.h"

#define SEED 4
#define SLOWEST_US 60000000 /* of one mutation, on a busy machine, sanitized */
#define SPARE_BYTES 64 /* padding, or a line feed: may be missing at the end */

static int n_mutations(void)
{
    const char *s = getenv("SEQD_MUTATIONS");
    return s ? (int)strtol(s, NULL, 10) : 100;
}

static int use(const char *dir, struct err *e)
{
    int got = model_use(dir, e);
    if (got < 0)
        fail_msg("%s: %s", dir, e->msg);
    return got;
}

static void try_file(const char *dir, const char *name)
{
    static struct mutate m;
    struct err e = ERR_INIT;
    int n = n_mutations(), n_loaded = 0;
    if (mutate_open(&m, dir, name))
        fail_msg("%s/%s cannot be copied", dir, name);
    int whole = use(m.dir, &e); /* some of the small ones have no tokenizer */
    if (!(whole & USE_NET))
        fail_msg("%s/%s as it is: %s", dir, name, e.msg);
    if (strstr(name, "tokenizer") && !(whole & USE_TOKENIZER))
        fail_msg("%s/%s is not read", dir, name);
    for (int i = 0; i < n; i++) {
        int64_t begin = clock_now_us();
        assert_int_equal(mutate_apply(&m, SEED, i), 0);
        print_message("%s/%s %d: %s: ", dir, name, i, m.what);
        err_clear(&e);
        int loaded = use(m.dir, &e) == whole;
        print_message("%s\n", loaded ? "loaded" : e.msg);
        n_loaded += loaded;
        assert_false(loaded && m.is_cut && m.n > SPARE_BYTES);
        assert_true(clock_now_us() - begin < SLOWEST_US);
        assert_int_equal(mutate_undo(&m), 0);
    }
    err_clear(&e);
    assert_int_equal(use(m.dir, &e), whole); /* restored */
    mutate_close(&m);
    print_message("%s/%s: %d of %d loaded\n", dir, name, n_loaded, n);
}

static void test_mutations_of_small_gguf(void **state)
{
    (void)state;
    try_file("tests/golden/llama/llama-q", "model.gguf");
    try_file("tests/golden/gpt2/gpt2-q", "model.gguf");
    try_file("tests/golden/gemma3/gemma3", "model.gguf");
}

static void test_mutations_of_small_folders(void **state)
{
    (void)state;
    static const char *const dirs[] = {
        "tests/golden/llama/llama/hf",   "tests/golden/bert/bert-fill",
        "tests/golden/bert/bert-class",  "tests/golden/rnn/lstm",
        "tests/golden/marian/marian/hf", "tests/golden/t5/t5-silu-bf16/hf",
        "tests/golden/gpt2/gpt2-i8/hf"};
    for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++) {
        try_file(dirs[i], "model.safetensors");
        try_file(dirs[i], "config.json");
    }
    try_file("tests/golden/bert/bert-fill", "tokenizer.json");
    try_file("tests/golden/rnn/lstm", "tokenizer.json");
    try_file("tests/golden/seq2seq-rnn/gru-additive-bi", "model.safetensors");
    try_file("tests/golden/seq2seq-rnn/gru-additive-bi", "config.json");
    try_file("tests/golden/llama/mistral/hf", "model.safetensors.index.json");
}

static void test_mutations_of_large_checkpoints(void **state)
{
    (void)state;
    static const char *const files[][2] = {
        {"smollm2-135m-instruct", "SmolLM2-135M-Instruct.Q4_1.gguf"},
        {"all-minilm-l6-v2", "model.safetensors"},
        {"all-minilm-l6-v2", "config.json"},
        {"all-minilm-l6-v2", "tokenizer.json"}};
    const char *models = getenv("SEQD_MODELS");
    if (!models) {
        print_message("skipped: SEQD_MODELS is not set\n");
        skip();
    }
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        char dir[PATH_MAX];
        snprintf(dir, sizeof(dir), "%s/%s", models, files[i][0]);
        try_file(dir, files[i][1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mutations_of_small_gguf),
        cmocka_unit_test(test_mutations_of_small_folders),
        cmocka_unit_test(test_mutations_of_large_checkpoints),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
