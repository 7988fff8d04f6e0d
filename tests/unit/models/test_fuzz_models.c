/* fuzz corpus of the architectures: their configurations, GGUF's metadata,
 * damaged checkpoints.
 *
 * SPDX-License-Identifier: MIT */
#include "tests/support/corpus_replay.h"
#include "tests/support/fuzz_targets.h"
#include "tests/support/unit.h"

static void test_fuzz_corpus_config(void **state)
{
    corpus_replay_good("config", fuzz_config, 28);
}

static void test_fuzz_corpus_keys(void **state)
{
    corpus_replay_good("keys", fuzz_keys, 10);
}

static void test_fuzz_corpus_checkpoint(void **state)
{
    corpus_replay_good("checkpoint", fuzz_checkpoint, 26);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fuzz_corpus_config),
        cmocka_unit_test(test_fuzz_corpus_keys),
        cmocka_unit_test(test_fuzz_corpus_checkpoint),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
