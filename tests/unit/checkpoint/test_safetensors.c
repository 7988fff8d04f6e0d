/* safetensors: a valid file is read; each rule, broken once, is refused with a
 * message that names it; what is written is read back.
 *
 * SPDX-License-Identifier: MIT */
#include <math.h>
#include <unistd.h>

#include "engine/base/buf.h"
#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/base/rng.h"
#include "engine/checkpoint/safetensors.h"
#include "tests/support/temp_dir.h"
#include "tests/support/unit.h"

/* A file of a header and data_bytes of data, in a block of exactly its size. */
struct image {
    uint8_t *p;
    size_t n;
};

static struct image make(const char *header, size_t len, size_t data_bytes)
{
    struct image im = {NULL, 8 + len + data_bytes};
    im.p = test_malloc(im.n);
    for (int i = 0; i < 8; i++)
        im.p[i] = (uint8_t)((uint64_t)len >> (8 * i));
    memcpy(im.p + 8, header, len);
    for (size_t i = 0; i < data_bytes; i++)
        im.p[8 + len + i] = (uint8_t)i;
    return im;
}

static int parse(const char *header, size_t data_bytes,
                 struct safetensors_index **x, struct err *e)
{
    struct image im = make(header, strlen(header), data_bytes);
    err_clear(e);
    *x = NULL;
    int rc = safetensors_parse(im.p, im.n, "f", x, e);
    test_free(im.p);
    return rc;
}

#define A "\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]}"
#define B "\"b\":{\"dtype\":\"U8\",\"shape\":[5],\"data_offsets\":[24,29]}"

static void test_safetensors_reads_a_valid_file(void **state)
{
    const char *h = "{" B ",\"__metadata__\":{\"k\":\"v\"}," A "}   ";
    struct image im = make(h, strlen(h), 29);
    struct safetensors_index *x = NULL;
    struct err e = ERR_INIT;
    if (safetensors_parse(im.p, im.n, "f", &x, &e))
        fail_msg("%s", e.msg);
    assert_int_equal(safetensors_index_count(x), 2);
    const struct tensor *a = safetensors_index_at(x, 0);
    const struct tensor *b = safetensors_index_at(x, 1);
    assert_string_equal(a->name, "a"); /* by offset, not by place */
    assert_int_equal(a->dtype, DT_F32);
    assert_int_equal(a->n_dims, 2);
    assert_int_equal(a->dim[0], 2);
    assert_int_equal(a->dim[1], 3);
    assert_int_equal(a->bytes, 24);
    assert_ptr_equal(a->data, im.p + 8 + strlen(h));
    assert_string_equal(b->name, "b");
    assert_ptr_equal(b->data, (const uint8_t *)a->data + 24);
    assert_null(safetensors_index_at(x, 2));
    assert_null(safetensors_index_at(x, -1));
    safetensors_index_free(x);
    test_free(im.p);
}

static void test_safetensors_accepts(void **state)
{
    static const struct {
        const char *header;
        size_t data;
    } cases[] = {
        {"{}", 0},
        {"{\"__metadata__\":{}}", 0},
        {"{\"s\":{\"dtype\":\"F64\",\"shape\":[],\"data_offsets\":[0,8]}}", 8},
        {"{\"e\":{\"dtype\":\"F32\",\"shape\":[0,7],\"data_offsets\":[0,0]},"
         "\"z\":{\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[0,2]}}",
         2},
        {"{\"d\":{\"shape\":[1,1,1,1,1,1,1,2],\"dtype\":\"BF16\","
         "\"data_offsets\":[0,4]}}",
         4},
        {"{\"i\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[0,8]},"
         "\"j\":{\"dtype\":\"I32\",\"shape\":[1],\"data_offsets\":[8,12]}}",
         12},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct safetensors_index *x = NULL;
        struct err e = ERR_INIT;
        if (parse(cases[i].header, cases[i].data, &x, &e))
            fail_msg("%s: %s", cases[i].header, e.msg);
        safetensors_index_free(x);
    }
}

