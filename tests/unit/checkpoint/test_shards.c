/* shards: a checkpoint in several safetensors files opens as one; an index
 * that does not tell the truth about them is refused.
 *
 * SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/checkpoint/safetensors.h"
#include "tests/support/temp_dir.h"
#include "tests/support/unit.h"

#define N 3000
#define SHARDS_FILE "model.safetensors.index.json"
#define ONE "model-00001-of-00002.safetensors"
#define TWO "model-00002-of-00002.safetensors"
#define WHOLE "model.safetensors"

static char dir[64];
static float values[N];

static void path_of(const char *name, char *out, size_t cap)
{
    snprintf(out, cap, "%s/%s", dir, name);
}

static void save(const char *name, const char *a, const char *b, float base)
{
    char path[128];
    struct err e = ERR_INIT;
    for (int i = 0; i < N; i++)
        values[i] = base + (float)i;
    const struct save_tensor t[] = {{a, DT_F32, 1, {N}, .data = values},
                                    {b, DT_BF16, 2, {2, 2}, .data = values}};
    path_of(name, path, sizeof(path));
    assert_int_equal(safetensors_save(path, t, b ? 2 : 1, NULL, 0, &e), 0);
}

#define TRUE_INDEX                                                             \
    "{\"metadata\":{\"total_size\":1},\"weight_map\":{"                        \
    "\"d\":\"" TWO "\",\"a\":\"" ONE "\",\"b\":\"" ONE "\",\"c\":\"" TWO       \
    "\"}}"

static int put_two(void **state)
{
    temp_dir_make(dir);
    save(ONE, "b", "a", 0);
    save(TWO, "c", "d", 10000);
    temp_file_text(dir, SHARDS_FILE, TRUE_INDEX);
    return 0;
}

static int drop_all(void **state)
{
    temp_dir_drop(dir);
    return access(dir, F_OK) == 0;
}

static struct weights *open_or_fail(void)
{
    struct weights *w = NULL;
    struct err e = ERR_INIT;
    if (weights_open(dir, "m", &w, &e))
        fail_msg("%s", e.msg);
    return w;
}

static void test_shards_open_as_one(void **state)
{
    char want[72];
    size_t n;
    struct err e = ERR_INIT;
    struct weights *w = open_or_fail();
    assert_int_equal(weights_count(w), 4);
    assert_true(weights_parameters(w) == 2 * (N + 4));
    const struct tensor *t = weights_need(w, "c", 1, N, 0, &e);
    assert_non_null(t);
    tensor_read(t, 7, 1, values);
    assert_true(values[0] == 10007);
    assert_non_null(weights_need(w, "a", 2, 2, 2, &e));
    assert_null(weights_need(w, "x", 1, 1, 1, &e));
    assert_string_equal(e.msg, "m/" SHARDS_FILE ": tensor 'x' is missing");
    temp_file_digest(dir, (const char *const[]){ONE, TWO, NULL}, want, &n);
    assert_string_equal(weights_digest(w, NULL), want);
    weights_drop_pages(w, t);
    weights_drop_pages(w, NULL);
    weights_close(w);
}

static void test_shards_single_file_is_preferred(void **state)
{
    save(WHOLE, "only", NULL, 0);
    struct weights *w = open_or_fail();
    assert_int_equal(weights_count(w), 1);
    assert_non_null(weights_find(w, "only"));
    weights_close(w);
}

static void test_shards_one_cut_short_while_served(void **state)
{
    char path[128];
    struct weights *w = open_or_fail();
    path_of(TWO, path, sizeof(path));
    assert_int_equal(truncate(path, 0), 0);
    tensor_read(weights_find(w, "b"), N - 1, 1, values);
    assert_true(values[0] == N - 1);
    assert_int_equal(weights_damaged(w), 0);
    tensor_read(weights_find(w, "c"), N - 1, 1, values);
    assert_true(values[0] == 0);
    assert_int_equal(weights_damaged(w), 1);
    weights_close(w);
}

/* Bytes that this process has read so far (proc_pid_io(5)). */
static long long bytes_read(void)
{
    long long n = -1;
    FILE *f = fopen("/proc/self/io", "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "rchar: %lld", &n), 1);
    fclose(f);
    return n;
}

static void test_shards_that_were_touched_are_read_once(void **state)
{
    static const char *const names[] = {ONE, TWO};
    char path[128];
    long long size = 0, begin;
    struct weights *w = open_or_fail();
    struct stat st;
    weights_digest(w, NULL);
    for (int i = 0; i < 2; i++) {
        path_of(names[i], path, sizeof path);
        assert_int_equal(utimensat(AT_FDCWD, path, NULL, 0), 0);
        assert_int_equal(stat(path, &st), 0);
        size += st.st_size;
    }
    begin = bytes_read();
    weights_watch(w, NULL);
    assert_in_range(bytes_read() - begin, size, size + size / 4);
    assert_int_equal(weights_damaged(w), 0);
    begin = bytes_read();
    weights_watch(w, NULL);
    assert_in_range(bytes_read() - begin, 0, size / 4);
    weights_close(w);
}

static void test_shards_untrue_index_is_refused(void **state)
{
    static const struct {
        const char *index, *says;
    } cases[] = {
        {"[]", "m/" SHARDS_FILE ": has no object 'weight_map'"},
        {"{\"weight_map\":{}}", ": 0 tensors, expected 1.."},
        {"{\"weight_map\":{\"a\":1}}", ": tensor 'a' is in '', expected the "},
        {"{\"weight_map\":{\"a\":\"../x.safetensors\"}}",
         ": tensor 'a' is in '../x.safetensors', expected the name of a"},
        {"{\"weight_map\":{\"a\":\".safetensors\"}}", "is in '.safetensors'"},
        {"{\"weight_map\":{\"a\":\"model.bin\"}}", "is in 'model.bin'"},
        {"{\"weight_map\":{\"a\":\"x.safetensors\"}}",
         "m/x.safetensors: no such file"},
        {"{\"weight_map\":{\"a\":\"" ONE "\",\"b\":\"" ONE "\",\"c\":\"" TWO
         "\"}}",
         ": tensor 'd' is in " TWO ", but listed nowhere"},
        {"{\"weight_map\":{\"a\":\"" ONE "\",\"b\":\"" TWO "\",\"c\":\"" TWO
         "\",\"d\":\"" TWO "\"}}",
         ": tensor 'b' is in " ONE ", but listed for " TWO},
        {"{\"weight_map\":{\"a\":\"" ONE "\",\"b\":\"" ONE "\",\"c\":\"" TWO
         "\",\"d\":\"" TWO "\",\"e\":\"" TWO "\"}}",
         ": tensor 'e' is listed for " TWO ", which has no such tensor"},
        {"{\"weight_map\":{\"a\":\"" ONE "\",\"a\":\"" TWO "\"}}", "duplicate"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct weights *w = NULL;
        struct err e = ERR_INIT;
        temp_file_text(dir, SHARDS_FILE, cases[i].index);
        assert_int_equal(weights_open(dir, "m", &w, &e), -1);
        assert_null(w);
        if (!strstr(e.msg, cases[i].says))
            fail_msg("'%s', expected '%s'", e.msg, cases[i].says);
    }
}

/* The same tensor in both shards cannot be listed for both. */
static void test_shards_tensor_in_two_shards_is_refused(void **state)
{
    struct weights *w = NULL;
    struct err e = ERR_INIT;
    save(TWO, "a", "d", 0);
    assert_int_equal(weights_open(dir, "m", &w, &e), -1);
    assert_non_null(strstr(e.msg, "tensor 'a' is in " TWO ", but listed for"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_shards_open_as_one, put_two,
                                        drop_all),
        cmocka_unit_test_setup_teardown(test_shards_single_file_is_preferred,
                                        put_two, drop_all),
        cmocka_unit_test_setup_teardown(test_shards_one_cut_short_while_served,
                                        put_two, drop_all),
        cmocka_unit_test_setup_teardown(
            test_shards_that_were_touched_are_read_once, put_two, drop_all),
        cmocka_unit_test_setup_teardown(test_shards_untrue_index_is_refused,
                                        put_two, drop_all),
        cmocka_unit_test_setup_teardown(
            test_shards_tensor_in_two_shards_is_refused, put_two, drop_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
