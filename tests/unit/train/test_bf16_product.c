/* Products of the trainer in bf16, against sums in double of rounded numbers.
 * Each unit that the CPU has is tried: AMX comes with AVX-512 BF16.
 *
 * SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "models/train/bf16_product.h"
#include "models/train/blas.h"
#include "tests/support/unit.h"

/* A sum of some 1,000 products of up to 1, in float */
#define TOLERANCE 1e-3
#define BEYOND 7.0f /* what stands between the rows of a result */

static float rounded(float x)
{
    uint32_t u;

    memcpy(&u, &x, sizeof u);
    u = (u + 0x7fffu + (u >> 16 & 1)) & 0xffff0000u;
    memcpy(&x, &u, sizeof x);
    return x;
}

/* r by c with `gap` numbers between the rows, none of them small. */
static struct mat random_mat(int r, int c, int gap, uint32_t seed)
{
    size_t ld = (size_t)c + (size_t)gap, n = (size_t)r * ld;
    float *p = malloc(n * sizeof *p);

    assert_non_null(p);
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        p[i] = (float)(seed >> 8) / 8388608.0f - 1;
        if (i % ld >= (size_t)c)
            p[i] = BEYOND;
    }
    return mat_ld(p, r, c, ld);
}

static float at(struct mat a, int turned, int r, int c)
{
    return turned ? a.p[(size_t)c * a.ld + (size_t)r]
                  : a.p[(size_t)r * a.ld + (size_t)c];
}

static void expect_product(enum bf16_unit u, const int *size, int ta, int tb,
                           int add)
{
    const int m = size[0], n = size[1], k = size[2];
    struct mat a = ta ? random_mat(k, m, 3, 1) : random_mat(m, k, 5, 1);
    struct mat b = tb ? random_mat(n, k, 1, 2) : random_mat(k, n, 0, 2);
    struct mat was = random_mat(m, n, 2, 3), c = random_mat(m, n, 2, 3);

    assert_int_equal(bf16_product(u, ta, tb, a, b, add, c), 1);
    for (int i = 0; i < m; i++) {
        for (int j = 0; j < n; j++) {
            double want = add ? (double)at(was, 0, i, j) : 0;

            for (int s = 0; s < k; s++)
                want += (double)rounded(at(a, ta, i, s)) *
                        (double)rounded(at(b, tb, s, j));
            if (!(fabs((double)at(c, 0, i, j) - want) < TOLERANCE))
                fail_msg("%s, %d x %d x %d, %d %d %d: %g at %d %d, not %g",
                         bf16_unit_name(u), m, n, k, ta, tb, add,
                         (double)at(c, 0, i, j), i, j, want);
        }
        assert_true(at(c, 0, i, n) == BEYOND && at(c, 0, i, n + 1) == BEYOND);
    }
    free(a.p);
    free(b.p);
    free(was.p);
    free(c.p);
}

/* Packed beforehand the right side gives the same bits. */
static void expect_packed(enum bf16_unit u, const int *size, int tb, int add)
{
    const int m = size[0], n = size[1], k = size[2];
    struct mat a = random_mat(m, k, 5, 1);
    struct mat b = tb ? random_mat(n, k, 1, 2) : random_mat(k, n, 0, 2);
    struct mat want = random_mat(m, n, 2, 3), c = random_mat(m, n, 2, 3);
    void *packed = aligned_alloc(64, bf16_packed_bytes(k, n));

    assert_non_null(packed);
    assert_int_equal(bf16_product(u, 0, tb, a, b, add, want), 1);
    bf16_pack(tb, b, packed);
    bf16_product_packed(u, a, packed, add, c);
    assert_memory_equal(c.p, want.p, (size_t)m * c.ld * sizeof *c.p);
    free(packed);
    free(a.p);
    free(b.p);
    free(want.p);
    free(c.p);
}

static void test_products_are_those_of_rounded_numbers(void **state)
{
    static const int sizes[][3] = {
        {64, 64, 64},   {100, 70, 90},   {130, 513, 531},
        {33, 1000, 77}, {129, 16, 1025}, {16, 300, 32},
    };
    const enum bf16_unit best = bf16_unit_open();

    if (best == BF16_NONE) {
        print_message("the CPU has no AVX-512 BF16\n");
        skip();
    }
    for (enum bf16_unit u = BF16_VECTORS; u <= best; u++)
        for (size_t i = 0; i < COUNT(sizes); i++)
            for (int how = 0; how < 8; how++) {
                expect_product(u, sizes[i], how & 1, how >> 1 & 1, how >> 2);
                expect_packed(u, sizes[i], how >> 1 & 1, how >> 2);
            }
}

static void test_small_products_are_left_alone(void **state)
{
    static const int sizes[][3] = {
        {15, 900, 900}, {900, 15, 900}, {900, 900, 31}, {40, 40, 40}};
    const enum bf16_unit u = bf16_unit_open();

    for (size_t i = 0; u && i < COUNT(sizes); i++) {
        struct mat c = {NULL, sizes[i][0], sizes[i][1], 0};

        assert_int_equal(
            bf16_product(u, 0, 0, (struct mat){NULL, c.r, sizes[i][2], 0},
                         (struct mat){NULL, sizes[i][2], c.c, 0}, 0, c),
            0);
    }
}

static void test_blas_asks_for_the_unit(void **state)
{
    struct err e = ERR_INIT;
    struct blas b;

    assert_int_equal(blas_open(&b, &e), 0);
    assert_int_equal(b.bf16, BF16_NONE);
    if (bf16_unit_open() == BF16_NONE) {
        assert_int_equal(blas_use_bf16(&b, &e), -1);
        assert_int_equal(e.code, ERR_UNSUPPORTED);
    } else {
        struct mat x = random_mat(64, 64, 0, 1),
                   exact = random_mat(64, 64, 0, 2);
        struct mat near = random_mat(64, 64, 0, 2);

        blas_nn(&b, x, x, 0, exact);
        assert_int_equal(blas_use_bf16(&b, &e), 0);
        blas_nn(&b, x, x, 0, near);
        assert_true(at(near, 0, 3, 4) != at(exact, 0, 3, 4));
        assert_true(fabsf(at(near, 0, 3, 4) - at(exact, 0, 3, 4)) < 0.05f);
        free(x.p);
        free(exact.p);
        free(near.p);
    }
    blas_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_products_are_those_of_rounded_numbers),
        cmocka_unit_test(test_small_products_are_left_alone),
        cmocka_unit_test(test_blas_asks_for_the_unit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
