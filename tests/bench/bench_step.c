/* bench_step: one step of a recurrent net without the engine around it, as a
 * TSV on standard output: milliseconds, sequences/s and the share of the
 * multiply-add peak of all its threads, which is probed before each round;
 * cpu_ms and cpu_share are the same by the CPU time used per thread.
 *
 * chunk: tokens of a sequence in one step (the runner cuts at
 * model_info.max_chain, 16). folded: the input projections of the tokens have
 * rows, which the first round makes. Only ratios within one run count. The
 * machine may have other users, so a figure is the sum of the best times of its
 * single steps, each shorter than a time slice where it is cut into chunks.
 *
 * usage: bench_step [family [CELL [HIDDEN [LAYERS]]]]
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/base/mem.h"
#include "models/rnn/rnn.h"
#include "tests/support/arch_rig.h"
#include "tests/support/fma_probe.h"
#include "tests/support/rnn_random.h"

#define T 64
#define MAX_B 64
#define VOCABULARY 10000
#define SECONDS 0.8 /* of one figure */
#define MIN_ROUNDS 5

static double seconds(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double now(void)
{
    return seconds(CLOCK_MONOTONIC);
}

/* Time by the clock, and by the process's own share of the cores: on a busy
 * machine the second one is the steadier figure. */
struct took {
    double wall, cpu;
};

struct bench {
    struct rig g;
    struct rig_seq seq[MAX_B];
    struct rig_item item[MAX_B];
    int32_t ids[MAX_B][T];
    float out[MAX_B][16];
};

static int open_bench(struct bench *b, const char *dir, const char *family,
                      int n_threads, int fold)
{
    struct err e = ERR_INIT;

    if (rig_open(&b->g, &rnn_arch, dir, family, n_threads,
                 fold ? (size_t)1 << 30 : 0, &e)) {
        fprintf(stderr, "bench_step: %s\n", e.msg);
        return -1;
    }
    for (int i = 0; i < MAX_B; i++) {
        if (rig_seq_open(&b->g, &b->seq[i]))
            return -1;
        for (int t = 0; t < T; t++)
            b->ids[i][t] = (int32_t)((i * 7919u + t * 104729u) % VOCABULARY);
    }
    return 0;
}

static void close_bench(struct bench *b)
{
    for (int i = 0; i < MAX_B; i++)
        rig_seq_close(&b->seq[i]);
    rig_close(&b->g);
}

/* All T tokens of n sequences, `chunk` at a time; class scores at the end.
 * best [T / chunk]: the best of each step so far. */
static int run(struct bench *b, int n, int chunk, struct took *best)
{
    struct err e = ERR_INIT;

    for (int i = 0; i < n; i++)
        rig_seq_clear(&b->g, &b->seq[i]);
    for (int at = 0; at < T; at += chunk, best++) {
        double wall, cpu;

        for (int i = 0; i < n; i++) {
            struct rig_item *it = &b->item[i];

            memset(it, 0, sizeof *it);
            it->seq = &b->seq[i];
            it->ids = b->ids[i] + at;
            it->n = chunk;
            it->n_want = at + chunk == T;
            it->want[0] = (struct want){
                .kind = OUT_CLASS, .n = 1, .dst = b->out[i], .ld = 16};
        }
        wall = now();
        cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
        if (rig_step(&b->g, b->item, n, &e))
            return -1;
        cpu = seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu;
        wall = now() - wall;
        best->wall = wall < best->wall ? wall : best->wall;
        best->cpu = cpu < best->cpu ? cpu : best->cpu;
    }
    return 0;
}

/* Best time of one run, and the best probe beside it. */
static int measure(struct bench *b, int n, int chunk, struct took *best,
                   double *top)
{
    struct took steps[T];
    double start = now();

    for (int i = 0; i < T; i++)
        steps[i].wall = steps[i].cpu = 1e9;
    *top = 0.0;
    for (int r = 0; r < MIN_ROUNDS || now() - start < SECONDS; r++) {
        double peak = fma_probe(b->g.k->name);

        if (run(b, n, chunk, steps))
            return -1;
        *top = peak > *top ? peak : *top;
    }
    best->wall = best->cpu = 0.0;
    for (int i = 0; i < T / chunk; i++) {
        best->wall += steps[i].wall;
        best->cpu += steps[i].cpu;
    }
    return 0;
}

static int bench_one(const char *dir, const char *family, int n_threads,
                     int fold)
{
    static const int rows[] = {1, 8, 32, MAX_B}, cut[] = {T, RNN_MAX_CHAIN, 4};
    struct bench *b = mem_zalloc(sizeof *b);
    int rc = !b || open_bench(b, dir, family, n_threads, fold);

    for (int i = 0; !rc && i < 4; i++) {
        const struct rnn *m = b->g.self;
        double flop = 2.0 * m->kind->G * m->H * (m->H + (fold ? 0 : m->E)) +
                      4.0 * (m->L - 1) * m->kind->G * m->H * m->H;

        flop *= T * rows[i];
        for (int k = 0; !rc && k < 3; k++) {
            struct took t = {0};
            double top;

            rc = measure(b, rows[i], cut[k], &t, &top);
            top *= 1e9 * n_threads / flop;
            printf("%s\t%d\t%d\t%s\t%d\t%.3f\t%.0f\t%.2f\t%.3f\t%.2f\n",
                   b->g.k->name, n_threads, rows[i], fold ? "folded" : "plain",
                   cut[k], t.wall * 1e3, rows[i] / t.wall,
                   top > 0.0 ? 1.0 / (t.wall * top) : 0.0,
                   t.cpu * 1e3 / n_threads,
                   top > 0.0 ? n_threads / (t.cpu * top) : 0.0);
            fflush(stdout);
        }
    }
    if (b)
        close_bench(b);
    mem_free(b);
    return rc;
}

int main(int argc, char **argv)
{
    struct rnn_shape s = {.cell = "lstm",
                          .V = VOCABULARY,
                          .E = 128,
                          .H = 256,
                          .L = 1,
                          .D = 1,
                          .classifier = 1,
                          .C = 2};
    const char *family = argc > 1 ? argv[1] : "auto";
    char dir[64];
    int rc = 0;

    s.cell = argc > 2 ? argv[2] : s.cell;
    s.H = argc > 3 ? (int)strtol(argv[3], NULL, 10) : s.H;
    s.L = argc > 4 ? (int)strtol(argv[4], NULL, 10) : s.L;
    if (rnn_random_write(&s, 1, dir)) {
        fprintf(stderr, "bench_step: no checkpoint could be written\n");
        return 1;
    }
    printf("# %s e%d h%d x%d, %d tokens\n", s.cell, s.E, s.H, s.L, T);
    printf("family\tthreads\trows\ttable\tchunk\tms\tseq/s\tshare\tcpu_ms\t"
           "cpu_share\n");
    for (int fold = 0; !rc && fold < 2; fold++)
        for (int n = 1; !rc && n <= 2; n++)
            rc = bench_one(dir, family, n, fold);
    rnn_random_remove(dir);
    return rc ? 1 : 0;
}
