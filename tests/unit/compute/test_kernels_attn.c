/* The kernels of Transformers against the formulas in double, for every family
 * of this CPU; the same bits whatever the number of rows, the neighbours and
 * the blocks in front, and from AVX2 and AVX-512.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/base/mem.h"
#include "engine/base/rng.h"
#include "engine/compute/kernels.h"
#include "tests/support/unit.h"

#define MAX_ROWS 40
#define MAX_KEYS 208
#define MAX_D 144
#define N_VALUES 100003
/* Sums of a few hundred products of numbers near 1. */
#define TOL_SUM 2e-5
#define TOL_UNIT 3e-7 /* probabilities and normed values: a few roundings */
/* Activations: half an ulp of the result, and what a rounded argument of the
 * exponential does to values up to 1. */
#define TOL_ACTIVATION 2.5e-7

static float *floats(size_t n)
{
    float *p = mem_floats(n);

    assert_non_null(p);
    return p;
}

static void fill(struct rng *r, float *x, size_t n, double scale)
{
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(rng_normal(r) * scale);
}

static void near(double got, double want, double tol, const char *what,
                 size_t i)
{
    double size = fabs(want) > 1.0 ? fabs(want) : 1.0;

    if (!(fabs(got - want) <= tol * size))
        fail_msg("%s: element %zu is %.9g, expected %.9g", what, i, got, want);
}

static void same(const float *a, const float *b, size_t n, const char *what)
{
    for (size_t i = 0; i < n; i++)
        if (memcmp(&a[i], &b[i], sizeof *a) != 0 &&
            !(isnan(a[i]) && isnan(b[i])))
            fail_msg("%s: element %zu is %a and %a", what, i, (double)a[i],
                     (double)b[i]);
}

/* --- attention --- */

/* A cache of keys and values as arrays and as blocks. Slots without a key, and
 * the padding of keys, hold NaN: whoever uses them is found. */
struct cache {
    int d, dp, n;
    float *k, *v;       /* [n][d] */
    float *kmem, *vmem; /* blocks */
    const float *kb[MAX_KEYS / ATTN_KEYS], *vb[MAX_KEYS / ATTN_KEYS];
    int n_blocks;
};

static void cache_open(struct cache *c, int d, int n, uint64_t seed)
{
    struct rng r;
    size_t dp = ((size_t)d + 15) / 16 * 16, block;

    rng_init(&r, seed);
    memset(c, 0, sizeof *c);
    c->d = d;
    c->dp = (int)dp;
    c->n = n;
    c->n_blocks = (n + ATTN_KEYS - 1) / ATTN_KEYS;
    block = dp * ATTN_KEYS;
    c->k = floats((size_t)n * (size_t)d);
    c->v = floats((size_t)n * (size_t)d);
    c->kmem = floats((size_t)c->n_blocks * block);
    c->vmem = floats((size_t)c->n_blocks * block);
    fill(&r, c->k, (size_t)n * (size_t)d, 1.0);
    fill(&r, c->v, (size_t)n * (size_t)d, 1.0);
    for (size_t i = 0; i < (size_t)c->n_blocks * block; i++)
        c->kmem[i] = c->vmem[i] = NAN;
    for (int b = 0; b < c->n_blocks; b++) {
        c->kb[b] = c->kmem + (size_t)b * block;
        c->vb[b] = c->vmem + (size_t)b * block;
    }
    for (int i = 0; i < n; i++) {
        float *kb = c->kmem + (size_t)(i / 16) * block + i % 16;
        float *vb = c->vmem + (size_t)(i / 16) * block + (size_t)(i % 16) * dp;

        for (int j = 0; j < d; j++)
            kb[j * 16] = c->k[i * d + j];
        memset(vb, 0, dp * sizeof *vb);
        memcpy(vb, c->v + i * d, (size_t)d * sizeof *vb);
    }
}

static void cache_close(struct cache *c)
{
    mem_aligned_free(c->k);
    mem_aligned_free(c->v);
    mem_aligned_free(c->kmem);
    mem_aligned_free(c->vmem);
}

