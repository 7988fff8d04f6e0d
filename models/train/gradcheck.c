/* gradcheck: see gradcheck.h. The step of the differences is large enough that
 * rounding stays below the tolerance in double, and small enough that their
 * own error, of the order of the step squared, does too.
 *
 * SPDX-License-Identifier: MIT */
#include "models/train/gradcheck.h"

#include "engine/base/mem.h"
#include "engine/base/rng.h"

#define VOCAB 13
#define EMBED 4 /* equals HIDDEN so that weights can be tied */
#define HIDDEN 4
#define WIDE 6 /* projection of cases that are not tied */
#define HEADS 2
#define STEPS 5
#define BATCH 3
#define ROWS (STEPS * BATCH)
#define SAMPLES 5
#define STEP 1e-5
#define TOLERANCE 1e-6 /* differences of step 1e-5 agree to about 1e-8 */
/* Gradients smaller than this count as this: that of the bias of keys is zero,
 * and its difference 2e-10 of rounding. */
#define TINY 1e-3

struct bench {
    struct net net;
    struct pass pass;
    struct pass_batch batch;
    struct pass_opts opts;
    struct noise noise;
    struct noise_set set;
    int n[STEPS], off[STEPS + 1], length[BATCH], start[BATCH + 1];
    int pick[ROWS];
    int32_t ids[ROWS], target[ROWS];
    real *w, *g;
};

static void fill_batch(struct bench *b, int ragged, int labels, struct rng *r)
{
    int N = 0;
    for (int i = 0; i < BATCH; i++)
        b->length[i] = ragged ? STEPS - i - (i > 0) : STEPS;
    for (int t = 0; t < STEPS; t++) {
        b->off[t] = N;
        for (int i = 0; i < BATCH && b->length[i] > t; i++) {
            b->ids[N] = (int32_t)rng_below(r, VOCAB);
            b->target[N++] = (int32_t)rng_below(r, VOCAB);
        }
        b->n[t] = N - b->off[t];
    }
    b->off[STEPS] = N;
    if (labels > 0)
        for (int i = 0; i < BATCH; i++)
            b->target[i] = (int32_t)rng_below(r, (uint32_t)labels);
    b->start[0] = 0;
    for (int i = 0; i < BATCH; i++)
        b->start[i + 1] = b->start[i] + b->length[i];
    for (int i = 0; i < N / 2; i++)
        b->pick[i] = 2 * i + i % 2;
    b->batch = (struct pass_batch){.steps = {STEPS, N, b->n, b->off},
                                   .start = b->start,
                                   .pick = b->pick,
                                   .n_pick = N / 2,
                                   .ids = b->ids,
                                   .target = b->target,
                                   .length = b->length,
                                   .B = BATCH};
}

static int bench_open(struct bench *b, const struct blas *s,
                      const struct grad_case *c, struct err *e)
{
    struct net_config n = {.kind = c->kind,
                           .cell = c->cell,
                           .relu = c->relu,
                           .V = VOCAB,
                           .E = EMBED,
                           .H = HIDDEN,
                           .L = c->L,
                           .D = c->D,
                           .A = HEADS,
                           .F = WIDE,
                           .T = STEPS + 1,
                           .P = c->P,
                           .tie = c->tie,
                           .C = c->C,
                           .pooling = c->pooling};
    struct rng r;
    memset(b, 0, sizeof *b);
    rng_init(&r, 42);
    if (net_plan(&n, &b->net, e) != 0 ||
        pass_init(&b->pass, &b->net, s, ROWS, BATCH, c->sampled ? SAMPLES : 0,
                  e) != 0 ||
        noise_init(&b->noise, NULL, VOCAB, 1, e) != 0 ||
        noise_set_init(&b->set, SAMPLES, VOCAB, e) != 0)
        return -1;
    b->w = mem_aligned(b->net.n * sizeof(real));
    b->g = mem_aligned(b->net.n * sizeof(real));
    if (b->w == NULL || b->g == NULL)
        return err_nomem(e);
    net_initialise(&b->net, 7, b->w);
    for (size_t i = 0; i < b->net.n; i++)
        b->w[i] += (real)(0.4 * (rng_uniform(&r) - 0.5));
    fill_batch(b, c->C > 0 || c->kind != NET_RNN, c->C, &r);
    noise_set_draw(&b->set, &b->noise, &r);
    b->pass.drop = (struct dropout){c->dropout, c->dropout,     c->dropout,
                                    c->dropout, c->dropout / 2, c->L > 1};
    b->opts = (struct pass_opts){.train = 1,
                                 .key = 11,
                                 .word_key = 12,
                                 .scale = (real)0.7,
                                 .smoothing = c->smoothing};
    if (c->sampled) {
        b->opts.noise = &b->noise;
        b->opts.set = &b->set;
    }
    return 0;
}

