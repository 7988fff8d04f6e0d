/* keys: reading, comparing, and reading again while others compare.
 *
 * SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "server/http/keys.h"
#include "tests/support/temp_dir.h"
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

static char dir[64], path[96];

static struct keyring *ring_of(char *one, char *two)
{
    char *v[] = {one, two};
    const struct string_list l = {.v = v, .n = 2};
    struct keyring *k = NULL;
    struct err e = ERR_INIT;
    temp_dir_make(dir);
    snprintf(path, sizeof path, "%s/keys", dir);
    assert_int_equal(keyring_open(&l, &k, &e), 0);
    return k;
}

static void drop_ring(struct keyring *k)
{
    keyring_close(k);
    temp_dir_drop(dir);
}

static void test_keyring_takes_the_keys_of_a_file(void **state)
{
    struct keyring *k = ring_of("old", "one");
    assert_true(keyring_match(k, "Bearer old"));
    assert_true(keyring_match(k, "Bearer one"));
    assert_false(keyring_match(k, NULL));
    temp_file_text(dir, "keys", "new\nnewer\n");
    assert_int_equal(keyring_read(k, path, "one", NULL), 3);
    assert_false(keyring_match(k, "Bearer old"));
    assert_true(keyring_match(k, "Bearer new"));
    assert_true(keyring_match(k, "Bearer newer"));
    assert_true(keyring_match(k, "Bearer one"));
    assert_int_equal(keyring_read(k, path, NULL, NULL), 2);
    assert_false(keyring_match(k, "Bearer one"));
    drop_ring(k);
    keyring_close(NULL);
}

static void expect_kept(struct keyring *k, enum err_code code, const char *said)
{
    struct err e = ERR_INIT;
    assert_int_equal(keyring_read(k, path, "one", &e), -1);
    assert_int_equal(e.code, code);
    if (!strstr(e.msg, said))
        fail_msg("%s", e.msg);
    assert_true(keyring_match(k, "Bearer old"));
    assert_true(keyring_match(k, "Bearer other"));
    assert_false(keyring_match(k, "Bearer one"));
    assert_false(keyring_match(k, "Bearer new"));
}

static void test_keyring_keeps_its_keys_for_what_is_no_file_of_keys(void **s)
{
    static char line[1100], large[(1 << 20) + 1];
    struct keyring *k = ring_of("old", "other");
    expect_kept(k, ERR_NOT_FOUND, "no such file");
    temp_file_text(dir, "keys", "");
    expect_kept(k, ERR_INVALID, "holds no key");
    temp_file_put(dir, "keys", "new\nx\0y\n", 8);
    expect_kept(k, ERR_INVALID, "a NUL byte");
    memset(line, 'k', sizeof line - 1);
    memcpy(line, "new\n", 4);
    temp_file_text(dir, "keys", line);
    expect_kept(k, ERR_INVALID, "a line of more than 1024 bytes");
    memset(large, '\n', sizeof large);
    memcpy(large, "new", 3);
    temp_file_put(dir, "keys", large, sizeof large);
    expect_kept(k, ERR_TOO_LARGE, "more than 1048576 bytes");
    unlink(path);
    assert_int_equal(mkdir(path, 0700), 0);
    expect_kept(k, ERR_IO, "is not a regular file");
    rmdir(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    expect_kept(k, ERR_IO, "is not a regular file");
    drop_ring(k);
}

/* --- two sets of keys that take turns, and threads that compare --- */

#define READINGS 400
#define THREADS 3

struct turns {
    struct keyring *k;
    atomic_int stop, wrong, seen[2];
};

/* "always" is in both; of "even" and "odd" only the one that is there. */
static void *compare(void *arg)
{
    struct turns *t = arg;
    while (!atomic_load(&t->stop)) {
        int even = keyring_match(t->k, "Bearer even");
        int odd = keyring_match(t->k, "Bearer odd");
        atomic_fetch_add(&t->seen[0], even);
        atomic_fetch_add(&t->seen[1], odd);
        if (!keyring_match(t->k, "Bearer always") ||
            keyring_match(t->k, "Bearer never"))
            atomic_fetch_add(&t->wrong, 1);
    }
    return NULL;
}

static void test_keyring_is_whole_for_who_compares(void **state)
{
    struct turns t = {.k = ring_of("always", "even")};
    char other[96];
    pthread_t thread[THREADS];
    struct err e = ERR_INIT;
    temp_file_text(dir, "keys", "odd\nalways\n");
    temp_file_text(dir, "other", "always\neven\n");
    snprintf(other, sizeof other, "%s/other", dir);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, compare, &t), 0);
    for (int i = 0; i < READINGS; i++)
        assert_int_equal(keyring_read(t.k, i % 2 ? other : path, NULL, &e), 2);
    while (!atomic_load(&t.seen[0]) && !atomic_load(&t.seen[1]))
        sched_yield();
    atomic_store(&t.stop, 1);
    for (int i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    assert_int_equal(t.wrong, 0);
    drop_ring(t.k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys_are_lines_without_blanks_around),
        cmocka_unit_test(test_keys_file_without_a_key_is_refused),
        cmocka_unit_test(test_keys_match_whole_keys_only),
        cmocka_unit_test(test_keyring_takes_the_keys_of_a_file),
        cmocka_unit_test(
            test_keyring_keeps_its_keys_for_what_is_no_file_of_keys),
        cmocka_unit_test(test_keyring_is_whole_for_who_compares),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
