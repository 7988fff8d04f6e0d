/* The cells against ONNX's operator vectors (RNN, LSTM, GRU), whose inputs are
 * vectors: cell_project and the cell's forward are called directly. The file
 * is shared data beside the repository: $SEQD_SHARED/data/onnx-op-vectors/,
 * default ../shared; skipped where it is not there.
 *
 * Left out, since PyTorch's cells have no such term: peepholes; and a GRU that
 * resets before the product (linear_before_reset = 0) wherever that differs,
 * which is with a recurrent bias or from the second time step on.
 *
 * SPDX-License-Identifier: MIT */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/json.h"
#include "engine/base/mem.h"
#include "models/rnn/cell.h"

#define TOLERANCE 1e-5
#define MAX_CASES 16
#define MAX_ELEMENTS 1024
#define LINE_BYTES (1 << 16)

struct array {
    float v[MAX_ELEMENTS];
    int dim[4], n_dims, n;
};

struct vectors {
    const char *name, *op;
    struct array X, W, R, B, Y, Y_h;
    int peepholes, layout, linear_before_reset;
    int steps, batch, inputs, H;
};

static struct {
    struct json *json[MAX_CASES];
    int n;
    struct vectors v;
} t;

static void read_array(const struct json *list, const char *name,
                       struct array *a)
{
    memset(a, 0, sizeof *a);
    for (const struct json *x = json_child(list); x; x = json_next(x)) {
        if (strcmp(json_string(json_get(x, "name")), name))
            continue;
        for (const struct json *d = json_child(json_get(x, "shape")); d;
             d = json_next(d))
            a->dim[a->n_dims++] = (int)json_number(d);
        for (const struct json *d = json_child(json_get(x, "data")); d;
             d = json_next(d)) {
            assert_true(a->n < MAX_ELEMENTS);
            a->v[a->n++] = (float)json_number(d);
        }
    }
}

static int attribute(const struct json *j, const char *name)
{
    const struct json *v = json_get(json_get(j, "attributes"), name);
    return v ? (int)json_number(v) : 0;
}

static void read_case(const struct json *j)
{
    const struct json *in = json_get(j, "inputs"),
                      *out = json_get(j, "outputs");
    struct vectors *v = &t.v;
    struct array P;
    v->name = json_string(json_get(j, "case"));
    v->op = json_string(json_get(j, "op"));
    v->layout = attribute(j, "layout");
    v->linear_before_reset = attribute(j, "linear_before_reset");
    v->H = attribute(j, "hidden_size");
    read_array(in, "X", &v->X);
    read_array(in, "W", &v->W);
    read_array(in, "R", &v->R);
    read_array(in, "B", &v->B);
    read_array(in, "P", &P);
    read_array(out, "Y", &v->Y);
    read_array(out, "Y_h", &v->Y_h);
    v->peepholes = P.n > 0;
    v->batch = v->X.dim[v->layout ? 0 : 1];
    v->steps = v->X.dim[v->layout ? 1 : 0];
    v->inputs = v->X.dim[2];
    assert_true(v->Y_h.n == v->batch * v->H);
}

/* Why PyTorch's cells cannot express the case, or NULL. */
static const char *left_out(const struct vectors *v)
{
    int GH = v->W.dim[1], recurrent_bias = 0;
    if (v->peepholes)
        return "peepholes";
    if (strcmp(v->op, "GRU") || v->linear_before_reset)
        return NULL;
    for (int i = 0; i < v->B.n - GH; i++)
        recurrent_bias |= v->B.v[GH + i] != 0.0f;
    return v->steps > 1 || recurrent_bias ? "linear_before_reset is 0" : NULL;
}

/* Gates of rows [G*H][cols] from ONNX's order to PyTorch's. */
static void reorder(const struct vectors *v, const float *from, int cols,
                    float *to)
{
    static const int lstm[] = {0, 2, 3, 1}; /* i o f c to i f g o */
    static const int gru[] = {1, 0, 2};     /* z r h to r z n */
    static const int rnn[] = {0};
    const int *order = strcmp(v->op, "LSTM") == 0  ? lstm
                       : strcmp(v->op, "GRU") == 0 ? gru
                                                   : rnn;
    int block = v->H * cols;
    for (int g = 0; g < v->W.dim[1] / v->H; g++)
        memcpy(to + g * block, from + order[g] * block,
               (size_t)block * sizeof *to);
}

static void pack_case(const struct vectors *v, const struct cell_kind *kind,
                      struct cell *w)
{
    static float W[MAX_ELEMENTS], R[MAX_ELEMENTS], bx[MAX_ELEMENTS],
        bh[MAX_ELEMENTS];
    int GH = v->W.dim[1];
    struct cell_params p = {.W_ih = W,
                            .W_hh = R,
                            .I = v->inputs,
                            .H = v->H,
                            .n_parts = 1,
                            .part = v->inputs,
                            .part_stride = v->inputs};
    struct err e = ERR_INIT;
    reorder(v, v->W.v, v->inputs, W);
    reorder(v, v->R.v, v->H, R);
    if (v->B.n) {
        reorder(v, v->B.v, 1, bx);
        reorder(v, v->B.v + GH, 1, bh);
        p.b_ih = bx;
        p.b_hh = bh;
    }
    assert_int_equal(cell_pack(kind, &p, w, &e), 0);
}

