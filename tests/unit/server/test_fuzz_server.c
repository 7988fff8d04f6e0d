/* fuzz corpus of the server: heads, bodies in chunks, whole connections, the
 * bodies of requests (tests/unit/base/test_fuzz_corpus.c has the others).
 *
 * SPDX-License-Identifier: MIT */
#include "tests/support/corpus_replay.h"
#include "tests/support/fuzz_targets.h"
#include "tests/support/unit.h"

static void test_fuzz_corpus_head(void **state)
{
    corpus_replay_good("head", fuzz_head, 6);
}

static void test_fuzz_corpus_chunks(void **state)
{
    corpus_replay_good("chunks", fuzz_chunks, 4);
}

static void test_fuzz_corpus_conn(void **state)
{
    corpus_replay_good("conn", fuzz_conn, 30);
}

static void test_fuzz_corpus_api(void **state)
{
    corpus_replay_good("api", fuzz_api, 9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fuzz_corpus_head),
        cmocka_unit_test(test_fuzz_corpus_chunks),
        cmocka_unit_test(test_fuzz_corpus_conn),
        cmocka_unit_test(test_fuzz_corpus_api),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