#define T(dtype, shape, offsets)                                               \
    "{\"t\":{\"dtype\":" dtype ",\"shape\":" shape                             \
    ",\"data_offsets\":" offsets "}}"
#define F32 "\"F32\""

static void test_safetensors_each_rule_broken_once(void **state)
{
    static const struct {
        const char *header;
        size_t data;
        const char *cause;
    } cases[] = {
        {" {}", 0, "does not start with '{'"},
        {"[]", 0, "does not start with '{'"},
        {"{\"a\":1", 0, "header: invalid JSON"},
        {"{} x", 0, "header: invalid JSON"},
        {"{\"\xff\":1}", 0, "not UTF-8"},
        {"{" A "," A "}", 24, "duplicate key 'a'"},
        {"{\"t\":{\"dtype\":[[1]]}}", 0, "nested deeper"},
        {"{\"t\":1}", 0, "is not described by"},
        {"{\"t\":{}}", 0, "is not described by"},
        {"{\"t\":{\"dtype\":\"F32\",\"shape\":[]}}", 4, "is not described by"},
        {"{\"t\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4],"
         "\"x\":1}}",
         4, "is not described by"},
        {"{\"\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}", 4,
         "tensor name of 0 bytes"},
        {T("1", "[1]", "[0,4]"), 4, "has no dtype"},
        {T("\"F31\"", "[1]", "[0,4]"), 4, "unknown dtype 'F31'"},
        {T("\"f32\"", "[1]", "[0,4]"), 4, "unknown dtype 'f32'"},
        {T(F32, "1", "[0,4]"), 4, "has no shape"},
        {T(F32, "[1.5]", "[0,4]"), 4, "bad dimension"},
        {T(F32, "[-1]", "[0,4]"), 4, "bad dimension"},
        {T(F32, "[\"1\"]", "[0,4]"), 4, "bad dimension"},
        {T(F32, "[1e300]", "[0,4]"), 4, "bad dimension"},
        {T(F32, "[1,1,1,1,1,1,1,1,1]", "[0,4]"), 4, "more than 8 dimensions"},
        {T(F32, "[4611686018427387904]", "[0,4]"), 4, "bad dimension"},
        {T(F32, "[9007199254740992,4096]", "[0,4]"), 4, "is too large"},
        {T(F32, "[4294967296,4294967296,0]", "[0,0]"), 0, "is too large"},
        {T(F32, "[1]", "4"), 4, "has no two data_offsets"},
        {T(F32, "[1]", "[0]"), 4, "has no two data_offsets"},
        {T(F32, "[1]", "[0,4,4]"), 4, "has no two data_offsets"},
        {T(F32, "[1]", "[0,4.5]"), 4, "has no two data_offsets"},
        {T(F32, "[1]", "[null,4]"), 4, "has no two data_offsets"},
        {T(F32, "[1]", "[4,0]"), 4, "outside the file"},
        {T(F32, "[1]", "[-4,0]"), 4, "outside the file"},
        {T(F32, "[1]", "[0,4]"), 3, "outside the file"},
        {T(F32, "[1]", "[0,9007199254740992]"), 4, "outside the file"},
        {T(F32, "[2]", "[0,4]"), 4, "4 bytes of data, expected 8"},
        {T("\"F64\"", "[1]", "[0,4]"), 4, "4 bytes of data, expected 8"},
        {T(F32, "[0]", "[0,4]"), 4, "4 bytes of data, expected 0"},
        {T(F32, "[1]", "[1,5]"), 5, "'t' follows a hole"},
        {T(F32, "[1]", "[0,4]"), 5, "bytes after the last tensor"},
        {"{}", 1, "bytes after the last tensor"},
        {"{" A ",\"c\":{\"dtype\":\"U8\",\"shape\":[4],"
         "\"data_offsets\":[20,24]}}",
         24, "'c' overlaps another"},
        {"{" A ",\"c\":{\"dtype\":\"BOOL\",\"shape\":[4],"
         "\"data_offsets\":[26,30]}}",
         30, "'c' follows a hole"},
        {"{" A ",\"c\":{\"dtype\":\"F32\",\"shape\":[6],"
         "\"data_offsets\":[0,24]}}",
         24, "overlaps another"},
        {"{\"__metadata__\":1}", 0, "__metadata__ is not an object"},
        {"{\"__metadata__\":{\"a\":1}}", 0, "a value that is no string"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct safetensors_index *x = NULL;
        struct err e = ERR_INIT;
        if (parse(cases[i].header, cases[i].data, &x, &e) == 0)
            fail_msg("accepted: %s", cases[i].header);
        assert_null(x);
        assert_int_equal(e.code, ERR_FORMAT);
        if (memcmp(e.msg, "f: ", 3) != 0 || !strstr(e.msg, cases[i].cause)) {
            fail_msg("%s: '%s' lacks '%s'", cases[i].header, e.msg,
                     cases[i].cause);
        }
    }
}

static void test_safetensors_foreign_dtype_is_unsupported(void **state)
{
    struct safetensors_index *x = NULL;
    struct err e = ERR_INIT;
    assert_int_equal(parse(T("\"F8_E4M3\"", "[1]", "[0,1]"), 1, &x, &e), -1);
    assert_int_equal(e.code, ERR_UNSUPPORTED);
    assert_non_null(strstr(e.msg, "F8_E4M3"));
}

static void test_safetensors_header_length_is_checked(void **state)
{
    static const uint64_t lengths[] = {0,
                                       1,
                                       3,
                                       ((uint64_t)16 << 20) + 1,
                                       UINT32_MAX,
                                       UINT64_MAX,
                                       UINT64_MAX - 7,
                                       (uint64_t)1 << 63};
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        struct image im = make("{}", 2, 0);
        struct safetensors_index *x = NULL;
        struct err e = ERR_INIT;
        for (int k = 0; k < 8; k++)
            im.p[k] = (uint8_t)(lengths[i] >> (8 * k));
        assert_int_equal(safetensors_parse(im.p, im.n, "f", &x, &e), -1);
        assert_int_equal(e.code, ERR_FORMAT);
        test_free(im.p);
    }
    for (size_t n = 0; n < 10; n++) { /* files cut inside the length */
        struct image im = make("{}", 2, 0);
        struct image cut = {test_malloc(n + 1), n};
        struct safetensors_index *x = NULL;
        struct err e = ERR_INIT;
        memcpy(cut.p, im.p, n);
        assert_int_equal(safetensors_parse(cut.p, n, "f", &x, &e), -1);
        test_free(im.p);
        test_free(cut.p);
    }
}

