/* Kernels apart from gemm_rows: exp, tanh and sigmoid against the C library's
 * long double, gates against the equations in long double, row helpers against
 * plain loops, widening against a scalar conversion, and the same bits from
 * AVX2 and AVX-512 for every function.
 *
 * SPDX-License-Identifier: MIT */
#include <fenv.h>
#include <float.h>

#include "engine/base/mem.h"
#include "engine/base/rng.h"
#include "engine/compute/kernels.h"
#include "tests/support/unit.h"

#define N_SWEEP 200000
/* exp: half an ulp of the last addition and the polynomial's share. The other
 * two add a rounded sum and a rounded quotient. */
#define MAX_ULP_EXP 1.1
#define MAX_ULP_QUOTIENT 2.6

static float from_bits(uint32_t u)
{
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

static int same_bits(float a, float b)
{
    return memcmp(&a, &b, sizeof a) == 0 || (isnan(a) && isnan(b));
}

static void assert_same(const float *a, const float *b, size_t n,
                        const char *what)
{
    for (size_t i = 0; i < n; i++)
        if (!same_bits(a[i], b[i]))
            fail_msg("%s: element %zu is %a in one family, %a in the other",
                     what, i, (double)a[i], (double)b[i]);
}

static const struct kernels *family(const char *name)
{
    const struct kernels *k;

    return kernels_pick(name, &k, NULL) == 0 ? k : NULL;
}

/* Every kind of float: all exponents, both signs, and the special values. */
static void fill_all_kinds(struct rng *r, float *x, size_t n)
{
    static const uint32_t special[] = {
        0,          0x80000000, 1,          0x80000001, 0x007fffff,
        0x00800000, 0x7f7fffff, 0xff7fffff, 0x7f800000, 0xff800000,
        0x7fc00000, 0xffc00000, 0x42b17218, 0x42b17217, 0xc2aeac50,
        0xc2aeac4f, 0xc2b0c0a5, 0x3f800000, 0x41100000, 0xc1100000};

    for (size_t i = 0; i < n; i++) {
        uint32_t u = (uint32_t)(rng_next(r) >> 32);

        if (i % 3 == 0) /* exponents near that of 1 */
            u = (u & 0x807fffffu) | ((118 + u / 8 % 16) << 23);
        if (i % 7 == 0)
            u = special[(i / 7) % (COUNT(special))];
        x[i] = from_bits(u);
    }
}

static void fill_normal(struct rng *r, float *x, size_t n, double scale)
{
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(rng_normal(r) * scale);
}

static double ulps(float y, long double ref)
{
    int e = ref == 0.0L ? -126 : ilogbl(ref);

    return (double)(fabsl((long double)y - ref) /
                    ldexpl(1.0L, (e < -126 ? -126 : e) - 23));
}

static long double ref_sigmoid(long double x)
{
    return 1.0L / (1.0L + expl(-x));
}

struct sweep {
    const char *name;
    size_t offset; /* of the function in struct kernels */
    long double (*ref)(long double);
    double max_ulp;
    int flushes; /* results below 2^-126 may be 0 */
};

typedef void elementwise(int n, const float *x, float *y);

static elementwise *function_at(const struct kernels *k, size_t offset)
{
    elementwise *f;
    memcpy(&f, (const char *)k + offset, sizeof f);
    return f;
}

static void check_sweep(const struct kernels *k, const struct sweep *s,
                        const float *x, const long double *ref, float *y)
{
    double worst = 0.0;
    size_t at = 0;

    function_at(k, s->offset)(N_SWEEP, x, y);
    for (size_t i = 0; i < N_SWEEP; i++) {
        double u;

        if (s->flushes && fabsl(ref[i]) < (long double)FLT_MIN) {
            assert_true(y[i] >= 0.0f && y[i] <= FLT_MIN);
            continue;
        }
        if (ref[i] > (long double)FLT_MAX) {
            assert_true(isinf(y[i]) || y[i] == FLT_MAX);
            continue;
        }
        u = ulps(y[i], ref[i]);
        if (!(u <= worst)) {
            worst = u;
            at = i;
        }
    }
    if (!(worst <= s->max_ulp))
        fail_msg("%s %s(%a) = %a is off by %.2f ulp", k->name, s->name,
                 (double)x[at], (double)y[at], worst);
}

static void test_kernels_exp_tanh_sigmoid_are_within_their_ulps(void **state)
{
    static const struct sweep sweeps[] = {
        {"exp", offsetof(struct kernels, vexp), expl, MAX_ULP_EXP, 1},
        {"tanh", offsetof(struct kernels, vtanh), tanhl, MAX_ULP_QUOTIENT, 0},
        {"sigmoid", offsetof(struct kernels, vsigmoid), ref_sigmoid,
         MAX_ULP_QUOTIENT, 1},
    };
    float *x = mem_floats(N_SWEEP), *y = mem_floats(N_SWEEP);
    long double *ref = mem_zarray(N_SWEEP, sizeof *ref);
    struct rng r;

    rng_init(&r, 1);
    for (size_t i = 0; i < N_SWEEP; i++)
        switch (i % 4) {
        case 0: /* every binade up to 128, both signs */
            x[i] = from_bits((uint32_t)(rng_next(&r) >> 32) % 0x43000000u);
            x[i] = rng_next(&r) & 1 ? x[i] : -x[i];
            break;
        case 1:
            x[i] = (float)(rng_uniform(&r) * 200.0 - 100.0);
            break;
        default:
            x[i] = (float)(rng_normal(&r) * 3.0);
        }
    for (size_t s = 0; s < 3; s++) {
        for (size_t i = 0; i < N_SWEEP; i++)
            ref[i] = sweeps[s].ref((long double)x[i]);
        for (int f = 0; kernels_available(f); f++)
            check_sweep(kernels_available(f), &sweeps[s], x, ref, y);
    }
    mem_free(ref);
    mem_aligned_free(x);
    mem_aligned_free(y);
}

static void test_kernels_saturate_exactly_and_pass_nan(void **state)
{
    const float big[6] = {1e4f, -1e4f, INFINITY, -INFINITY, NAN, 0.0f};
    float y[6];

    for (int f = 0; kernels_available(f); f++) {
        const struct kernels *k = kernels_available(f);

        k->vexp(6, big, y);
        assert_true(isinf(y[0]) && y[0] > 0 && y[1] == 0.0f);
        assert_true(isinf(y[2]) && y[3] == 0.0f && isnan(y[4]));
        assert_true(y[5] == 1.0f);
        k->vtanh(6, big, y);
        assert_true(y[0] == 1.0f && y[1] == -1.0f && y[2] == 1.0f);
        assert_true(y[3] == -1.0f && isnan(y[4]) && y[5] == 0.0f);
        k->vsigmoid(6, big, y);
        assert_true(y[0] == 1.0f && y[1] == 0.0f && y[2] == 1.0f);
        assert_true(y[3] == 0.0f && isnan(y[4]) && y[5] == 0.5f);
    }
}

/* --- gates against the equations --- */

#define M 3
#define H_MAX 100

struct gates {
    float a[M][4 * H_MAX], b[M][3 * H_MAX], c[M][H_MAX], h[M][H_MAX];
    float act[2][M][H_MAX];
};

static void fill_gates(struct gates *g, uint64_t seed, double scale)
{
    struct rng r;

    rng_init(&r, seed);
    fill_normal(&r, &g->a[0][0], sizeof g->a / sizeof(float), scale);
    fill_normal(&r, &g->b[0][0], sizeof g->b / sizeof(float), scale);
    fill_normal(&r, &g->c[0][0], sizeof g->c / sizeof(float), 1.0);
    fill_normal(&r, &g->h[0][0], sizeof g->h / sizeof(float), 1.0);
}

/* Relative to the terms of the sum: each has a few roundings. */
#define GATE_ROUNDINGS 8.0L
static void assert_near(float y, long double ref, long double terms)
{
    long double eps = (long double)FLT_EPSILON / 2.0L;
    long double err = fabsl((long double)y - ref);

    if (!(err <= GATE_ROUNDINGS * eps * terms))
        fail_msg("%a is not %La", (double)y, ref);
}

static void check_gates4(const struct kernels *k, int H, double scale)
{
    static struct gates was, g;

    fill_gates(&was, (uint64_t)H, scale);
    g = was;
    k->gates4(M, H, 0, H, &g.a[0][0], 4 * H_MAX, &g.c[0][0], H_MAX, &g.h[0][0],
              H_MAX);
    for (int r = 0; r < M; r++)
        for (int j = 0; j < H; j++) {
            const float *a = was.a[r];
            long double i = ref_sigmoid((long double)a[j]);
            long double f = ref_sigmoid((long double)a[H + j]);
            long double n = tanhl((long double)a[2 * H + j]);
            long double o = ref_sigmoid((long double)a[3 * H + j]);
            long double c = (long double)was.c[r][j];

            assert_near(g.c[r][j], f * c + i * n, fabsl(f * c) + fabsl(i * n));
            c = tanhl((long double)g.c[r][j]); /* of the rounded cell */
            assert_near(g.h[r][j], o * c, fabsl(o * c));
        }
}

static void check_gates3(const struct kernels *k, int H, double scale)
{
    static struct gates was, g;

    fill_gates(&was, (uint64_t)H + 1, scale);
    g = was;
    k->gates3(M, H, 0, H, &g.a[0][0], 4 * H_MAX, &g.b[0][0], 3 * H_MAX,
              &g.h[0][0], H_MAX);
    for (int row = 0; row < M; row++)
        for (int j = 0; j < H; j++) {
            const float *a = was.a[row], *b = was.b[row];
            long double r = ref_sigmoid((long double)a[j] + b[j]);
            long double z = ref_sigmoid((long double)a[H + j] + b[H + j]);
            long double in = (long double)a[2 * H + j];
            long double rec = r * (long double)b[2 * H + j];
            long double n = tanhl(in + rec), h = (long double)was.h[row][j];
            /* The error of a sum of pre-activations passes through. */
            long double cond =
                1.0L + fabsl(in) + fabsl(rec) + fabsl((long double)a[j]) +
                fabsl((long double)b[j]) + fabsl((long double)a[H + j]) +
                fabsl((long double)b[H + j]);

            assert_near(g.h[row][j], (1.0L - z) * n + z * h,
                        cond * (fabsl(n) + fabsl(h)));
        }
}

static void test_kernels_gates_follow_the_equations(void **state)
{
    static const int sizes[] = {1, 7, 16, 31, 100};

    for (int f = 0; kernels_available(f); f++)
        for (size_t s = 0; s < COUNT(sizes); s++)
            for (double scale = 0.1; scale < 50.0; scale *= 5.0) {
                check_gates4(kernels_available(f), sizes[s], scale);
                check_gates3(kernels_available(f), sizes[s], scale);
            }
}

static void run_gates(const struct kernels *k, struct gates *g, int H, int j0,
                      int j1)
{
    k->gates4(M, H, j0, j1, &g->a[0][0], 4 * H_MAX, &g->c[0][0], H_MAX,
              &g->h[0][0], H_MAX);
    k->gates3(M, H, j0, j1, &g->a[0][0], 4 * H_MAX, &g->b[0][0], 3 * H_MAX,
              &g->h[0][0], H_MAX);
    k->act_tanh(M, j0, j1, &g->a[0][0], 4 * H_MAX, &g->act[0][0][0], H_MAX);
    k->act_relu(M, j0, j1, &g->a[0][H_MAX], 4 * H_MAX, &g->act[1][0][0], H_MAX);
}

static void test_kernels_gates_do_not_depend_on_the_split(void **state)
{
    static struct gates whole, parts;

    for (int f = 0; kernels_available(f); f++) {
        const struct kernels *k = kernels_available(f);

        fill_gates(&whole, 5, 2.0);
        parts = whole;
        run_gates(k, &whole, 90, 0, 90);
        run_gates(k, &parts, 90, 48, 90);
        run_gates(k, &parts, 90, 0, 1);
        run_gates(k, &parts, 90, 1, 48);
        assert_memory_equal(&whole, &parts, sizeof whole);
    }
}

/* --- rows --- */

#define ROW 200

static void test_kernels_row_helpers_match_plain_loops(void **state)
{
    float x[ROW], y[ROW], z[ROW];
    struct rng r;

    rng_init(&r, 3);
    fill_normal(&r, x, ROW, 4.0);
    fill_normal(&r, y, ROW, 4.0);
    for (int f = 0; kernels_available(f); f++) {
        const struct kernels *k = kernels_available(f);

        for (int n = 0; n <= ROW; n++) {
            long double sum = 0.0L;
            float max = -INFINITY;

            memcpy(z, y, sizeof z);
            k->add_to(n, x, z);
            for (int i = 0; i < ROW; i++)
                assert_true(z[i] == (i < n ? y[i] + x[i] : y[i]));
            memcpy(z, y, sizeof z);
            k->max_to(n, x, z);
            for (int i = 0; i < ROW; i++)
                assert_true(z[i] == (i < n && x[i] > y[i] ? x[i] : y[i]));
            memcpy(z, y, sizeof z);
            k->scale(n, 1.7f, z);
            for (int i = 0; i < ROW; i++)
                assert_true(z[i] == (i < n ? y[i] * 1.7f : y[i]));
            memcpy(z, y, sizeof z);
            k->divide(n, 1.7f, z);
            for (int i = 0; i < ROW; i++)
                assert_true(z[i] == (i < n ? y[i] / 1.7f : y[i]));
            for (int i = 0; i < n; i++)
                max = x[i] > max ? x[i] : max;
            assert_true(k->row_max(n, x) == max);
            for (int i = 0; i < n; i++)
                sum += expl((long double)x[i] - max);
            /* positive terms: each has a few roundings, a lane n / 16 more */
            assert_near(k->sum_exp(n, x, max), sum, 4.0L * sum);
        }
    }
}

static void test_kernels_softmax_matches_long_double(void **state)
{
    enum { N = 10007 };
    float *x = mem_floats(N), *y = mem_floats(N);
    struct rng r;

    rng_init(&r, 4);
    fill_normal(&r, x, N, 5.0);
    for (int f = 0; kernels_available(f); f++) {
        const struct kernels *k = kernels_available(f);
        float max = k->row_max(N, x), sum = k->sum_exp(N, x, max);
        long double ref = 0.0L;

        for (int i = 0; i < N; i++)
            ref += expl((long double)x[i] - max);
        k->softmax(N, x, max, sum, y);
        for (int i = 0; i < N; i++) {
            long double e = expl((long double)x[i] - max);

            /* x - max is rounded, and the sum adds 626 terms a lane */
            assert_near(y[i], e / ref,
                        (long double)(100.0f + max - x[i]) * e / ref);
        }
    }
    mem_aligned_free(x);
    mem_aligned_free(y);
}

static void test_kernels_all_finite_finds_each_position(void **state)
{
    float x[ROW] = {0};

    x[3] = FLT_MAX;
    x[100] = -FLT_MAX;
    x[4] = from_bits(1);
    for (int f = 0; kernels_available(f); f++) {
        const struct kernels *k = kernels_available(f);

        for (int n = 0; n <= ROW; n++)
            assert_int_equal(k->all_finite(n, x), 1);
        for (int i = 0; i < ROW; i++) {
            float was = x[i];

            x[i] = i % 3 == 0 ? NAN : i % 3 == 1 ? INFINITY : -INFINITY;
            assert_int_equal(k->all_finite(ROW, x), 0);
            assert_int_equal(k->all_finite(i, x), 1);
            x[i] = was;
        }
    }
}

/* --- widening --- */

static float scalar_f16(uint16_t h)
{
    int e = h >> 10 & 31, m = h & 1023;
    float v = e == 31 ? (m ? NAN : INFINITY)
              : e     ? ldexpf((float)(1024 + m), e - 25)
                      : ldexpf((float)m, -24);

    return h & 0x8000 ? -v : v;
}

static void test_kernels_widening_is_exact_for_all_values(void **state)
{
    enum { N = 65536 };
    uint16_t *x = mem_array(N, sizeof *x);
    float *y = mem_floats(N + 1);

    for (int i = 0; i < N; i++)
        x[i] = (uint16_t)i;
    for (int f = 0; kernels_available(f); f++) {
        const struct kernels *k = kernels_available(f);

        y[N] = 42.0f;
        k->widen_bf16(N, x, y);
        for (uint32_t i = 0; i < N; i++)
            assert_true(same_bits(y[i], from_bits(i << 16)));
        k->widen_f16(N, x, y);
        for (uint32_t i = 0; i < N; i++)
            assert_true(same_bits(y[i], scalar_f16((uint16_t)i)));
        assert_true(y[N] == 42.0f);
        for (size_t n = 0; n < 40; n++) {
            memset(y, 0, 64 * sizeof *y);
            k->widen_bf16(n, x + 0x3f80, y);
            assert_true(y[n] == 0.0f && (n == 0 || y[n - 1] >= 1.0f));
            memset(y, 0, 64 * sizeof *y);
            k->widen_f16(n, x + 0x3c00, y);
            assert_true(y[n] == 0.0f && (n == 0 || y[n - 1] >= 1.0f));
        }
    }
    mem_free(x);
    mem_aligned_free(y);
}

/* --- the same bits from both FMA families --- */

static void compare_rows(const struct kernels *a, const struct kernels *b,
                         int n, const float *x, const float *y0)
{
    static const size_t unary[] = {offsetof(struct kernels, vexp),
                                   offsetof(struct kernels, vtanh),
                                   offsetof(struct kernels, vsigmoid)};
    float y[ROW], z[ROW];

    for (size_t i = 0; i < 3; i++) {
        memcpy(y, y0, sizeof y);
        memcpy(z, y0, sizeof z);
        function_at(a, unary[i])(n, x, y);
        function_at(b, unary[i])(n, x, z);
        assert_same(y, z, ROW, "exp, tanh, sigmoid");
    }
    a->add_to(n, x, y);
    b->add_to(n, x, z);
    a->max_to(n, x, y);
    b->max_to(n, x, z);
    a->scale(n, x[0], y);
    b->scale(n, x[0], z);
    a->divide(n, x[1], y);
    b->divide(n, x[1], z);
    assert_same(y, z, ROW, "row helpers");
    a->softmax(n, x, x[2], x[3], y);
    b->softmax(n, x, x[2], x[3], z);
    assert_same(y, z, ROW, "softmax");
    y[0] = a->row_max(n, x);
    z[0] = b->row_max(n, x);
    y[1] = a->sum_exp(n, x, y[0]);
    z[1] = b->sum_exp(n, x, y[0]);
    y[2] = a->sum_exp(n, y0, 0.0f);
    z[2] = b->sum_exp(n, y0, 0.0f);
    assert_same(y, z, 3, "reductions");
    assert_int_equal(a->all_finite(n, x), b->all_finite(n, x));
}

static void test_kernels_avx2_and_avx512_give_the_same_bits(void **state)
{
    const struct kernels *a = family("avx2"), *b = family("avx512");
    static struct gates g, was;
    float x[ROW + 4], y[ROW];
    struct rng r;

    if (!a || !b)
        skip();
    rng_init(&r, 6);
    for (int n = 0; n <= ROW; n++) {
        fill_all_kinds(&r, x, ROW + 4);
        fill_normal(&r, y, ROW, 2.0);
        compare_rows(a, b, n, x + n % 4, y);
        fill_normal(&r, x, ROW + 4, 3.0);
        compare_rows(a, b, n, x + n % 4, y);
    }
    for (int i = 0; i < 200; i++) {
        int H = 1 + (int)rng_below(&r, 90);

        fill_gates(&was, rng_next(&r), 3.0);
        if (i % 2)
            fill_all_kinds(&r, (float *)&was, sizeof was / sizeof(float));
        g = was;
        run_gates(a, &g, H, 0, H);
        run_gates(b, &was, H, 0, H);
        assert_same((float *)&g, (float *)&was, sizeof g / sizeof(float),
                    "gates");
    }
}

/* --- picking --- */

static void test_kernels_pick_finds_families_and_refuses_others(void **state)
{
    const struct kernels *k = NULL;
    struct err e = ERR_INIT;
    int last = 0;

    assert_int_equal(kernels_pick("generic", &k, &e), 0);
    assert_string_equal(k->name, "generic");
    assert_ptr_equal(k, kernels_available(0));
    while (kernels_available(last + 1))
        last++;
    assert_null(kernels_available(-1));
    assert_int_equal(kernels_pick("auto", &k, &e), 0);
    assert_ptr_equal(k, kernels_available(last));
    assert_int_equal(kernels_pick("avx9", &k, &e), -1);
    assert_int_equal(e.code, ERR_UNSUPPORTED);
    assert_null(k);
}

static void test_kernels_enter_thread_restores_rounding_and_denormals(void **s)
{
    volatile float tiny = FLT_MIN, third = 3.0f;
    float expected = 1.0f / third;

    (void)s;
    fesetround(FE_UPWARD);
    kernels_enter_thread();
    assert_int_equal(fegetround(), FE_TONEAREST);
    assert_true(1.0f / third == expected);
    assert_true(tiny * 0.5f > 0.0f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kernels_exp_tanh_sigmoid_are_within_their_ulps),
        cmocka_unit_test(test_kernels_saturate_exactly_and_pass_nan),
        cmocka_unit_test(test_kernels_gates_follow_the_equations),
        cmocka_unit_test(test_kernels_gates_do_not_depend_on_the_split),
        cmocka_unit_test(test_kernels_row_helpers_match_plain_loops),
        cmocka_unit_test(test_kernels_softmax_matches_long_double),
        cmocka_unit_test(test_kernels_all_finite_finds_each_position),
        cmocka_unit_test(test_kernels_widening_is_exact_for_all_values),
        cmocka_unit_test(test_kernels_avx2_and_avx512_give_the_same_bits),
        cmocka_unit_test(test_kernels_pick_finds_families_and_refuses_others),
        cmocka_unit_test(
            test_kernels_enter_thread_restores_rounding_and_denormals),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
