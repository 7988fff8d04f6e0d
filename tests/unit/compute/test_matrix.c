/* matrix, the exact way: every type and family against gemm_rows over the
 * weights that tensor_read gives, bit for bit, and gemm_rows itself against
 * sums in double (test_gemm_rows.c); the promise of kernels.h; packing.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/base/mem.h"
#include "engine/base/rng.h"
#include "engine/compute/dtype.h"
#include "engine/compute/kernels.h"
#include "engine/compute/matrix.h"
#include "tests/support/matrix_data.h"
#include "tests/support/unit.h"

#define M_MAX 70
#define N_MAX 150
#define K_MAX 768
#define LDX (K_MAX + 5)
#define LDY (N_MAX + 10 + 5) /* room for whole panels */
#define CANARY 12345.0f

struct data {
    float wide[N_MAX * K_MAX], x[M_MAX * LDX], init[M_MAX * LDY];
    float y[M_MAX * LDY], z[M_MAX * LDY];
    const float *start[M_MAX];
};

static int setup(void **state)
{
    struct data *d = mem_zalloc(sizeof *d);
    struct rng r;

    if (!d)
        return -1;
    rng_init(&r, 21);
    for (int i = 0; i < M_MAX * LDX; i++)
        d->x[i] = (float)rng_normal(&r);
    for (int i = 0; i < M_MAX * LDY; i++)
        d->init[i] = (float)rng_normal(&r);
    for (int i = 0; i < M_MAX; i++)
        d->start[i] = d->init + i * LDY;
    *state = d;
    return 0;
}

static int teardown(void **state)
{
    mem_free(*state);
    return 0;
}

static int k_of(enum dtype type, int blocks)
{
    return dtype_block(type) > 1 ? dtype_block(type) * blocks : 37 * blocks;
}

static void make(enum dtype type, int rows, int K, struct tensor *t)
{
    if (matrix_data(type, rows, K, (uint64_t)type * 100 + (uint64_t)rows, t))
        fail_msg("no memory");
}

static void pack(const struct tensor *t, int row0, int N, struct matrix *w)
{
    struct matrix_rows_of from = {t, row0, N, (int)t->dim[1], 0};
    struct err e = ERR_INIT;

    if (matrix_pack(&from, w, &e))
        fail_msg("%s", e.msg);
}

static void wipe(float *y)
{
    for (int i = 0; i < M_MAX * LDY; i++)
        y[i] = CANARY;
}

static void assert_rows(const float *a, const float *b, int N, int m,
                        enum dtype type, const char *family)
{
    for (int r = 0; r < m; r++)
        if (memcmp(a + r * LDY, b + r * LDY, (size_t)N * sizeof *a))
            fail_msg("%s, %s: row %d of %d differs", dtype_name(type), family,
                     r, m);
}