static void test_safetensors_long_name_and_many_tensors(void **state)
{
    struct safetensors_index *x = NULL;
    struct err e = ERR_INIT;
    struct buf b;
    char name[258];
    buf_init(&b, 16 << 20);
    memset(name, 'n', 257);
    for (int len = 256; len <= 257; len++) {
        buf_clear(&b);
        buf_addf(&b,
                 "{\"%.*s\":{\"dtype\":\"U8\",\"shape\":[],"
                 "\"data_offsets\":[0,1]}}",
                 len, name);
        assert_int_equal(parse(b.p, 1, &x, &e), len == 256 ? 0 : -1);
        safetensors_index_free(x);
    }
    assert_non_null(strstr(e.msg, "257 bytes"));
    for (int n = 65536; n <= 65537; n++) {
        buf_clear(&b);
        for (int i = 0; i < n; i++) {
            buf_addf(&b,
                     "%c\"%d\":{\"dtype\":\"U8\",\"shape\":[1],"
                     "\"data_offsets\":[%d,%d]}",
                     i ? ',' : '{', i, i, i + 1);
        }
        buf_add_char(&b, '}');
        assert_int_equal(parse(b.p, (size_t)n, &x, &e), n == 65536 ? 0 : -1);
        safetensors_index_free(x);
    }
    assert_non_null(strstr(e.msg, "65537 tensors"));
    buf_fini(&b);
}

/* Random bytes over a valid file: refused or read, never out of bounds (the
 * block is exactly as long as the file). */
