/* test_sampler: against brute force: sort everything, probabilities in double.
 * Where the answer hangs on a border that rounding can move (a draw or a
 * nucleus within BORDER of a cumulated probability), a different answer is let
 * pass, and such cases must be rare.
 *
 * SPDX-License-Identifier: MIT */
#include <float.h>
#include <math.h>

#include "engine/base/mem.h"
#include "engine/base/rng.h"
#include "engine/run/sampler.h"
#include "tests/support/unit.h"

#define BORDER 2e-5 /* fp32 exponentials, summed over up to 5,000 terms */
#define MAX_V 5000

/* Picked once: asking the CPU traps in virtual machines. */
static const struct kernels *kernels(void)
{
    static const struct kernels *k;
    if (!k)
        assert_int_equal(kernels_pick("auto", &k, NULL), 0);
    return k;
}

static const struct sample_params plain = {
    .temperature = 1, .top_p = 1, .repetition_penalty = 1};

struct entry {
    double x, p;
    int32_t id;
};

static int by_rank(const void *a, const void *b)
{
    const struct entry *p = a, *q = b;
    return p->x != q->x ? (p->x < q->x ? 1 : -1) : p->id - q->id;
}

static int by_id(const void *a, const void *b)
{
    const struct entry *p = a, *q = b;
    return p->id - q->id;
}

/* The candidates that are left, in the order in which the draw walks them;
 * *near is 1 when a border of the nucleus or of min-p is too near to call. */
static int reference(const struct sample_params *p, const float *row, int V,
                     const int32_t *forbid, int n_forbid, struct entry *v,
                     int *near)
{
    int n = 0;
    double max = -INFINITY, sum = 0;
    *near = 0;
    for (int i = 0; i < V; i++) {
        int out = 0;
        for (int f = 0; f < n_forbid; f++)
            out |= forbid[f] == i;
        if (!out) {
            v[n++] = (struct entry){(double)row[i], 0, i};
            max = v[n - 1].x > max ? v[n - 1].x : max;
        }
    }
    for (int i = 0; i < n; i++)
        v[i].x = (v[i].x - max) / (double)p->temperature;
    qsort(v, (size_t)n, sizeof *v, by_rank);
    n = p->top_k > 0 && p->top_k < n ? p->top_k : n;
    for (int i = 0; i < n; i++) {
        v[i].p = exp(v[i].x);
        sum += v[i].p;
    }
    if (p->top_p < 1) {
        double at = 0;
        int k = 0;
        while (k < n && (k == 0 || at < (double)p->top_p * sum)) {
            at += v[k++].p;
            *near |= fabs(at / sum - (double)p->top_p) < BORDER;
        }
        n = k;
    }
    int kept = 0;
    for (int i = 0; i < n; i++) {
        double rel = v[i].p / v[0].p;
        *near |= p->min_p > 0 && fabs(rel - (double)p->min_p) < BORDER;
        if (i == 0 || rel >= (double)p->min_p)
            v[kept++] = v[i];
    }
    n = kept;
    if ((p->top_k == 0 || p->top_k >= V) && p->top_p >= 1)
        qsort(v, (size_t)n, sizeof *v, by_id);
    return n;
}

/* 1 when `id` is what the reference draws with u, or as good as. */
static int drawn(const struct entry *v, int n, double u, int32_t id, int *exact)
{
    double sum = 0, at = 0;
    int found = 0, want = -1;
    for (int i = 0; i < n; i++)
        sum += v[i].p;
    for (int i = 0; i < n; i++) {
        double from = at / sum - BORDER;
        at += v[i].p;
        if (v[i].id == id && u >= from && u <= at / sum + BORDER)
            found = 1;
        if (want < 0 && at / sum > u)
            want = v[i].id;
    }
    *exact = want == id;
    return found;
}

struct shape {
    int V, top_k;
    float temperature, top_p, min_p, spread;
};