static void test_widened_panels_have_the_bits_of_tensor_read(void **state)
{
    struct data *d = *state;
    _Alignas(64) static float panel[K_MAX * PACK_COLS];

    for (int i = 0; i < N_MATRIX_TYPES; i++) {
        enum dtype type = matrix_types[i];
        int K = k_of(type, 3), N = 37;
        struct tensor t;
        struct matrix w;

        if (type == DT_F32 || type == DT_F64)
            continue; /* never widened */
        make(type, N, K, &t);
        tensor_read(&t, 0, (size_t)N * (size_t)K, d->wide);
        pack(&t, 0, N, &w);
        for (int f = 0; kernels_available(f); f++)
            for (int n = 0; n < N; n++) {
                const struct kernels *k = kernels_available(f);

                if (n % PACK_COLS == 0) {
                    k->matrix_widen(&w, n / PACK_COLS, 0, K, panel);
                    k->matrix_widen(&w, n / PACK_COLS, 32, K,
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
        matrix_fini(&w);
        matrix_data_free(&t);
    }
}

static void check_rows(struct data *d, const struct matrix *w,
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
        assert_true(m == M_MAX || d->y[m * LDY] == CANARY);
        assert_true(d->y[(w->N + 15) / 16 * 16] == CANARY);
        k->gemm_rows(p, 0, w->N, m, d->x, LDX, NULL, d->z, LDY);
        matrix_rows(k, w, 0, w->N, m, d->x, LDX, NULL, d->y, LDY);
        assert_rows(d->y, d->z, w->N, m, w->type, k->name);
    }
}

static void test_rows_have_the_bits_of_gemm_rows(void **state)
{
    static const char *const families[] = {"generic", "avx2", "avx512"};
    static const int n_list[] = {1, 16, 33, 150};
    struct data *d = *state;

    for (int i = 0; i < N_MATRIX_TYPES; i++)
        for (int j = 0; j < 4; j++) {
            enum dtype type = matrix_types[i];
            int K = k_of(type, 1 + j % 3), N = n_list[j];
            struct tensor t;
            struct matrix w;
            struct packed p;

            make(type, N, K, &t);
            tensor_read(&t, 0, (size_t)N * (size_t)K, d->wide);
            pack(&t, 0, N, &w);
            assert_int_equal(pack_new(d->wide, (size_t)K, N, K, NULL, &p, NULL),
                             0);
            for (int m = 1; m <= M_MAX; m += m < 20 ? 1 : 10)
                for (int f = 0; f < 3; f++)
                    check_rows(d, &w, &p, m, families[f]);
            pack_fini(&p);
            matrix_fini(&w);
            matrix_data_free(&t);
        }
}

static void test_rows_do_not_depend_on_company_or_column_split(void **state)
{
    struct data *d = *state;

    for (int i = 0; i < N_MATRIX_TYPES; i++) {
        enum dtype type = matrix_types[i];
        int K = k_of(type, 3), N = 131;
        const struct kernels *k;
        struct tensor t;
        struct matrix w;

        make(type, N, K, &t);
        pack(&t, 0, N, &w);
        for (int f = 0; (k = kernels_available(f)); f++) {
            for (int r = 0; r < M_MAX; r++)
                matrix_rows(k, &w, 0, N, 1, d->x + r * LDX, LDX, d->start + r,
                            d->z + r * LDY, LDY);
            for (int width = 16; width < 160; width += 48) {
                wipe(d->y);
                for (int n = 0; n < N; n += width)
                    matrix_rows(k, &w, n, n + width < N ? n + width : N, M_MAX,
                                d->x, LDX, d->start, d->y, LDY);
                assert_rows(d->y, d->z, N, M_MAX, type, k->name);
            }
        }
        matrix_fini(&w);
        matrix_data_free(&t);
    }
}

static void test_rows_add_to_their_own_output(void **state)
{
    struct data *d = *state;
    const float *self[M_MAX];
    const struct kernels *k;
    struct tensor t;
    struct matrix w;

    for (int i = 0; i < M_MAX; i++)
        self[i] = d->y + i * LDY;
    make(DT_Q4_1, 100, 160, &t);
    pack(&t, 0, 100, &w);
    for (int f = 0; (k = kernels_available(f)); f++) {
        memcpy(d->y, d->init, sizeof d->y);
        matrix_rows(k, &w, 0, 100, 9, d->x, LDX, self, d->y, LDY);
        matrix_rows(k, &w, 0, 100, 9, d->x, LDX, d->start, d->z, LDY);
        assert_rows(d->y, d->z, 100, 9, w.type, k->name);
    }
    matrix_fini(&w);
    matrix_data_free(&t);
}

/* --- bf16 --- */

static float rounded(float x)
{
    return dtype_from_bf16(dtype_to_bf16(x));
}

static void test_bf16_rows_multiply_rounded_activations(void **state)
{
    static const int n_list[] = {1, 16, 33, 150}, k_list[] = {1, 37, 511, 768};
    struct data *d = *state;
    const struct kernels *k;
    struct tensor t;
    struct matrix w;

    assert_int_equal(kernels_pick("auto", &k, NULL), 0);
    for (int i = 0; i < 4; i++) {
        int K = k_list[i], N = n_list[i], m = 9;

        make(DT_BF16, N, K, &t);
        tensor_read(&t, 0, (size_t)N * (size_t)K, d->wide);
        pack(&t, 0, N, &w);
        if (!matrix_has_bf16(k, &w)) {
            matrix_fini(&w);
            matrix_data_free(&t);
            skip();
        }
        wipe(d->y);
        matrix_rows_bf16(k, &w, 0, N, m, d->x, LDX, d->start, d->y, LDY);
        for (int r = 0; r < m; r++)
            for (int n = 0; n < N; n++) {
                double y = (double)d->start[r][n], size = fabs(y);

                for (int j = 0; j < K; j++) {
                    double p = (double)rounded(d->x[r * LDX + j]) *
                               (double)d->wide[n * K + j];

                    y += p;
                    size += fabs(p);
                }
                assert_true(fabs((double)d->y[r * LDY + n] - y) <= 1e-6 * size);
            }
        assert_true(d->y[(N + 15) / 16 * 16] == CANARY);
        assert_true(d->y[m * LDY] == CANARY);
        matrix_fini(&w);
        matrix_data_free(&t);
    }
}

static void test_bf16_rows_do_not_depend_on_company_or_split(void **state)
{
    struct data *d = *state;
    const struct kernels *k;
    int N = 131, K = 600;
    struct tensor t;
    struct matrix w;

    make(DT_BF16, N, K, &t);
    pack(&t, 0, N, &w);
    for (int f = 0; (k = kernels_available(f)); f++) {
        for (int r = 0; r < M_MAX; r++)
            matrix_rows_bf16(k, &w, 0, N, 1, d->x + r * LDX, LDX, d->start + r,
                             d->z + r * LDY, LDY);
        for (int width = 16; width < 160; width += 48) {
            wipe(d->y);
            for (int n = 0; n < N; n += width)
                matrix_rows_bf16(k, &w, n, n + width < N ? n + width : N, M_MAX,
                                 d->x, LDX, d->start, d->y, LDY);
            assert_rows(d->y, d->z, N, M_MAX, w.type, k->name);
        }
        for (int m = 1; m < M_MAX; m += m < 8 ? 1 : 9) {
            matrix_rows_bf16(k, &w, 0, N, m, d->x, LDX, d->start, d->y, LDY);
            assert_rows(d->y, d->z, N, m, w.type, k->name);
        }
    }
    matrix_fini(&w);
    matrix_data_free(&t);
}

/* --- packing --- */

static void test_a_range_of_rows_is_packed(void **state)
{
    struct data *d = *state;

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
    struct data *d = *state;
    struct err e = ERR_INIT;

    for (int i = 0; i < 4; i++) { /* the plain types */
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
        {DT_Q4_1, DT_Q4_1, DT_Q4_1},
        {DT_BF16, DT_BF16, DT_BF16},
        {DT_F32, DT_F16, DT_BF16}, /* become F32 */
        {DT_F64, DT_F64, DT_F64},
    };
    static const int rows[3] = {20, 16, 7};
    struct data *d = *state;
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
        struct tensor t;
        struct matrix w;

        if (matrix_types[i] == DT_F64)
            continue;
        make(matrix_types[i], 64, 1536, &t);
        pack(&t, 0, 64, &w);
        assert_true((double)w.bytes <= 1.05 * (double)t.bytes);
        assert_int_equal((uintptr_t)w.data % 64, 0);
        assert_int_equal(w.panel % 64, 0);
        assert_int_equal(matrix_quantised(&w),
                         dtype_quantised(matrix_types[i]) != 0);
        matrix_fini(&w);
        assert_null(w.data);
        matrix_data_free(&t);
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
        cmocka_unit_test(test_what_cannot_be_packed_is_refused),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
