/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/mem.h"
#include "engine/compute/tensor.h"
#include "models/rnn/cell.h"

#define TOLERANCE 2e-6 /* fp32 sums of 40 terms below 1, and 2 ulp of exp */
#define NI 7
#define NH 37
#define HP 48
#define M 5
#define MAX_G 4

static struct {
    float W_ih[MAX_G * NH * NI], W_hh[MAX_G * NH * NH], b_ih[MAX_G * NH],
        b_hh[MAX_G * NH];
    float x[M * NI], h[M * HP], c[M * HP];
} t;

static void fill(float *v, size_t n, unsigned seed, float scale)
{
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        v[i] = scale * ((float)(seed >> 8) / 8388608.0f - 1.0f);
    }
}

static int setup(void **state)
{
    (void)state;
    fill(t.W_ih, sizeof t.W_ih / sizeof(float), 1, 0.5f);
    fill(t.W_hh, sizeof t.W_hh / sizeof(float), 2, 0.3f);
    fill(t.b_ih, sizeof t.b_ih / sizeof(float), 3, 0.5f);
    fill(t.b_hh, sizeof t.b_hh / sizeof(float), 4, 0.5f);
    fill(t.x, sizeof t.x / sizeof(float), 5, 1.0f);
    for (int r = 0; r < M; r++) {
        fill(t.h + r * HP, NH, 6 + (unsigned)r, 1.0f);
        fill(t.c + r * HP, NH, 60 + (unsigned)r, 1.0f);
    }
    return 0;
}

/* W x + b and U h + b' of gate g, unit j, row r, in double. */
static double part_x(int g, int j, int r)
{
    double s = (double)t.b_ih[g * NH + j];
    for (int k = 0; k < NI; k++)
        s += (double)t.W_ih[(g * NH + j) * NI + k] * (double)t.x[r * NI + k];
    return s;
}

static double part_h(int g, int j, int r)
{
    double s = (double)t.b_hh[g * NH + j];
    for (int k = 0; k < NH; k++)
        s += (double)t.W_hh[(g * NH + j) * NH + k] * (double)t.h[r * HP + k];
    return s;
}

static double sigmoid(double x)
{
    return 1.0 / (1.0 + exp(-x));
}

static double expected(const struct cell_kind *kind, int j, int r, double *c)
{
    double a[MAX_G], b[MAX_G];
    for (int g = 0; g < kind->G; g++) {
        a[g] = part_x(g, j, r);
        b[g] = part_h(g, j, r);
    }
    if (kind == &cell_lstm) {
        *c = sigmoid(a[1] + b[1]) * (double)t.c[r * HP + j] +
             sigmoid(a[0] + b[0]) * tanh(a[2] + b[2]);
        return sigmoid(a[3] + b[3]) * tanh(*c);
    }
    if (kind == &cell_gru) {
        double z = sigmoid(a[1] + b[1]);
        double n = tanh(a[2] + sigmoid(a[0] + b[0]) * b[2]);
        return (1.0 - z) * n + z * (double)t.h[r * HP + j];
    }
    if (kind == &cell_elman_relu)
        return fmax(a[0] + b[0], 0.0);
    return tanh(a[0] + b[0]);
}

static struct tensor as_tensor(const float *v)
{
    return (struct tensor){.dtype = DT_F32, .data = v};
}

/* One step of rows m in unit ranges cut at `cut`; h_out [m][HP] and c. */
static void run(const struct kernels *k, const struct cell_kind *kind, int m,
                int cut, float *h_out, float *c)
{
    static float a[M * MAX_G * HP], gates[1 << 15];
    struct tensor W_ih = as_tensor(t.W_ih), W_hh = as_tensor(t.W_hh);
    struct cell_params p = {.W_ih = &W_ih,
                            .W_hh = &W_hh,
                            .b_ih = t.b_ih,
                            .b_hh = t.b_hh,
                            .I = NI,
                            .H = NH,
                            .n_parts = 1,
                            .part = NI,
                            .part_stride = NI};
    const float *rows[M], *in[M];
    struct err e = ERR_INIT;
    struct cell w;
    int from[3] = {0, cut, HP};
    assert_int_equal(cell_pack(kind, &p, &w, &e), 0);
    assert_int_equal(w.Hp, HP);
    assert_true(cell_gate_floats(m) <= sizeof gates / sizeof(float));
    for (int i = 0; i < 2; i++) {
        struct cell_step s = {.m = m,
                              .j0 = from[i],
                              .j1 = from[i + 1],
                              .a = in,
                              .h_in = t.h,
                              .ld_in = HP,
                              .h_out = h_out,
                              .ld_out = HP,
                              .c = c,
                              .ldc = HP,
                              .gates = gates,
                              .rows = rows};
        cell_project(k, &w, m, s.j0, s.j1, t.x, NI, a, rows);
        for (int r = 0; r < m; r++)
            in[r] = a + r * w.G * HP;
        kind->forward(k, &w, &s);
    }
    cell_fini(&w);
}

