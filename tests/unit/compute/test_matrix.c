/* matrix, the exact way: every type and family against gemm_rows over the
 * weights that tensor_read gives, bit for bit, and gemm_rows itself against
 * sums in double (test_gemm_rows.c); the promise of kernels.h; packing.
 *
 * SPDX-License-Identifier: MIT */
#include <malloc.h>

#include "tests/support/matrix_rig.h"

static int k_of(enum dtype type, int blocks)
{
    return whole_block(type) > 1 ? whole_block(type) * blocks : 37 * blocks;
}

static void test_widened_panels_have_the_bits_of_tensor_read(void **state)
{
    struct matrix_rig *d = *state;
    _Alignas(64) static float panel[K_MAX * PACK_COLS];

    for (int i = 0; i < N_MATRIX_TYPES; i++) {
        enum dtype type = matrix_types[i];
        int K = k_of(type, 3), N = 37;
        struct packing p;

        if (type == DT_F32 || type == DT_F64)
            continue; /* never widened */
        p = packing_open(type, N, K, d);
        for (int f = 0; kernels_available(f); f++)
            for (int n = 0; n < N; n++) {
                const struct kernels *k = kernels_available(f);

                if (n % PACK_COLS == 0) {
                    k->matrix_widen(&p.w, n / PACK_COLS, 0, K, panel);
                    k->matrix_widen(&p.w, n / PACK_COLS, 32, K,
                                    panel + 32 * PACK_COLS);
                }
                for (int j = 0; j < K; j++)
                    if (memcmp(&panel[j * PACK_COLS + n % PACK_COLS],
                               &d->wide[n * K + j], sizeof(float)))
                        fail_msg("%s, %s: [%d][%d] is %a, expected %a",
                                 dtype_name(type), k->name, n, j,
                                 (double)panel[j * PACK_COLS + n % PACK_COLS],
                                 (double)d->wide[n * K + j]);
            }
        packing_close(&p);
    }
}

static void check_rows(struct matrix_rig *d, const struct matrix *w,
                       const struct packed *p, int m, const char *family)
{
    const struct kernels *k;

    for (int f = 0; (k = kernels_available(f)); f++) {
        if (strcmp(k->name, family))
            continue;
        wipe(d->y);
        k->gemm_rows(p, 0, w->N, m, d->x, LDX, d->start, d->z, LDY);
        matrix_rows(k, w, 0, w->N, m, d->x, LDX, d->start, d->y, LDY);
        assert_rows(d->y, d->z, w->N, m, w->type, k->name);
        assert_edges(d->y, w->N, m);
        k->gemm_rows(p, 0, w->N, m, d->x, LDX, NULL, d->z, LDY);
        matrix_rows(k, w, 0, w->N, m, d->x, LDX, NULL, d->y, LDY);
        assert_rows(d->y, d->z, w->N, m, w->type, k->name);
    }
}

static void test_rows_have_the_bits_of_gemm_rows(void **state)
{
    static const char *const families[] = {"generic", "avx2", "avx512"};
    static const int n_list[] = {1, 16, 33, 150};
    struct matrix_rig *d = *state;

    for (int i = 0; i < N_MATRIX_TYPES; i++)
        for (int j = 0; j < 4; j++) {
            enum dtype type = matrix_types[i];
            int K = k_of(type, 1 + j % 3), N = n_list[j];
            struct packed p;
            struct packing own = packing_open(type, N, K, d);

            assert_int_equal(pack_new(d->wide, (size_t)K, N, K, NULL, &p, NULL),
                             0);
            for (int m = 1; m <= M_MAX; m += m < 20 ? 1 : 10)
                for (int f = 0; f < 3; f++)
                    check_rows(d, &own.w, &p, m, families[f]);
            pack_fini(&p);
            packing_close(&own);
        }
}

typedef __typeof__(matrix_rows) rows_fn;