static void test_safetensors_survives_mutations(void **state)
{
    const char *h = "{" A "," B ",\"__metadata__\":{\"k\":\"v\"}}";
    struct rng r;
    int accepted = 0;
    rng_init(&r, 9);
    for (int i = 0; i < 3000; i++) {
        struct image im = make(h, strlen(h), 29);
        struct safetensors_index *x = NULL;
        struct err e = ERR_INIT;
        for (uint32_t k = rng_below(&r, 3) + 1; k > 0; k--) {
            static const char pool[] = "0123456789,:[]{}\"-.eF";
            uint32_t at = rng_below(&r, (uint32_t)(8 + strlen(h)));
            im.p[at] = (uint8_t)pool[rng_below(&r, sizeof(pool) - 1)];
        }
        if (safetensors_parse(im.p, im.n, "f", &x, &e) == 0) {
            accepted++;
            for (int k = 0; k < safetensors_index_count(x); k++) {
                const struct tensor *w = safetensors_index_at(x, k);
                const uint8_t *d = w->data;
                assert_true(d >= im.p && d + w->bytes <= im.p + im.n);
            }
        } else {
            assert_true(e.code != ERR_NONE && e.msg[0]);
        }
        safetensors_index_free(x);
        test_free(im.p);
    }
    assert_true(accepted < 2700);
}

static void test_safetensors_save_is_read_back(void **state)
{
    char dir[64], path[96];
    temp_dir_make(dir);
    snprintf(path, sizeof(path), "%s/model.safetensors", dir);
    static float w[5000];
    for (int i = 0; i < 5000; i++)
        w[i] = (float)(i % 2000 - 1000) / 64;
    const struct save_tensor t[] = {
        {"w.f32", DT_F32, 2, {50, 100}, .data = w},
        {"w.\"f16\"\n", DT_F16, 2, {100, 50}, .data = w},
        {"w.bf16", DT_BF16, 3, {10, 10, 50}, .data = w},
        {"scalar", DT_F32, 0, {0}, .data = w + 7},
        {"odd", DT_F16, 1, {3}, .data = w},
    };
    const char *const meta[][2] = {{"format", "pt"}, {"note", "a\"b"}};
    struct err e = ERR_INIT;
    struct weights *in = NULL;
    for (int again = 0; again < 2; again++) /* over an existing file too */
        assert_int_equal(safetensors_save(path, t, 5, meta, 2, &e), 0);
    if (weights_open(dir, "m", &in, &e))
        fail_msg("%s", e.msg);
    assert_int_equal(weights_count(in), 5);
    char *text = NULL;
    size_t n = 0;
    static const char note[] = "\"note\":\"a\\\"b\"";
    assert_int_equal(file_read(path, "m", 1 << 20, &text, &n, &e), 0);
    assert_non_null(memmem(text, n, note, sizeof note - 1));
    mem_free(text);
    assert_true(weights_parameters(in) == 15004);
    const struct tensor *f32 = weights_find(in, "w.f32");
    assert_int_equal((uintptr_t)f32->data % 8, 0);
    static float back[5000];
    tensor_read(f32, 0, 5000, back);
    assert_memory_equal(back, w, sizeof(w));
    tensor_read(weights_find(in, "w.\"f16\"\n"), 0, 5000, back);
    assert_memory_equal(back, w, sizeof(w)); /* 11 bits: exact as halves */
    tensor_read(weights_find(in, "w.bf16"), 0, 5000, back);
    for (int i = 0; i < 5000; i++)
        assert_true(fabsf(back[i] - w[i]) <= fabsf(w[i]) / 256);
    tensor_read(weights_find(in, "scalar"), 0, 1, back);
    assert_true(back[0] == w[7]);
    weights_close(in);
    unlink(path);
    assert_int_equal(rmdir(dir), 0); /* no temporary file is left */
}

