/* bench_products: matrix products of the trainer, by sgemm and in bf16 on each
 * unit that the CPU has, as a TSV: GFLOP/s of one thread's CPU time, each the
 * best of 15, the units in turn.
 *
 * SPDX-License-Identifier: MIT */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "models/train/blas.h"

#define ROUNDS 15

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static struct mat zeros(int r, int c)
{
    float *p = calloc((size_t)r * (size_t)c, sizeof *p);

    if (!p)
        exit(1);
    return mat_of(p, r, c);
}

static void measure(struct blas *blas, enum bf16_unit best, const int *size,
                    int ta, int tb)
{
    const int m = size[0], n = size[1], k = size[2];
    struct mat a = ta ? zeros(k, m) : zeros(m, k);
    struct mat b = tb ? zeros(n, k) : zeros(k, n), c = zeros(m, n);
    double seconds[BF16_TILES + 1] = {1e9, 1e9, 1e9};

    for (int i = 0; i < ROUNDS; i++)
        for (enum bf16_unit u = BF16_NONE; u <= best; u++) {
            double begun = now(), t;

            blas->bf16 = u;
            blas_product(blas, ta, tb, a, b, 1, c);
            t = now() - begun;
            seconds[u] = t < seconds[u] ? t : seconds[u];
        }
    printf("%d\t%d\t%d\t%s", m, n, k, ta ? "tn" : tb ? "nt" : "nn");
    for (enum bf16_unit u = BF16_NONE; u <= best; u++)
        printf("\t%.0f", 2e-9 * m * n * k / seconds[u]);
    putchar('\n');
    free(a.p);
    free(b.p);
    free(c.p);
}

int main(void)
{
    static const int sizes[][3] = {
        {512, 256, 256},  {512, 768, 256}, {512, 256, 768}, {512, 5000, 256},
        {512, 256, 5000}, {256, 128, 512}, {64, 768, 192},  {64, 512, 128},
    };
    const enum bf16_unit best = bf16_unit_open();
    struct err e = ERR_INIT;
    struct blas blas;

    if (blas_open(&blas, &e) < 0) {
        fprintf(stderr, "bench_products: %s\n", e.msg);
        return 1;
    }
    printf("# OpenBLAS %s\nm\tn\tk\thow\tsgemm%s%s\n", blas.core,
           best >= BF16_VECTORS ? "\tAVX-512 BF16" : "",
           best >= BF16_TILES ? "\tAMX" : "");
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int how = 0; how < 3; how++)
            measure(&blas, best, sizes[i], how == 2, how == 1);
    blas_close(&blas);
    return 0;
}