static const struct shape shapes[] = {
    {1, 0, 1, 1, 0, 1},
    {2, 0, 1, 1, 0, 2},
    {17, 0, 0.7f, 1, 0, 4},
    {100, 10, 1, 1, 0, 4},
    {100, 200, 1, 1, 0, 4},
    {100, 0, 1, 0.9f, 0, 4},
    {100, 0, 1, 1, 0.05f, 4},
    {1000, 40, 0.8f, 0.95f, 0.05f, 5},
    {1000, 0, 1.5f, 0.5f, 0, 5},
    {5000, 0, 1, 1, 0, 6},
    {5000, 0, 1, 0.9f, 0.01f, 8},
    {5000, 1000, 2, 0.99f, 0, 3},
    {5000, 0, 1, 0.999f, 0, 0.01f},
    {5000, 64, 1, 1, 0.2f, 1},
};

static void test_sampler_agrees_with_brute_force(void **state)
{
    static float row[MAX_V], work[MAX_V];
    static struct entry v[MAX_V];
    struct sampler_scratch x = {0};
    struct rng r;
    int cases = 0, exact = 0;
    rng_init(&r, 5);
    assert_int_equal(sampler_scratch_grow(&x, MAX_V, NULL), 0);
    for (size_t k = 0; k < sizeof(shapes) / sizeof(shapes[0]); k++) {
        const struct shape *s = &shapes[k];
        for (int round = 0; round < 40; round++) {
            int32_t forbid[2] = {s->V / 2, s->V - 1};
            int n_forbid = s->V > 3 ? 2 : 0, near, same = 0;
            struct sample_params p = plain;
            struct sampler sm;
            p.temperature = s->temperature;
            p.top_k = s->top_k;
            p.top_p = s->top_p;
            p.min_p = s->min_p;
            p.seed = rng_next(&r);
            for (int i = 0; i < s->V; i++) /* coarse, so that ties exist */
                row[i] = (float)(floor(rng_normal(&r) * 64) / 64) * s->spread;
            int n = reference(&p, row, s->V, forbid, n_forbid, v, &near);
            assert_int_equal(
                sampler_init(&sm, &p, s->V, forbid, n_forbid, 0, NULL), 0);
            for (int draw = 0; draw < 5; draw++) {
                memcpy(work, row, sizeof(row));
                int32_t id = sampler_pick(&sm, kernels(), work, &x);
                double u = rng_uniform_at(p.seed, (uint64_t)draw);
                assert_true(near || drawn(v, n, u, id, &same));
                cases++;
                exact += !near && same;
            }
            sampler_fini(&sm);
        }
    }
    assert_true(exact > cases * 98 / 100);
    sampler_scratch_fini(&x);
}

static void test_sampler_draws_with_the_right_frequencies(void **state)
{
    enum { N = 40000, V = 6 };
    static const float logit[V] = {0, 1, 2, -1, 0.5f, -3};
    struct sampler_scratch x = {0};
    int count[V] = {0};
    double sum = 0;
    assert_int_equal(sampler_scratch_grow(&x, V, NULL), 0);
    for (int i = 0; i < V; i++)
        sum += exp((double)logit[i]);
    for (int way = 0; way < 2; way++) { /* over seeds, then over choices */
        struct sample_params p = plain;
        struct sampler s;
        memset(count, 0, sizeof(count));
        sampler_init(&s, &p, V, NULL, 0, 0, NULL);
        for (int i = 0; i < N; i++) {
            float row[V];
            memcpy(row, logit, sizeof(row));
            if (way == 0) {
                s.p.seed = (uint64_t)i;
                s.n_drawn = 0;
            }
            count[sampler_pick(&s, kernels(), row, &x)]++;
        }
        for (int i = 0; i < V; i++) {
            double q = exp((double)logit[i]) / sum;
            double sigma = sqrt(N * q * (1 - q));
            assert_true(fabs(count[i] - N * q) < 5 * sigma);
        }
        sampler_fini(&s);
    }
    sampler_scratch_fini(&x);
}

