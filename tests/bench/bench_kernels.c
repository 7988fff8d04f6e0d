/* bench_kernels: how fast the kernels are, as a TSV on standard output.
 * Products: GFLOP/s and the share of the multiply-add peak of the same family,
 * probed right before each measurement. Elementwise functions: ns per element.
 * With two threads: the same product split by columns and by rows.
 *
 * Only ratios within one run count: hosts differ, clocks move and others use
 * the machine. Each figure is the best of many short rounds.
 *
 * usage: bench_kernels [family ...]     (default: all that run here)
 *
 * SPDX-License-Identifier: MIT */
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "engine/base/mem.h"
#include "engine/base/rng.h"
#include "engine/compute/kernels.h"
#include "engine/compute/threadpool.h"
#include "tests/support/fma_probe.h"

#define M_MAX 64
#define ROUNDS_MAX 200
#define ROUND_SECONDS 0.0003
#define MAX_SECONDS 0.15
#define SPIN_US 50 /* the engine's default */
#define ROW 10240  /* elements of an elementwise call */

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* --- timing --- */

typedef void work_fn(void *arg);

/* Seconds of one call: the best of many rounds, each shorter than the time
 * slices of others who want the core. A probe runs before each round, so that
 * *top, the best of the probes, saw the same clock. */
static double seconds(work_fn *fn, void *arg, const char *family, double *top)
{
    double best = 1e9, start = now();
    long n = 1;

    for (int r = 0; r < ROUNDS_MAX && now() - start < MAX_SECONDS;) {
        double rate = fma_probe(family), t0 = now(), t;

        for (long i = 0; i < n; i++)
            fn(arg);
        t = now() - t0;
        *top = rate > *top ? rate : *top;
        if (t < ROUND_SECONDS && r == 0) { /* too short to trust */
            n *= 2;
            continue;
        }
        best = t / (double)n < best ? t / (double)n : best;
        r++;
    }
    return best;
}

/* --- products --- */

struct product {
    const struct kernels *k;
    struct packed w;
    struct pool *pool;
    int m, by_rows;
    float *x, *y, *init;
    const float *start[M_MAX];
};

static void product_one(void *arg)
{
    const struct product *p = arg;

    p->k->gemm_rows(&p->w, 0, p->w.N, p->m, p->x, (size_t)p->w.K, p->start,
                    p->y, (size_t)p->w.N);
}

static void product_part(void *arg, int tid, int n_threads)
{
    const struct product *p = arg;
    int panels = (p->w.N + PACK_COLS - 1) / PACK_COLS;
    int n0 = panels * tid / n_threads * PACK_COLS;
    int n1 = panels * (tid + 1) / n_threads * PACK_COLS;
    int r0 = p->m * tid / n_threads, r1 = p->m * (tid + 1) / n_threads;

    if (p->by_rows) {
        n0 = 0;
        n1 = p->w.N;
    } else {
        r0 = 0;
        r1 = p->m;
        n1 = n1 < p->w.N ? n1 : p->w.N;
    }
    p->k->gemm_rows(&p->w, n0, n1, r1 - r0, p->x + (size_t)r0 * p->w.K,
                    (size_t)p->w.K, p->start + r0, p->y + (size_t)r0 * p->w.N,
                    (size_t)p->w.N);
}

static void product_two(void *arg)
{
    struct product *p = arg;

    pool_run(p->pool, 2, product_part, p);
}

static void bench_product(struct product *p, const char *split, work_fn *fn,
                          int threads)
{
    double top = 0.0, secs = seconds(fn, p, p->k->name, &top);
    double rate = 2.0 * p->m * p->w.N * p->w.K / secs * 1e-9;

    printf("%s\tgemm_rows\t%d\t%d\t%d\t%s\t%.1f\t", p->k->name, p->w.K, p->w.N,
           p->m, split, rate);
    if (top > 0.0)
        printf("%.2f", rate / top / threads);
    else
        printf("-");
    printf("\t%.1f\n", secs * 1e6);
    fflush(stdout);
}

static int bench_shape(const struct kernels *k, struct pool *pool, int K, int N)
{
    static const int m_list[] = {1, 2, 4, 8, 16, 64};
    struct product p = {.k = k, .pool = pool};
    float *w = mem_floats((size_t)N * (size_t)K);
    struct rng r;
    int rc = -1;

    p.x = mem_floats((size_t)M_MAX * (size_t)K);
    p.y = mem_floats((size_t)M_MAX * (size_t)N);
    p.init = mem_floats((size_t)N);
    rng_init(&r, 1);
    if (!w || !p.x || !p.y || !p.init)
        goto out;
    for (size_t i = 0; i < (size_t)N * (size_t)K; i++)
        w[i] = (float)rng_normal(&r);
    for (size_t i = 0; i < (size_t)M_MAX * (size_t)K; i++)
        p.x[i] = (float)rng_normal(&r);
    for (int i = 0; i < M_MAX; i++)
        p.start[i] = p.init;
    if (pack_new(w, (size_t)K, N, K, NULL, &p.w, NULL))
        goto out;
    for (size_t i = 0; i < sizeof m_list / sizeof *m_list; i++) {
        p.m = m_list[i];
        bench_product(&p, "1", product_one, 1);
        if (!pool)
            continue;
        p.by_rows = 0;
        bench_product(&p, "2 columns", product_two, 2);
        p.by_rows = 1;
        if (p.m > 1)
            bench_product(&p, "2 rows", product_two, 2);
    }
    pack_fini(&p.w);
    rc = 0;
out:
    mem_aligned_free(w);
    mem_aligned_free(p.x);
    mem_aligned_free(p.y);
    mem_aligned_free(p.init);
    return rc;
}

