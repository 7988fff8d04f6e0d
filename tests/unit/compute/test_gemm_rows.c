/* gemm_rows and pack_new: against sums in double with the textbook bound, and
 * the promise of kernels.h: the bits of a row do not depend on how many rows
 * there are, where it stands, how the columns are split, or which of the FMA
 * families runs.
 *
 * SPDX-License-Identifier: MIT */
#include <float.h>
#include <malloc.h>

#include "engine/base/mem.h"
#include "engine/base/rng.h"
#include "engine/compute/dtype.h"
#include "engine/compute/kernels.h"
#include "engine/compute/tensor.h"
#include "tests/support/unit.h"

#define M_MAX 70
#define K_MAX 1000
#define N_MAX 150
#define PAD 5 /* row strides are larger than rows */
#define LDX (K_MAX + PAD)
#define LDY (N_MAX + PAD)
#define CANARY 12345.0f

struct data {
    float w[N_MAX * K_MAX], x[M_MAX * LDX], init[M_MAX * LDY];
    float y[M_MAX * LDY], z[M_MAX * LDY];
    const float *start[M_MAX];
    struct packed p;
};

static const int shapes[][2] = {
    /* K, N */ {1, 1}, {1, 40},    {7, 17},    {100, 33},
    {256, 48},         {257, 150}, {1000, 130}};
#define N_SHAPES (COUNT(shapes))

static void fill(struct rng *r, float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = (float)rng_normal(r);
}

static int setup(void **state)
{
    struct data *d = mem_zalloc(sizeof *d);
    struct rng r;

    if (!d)
        return -1;
    rng_init(&r, 11);
    fill(&r, d->w, N_MAX * K_MAX);
    fill(&r, d->x, M_MAX * LDX);
    fill(&r, d->init, M_MAX * LDY);
    for (int i = 0; i < M_MAX; i++)
        d->start[i] = d->init + (size_t)i * LDY;
    *state = d;
    return 0;
}

static int teardown(void **state)
{
    mem_free(*state);
    return 0;
}

static void pack(struct data *d, int K, int N)
{
    struct err e = ERR_INIT;

    if (pack_new(d->w, (size_t)K, N, K, NULL, &d->p, &e))
        fail_msg("%s", e.msg);
}

static void wipe(float *y)
{
    for (size_t i = 0; i < (size_t)M_MAX * LDY; i++)
        y[i] = CANARY;
}

static void assert_row(const float *a, const float *b, int N, int m, int r)
{
    if (memcmp(a, b, (size_t)N * sizeof *a))
        fail_msg("row %d of %d differs", r, m);
}

static void test_gemm_rows_is_within_the_bound_of_a_sum(void **state)
{
    struct data *d = *state;

    for (size_t s = 0; s < N_SHAPES; s++) {
        int K = shapes[s][0], N = shapes[s][1], m = 9;
        double unit = (double)FLT_EPSILON / 2.0 * (K + 2); /* Higham: gamma */

        pack(d, K, N);
        for (int f = 0; kernels_available(f); f++) {
            wipe(d->y);
            kernels_available(f)->gemm_rows(&d->p, 0, N, m, d->x, LDX, d->start,
                                            d->y, LDY);
            for (int r = 0; r < m; r++) {
                for (int n = 0; n < N; n++) {
                    double y = (double)d->start[r][n], abs = fabs(y);

                    for (int k = 0; k < K; k++) {
                        double t =
                            (double)d->x[r * LDX + k] * (double)d->w[n * K + k];
                        y += t;
                        abs += fabs(t);
                    }
                    assert_true(fabs((double)d->y[r * LDY + n] - y) <=
                                unit * abs);
                }
                assert_true(d->y[r * LDY + N] == CANARY);
            }
        }
        pack_fini(&d->p);
    }
}

static void test_gemm_rows_of_a_row_alone_and_among_others_agree(void **state)
{
    struct data *d = *state;

    for (size_t s = 0; s < N_SHAPES; s++) {
        int K = shapes[s][0], N = shapes[s][1];

        pack(d, K, N);
        for (int f = 0; kernels_available(f); f++) {
            const struct kernels *k = kernels_available(f);

            for (int r = 0; r < M_MAX; r++)
                k->gemm_rows(&d->p, 0, N, 1, d->x + r * LDX, LDX, d->start + r,
                             d->z + r * LDY, LDY);
            for (int m = 1; m <= M_MAX; m += K > 500 ? 7 : 1) {
                int at = M_MAX - m; /* rows start elsewhere */

                wipe(d->y);
                k->gemm_rows(&d->p, 0, N, m, d->x + at * LDX, LDX,
                             d->start + at, d->y, LDY);
                for (int r = 0; r < m; r++) {
                    assert_row(d->y + r * LDY, d->z + (at + r) * LDY, N, m, r);
                    assert_true(d->y[r * LDY + N] == CANARY);
                }
                assert_true(m == M_MAX || d->y[m * LDY] == CANARY);
            }
        }
        pack_fini(&d->p);
    }
}