static void expect_close(const struct vectors *v, const char *what, float got,
                         float want)
{
    if (!(fabs((double)got - (double)want) <= TOLERANCE))
        fail_msg("%s: %s is %.9g, expected %.9g", v->name, what, (double)got,
                 (double)want);
}

/* All steps of the case; h [batch][Hp] and, where the case has it, Y. */
static void run_case(const struct vectors *v, const struct cell_kind *kind,
                     const struct cell *w, const struct kernels *k)
{
    size_t Hp = (size_t)w->Hp, width = Hp * (size_t)w->G;
    size_t batch = (size_t)v->batch;
    float *h = mem_floats(2 * batch * Hp), *c = mem_floats(batch * Hp);
    float *a = mem_floats(batch * width);
    float *gates = mem_floats(cell_gate_floats(v->batch));
    const float *rows[MAX_CASES], *in[MAX_CASES];
    int now = 0;
    assert_true(h && c && a && gates && v->batch <= MAX_CASES);
    for (int t0 = 0; t0 < v->steps; t0++, now = !now) {
        struct cell_step s = {.m = v->batch,
                              .j1 = w->Hp,
                              .a = in,
                              .h_in = h + (size_t)now * batch * Hp,
                              .h_out = h + (size_t)!now * batch * Hp,
                              .ld_in = Hp,
                              .ld_out = Hp,
                              .c = c,
                              .ldc = Hp,
                              .gates = gates,
                              .rows = rows};
        int at = v->layout ? t0 * v->inputs : t0 * v->batch * v->inputs;
        int ld = v->layout ? v->steps * v->inputs : v->inputs;
        cell_project(k, w, v->batch, 0, w->Hp, v->X.v + at, (size_t)ld, a,
                     rows);
        for (int r = 0; r < v->batch; r++)
            in[r] = a + (size_t)r * width;
        kind->forward(k, w, &s);
        for (int i = 0; v->Y.n && i < v->batch * v->H; i++) {
            int r = i / v->H, j = i % v->H;
            int step = v->layout ? r * v->steps + t0 : t0 * v->batch + r;
            expect_close(v, "Y", s.h_out[(size_t)r * Hp + (size_t)j],
                         v->Y.v[step * v->H + j]);
        }
    }
    for (int i = 0; i < v->batch * v->H; i++)
        expect_close(v, "Y_h",
                     h[(size_t)now * batch * Hp + (size_t)(i / v->H) * Hp +
                       (size_t)(i % v->H)],
                     v->Y_h.v[i]);
    mem_aligned_free(h);
    mem_aligned_free(c);
    mem_aligned_free(a);
    mem_aligned_free(gates);
}

static void run_all(const struct kernels *k, int *ran, int *out)
{
    *ran = *out = 0;
    for (int i = 0; i < t.n; i++) {
        const struct cell_kind *kind;
        const char *why;
        struct cell w;
        read_case(t.json[i]);
        why = left_out(&t.v);
        if (why) {
            print_message("left out: %s: %s\n", t.v.name, why);
            ++*out;
            continue;
        }
        kind = strcmp(t.v.op, "LSTM") == 0  ? &cell_lstm
               : strcmp(t.v.op, "GRU") == 0 ? &cell_gru
                                            : &cell_elman_tanh;
        pack_case(&t.v, kind, &w);
        run_case(&t.v, kind, &w, k);
        cell_fini(&w);
        ++*ran;
    }
}

static void test_rnn_cells_match_the_onnx_vectors(void **state)
{
    const struct kernels *k;
    int ran, out;
    (void)state;
    if (!t.n) {
        print_message("skipped: no onnx-op-vectors/rnn.jsonl in the shared "
                      "data\n");
        skip();
    }
    for (int f = 0; (k = kernels_available(f)); f++) {
        run_all(k, &ran, &out);
        assert_int_equal(ran, 10);
        assert_int_equal(out, 2);
    }
}

static int read_file(void **state)
{
    const char *shared = getenv("SEQD_SHARED");
    static char line[LINE_BYTES];
    struct err e = ERR_INIT;
    char path[600];
    FILE *f;
    (void)state;
    snprintf(path, sizeof path, "%s/data/onnx-op-vectors/rnn.jsonl",
             shared ? shared : "../shared");
    f = fopen(path, "r");
    while (f && t.n < MAX_CASES && fgets(line, sizeof line, f)) {
        if (json_parse(line, strlen(line), NULL, &t.json[t.n++], &e)) {
            fclose(f);
            return -1;
        }
    }
    return f ? fclose(f) : 0;
}

static int free_file(void **state)
{
    (void)state;
    for (int i = 0; i < t.n; i++)
        json_free(t.json[i]);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rnn_cells_match_the_onnx_vectors),
    };
    return cmocka_run_group_tests(tests, read_file, free_file);
}
