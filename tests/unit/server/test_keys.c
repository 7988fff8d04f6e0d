/* keys: reading and comparing.
 *
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <stdio.h>
#include <unistd.h>

#include "engine/base/mem.h"
#include "server/http/keys.h"

static int read_text(const char *text, char ***v, int *n)
{
    char path[64];
    struct err e = ERR_INIT;
    snprintf(path, sizeof path, "/tmp/seqd-keys-test-%d", (int)getpid());
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    int rc = keys_read(path, v, n, &e);
    unlink(path);
    return rc;
}

static void keys_free(char **v, int n)
{
    for (int i = 0; i < n; i++)
        mem_free(v[i]);
    mem_free(v);
}

static void test_keys_are_lines_without_blanks_around(void **state)
{
    char **v = NULL;
    int n = 0;
    (void)state;
    assert_int_equal(read_text("one\n\n \t two \r\nthree", &v, &n), 0);
    assert_int_equal(n, 3);
    assert_string_equal(v[0], "one");
    assert_string_equal(v[1], "two");
    assert_string_equal(v[2], "three");
    keys_free(v, n);
}

static void test_keys_file_without_a_key_is_refused(void **state)
{
    char **v = NULL;
    int n = 0;
    (void)state;
    assert_int_equal(read_text(" \n\n", &v, &n), -1);
    assert_int_equal(n, 0);
}

static void test_keys_match_whole_keys_only(void **state)
{
    static char *keys[] = {"alpha", "beta-key"};
    static const char *const good[] = {"Bearer alpha", "bearer beta-key",
                                       "BEARER   alpha"};
    static const char *const bad[] = {
        "alpha",        "Bearer alph",       "Bearer alphaa", "Bearer ",
        "Bearer",       "Bearer alphaalpha", "Basic alpha",   "",
        "Bearer alpha "};
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(keys_match(keys, 2, good[i]));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(keys_match(keys, 2, bad[i]));
    assert_false(keys_match(keys, 2, NULL));
    assert_false(keys_match(keys, 0, "Bearer alpha"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys_are_lines_without_blanks_around),
        cmocka_unit_test(test_keys_file_without_a_key_is_refused),
        cmocka_unit_test(test_keys_match_whole_keys_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