struct query {
    int m;
    float *q, *s, *y;
    size_t ldq, lds, ldy;
    int lo[MAX_ROWS], hi[MAX_ROWS];
};

/* Rows of a prompt: row r sees lo .. hi - 1, rising with r. */
static void query_open(struct query *x, const struct cache *c, int m, int width)
{
    struct rng r;

    rng_init(&r, 77);
    x->m = m;
    x->ldq = (size_t)c->d + 3;
    x->lds = (size_t)c->n_blocks * ATTN_KEYS + 5;
    x->ldy = (size_t)c->dp + 2;
    x->q = floats((size_t)m * x->ldq);
    x->s = floats((size_t)m * x->lds);
    x->y = floats((size_t)m * x->ldy);
    fill(&r, x->q, (size_t)m * x->ldq, 1.0);
    for (int i = 0; i < m; i++) {
        x->hi[i] = c->n - (m - 1 - i) / 2;
        x->lo[i] = width && x->hi[i] > width ? x->hi[i] - width : 0;
    }
}

static void query_close(struct query *x)
{
    mem_aligned_free(x->q);
    mem_aligned_free(x->s);
    mem_aligned_free(x->y);
}

static void run(const struct kernels *k, const struct cache *c, struct query *x,
                float cap)
{
    k->attn_scores(x->m, c->d, x->q, x->ldq, c->kb, c->n_blocks, 0.125f, x->s,
                   x->lds);
    for (int r = 0; r < x->m; r++)
        k->attn_softmax(x->lo[r], x->hi[r], cap, x->s + (size_t)r * x->lds);
    k->attn_mix(x->m, c->d, x->s, x->lds, x->lo, x->hi, c->vb, x->y, x->ldy);
}

/* Attention of row r in double: weights p and mixture y. */
static void reference(const struct cache *c, const struct query *x, int r,
                      double cap, double *p, double *y)
{
    double max = -INFINITY, sum = 0.0;

    for (int i = x->lo[r]; i < x->hi[r]; i++) {
        double s = 0.0;

        for (int j = 0; j < c->d; j++)
            s += (double)x->q[(size_t)r * x->ldq + (size_t)j] *
                 (double)c->k[i * c->d + j];
        s *= 0.125;
        p[i] = cap > 0.0 ? cap * tanh(s / cap) : s;
        max = p[i] > max ? p[i] : max;
    }
    for (int i = x->lo[r]; i < x->hi[r]; i++)
        sum += p[i] = exp(p[i] - max);
    memset(y, 0, MAX_D * sizeof *y);
    for (int i = x->lo[r]; i < x->hi[r]; i++) {
        p[i] /= sum;
        for (int j = 0; j < c->d; j++)
            y[j] += p[i] * (double)c->v[i * c->d + j];
    }
}

static void check_attention(const struct kernels *k, const struct cache *c,
                            int m, int width, float cap)
{
    struct query x;
    double p[MAX_KEYS], y[MAX_D];

    query_open(&x, c, m, width);
    run(k, c, &x, cap);
    for (int r = 0; r < m; r++) {
        reference(c, &x, r, (double)cap, p, y);
        for (int i = x.lo[r]; i < x.hi[r]; i++)
            near((double)x.s[(size_t)r * x.lds + (size_t)i], p[i], TOL_SUM,
                 "weight", (size_t)i);
        for (int j = 0; j < c->dp; j++)
            near((double)x.y[(size_t)r * x.ldy + (size_t)j], y[j], TOL_SUM,
                 "mixture", (size_t)j);
    }
    query_close(&x);
}

static void test_attention_is_the_formula_for_all_shapes(void **state)
{
    static const int d[] = {1, 8, 16, 20, 32, 48, 64, 80, 128, 144};
    static const int n[] = {20, 33, 64, 65, 200};
    static const int m[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 32, 39};
    const struct kernels *k;

    for (int f = 0; (k = kernels_available(f)); f++) {
        for (size_t i = 0; i < COUNT(d); i++) {
            struct cache c;

            cache_open(&c, d[i], n[i % 5], 5 + i);
            for (size_t j = 0; j < COUNT(m); j++) {
                check_attention(k, &c, m[j], 0, 0.0f);
                check_attention(k, &c, m[j], 1 + (int)j * 3, 0.0f);
                check_attention(k, &c, m[j], 19, 2.0f);
            }
            cache_close(&c);
        }
    }
}

