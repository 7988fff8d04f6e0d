/* ONNX's operator vectors, for every family: Attention, LayerNormalization and
 * RMSNormalization, Gelu, Softmax and LogSoftmax, RotaryEmbedding against the
 * kernels of Transformers; RNN, LSTM and GRU against the cells, whose inputs
 * are vectors: cell_project and the cell's forward are called directly. The
 * files are shared data beside the repository; skipped where they are not
 * there.
 *
 * Arbitrary masks, which no model here has, are added to the scores between two
 * kernels. Left out, since PyTorch's cells have no such term: peepholes; and a
 * GRU that resets before the product (linear_before_reset = 0) wherever that
 * differs, which is with a recurrent bias or from the second time step on.
 *
 * SPDX-License-Identifier: MIT */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/json.h"
#include "engine/base/mem.h"
#include "engine/compute/kernels.h"
#include "engine/compute/tensor.h"
#include "models/rnn/cell.h"
#include "tests/support/shared_file.h"

#define TOLERANCE 2e-6 /* the vectors are fp32 results of size 1 */
#define CELL_TOLERANCE 1e-5
#define MAX_ELEMENTS 4096
#define MAX_KEYS 32
#define MAX_HEAD 32

struct array {
    float v[MAX_ELEMENTS];
    int dim[4], n_dims, n;
};

