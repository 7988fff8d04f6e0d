/* The kernels of Transformers against ONNX's operator vectors: Attention,
 * LayerNormalization and RMSNormalization, Gelu, Softmax and LogSoftmax,
 * RotaryEmbedding, for every family. Arbitrary masks, which no model here has,
 * are added to the scores between two kernels. The files are shared data beside
 * the repository; skipped where they are not there.
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
#include "engine/compute/kernels.h"
#include "tests/support/shared_file.h"

#define TOLERANCE 2e-6 /* the vectors are fp32 results of size 1 */
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_attention_matches_the_onnx_vectors),
        cmocka_unit_test(test_norms_match_the_onnx_vectors),
        cmocka_unit_test(test_activations_match_the_onnx_vectors),
        cmocka_unit_test(test_rotary_positions_match_the_onnx_vectors),
    };
    kernels_enter_thread();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
