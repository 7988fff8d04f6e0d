/* dtype: every half and bfloat16 value there and back, and rounding to the
 * nearest, ties to even, held against exact arithmetic in double.
 *
 * SPDX-License-Identifier: MIT */
#include <float.h>
#include <math.h>

#include "engine/base/rng.h"
#include "engine/compute/dtype.h"
#include "tests/support/unit.h"

/* The value of a half by its definition (IEEE 754-2019, 3.4). */
static double half_value(uint16_t h)
{
    int x = h >> 10 & 31, m = h & 1023;
    double v = x == 31  ? (double)(m ? NAN : INFINITY)
               : x == 0 ? ldexp(m, -24)
                        : ldexp(1024 + m, x - 25);
    return h & 0x8000 ? -v : v;
}

static void test_dtype_every_f16_there_and_back(void **state)
{
    for (unsigned h = 0; h < 65536; h++) {
        float f = dtype_from_f16((uint16_t)h);
        double want = half_value((uint16_t)h);
        if (isnan(want)) {
            assert_true(isnan(f));
            assert_true(isnan(dtype_from_f16(dtype_to_f16(f))));
            continue;
        }
        assert_true((double)f == want && !signbit(f) == !signbit(want));
        assert_int_equal(dtype_to_f16(f), h);
    }
}

static void test_dtype_every_bf16_there_and_back(void **state)
{
    for (unsigned h = 0; h < 65536; h++) {
        float f = dtype_from_bf16((uint16_t)h);
        uint32_t bits = h << 16;
        assert_memory_equal(&f, &bits, 4);
        if (isnan(f))
            assert_true(isnan(dtype_from_bf16(dtype_to_bf16(f))));
        else
            assert_int_equal(dtype_to_bf16(f), h);
    }
}

/* Is h the nearest half to f, and the even one of two? */
static int is_nearest_f16(float f, uint16_t h)
{
    double a = fabs((double)f), got = fabs(half_value(h));
    if (a >= 65520) /* half way from the largest to the next power */
        return isinf(got);
    double below = half_value((uint16_t)((h & 0x7fff) - ((h & 0x7fff) != 0)));
    double above = half_value((uint16_t)((h & 0x7fff) + 1));
    above = isinf(above) ? 65536 : above;
    double off = fabs(a - got);
    int tie = off == fabs(a - below) || off == fabs(a - above);
    if ((h & 0x7fff) == 0) {
        tie = off == fabs(a - above);
        below = INFINITY;
    }
    return off <= fabs(a - below) && off <= fabs(a - above) &&
           (!tie || (h & 1) == 0);
}

static void test_dtype_to_f16_rounds_to_nearest_even(void **state)
{
    struct rng r;
    rng_init(&r, 1);
    for (int i = 0; i < 300000; i++) {
        uint32_t bits = (uint32_t)rng_next(&r);
        float f;
        if (i % 2) /* near the halves' own range */
            bits = (bits & 0x807fffffu) | (95 + rng_below(&r, 50)) << 23;
        if (i % 4 == 1) /* exact ties and neighbours of ties */
            bits = (bits & ~0x1fffu) | (0x0fff + rng_below(&r, 3));
        memcpy(&f, &bits, 4);
        if (isnan(f))
            continue;
        uint16_t h = dtype_to_f16(f);
        if (!is_nearest_f16(f, h) || (h >> 15 != bits >> 31))
            fail_msg("%a becomes %04x", (double)f, h);
    }
}

static void test_dtype_to_bf16_rounds_to_nearest_even(void **state)
{
    static const struct {
        uint32_t bits;
        uint16_t bf16;
    } cases[] = {
        {0x3f800000, 0x3f80}, {0x3f807fff, 0x3f80}, {0x3f808000, 0x3f80},
        {0x3f808001, 0x3f81}, {0x3f818000, 0x3f82}, {0x3f817fff, 0x3f81},
        {0x7f7fffff, 0x7f80}, {0xff7f8000, 0xff80}, {0x00008000, 0x0000},
        {0x00018000, 0x0002}, {0x80008001, 0x8001}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        float f;
        memcpy(&f, &cases[i].bits, 4);
        assert_int_equal(dtype_to_bf16(f), cases[i].bf16);
    }
}

/* most / 127 but at both ends of the range of floats. */
static void test_dtype_i8_scale_of_the_largest_magnitude(void **state)
{
    static const float most[] = {1, 127, 0.3f, 3e-36f, 1e30f};
    for (size_t i = 0; i < COUNT(most); i++)
        assert_true(dtype_i8_scale(most[i]) == most[i] / 127.0f);
    assert_true(dtype_i8_scale(0) == 0);
    assert_true(dtype_i8_scale(127 * FLT_MIN / 2) == 0); /* not normal */
    assert_true(dtype_i8_scale(127 * FLT_MIN) == FLT_MIN);
    assert_true(isnan(dtype_i8_scale(NAN)));
    assert_true(isinf(dtype_i8_scale(INFINITY)));
    for (float m = FLT_MAX; m > 0.99f * FLT_MAX; m = nextafterf(m, 0) * 0.9999f)
        assert_true(isfinite(127 * dtype_i8_scale(m)));
}

static void test_dtype_to_i8_rounds_half_to_even(void **state)
{
    static const struct {
        float f, scale;
        int q;
    } cases[] = {
        {0, 1, 0},           {0.5f, 1, 0},
        {1.5f, 1, 2},        {2.5f, 1, 2},
        {-0.5f, 1, 0},       {-1.5f, 1, -2},
        {-2.5f, 1, -2},      {2.51f, 1, 3},
        {0.625f, 0.25f, 2},  {126.5f, 1, 126},
        {127, 1, 127},       {-127, 1, -127},
        {127.4f, 1, 127},    {128, 1, 127},
        {-128, 1, -127},     {1e30f, 1e-30f, 127},
        {-FLT_MAX, 1, -127}, {7, 0, 0},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        assert_int_equal(dtype_to_i8(cases[i].f, cases[i].scale), cases[i].q);
}

/* The largest of a group is 127, and none is off by more than half a step (and
 * the rounding of the scale). */
static void test_dtype_i8_is_near(void **state)
{
    struct rng r;
    rng_init(&r, 5);
    for (int i = 0; i < 20000; i++) {
        float most = expf((float)rng_normal(&r) * 20);
        float scale = dtype_i8_scale(most);
        float f = most * (float)(rng_uniform(&r) * 2 - 1);
        assert_int_equal(dtype_to_i8(most, scale), 127);
        assert_int_equal(dtype_to_i8(-most, scale), -127);
        double back = (double)dtype_to_i8(f, scale) * (double)scale;
        assert_true(fabs(back - (double)f) <= 0.50002 * (double)scale);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dtype_i8_scale_of_the_largest_magnitude),
        cmocka_unit_test(test_dtype_to_i8_rounds_half_to_even),
        cmocka_unit_test(test_dtype_i8_is_near),
        cmocka_unit_test(test_dtype_every_f16_there_and_back),
        cmocka_unit_test(test_dtype_every_bf16_there_and_back),
        cmocka_unit_test(test_dtype_to_f16_rounds_to_nearest_even),
        cmocka_unit_test(test_dtype_to_bf16_rounds_to_nearest_even),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