/* --- elementwise --- */

struct rows {
    const struct kernels *k;
    float *x, *y, *z, *w;
    uint16_t *half;
    volatile float result;
};

#define H 256 /* units of the gate kernels */

static void run_exp(void *a)
{
    struct rows *r = a;
    r->k->vexp(ROW, r->x, r->y);
}

static void run_tanh(void *a)
{
    struct rows *r = a;
    r->k->vtanh(ROW, r->x, r->y);
}

static void run_sigmoid(void *a)
{
    struct rows *r = a;
    r->k->vsigmoid(ROW, r->x, r->y);
}

static void run_max(void *a)
{
    struct rows *r = a;
    r->result = r->k->row_max(ROW, r->x);
}

static void run_sum_exp(void *a)
{
    struct rows *r = a;
    r->result = r->k->sum_exp(ROW, r->x, 4.0f);
}

static void run_softmax(void *a)
{
    struct rows *r = a;
    r->k->softmax(ROW, r->x, 4.0f, 100.0f, r->y);
}

static void run_finite(void *a)
{
    struct rows *r = a;
    r->result = (float)r->k->all_finite(ROW, r->x);
}

static void run_gates4(void *a)
{
    struct rows *r = a;
    r->k->gates4(ROW / H, H, 0, H, r->w, 4 * H, r->y, H, r->z, H);
}

static void run_gates3(void *a)
{
    struct rows *r = a;
    r->k->gates3(ROW / H, H, 0, H, r->w, 4 * H, r->w, 4 * H, r->z, H);
}

static void run_bf16(void *a)
{
    struct rows *r = a;
    r->k->widen_bf16(ROW, r->half, r->y);
}

static void run_f16(void *a)
{
    struct rows *r = a;
    r->k->widen_f16(ROW, r->half, r->y);
}

static int bench_rows(const struct kernels *k)
{
    static const struct {
        const char *name;
        work_fn *fn;
    } list[] = {
        {"vexp", run_exp},          {"vtanh", run_tanh},
        {"vsigmoid", run_sigmoid},  {"gates4", run_gates4},
        {"gates3", run_gates3},     {"row_max", run_max},
        {"sum_exp", run_sum_exp},   {"softmax", run_softmax},
        {"all_finite", run_finite}, {"widen_bf16", run_bf16},
        {"widen_f16", run_f16},
    };
    struct rows r = {.k = k};
    struct rng g;
    int rc = -1;

    r.x = mem_floats(ROW);
    r.y = mem_floats(ROW);
    r.z = mem_floats(ROW);
    r.w = mem_floats(4 * ROW);
    r.half = mem_zarray(ROW, sizeof *r.half);
    rng_init(&g, 2);
    if (!r.x || !r.y || !r.z || !r.w || !r.half)
        goto out;
    for (int i = 0; i < ROW; i++)
        r.x[i] = (float)rng_normal(&g);
    for (int i = 0; i < 4 * ROW; i++)
        r.w[i] = (float)rng_normal(&g);
    for (int i = 0; i < ROW; i++)
        r.half[i] = (uint16_t)(0x3c00 + i % 1000);
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        double top = 0.0, secs = seconds(list[i].fn, &r, k->name, &top);

        printf("%s\t%s\t-\t%d\t-\t1\t-\t-\t%.3f\n", k->name, list[i].name, ROW,
               secs * 1e9 / ROW);
    }
    rc = 0;
out:
    mem_aligned_free(r.x);
    mem_aligned_free(r.y);
    mem_aligned_free(r.z);
    mem_aligned_free(r.w);
    mem_free(r.half);
    return rc;
}

static void print_machine(void)
{
    char line[256];
    FILE *f = fopen("/proc/cpuinfo", "re");

    printf("# ");
    while (f && fgets(line, sizeof line, f) && line[0] != '\n')
        if (!strncmp(line, "vendor_id", 9) || !strncmp(line, "model", 5) ||
            !strncmp(line, "cpu family", 10)) {
            line[strcspn(line, "\n")] = 0;
            printf("%s; ", strchr(line, ':') ? strchr(line, ':') + 2 : line);
        }
    if (f)
        fclose(f);
    printf("%d threads\n", pool_default_threads());
}

int main(int argc, char **argv)
{
    static const int shapes[][2] = {{128, 1024}, {256, 1024}, {256, 10000}};
    struct pool *pool = NULL;
    const struct kernels *k;

    kernels_enter_thread();
    if (pool_default_threads() > 1 && pool_open(2, SPIN_US, &pool, NULL) == 0)
        pool_acquire(pool);
    print_machine();
    printf("family\tkernel\tK\tN\tm\tthreads\tgflops\tshare_of_peak\t"
           "us_per_call_or_ns_per_element\n");
    for (int f = 0; (k = kernels_available(f)); f++) {
        int wanted = argc < 2;

        for (int i = 1; i < argc; i++)
            wanted |= strcmp(argv[i], k->name) == 0;
        for (int s = 0; wanted && s < 3; s++)
            if (bench_shape(k, pool, shapes[s][0], shapes[s][1]))
                return 1;
        if (wanted && bench_rows(k))
            return 1;
    }
    if (pool)
        pool_release(pool);
    pool_close(pool);
    return 0;
}