static int32_t pick(struct sample_params p, const float *row, int V,
                    const int32_t *forbid, int n_forbid)
{
    struct sampler_scratch x = {0};
    struct sampler s;
    float *work = mem_floats((size_t)V);
    sampler_scratch_grow(&x, V, NULL);
    memcpy(work, row, (size_t)V * sizeof(float));
    assert_int_equal(sampler_init(&s, &p, V, forbid, n_forbid, 0, NULL), 0);
    int32_t id = sampler_pick(&s, kernels(), work, &x);
    sampler_fini(&s);
    sampler_scratch_fini(&x);
    mem_aligned_free(work);
    return id;
}

static void test_sampler_gives_ties_to_the_lowest_id(void **state)
{
    static float row[1000];
    struct sample_params p = plain;
    int32_t forbid = 100;
    row[100] = row[300] = row[700] = 3;
    p.temperature = 0;
    assert_int_equal(pick(p, row, 1000, NULL, 0), 100);
    assert_int_equal(pick(p, row, 1000, &forbid, 1), 300);
    p.temperature = 1;
    p.top_k = 1;
    assert_int_equal(pick(p, row, 1000, NULL, 0), 100);
    p.top_k = 0;
    p.top_p = 1e-6f; /* keeps one */
    assert_int_equal(pick(p, row, 1000, &forbid, 1), 300);
}

static void test_sampler_survives_extreme_logits(void **state)
{
    static float row[200];
    struct sample_params p = plain;
    for (int i = 0; i < 200; i++)
        row[i] = i % 2 ? -FLT_MAX : -1e30f;
    row[150] = FLT_MAX;
    for (int t = 0; t < 3; t++) {
        p.temperature = t == 0 ? 1e-38f : t == 1 ? 1 : 1e30f;
        assert_int_equal(pick(p, row, 200, NULL, 0), 150);
        p.top_p = 0.9f;
        assert_int_equal(pick(p, row, 200, NULL, 0), 150);
        p.top_p = 1;
    }
    int32_t all[3] = {0, 1, 2};
    assert_int_equal(pick(p, row, 3, all, 3), -1);
    p.temperature = 0;
    assert_int_equal(pick(p, row, 3, all, 3), -1);
    assert_int_equal(pick(p, row, 3, all, 2), 2);
}

static void test_sampler_penalty_divides_and_multiplies_once(void **state)
{
    /* 2 and -1 were seen: 2 / 1.5 < 1.4, and -1 * 1.5 < -1.2 */
    struct sample_params p = plain;
    struct sampler_scratch x = {0};
    struct sampler s;
    p.temperature = 0;
    p.repetition_penalty = 1.5f;
    sampler_scratch_grow(&x, 4, NULL);
    assert_int_equal(sampler_init(&s, &p, 4, NULL, 0, 10, NULL), 0);
    for (int i = 0; i < 5; i++) {
        sampler_see(&s, 0);
        sampler_see(&s, 2);
    }
    float a[4] = {2, 1.4f, 0, 0};
    float b[4] = {2, 1.3f, 0, 0};
    float c[4] = {-9, -9, -1, -1.2f};
    assert_int_equal(sampler_pick(&s, kernels(), a, &x), 1);
    assert_int_equal(sampler_pick(&s, kernels(), b, &x), 0);
    assert_int_equal(sampler_pick(&s, kernels(), c, &x), 3);
    sampler_fini(&s);
    sampler_scratch_fini(&x);
}

/* OpenAI's formula, by hand: what was made twice loses its presence once and
 * its frequency twice; what was only seen loses nothing. */