/* Each row alone, in reverse company and with the window's blocks only. */
static void test_attention_bits_do_not_depend_on_company(void **state)
{
    const struct kernels *k;

    for (int f = 0; (k = kernels_available(f)); f++) {
        struct cache c;
        struct query x;

        cache_open(&c, 40, 100, 3);
        query_open(&x, &c, 23, 37);
        run(k, &c, &x, 0.0f);
        for (int r = 0; r < x.m; r++) {
            struct query one = x;
            struct cache part = c;
            float s[MAX_KEYS], y[48];
            int first = x.lo[r] / ATTN_KEYS;

            for (int b = first; b < c.n_blocks; b++) {
                part.kb[b - first] = c.kb[b];
                part.vb[b - first] = c.vb[b];
            }
            part.n_blocks = (x.hi[r] + 15) / 16 - first;
            one.m = 1;
            one.q = x.q + (size_t)r * x.ldq;
            one.s = s;
            one.y = y;
            one.lo[0] = x.lo[r] - first * ATTN_KEYS;
            one.hi[0] = x.hi[r] - first * ATTN_KEYS;
            run(k, &part, &one, 0.0f);
            same(y, x.y + (size_t)r * x.ldy, 40, k->name);
            same(s + one.lo[0], x.s + (size_t)r * x.lds + x.lo[r],
                 (size_t)(x.hi[r] - x.lo[r]), k->name);
        }
        query_close(&x);
        cache_close(&c);
    }
}

/* --- rows --- */

static void check_norms(const struct kernels *k, int n)
{
    struct rng r;
    float *x = floats((size_t)n), *w = floats((size_t)n),
          *b = floats((size_t)n), *y = floats((size_t)n);
    double square = 0.0, mean = 0.0, var = 0.0;

    rng_init(&r, (uint64_t)n);
    fill(&r, x, (size_t)n, 2.0);
    fill(&r, w, (size_t)n, 1.0);
    fill(&r, b, (size_t)n, 1.0);
    for (int i = 0; i < n; i++) {
        square += (double)x[i] * (double)x[i] / n;
        mean += (double)x[i] / n;
    }
    for (int i = 0; i < n; i++)
        var += ((double)x[i] - mean) * ((double)x[i] - mean) / n;
    k->rms_norm(n, x, w, 0.01f, y);
    for (int i = 0; i < n; i++)
        near((double)y[i], (double)x[i] / sqrt(square + 0.01) * (double)w[i],
             2 * TOL_UNIT, "rms_norm", (size_t)i);
    k->layer_norm(n, x, w, b, 0.01f, y);
    for (int i = 0; i < n; i++) {
        double z = ((double)x[i] - mean) / sqrt(var + 0.01) * (double)w[i];

        near((double)y[i], z + (double)b[i], 4 * TOL_UNIT, "layer_norm",
             (size_t)i);
    }
    k->layer_norm(n, x, w, NULL, 0.01f, x);
    for (int i = 0; i < n; i++)
        near((double)x[i] + (double)b[i], (double)y[i], 4 * TOL_UNIT,
             "layer_norm without bias, in place", (size_t)i);
    mem_aligned_free(x);
    mem_aligned_free(w);
    mem_aligned_free(b);
    mem_aligned_free(y);
}

static void test_norms_are_the_formulas_for_all_widths(void **state)
{
    static const int n[] = {1, 2, 15, 16, 17, 31, 64, 100, 384, 576, 1031};
    const struct kernels *k;

    for (int f = 0; (k = kernels_available(f)); f++)
        for (size_t i = 0; i < COUNT(n); i++)
            check_norms(k, n[i]);
}

