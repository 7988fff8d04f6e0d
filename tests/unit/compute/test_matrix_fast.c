/* matrix, the fast way: matrix_quantise against its definition, products
 * against the definition of matrix.h over the weights that tensor_read gives
 * (in double), the promise of kernels.h, and the error against the exact way.
 *
 * SPDX-License-Identifier: MIT */
#include "tests/support/matrix_rig.h"

/* --- quantising --- */

static void test_quantise_follows_its_definition(void **state)
{
    struct matrix_rig *d = *state;
    const struct kernels *k;
    struct qrows q;

    for (int K = 1; K <= 100; K += 9)
        for (int f = 0; (k = kernels_available(f)); f++) {
            qrows_bind(&q, d->mem, 5, K);
            assert_int_equal(q.blocks, (K + 31) / 32);
            memset(d->mem, 0x55, qrows_bytes(5, K));
            matrix_quantise(k, d->x, LDX, 1, 5, &q);
            assert_int_equal(q.b[0].q[0], 0x55); /* row 0 is not ours */
            for (int r = 1; r < 5; r++)
                for (int i = 0; i < K; i += 32) {
                    const float *x = d->x + r * LDX + i;
                    const struct qblock *b = &q.b[i / 32 * 5 + r];
                    int n = K - i < 32 ? K - i : 32, half[2] = {0, 0};
                    float max = 0.0f;

                    for (int j = 0; j < n; j++)
                        max = fmaxf(max, fabsf(x[j]));
                    for (int j = 0; j < 32; j++) {
                        float v = j < n ? x[j] * (127.0f / max) : 0.0f;

                        assert_int_equal(b->q[j], (int)rintf(v));
                        half[j / 16] += b->q[j];
                    }
                    assert_true(b->scale == max / 127.0f);
                    assert_true(b->sum == (float)(half[0] + half[1]));
                    assert_int_equal(b->below, -128 * (half[0] + half[1]));
                    assert_true(b->half[0] == (float)half[0]);
                    assert_true(b->half[1] == (float)half[1]);
                }
        }
}

static void test_quantise_of_zeros_tiny_and_huge_numbers(void **state)
{
    static const float level[] = {0.0f, 1e-45f, 0x1p-101f, 0x1p-100f, 3e38f};
    struct matrix_rig *d = *state;
    const struct kernels *k;
    struct qrows q;
    float x[32];

    for (int f = 0; (k = kernels_available(f)); f++)
        for (int i = 0; i < 5; i++) {
            for (int j = 0; j < 32; j++)
                x[j] = j % 3 ? -level[i] : level[i];
            qrows_bind(&q, d->mem, 1, 32);
            matrix_quantise(k, x, 32, 0, 1, &q);
            assert_int_equal(q.b->q[0], i < 3 ? 0 : 127);
            assert_int_equal(q.b->q[1], i < 3 ? 0 : -127);
            assert_true(q.b->scale == (i < 3 ? 0.0f : level[i] / 127.0f));
        }
}

static void test_a_number_that_is_not_finite_shows_in_its_row_only(void **state)
{
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    struct matrix_rig *d = *state;
    const struct kernels *k;
    struct qrows q;
    struct packing p = packing_open(DT_Q8_0, 40, 96, NULL);

    qrows_bind(&q, d->mem, 4, 96);
    for (int f = 0; (k = kernels_available(f)); f++)
        for (int i = 0; i < 3; i++) {
            float was = d->x[2 * LDX + 95];

            d->x[2 * LDX + 95] = bad[i];
            matrix_quantise(k, d->x, LDX, 0, 4, &q);
            d->x[2 * LDX + 95] = was;
            matrix_rows_q(k, &p.w, 0, 40, 0, 4, &q, NULL, d->y, LDY);
            for (int r = 0; r < 4; r++)
                for (int n = 0; n < 40; n++)
                    assert_int_equal(isnan(d->y[r * LDY + n]) != 0, r == 2);
        }
    packing_close(&p);
}

/* --- products --- */

/* The definition over dequantised weights, and the sum of magnitudes. */
static double defined(const float *w, const struct qrows *q, int r, int K,
                      double *size)
{
    double y = 0.0;

    for (int k = 0; k < K; k++) {
        const struct qblock *b = &q->b[k / 32 * q->m + r];
        double t = (double)b->scale * b->q[k % 32] * (double)w[k];

        y += t;
        *size += fabs(t);
    }
    return y;
}

/* An offset of the codes cancels in exact integers, a minimum (o) in fp32:
 * there the terms s * code and o are larger than the weight. */
