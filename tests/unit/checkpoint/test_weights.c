/* weights: tensors by name and shape, widening from every type at any
 * alignment, the digest, and a file that is cut short while it is served.
 *
 * SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/checkpoint/safetensors.h"
#include "tests/support/temp_dir.h"
#include "tests/support/unit.h"

struct folder {
    char dir[64], path[96];
};

static void make_folder(struct folder *f)
{
    temp_dir_make(f->dir);
    snprintf(f->path, sizeof(f->path), "%s/model.safetensors", f->dir);
}

static struct weights *open_or_fail(const struct folder *f)
{
    struct weights *w = NULL;
    struct err e = ERR_INIT;
    if (weights_open(f->dir, "m", &w, &e))
        fail_msg("%s", e.msg);
    return w;
}

static float values[20000];

static void save_two(const struct folder *f)
{
    for (int i = 0; i < 20000; i++)
        values[i] = (float)i / 3;
    const struct save_tensor t[] = {
        {"rnn.weight_ih_l0", DT_F32, 2, {100, 200}, .data = values},
        {"rnn.bias", DT_F32, 1, {100}, .data = values},
    };
    struct err e = ERR_INIT;
    assert_int_equal(safetensors_save(f->path, t, 2, NULL, 0, &e), 0);
}

static void test_weights_need_names_both_shapes(void **state)
{
    struct folder f;
    struct err e = ERR_INIT;
    make_folder(&f);
    save_two(&f);
    struct weights *w = open_or_fail(&f);
    assert_non_null(weights_need(w, "rnn.weight_ih_l0", 2, 100, 200, &e));
    assert_non_null(weights_need(w, "rnn.bias", 1, 100, -1, &e));
    assert_null(weights_need(w, "rnn.weight_ih_l0", 2, 100, 128, &e));
    assert_int_equal(e.code, ERR_FORMAT);
    assert_string_equal(e.msg, "m/model.safetensors: tensor "
                               "'rnn.weight_ih_l0' is [100,200], expected "
                               "[100,128]");
    err_clear(&e);
    assert_null(weights_need(w, "rnn.bias", 2, 100, 1, &e));
    assert_non_null(strstr(e.msg, "is [100], expected [100,1]"));
    err_clear(&e);
    assert_null(weights_need(w, "rnn.weight_hh_l0", 1, 1, 0, &e));
    assert_string_equal(
        e.msg, "m/model.safetensors: tensor 'rnn.weight_hh_l0' is missing");
    weights_close(w);
    temp_dir_drop(f.dir);
}

static void test_weights_need_refuses_what_is_not_finite(void **state)
{
    struct folder f;
    struct err e = ERR_INIT;
    make_folder(&f);
    values[77] = -INFINITY;
    const struct save_tensor t[] = {
        {"a", DT_BF16, 1, {100}, .data = values},
        {"b", DT_F32, 1, {77}, .data = values},
    };
    assert_int_equal(safetensors_save(f.path, t, 2, NULL, 0, &e), 0);
    struct weights *w = open_or_fail(&f);
    for (int i = 0; i < 2; i++) { /* the second time, too */
        err_clear(&e);
        assert_non_null(weights_need(w, "b", 1, 77, 0, &e));
        assert_null(weights_need(w, "a", 1, 100, 0, &e));
        assert_int_equal(e.code, ERR_FORMAT);
        assert_string_equal(e.msg, "m/model.safetensors: tensor 'a' holds a "
                                   "number that is not finite");
    }
    weights_close(w);
    temp_dir_drop(f.dir);
}

static void test_weights_take_a_wrappers_prefix_away(void **state)
{
    static const struct {
        const char *a, *b, *first;
    } row[] = {{"module.a", "module.b", "a"},
               {"_orig_mod.module.a", "_orig_mod.module.b", "a"},
               {"module.a", "b", "module.a"},
               {"modules.a", "modules.b", "modules.a"},
               {"module.module.a", "module.b", "module.a"}};
    for (size_t i = 0; i < COUNT(row); i++) {
        struct folder f;
        struct err e = ERR_INIT;
        make_folder(&f);
        const struct save_tensor t[] = {
            {row[i].a, DT_F32, 1, {9}, .data = values},
            {row[i].b, DT_F32, 1, {9}, .data = values}};
        assert_int_equal(safetensors_save(f.path, t, 2, NULL, 0, &e), 0);
        struct weights *w = open_or_fail(&f);
        assert_string_equal(weights_at(w, 0)->name, row[i].first);
        assert_ptr_equal(weights_find(w, row[i].first), weights_at(w, 0));
        assert_ptr_equal(weights_find(w, row[i].a), weights_at(w, 0));
        weights_close(w);
        temp_dir_drop(f.dir);
    }
}

