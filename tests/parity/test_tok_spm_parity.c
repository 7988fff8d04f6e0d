/* tok_spm: Llama's own vocabulary of 32,000 entries gives llama.cpp's ids for
 * its 46 test strings (shared data/tokenizers/ggml).
 *
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/shared_file.h"
#include "tests/support/tokenizer_at.h"

#define NAME "data/tokenizers/ggml/ggml-vocab-llama-spm.gguf"
#define BETWEEN "\n__ggml_vocab_test__\n"

/* One text against one line of ids; returns the next line. */
static const char *check(const struct tokenizer *t, const char *text, size_t n,
                         const char *ids)
{
    struct token_list l = {0};
    struct err e = ERR_INIT;
    const char *end = strchr(ids, '\n');
    int i = 0;
    assert_int_equal(tokenizer_encode(t, text, n, 0, 10000, &l, &e), 0);
    assert_non_null(end);
    for (;; i++) {
        char *rest;
        long id = strtol(ids, &rest, 10);
        if (rest == ids || rest > end)
            break;
        if (i >= l.n || l.v[i].id != id) {
            fail_msg("'%.*s' token %d is %d, expected %ld", (int)n, text, i,
                     i < l.n ? l.v[i].id : -1, id);
        }
        ids = rest;
    }
    assert_int_equal(l.n, i);
    token_list_fini(&l);
    return end + 1;
}

static void test_spm_llama_vocabulary_equals_llama_cpp(void **state)
{
    (void)state;
    char path[1024];
    struct tokenizer *t = NULL;
    struct err e = ERR_INIT;
    size_t n, n_out;
    char *in = shared_read(NAME ".inp", &n);
    char *out = shared_read(NAME ".out", &n_out);
    int count = 0;
    if (!in || !out || !shared_path(NAME, path, sizeof(path))) {
        print_message("skipped: no shared data\n");
        skip();
    }
    if (tokenizer_at(path, "llama", &t, &e))
        fail_msg("%s", e.msg);
    assert_int_equal(tokenizer_size(t), 32000);
    assert_int_equal(tokenizer_add_bos(t), 1);
    const char *ids = out;
    for (char *text = in; text && *ids;) {
        char *end = strstr(text, BETWEEN);
        ids = check(t, text, end ? (size_t)(end - text) : strlen(text), ids);
        text = end ? end + strlen(BETWEEN) : NULL;
        count++;
    }
    assert_true(count >= 46);
    tokenizer_close(t);
    free(in);
    free(out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spm_llama_vocabulary_equals_llama_cpp),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