static double cancellation(enum dtype type)
{
    switch (type) {
    case DT_Q4_1:
    case DT_Q5_1:
    case DT_Q2_K:
    case DT_Q4_K:
    case DT_Q5_K:
        return 40.0;
    default:
        return 1.0;
    }
}

static void test_rows_follow_the_definition(void **state)
{
    static const int n_list[] = {1, 33, 150};
    struct matrix_rig *d = *state;

    for (int i = 4; i < N_MATRIX_TYPES; i++)
        for (int j = 0; j < 3; j++) {
            enum dtype type = matrix_types[i];
            int K = whole_block(type) * (3 - j), N = n_list[j], m = 9;
            double unit = 1e-6 * cancellation(type);
            const struct kernels *k;
            struct qrows q;
            struct packing p = packing_open(type, N, K, d);

            qrows_bind(&q, d->mem, m, K);
            for (int f = 0; (k = kernels_available(f)); f++) {
                matrix_quantise(k, d->x, LDX, 0, m, &q);
                wipe(d->y);
                matrix_rows_q(k, &p.w, 0, N, 0, m, &q, d->start, d->y, LDY);
                for (int r = 0; r < m; r++)
                    for (int n = 0; n < N; n++) {
                        double size = fabs((double)d->start[r][n]);
                        double y = (double)d->start[r][n] +
                                   defined(d->wide + n * K, &q, r, K, &size);

                        if (!(fabs((double)d->y[r * LDY + n] - y) <=
                              unit * size))
                            fail_msg("%s, %s: [%d][%d] is %g, expected %g",
                                     dtype_name(type), k->name, r, n,
                                     (double)d->y[r * LDY + n], y);
                    }
                assert_edges(d->y, N, m);
            }
            packing_close(&p);
        }
}

static void test_rows_do_not_depend_on_company_place_or_split(void **state)
{
    struct matrix_rig *d = *state;

    for (int i = 4; i < N_MATRIX_TYPES; i++) {
        enum dtype type = matrix_types[i];
        int K = whole_block(type) * 3, N = 131;
        const struct kernels *k;
        struct qrows q, one;
        struct packing p = packing_open(type, N, K, NULL);

        qrows_bind(&q, d->mem, M_MAX, K);
        qrows_bind(&one, d->mem2, 1, K);
        for (int f = 0; (k = kernels_available(f)); f++) {
            matrix_quantise(k, d->x, LDX, 0, M_MAX, &q);
            for (int r = 0; r < M_MAX; r++) {
                matrix_quantise(k, d->x + r * LDX, LDX, 0, 1, &one);
                matrix_rows_q(k, &p.w, 0, N, 0, 1, &one, d->start + r,
                              d->z + r * LDY, LDY);
            }
            for (int m = 1; m <= M_MAX; m += m < 12 ? 1 : 29) {
                wipe(d->y);
                for (int r0 = 0; r0 < M_MAX; r0 += m)
                    matrix_rows_q(k, &p.w, 0, N, r0,
                                  r0 + m < M_MAX ? m : M_MAX - r0, &q, d->start,
                                  d->y, LDY);
                assert_rows(d->y, d->z, N, M_MAX, type, k->name);
            }
            for (int width = 16; width < 160; width += 48) {
                wipe(d->y);
                for (int n = 0; n < N; n += width)
                    matrix_rows_q(k, &p.w, n, n + width < N ? n + width : N, 0,
                                  M_MAX, &q, d->start, d->y, LDY);
                assert_rows(d->y, d->z, N, M_MAX, type, k->name);
            }
        }
        packing_close(&p);
    }
}

static void test_rows_touch_nothing_outside_their_range(void **state)
{
    struct matrix_rig *d = *state;
    const struct kernels *k;
    struct qrows q;
    struct packing p = packing_open(DT_Q4_1, 130, 64, NULL);

    qrows_bind(&q, d->mem, 20, 64);
    for (int f = 0; (k = kernels_available(f)); f++) {
        matrix_quantise(k, d->x, LDX, 0, 20, &q);
        wipe(d->y);
        matrix_rows_q(k, &p.w, 16, 64, 3, 9, &q, d->start, d->y, LDY);
        for (int i = 0; i < M_MAX * LDY; i++) {
            int n = i % LDY, r = i / LDY;
            int in = r >= 3 && r < 12 && n >= 16 && n < 64;

            assert_int_equal(d->y[i] == CANARY, !in);
        }
    }
    packing_close(&p);
}