static void bench_close(struct bench *b)
{
    pass_fini(&b->pass);
    noise_fini(&b->noise);
    noise_set_fini(&b->set);
    mem_aligned_free(b->w);
    mem_aligned_free(b->g);
}

/* The loss whose gradient pass_run gives, from states that are not zero. */
static double loss_of(struct bench *b)
{
    memset(b->g, 0, b->net.n * sizeof(real));
    for (int l = 0; l < b->net.c.L && b->net.c.kind == NET_RNN; l++)
        for (int i = 0; i < BATCH * HIDDEN; i++) {
            b->pass.layer[l].h[0][i] = (real)(0.02 * (i % 7) - 0.05);
            if (b->pass.layer[l].c[0] != NULL)
                b->pass.layer[l].c[0][i] = (real)(0.03 * (i % 5) - 0.05);
        }
    return (double)b->opts.scale *
           pass_run(&b->pass, &b->batch, b->w, &b->opts, b->g);
}

/* The largest difference of a tensor over its largest gradient. */
static double check_tensor(struct bench *b, const struct net_tensor *t,
                           const real *analytic)
{
    double worst = 0, largest = TINY;
    for (size_t i = t->at; i < t->at + t->n; i++) {
        real keep = b->w[i];
        b->w[i] = keep + (real)STEP;
        double up = loss_of(b);
        b->w[i] = keep - (real)STEP;
        double down = loss_of(b);
        b->w[i] = keep;
        double numeric = (up - down) / (2 * STEP);
        double off = fabs(numeric - (double)analytic[i]);
        worst = off > worst ? off : worst;
        largest = fabs(numeric) > largest ? fabs(numeric) : largest;
    }
    return worst / largest;
}

static int check_tensors(struct bench *b, double tolerance, FILE *out,
                         double *worst, struct err *e)
{
    int bad = 0;
    real *analytic = mem_aligned(b->net.n * sizeof(real));
    if (analytic == NULL)
        return err_nomem(e);
    loss_of(b);
    memcpy(analytic, b->g, b->net.n * sizeof(real));
    for (int i = 0; i < b->net.n_tensors; i++) {
        double off = check_tensor(b, &b->net.t[i], analytic);
        *worst = off > *worst ? off : *worst;
        if (off <= tolerance)
            continue;
        bad++;
        if (out != NULL)
            fprintf(out, "  %s is off by %.2e\n", b->net.t[i].name, off);
    }
    mem_aligned_free(analytic);
    return bad;
}

int gradcheck_case(const struct blas *s, const struct grad_case *c,
                   double tolerance, FILE *out, double *worst, struct err *e)
{
    struct bench b;
    *worst = 0;
    int bad = bench_open(&b, s, c, e);
    if (bad == 0)
        bad = check_tensors(&b, tolerance, out, worst, e);
    bench_close(&b);
    return bad;
}

