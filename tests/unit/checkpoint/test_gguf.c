/* gguf: what a file says is what is read; whatever breaks the format, or asks
 * for more than the file holds, is refused with a message that names the part.
 *
 * SPDX-License-Identifier: MIT */
#include <unistd.h>

#include "engine/checkpoint/gguf.h"
#include "tests/support/gguf_make.h"
#include "tests/support/unit.h"

#define ALIGN 32

static char path[] = "/tmp/seqd-gguf-XXXXXX";

static const uint64_t ne_4x2[] = {4, 2}, ne_64[] = {64}, ne_32x3[] = {32, 3};

static int setup(void **state)
{
    int fd = mkstemp(path);
    return fd < 0 || close(fd);
}

static int teardown(void **state)
{
    return unlink(path);
}

static struct gguf *open_or_fail(struct buf *b)
{
    struct gguf *g = NULL;
    struct err e = ERR_INIT;
    assert_int_equal(gm_write(b, path), 0);
    if (gguf_open(path, "f", &g, &e))
        fail_msg("%s", e.msg);
    buf_fini(b);
    return g;
}

static void every_type(struct buf *b)
{
    gm_kv_int(b, "u8", GGUF_U8, 200);
    gm_kv_int(b, "i8", GGUF_I8, (uint64_t)-3);
    gm_kv_int(b, "u16", GGUF_U16, 60000);
    gm_kv_int(b, "i16", GGUF_I16, (uint64_t)-30000);
    gm_kv_int(b, "u32", GGUF_U32, 4000000000u);
    gm_kv_int(b, "i32", GGUF_I32, (uint64_t)-2000000000);
    gm_kv_int(b, "u64", GGUF_U64, UINT64_MAX);
    gm_kv_int(b, "i64", GGUF_I64, (uint64_t)INT64_MIN);
    gm_kv_int(b, "bool", GGUF_BOOL, 1);
    gm_kv_f32(b, "f32", 0.1f);
    gm_kv_int(b, "f64", GGUF_F64, 0x3fb999999999999a); /* 0.1 */
    gm_kv_string(b, "s", "h\xc3\xa9");
    gm_kv_array(b, "words", GGUF_STRING, 3);
    gm_string(b, "one");
    gm_string(b, "");
    gm_string(b, "three");
    gm_kv_array(b, "small", GGUF_I16, 2);
    gm_int(b, 2, 7);
    gm_int(b, 2, (uint64_t)-7);
    gm_kv_array(b, "none", GGUF_F32, 0);
    gm_kv_array(b, "no-words", GGUF_STRING, 0);
}

static int64_t int_of(const struct gguf *g, const char *key, size_t at)
{
    int64_t v = 0;
    assert_int_equal(gguf_int(g, gguf_find(g, key), at, &v), 0);
    return v;
}

static double float_of(const struct gguf *g, const char *key)
{
    double v = 0;
    assert_int_equal(gguf_float(g, gguf_find(g, key), 0, &v), 0);
    return v;
}

static void assert_text(const struct gguf *g, const char *key, size_t at,
                        const char *want)
{
    const char *s;
    size_t n;
    assert_int_equal(gguf_string(g, gguf_find(g, key), at, &s, &n), 0);
    assert_int_equal(n, strlen(want));
    assert_memory_equal(s, want, n);
}