static void test_weights_lists_and_finds(void **state)
{
    struct folder f;
    make_folder(&f);
    save_two(&f);
    struct weights *w = open_or_fail(&f);
    assert_int_equal(weights_count(w), 2);
    assert_true(weights_parameters(w) == 20100);
    assert_string_equal(weights_at(w, 0)->name, "rnn.weight_ih_l0");
    assert_ptr_equal(weights_find(w, "rnn.bias"), weights_at(w, 1));
    assert_null(weights_find(w, "rnn.bia"));
    assert_null(weights_find(w, ""));
    assert_int_equal(weights_damaged(w), 0);
    weights_close(w);
    weights_close(NULL);
    temp_dir_drop(f.dir);
}

static void test_weights_digest_is_the_files(void **state)
{
    struct folder f;
    char want[72];
    size_t n;
    make_folder(&f);
    save_two(&f);
    temp_file_digest(f.dir, (const char *const[]){"model.safetensors", NULL},
                     want, &n);
    struct weights *w = open_or_fail(&f);
    const char *digest = weights_digest(w, NULL);
    assert_string_equal(digest, want);
    assert_ptr_equal(weights_digest(w, NULL), digest);
    weights_close(w);
    temp_dir_drop(f.dir);
}

static void overwrite(const struct folder *f)
{
    FILE *at = fopen(f->path, "r+b");
    assert_non_null(at);
    assert_int_equal(fseek(at, -4, SEEK_END), 0);
    fputs("abcd", at);
    fclose(at);
}

static void test_weights_overwritten_while_served(void **state)
{
    struct folder f;
    make_folder(&f);
    save_two(&f);
    struct weights *w = open_or_fail(&f), *again = open_or_fail(&f);
    weights_digest(w, NULL);
    weights_watch(w, NULL);
    utimensat(AT_FDCWD, f.path, NULL, 0);
    weights_watch(w, NULL); /* touched: the bytes are the same */
    assert_int_equal(weights_damaged(w), 0);
    overwrite(&f);
    weights_watch(w, NULL);
    assert_int_equal(weights_damaged(w), 1);
    /* The first digest is of the changed bytes: it proves nothing. */
    assert_int_equal(weights_damaged(again), 0);
    weights_digest(again, NULL);
    assert_int_equal(weights_damaged(again), 1);
    weights_watch(again, NULL);
    assert_int_equal(weights_damaged(again), 1);
    weights_close(w);
    weights_close(again);
    temp_dir_drop(f.dir);
}

/* What was not read to its end says nothing, and is read again. */
static void test_weights_reading_can_be_stopped(void **state)
{
    struct folder f;
    atomic_int stop = 1;
    make_folder(&f);
    save_two(&f);
    struct weights *w = open_or_fail(&f);
    assert_null(weights_digest(w, &stop));
    atomic_store(&stop, 0);
    assert_non_null(weights_digest(w, &stop));
    overwrite(&f);
    atomic_store(&stop, 1);
    weights_watch(w, &stop);
    assert_int_equal(weights_damaged(w), 0);
    assert_non_null(weights_digest(w, &stop)); /* it is there */
    atomic_store(&stop, 0);
    weights_watch(w, &stop);
    assert_int_equal(weights_damaged(w), 1);
    weights_close(w);
    temp_dir_drop(f.dir);
}

static void test_weights_replaced_while_served(void **state)
{
    struct folder f;
    make_folder(&f);
    save_two(&f);
    struct weights *w = open_or_fail(&f);
    assert_int_equal(unlink(f.path), 0);
    weights_watch(w, NULL);
    save_two(&f);
    weights_watch(w, NULL);
    assert_int_equal(weights_damaged(w), 0);
    weights_close(w);
    temp_dir_drop(f.dir);
}