static const struct grad_case heads[] = {
    {.D = 1},
    {.D = 1, .dropout = (real)0.4},
    {.D = 1, .smoothing = (real)0.1},
    {.D = 1, .P = WIDE},
    {.D = 1, .tie = 1},
    {.D = 1, .tie = 1, .P = EMBED},
    {.D = 1, .sampled = 1},
    {.D = 1, .sampled = 1, .tie = 1},
    {.D = 1, .C = 3, .pooling = NET_POOL_LAST},
    {.D = 1, .C = 3, .pooling = NET_POOL_MEAN},
    {.D = 1, .C = 3, .pooling = NET_POOL_MAX, .P = WIDE},
    {.D = 2, .C = 2, .pooling = NET_POOL_LAST},
    {.D = 2, .C = 2, .pooling = NET_POOL_MEAN, .P = WIDE},
    {.D = 2, .C = 2, .pooling = NET_POOL_MAX},
    {.D = 2, .C = 2, .pooling = NET_POOL_MAX, .dropout = (real)0.4},
};

static const struct grad_case transformers[] = {
    {.kind = NET_GPT2},
    {.kind = NET_GPT2, .sampled = 1},
    {.kind = NET_GPT2, .smoothing = (real)0.1},
    {.kind = NET_GPT2, .dropout = (real)0.4},
    {.kind = NET_BERT},
    {.kind = NET_BERT, .sampled = 1, .dropout = (real)0.4},
    {.kind = NET_BERT, .C = 3},
    {.kind = NET_BERT, .C = 2, .dropout = (real)0.4},
};

static const char *const poolings[] = {"last", "mean", "max"};

static void print_case(FILE *out, const struct grad_case *c, int bad,
                       double worst)
{
    static const char *const kinds[] = {"", "gpt2", "bert"};
    if (c->kind != NET_RNN) {
        fprintf(out, "%-5s layers %d%s%s%s%s: %.1e %s\n", kinds[c->kind], c->L,
                c->C > 0 ? " classifier" : " lm", c->sampled ? " sampled" : "",
                c->smoothing > 0 ? " smoothed" : "",
                c->dropout > 0 ? " dropout" : "", worst,
                bad == 0 ? "ok" : "FAILED");
        return;
    }
    fprintf(out, "%-5s%s layers %d directions %d %s%s%s%s%s%s: %.1e %s\n",
            c->cell->name, c->relu ? " relu" : "", c->L, c->D,
            c->C > 0 ? "classifier " : "lm",
            c->C > 0 ? poolings[c->pooling] : "", c->P > 0 ? " projection" : "",
            c->tie ? " tied" : "", c->sampled ? " sampled" : "",
            c->dropout > 0 ? " dropout" : "", worst,
            bad == 0 ? "ok" : "FAILED");
}

#define N_RNN (4 * 2 * (int)(sizeof heads / sizeof *heads))
#define N_TF (2 * (int)(sizeof transformers / sizeof *transformers))

/* Every head with every cell, everything with one layer and with two. */
static struct grad_case case_at(int i)
{
    static const struct cell_grad *const cell[] = {&lstm_grad, &gru_grad,
                                                   &elman_grad, &elman_grad};
    struct grad_case c;
    if (i >= N_RNN) {
        c = transformers[(i - N_RNN) / 2];
        c.L = 1 + i % 2;
        return c;
    }
    c = heads[i / 8];
    c.cell = cell[i % 4];
    c.relu = i % 4 == 3;
    c.L = 1 + i / 4 % 2;
    return c;
}

int gradcheck_run(FILE *out, struct err *e)
{
    struct blas b;
    int cases = 0, failed = 0;
    if (sizeof(real) < sizeof(double))
        return err_set(e, ERR_UNSUPPORTED,
                       "gradcheck needs the double build: make gradcheck");
    if (blas_open(&b, e) != 0)
        return -1;
    for (int i = 0; i < N_RNN + N_TF; i++) {
        double worst;
        struct grad_case c = case_at(i);
        int bad = gradcheck_case(&b, &c, TOLERANCE, out, &worst, e);
        if (bad < 0)
            break;
        print_case(out, &c, bad, worst);
        failed += bad > 0;
        cases++;
    }
    blas_close(&b);
    fprintf(out, "%d cases, %d failed\n", cases, failed);
    if (failed > 0)
        return err_set(e, ERR_INTERNAL, "gradients are wrong");
    return e->code == ERR_NONE ? 0 : -1;
}