static void test_gguf_reads_every_metadata_type(void **state)
{
    struct buf b;
    buf_init(&b, 1 << 20);
    gm_head(&b, 3, 0, 16);
    every_type(&b);
    struct gguf *g = open_or_fail(&b);
    int64_t v;
    const char *s;
    size_t n;
    assert_int_equal(gguf_n_keys(g), 16);
    assert_string_equal(gguf_key(g, 2), "u16");
    assert_int_equal(gguf_find(g, "u1"), -1);
    assert_true(int_of(g, "u8", 0) == 200 && int_of(g, "i8", 0) == -3);
    assert_true(int_of(g, "u16", 0) == 60000 && int_of(g, "i16", 0) == -30000);
    assert_true(int_of(g, "u32", 0) == 4000000000);
    assert_true(int_of(g, "i32", 0) == -2000000000);
    assert_true(int_of(g, "i64", 0) == INT64_MIN);
    assert_true(int_of(g, "bool", 0) == 1);
    assert_int_equal(gguf_int(g, gguf_find(g, "u64"), 0, &v), -1);
    assert_true(float_of(g, "u64") == 18446744073709551616.0);
    assert_true(float_of(g, "f32") == (double)0.1f);
    assert_true(float_of(g, "f64") == 0.1);
    assert_true(float_of(g, "i8") == -3);
    assert_int_equal(gguf_int(g, gguf_find(g, "f32"), 0, &v), -1);
    assert_text(g, "s", 0, "h\xc3\xa9");
    assert_text(g, "words", 0, "one");
    assert_text(g, "words", 1, "");
    assert_text(g, "words", 2, "three");
    assert_int_equal(gguf_string(g, gguf_find(g, "words"), 3, &s, &n), -1);
    assert_int_equal(gguf_string(g, gguf_find(g, "u8"), 0, &s, &n), -1);
    assert_int_equal(gguf_int(g, gguf_find(g, "words"), 0, &v), -1);
    assert_int_equal(gguf_type(g, gguf_find(g, "small")), GGUF_ARRAY);
    assert_int_equal(gguf_elem(g, gguf_find(g, "small")), GGUF_I16);
    assert_int_equal(gguf_len(g, gguf_find(g, "small")), 2);
    assert_true(int_of(g, "small", 1) == -7);
    assert_int_equal(gguf_int(g, gguf_find(g, "small"), 2, &v), -1);
    assert_int_equal(gguf_len(g, gguf_find(g, "none")), 0);
    assert_int_equal(gguf_int(g, gguf_find(g, "none"), 0, &v), -1);
    assert_int_equal(gguf_string(g, gguf_find(g, "no-words"), 0, &s, &n), -1);
    assert_int_equal(gguf_n_tensors(g), 0);
    gguf_close(g);
    gguf_close(NULL);
}

/* Two tensors: F32 [2,4] (32 bytes) and Q8_0 [64] (68 bytes). */
static void two_tensors(struct buf *b, uint32_t version)
{
    buf_init(b, 1 << 20);
    gm_head(b, version, 2, 1);
    gm_kv_string(b, "general.architecture", "llama");
    gm_tensor(b, "first.weight", GM_F32, 2, ne_4x2, 0);
    gm_tensor(b, "second", GM_Q8_0, 1, ne_64, 32);
    gm_align(b, ALIGN);
    gm_fill(b, 32, 1);
    gm_fill(b, 68, 2);
}

static void test_gguf_describes_tensors_rows_first(void **state)
{
    for (uint32_t version = 2; version <= 3; version++) {
        struct buf b;
        two_tensors(&b, version);
        struct gguf *g = open_or_fail(&b);
        assert_int_equal(gguf_n_tensors(g), 2);
        const struct tensor *t = gguf_tensor(g, 0);
        assert_string_equal(t->name, "first.weight");
        assert_int_equal(t->dtype, DT_F32);
        assert_int_equal(t->n_dims, 2);
        assert_true(t->dim[0] == 2 && t->dim[1] == 4);
        assert_int_equal(t->bytes, 32);
        assert_int_equal(*(const uint8_t *)t->data, 1);
        t = gguf_tensor(g, 1);
        assert_int_equal(t->dtype, DT_Q8_0);
        assert_true(t->n_dims == 1 && t->dim[0] == 64);
        assert_int_equal(t->bytes, 68);
        assert_int_equal(((const uint8_t *)t->data)[67], 2);
        assert_null(gguf_tensor(g, 2));
        gguf_close(g);
    }
}

static void test_gguf_order_of_data_may_differ_and_padding_end(void **state)
{
    struct buf b;
    buf_init(&b, 1 << 20);
    gm_head(&b, 3, 2, 1);
    gm_kv_int(&b, "general.alignment", GGUF_U32, 64);
    gm_tensor(&b, "b", GM_F32, 2, ne_4x2, 64);
    gm_tensor(&b, "a", GM_F32, 2, ne_4x2, 0);
    gm_align(&b, 64);
    gm_fill(&b, 32, 1);
    gm_align(&b, 64);
    gm_fill(&b, 32, 2);
    gm_align(&b, 64);
    struct gguf *g = open_or_fail(&b);
    assert_int_equal(*(const uint8_t *)gguf_tensor(g, 0)->data, 2);
    assert_int_equal(*(const uint8_t *)gguf_tensor(g, 1)->data, 1);
    gguf_close(g);
}