static void check_company(struct matrix_rig *d, const struct packing *p,
                          rows_fn *rows)
{
    const struct kernels *k;
    int N = p->w.N;

    for (int f = 0; (k = kernels_available(f)); f++) {
        for (int r = 0; r < M_MAX; r++)
            rows(k, &p->w, 0, N, 1, d->x + r * LDX, LDX, d->start + r,
                 d->z + r * LDY, LDY);
        for (int width = 16; width < 160; width += 48) {
            wipe(d->y);
            for (int n = 0; n < N; n += width)
                rows(k, &p->w, n, n + width < N ? n + width : N, M_MAX, d->x,
                     LDX, d->start, d->y, LDY);
            assert_rows(d->y, d->z, N, M_MAX, p->w.type, k->name);
        }
        for (int m = 1; m < M_MAX; m += m < 8 ? 1 : 9) {
            rows(k, &p->w, 0, N, m, d->x, LDX, d->start, d->y, LDY);
            assert_rows(d->y, d->z, N, m, p->w.type, k->name);
        }
    }
}

static void test_rows_do_not_depend_on_company_or_column_split(void **state)
{
    for (int i = 0; i < N_MATRIX_TYPES; i++) {
        struct packing p =
            packing_open(matrix_types[i], 131, k_of(matrix_types[i], 3), NULL);

        check_company(*state, &p, matrix_rows);
        packing_close(&p);
    }
}

static void test_rows_add_to_their_own_output(void **state)
{
    struct matrix_rig *d = *state;
    const struct kernels *k;
    struct packing p = packing_open(DT_Q4_1, 100, 160, NULL);

    for (int f = 0; (k = kernels_available(f)); f++) {
        memcpy(d->y, d->init, sizeof d->y);
        matrix_rows(k, &p.w, 0, 100, 9, d->x, LDX, d->self, d->y, LDY);
        matrix_rows(k, &p.w, 0, 100, 9, d->x, LDX, d->start, d->z, LDY);
        assert_rows(d->y, d->z, 100, 9, p.w.type, k->name);
    }
    packing_close(&p);
}

/* --- bf16 --- */

static float rounded(float x)
{
    return dtype_from_bf16(dtype_to_bf16(x));
}

static void test_bf16_rows_multiply_rounded_activations(void **state)
{
    static const int n_list[] = {1, 16, 33, 150}, k_list[] = {1, 37, 511, 768};
    struct matrix_rig *d = *state;
    const struct kernels *k;
    struct packing p;

    assert_int_equal(kernels_pick("auto", &k, NULL), 0);
    for (int i = 0; i < 4; i++) {
        int K = k_list[i], N = n_list[i], m = 9;

        p = packing_open(DT_BF16, N, K, d);
        if (!matrix_has_bf16(k, &p.w)) {
            packing_close(&p);
            skip();
        }
        wipe(d->y);
        matrix_rows_bf16(k, &p.w, 0, N, m, d->x, LDX, d->start, d->y, LDY);
        for (int r = 0; r < m; r++)
            for (int n = 0; n < N; n++) {
                double y = (double)d->start[r][n], size = fabs(y);

                for (int j = 0; j < K; j++) {
                    double t = (double)rounded(d->x[r * LDX + j]) *
                               (double)d->wide[n * K + j];

                    y += t;
                    size += fabs(t);
                }
                assert_true(fabs((double)d->y[r * LDY + n] - y) <= 1e-6 * size);
            }
        assert_edges(d->y, N, m);
        packing_close(&p);
    }
}

static void test_bf16_rows_do_not_depend_on_company_or_split(void **state)
{
    struct packing p = packing_open(DT_BF16, 131, 600, NULL);

    check_company(*state, &p, matrix_rows_bf16);
    packing_close(&p);
}

/* --- packing --- */

static void test_a_range_of_rows_is_packed(void **state)
{
    struct matrix_rig *d = *state;

    for (int i = 0; i < N_MATRIX_TYPES; i++) {
        enum dtype type = matrix_types[i];
        int K = k_of(type, 2);
        struct tensor t;
        struct matrix w, part;

        make(type, 60, K, &t);
        pack(&t, 0, 60, &w);
        pack(&t, 16, 33, &part);
        matrix_rows(kernels_available(0), &w, 0, 60, 2, d->x, LDX, NULL, d->z,
                    LDY);
        matrix_rows(kernels_available(0), &part, 0, 33, 2, d->x, LDX, NULL,
                    d->y, LDY);
        for (int r = 0; r < 2; r++)
            assert_memory_equal(d->y + r * LDY, d->z + r * LDY + 16,
                                33 * sizeof(float));
        matrix_fini(&w);
        matrix_fini(&part);
        matrix_data_free(&t);
    }
}

