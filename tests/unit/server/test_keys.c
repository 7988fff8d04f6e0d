/* keys: reading and comparing.
 *
 * SPDX-License-Identifier: MIT */
#include "server/http/keys.h"
#include "tests/support/unit.h"

static int read_text(const char *text, struct string_list *l)
{
    char path[64];
    struct err e = ERR_INIT;
    snprintf(path, sizeof path, "/tmp/seqd-keys-test-%d", (int)getpid());
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    int rc = keys_read(path, l, &e);
    unlink(path);
    return rc;
}

static void test_keys_are_lines_without_blanks_around(void **state)
{
    struct string_list l = {.n = 0};
    assert_int_equal(read_text("one\n\n \t two \r\nthree", &l), 0);
    assert_int_equal(l.n, 3);
    assert_string_equal(l.v[0], "one");
    assert_string_equal(l.v[1], "two");
    assert_string_equal(l.v[2], "three");
    string_list_fini(&l);
}

static void test_keys_file_without_a_key_is_refused(void **state)
{
    struct string_list l = {.n = 0};
    assert_int_equal(read_text(" \n\n", &l), -1);
    assert_int_equal(l.n, 0);
}

static void test_keys_match_whole_keys_only(void **state)
{
    static char *v[] = {"alpha", "beta-key"};
    const struct string_list keys = {.v = v, .n = 2}, none = {.n = 0};
    static const char *const good[] = {"Bearer alpha", "bearer beta-key",
                                       "BEARER   alpha"};
    static const char *const bad[] = {
        "alpha",        "Bearer alph",       "Bearer alphaa", "Bearer ",
        "Bearer",       "Bearer alphaalpha", "Basic alpha",   "",
        "Bearer alpha "};
    for (size_t i = 0; i < COUNT(good); i++)
        assert_true(keys_match(&keys, good[i]));
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_false(keys_match(&keys, bad[i]));
    assert_false(keys_match(&keys, NULL));
    assert_false(keys_match(&none, "Bearer alpha"));
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
