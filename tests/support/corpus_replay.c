/* corpus_replay: see corpus_replay.h.
 *
 * SPDX-License-Identifier: MIT */
#include "tests/support/corpus_replay.h"

#include <dirent.h>

#include "tests/support/fuzz_check.h"
#include "tests/support/unit.h"

#define INPUT_BYTES 65536

void corpus_replay(const char *name, corpus_fn *fn)
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
        print_message("%s\n", path);
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

void corpus_replay_good(const char *name, corpus_fn *fn, int least)
{
    int before = fuzz_taken;
    corpus_replay(name, fn);
    if (fuzz_taken - before < least)
        fail_msg("%s: only %d of the inputs are good", name,
                 fuzz_taken - before);
}