static void test_sampler_counts_what_was_made(void **state)
{
    struct sample_params p = plain;
    struct sampler_scratch x = {0};
    struct sampler s;
    p.temperature = 0;
    p.presence_penalty = 0.5f;
    p.frequency_penalty = 0.25f;
    sampler_scratch_grow(&x, 4, NULL);
    assert_int_equal(sampler_init(&s, &p, 4, NULL, 0, 10, NULL), 0);
    sampler_see(&s, 3);
    assert_int_equal(
        sampler_made(&s, 2) | sampler_made(&s, 2) | sampler_made(&s, 1), 0);
    float a[4] = {0, 1.7f, 2, 0.9f};    /* 0, 0.95, 1, 0.9 */
    float b[4] = {0, 1.8f, 2, 0.9f};    /* 0, 1.05, 1, 0.9 */
    float c[4] = {0, 1.6f, 1.8f, 0.9f}; /* 0, 0.85, 0.8, 0.9 */
    assert_int_equal(sampler_pick(&s, kernels(), a, &x), 2);
    assert_int_equal(sampler_pick(&s, kernels(), b, &x), 1);
    assert_int_equal(sampler_pick(&s, kernels(), c, &x), 3);
    for (int i = 0; i < 3000; i++) /* the list grows */
        assert_int_equal(sampler_made(&s, i), 0);
    assert_int_equal(s.n_made, 3000);
    assert_int_equal(s.made[0].n, 3);
    sampler_fini(&s);
    sampler_scratch_fini(&x);
    p.presence_penalty = NAN;
    assert_int_equal(sampler_check(&p, NULL), -1);
}

static void test_sampler_bias_is_added_and_frees_nothing(void **state)
{
    static const struct logit_bias bias[] = {{0, 100}, {2, -1}, {1, 0.5f}};
    const int32_t forbid[] = {0};
    float row[4] = {5, 1, 2, 1.2f};
    struct sample_params p = plain;
    p.temperature = 0;
    p.bias = bias;
    p.n_bias = 3;
    assert_int_equal(pick(p, row, 4, forbid, 1), 1);
    assert_int_equal(pick(p, row, 4, forbid, 0), 0);
}

static void test_sampler_depends_on_seed_and_index_only(void **state)
{
    enum { V = 500, N = 50 };
    static float row[V], work[V];
    struct sampler_scratch x = {0};
    int32_t first[N];
    int differ = 0;
    struct rng r;
    rng_init(&r, 1);
    for (int i = 0; i < V; i++)
        row[i] = (float)rng_normal(&r);
    sampler_scratch_grow(&x, V, NULL);
    for (int k = 0; k < 3; k++) {
        struct sample_params p = plain;
        struct sampler s;
        p.seed = k < 2 ? 77 : 78;
        sampler_init(&s, &p, V, NULL, 0, 0, NULL);
        for (int i = 0; i < N; i++) {
            memcpy(work, row, sizeof(row));
            int32_t id = sampler_pick(&s, kernels(), work, &x);
            if (k == 0)
                first[i] = id;
            else if (k == 1)
                assert_int_equal(id, first[i]);
            else
                differ += id != first[i];
        }
        sampler_fini(&s);
    }
    assert_true(differ > N / 2);
    sampler_scratch_fini(&x);
}

static void test_sampler_bits_are_equal_in_the_fma_families(void **state)
{
    enum { V = 3001 };
    static float row[V], a[V], b[V];
    const struct kernels *k2, *k5;
    struct sampler_scratch x = {0};
    struct rng r;
    if (kernels_pick("avx2", &k2, NULL) || kernels_pick("avx512", &k5, NULL))
        skip();
    rng_init(&r, 9);
    sampler_scratch_grow(&x, V, NULL);
    for (int t = 0; t < 60; t++) {
        struct sample_params p = plain;
        struct sampler s, u;
        p.top_p = t % 3 == 0 ? 0.8f : 1;
        p.top_k = t % 3 == 1 ? 50 : 0;
        p.temperature = 0.5f + (float)(t % 4);
        p.seed = rng_next(&r);
        sampler_init(&s, &p, V, NULL, 0, 0, NULL);
        sampler_init(&u, &p, V, NULL, 0, 0, NULL);
        for (int i = 0; i < V; i++)
            row[i] = (float)rng_normal(&r) * 3;
        memcpy(a, row, sizeof(row));
        memcpy(b, row, sizeof(row));
        assert_int_equal(sampler_pick(&s, k2, a, &x),
                         sampler_pick(&u, k5, b, &x));
        sampler_fini(&s);
        sampler_fini(&u);
    }
    sampler_scratch_fini(&x);
}

