/* matrix, the fast way with one scale per row of activations, for I8 weights:
 * quantising against its definition, products against sums of whole numbers,
 * bit for bit, the promise of kernels.h, and what cannot be summed so.
 *
 * SPDX-License-Identifier: MIT */
#include "tests/support/matrix_rig.h"

static const int k_list[] = {32, 96, 256, 736};

static void test_quantise_whole_follows_its_definition(void **state)
{
    struct matrix_rig *d = *state;
    const struct kernels *k;
    struct qrows q;

    for (int K = 1; K <= 150; K += 7)
        for (int f = 0; (k = kernels_available(f)); f++) {
            int ld = (K + 31) / 32 * 32;

            qrows_bind_whole(&q, d->mem, 5, K);
            memset(d->mem, 0x55, qrows_bytes(5, K));
            matrix_quantise(k, d->x, LDX, 1, 4, &q);
            assert_int_equal(q.q[ld - 1], 0x55); /* rows 0 and 4: not ours */
            assert_int_equal(q.q[4 * ld], 0x55);
            assert_int_equal(q.whole[4].below, 0x55555555);
            for (int r = 1; r < 4; r++) {
                const float *x = d->x + r * LDX;
                float max = 0.0f;
                int sum = 0;

                for (int i = 0; i < K; i++)
                    max = fmaxf(max, fabsf(x[i]));
                for (int i = 0; i < ld; i++) {
                    float v = i < K ? x[i] * (127.0f / max) : 0.0f;

                    assert_int_equal(q.q[r * ld + i], (int)rintf(v));
                    sum += q.q[r * ld + i];
                }
                assert_true(q.whole[r].scale == max / 127.0f);
                assert_int_equal(q.whole[r].below, -128 * sum);
            }
        }
}

static void test_quantise_whole_of_zeros_tiny_and_not_finite(void **state)
{
    static const float level[] = {0.0f, 0x1p-101f, NAN, -INFINITY, 3e38f};
    struct matrix_rig *d = *state;
    const struct kernels *k;
    struct qrows q;
    float x[40] = {0};

    for (int f = 0; (k = kernels_available(f)); f++)
        for (int i = 0; i < 5; i++) {
            x[37] = level[i];
            qrows_bind_whole(&q, d->mem, 1, 40);
            matrix_quantise(k, x, 40, 0, 1, &q);
            for (int j = 0; j < 64; j++)
                assert_int_equal(q.q[j], i == 4 && j == 37 ? 127 : 0);
            assert_int_equal(q.whole->below, i == 4 ? -128 * 127 : 0);
            assert_int_equal(isnan(q.whole->scale) != 0, i == 2 || i == 3);
            if (i < 2)
                assert_true(q.whole->scale == 0.0f);
        }
}

/* The one rounding of the sum to fp32, its product with the weights' scale, and
 * one FMA; portable C rounds that twice. */
static float defined(const struct packing *p, const struct qrows *q, int r,
                     int n, float start, int fused)
{
    const int8_t *w = (const int8_t *)p->t.data + (size_t)n * (size_t)p->w.K;
    const int8_t *x = q->q + r * q->blocks * QBLOCK;
    int64_t dot = 0;
    float u;

    for (int k = 0; k < p->w.K; k++)
        dot += w[k] * x[k];
    u = (float)dot * p->t.scale;
    return fused ? fmaf(u, q->whole[r].scale, start)
                 : u * q->whole[r].scale + start;
}

static void test_whole_rows_have_the_bits_of_exact_sums(void **state)
{
    static const int n_list[] = {1, 16, 33, 150},
                     m_list[] = {1, 2, 5, 6, 7, 23};
    struct matrix_rig *d = *state;
    const struct kernels *k;
    struct qrows q;

    for (size_t i = 0; i < COUNT(k_list) * COUNT(n_list); i++) {
        int K = k_list[i / 4], N = n_list[i % 4];
        struct packing p = packing_open(DT_I8, N, K, NULL);

        assert_int_equal(matrix_takes_whole(&p.w), 1);
        for (size_t j = 0; j < COUNT(m_list); j++)
            for (int f = 0; (k = kernels_available(f)); f++) {
                int m = m_list[j];

                qrows_bind_whole(&q, d->mem, m, K);
                matrix_quantise(k, d->x, LDX, 0, m, &q);
                wipe(d->y);
                matrix_rows_q(k, &p.w, 0, N, 0, m, &q, d->start, d->y, LDY);
                for (int r = 0; r < m; r++)
                    for (int n = 0; n < N; n++) {
                        float y = defined(&p, &q, r, n, d->start[r][n], f > 0);

                        if (memcmp(&d->y[r * LDY + n], &y, sizeof y))
                            fail_msg("%s, %d x %d: [%d][%d] is %a, expected %a",
                                     k->name, N, K, r, n,
                                     (double)d->y[r * LDY + n], (double)y);
                    }
                assert_edges(d->y, N, m);
            }
        packing_close(&p);
    }
}