static void test_rows_start_from_zero_or_their_own_output(void **state)
{
    struct matrix_rig *d = *state;
    const struct kernels *k;
    struct qrows q;
    struct packing p = packing_open(DT_Q6_K, 100, 512, NULL);

    qrows_bind(&q, d->mem, 9, 512);
    for (int f = 0; (k = kernels_available(f)); f++) {
        matrix_quantise(k, d->x, LDX, 0, 9, &q);
        memset(d->y, 0, sizeof d->y);
        matrix_rows_q(k, &p.w, 0, 100, 0, 9, &q, d->self, d->y, LDY);
        matrix_rows_q(k, &p.w, 0, 100, 0, 9, &q, NULL, d->z, LDY);
        assert_rows(d->y, d->z, 100, 9, p.w.type, k->name);
        memcpy(d->y, d->init, sizeof d->y);
        matrix_rows_q(k, &p.w, 0, 100, 0, 9, &q, d->self, d->y, LDY);
        matrix_rows_q(k, &p.w, 0, 100, 0, 9, &q, d->start, d->z, LDY);
        assert_rows(d->y, d->z, 100, 9, p.w.type, k->name);
    }
    packing_close(&p);
}

static void test_families_with_fma_give_the_same_bits(void **state)
{
    struct matrix_rig *d = *state;
    const struct kernels *first = kernels_available(1), *k;

    if (!first)
        skip();
    for (int i = 4; i < N_MATRIX_TYPES; i++) {
        enum dtype type = matrix_types[i];
        int K = whole_block(type) * 3, N = 131, m = 13;
        struct qrows q, other;
        struct packing p = packing_open(type, N, K, NULL);

        qrows_bind(&q, d->mem, m, K);
        qrows_bind(&other, d->mem2, m, K);
        memset(d->mem, 0, qrows_bytes(m, K));
        matrix_quantise(first, d->x, LDX, 0, m, &q);
        matrix_rows_q(first, &p.w, 0, N, 0, m, &q, d->start, d->z, LDY);
        for (int f = 2; (k = kernels_available(f)); f++) {
            memset(d->mem2, 0, qrows_bytes(m, K));
            matrix_quantise(k, d->x, LDX, 0, m, &other);
            assert_memory_equal(d->mem, d->mem2, qrows_bytes(m, K));
            matrix_rows_q(k, &p.w, 0, N, 0, m, &other, d->start, d->y, LDY);
            assert_rows(d->y, d->z, N, m, type, k->name);
        }
        packing_close(&p);
    }
}

/* Rounding x to 1/127 of the largest of 32 gaussian numbers (about 2.1 sigma)
 * leaves an error of 2.1 / 127 / sqrt(12) = 0.5 % of |x| in the mean square,
 * and so in the product of independent weights. */
static void test_the_error_against_exact_is_that_of_8_bits(void **state)
{
    struct matrix_rig *d = *state;

    for (int i = 4; i < N_MATRIX_TYPES; i++) {
        enum dtype type = matrix_types[i];
        const struct kernels *k = NULL;
        int K = whole_block(type) * (whole_block(type) > 32 ? 3 : 24), N = 100;
        double err = 0.0, all = 0.0;
        struct qrows q;
        struct packing p = packing_open(type, N, K, NULL);

        qrows_bind(&q, d->mem, 20, K);
        assert_int_equal(kernels_pick("auto", &k, NULL), 0);
        matrix_quantise(k, d->x, LDX, 0, 20, &q);
        matrix_rows_q(k, &p.w, 0, N, 0, 20, &q, NULL, d->y, LDY);
        matrix_rows(k, &p.w, 0, N, 20, d->x, LDX, NULL, d->z, LDY);
        for (int r = 0; r < 20; r++)
            for (int n = 0; n < N; n++) {
                double z = (double)d->z[r * LDY + n];
                double e = (double)d->y[r * LDY + n] - z;

                err += e * e;
                all += z * z;
            }
        assert_true(sqrt(err / all) < 0.008);
        assert_true(sqrt(err / all) > 0.001); /* it is the fast way */
        packing_close(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quantise_follows_its_definition),
        cmocka_unit_test(test_quantise_of_zeros_tiny_and_huge_numbers),
        cmocka_unit_test(
            test_a_number_that_is_not_finite_shows_in_its_row_only),
        cmocka_unit_test(test_rows_follow_the_definition),
        cmocka_unit_test(test_rows_do_not_depend_on_company_place_or_split),
        cmocka_unit_test(test_rows_touch_nothing_outside_their_range),
        cmocka_unit_test(test_rows_start_from_zero_or_their_own_output),
        cmocka_unit_test(test_families_with_fma_give_the_same_bits),
        cmocka_unit_test(test_the_error_against_exact_is_that_of_8_bits),
    };

    return cmocka_run_group_tests(tests, matrix_rig_open, matrix_rig_close);
}
