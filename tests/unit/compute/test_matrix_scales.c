/* matrix, of I8 with scales in the file, one a row or one a column: what is
 * read against one product a number, what is packed against fp32 of these
 * numbers, bit for bit, and the fast way against matrices that have one scale
 * for all.
 *
 * SPDX-License-Identifier: MIT */
#include "tests/support/matrix_rig.h"

#define ROWS_MAX N_MAX

/* Bytes of -127..127 and scales, both one byte past where they would be
 * aligned. One scale in a while is 0. */
struct eight {
    struct tensor t;
    uint8_t bytes[ROWS_MAX * K_MAX + 1], scales[4 * K_MAX + 1];
};

static void make_eight(struct eight *x, int rows, int cols, int by_column)
{
    struct rng r;

    assert_true(rows <= ROWS_MAX || cols <= ROWS_MAX);
    rng_init(&r, (uint64_t)(rows * 1000 + cols));
    for (int i = 0; i < rows * cols; i++)
        x->bytes[i + 1] = (uint8_t)(rng_below(&r, 255) - 127);
    for (int i = 0; i < (by_column ? cols : rows); i++) {
        float s = i % 29 == 7 ? 0.0f : 0.001f * (float)(1 + rng_below(&r, 99));

        memcpy(x->scales + 1 + 4 * i, &s, sizeof s);
    }
    x->t = (struct tensor){.name = "w",
                           .dtype = DT_I8,
                           .n_dims = 2,
                           .dim = {rows, cols},
                           .data = x->bytes + 1,
                           .bytes = (size_t)(rows * cols),
                           .scales = x->scales + 1,
                           .by_column = by_column};
}

static float scale_at(const struct eight *x, int i)
{
    float s;

    memcpy(&s, x->scales + 1 + 4 * i, sizeof s);
    return s;
}

static float number_at(const struct eight *x, int r, int c)
{
    int q = (int8_t)x->bytes[1 + r * (int)x->t.dim[1] + c];

    return (float)q * scale_at(x, x->t.by_column ? c : r);
}

static void test_tensor_read_multiplies_from_any_element(void **state)
{
    static struct eight x;
    float got[35 * 7];

    (void)state;
    for (int by_column = 0; by_column < 2; by_column++) {
        make_eight(&x, 35, 7, by_column);
        for (int first = 0; first < 35 * 7; first++)
            for (int n = 0; n <= 35 * 7 - first; n += 5) {
                tensor_read(&x.t, (size_t)first, (size_t)n, got);
                for (int i = 0; i < n; i++)
                    assert_true(got[i] == number_at(&x, (first + i) / 7,
                                                    (first + i) % 7));
            }
    }
}

/* Outputs 3 and on of a tensor [N + 3, K], or [K, N + 3] when transposed. */
static void pack_part(struct eight *x, int N, int K, int transposed,
                      int by_column, struct matrix *w)
{
    struct matrix_rows_of from = {&x->t, 3, N, K, transposed};
    struct err e = ERR_INIT;

    make_eight(x, transposed ? K : N + 3, transposed ? N + 3 : K, by_column);
    if (matrix_pack(&from, w, &e))
        fail_msg("%s", e.msg);
}

static void test_products_have_the_bits_of_widened_weights(void **state)
{
    static const int k_list[] = {32, 96, 61, 736}, m_list[] = {1, 2, 7, 33};
    static struct eight x;
    struct matrix_rig *d = *state;
    const struct kernels *k;
    const int N = 41;

    for (int i = 0; i < 4 * 4; i++) {
        int K = k_list[i / 4], transposed = i & 1, by_column = i / 2 & 1;
        struct tensor plain = {.name = "w",
                               .dtype = DT_F32,
                               .n_dims = 2,
                               .dim = {N, K},
                               .data = d->wide,
                               .bytes = (size_t)(N * K) * sizeof(float)};
        struct matrix w, wide;

        pack_part(&x, N, K, transposed, by_column, &w);
        for (int n = 0; n < N; n++)
            for (int j = 0; j < K; j++)
                d->wide[n * K + j] = transposed ? number_at(&x, j, n + 3)
                                                : number_at(&x, n + 3, j);
        pack(&plain, 0, N, &wide);
        /* one scale an output stays; one an input cannot */
        assert_int_equal(
            w.type, transposed == by_column && K % 32 == 0 ? DT_I8 : DT_F32);
        assert_int_equal(matrix_takes_whole(&w), 0);
        for (size_t j = 0; j < COUNT(m_list); j++)
            for (int f = 0; (k = kernels_available(f)); f++) {
                wipe(d->y);
                matrix_rows(k, &w, 0, N, m_list[j], d->x, LDX, d->start, d->y,
                            LDY);
                matrix_rows(k, &wide, 0, N, m_list[j], d->x, LDX, d->start,
                            d->z, LDY);
                assert_rows(d->y, d->z, N, m_list[j], DT_I8, k->name);
                assert_edges(d->y, N, m_list[j]);
            }
        matrix_fini(&w);
        matrix_fini(&wide);
    }
}

