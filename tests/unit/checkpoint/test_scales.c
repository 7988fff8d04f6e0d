/* scales: matrices of 8 bits are joined with their scales, which are then no
 * tensors of the net; each rule, broken once, is refused with a message that
 * names the tensor.
 *
 * SPDX-License-Identifier: MIT */
#include <math.h>

#include "engine/base/buf.h"
#include "engine/base/file.h"
#include "engine/checkpoint/weights.h"
#include "tests/support/temp_dir.h"
#include "tests/support/unit.h"

static char dir[64];

static void write_file(const char *name, const char *header, const void *data,
                       size_t n)
{
    char path[128];
    uint64_t len = strlen(header);
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(&len, sizeof len, 1, f), 1);
    assert_int_equal(fwrite(header, 1, len, f), len);
    assert_int_equal(fwrite(data, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static int up(void **state)
{
    (void)state;
    temp_dir_make(dir);
    return 0;
}

static int down(void **state)
{
    (void)state;
    temp_dir_drop(dir);
    return 0;
}

#define T(name, dtype, shape, offsets)                                         \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape                   \
    ",\"data_offsets\":" offsets "}"
#define M T("a", "I8", "[2,3]", "[0,6]")

/* A matrix [2, 3] and six floats behind it. */
struct data {
    int8_t q[6];
    float s[6];
} __attribute__((packed));

static const struct data good = {{1, -2, 3, 127, -127, 0},
                                 {0.5f, 2, 0, 7, 8, 9}};

static struct weights *opened(const char *header, const struct data *d,
                              size_t floats, struct err *e)
{
    struct weights *w = NULL;
    write_file("model.safetensors", header, d, 6 + 4 * floats);
    err_clear(e);
    return weights_open(dir, "m", &w, e) == 0 ? w : NULL;
}

static void test_scales_leave_the_list(void **state)
{
    static const struct {
        const char *header;
        size_t floats;
        float want[6];
    } rows[] = {
        {"{" M "," T("a.scale", "F32", "[2]", "[6,14]") "}",
         2,
         {0.5f, -1, 1.5f, 254, -254, 0}},
        {"{" T("a.scale", "F32", "[1,3]", "[6,18]") "," M "}",
         3,
         {0.5f, -4, 0, 63.5f, -254, 0}},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct err e = ERR_INIT;
        struct weights *w = opened(rows[i].header, &good, rows[i].floats, &e);
        float got[6];
        if (!w)
            fail_msg("%s", e.msg);
        assert_int_equal(weights_count(w), 1);
        assert_true(weights_parameters(w) == 6);
        assert_true(weights_held(w) == 0);
        assert_null(weights_find(w, "a.scale"));
        const struct tensor *t = weights_need(w, "a", 2, 2, 3, &e);
        assert_ptr_equal(t, weights_at(w, 0));
        assert_int_equal(t->dtype, DT_I8);
        tensor_read(t, 0, 6, got);
        assert_memory_equal(got, rows[i].want, sizeof got);
        weights_close(w);
    }
}

static void test_scales_of_other_tensors_are_tensors(void **state)
{
    struct err e = ERR_INIT;
    struct weights *w = opened("{" T("a", "U8", "[2,3]", "[0,6]") "," T(
                                   "a.scale", "F32", "[2]", "[6,14]") "}",
                               &good, 2, &e);
    (void)state;
    assert_non_null(w);
    assert_int_equal(weights_count(w), 2);
    assert_non_null(weights_find(w, "a.scale"));
    weights_close(w);
}

static void test_scales_are_found_behind_a_wrappers_prefix(void **state)
{
    struct err e = ERR_INIT;
    struct weights *w =
        opened("{" T("module.a", "I8", "[2,3]", "[0,6]") "," T(
                   "module.a.scale", "F32", "[2]",
                   "[6,14]") "," T("module.b", "F32", "[4]", "[14,30]") "}",
               &good, 6, &e);
    float got[2];
    (void)state;
    if (!w)
        fail_msg("%s", e.msg);
    assert_int_equal(weights_count(w), 2);
    tensor_read(weights_find(w, "a"), 3, 2, got);
    assert_true(got[0] == 254 && got[1] == -254);
    assert_non_null(weights_find(w, "module.b"));
    weights_close(w);
}

static void test_scales_may_be_in_another_shard(void **state)
{
    static const char index[] = "{\"weight_map\":{\"a\":\"one.safetensors\","
                                "\"a.scale\":\"two.safetensors\"}}";
    struct err e = ERR_INIT;
    struct weights *w = NULL;
    struct file_part p;
    char path[128];
    (void)state;
    snprintf(path, sizeof path, "%s/model.safetensors.index.json", dir);
    assert_int_equal(file_part_open(&p, path, &e), 0);
    assert_int_equal(fwrite(index, 1, sizeof index - 1, p.f), sizeof index - 1);
    assert_int_equal(file_part_commit(&p, 1, &e), 0);
    write_file("one.safetensors", "{" M "}", good.q, 6);
    write_file("two.safetensors", "{" T("a.scale", "F32", "[2]", "[0,8]") "}",
               good.s, 8);
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    remove(path);
    if (weights_open(dir, "m", &w, &e))
        fail_msg("%s", e.msg);
    assert_int_equal(weights_count(w), 1);
    float got[1];
    tensor_read(weights_at(w, 0), 3, 1, got);
    assert_true(got[0] == 254);
    weights_close(w);
}

#define F "m/model.safetensors: tensor "

static void test_scales_each_rule_broken_once(void **state)
{
    static const struct {
        const char *header;
        size_t floats;
        float first; /* scale */
        const char *message;
    } rows[] = {
        {"{" M "}", 0, 1,
         F "'a' is I8, but there is no 'a.scale' with its scales"},
        {"{" M "," T("a.scales", "F32", "[2]", "[6,14]") "}", 2, 1,
         F "'a' is I8, but there is no 'a.scale' with its scales"},
        {"{" T("a", "I8", "[6]", "[0,6]") "," T("a.scale", "F32", "[6]",
                                                "[6,30]") "}",
         6, 1, F "'a' is I8 with 1 dimensions, expected a matrix"},
        {"{" T("a", "I8", "[1,2,3]", "[0,6]") "," T("a.scale", "F32", "[1]",
                                                    "[6,10]") "}",
         1, 1, F "'a' is I8 with 3 dimensions, expected a matrix"},
        {"{" M "," T("a.scale", "F16", "[2]", "[6,10]") "}", 1, 1,
         F "'a.scale' is F16, expected F32: scales of I8"},
        {"{" M "," T("a.scale", "I8", "[1,2]", "[6,8]") "," T("b", "U8", "[2]",
                                                              "[8,10]") "}",
         1, 1, F "'a.scale' is I8, expected F32: scales of I8"},
        {"{" M "," T("a.scale", "F32", "[3]", "[6,18]") "}", 3, 1,
         F "'a.scale' is not [2] or [1,3], a scale for each row or column of "
           "'a'"},
        {"{" M "," T("a.scale", "F32", "[2,1]", "[6,14]") "}", 2, 1,
         F "'a.scale' is not [2] or [1,3], a scale for each row or column of "
           "'a'"},
        {"{" M "," T("a.scale", "F32", "[]", "[6,10]") "}", 1, 1,
         F "'a.scale' is not [2] or [1,3], a scale for each row or column of "
           "'a'"},
        {"{" M "," T("a.scale", "F32", "[2]", "[6,14]") "}", 2, -1,
         F "'a.scale' holds -1 at 0, expected scales that are finite, 127 "
           "times, and not below 0"},
        {"{" M "," T("a.scale", "F32", "[2]", "[6,14]") "}", 2, INFINITY,
         F "'a.scale' holds inf at 0, expected scales that are finite, 127 "
           "times, and not below 0"},
        {"{" M "," T("a.scale", "F32", "[1,3]", "[6,18]") "}", 3, 3e36f,
         F "'a.scale' holds 3e+36 at 0, expected scales that are finite, 127 "
           "times, and not below 0"},
        {"{" T("a", "I8", "[4294967296,4294967296]", "[0,6]") "}", 0, 1,
         F "'a' is too large"},
        {"{" T("a", "I8", "[2,4]", "[0,6]") "}", 0, 1,
         F "'a' has 6 bytes of data, expected 8"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct data d = good;
        struct err e = ERR_INIT;
        d.s[0] = rows[i].first;
        assert_null(opened(rows[i].header, &d, rows[i].floats, &e));
        assert_int_equal(e.code, ERR_FORMAT);
        assert_string_equal(e.msg, rows[i].message);
    }
}

static void test_scales_are_numbers(void **state)
{
    struct data d = good;
    struct err e = ERR_INIT;
    (void)state;
    d.s[1] = NAN;
    assert_null(
        opened("{" M "," T("a.scale", "F32", "[2]", "[6,14]") "}", &d, 2, &e));
    assert_non_null(strstr(e.msg, "nan at 1, expected scales"));
}

/* Found when its numbers are read, as those that are not finite are. */
static void test_a_byte_below_the_others_is_refused(void **state)
{
    struct data d = good;
    struct err e = ERR_INIT;
    (void)state;
    d.q[5] = -128;
    struct weights *w =
        opened("{" M "," T("a.scale", "F32", "[2]", "[6,14]") "}", &d, 2, &e);
    assert_non_null(w);
    assert_non_null(weights_expect(w, "a", 2, 2, 3, &e));
    assert_null(weights_need(w, "a", 2, 2, 3, &e));
    assert_int_equal(e.code, ERR_FORMAT);
    assert_string_equal(e.msg, F "'a' holds -128, expected -127..127");
    weights_close(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scales_leave_the_list),
        cmocka_unit_test(test_scales_of_other_tensors_are_tensors),
        cmocka_unit_test(test_scales_are_found_behind_a_wrappers_prefix),
        cmocka_unit_test(test_scales_each_rule_broken_once),
        cmocka_unit_test(test_scales_are_numbers),
        cmocka_unit_test(test_a_byte_below_the_others_is_refused),
        cmocka_unit_test(test_scales_may_be_in_another_shard),
    };
    return cmocka_run_group_tests(tests, up, down);
}
