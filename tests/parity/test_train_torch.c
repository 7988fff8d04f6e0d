/* The trainer against PyTorch, on the nets of tests/golden/train/
 * (make_train_fixtures.py, make_train_transformer_fixtures.py,
 * make_train_seq2seq_fixtures.py, make_train_seq2seq_rnn_fixtures.py,
 * make_train_value_fixtures.py): outputs, the gradient of every tensor, norms
 * of gradients by time, and the loss over 20 steps of Adam,
 * AdamW and SGD with clipping and weight decay; and the trainer's forward pass
 * against the engine's.
 *
 * SPDX-License-Identifier: MIT */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/mem.h"
#include "engine/checkpoint/weights.h"
#include "models/rnn/rnn.h"
#include "models/train/load.h"
#include "models/train/optim.h"
#include "models/train/trainable.h"
#include "tests/support/arch_rig.h"
#include "tests/support/golden.h"
#include "tests/support/rnn_random.h"

#define GOLDEN "tests/golden/train"
/* Both sides add in fp32, in different orders: outputs, gradients relative to
 * the largest of their tensor, losses of the first and the last step. */
#define OUTPUT_TOLERANCE 1e-5
#define GRAD_TOLERANCE 1e-4
#define FIRST_TOLERANCE 1e-4
#define LAST_TOLERANCE 1e-3

#define STEPS 20
#define MAX_T 16
#define MAX_N 64
#define MAX_COLUMNS 4 /* of vectors and values */

static struct {
    struct golden_names names;
    struct blas blas;
    const struct recipe *recipe;
    int traced;
} all;

struct trainee {
    const char *name;
    struct net net;
    struct pass pass;
    struct weights *expect;
    struct region mem;
    real *w, *grad;
    int n[MAX_T], off[MAX_T + 1], length[MAX_N];
    int start[MAX_N + 1], pick[MAX_N];
    int32_t ids[MAX_N], target[MAX_N];
    int source_start[MAX_N + 1];
    int source_n[MAX_T], source_off[MAX_T + 1];
    int source_length[MAX_N], source_text[MAX_N];
    int32_t source[MAX_N];
    float smoothing;
    real x[MAX_N * MAX_COLUMNS], value[MAX_N * MAX_COLUMNS];
    struct pass_batch batch;
};

static const struct tensor *expected(const struct trainee *t, const char *name)
{
    const struct tensor *w = weights_find(t->expect, name);
    if (w == NULL)
        fail_msg("%s: no '%s' among what is expected", t->name, name);
    return w;
}

static void read_ids(const struct trainee *t, const char *name, int step, int n,
                     int32_t *out)
{
    float v[MAX_N];
    tensor_read(expected(t, name), (size_t)step * (size_t)n, (size_t)n, v);
    for (int i = 0; i < n; i++)
        out[i] = (int32_t)v[i];
}

static void read_reals(const struct trainee *t, const char *name, int step,
                       int n, real *out)
{
    float v[MAX_N * MAX_COLUMNS];
    assert_true(n <= MAX_N * MAX_COLUMNS);
    tensor_read(expected(t, name), (size_t)step * (size_t)n, (size_t)n, v);
    for (int i = 0; i < n; i++)
        out[i] = (real)v[i];
}

static void read_batch(struct trainee *t, int step)
{
    if (t->net.values) {
        read_reals(t, "x", step, t->batch.N * t->net.I, t->x);
        read_reals(t, "value", step, t->batch.B * t->net.C, t->value);
        return;
    }
    read_ids(t, "ids", step, t->batch.N, t->ids);
    read_ids(t, "target", step, t->batch.n_target, t->target);
    if (t->batch.source.N > 0)
        read_ids(t, "source", step, t->batch.source.N, t->source);
}

/* Texts by time. */
static void read_steps(struct trainee *t, const struct tensor *w)
{
    float n[MAX_T];
    int T = (int)w->dim[0], N = 0;
    assert_true(T <= MAX_T);
    tensor_read(w, 0, (size_t)T, n);
    for (int s = 0; s < T; s++) {
        t->n[s] = (int)n[s];
        t->off[s] = N;
        N += t->n[s];
        for (int r = 0; r < t->n[s]; r++)
            t->length[r]++;
    }
    t->off[T] = N;
    t->batch = (struct pass_batch){.B = t->n[0],
                                   .N = N,
                                   .steps = {T, N, t->n, t->off},
                                   .length = t->length};
}