/* Rows of 3 numbers, the largest of which is 127 steps of the scale. */
static void test_safetensors_save_rounds_matrices_to_i8(void **state)
{
    static const float w[] = {127, -1.5f, 0.5f, /* scale 1: half to even */
                              0,   0,     0,    -2.54f, 1.27f, 0.0127f};
    static const int8_t by_row[] = {127, -2, 0, 0, 0, 0, -127, 64, 1};
    static const int8_t by_column[] = {127, -127, 127, 0, 0, 0, -3, 108, 3};
    for (int column = 0; column < 2; column++) {
        char dir[64], path[96];
        temp_dir_make(dir);
        snprintf(path, sizeof(path), "%s/model.safetensors", dir);
        const struct save_tensor t[] = {
            {"mask",
             DT_U8,
             1,
             {9},
             .from = &(const struct tensor){.dtype = DT_U8,
                                            .n_dims = 1,
                                            .dim = {9},
                                            .data = by_row,
                                            .bytes = 9}},
            {"w", DT_I8, 2, {3, 3}, .data = w, .by_column = column},
            {"half", DT_F16, 1, {3}, .data = w},
            {"v", DT_F32, 1, {9}, .data = w},
        };
        struct err e = ERR_INIT;
        struct weights *in = NULL;
        float back[9];
        assert_int_equal(safetensors_save(path, t, 4, NULL, 0, &e), 0);
        if (weights_open(dir, "m", &in, &e))
            fail_msg("%s", e.msg);
        assert_int_equal(weights_count(in), 4);
        const struct tensor *i8 = weights_need(in, "w", 2, 3, 3, &e);
        assert_non_null(i8);
        assert_int_equal(i8->dtype, DT_I8);
        assert_int_equal(i8->by_column, column);
        assert_int_equal((uintptr_t)i8->scales % 4, 0); /* in front of bytes */
        assert_int_equal((uintptr_t)weights_find(in, "v")->data % 4, 0);
        assert_memory_equal(i8->data, column ? by_column : by_row, 9);
        tensor_read(i8, 0, 9, back);
        for (int i = 0; i < 9; i++) {
            float most = column ? fmaxf(fabsf(w[i % 3]), fabsf(w[6 + i % 3]))
                                : w[i / 3 * 3];
            assert_true(fabsf(back[i] - w[i]) <= fabsf(most) * 0.5001f / 127);
        }
        weights_close(in);
        temp_dir_drop(dir);
    }
}

/* What comes from a file: widened, rounded, or as it is. */
static void test_safetensors_save_takes_tensors_of_files(void **state)
{
    static const uint16_t halves[] = {0x3c00, 0xc000, 0x3800, 0x0001}; /* f16 */
    static const int8_t q[] = {127, -3, 5, 127};
    static const float scales[] = {0.25f, 3};
    const struct tensor f16 = {.dtype = DT_F16,
                               .n_dims = 2,
                               .dim = {2, 2},
                               .data = halves,
                               .bytes = sizeof halves};
    const struct tensor i8 = {.dtype = DT_I8,
                              .n_dims = 2,
                              .dim = {2, 2},
                              .data = q,
                              .bytes = sizeof q,
                              .scales = scales};
    const struct save_tensor t[] = {
        {"f32", DT_F32, 2, {2, 2}, .from = &f16},
        {"f16", DT_F16, 2, {2, 2}, .from = &f16},
        {"i8", DT_I8, 2, {2, 2}, .from = &i8},
        {"wide", DT_F32, 2, {2, 2}, .from = &i8},
        {"turned", DT_I8, 2, {2, 2}, .from = &i8, .by_column = 1},
    };
    char dir[64], path[96];
    struct err e = ERR_INIT;
    struct weights *in = NULL;
    float back[4];
    temp_dir_make(dir);
    snprintf(path, sizeof(path), "%s/model.safetensors", dir);
    assert_int_equal(safetensors_save(path, t, 5, NULL, 0, &e), 0);
    if (weights_open(dir, "m", &in, &e))
        fail_msg("%s", e.msg);
    tensor_read(weights_find(in, "f32"), 0, 4, back);
    assert_true(back[0] == 1 && back[1] == -2 && back[2] == 0.5f &&
                back[3] == 0x1p-24f);
    assert_memory_equal(weights_find(in, "f16")->data, halves, sizeof halves);
    assert_memory_equal(weights_find(in, "i8")->data, q, sizeof q);
    assert_memory_equal(weights_find(in, "i8")->scales, scales, sizeof scales);
    tensor_read(weights_find(in, "wide"), 0, 4, back);
    assert_true(back[0] == 31.75f && back[1] == -0.75f && back[2] == 15 &&
                back[3] == 381);
    const int8_t *turned = weights_find(in, "turned")->data;
    assert_true(turned[1] == 0 && turned[2] == 60 && turned[3] == 127);
    weights_close(in);
    temp_dir_drop(dir);
}

