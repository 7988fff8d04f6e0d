/* bench_matrix: products over packed weights of every type, as a TSV on
 * standard output: the exact way beside the multiply-add peak, the fast way
 * beside the peak of 8-bit products, and the bytes of weights read beside a
 * plain read of the same memory; each probed right before each measurement.
 *
 * Only the shares count: hosts differ, clocks move and others use the machine.
 * A second family of one name has VNNI. Matrices of one shape are passed in
 * turn, so that together they fill --mb megabytes (default 64): what a model
 * of that size finds in its caches.
 *
 * usage: bench_matrix [--mb N] [family or type ...]
 *
 * SPDX-License-Identifier: MIT */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/base/mem.h"
#include "engine/base/rng.h"
#include "engine/compute/kernels.h"
#include "engine/compute/matrix.h"
#include "tests/support/fma_probe.h"
#include "tests/support/matrix_data.h"

#define M_MAX 256
#define COPIES_MAX 512
#define MAX_SECONDS 0.4

struct bench {
    const struct kernels *k;
    struct matrix w[COPIES_MAX];
    int n_w, at, m, fast;
    float *x, *y;
    struct qrows q;
    double peak, read; /* the best probes */
};

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double cpu(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void once(struct bench *b)
{
    const struct matrix *w = &b->w[b->at++ % b->n_w];
    const size_t ldx = (size_t)w->K, ldy = ((size_t)w->N + 15) / 16 * 16;

    if (b->fast) {
        matrix_quantise(b->k, b->x, ldx, 0, b->m, &b->q);
        matrix_rows_q(b->k, w, 0, w->N, 0, b->m, &b->q, NULL, b->y, ldy);
    } else {
        matrix_rows(b->k, w, 0, w->N, b->m, b->x, ldx, NULL, b->y, ldy);
    }
}

/* Seconds of one product: the best of many, a probe before each. */
static double seconds(struct bench *b)
{
    double best = 1e9, start = now();

    b->peak = b->read = 0.0;
    for (int i = 0; i < 5 || now() - start < MAX_SECONDS; i++) {
        const struct matrix *w = &b->w[(b->at + b->n_w / 2) % b->n_w];
        double peak = b->fast ? int8_probe(b->k->name) : fma_probe(b->k->name);
        double read = read_probe(w->data, w->bytes), t0 = now(), t;

        once(b);
        t = now() - t0;
        best = t < best ? t : best;
        b->peak = peak > b->peak ? peak : b->peak;
        b->read = read > b->read ? read : b->read;
    }
    return best;
}

static void line(struct bench *b)
{
    const struct matrix *w = &b->w[0];
    double s = seconds(b);
    double rate = 2e-9 * b->m * w->N * w->K / s;
    double bytes = (double)w->bytes / s * 1e-9;

    printf("%s\t%s\t%s\t%d\t%d\t%d\t%.1f\t%.1f\t%.2f\t%.1f\t%.2f\n", b->k->name,
           dtype_name(w->type), b->fast ? "fast" : "exact", w->K, w->N, b->m,
           s * 1e6, rate, b->peak > 0.0 ? rate / b->peak : 0.0, bytes,
           b->read > 0.0 ? bytes / b->read : 0.0);
    fflush(stdout);
}

static int pack_copies(struct bench *b, enum dtype type, int K, int N, int mb)
{
    struct tensor t;
    struct matrix_rows_of from = {&t, 0, N, K, 0};
    double t0;
    int rc = matrix_data(type, N, K, 1, &t);

    t0 = cpu();
    for (b->n_w = 0; rc == 0 && b->n_w < COPIES_MAX; b->n_w++) {
        if (b->n_w && (size_t)b->n_w * b->w[0].bytes > (size_t)mb << 20)
            break;
        rc = matrix_pack(&from, &b->w[b->n_w], NULL);
    }
    if (rc == 0)
        printf("# %s %d x %d: packed %.0f MB per CPU second, %.3f of its size "
               "in a file\n",
               dtype_name(type), N, K,
               (double)t.bytes * b->n_w / (cpu() - t0) * 1e-6,
               (double)b->w[0].bytes / (double)t.bytes);
    matrix_data_free(&t);
    return rc;
}

static int bench_type(struct bench *b, enum dtype type, int K, int N, int mb)
{
    static const int m_list[] = {1, 4, 16, 64, 256};
    struct rng r;
    void *mem = mem_aligned(qrows_bytes(M_MAX, K));
    int rc = pack_copies(b, type, K, N, mb);

    b->x = mem_floats((size_t)M_MAX * (size_t)K);
    b->y = mem_floats((size_t)M_MAX * ((size_t)N + 16));
    if (rc || !mem || !b->x || !b->y)
        rc = -1;
    rng_init(&r, 3);
    for (size_t i = 0; rc == 0 && i < (size_t)M_MAX * (size_t)K; i++)
        b->x[i] = (float)rng_normal(&r);
    for (b->fast = 0; rc == 0 && b->fast < 1 + matrix_quantised(&b->w[0]);
         b->fast++)
        for (size_t i = 0; i < sizeof m_list / sizeof *m_list; i++) {
            b->m = m_list[i];
            (matrix_takes_whole(&b->w[0]) ? qrows_bind_whole
                                          : qrows_bind)(&b->q, mem, b->m, K);
            line(b);
        }
    for (int i = 0; i < b->n_w; i++)
        matrix_fini(&b->w[i]);
    mem_aligned_free(mem);
    mem_aligned_free(b->x);
    mem_aligned_free(b->y);
    return rc;
}

/* 1 when no argument names a thing of this kind, or one names this thing. */
static int wanted(const char *name, int argc, char **argv, int families)
{
    int any = 0;

    for (int i = 1; i < argc; i++) {
        int is_family =
            strcmp(argv[i], "generic") == 0 || strncmp(argv[i], "avx", 3) == 0;

        if (strcmp(argv[i], "--mb") == 0)
            i++;
        else if (is_family == families) {
            any = 1;
            if (strcmp(argv[i], name) == 0)
                return 1;
        }
    }
    return !any;
}

int main(int argc, char **argv)
{
    static const int shapes[][2] = {{768, 3072}, {1536, 576}};
    static struct bench b;
    int mb = 64;

    for (int i = 1; i + 1 < argc; i++)
        if (strcmp(argv[i], "--mb") == 0)
            mb = (int)strtol(argv[i + 1], NULL, 10);
    kernels_enter_thread();
    printf("family\ttype\tway\tK\tN\tm\tus\tgops\tshare_of_peak\tgb_per_s\t"
           "share_of_read\n");
    for (int f = 0; (b.k = kernels_available(f)); f++)
        for (int i = 0; i < N_MATRIX_TYPES; i++)
            for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
                if (wanted(b.k->name, argc, argv, 1) &&
                    wanted(dtype_name(matrix_types[i]), argc, argv, 0) &&
                    bench_type(&b, matrix_types[i], shapes[s][0], shapes[s][1],
                               mb)) {
                    fprintf(stderr, "bench_matrix: out of memory\n");
                    return 1;
                }
    return 0;
}
