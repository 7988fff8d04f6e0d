/* blocks: every quantised type decodes bit for bit as the Python package gguf
 * does (tests/golden/make_blocks.py), at any position and alignment.
 *
 * SPDX-License-Identifier: MIT */
#include <math.h>

#include "engine/base/json.h"
#include "engine/checkpoint/weights.h"
#include "tests/support/unit.h"

#define MAX_VALUES 1024

static size_t unhex(const char *s, uint8_t *out, size_t cap)
{
    size_t n = strlen(s) / 2;
    assert_true(n <= cap);
    for (size_t i = 0; i < n; i++) {
        char two[3] = {s[2 * i], s[2 * i + 1], 0};
        out[i] = (uint8_t)strtoul(two, NULL, 16);
    }
    return n;
}

struct sample {
    struct tensor t;
    uint8_t raw[4096];
    float want[MAX_VALUES];
    size_t n;
};

static void load(struct json *all, enum dtype d, struct sample *s)
{
    const struct json *j = json_get(all, dtype_name(d));
    uint8_t bits[4 * MAX_VALUES];
    if (!j)
        fail_msg("no sample of %s", dtype_name(d));
    memset(&s->t, 0, sizeof(s->t));
    s->t.dtype = d;
    s->t.data = s->raw + 1; /* odd */
    s->t.bytes = unhex(json_string(json_get(j, "hex")), s->raw + 1, 4000);
    s->n = unhex(json_string(json_get(j, "f32")), bits, sizeof(bits)) / 4;
    memcpy(s->want, bits, 4 * s->n);
    assert_int_equal(s->t.bytes / dtype_block_bytes(d) * (size_t)dtype_block(d),
                     s->n);
}

static struct json *open_samples(void)
{
    struct json *j = NULL;
    struct err e = ERR_INIT;
    if (json_load("tests/golden/blocks.json", "blocks.json", NULL, &j, &e))
        fail_msg("%s", e.msg);
    return j;
}

static void test_blocks_decode_bit_for_bit(void **state)
{
    static struct sample s;
    struct json *all = open_samples();
    for (int d = DT_Q8_0; d < N_DTYPES; d++) {
        float got[MAX_VALUES];
        load(all, (enum dtype)d, &s);
        tensor_read(&s.t, 0, s.n, got);
        for (size_t i = 0; i < s.n; i++) {
            if (memcmp(&got[i], &s.want[i], 4) != 0) {
                fail_msg("%s[%zu] is %.9g, expected %.9g",
                         dtype_name((enum dtype)d), i, (double)got[i],
                         (double)s.want[i]);
            }
        }
    }
    json_free(all);
}

/* Any part of a row gives the same numbers, and nothing beside it is written.
 */
static void test_blocks_read_any_part_of_a_row(void **state)
{
    static const size_t parts[][2] = {{0, 1},   {31, 2},  {1, 30},  {5, 90},
                                      {32, 32}, {33, 64}, {191, 1}, {160, 32}};
    static struct sample s;
    struct json *all = open_samples();
    for (int d = DT_Q8_0; d < N_DTYPES; d++) {
        load(all, (enum dtype)d, &s);
        for (size_t k = 0; k < sizeof(parts) / sizeof(parts[0]); k++) {
            size_t first = parts[k][0], n = parts[k][1];
            first = dtype_block((enum dtype)d) > 32 ? first * 4 : first;
            n = dtype_block((enum dtype)d) > 32 && n > 1 ? n * 4 : n;
            float got[MAX_VALUES];
            memset(got, 0x55, sizeof(got));
            float mark = got[0];
            assert_true(first + n <= s.n);
            tensor_read(&s.t, first, n, got + 1);
            assert_memory_equal(got + 1, s.want + first, 4 * n);
            assert_memory_equal(&got[0], &mark, 4);
            assert_memory_equal(&got[n + 1], &mark, 4);
        }
    }
    json_free(all);
}

/* An infinite scale or offset is found in any block, wherever its halves lie;
 * codes may be any bytes. */