static void read_array(const struct json *j, const char *list, const char *name,
                       struct array *a)
{
    memset(a, 0, sizeof *a);
    for (const struct json *x = json_child(json_get(j, list)); x;
         x = json_next(x)) {
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

static double attribute(const struct json *j, const char *name, double other)
{
    const struct json *v = json_get(json_get(j, "attributes"), name);
    return v ? json_number(v) : other;
}

static void compare(const struct json *j, const struct kernels *k,
                    const float *got, const struct array *want)
{
    assert_true(want->n > 0);
    for (int i = 0; i < want->n; i++)
        if (!(fabs((double)got[i] - (double)want->v[i]) <= TOLERANCE))
            fail_msg("%s %s: element %d is %.9g, expected %.9g", k->name,
                     json_string(json_get(j, "case")), i, (double)got[i],
                     (double)want->v[i]);
}

/* Each line of a file to fn, for each family; the number of lines. */
typedef void case_fn(const struct json *j, const struct kernels *k);

static int each_case(const char *file, case_fn *fn)
{
    size_t size;
    char *text = shared_read(file, &size), *line, *rest = text;
    const struct kernels *k;
    int n = 0;
    if (!text) {
        print_message("skipped: no shared data %s\n", file);
        return 0;
    }
    while ((line = strsep(&rest, "\n")) && *line) {
        struct err e = ERR_INIT;
        struct json *j;
        if (json_parse(line, strlen(line), NULL, &j, &e))
            fail_msg("%s: %s", file, e.msg);
        for (int f = 0; (k = kernels_available(f)); f++)
            fn(j, k);
        json_free(j);
        n++;
    }
    free(text);
    return n;
}

/* --- attention --- */

/* Q, K, V [batch][heads][rows][d], or [batch][rows][heads d]. */
struct view {
    const float *v;
    int batch, heads, rows, d;
    size_t batch_step, head_step, row_step;
};

static struct view view_of(const struct array *a, int heads)
{
    struct view v = {.v = a->v, .batch = a->dim[0]};
    if (a->n_dims == 4) {
        v.heads = a->dim[1];
        v.rows = a->dim[2];
        v.d = a->dim[3];
        v.head_step = (size_t)v.rows * (size_t)v.d;
        v.row_step = (size_t)v.d;
        v.batch_step = (size_t)v.heads * v.head_step;
    } else {
        v.heads = heads;
        v.rows = a->dim[1];
        v.d = a->dim[2] / heads;
        v.head_step = (size_t)v.d;
        v.row_step = (size_t)a->dim[2];
        v.batch_step = (size_t)v.rows * v.row_step;
    }
    return v;
}

static const float *row_at(const struct view *v, int b, int h, int r)
{
    return v->v + (size_t)b * v->batch_step + (size_t)h * v->head_step +
           (size_t)r * v->row_step;
}

struct attention {
    struct array Q, K, V, mask, past_k, past_v, Y;
    struct view q, k, v, pk, pv, y;
    int causal, boolean;
    float scale;
    /* keys and values of one head as blocks */
    _Alignas(64) float kmem[2][MAX_HEAD * 16], vmem[2][16 * MAX_HEAD];
    int n_keys;
};

static void load_head(struct attention *a, int b, int h)
{
    int past = a->past_k.n ? a->pk.rows : 0;
    size_t dp = ((size_t)a->v.d + 15) / 16 * 16;
    a->n_keys = past + a->k.rows;
    assert_true(a->n_keys <= MAX_KEYS && dp <= MAX_HEAD);
    memset(a->vmem, 0, sizeof a->vmem);
    for (int i = 0; i < a->n_keys; i++) {
        const float *k =
            i < past ? row_at(&a->pk, b, h, i) : row_at(&a->k, b, h, i - past);
        const float *v =
            i < past ? row_at(&a->pv, b, h, i) : row_at(&a->v, b, h, i - past);
        for (int c = 0; c < a->k.d; c++)
            a->kmem[i / 16][c * 16 + i % 16] = k[c];
        memcpy(a->vmem[i / 16] + (size_t)(i % 16) * dp, v,
               (size_t)a->v.d * sizeof *v);
    }
}

/* The mask's row for query r: 2 dimensions for all heads, or 4. */
static void add_mask(const struct attention *a, int b, int h, int r, float *s)
{
    const struct array *m = &a->mask;
    if (m->n == 0)
        return;
    int cols = m->dim[m->n_dims - 1], rows = m->dim[m->n_dims - 2];
    int plane = m->n_dims == 4 ? b * m->dim[1] + h : 0;
    for (int i = 0; i < cols; i++) {
        float v = m->v[(plane * rows + r) * cols + i];
        if (!a->boolean)
            s[i] += v;
        else if (v == 0.0f)
            s[i] = -INFINITY;
    }
}

static void run_head(struct attention *a, const struct kernels *k, int b, int h,
                     float *out)
{
    const float *kb[2] = {a->kmem[0], a->kmem[1]};
    const float *vb[2] = {a->vmem[0], a->vmem[1]};
    float s[16][MAX_KEYS], y[16][MAX_HEAD];
    int lo[16] = {0}, hi[16], m = a->q.rows;
    load_head(a, b, h / (a->q.heads / a->k.heads));
    k->attn_scores(m, a->q.d, row_at(&a->q, b, h, 0), a->q.row_step, kb, 2,
                   a->scale, s[0], MAX_KEYS);
    for (int r = 0; r < m; r++) {
        hi[r] = a->causal ? r + 1 : a->n_keys;
        add_mask(a, b, h, r, s[r]);
        k->attn_softmax(lo[r], hi[r], 0.0f, s[r]);
    }
    k->attn_mix(m, a->v.d, s[0], MAX_KEYS, lo, hi, vb, y[0], MAX_HEAD);
    for (int r = 0; r < m; r++)
        memcpy(out + (row_at(&a->y, b, h, r) - a->Y.v), y[r],
               (size_t)a->v.d * sizeof(float));
}

static void attention_case(const struct json *j, const struct kernels *k)
{
    static struct attention a;
    static float out[MAX_ELEMENTS];
    int q_heads = (int)attribute(j, "q_num_heads", 0);
    int kv_heads = (int)attribute(j, "kv_num_heads", 0);
    memset(&a, 0, sizeof a);
    read_array(j, "inputs", "Q", &a.Q);
    read_array(j, "inputs", "K", &a.K);
    read_array(j, "inputs", "V", &a.V);
    read_array(j, "inputs", "attn_mask", &a.mask);
    read_array(j, "inputs", "past_key", &a.past_k);
    read_array(j, "inputs", "past_value", &a.past_v);
    read_array(j, "outputs", "Y", &a.Y);
    for (const struct json *x = json_child(json_get(j, "inputs")); x;
         x = json_next(x))
        a.boolean |= strcmp(json_string(json_get(x, "dtype")), "bool") == 0;
    a.q = view_of(&a.Q, q_heads);
    a.k = view_of(&a.K, kv_heads);
    a.v = view_of(&a.V, kv_heads);
    a.y = view_of(&a.Y, q_heads);
    if (a.past_k.n) {
        a.pk = view_of(&a.past_k, kv_heads);
        a.pv = view_of(&a.past_v, kv_heads);
    }
    a.causal = (int)attribute(j, "is_causal", 0);
    a.scale = (float)attribute(j, "scale", 1.0 / sqrt((double)a.q.d));
    for (int b = 0; b < a.q.batch; b++)
        for (int h = 0; h < a.q.heads; h++)
            run_head(&a, k, b, h, out);
    compare(j, k, out, &a.Y);
}

/* --- norms, activations, rotary positions --- */

static void norm_case(const struct json *j, const struct kernels *k)
{
    static struct array x, w, b, y;
    int n,
        rms = strcmp(json_string(json_get(j, "op")), "RMSNormalization") == 0;
    float eps = (float)attribute(j, "epsilon", 1e-5);
    read_array(j, "inputs", "X", &x);
    read_array(j, "inputs", "W", &w);
    read_array(j, "inputs", "B", &b);
    read_array(j, "outputs", "Y", &y);
    n = x.dim[x.n_dims - 1];
    assert_int_equal(w.n, n);
    for (int r = 0; r < x.n; r += n)
        if (rms)
            k->rms_norm(n, x.v + r, w.v, eps, x.v + r);
        else
            k->layer_norm(n, x.v + r, w.v, b.v, eps, x.v + r);
    compare(j, k, x.v, &y);
}

static void softmax_line(const struct kernels *k, int n, int logs, float *v)
{
    float max = k->row_max(n, v), sum = k->sum_exp(n, v, max);
    for (int i = 0; i < n && logs; i++)
        v[i] = v[i] - max - logf(sum);
    if (!logs)
        k->softmax(n, v, max, sum, v);
}

/* Lines along an axis are not contiguous: copied out and back. */
static void softmax_case(const struct json *j, const struct kernels *k,
                         struct array *x)
{
    int axis = (int)attribute(j, "axis", -1);
    int logs = strcmp(json_string(json_get(j, "op")), "LogSoftmax") == 0;
    int n, step = 1;
    float line[64];
    axis = axis < 0 ? axis + x->n_dims : axis;
    n = x->dim[axis];
    for (int i = axis + 1; i < x->n_dims; i++)
        step *= x->dim[i];
    for (int at = 0; at < x->n; at++) {
        if (at / step % n)
            continue;
        for (int i = 0; i < n; i++)
            line[i] = x->v[at + i * step];
        softmax_line(k, n, logs, line);
        for (int i = 0; i < n; i++)
            x->v[at + i * step] = line[i];
    }
}

static void activation_case(const struct json *j, const struct kernels *k)
{
    static struct array x, y;
    const struct json *approximate =
        json_get(json_get(j, "attributes"), "approximate");
    read_array(j, "inputs", "x", &x);
    read_array(j, "outputs", "y", &y);
    if (strcmp(json_string(json_get(j, "op")), "Gelu") != 0)
        softmax_case(j, k, &x);
    else if (approximate && !strcmp(json_string(approximate), "tanh"))
        k->gelu_tanh(x.n, x.v, x.v);
    else
        k->gelu_erf(x.n, x.v, x.v);
    compare(j, k, x.v, &y);
}

static void rotary_case(const struct json *j, const struct kernels *k)
{
    static struct array x, cos_table, sin_table, pos, y;
    struct view v;
    int adjacent = (int)attribute(j, "interleaved", 0), half;
    read_array(j, "inputs", "input", &x);
    read_array(j, "inputs", "cos_cache", &cos_table);
    read_array(j, "inputs", "sin_cache", &sin_table);
    read_array(j, "inputs", "position_ids", &pos);
    read_array(j, "outputs", "output", &y);
    v = view_of(&x, (int)attribute(j, "num_heads", 0));
    half = cos_table.dim[cos_table.n_dims - 1];
    for (int b = 0; b < v.batch; b++) {
        for (int r = 0; r < v.rows; r++) {
            int row = pos.n ? (int)pos.v[b * v.rows + r] : b * v.rows + r;
            float cs[MAX_HEAD];
            memcpy(cs, cos_table.v + row * half, (size_t)half * sizeof *cs);
            memcpy(cs + half, sin_table.v + row * half,
                   (size_t)half * sizeof *cs);
            for (int h = 0; h < v.heads; h++)
                k->rope(2 * half, adjacent, cs,
                        x.v + (row_at(&v, b, h, r) - v.v));
        }
    }
    compare(j, k, x.v, &y);
}

/* --- cells --- */

#define MAX_BATCH 16

struct vectors {
    const char *name, *op;
    struct array X, W, R, B, Y, Y_h;
    int peepholes, layout, linear_before_reset;
    int steps, batch, inputs, H;
};

static void read_cell(const struct json *j, struct vectors *v)
{
    static struct array P;
    v->name = json_string(json_get(j, "case"));
    v->op = json_string(json_get(j, "op"));
    v->layout = (int)attribute(j, "layout", 0);
    v->linear_before_reset = (int)attribute(j, "linear_before_reset", 0);
    v->H = (int)attribute(j, "hidden_size", 0);
    read_array(j, "inputs", "X", &v->X);
    read_array(j, "inputs", "W", &v->W);
    read_array(j, "inputs", "R", &v->R);
    read_array(j, "inputs", "B", &v->B);
    read_array(j, "inputs", "P", &P);
    read_array(j, "outputs", "Y", &v->Y);
    read_array(j, "outputs", "Y_h", &v->Y_h);
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

static void pack_cell(const struct vectors *v, const struct cell_kind *kind,
                      struct cell *w)
{
    static float W[MAX_ELEMENTS], R[MAX_ELEMENTS], bx[MAX_ELEMENTS],
        bh[MAX_ELEMENTS];
    int GH = v->W.dim[1];
    const struct tensor w_ih = {.dtype = DT_F32, .data = W};
    const struct tensor w_hh = {.dtype = DT_F32, .data = R};
    struct cell_params p = {.W_ih = &w_ih,
                            .W_hh = &w_hh,
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

static void expect_cell(const struct vectors *v, const char *what, float got,
                        float want)
{
    if (!(fabs((double)got - (double)want) <= CELL_TOLERANCE))
        fail_msg("%s: %s is %.9g, expected %.9g", v->name, what, (double)got,
                 (double)want);
}

/* All steps of the case; h [batch][Hp] and, where the case has it, Y. */
static void run_cell(const struct vectors *v, const struct cell_kind *kind,
                     const struct cell *w, const struct kernels *k)
{
    size_t Hp = (size_t)w->Hp, width = Hp * (size_t)w->G;
    size_t batch = (size_t)v->batch;
    float *h = mem_floats(2 * batch * Hp), *c = mem_floats(batch * Hp);
    float *a = mem_floats(batch * width);
    float *gates = mem_floats(cell_gate_floats(v->batch));
    const float *rows[MAX_BATCH], *in[MAX_BATCH];
    int now = 0;
    assert_true(h && c && a && gates && v->batch <= MAX_BATCH);
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
            expect_cell(v, "Y", s.h_out[(size_t)r * Hp + (size_t)j],
                        v->Y.v[step * v->H + j]);
        }
    }
    for (int i = 0; i < v->batch * v->H; i++)
        expect_cell(v, "Y_h",
                    h[(size_t)now * batch * Hp + (size_t)(i / v->H) * Hp +
                      (size_t)(i % v->H)],
                    v->Y_h.v[i]);
    mem_aligned_free(h);
    mem_aligned_free(c);
    mem_aligned_free(a);
    mem_aligned_free(gates);
}

static int n_left_out;

static void cell_case(const struct json *j, const struct kernels *k)
{
    static struct vectors v;
    const struct cell_kind *kind = &cell_elman_tanh;
    const char *why;
    struct cell w;
    read_cell(j, &v);
    why = left_out(&v);
    if (why) {
        print_message("left out: %s: %s\n", v.name, why);
        n_left_out++;
        return;
    }
    if (strcmp(v.op, "RNN") != 0)
        kind = strcmp(v.op, "LSTM") == 0 ? &cell_lstm : &cell_gru;
    pack_cell(&v, kind, &w);
    run_cell(&v, kind, &w, k);
    cell_fini(&w);
}

/* --- tests --- */

static void run_file(const char *file, case_fn *fn, int n)
{
    int ran = each_case(file, fn);
    if (!ran)
        skip();
    assert_int_equal(ran, n);
}

static void test_attention_matches_the_onnx_vectors(void **state)
{
    (void)state;
    run_file("data/onnx-op-vectors/attention.jsonl", attention_case, 18);
}

static void test_norms_match_the_onnx_vectors(void **state)
{
    (void)state;
    run_file("data/onnx-op-vectors/norm.jsonl", norm_case, 8);
}

static void test_activations_match_the_onnx_vectors(void **state)
{
    (void)state;
    run_file("data/onnx-op-vectors/activation.jsonl", activation_case, 16);
}

static void test_rotary_positions_match_the_onnx_vectors(void **state)
{
    (void)state;
    run_file("data/onnx-op-vectors/rotary.jsonl", rotary_case, 5);
}

static void test_rnn_cells_match_the_onnx_vectors(void **state)
{
    int families = 0;
    (void)state;
    while (kernels_available(families))
        families++;
    n_left_out = 0;
    run_file("data/onnx-op-vectors/rnn.jsonl", cell_case, 12);
    assert_int_equal(n_left_out, 2 * families);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_attention_matches_the_onnx_vectors),
        cmocka_unit_test(test_norms_match_the_onnx_vectors),
        cmocka_unit_test(test_activations_match_the_onnx_vectors),
        cmocka_unit_test(test_rotary_positions_match_the_onnx_vectors),
        cmocka_unit_test(test_rnn_cells_match_the_onnx_vectors),
    };
    kernels_enter_thread();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
