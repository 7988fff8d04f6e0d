/* fuzz corpus of the trainer: states to go on from.
 *
 * SPDX-License-Identifier: MIT */
#include "tests/support/corpus_replay.h"
#include "tests/support/fuzz_targets.h"
#include "tests/support/unit.h"

static void test_fuzz_corpus_state(void **state)
{
    corpus_replay_good("state", fuzz_state, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fuzz_corpus_state),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