static const struct cell_kind *const kinds[] = {
    &cell_elman_tanh, &cell_elman_relu, &cell_lstm, &cell_gru};
static void test_cell_computes_its_equations(void **state)
{
    const struct kernels *k;
    float h[M * HP], c[M * HP];
    (void)state;
    for (int f = 0; (k = kernels_available(f)); f++) {
        for (int i = 0; i < 4; i++) {
            memcpy(c, t.c, sizeof c);
            run(k, kinds[i], M, HP, h, c);
            for (int r = 0; r < M; r++) {
                for (int j = 0; j < NH; j++) {
                    double ec = 0.0, eh = expected(kinds[i], j, r, &ec);
                    assert_true(fabs((double)h[r * HP + j] - eh) < TOLERANCE);
                    if (kinds[i]->has_c)
                        assert_true(fabs((double)c[r * HP + j] - ec) <
                                    TOLERANCE);
                }
            }
        }
    }
}

static void test_cell_padded_units_stay_zero(void **state)
{
    float h[M * HP], c[M * HP];
    (void)state;
    for (int i = 0; i < 4; i++) {
        memcpy(c, t.c, sizeof c);
        run(kernels_available(0), kinds[i], M, 16, h, c);
        for (int r = 0; r < M; r++) {
            for (int j = NH; j < HP; j++) {
                assert_true(h[r * HP + j] == 0.0f);
                assert_true(c[r * HP + j] == 0.0f);
            }
        }
    }
}

static void test_cell_unit_ranges_and_rows_keep_the_bits(void **state)
{
    const struct kernels *k;
    float h[M * HP], c[M * HP], h2[M * HP], c2[M * HP];
    (void)state;
    for (int f = 0; (k = kernels_available(f)); f++) {
        for (int i = 0; i < 4; i++) {
            memcpy(c, t.c, sizeof c);
            run(k, kinds[i], M, HP, h, c);
            for (int m = 1; m <= M; m++) {
                memcpy(c2, t.c, sizeof c2);
                run(k, kinds[i], m, 16 * (1 + m % 2), h2, c2);
                assert_memory_equal(h, h2, (size_t)m * HP * sizeof(float));
                assert_memory_equal(c, c2, (size_t)m * HP * sizeof(float));
            }
        }
    }
}

static void test_cell_input_pieces_with_gaps_read_only_the_pieces(void **state)
{
    struct tensor W_ih = as_tensor(t.W_ih), W_hh = as_tensor(t.W_hh);
    struct cell_params p = {.W_ih = &W_ih,
                            .W_hh = &W_hh,
                            .I = 6,
                            .H = NH,
                            .n_parts = 2,
                            .part = 3,
                            .part_stride = 16};
    float x[19], y[4 * HP];
    const float *rows[1];
    struct err e = ERR_INIT;
    struct cell w;
    (void)state;
    assert_int_equal(cell_pack(&cell_lstm, &p, &w, &e), 0);
    assert_int_equal(w.I, 19);
    for (int i = 0; i < 19; i++)
        x[i] = 100.0f; /* gaps hold anything finite */
    for (int i = 0; i < 3; i++) {
        x[i] = t.x[i];
        x[16 + i] = t.x[3 + i];
    }
    cell_project(kernels_available(0), &w, 1, 0, HP, x, 19, y, rows);
    for (int j = 0; j < NH; j++) {
        double want = 0.0;
        for (int k = 0; k < 6; k++)
            want += (double)t.W_ih[(2 * NH + j) * 6 + k] * (double)t.x[k];
        /* block order: block, gate 2 (g), unit */
        assert_true(fabs((double)y[j / 16 * 64 + 32 + j % 16] - want) <
                    TOLERANCE);
    }
    cell_fini(&w);
}

static void test_cell_pack_fails_cleanly_without_memory(void **state)
{
    struct tensor W_ih = as_tensor(t.W_ih), W_hh = as_tensor(t.W_hh);
    struct cell_params p = {.W_ih = &W_ih,
                            .W_hh = &W_hh,
                            .b_ih = t.b_ih,
                            .b_hh = t.b_hh,
                            .I = NI,
                            .H = NH,
                            .n_parts = 1,
                            .part = NI,
                            .part_stride = NI};
    int failures = 0;
    (void)state;
    for (long n = 1; n < 20; n++) {
        struct err e = ERR_INIT;
        struct cell w;
        int rc;
        mem_fail_at(n);
        rc = cell_pack(&cell_gru, &p, &w, &e);
        mem_fail_at(0);
        if (!rc) {
            cell_fini(&w);
            break;
        }
        assert_int_equal(e.code, ERR_NOMEM);
        assert_null(w.ih.data);
        failures++;
    }
    assert_true(failures >= 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cell_computes_its_equations),
        cmocka_unit_test(test_cell_padded_units_stay_zero),
        cmocka_unit_test(test_cell_unit_ranges_and_rows_keep_the_bits),
        cmocka_unit_test(test_cell_input_pieces_with_gaps_read_only_the_pieces),
        cmocka_unit_test(test_cell_pack_fails_cleanly_without_memory),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