/* One text after the other. */
static void read_lengths(struct trainee *t, const struct tensor *w)
{
    float v[MAX_N];
    int B = (int)w->dim[0];
    tensor_read(w, 0, (size_t)B, v);
    for (int r = 0; r < B; r++) {
        t->length[r] = (int)v[r];
        t->start[r + 1] = t->start[r] + (int)v[r];
    }
    t->batch = (struct pass_batch){
        .B = B, .N = t->start[B], .start = t->start, .length = t->length};
}

/* What the texts of a pair are read from. */
static void read_sources(struct trainee *t, const struct tensor *w)
{
    float v[MAX_N];
    int B = (int)w->dim[0];
    assert_int_equal(B, t->batch.B);
    tensor_read(w, 0, (size_t)B, v);
    for (int r = 0; r < B; r++)
        t->source_start[r + 1] = t->source_start[r] + (int)v[r];
    t->batch.source = (struct pass_source){
        .N = t->source_start[B], .start = t->source_start, .ids = t->source};
    assert_true(t->batch.source.N <= MAX_N);
    tensor_read(expected(t, "smoothing"), 0, 1, &t->smoothing);
}

/* The same by time. */
static void read_source_steps(struct trainee *t, const struct tensor *w)
{
    float n[MAX_T], text[MAX_N];
    int T = (int)w->dim[0], N = 0;
    assert_true(T <= MAX_T);
    tensor_read(w, 0, (size_t)T, n);
    for (int s = 0; s < T; s++) {
        t->source_n[s] = (int)n[s];
        t->source_off[s] = N;
        N += t->source_n[s];
        for (int k = 0; k < t->source_n[s]; k++)
            t->source_length[k]++;
    }
    t->source_off[T] = N;
    assert_true(N <= MAX_N);
    assert_int_equal(t->source_n[0], t->batch.B);
    tensor_read(expected(t, "source_text"), 0, (size_t)t->batch.B, text);
    for (int k = 0; k < t->batch.B; k++)
        t->source_text[k] = (int)text[k];
    t->batch.source =
        (struct pass_source){.N = N,
                             .steps = {T, N, t->source_n, t->source_off},
                             .length = t->source_length,
                             .text = t->source_text,
                             .ids = t->source};
    tensor_read(expected(t, "smoothing"), 0, 1, &t->smoothing);
}

static void read_pick(struct trainee *t, const struct tensor *w)
{
    float v[MAX_N];
    t->batch.n_target = (int)w->dim[0];
    t->batch.pick = t->pick;
    tensor_read(w, 0, (size_t)t->batch.n_target, v);
    for (int i = 0; i < t->batch.n_target; i++)
        t->pick[i] = (int)v[i];
}

static void read_shape(struct trainee *t)
{
    const struct tensor *lengths = weights_find(t->expect, "lengths");
    const struct tensor *pick = weights_find(t->expect, "pick");
    const struct tensor *sources = weights_find(t->expect, "source_lengths");
    const struct tensor *by_time = weights_find(t->expect, "source_steps");
    if (lengths != NULL)
        read_lengths(t, lengths);
    else
        read_steps(t, expected(t, "steps"));
    assert_true(t->batch.N <= MAX_N);
    t->batch.n_target = t->net.C > 0 ? t->batch.B : t->batch.N;
    t->batch.ids = t->ids;
    t->batch.target = t->target;
    t->batch.x = t->x;
    t->batch.value = t->value;
    t->batch.inputs = t->net.I;
    t->batch.values = t->net.values ? t->net.C : 0;
    if (pick != NULL)
        read_pick(t, pick);
    if (sources != NULL)
        read_sources(t, sources);
    if (by_time != NULL)
        read_source_steps(t, by_time);
}

static void open_case(struct trainee *t, const char *name)
{
    char path[512];
    struct err e = ERR_INIT;
    memset(t, 0, sizeof *t);
    t->name = name;
    snprintf(path, sizeof path, "%s/%s", GOLDEN, name);
    if (load_net(path, &t->net, &t->w, &e) != 0)
        fail_msg("%s: %s", name, e.msg);
    snprintf(path, sizeof path, "%s/%s/expect", GOLDEN, name);
    if (weights_open(path, name, &t->expect, &e) != 0)
        fail_msg("%s: %s", name, e.msg);
    assert_int_equal(
        pass_init(&t->pass, &t->net, &all.blas, MAX_N, MAX_N, 0, &e), 0);
    t->grad = region_take(&t->mem, t->net.n, sizeof(real));
    if (t->pass.prob == NULL)
        t->pass.prob = pass_reals(&t->pass, (size_t)(MAX_N * t->net.K));
    assert_int_equal(region_check(&t->mem, &e), 0);
    read_shape(t);
    read_batch(t, 0);
    if (weights_find(t->expect, "penalty") != NULL) {
        real penalty[2];
        read_reals(t, "penalty", 0, 2, penalty);
        t->pass.penalty = (struct penalty){.ar = penalty[0], .tar = penalty[1]};
    }
}