/* --- refusals: each case writes a file --- */

static void not_gguf(struct buf *b)
{
    gm_fill(b, 64, 'x');
}

static void tiny(struct buf *b)
{
    buf_add(b, "GGUF\3\0\0\0", 8);
}

static void huge_key(struct buf *b)
{
    gm_head(b, 3, 0, 1);
    gm_int(b, 8, UINT64_MAX - 8);
    gm_fill(b, 50, 'k');
}

static void long_key(struct buf *b)
{
    gm_head(b, 3, 0, 1);
    gm_int(b, 8, 257);
    gm_fill(b, 257, 'k');
    gm_int(b, 4, GGUF_U8);
    gm_int(b, 1, 1);
}

static void empty_key(struct buf *b)
{
    gm_head(b, 3, 0, 1);
    gm_kv_int(b, "", GGUF_U64, 1);
}

static void key_with_nul(struct buf *b)
{
    gm_head(b, 3, 0, 1);
    gm_int(b, 8, 4);
    buf_add(b, "a\0bc", 4);
    gm_int(b, 4, GGUF_U64);
    gm_int(b, 8, 1);
}

static void key_not_utf8(struct buf *b)
{
    gm_head(b, 3, 0, 1);
    gm_kv_int(b, "a\xff", GGUF_U64, 1);
}

static void twice_key(struct buf *b)
{
    gm_head(b, 3, 0, 3);
    gm_kv_int(b, "a.b", GGUF_U64, 1);
    gm_kv_int(b, "c", GGUF_U64, 1);
    gm_kv_int(b, "a.b", GGUF_U64, 1);
}

static void unknown_value(struct buf *b)
{
    gm_head(b, 3, 0, 1);
    gm_key(b, "a", (enum gguf_type)13);
    gm_int(b, 8, 1);
}

static void nested(struct buf *b)
{
    gm_head(b, 3, 0, 1);
    gm_kv_array(b, "a", GGUF_ARRAY, 1);
    gm_int(b, 4, GGUF_U8);
    gm_int(b, 8, 0);
}

static void long_array(struct buf *b)
{
    gm_head(b, 3, 0, 1);
    gm_kv_array(b, "a", GGUF_U64, ((uint64_t)1 << 61) + 1); /* x 8: 8 */
    gm_fill(b, 64, 0);
}

static void long_words(struct buf *b)
{
    gm_head(b, 3, 0, 1);
    gm_kv_array(b, "words", GGUF_STRING, 9);
    gm_fill(b, 64, 0);
}

static void cut_words(struct buf *b)
{
    gm_head(b, 3, 0, 1);
    gm_kv_array(b, "words", GGUF_STRING, 2);
    gm_string(b, "one");
    gm_int(b, 8, 60);
    gm_fill(b, 59, 0);
}

static void bad_bool(struct buf *b)
{
    gm_head(b, 3, 0, 1);
    gm_kv_int(b, "flag", GGUF_BOOL, 2);
    gm_fill(b, 8, 0);
}

static void cut_value(struct buf *b)
{
    gm_head(b, 3, 0, 1);
    gm_key(b, "a.long.enough.key", GGUF_U64);
    gm_int(b, 4, 1);
}

static void align_text(struct buf *b)
{
    gm_head(b, 3, 0, 1);
    gm_kv_string(b, "general.alignment", "32");
}

static void cut_description(struct buf *b)
{
    gm_head(b, 3, 1, 0);
    gm_string(b, "t.weight.long.enough");
    gm_int(b, 4, 1);
    gm_int(b, 8, 1);
}

static void overlap(struct buf *b)
{
    gm_head(b, 3, 2, 0);
    gm_tensor(b, "a", GM_Q8_0, 2, ne_32x3, 0);
    gm_tensor(b, "b", GM_Q8_0, 2, ne_32x3, 96);
    gm_align(b, ALIGN);
    gm_fill(b, 96 + 102, 0);
}