static void test_a_transposed_tensor_is_packed(void **state)
{
    struct matrix_rig *d = *state;
    struct err e = ERR_INIT;

    for (int i = 0; i < 5; i++) { /* the plain types, and I8 */
        struct tensor t;
        struct matrix w;
        struct matrix_rows_of from = {&t, 20, 50, 61, 1};

        make(matrix_types[i], 61, 90, &t); /* [K, rows] */
        tensor_read(&t, 0, 61 * 90, d->wide);
        assert_int_equal(matrix_pack(&from, &w, &e), 0);
        matrix_rows(kernels_available(0), &w, 0, 50, 1, d->x, LDX, NULL, d->y,
                    LDY);
        for (int n = 0; n < 50; n++) {
            float sum = 0.0f; /* as portable C adds */

            for (int k = 0; k < 61; k++)
                sum += d->x[k] * d->wide[k * 90 + 20 + n];
            assert_true(d->y[n] == sum);
        }
        matrix_fini(&w);
        matrix_data_free(&t);
    }
}

static void test_several_tensors_are_packed_below_each_other(void **state)
{
    static const enum dtype types[][3] = {
        {DT_Q4_1, DT_Q4_1, DT_Q4_1}, {DT_BF16, DT_BF16, DT_BF16},
        {DT_F32, DT_F16, DT_BF16}, /* become F32 */
        {DT_F64, DT_F64, DT_F64},    {DT_I8, DT_I8, DT_I8},
        {DT_F32, DT_I8, DT_I8},
    };
    static const int rows[3] = {20, 16, 7};
    struct matrix_rig *d = *state;
    struct err e = ERR_INIT;

    for (size_t i = 0; i < COUNT(types); i++) {
        struct tensor t[3];
        struct matrix_rows_of from[3];
        struct matrix all, one;
        int at[3];

        for (int j = 0; j < 3; j++) {
            make(types[i][j], rows[j], 64, &t[j]);
            from[j] = (struct matrix_rows_of){&t[j], 0, rows[j], 64, 0};
        }
        assert_int_equal(matrix_pack_all(from, 3, at, &all, &e), 0);
        assert_int_equal(all.N, 48 + 7);
        matrix_rows(kernels_available(0), &all, 0, all.N, 1, d->x, LDX, NULL,
                    d->y, LDY);
        for (int j = 0; j < 3; j++) {
            assert_int_equal(at[j] % 16, 0);
            pack(&t[j], 0, rows[j], &one);
            matrix_rows(kernels_available(0), &one, 0, rows[j], 1, d->x, LDX,
                        NULL, d->z, LDY);
            assert_memory_equal(d->y + at[j], d->z,
                                (size_t)rows[j] * sizeof(float));
            matrix_fini(&one);
            matrix_data_free(&t[j]);
        }
        matrix_fini(&all);
    }
}

static void test_packed_blocks_are_about_as_large_as_in_the_file(void **state)
{
    for (int i = 0; i < N_MATRIX_TYPES; i++) {
        struct packing p;

        if (matrix_types[i] == DT_F64)
            continue;
        p = packing_open(matrix_types[i], 64, 1536, NULL);
        assert_true((double)p.w.bytes <= 1.05 * (double)p.t.bytes);
        assert_int_equal((uintptr_t)p.w.data % 64, 0);
        assert_int_equal(p.w.panel % 64, 0);
        assert_int_equal(matrix_quantised(&p.w),
                         whole_block(matrix_types[i]) > 1);
        matrix_fini(&p.w);
        assert_null(p.w.data);
        matrix_data_free(&p.t);
    }
}

