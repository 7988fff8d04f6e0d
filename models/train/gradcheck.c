/* gradcheck: see gradcheck.h. The step of the differences is large enough that
 * rounding stays below the tolerance in double, and small enough that their
 * own error, of the order of the step squared, does too.
 *
 * SPDX-License-Identifier: MIT */
#include "models/train/gradcheck.h"

#include "engine/base/mem.h"
#include "engine/base/rng.h"
#include "models/train/objective.h"
#include "models/train/trainable.h"

#define VOCAB 13
#define ROWS (EXAMPLE_TEXTS * EXAMPLE_LENGTH)
#define SAMPLES 5
#define STEP 1e-5
#define TOLERANCE 1e-6 /* differences of step 1e-5 agree to about 1e-8 */
/* Gradients smaller than this count as this: that of the bias of keys is zero,
 * and its difference 2e-10 of rounding. */
#define TINY 1e-3

struct bench {
    struct net net;
    struct pass pass;
    struct feed feed;
    struct pass_opts opts;
    struct noise noise;
    struct region mem;
    real *w, *g, *analytic;
    double *numeric;
};

static int bench_open(struct bench *b, const struct blas *s,
                      const struct grad_case *c, struct err *e)
{
    struct rng r;
    const struct feed_size most = {EXAMPLE_LENGTH, ROWS,     EXAMPLE_TEXTS, 1,
                                   c->o.inputs,    c->labels};
    memset(b, 0, sizeof *b);
    rng_init(&r, 42);
    if (net_plan(&b->net, &c->o, c->labels, e) != 0 ||
        feed_init(&b->feed, &most, e) != 0 ||
        pass_init(&b->pass, &b->net, s, ROWS, EXAMPLE_TEXTS,
                  c->sampled ? SAMPLES : 0, e) != 0 ||
        noise_init(&b->noise, &b->mem, VOCAB, SAMPLES, NULL, 1, e) != 0)
        return -1;
    b->w = region_take(&b->mem, b->net.n, sizeof(real));
    b->g = region_take(&b->mem, b->net.n, sizeof(real));
    b->analytic = region_take(&b->mem, b->net.n, sizeof(real));
    b->numeric = region_take(&b->mem, b->net.n, sizeof(double));
    if (region_check(&b->mem, e) != 0)
        return -1;
    net_initialise(&b->net, 7, b->w);
    for (size_t i = 0; i < b->net.n; i++)
        b->w[i] += (real)(0.4 * (rng_uniform(&r) - 0.5));
    const struct objective *learns = b->net.family->objective(&c->o);
    learns->example(&b->net, &r, &b->feed);
    if (region_check(&b->feed.mem, e) != 0)
        return -1;
    noise_draw(&b->noise, &r);
    b->pass.drop = (struct dropout){c->dropout, c->dropout,     c->dropout,
                                    c->dropout, c->dropout / 2, c->o.layers > 1,
                                    c->dropout};
    b->pass.penalty.ar = b->pass.penalty.tar = c->penalty;
    b->opts = (struct pass_opts){.train = 1,
                                 .fresh = learns->fresh,
                                 .key = 11,
                                 .word_key = 12,
                                 .scale = (real)0.7,
                                 .smoothing = c->smoothing,
                                 .noise = c->sampled ? &b->noise : NULL};
    return 0;
}

static void bench_close(struct bench *b)
{
    pass_fini(&b->pass);
    feed_fini(&b->feed);
    net_fini(&b->net);
    region_fini(&b->mem);
}

/* The loss whose gradient pass_run gives, from states that are not zero. */
static double loss_of(struct bench *b)
{
    memset(b->g, 0, b->net.n * sizeof(real));
    for (int k = 0; k < b->pass.n_kept; k++)
        for (size_t i = 0; i < b->pass.kept[k].n; i++)
            b->pass.kept[k].p[i] = (real)(0.02 * (double)((i + k) % 7) - 0.05);
    double loss = pass_run(&b->pass, &b->feed.batch, b->w, &b->opts, b->g);
    return (double)b->opts.scale * (loss + b->pass.penalty.loss);
}