/* An output's fast sums are those of a matrix whose only scale is its own. */
static void test_fast_products_use_the_scale_of_the_output(void **state)
{
    static struct eight x;
    struct matrix_rig *d = *state;
    const int N = 41, K = 96, m = 5;
    const struct kernels *k;
    struct qrows q;

    for (int i = 0; i < 2 * 2; i++) {
        int transposed = i & 1, whole = i / 2;
        struct matrix w, one;
        struct tensor t;

        pack_part(&x, N, K, transposed, transposed, &w);
        t = x.t;
        t.scales = NULL;
        (whole ? qrows_bind_whole : qrows_bind)(&q, d->mem, m, K);
        for (int f = 0; (k = kernels_available(f)); f++) {
            matrix_quantise(k, d->x, LDX, 0, m, &q);
            matrix_rows_q(k, &w, 0, N, 0, m, &q, d->start, d->y, LDY);
            for (int n = 0; n < N; n += 6) {
                struct matrix_rows_of from = {&t, 3, N, K, transposed};
                struct err e = ERR_INIT;

                t.scale = scale_at(&x, n + 3);
                assert_int_equal(matrix_pack(&from, &one, &e), 0);
                assert_int_equal(one.type, DT_I8);
                assert_int_equal(matrix_takes_whole(&one), 1);
                matrix_rows_q(k, &one, 0, N, 0, m, &q, d->start, d->z, LDY);
                for (int r = 0; r < m; r++)
                    assert_memory_equal(&d->y[r * LDY + n], &d->z[r * LDY + n],
                                        sizeof(float));
                matrix_fini(&one);
            }
        }
        matrix_fini(&w);
    }
}

static void test_several_of_them_keep_their_scales(void **state)
{
    static struct eight x[3];
    struct matrix_rig *d = *state;
    struct matrix_rows_of from[3];
    struct err e = ERR_INIT;
    struct matrix all, one;
    int at[3];

    for (int i = 0; i < 3; i++) {
        make_eight(&x[i], 20 + i, 64, 0);
        from[i] = (struct matrix_rows_of){&x[i].t, 0, 20 + i, 64, 0};
    }
    for (int of_all = 0; of_all < 2; of_all++) { /* one scale for all beside */
        if (of_all) {
            x[1].t.scales = NULL;
            x[1].t.scale = 0.25f;
        }
        assert_int_equal(matrix_pack_all(from, 3, at, &all, &e), 0);
        assert_int_equal(all.type, DT_I8);
        assert_int_equal(matrix_takes_whole(&all), 0);
        matrix_rows(kernels_available(0), &all, 0, all.N, 1, d->x, LDX, NULL,
                    d->y, LDY);
        for (int i = 0; i < 3; i++) {
            assert_int_equal(matrix_pack(&from[i], &one, &e), 0);
            matrix_rows(kernels_available(0), &one, 0, 20 + i, 1, d->x, LDX,
                        NULL, d->z, LDY);
            assert_memory_equal(d->y + at[i], d->z,
                                (size_t)(20 + i) * sizeof(float));
            matrix_fini(&one);
        }
        matrix_fini(&all);
    }
}

static void refuse(const struct matrix_rows_of *from, const char *message)
{
    struct err e = ERR_INIT;
    struct matrix w;

    assert_int_equal(matrix_pack(from, &w, &e), -1);
    assert_int_equal(e.code, ERR_FORMAT);
    assert_string_equal(e.msg, message);
    assert_null(w.data);
}

/* In the last packed output; not in one that is not packed. */
static void test_what_no_scale_goes_with_is_refused(void **state)
{
    static struct eight x;
    const float big = 3e36f; /* 127 of them are infinite */

    (void)state;
    for (int i = 0; i < 2 * 2; i++) {
        int transposed = i & 1, K = i / 2 ? 64 : 33; /* packed, widened */
        struct matrix_rows_of from = {&x.t, 0, 18, K, transposed};
        struct err e = ERR_INIT;
        struct matrix w;
        size_t at;

        make_eight(&x, transposed ? K : 20, transposed ? 20 : K, transposed);
        at = transposed ? (size_t)(K - 1) * 20 + 18 : 18 * (size_t)K;
        x.bytes[1 + at] = 0x80;
        assert_string_equal(tensor_fault(&x.t), TENSOR_BELOW);
        assert_int_equal(matrix_pack(&from, &w, &e), 0);
        matrix_fini(&w);
        from.N = 19;
        refuse(&from, "tensor 'w' holds -128, expected -127..127");
        x.bytes[1 + at] = 0x81;
        assert_null(tensor_fault(&x.t));
        memcpy(x.scales + 1 + 4 * 18, &big, sizeof big);
        assert_string_equal(tensor_fault(&x.t), TENSOR_NOT_FINITE);
        refuse(&from, "tensor 'w' holds a number that is not finite");
    }
}

static void test_tensors_are_the_same_with_their_scales(void **state)
{
    static struct eight a, b;

    (void)state;
    make_eight(&a, 5, 7, 0);
    make_eight(&b, 5, 7, 0);
    assert_int_equal(tensor_same(&a.t, &b.t), 1);
    b.scales[1 + 4 * 4] ^= 1;
    assert_int_equal(tensor_same(&a.t, &b.t), 0);
    b.scales[1 + 4 * 4] ^= 1;
    b.bytes[1 + 34] ^= 1;
    assert_int_equal(tensor_same(&a.t, &b.t), 0);
    make_eight(&b, 5, 7, 1);
    assert_int_equal(tensor_same(&a.t, &b.t), 0);
    b.t = a.t;
    b.t.scales = NULL;
    assert_int_equal(tensor_same(&a.t, &b.t), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tensor_read_multiplies_from_any_element),
        cmocka_unit_test(test_products_have_the_bits_of_widened_weights),
        cmocka_unit_test(test_fast_products_use_the_scale_of_the_output),
        cmocka_unit_test(test_several_of_them_keep_their_scales),
        cmocka_unit_test(test_what_no_scale_goes_with_is_refused),
        cmocka_unit_test(test_tensors_are_the_same_with_their_scales),
    };

    return cmocka_run_group_tests(tests, matrix_rig_open, matrix_rig_close);
}
