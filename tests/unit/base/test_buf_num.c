/* buf_num: numbers read back as themselves and no shorter text would. The C
 * library's printf and strtof are the judges.
 *
 * SPDX-License-Identifier: MIT */
#include <locale.h>
#include <math.h>

#include "engine/base/buf.h"
#include "engine/base/rng.h"
#include "tests/support/unit.h"

#define N_FLOATS 60000
#define N_DOUBLES 20000

static void test_buf_float_text(void **state)
{
    static const struct {
        float v;
        const char *text;
    } cases[] = {
        {0.0f, "0"},
        {-0.0f, "-0"},
        {0.1f, "0.1"},
        {-2.5f, "-2.5"},
        {1.0f, "1"},
        {100.0f, "100"},
        {0.33333334f, "0.33333334"},
        {16777216.0f, "16777216"},
        {123456.7f, "123456.7"},
        {1e-6f, "0.000001"},
        {1.5e-7f, "1.5e-7"},
        {1e20f, "100000000000000000000"},
        {1e22f, "1e22"},
        {3.4028235e38f, "3.4028235e38"},
        {1.17549435e-38f, "1.1754944e-38"},
        {1e-45f, "1e-45"},
        {NAN, "null"},
        {INFINITY, "null"},
        {-INFINITY, "null"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct buf b;
        buf_init(&b, 100);
        assert_int_equal(buf_add_float(&b, cases[i].v), 0);
        assert_string_equal(b.p, cases[i].text);
        buf_fini(&b);
    }
}

static void test_buf_double_text(void **state)
{
    static const struct {
        double v;
        const char *text;
    } cases[] = {
        {0.0, "0"},
        {-0.0, "-0"},
        {0.1, "0.1"},
        {0.30000000000000004, "0.30000000000000004"},
        {1.0 / 3, "0.3333333333333333"},
        {1e15, "1000000000000000"},
        {123.456, "123.456"},
        {9007199254740993.0, "9007199254740992"},
        {5e-324, "5e-324"},
        {1.5e-323, "1.5e-323"},
        {2.2250738585072014e-308, "2.2250738585072014e-308"},
        {1.7976931348623157e308, "1.7976931348623157e308"},
        {0x1p-44, "5.684341886080802e-14"}, /* needs the upper neighbour */
        {NAN, "null"},
        {-INFINITY, "null"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct buf b;
        buf_init(&b, 100);
        assert_int_equal(buf_add_double(&b, cases[i].v), 0);
        assert_string_equal(b.p, cases[i].text);
        buf_fini(&b);
    }
}

static void test_buf_int_text(void **state)
{
    static const int64_t v[] = {0, 7, -7, 1234567890123, INT64_MAX, INT64_MIN};
    for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
        struct buf b;
        char want[32];
        buf_init(&b, 100);
        assert_int_equal(buf_add_int(&b, v[i]), 0);
        snprintf(want, sizeof(want), "%lld", (long long)v[i]);
        assert_string_equal(b.p, want);
        buf_fini(&b);
    }
}

/* The number of significant digits of a JSON number. */
static int n_digits(const char *s)
{
    int n = 0, zeros = 0;
    for (; *s && *s != 'e'; s++) {
        if (*s < '0' || *s > '9' || (n == 0 && *s == '0'))
            continue;
        zeros = *s == '0' ? zeros + 1 : 0;
        n++;
    }
    return n - zeros;
}

/* Every 10th bit pattern is a power of two, where the gaps differ. */
static uint32_t pattern(struct rng *r, int i)
{
    uint32_t x = (uint32_t)rng_next(r);
    return i % 10 ? x : x & 0xff800000u;
}

static void test_buf_float_is_shortest_and_reads_back(void **state)
{
    struct rng r;
    struct buf b;
    rng_init(&r, 11);
    buf_init(&b, 100);
    for (int i = 0; i < N_FLOATS; i++) {
        uint32_t bits = pattern(&r, i);
        float v, back;
        memcpy(&v, &bits, sizeof(v));
        if (!isfinite(v) || v == 0)
            continue;
        buf_clear(&b);
        buf_add_float(&b, v);
        back = strtof(b.p, NULL);
        assert_memory_equal(&back, &v, sizeof(v));
        char text[64];
        int p = 1;
        for (; p < 9; p++) {
            snprintf(text, sizeof(text), "%.*e", p - 1, (double)v);
            if (strtof(text, NULL) == v)
                break;
        }
        snprintf(text, sizeof(text), "%.*e", p - 1, (double)v);
        int power_of_two = (bits & 0x7fffffu) == 0;
        assert_true(n_digits(b.p) == p || (power_of_two && n_digits(b.p) < p));
        if (!power_of_two) /* and the nearest of that length */
            assert_true(strtod(b.p, NULL) == strtod(text, NULL));
    }
    buf_fini(&b);
}

static void test_buf_double_reads_back(void **state)
{
    struct rng r;
    struct buf b;
    rng_init(&r, 12);
    buf_init(&b, 100);
    for (int i = 0; i < N_DOUBLES; i++) {
        uint64_t bits = rng_next(&r);
        double v, back;
        bits &= i % 10 ? UINT64_MAX : 0xfff0000000000000u;
        memcpy(&v, &bits, sizeof(v));
        if (i % 3 == 0)
            v = (double)(int32_t)bits / 1000;
        if (!isfinite(v))
            continue;
        buf_clear(&b);
        buf_add_double(&b, v);
        back = strtod(b.p, NULL);
        assert_true(back == v);
        char text[64];
        snprintf(text, sizeof(text), "%.14e", v);
        if (strtod(text, NULL) == v)
            assert_true(n_digits(b.p) <= 15);
    }
    buf_fini(&b);
}

static void test_buf_numbers_ignore_the_locale(void **state)
{
    static const char *const names[] = {"de_DE.UTF-8", "fr_FR.UTF-8", "de_DE",
                                        NULL};
    struct buf b;
    int have = 0;
    for (int i = 0; names[i] && !have; i++)
        have = setlocale(LC_ALL, names[i]) != NULL;
    buf_init(&b, 100);
    buf_add_double(&b, 1.0 / 3);
    buf_add_char(&b, ' ');
    buf_add_float(&b, 0.5f);
    setlocale(LC_ALL, "C");
    assert_string_equal(b.p, "0.3333333333333333 0.5");
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_buf_float_text),
        cmocka_unit_test(test_buf_double_text),
        cmocka_unit_test(test_buf_int_text),
        cmocka_unit_test(test_buf_float_is_shortest_and_reads_back),
        cmocka_unit_test(test_buf_double_reads_back),
        cmocka_unit_test(test_buf_numbers_ignore_the_locale),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