static void close_case(struct trainee *t)
{
    pass_fini(&t->pass);
    net_fini(&t->net);
    weights_close(t->expect);
    mem_aligned_free(t->w);
    region_fini(&t->mem);
}

static void check_outputs(struct trainee *t)
{
    struct pass_opts o = {.scale = 1};
    const struct tensor *w = expected(t, "output");
    int n = t->batch.n_target * t->net.K;
    float want[MAX_N * 64];
    assert_int_equal(w->dim[0] * w->dim[1], n);
    tensor_read(w, 0, (size_t)n, want);
    pass_run(&t->pass, &t->batch, t->w, &o, NULL);
    for (int i = 0; i < n; i++)
        if (!(fabs((double)t->pass.prob[i] - (double)want[i]) <=
              OUTPUT_TOLERANCE))
            fail_msg("%s: output %d is %.9g, PyTorch says %.9g", t->name, i,
                     (double)t->pass.prob[i], (double)want[i]);
}

static void check_tensor(const struct trainee *t, const struct net_tensor *x)
{
    char name[80];
    float want[4096];
    /* what is below this is rounding: a bias of keys has no gradient */
    double largest = 1e-3, off = 0;
    assert_true(x->n <= 4096);
    snprintf(name, sizeof name, "grad.%s", x->name);
    tensor_read(expected(t, name), 0, x->n, want);
    for (size_t i = 0; i < x->n; i++) {
        double d = fabs((double)t->grad[x->at + i] - (double)want[i]);
        off = d > off || d != d ? d : off;
        largest = fmax(largest, fabs((double)want[i]));
    }
    if (!(off <= GRAD_TOLERANCE * largest))
        fail_msg("%s: gradient of %s is off by %.2e of %.2e", t->name, x->name,
                 off, largest);
}

static void check_gradients(struct trainee *t)
{
    struct pass_opts o = {.train = 1,
                          .scale = (real)1 / (real)t->batch.n_target,
                          .smoothing = t->smoothing};
    pass_run(&t->pass, &t->batch, t->w, &o, t->grad);
    for (int i = 0; i < t->net.n_tensors; i++)
        if (t->net.t[i].lr_mult > 0) /* else it is no parameter */
            check_tensor(t, &t->net.t[i]);
}

/* Sums of squares [T] by time. */
static void check_squares(const struct trainee *t, const char *name, int layer,
                          int T, const double *is)
{
    float want[MAX_T];
    double largest = 0;
    tensor_read(expected(t, name), (size_t)(layer * T), (size_t)T, want);
    for (int i = 0; i < T; i++)
        largest = fmax(largest, (double)want[i]);
    assert_true(largest > 0);
    for (int i = 0; i < T; i++)
        if (!(fabs(is[i] - (double)want[i]) <= GRAD_TOLERANCE * largest))
            fail_msg("%s: %s of layer %d at time %d is %.7g, PyTorch says %.7g",
                     t->name, name, layer, i, is[i], (double)want[i]);
}

static void check_trace(struct trainee *t)
{
    double x[MAX_T] = {0}, h[2][MAX_T] = {{0}}, c[2][MAX_T] = {{0}};
    struct trace trace = {.T = t->batch.steps.T, .x = x};
    struct pass_opts o = {.train = 1, .scale = 1, .trace = &trace};
    if (weights_find(t->expect, "trace.x") == NULL)
        return;
    int layers = (int)expected(t, "trace.h")->dim[0];
    int has_c = weights_find(t->expect, "trace.c") != NULL;
    assert_true(layers <= 2);
    for (int l = 0; l < layers; l++) {
        assert_int_equal(t->net.family->states(&t->net, l), 1 + has_c);
        trace.h[l] = h[l];
        trace.c[l] = has_c ? c[l] : NULL;
    }
    assert_int_equal(t->net.family->states(&t->net, layers), 0);
    pass_run(&t->pass, &t->batch, t->w, &o, t->grad);
    check_squares(t, "trace.x", 0, trace.T, x);
    for (int l = 0; l < layers; l++) {
        check_squares(t, "trace.h", l, trace.T, h[l]);
        if (has_c)
            check_squares(t, "trace.c", l, trace.T, c[l]);
    }
    all.traced++;
}

struct recipe {
    const char *curve;
    double lr;
    struct optim optim;
};