static void test_gemm_rows_does_not_depend_on_the_column_split(void **state)
{
    static const int m_list[] = {1, 2, 3, 5, 8, 13, 64};
    struct data *d = *state;

    for (size_t s = 0; s < N_SHAPES; s++) {
        int K = shapes[s][0], N = shapes[s][1];

        pack(d, K, N);
        for (int f = 0; kernels_available(f); f++)
            for (size_t i = 0; i < COUNT(m_list); i++) {
                const struct kernels *k = kernels_available(f);
                int m = m_list[i];

                k->gemm_rows(&d->p, 0, N, m, d->x, LDX, d->start, d->z, LDY);
                for (int width = 16; width < N; width += 48) {
                    wipe(d->y);
                    for (int n = 0; n < N; n += width)
                        k->gemm_rows(&d->p, n, n + width < N ? n + width : N, m,
                                     d->x, LDX, d->start, d->y, LDY);
                    for (int r = 0; r < m; r++)
                        assert_row(d->y + r * LDY, d->z + r * LDY, N, m, r);
                }
            }
        pack_fini(&d->p);
    }
}

static void test_gemm_rows_touches_no_column_outside_its_range(void **state)
{
    struct data *d = *state;

    pack(d, 100, 130);
    for (int f = 0; kernels_available(f); f++)
        for (int m = 1; m <= 16; m++) {
            wipe(d->y);
            kernels_available(f)->gemm_rows(&d->p, 16, 64, m, d->x, LDX,
                                            d->start, d->y, LDY);
            for (int i = 0; i < M_MAX * LDY; i++) {
                int n = i % LDY, in = i / LDY < m && n >= 16 && n < 64;

                assert_int_equal(d->y[i] == CANARY, !in);
            }
        }
    pack_fini(&d->p);
}

static void test_gemm_rows_starts_from_zero_or_from_its_own_output(void **state)
{
    struct data *d = *state;
    const float *self[M_MAX];

    for (size_t s = 0; s < N_SHAPES; s++) {
        int K = shapes[s][0], N = shapes[s][1];

        pack(d, K, N);
        for (int f = 0; kernels_available(f); f++) {
            const struct kernels *k = kernels_available(f);

            for (int i = 0; i < M_MAX; i++)
                self[i] = d->y + i * LDY;
            memset(d->y, 0, sizeof d->y);
            k->gemm_rows(&d->p, 0, N, 20, d->x, LDX, self, d->y, LDY);
            k->gemm_rows(&d->p, 0, N, 20, d->x, LDX, NULL, d->z, LDY);
            for (int r = 0; r < 20; r++)
                assert_row(d->y + r * LDY, d->z + r * LDY, N, 20, r);
            memcpy(d->y, d->init, sizeof d->y);
            k->gemm_rows(&d->p, 0, N, 20, d->x, LDX, self, d->y, LDY);
            k->gemm_rows(&d->p, 0, N, 20, d->x, LDX, d->start, d->z, LDY);
            for (int r = 0; r < 20; r++)
                assert_row(d->y + r * LDY, d->z + r * LDY, N, 20, r);
        }
        pack_fini(&d->p);
    }
}

static void test_gemm_rows_keeps_a_nan_in_its_row(void **state)
{
    struct data *d = *state;

    pack(d, 100, 130);
    for (int f = 0; kernels_available(f); f++) {
        const struct kernels *k = kernels_available(f);
        float was = d->x[5 * LDX + 50];

        k->gemm_rows(&d->p, 0, 130, 20, d->x, LDX, d->start, d->z, LDY);
        d->x[5 * LDX + 50] = NAN;
        k->gemm_rows(&d->p, 0, 130, 20, d->x, LDX, d->start, d->y, LDY);
        d->x[5 * LDX + 50] = was;
        for (int r = 0; r < 20; r++)
            if (r == 5)
                assert_true(isnan(d->y[r * LDY]) && isnan(d->y[r * LDY + 129]));
            else
                assert_row(d->y + r * LDY, d->z + r * LDY, 130, 20, r);
    }
    pack_fini(&d->p);
}

static void test_gemm_rows_avx2_and_avx512_give_the_same_bits(void **state)
{
    struct data *d = *state;
    const struct kernels *a, *b;

    if (kernels_pick("avx2", &a, NULL) || kernels_pick("avx512", &b, NULL))
        skip();
    for (size_t s = 0; s < N_SHAPES; s++) {
        int K = shapes[s][0], N = shapes[s][1];

        pack(d, K, N);
        for (int m = 1; m <= M_MAX; m += K > 500 ? 7 : 1) {
            a->gemm_rows(&d->p, 0, N, m, d->x, LDX, d->start, d->y, LDY);
            b->gemm_rows(&d->p, 0, N, m, d->x, LDX, d->start, d->z, LDY);
            for (int r = 0; r < m; r++)
                assert_row(d->y + r * LDY, d->z + r * LDY, N, m, r);
        }
        pack_fini(&d->p);
    }
}