static void test_safetensors_save_refuses_what_i8_cannot_be(void **state)
{
    static const float w[] = {1, 2, NAN, 4};
    static const float one[] = {1, INFINITY, 3, 4};
    const struct tensor blocks = {
        .dtype = DT_Q8_0, .n_dims = 1, .dim = {32}, .data = w, .bytes = 34};
    const struct save_tensor t[] = {
        {"vector", DT_I8, 1, {4}, .data = one},
        {"nan", DT_I8, 2, {2, 2}, .data = w},
        {"infinite", DT_I8, 2, {2, 2}, .data = one, .by_column = 1},
        {"blocks", DT_Q8_0, 1, {32}, .from = &blocks},
        {"short", DT_F32, 1, {33}, .from = &blocks},
        {"nothing", DT_F32, 1, {4}, .data = NULL},
    };
    char dir[64], path[96];
    temp_dir_make(dir);
    snprintf(path, sizeof(path), "%s/model.safetensors", dir);
    for (size_t i = 0; i < COUNT(t); i++) {
        struct err e = ERR_INIT;
        assert_int_equal(safetensors_save(path, &t[i], 1, NULL, 0, &e), -1);
        assert_int_equal(e.code, ERR_INVALID);
        assert_non_null(strstr(e.msg, t[i].name));
        assert_non_null(strstr(e.msg, i == 1 || i == 2
                                          ? "holds a number that is not finite"
                                          : "cannot be saved"));
        assert_int_not_equal(access(path, F_OK), 0);
    }
    temp_dir_drop(dir);
}

static void test_safetensors_save_reports_failure(void **state)
{
    float v = 1;
    const struct save_tensor ok = {"a", DT_F32, 1, {1}, .data = &v};
    const struct save_tensor bad = {"a", DT_I64, 1, {1}, .data = &v};
    const struct save_tensor huge = {
        "a", DT_F32, 2, {INT64_MAX, INT64_MAX}, .data = &v};
    struct err e = ERR_INIT;
    assert_int_equal(safetensors_save("/nonexistent/x", &ok, 1, NULL, 0, &e),
                     -1);
    assert_int_equal(e.code, ERR_IO);
    err_clear(&e);
    assert_int_equal(safetensors_save("/tmp/x", &bad, 1, NULL, 0, &e), -1);
    assert_int_equal(e.code, ERR_INVALID);
    err_clear(&e);
    assert_int_equal(safetensors_save("/tmp/x", &huge, 1, NULL, 0, &e), -1);
    assert_int_equal(e.code, ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_safetensors_reads_a_valid_file),
        cmocka_unit_test(test_safetensors_accepts),
        cmocka_unit_test(test_safetensors_each_rule_broken_once),
        cmocka_unit_test(test_safetensors_foreign_dtype_is_unsupported),
        cmocka_unit_test(test_safetensors_header_length_is_checked),
        cmocka_unit_test(test_safetensors_long_name_and_many_tensors),
        cmocka_unit_test(test_safetensors_survives_mutations),
        cmocka_unit_test(test_safetensors_save_is_read_back),
        cmocka_unit_test(test_safetensors_save_rounds_matrices_to_i8),
        cmocka_unit_test(test_safetensors_save_takes_tensors_of_files),
        cmocka_unit_test(test_safetensors_save_refuses_what_i8_cannot_be),
        cmocka_unit_test(test_safetensors_save_reports_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