static void refuse(const struct matrix_rows_of *from, int n, enum err_code code)
{
    struct err e = ERR_INIT;
    struct matrix w;
    int at[3];

    assert_int_equal(matrix_pack_all(from, n, at, &w, &e), -1);
    assert_int_equal(e.code, code);
    assert_null(w.data);
}

static void test_what_cannot_be_packed_is_refused(void **state)
{
    struct tensor q, f, i64;
    struct matrix_rows_of two[2];

    make(DT_Q8_0, 32, 64, &q);
    make(DT_F32, 32, 64, &f);
    i64 = f;
    i64.dtype = DT_I64;
    refuse(&(struct matrix_rows_of){&q, 0, 0, 64, 0}, 1, ERR_INVALID);
    refuse(&(struct matrix_rows_of){&q, -1, 2, 64, 0}, 1, ERR_INVALID);
    refuse(&(struct matrix_rows_of){&q, 1, 32, 64, 0}, 1, ERR_INVALID);
    refuse(&(struct matrix_rows_of){&f, 1, 32, 64, 0}, 1, ERR_INVALID);
    refuse(&(struct matrix_rows_of){&q, 0, 32, 48, 0}, 1, ERR_UNSUPPORTED);
    refuse(&(struct matrix_rows_of){&q, 0, 32, 64, 1}, 1, ERR_UNSUPPORTED);
    refuse(&(struct matrix_rows_of){&i64, 0, 32, 64, 0}, 1, ERR_UNSUPPORTED);
    two[0] = (struct matrix_rows_of){&f, 0, 32, 64, 0};
    two[1] = (struct matrix_rows_of){&q, 0, 32, 64, 0};
    refuse(two, 2, ERR_UNSUPPORTED);
    two[1] = (struct matrix_rows_of){&f, 0, 32, 32, 0};
    refuse(two, 2, ERR_UNSUPPORTED);
    mem_fail_at(1);
    refuse(two, 1, ERR_NOMEM);
    mem_fail_at(0);
    matrix_data_free(&q);
    matrix_data_free(&f);
}

/* Each scale of the last block, or the last number, of a row. */
static void test_what_is_not_finite_is_refused(void **state)
{
    for (int i = 0; i < N_MATRIX_TYPES; i++) {
        enum dtype type = matrix_types[i];
        struct matrix_rows_of from = {.N = 19, .K = 512};
        struct tensor t;
        uint8_t *last;

        make(type, 40, 512, &t);
        from.t = &t;
        from.row0 = 20;
        last = (uint8_t *)(uintptr_t)t.data + t.bytes / 40 * 39;
        memset(last - dtype_block_bytes(type), 0xff, dtype_block_bytes(type));
        if (type == DT_I8) /* all bytes are numbers */
            t.scale = INFINITY;
        refuse(&from, 1, ERR_FORMAT);
        if (type == DT_I8)
            t.scale = 1.0f;
        from.N = 18; /* the row before it */
        struct matrix w;
        struct err e = ERR_INIT;
        assert_int_equal(matrix_pack(&from, &w, &e), 0);
        matrix_fini(&w);
        matrix_data_free(&t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_widened_panels_have_the_bits_of_tensor_read),
        cmocka_unit_test(test_rows_have_the_bits_of_gemm_rows),
        cmocka_unit_test(test_rows_do_not_depend_on_company_or_column_split),
        cmocka_unit_test(test_rows_add_to_their_own_output),
        cmocka_unit_test(test_bf16_rows_multiply_rounded_activations),
        cmocka_unit_test(test_bf16_rows_do_not_depend_on_company_or_split),
        cmocka_unit_test(test_a_range_of_rows_is_packed),
        cmocka_unit_test(test_a_transposed_tensor_is_packed),
        cmocka_unit_test(test_several_tensors_are_packed_below_each_other),
        cmocka_unit_test(test_packed_blocks_are_about_as_large_as_in_the_file),
        cmocka_unit_test(test_what_is_not_finite_is_refused),
        cmocka_unit_test(test_what_cannot_be_packed_is_refused),
    };

    mallopt(M_PERTURB, 0x80); /* new memory is 7f..: as fp16 not finite */
    return cmocka_run_group_tests(tests, matrix_rig_open, matrix_rig_close);
}