static void test_layer_norm_of_a_constant_row_is_the_bias(void **state)
{
    const struct kernels *k;

    for (int f = 0; (k = kernels_available(f)); f++) {
        float x[21], w[21], b[21];

        for (int i = 0; i < 21; i++) {
            x[i] = 3.0f;
            w[i] = 2.0f;
            b[i] = (float)i;
        }
        k->layer_norm(21, x, w, b, 1e-12f, x);
        for (int i = 0; i < 21; i++)
            assert_true(x[i] == (float)i);
    }
}

static void test_rope_turns_pairs_and_leaves_the_rest(void **state)
{
    const struct kernels *k;

    for (int f = 0; (k = kernels_available(f)); f++) {
        for (int adjacent = 0; adjacent < 2; adjacent++) {
            for (int n = 2; n <= 72; n += 10) {
                float x[80], y[80], cs[72];
                int half = n / 2;

                for (int i = 0; i < 80; i++)
                    x[i] = y[i] = 0.25f * (float)(i % 9) - 1.0f;
                for (int i = 0; i < half; i++) {
                    cs[i] = (float)cos(0.7 * i + 0.1);
                    cs[half + i] = (float)sin(0.7 * i + 0.1);
                }
                k->rope(n, adjacent, cs, y);
                for (int i = 0; i < half; i++) {
                    int a = adjacent ? 2 * i : i;
                    int b = adjacent ? 2 * i + 1 : i + half;
                    double c = cos(0.7 * i + 0.1), s = sin(0.7 * i + 0.1);

                    near((double)y[a], (double)x[a] * c - (double)x[b] * s,
                         TOL_UNIT, "first of a pair", (size_t)i);
                    near((double)y[b], (double)x[b] * c + (double)x[a] * s,
                         TOL_UNIT, "second of a pair", (size_t)i);
                }
                same(x + n, y + n, (size_t)(80 - n), "dimensions beyond");
            }
        }
    }
}

/* --- activations --- */

static double phi(double x)
{
    return 0.5 * erfc(-x / sqrt(2.0));
}

static double gelu_tanh(double x)
{
    double z = sqrt(2.0 / acos(-1.0)) * (x + 0.044715 * x * x * x);

    return 0.5 * x * (1.0 + tanh(z));
}

static void test_activations_are_the_formulas(void **state)
{
    const struct kernels *k;
    float *x = floats(N_VALUES), *u = floats(N_VALUES), *y = floats(N_VALUES);

    for (int i = 0; i < N_VALUES; i++) {
        x[i] = (float)(40.0 * ((double)i / N_VALUES - 0.5));
        x[i] = i % 5 ? x[i] : x[i] * 0.05f;
        u[i] = (float)(1.0 + 0.5 * sin(i));
    }
    for (int f = 0; (k = kernels_available(f)); f++) {
        k->gelu_erf(N_VALUES, x, y);
        for (int i = 0; i < N_VALUES; i++)
            near((double)y[i], (double)x[i] * phi((double)x[i]), TOL_ACTIVATION,
                 "gelu_erf", (size_t)i);
        k->gelu_tanh(N_VALUES, x, y);
        for (int i = 0; i < N_VALUES; i++)
            near((double)y[i], gelu_tanh((double)x[i]), TOL_ACTIVATION,
                 "gelu_tanh", (size_t)i);
        k->gelu_mul(N_VALUES, x, u, y);
        for (int i = 0; i < N_VALUES; i++)
            near((double)y[i], gelu_tanh((double)x[i]) * (double)u[i],
                 2 * TOL_ACTIVATION, "gelu_mul", (size_t)i);
        k->silu_mul(N_VALUES, x, u, y);
        for (int i = 0; i < N_VALUES; i++)
            near((double)y[i],
                 (double)x[i] / (1.0 + exp(-(double)x[i])) * (double)u[i],
                 2 * TOL_ACTIVATION, "silu_mul", (size_t)i);
    }
    mem_aligned_free(x);
    mem_aligned_free(u);
    mem_aligned_free(y);
}

/* Huge values, zeros and NaN: no sum of infinities where the limit is finite,
 * and NaN stays visible. */