static void test_pack_new_places_columns_and_pads_with_zero(void **state)
{
    static const int perm[20] = {5,  3,  19, 0,  1,  2, 4, 6,  7,  8,
                                 18, 17, 16, 15, 14, 9, 0, 10, 11, 12};
    struct data *d = *state;
    struct packed p;
    struct err e = ERR_INIT;

    mallopt(M_PERTURB, 0x5a); /* new memory is not zero */
    assert_int_equal(pack_new(d->w, 11, 20, 9, perm, &p, &e), 0);
    assert_int_equal(p.bytes, 32 * 9 * sizeof(float));
    assert_int_equal((uintptr_t)p.data % MEM_ALIGN, 0);
    for (int n = 0; n < 32; n++)
        for (int k = 0; k < 9; k++) {
            float expected = n < 20 ? d->w[perm[n] * 11 + k] : 0.0f;

            assert_true(p.data[(n / 16 * 9 + k) * 16 + n % 16] == expected);
        }
    pack_fini(&p);
    assert_null(p.data);
    pack_fini(&p); /* twice is fine */
}

/* Pieces of 3 inputs, 5 apart, of 19 outputs; some are nobody's. */
static void test_pack_tensor_widens_orders_and_leaves_gaps(void **state)
{
    static const int row[19] = {5, 3, -1, 0, 1,  2,  4,  6,  7, 8,
                                9, 0, -1, 5, 10, 11, -1, -1, 2};
    uint16_t half[12 * 6];
    const struct tensor t = {.dtype = DT_F16, .data = half};
    const struct pack_rows from = {.t = &t,
                                   .N = 19,
                                   .row = row,
                                   .n_parts = 2,
                                   .part = 3,
                                   .part_stride = 5};
    struct packed p;
    struct err e = ERR_INIT;

    (void)state;
    for (int i = 0; i < 12 * 6; i++)
        half[i] = dtype_to_f16((float)(i + 1) / 8.0f);
    mallopt(M_PERTURB, 0x5a); /* new memory is not zero */
    assert_int_equal(pack_tensor(&from, &p, &e), 0);
    assert_int_equal(p.N, 19);
    assert_int_equal(p.K, 8);
    assert_int_equal(p.bytes, 32 * 8 * sizeof(float));
    for (int n = 0; n < 32; n++)
        for (int k = 0; k < 8; k++) {
            int r = n < 19 ? row[n] : -1, i = k < 5 ? k : k - 2;
            float expected = r < 0 || k == 3 || k == 4
                                 ? 0.0f
                                 : (float)(6 * r + i + 1) / 8.0f;

            assert_true(p.data[(n / 16 * 8 + k) * 16 + n % 16] == expected);
        }
    pack_fini(&p);
}

static void test_pack_tensor_fails_cleanly_without_memory(void **state)
{
    const float one = 1.0f;
    const struct tensor t = {.dtype = DT_F32, .data = &one};
    const struct pack_rows from = {
        .t = &t, .N = 1, .n_parts = 1, .part = 1, .part_stride = 1};

    (void)state;
    for (int n = 1; n <= 2; n++) {
        struct packed p;
        struct err e = ERR_INIT;

        mem_fail_at(n);
        assert_int_equal(pack_tensor(&from, &p, &e), -1);
        mem_fail_at(0);
        assert_int_equal(e.code, ERR_NOMEM);
        assert_null(p.data);
    }
}

static void test_pack_new_refuses_empty_shapes_and_lack_of_memory(void **state)
{
    struct data *d = *state;
    struct packed p;
    struct err e = ERR_INIT;

    assert_int_equal(pack_new(d->w, 1, 0, 1, NULL, &p, &e), -1);
    assert_int_equal(e.code, ERR_INVALID);
    err_clear(&e);
    assert_int_equal(pack_new(d->w, 1, 1, 2, NULL, &p, &e), -1);
    assert_int_equal(e.code, ERR_INVALID);
    err_clear(&e);
    mem_fail_at(1);
    assert_int_equal(pack_new(d->w, 1, 1, 1, NULL, &p, &e), -1);
    mem_fail_at(0);
    assert_int_equal(e.code, ERR_NOMEM);
    assert_null(p.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gemm_rows_is_within_the_bound_of_a_sum),
        cmocka_unit_test(test_gemm_rows_of_a_row_alone_and_among_others_agree),
        cmocka_unit_test(test_gemm_rows_does_not_depend_on_the_column_split),
        cmocka_unit_test(test_gemm_rows_touches_no_column_outside_its_range),
        cmocka_unit_test(
            test_gemm_rows_starts_from_zero_or_from_its_own_output),
        cmocka_unit_test(test_gemm_rows_keeps_a_nan_in_its_row),
        cmocka_unit_test(test_gemm_rows_avx2_and_avx512_give_the_same_bits),
        cmocka_unit_test(test_pack_new_places_columns_and_pads_with_zero),
        cmocka_unit_test(test_pack_tensor_widens_orders_and_leaves_gaps),
        cmocka_unit_test(test_pack_tensor_fails_cleanly_without_memory),
        cmocka_unit_test(test_pack_new_refuses_empty_shapes_and_lack_of_memory),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