static void twice_tensor(struct buf *b)
{
    gm_head(b, 3, 2, 0);
    gm_tensor(b, "a", GM_F32, 2, ne_4x2, 0);
    gm_tensor(b, "a", GM_F32, 2, ne_4x2, 32);
    gm_align(b, ALIGN);
    gm_fill(b, 64, 0);
}

static const struct {
    void (*make)(struct buf *b);
    enum err_code code;
    const char *says;
} refusals[] = {
    {not_gguf, ERR_FORMAT, "does not begin with 'GGUF'"},
    {tiny, ERR_FORMAT, "shorter than 24 bytes"},
    {huge_key, ERR_FORMAT, "a metadata key has a string of"},
    {long_key, ERR_FORMAT, "name of 257 bytes, expected 1..256"},
    {empty_key, ERR_FORMAT, "name of 0 bytes, expected 1..256"},
    {key_with_nul, ERR_FORMAT, "a metadata key has a name that is not UTF-8"},
    {key_not_utf8, ERR_FORMAT, "a metadata key has a name that is not UTF-8"},
    {twice_key, ERR_FORMAT, "metadata 'a.b' appears twice"},
    {unknown_value, ERR_FORMAT, "metadata 'a' has the unknown type 13"},
    {nested, ERR_UNSUPPORTED, "metadata 'a' is an array of arrays"},
    {long_array, ERR_FORMAT, "metadata 'a' has more elements than"},
    {long_words, ERR_FORMAT, "metadata 'words' has more elements than"},
    {cut_words, ERR_FORMAT, "words has a string of 60 bytes, 59 are left"},
    {bad_bool, ERR_FORMAT, "metadata 'flag' holds a boolean that is neither"},
    {cut_value, ERR_FORMAT, "metadata 'a.long.enough.key' has more elements"},
    {align_text, ERR_FORMAT, "'general.alignment' is no power of two"},
    {cut_description, ERR_FORMAT, "the file ends inside a tensor's type"},
    {overlap, ERR_FORMAT, "tensor 'b' overlaps another"},
    {twice_tensor, ERR_FORMAT, "tensor 'a' appears twice"},
};

/* Of a head, and so many zeros behind it. */
static const struct {
    uint32_t version;
    uint64_t n_tensors, n_keys;
    size_t data;
    enum err_code code;
    const char *says;
} heads[] = {
    {1, 0, 0, 0, ERR_UNSUPPORTED, "header: version 1, expected 2 or 3"},
    {9, 0, 0, 0, ERR_UNSUPPORTED, "header: version 9, expected 2 or 3"},
    {3u << 24, 0, 0, 0, ERR_UNSUPPORTED, "header: a big-endian file"},
    {3, 0, 65537, 65537 * 13, ERR_FORMAT,
     "header: 65537 metadata keys, at most 65536"},
    {3, 0, UINT64_MAX, 100, ERR_FORMAT,
     "header: 18446744073709551615 metadata"},
    {3, (uint64_t)1 << 60, 0, 100, ERR_FORMAT,
     "header: 1152921504606846976 tensors"},
    {3, 0, 0, 100, ERR_FORMAT, "bytes after the last tensor"},
};

/* Of one tensor "t.weight" and its data. 2^32 x 2^30 floats are 2^64. */
static const struct {
    uint32_t type;
    int n_dims;
    uint64_t ne[5], offset;
    size_t data;
    const char *says;
    int unsupported; /* else the format is broken */
} tensors[] = {
    {GM_F32, 5, {1, 1, 1, 1, 1}, 0, 4, "has 5 dimensions, at most 4", 0},
    {GM_F32, 2, {0, 4}, 0, 4, "has a dimension outside 1..", 0},
    {GM_F32, 2, {1ull << 32, 1 << 30}, 0, 64, "is larger than the file", 0},
    {GM_F32, 2, {1000, 1000}, 0, 64, "is larger than the file", 0},
    {GM_Q4_0,
     1,
     {48},
     0,
     27,
     "rows of 48, expected a multiple of 32 (Q4_0)",
     0},
    {41, 1, {64}, 0, 64, "has the unknown type 41", 0},
    {GM_IQ2_XXS, 1, {256}, 0, 66, "type IQ2_XXS, expected F32, F16", 1},
    {GM_Q8_0, 2, {32, 3}, 0, 101, "ends behind the", 0}, /* of 102 */
    {GM_Q8_0, 2, {32, 3}, 0, 102 + 60, "60 bytes after the last tensor", 0},
    {GM_Q8_0, 2, {32, 3}, 8, 110, "at offset 8, expected a multiple of 32", 0},
    {GM_Q8_0, 2, {32, 3}, 32, 134, "follows a hole", 0},
    {GM_Q8_0, 2, {32, 3}, UINT64_MAX - 31, 134, "follows a hole", 0},
};