static void test_activations_keep_limits_and_nan(void **state)
{
    const struct kernels *k;

    for (int f = 0; (k = kernels_available(f)); f++) {
        float x[6] = {1e30f, -1e30f, 0.0f, NAN, 100.0f, -100.0f};
        float one[6] = {1.0f, 1.0f, 1.0f, 1.0f, 1.0f, 1.0f}, y[6];

        for (int i = 0; i < 4; i++) {
            if (i == 0)
                k->gelu_erf(6, x, y);
            else if (i == 1)
                k->gelu_tanh(6, x, y);
            else if (i == 2)
                k->silu_mul(6, x, one, y);
            else
                k->gelu_mul(6, x, one, y);
            assert_true(y[0] == 1e30f && y[1] == 0.0f && y[2] == 0.0f);
            assert_true(isnan(y[3]) && y[4] == 100.0f && y[5] <= 0.0f);
            assert_true(y[5] > -1e-30f);
        }
    }
}

/* --- families --- */

static void same_rows(const struct kernels *a, const struct kernels *b, int n)
{
    struct rng r;
    float x[600], w[600], bias[600], ya[600], yb[600];

    rng_init(&r, (uint64_t)n);
    fill(&r, x, 600, 3.0);
    fill(&r, w, 600, 1.0);
    fill(&r, bias, 600, 1.0);
    a->rms_norm(n, x, w, 1e-5f, ya);
    b->rms_norm(n, x, w, 1e-5f, yb);
    same(ya, yb, (size_t)n, "rms_norm");
    a->layer_norm(n, x, w, bias, 1e-5f, ya);
    b->layer_norm(n, x, w, bias, 1e-5f, yb);
    same(ya, yb, (size_t)n, "layer_norm");
    a->gelu_tanh(n, x, ya);
    b->gelu_tanh(n, x, yb);
    same(ya, yb, (size_t)n, "gelu_tanh");
    a->gelu_erf(n, x, ya);
    b->gelu_erf(n, x, yb);
    same(ya, yb, (size_t)n, "gelu_erf");
    a->silu_mul(n, x, w, ya);
    b->silu_mul(n, x, w, yb);
    same(ya, yb, (size_t)n, "silu_mul");
    a->gelu_mul(n, x, w, ya);
    b->gelu_mul(n, x, w, yb);
    same(ya, yb, (size_t)n, "gelu_mul");
    memcpy(ya, x, sizeof x);
    memcpy(yb, x, sizeof x);
    a->rope(n / 2 * 2, n % 2, w, ya);
    b->rope(n / 2 * 2, n % 2, w, yb);
    same(ya, yb, 600, "rope");
}

static void test_fma_families_give_the_same_bits(void **state)
{
    const struct kernels *a = kernels_available(1), *b = kernels_available(2);

    if (!a || !b) {
        print_message("skipped: fewer than two families with FMA\n");
        skip();
    }
    for (int n = 1; n < 600; n += 13)
        same_rows(a, b, n);
    for (int d = 4; d <= 132; d += 16) {
        struct cache c;
        struct query x, y;

        cache_open(&c, d, 150, 11);
        query_open(&x, &c, 17, d);
        query_open(&y, &c, 17, d);
        run(a, &c, &x, 0.0f);
        run(b, &c, &y, 0.0f);
        for (int r = 0; r < 17; r++)
            same(x.y + (size_t)r * x.ldy, y.y + (size_t)r * y.ldy, (size_t)d,
                 "attention");
        query_close(&x);
        query_close(&y);
        cache_close(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_attention_is_the_formula_for_all_shapes),
        cmocka_unit_test(test_attention_bits_do_not_depend_on_company),
        cmocka_unit_test(test_norms_are_the_formulas_for_all_widths),
        cmocka_unit_test(test_layer_norm_of_a_constant_row_is_the_bias),
        cmocka_unit_test(test_rope_turns_pairs_and_leaves_the_rest),
        cmocka_unit_test(test_activations_are_the_formulas),
        cmocka_unit_test(test_activations_keep_limits_and_nan),
        cmocka_unit_test(test_fma_families_give_the_same_bits),
    };

    kernels_enter_thread();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