double gradcheck_off(size_t n, const double *numeric, const real *analytic)
{
    double worst = 0, largest = TINY;
    for (size_t i = 0; i < n; i++) {
        double off = fabs(numeric[i] - (double)analytic[i]);
        worst = off > worst || off != off ? off : worst;
        largest = fabs(numeric[i]) > largest ? fabs(numeric[i]) : largest;
    }
    return worst / largest;
}

/* Each weight moved up and down in turn: gradcheck_off. */
static double check_tensor(struct bench *b, const struct net_tensor *t)
{
    for (size_t i = t->at; i < t->at + t->n; i++) {
        real keep = b->w[i];
        b->w[i] = keep + (real)STEP;
        double up = loss_of(b);
        b->w[i] = keep - (real)STEP;
        double down = loss_of(b);
        b->w[i] = keep;
        b->numeric[i] = (up - down) / (2 * STEP);
    }
    return gradcheck_off(t->n, b->numeric + t->at, b->analytic + t->at);
}

/* The number of tensors whose gradient is off by more than the tolerance (the
 * largest difference over the largest numeric gradient of the tensor). */
static int check_tensors(struct bench *b, FILE *out, double *worst)
{
    int bad = 0;
    loss_of(b);
    memcpy(b->analytic, b->g, b->net.n * sizeof(real));
    for (int i = 0; i < b->net.n_tensors; i++) {
        double off = check_tensor(b, &b->net.t[i]);
        *worst = off > *worst || off != off ? off : *worst;
        if (off <= TOLERANCE)
            continue;
        bad++;
        fprintf(out, "  %s is off by %.2e\n", b->net.t[i].name, off);
    }
    return bad;
}

static int check_case(const struct blas *s, const struct grad_case *c,
                      FILE *out, struct err *e)
{
    struct bench b;
    double worst = 0;
    int bad = bench_open(&b, s, c, e);
    if (bad == 0) {
        bad = check_tensors(&b, out, &worst);
        fprintf(out, "%-5s layers %d %s%s%s%s%s%s%s%s%s%s%s: %.1e %s\n",
                b.net.name, c->o.layers, b.net.family->objective(&c->o)->name,
                c->note != NULL ? " " : "", c->note != NULL ? c->note : "",
                c->o.relu ? " relu" : "",
                c->o.bidirectional ? " bidirectional" : "",
                c->o.projection > 0 ? " projection" : "",
                c->o.tie ? " tied" : "", c->sampled ? " sampled" : "",
                c->smoothing > 0 ? " smoothed" : "",
                c->penalty > 0 ? " penalties" : "",
                c->dropout > 0 ? " dropout" : "", worst,
                bad == 0 ? "ok" : "FAILED");
    }
    bench_close(&b);
    return bad;
}

int gradcheck_run(FILE *out, struct err *e)
{
    struct blas b;
    int cases = 0, failed = 0, bad = 0;
    if (sizeof(real) < sizeof(double))
        return err_set(e, ERR_UNSUPPORTED,
                       "gradcheck needs the double build: make gradcheck");
    if (blas_open(&b, e) != 0)
        return -1;
    for (int k = 0; trainables[k] != NULL && bad >= 0; k++) {
        struct grad_case c;
        for (int i = 0; bad >= 0 && trainables[k]->grad_case(i, &c); i++) {
            c.o.arch = k;
            if (c.o.task != TASK_REGRESSION)
                c.o.task = c.labels > 0 ? TASK_CLASSIFIER : TASK_LM;
            c.o.vocab_size = c.o.inputs > 0 ? 0 : VOCAB;
            c.o.embedding = c.o.hidden = 4; /* so that weights can be tied */
            c.o.heads = 2;
            c.o.inner = 6;
            c.o.context = EXAMPLE_LENGTH + 1;
            bad = check_case(&b, &c, out, e);
            failed += bad > 0;
            cases++;
        }
    }
    blas_close(&b);
    fprintf(out, "%d cases, %d failed\n", cases, failed);
    if (failed > 0)
        return err_set(e, ERR_INTERNAL, "gradients are wrong");
    return bad < 0 ? -1 : 0;
}