/* As in make_train_fixtures.py. */
static const struct recipe recipes[] = {
    {"curve.adam",
     0.01,
     {.kind = OPTIM_ADAM,
      .beta1 = 0.9f,
      .beta2 = 0.999f,
      .eps = 1e-8f,
      .weight_decay = 0.02f}},
    {"curve.adamw",
     0.01,
     {.kind = OPTIM_ADAMW,
      .beta1 = 0.9f,
      .beta2 = 0.999f,
      .eps = 1e-8f,
      .weight_decay = 0.1f}},
    {"curve.sgd",
     0.3,
     {.kind = OPTIM_SGD, .momentum = 0.9f, .weight_decay = 0.001f}},
};

static void check_curve(struct trainee *t)
{
    const struct recipe *r = all.recipe;
    struct err e = ERR_INIT;
    struct optim optim = r->optim;
    float want[STEPS];
    struct pass_opts o = {.train = 1,
                          .scale = (real)1 / (real)t->batch.n_target,
                          .smoothing = t->smoothing};
    tensor_read(expected(t, r->curve), 0, STEPS, want);
    assert_int_equal(optim_init(&optim, &t->mem, &t->net, t->w, 1, &e), 0);
    optim.lr = (real)r->lr;
    optim.pass[0] = &t->pass;
    pass_reset_state(&t->pass);
    for (int k = 0; k < STEPS; k++) {
        read_batch(t, k);
        double loss = pass_run(&t->pass, &t->batch, t->w, &o, optim.grad[0]);
        loss /= t->batch.n_target;
        double tolerance = FIRST_TOLERANCE +
                           (LAST_TOLERANCE - FIRST_TOLERANCE) * k / (STEPS - 1);
        if (!(fabs(loss - (double)want[k]) <= tolerance * (double)want[k]))
            fail_msg("%s: %s: loss of step %d is %.7g, PyTorch says %.7g",
                     t->name, r->curve, k + 1, loss, (double)want[k]);
        optim.step++;
        optim_update(&optim, 0,
                     optim_clip_factor(optim_reduce(&optim, 0), 0.5));
        optim_forget(&optim);
    }
}

static void each_case(void (*check)(struct trainee *))
{
    struct trainee t;
    for (int i = 0; i < all.names.n; i++) {
        open_case(&t, all.names.name[i]);
        check(&t);
        close_case(&t);
    }
}

static void test_train_outputs_are_pytorchs(void **state)
{
    (void)state;
    each_case(check_outputs);
}

static void test_train_gradients_are_pytorchs_in_every_tensor(void **state)
{
    (void)state;
    each_case(check_gradients);
}

static void test_train_gradients_by_time_are_pytorchs(void **state)
{
    (void)state;
    all.traced = 0;
    each_case(check_trace);
    assert_int_equal(all.traced, 4);
}

static void test_train_losses_of_20_steps_are_pytorchs(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof recipes / sizeof *recipes; i++) {
        all.recipe = &recipes[i];
        each_case(check_curve);
    }
}

/* ---- The engine's forward pass. ---- */

#define LONG_T 40
#define LONG_B 3

struct both {
    struct net net;
    struct pass pass;
    struct rig rig;
    real *w;
    int32_t ids[LONG_B][LONG_T];
    struct feed feed;
};

static void open_both(struct both *b, const struct rnn_shape *s, char *dir)
{
    struct err e = ERR_INIT;
    memset(b, 0, sizeof *b);
    assert_int_equal(rnn_random_write(s, 5, dir), 0);
    if (load_net(dir, &b->net, &b->w, &e) != 0 ||
        pass_init(&b->pass, &b->net, &all.blas, LONG_T * LONG_B, LONG_B, 0,
                  &e) != 0 ||
        rig_open(&b->rig, &rnn_arch, dir, "auto", 1, 0, &e) != 0)
        fail_msg("%s: %s", s->cell, e.msg);
    if (b->pass.prob == NULL)
        b->pass.prob =
            pass_reals(&b->pass, (size_t)(LONG_T * LONG_B * b->net.K));
    assert_int_equal(
        feed_init(
            &b->feed,
            &(struct feed_size){.T = LONG_T, .N = LONG_T * LONG_B, .B = LONG_B},
            &e),
        0);
    b->feed.n_text = LONG_B;
    for (int r = 0; r < LONG_B; r++) {
        for (int t = 0; t < LONG_T; t++)
            b->ids[r][t] = (int32_t)((t * 31 + r * 17) % s->V);
        b->feed.text[r] = (struct text){.ids = b->ids[r],
                                        .next = s->C > 0 ? NULL : b->ids[r],
                                        .n = LONG_T - 7 * r};
    }
    b->net.family->pack(&b->feed);
}