static void test_sampler_top_is_sorted_and_skips_infinities(void **state)
{
    static float row[MAX_V];
    static struct candidate v[1000];
    static struct entry ref[MAX_V];
    struct rng r;
    rng_init(&r, 3);
    for (int round = 0; round < 30; round++) {
        int n = 1 + (int)rng_below(&r, MAX_V), out = 0;
        int want = 1 + (int)rng_below(&r, 1000);
        for (int i = 0; i < n; i++) {
            int gone = rng_below(&r, 4) == 0;
            row[i] = gone ? -INFINITY : (float)(int)rng_below(&r, 300);
            if (!gone)
                ref[out++] = (struct entry){(double)row[i], 0, i};
        }
        qsort(ref, (size_t)out, sizeof *ref, by_rank);
        int got = sampler_top(kernels(), row, n, want, v);
        assert_int_equal(got, out < want ? out : want);
        for (int i = 0; i < got; i++)
            assert_int_equal(v[i].id, ref[i].id);
    }
}

static void test_sampler_refuses_wrong_parameters(void **state)
{
    static const struct {
        struct sample_params p;
        const char *name;
    } bad[] = {
        {{.temperature = -1, .top_p = 1, .repetition_penalty = 1},
         "temperature"},
        {{.temperature = NAN, .top_p = 1, .repetition_penalty = 1},
         "temperature"},
        {{.temperature = INFINITY, .top_p = 1, .repetition_penalty = 1},
         "temperature"},
        {{.top_k = -1, .top_p = 1, .repetition_penalty = 1}, "top_k"},
        {{.top_p = 0, .repetition_penalty = 1}, "top_p"},
        {{.top_p = 1.5f, .repetition_penalty = 1}, "top_p"},
        {{.top_p = NAN, .repetition_penalty = 1}, "top_p"},
        {{.top_p = 1, .min_p = -1, .repetition_penalty = 1}, "min_p"},
        {{.top_p = 1, .min_p = 2, .repetition_penalty = 1}, "min_p"},
        {{.top_p = 1, .repetition_penalty = 0}, "repetition_penalty"},
        {{.top_p = 1, .repetition_penalty = INFINITY}, "repetition_penalty"},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct err e = ERR_INIT;
        assert_int_equal(sampler_check(&bad[i].p, &e), -1);
        assert_int_equal(e.code, ERR_INVALID);
        assert_string_equal(e.param, bad[i].name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sampler_agrees_with_brute_force),
        cmocka_unit_test(test_sampler_draws_with_the_right_frequencies),
        cmocka_unit_test(test_sampler_gives_ties_to_the_lowest_id),
        cmocka_unit_test(test_sampler_survives_extreme_logits),
        cmocka_unit_test(test_sampler_penalty_divides_and_multiplies_once),
        cmocka_unit_test(test_sampler_counts_what_was_made),
        cmocka_unit_test(test_sampler_bias_is_added_and_frees_nothing),
        cmocka_unit_test(test_sampler_depends_on_seed_and_index_only),
        cmocka_unit_test(test_sampler_bits_are_equal_in_the_fma_families),
        cmocka_unit_test(test_sampler_top_is_sorted_and_skips_infinities),
        cmocka_unit_test(test_sampler_refuses_wrong_parameters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