static void test_blocks_finite_looks_at_every_scale(void **state)
{
    static struct sample s;
    static uint8_t bytes[MAX_VALUES * 2];
    struct json *all = open_samples();
    for (int d = DT_Q8_0; d < N_DTYPES; d++) {
        load(all, (enum dtype)d, &s);
        assert_true(s.t.bytes <= sizeof bytes);
        assert_null(tensor_fault(&s.t));
        size_t found = 0, size = dtype_block_bytes((enum dtype)d);
        struct tensor t = s.t;
        for (size_t at = 0; at + 1 < t.bytes; at++) {
            float got[MAX_VALUES];
            int bad = 0;
            memcpy(bytes, s.t.data, t.bytes);
            t.data = bytes;
            bytes[at] = 0;
            bytes[at + 1] = 0x7c | (bytes[at + 1] & 0x80); /* infinity */
            tensor_read(&t, 0, s.n, got);
            for (size_t i = 0; i < s.n; i++)
                bad |= !isfinite(got[i]);
            if ((tensor_fault(&t) != NULL) != bad)
                fail_msg("%s: byte %zu of %zu", dtype_name((enum dtype)d), at,
                         size);
            found += (size_t)bad;
        }
        assert_true(found >= t.bytes / size);
    }
    json_free(all);
}

static void test_tensor_fault_of_plain_types(void **state)
{
    static const float f32[] = {0, -1, 3.4028235e38f, 1e-45f, 7};
    static const double f64[] = {1, -3.4e38, 1e-300};
    float f[19];
    double v[3];
    uint16_t h[21];
    struct tensor t = {.name = "t", .n_dims = 1, .data = f};
    for (int bad = 0; bad < 19; bad++) {
        for (int i = 0; i < 19; i++)
            f[i] = f32[i % 5];
        t.dtype = DT_F32;
        t.bytes = sizeof f;
        assert_null(tensor_fault(&t));
        f[bad] = bad % 2 ? -INFINITY : NAN;
        assert_string_equal(tensor_fault(&t), TENSOR_NOT_FINITE);
    }
    t.data = h;
    t.bytes = sizeof h;
    for (int bad = 0; bad < 21; bad++) {
        for (int i = 0; i < 21; i++)
            h[i] = i % 2 ? 0x7bff : 0x83ff; /* the largest, a subnormal */
        t.dtype = DT_F16;
        assert_null(tensor_fault(&t));
        h[bad] = bad % 2 ? 0x7c00 : 0xfe01;
        assert_string_equal(tensor_fault(&t), TENSOR_NOT_FINITE);
        t.dtype = DT_BF16; /* a number there */
        assert_null(tensor_fault(&t));
        h[bad] = bad % 2 ? 0xff80 : 0x7fc0;
        assert_string_equal(tensor_fault(&t), TENSOR_NOT_FINITE);
    }
    t = (struct tensor){
        .name = "t", .dtype = DT_F64, .data = v, .bytes = sizeof v};
    memcpy(v, f64, sizeof v);
    assert_null(tensor_fault(&t));
    v[1] = 1e39; /* no float */
    assert_string_equal(tensor_fault(&t), TENSOR_NOT_FINITE);
    t.dtype = DT_I64;
    assert_null(tensor_fault(&t));
    t.bytes = 0;
    t.dtype = DT_F32;
    assert_null(tensor_fault(&t));
}

static void test_dtype_tables_know_blocks(void **state)
{
    assert_int_equal(dtype_bytes(DT_F32), 4);
    assert_int_equal(dtype_bytes(DT_Q4_0), 0);
    assert_int_equal(dtype_block(DT_BF16), 1);
    assert_int_equal(dtype_block(DT_IQ4_NL), 32);
    assert_int_equal(dtype_block(DT_Q3_K), 256);
    assert_int_equal(dtype_block_bytes(DT_F16), 2);
    assert_false(dtype_quantised(DT_U8));
    assert_true(dtype_quantised(DT_Q8_0));
    assert_string_equal(dtype_name(DT_Q6_K), "Q6_K");
    assert_string_equal(dtype_name(N_DTYPES), "?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blocks_decode_bit_for_bit),
        cmocka_unit_test(test_blocks_read_any_part_of_a_row),
        cmocka_unit_test(test_blocks_finite_looks_at_every_scale),
        cmocka_unit_test(test_tensor_fault_of_plain_types),
        cmocka_unit_test(test_dtype_tables_know_blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