/* The file of b is refused with this, which names the tensor too, if any. */
static void refuse(struct buf *b, enum err_code code, const char *says,
                   const char *tensor)
{
    struct gguf *g = NULL;
    struct err e = ERR_INIT;
    assert_int_equal(gm_write(b, path), 0);
    if (gguf_open(path, "m/f.gguf", &g, &e) == 0)
        fail_msg("taken, but expected: %s", says);
    assert_null(g);
    if (e.code != code || !strstr(e.msg, says) || !strstr(e.msg, tensor) ||
        strncmp(e.msg, "m/f.gguf: ", 10) != 0)
        fail_msg("'%s' (%d), expected '%s' (%d)", e.msg, e.code, says, code);
    buf_clear(b);
}

static void test_gguf_refuses_by_name(void **state)
{
    static const uint32_t aligns[] = {0, 48, 1u << 31};
    struct buf b;
    buf_init(&b, 4 << 20);
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        refusals[i].make(&b);
        refuse(&b, refusals[i].code, refusals[i].says, "");
    }
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        gm_head(&b, heads[i].version, heads[i].n_tensors, heads[i].n_keys);
        gm_fill(&b, heads[i].data, 0);
        refuse(&b, heads[i].code, heads[i].says, "");
    }
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++) {
        gm_head(&b, 3, 1, 0);
        gm_tensor(&b, "t.weight", tensors[i].type, tensors[i].n_dims,
                  tensors[i].ne, tensors[i].offset);
        gm_align(&b, ALIGN);
        gm_fill(&b, tensors[i].data, 0);
        refuse(&b, tensors[i].unsupported ? ERR_UNSUPPORTED : ERR_FORMAT,
               tensors[i].says,
               strstr(tensors[i].says, "bytes after") ? "" : "'t.weight'");
    }
    for (int i = 0; i < 3; i++) {
        gm_head(&b, 3, 0, 1);
        gm_kv_int(&b, "general.alignment", GGUF_U32, aligns[i]);
        refuse(&b, ERR_FORMAT, "'general.alignment' is no power of two", "");
    }
    buf_fini(&b);
}

/* Every cut of a good file is refused, or the file has no tensor yet. */
static void test_gguf_refuses_every_cut(void **state)
{
    struct buf b;
    two_tensors(&b, 3);
    size_t whole = b.len;
    for (size_t n = 0; n < whole; n++) {
        struct gguf *g = NULL;
        struct err e = ERR_INIT;
        b.len = n;
        assert_int_equal(gm_write(&b, path), 0);
        assert_int_equal(gguf_open(path, "f", &g, &e), -1);
        assert_int_equal(e.code, ERR_FORMAT);
    }
    buf_fini(&b);
}

static void test_gguf_open_reports_what_is_no_file(void **state)
{
    struct gguf *g = NULL;
    struct err e = ERR_INIT;
    assert_int_equal(gguf_open("/nowhere/x.gguf", "m/x.gguf", &g, &e), -1);
    assert_int_equal(e.code, ERR_NOT_FOUND);
    assert_string_equal(e.msg, "m/x.gguf: no such file");
    err_clear(&e);
    assert_int_equal(gguf_open("/tmp", "m/x.gguf", &g, &e), -1);
    assert_int_equal(e.code, ERR_IO);
}

/* --- which file a path stands for --- */

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gguf_reads_every_metadata_type),
        cmocka_unit_test(test_gguf_describes_tensors_rows_first),
        cmocka_unit_test(test_gguf_order_of_data_may_differ_and_padding_end),
        cmocka_unit_test(test_gguf_refuses_by_name),
        cmocka_unit_test(test_gguf_refuses_every_cut),
        cmocka_unit_test(test_gguf_open_reports_what_is_no_file),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