static void close_both(struct both *b, const char *dir)
{
    pass_fini(&b->pass);
    feed_fini(&b->feed);
    net_fini(&b->net);
    rig_close(&b->rig);
    mem_aligned_free(b->w);
    rnn_random_remove(dir);
}

/* Scores to probabilities. */
static void softmax(int n, float *x)
{
    double sum = 0, max = (double)x[0];
    for (int i = 1; i < n; i++)
        max = fmax(max, (double)x[i]);
    for (int i = 0; i < n; i++)
        sum += exp((double)x[i] - max);
    for (int i = 0; i < n; i++)
        x[i] = (float)(exp((double)x[i] - max) / sum);
}

static void compare_row(const struct both *b, int row, float *scores)
{
    const real *p = b->pass.prob + (size_t)row * (size_t)b->net.K;
    softmax(b->net.K, scores);
    for (int k = 0; k < b->net.K; k++) {
        double want = (double)scores[k];
        if (!(fabs((double)p[k] - want) <= OUTPUT_TOLERANCE * fmax(want, 0.1)))
            fail_msg("%s, %zu parameters: output %d of row %d is %.9g when "
                     "training and %.9g when serving",
                     b->net.name, b->net.n, k, row, (double)p[k], want);
    }
}

static void compare_sequence(struct both *b, int r)
{
    static float out[LONG_T * 64];
    struct err e = ERR_INIT;
    struct rig_seq seq;
    int classifier = b->net.C > 0, n = b->feed.text[r].n, K = b->net.K;
    assert_true(K <= 64);
    struct rig_item it = {.seq = &seq, .ids = b->ids[r], .n = n, .n_want = 1};
    it.want[0] = (struct want){.kind = classifier ? OUT_CLASS : OUT_LOGITS,
                               .n = n,
                               .dst = out,
                               .ld = (size_t)K};
    assert_int_equal(rig_seq_open(&b->rig, &seq), 0);
    assert_int_equal(rig_step(&b->rig, &it, 1, &e), 0);
    assert_int_equal(it.status, 0);
    for (int t = 0; t < (classifier ? 1 : n); t++)
        compare_row(b, classifier ? r : b->feed.batch.steps.off[t] + r,
                    out + t * K);
    rig_seq_close(&seq);
}

static void test_train_forward_is_the_engines(void **state)
{
    static const struct rnn_shape shapes[] = {
        {.cell = "lstm", .V = 40, .E = 128, .H = 256, .L = 1, .D = 1},
        {.cell = "gru", .V = 40, .E = 64, .H = 200, .L = 2, .D = 1, .P = 48},
        {.cell = "elman", .V = 40, .E = 64, .H = 128, .L = 2, .D = 1},
        {.cell = "elman",
         .nonlinearity = "relu",
         .V = 40,
         .E = 32,
         .H = 64,
         .L = 1,
         .D = 1},
        {.cell = "lstm",
         .V = 40,
         .E = 64,
         .H = 128,
         .L = 2,
         .D = 2,
         .classifier = 1,
         .C = 2,
         .pooling = "max"},
        {.cell = "gru",
         .V = 40,
         .E = 64,
         .H = 96,
         .L = 1,
         .D = 2,
         .classifier = 1,
         .C = 3,
         .pooling = "mean",
         .P = 20},
        {.cell = "elman",
         .V = 40,
         .E = 64,
         .H = 96,
         .L = 1,
         .D = 2,
         .classifier = 1,
         .C = 6},
    };
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        struct both b;
        char dir[64];
        struct pass_opts o = {.scale = 1};
        open_both(&b, &shapes[i], dir);
        pass_run(&b.pass, &b.feed.batch, b.w, &o, NULL);
        for (int r = 0; r < LONG_B; r++)
            compare_sequence(&b, r);
        close_both(&b, dir);
    }
}

static int open_all(void **state)
{
    struct err e = ERR_INIT;
    (void)state;
    if (blas_open(&all.blas, &e) != 0)
        return -1;
    return golden_names(GOLDEN, &all.names);
}

static int close_all(void **state)
{
    (void)state;
    blas_close(&all.blas);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_train_outputs_are_pytorchs),
        cmocka_unit_test(test_train_gradients_are_pytorchs_in_every_tensor),
        cmocka_unit_test(test_train_gradients_by_time_are_pytorchs),
        cmocka_unit_test(test_train_losses_of_20_steps_are_pytorchs),
        cmocka_unit_test(test_train_forward_is_the_engines),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