static void test_weights_truncated_while_served(void **state)
{
    struct folder f;
    make_folder(&f);
    save_two(&f);
    struct weights *w = open_or_fail(&f), *again = open_or_fail(&f);
    static float row[20000];
    const struct tensor *t = weights_find(w, "rnn.weight_ih_l0");
    assert_int_equal(truncate(f.path, 4096), 0);
    tensor_read(t, 0, 20000, row);
    assert_true(row[10] == values[10]); /* the first page is left */
    assert_true(row[19999] == 0);
    assert_int_equal(weights_damaged(w), 1);
    assert_int_equal(weights_damaged(again), 0); /* has not touched it yet */
    weights_close(w);
    tensor_read(weights_find(again, "rnn.weight_ih_l0"), 19999, 1, row);
    assert_int_equal(weights_damaged(again), 1);
    weights_close(again);
    temp_dir_drop(f.dir);
}

static void test_weights_open_reports(void **state)
{
    struct folder f;
    struct weights *w = NULL;
    struct err e = ERR_INIT;
    make_folder(&f);
    assert_int_equal(weights_open(f.dir, "m", &w, &e), -1);
    assert_int_equal(e.code, ERR_NOT_FOUND);
    assert_string_equal(e.msg, "m/model.safetensors: no such file");
    temp_file_text(f.dir, "model.safetensors", "short");
    err_clear(&e);
    assert_int_equal(weights_open(f.dir, "m", &w, &e), -1);
    assert_int_equal(e.code, ERR_FORMAT);
    unlink(f.path);
    assert_int_equal(mkdir(f.path, 0755), 0);
    err_clear(&e);
    assert_int_equal(weights_open(f.dir, "m", &w, &e), -1);
    assert_int_equal(e.code, ERR_IO);
    rmdir(f.path);
    assert_int_equal(mkfifo(f.path, 0644), 0); /* must not hang */
    err_clear(&e);
    assert_int_equal(weights_open(f.dir, "m", &w, &e), -1);
    assert_int_equal(e.code, ERR_IO);
    assert_null(strstr(e.msg, "/tmp"));
    temp_dir_drop(f.dir);
}

/* One value of each type, at an odd address. */
static void test_tensor_read_widens_every_type_unaligned(void **state)
{
    static const float f32 = -1.5f;
    static const double f64 = 0.1;
    static const int64_t i64 = -70000000000;
    static const int32_t i32 = 12345;
    static const uint16_t f16 = 0xc000, bf16 = 0x3fc0;
    static const uint8_t u8 = 200;
    const struct {
        enum dtype d;
        const void *p;
        float want;
    } cases[] = {{DT_F32, &f32, -1.5f},  {DT_F64, &f64, 0.1f},
                 {DT_I64, &i64, -7e10f}, {DT_I32, &i32, 12345.0f},
                 {DT_F16, &f16, -2.0f},  {DT_BF16, &bf16, 1.5f},
                 {DT_U8, &u8, 200.0f}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint8_t block[1 + 3 * 8];
        size_t size = dtype_bytes(cases[i].d);
        for (int k = 0; k < 3; k++)
            memcpy(block + 1 + (size_t)k * size, cases[i].p, size);
        struct tensor t = {.dtype = cases[i].d, .data = block + 1};
        float out[2] = {0, 0};
        tensor_read(&t, 1, 2, out);
        assert_true(out[0] == cases[i].want && out[1] == cases[i].want);
        assert_non_null(dtype_name(cases[i].d));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_weights_need_names_both_shapes),
        cmocka_unit_test(test_weights_need_refuses_what_is_not_finite),
        cmocka_unit_test(test_weights_take_a_wrappers_prefix_away),
        cmocka_unit_test(test_weights_lists_and_finds),
        cmocka_unit_test(test_weights_digest_is_the_files),
        cmocka_unit_test(test_weights_overwritten_while_served),
        cmocka_unit_test(test_weights_reading_can_be_stopped),
        cmocka_unit_test(test_weights_replaced_while_served),
        cmocka_unit_test(test_weights_truncated_while_served),
        cmocka_unit_test(test_weights_open_reports),
        cmocka_unit_test(test_tensor_read_widens_every_type_unaligned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