static void test_whole_rows_do_not_depend_on_company_or_split(void **state)
{
    struct matrix_rig *d = *state;
    const int K = 256, N = 131;
    const struct kernels *k;
    struct qrows q, from;
    struct packing p = packing_open(DT_I8, N, K, NULL);

    qrows_bind_whole(&q, d->mem, M_MAX, K);
    for (int f = 0; (k = kernels_available(f)); f++) {
        matrix_quantise(k, d->x, LDX, 0, M_MAX, &q);
        for (int r = 0; r < M_MAX; r++) {
            from = qrows_from(&q, r);
            matrix_rows_q(k, &p.w, 0, N, 0, 1, &from, d->start + r,
                          d->z + r * LDY, LDY);
        }
        for (int m = 1; m <= M_MAX; m += m < 15 ? 1 : 29) {
            wipe(d->y);
            for (int r0 = 0; r0 < M_MAX; r0 += m)
                matrix_rows_q(k, &p.w, 0, N, r0,
                              r0 + m < M_MAX ? m : M_MAX - r0, &q, d->start,
                              d->y, LDY);
            assert_rows(d->y, d->z, N, M_MAX, DT_I8, k->name);
        }
        for (int width = 16; width < 160; width += 48) {
            wipe(d->y);
            for (int n = 0; n < N; n += width)
                matrix_rows_q(k, &p.w, n, n + width < N ? n + width : N, 0,
                              M_MAX, &q, d->start, d->y, LDY);
            assert_rows(d->y, d->z, N, M_MAX, DT_I8, k->name);
        }
    }
    packing_close(&p);
}

static void test_whole_rows_touch_nothing_outside_their_range(void **state)
{
    struct matrix_rig *d = *state;
    const struct kernels *k;
    struct qrows q;
    struct packing p = packing_open(DT_I8, 150, 64, NULL);

    qrows_bind_whole(&q, d->mem, 20, 64);
    for (int f = 0; (k = kernels_available(f)); f++) {
        matrix_quantise(k, d->x, LDX, 0, 20, &q);
        wipe(d->y);
        matrix_rows_q(k, &p.w, 16, 112, 3, 9, &q, NULL, d->y, LDY);
        for (int i = 0; i < M_MAX * LDY; i++) {
            int n = i % LDY, r = i / LDY;
            int in = r >= 3 && r < 12 && n >= 16 && n < 112;

            assert_int_equal(d->y[i] == CANARY, !in);
        }
    }
    packing_close(&p);
}

/* Of the longest rows the largest sum is 128 * 127 * 2^17, which is under 2^31;
 * longer ones, and those of no whole blocks, become fp32. */
static void test_the_largest_sums_fit_and_others_are_widened(void **state)
{
    const int K = 1 << 17;
    const struct kernels *k;
    float *x = mem_floats((size_t)K + 32), y[16];
    void *mem = mem_aligned(qrows_bytes(1, K));
    struct tensor t;
    struct matrix w;
    struct qrows q;

    (void)state;
    assert_true(x && mem);
    make(DT_I8, 1, K + 32, &t);
    memset((void *)(uintptr_t)t.data, 0x80, t.bytes); /* -128 */
    for (int i = 0; i < K; i++)
        x[i] = 1.0f;
    t.dim[1] = K;
    pack(&t, 0, 1, &w);
    assert_int_equal(w.type, DT_I8);
    qrows_bind_whole(&q, mem, 1, K);
    for (int f = 0; (k = kernels_available(f)); f++) {
        double want = -128.0 * K * (double)t.scale;

        matrix_quantise(k, x, (size_t)K, 0, 1, &q);
        matrix_rows_q(k, &w, 0, 1, 0, 1, &q, NULL, y, 16);
        assert_true(fabs((double)y[0] - want) <= -1e-6 * want);
    }
    matrix_fini(&w);
    for (int i = 0; i < 2; i++) {
        t.dim[1] = i ? K + 32 : 48;
        pack(&t, 0, 1, &w);
        assert_int_equal(w.type, DT_F32);
        assert_true(((float *)w.data)[0] == -128.0f * t.scale);
        matrix_fini(&w);
    }
    matrix_data_free(&t);
    mem_aligned_free(x);
    mem_aligned_free(mem);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quantise_whole_follows_its_definition),
        cmocka_unit_test(test_quantise_whole_of_zeros_tiny_and_not_finite),
        cmocka_unit_test(test_whole_rows_have_the_bits_of_exact_sums),
        cmocka_unit_test(test_whole_rows_do_not_depend_on_company_or_split),
        cmocka_unit_test(test_whole_rows_touch_nothing_outside_their_range),
        cmocka_unit_test(test_the_largest_sums_fit_and_others_are_widened),
    };

    return cmocka_run_group_tests(tests, matrix_rig_open, matrix_rig_close);
}
