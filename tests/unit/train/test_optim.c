/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <string.h>

#include "models/train/optim.h"
#include "tests/support/train_rig.h"

#define WORKERS 3

struct rig {
    struct net net;
    struct optim optim;
    struct pass pass[WORKERS];
    struct region mem;
    real *w;
};

static void open_rig(struct rig *r, const struct optim *o, int workers)
{
    struct options plan = {.cell = CELL_LSTM,
                           .vocab_size = 9,
                           .embedding = 3,
                           .hidden = 4,
                           .layers = 1};
    struct err e = ERR_INIT;
    memset(r, 0, sizeof *r);
    assert_int_equal(net_plan(&r->net, &plan, 0, &e), 0);
    r->w = region_take(&r->mem, r->net.n, sizeof(real));
    r->optim = *o;
    assert_int_equal(optim_init(&r->optim, &r->mem, &r->net, r->w, workers, &e),
                     0);
    r->optim.lr = (real)0.1;
    for (int i = 0; i < workers; i++) {
        assert_int_equal(
            pass_init(&r->pass[i], &r->net, &train_rig.blas, 4, 2, 0, &e), 0);
        r->optim.pass[i] = &r->pass[i];
    }
    net_initialise(&r->net, 3, r->w);
}

static void close_rig(struct rig *r)
{
    for (int i = 0; i < r->optim.n_workers; i++)
        pass_fini(&r->pass[i]);
    net_fini(&r->net);
    region_fini(&r->mem);
}

/* A gradient in every element of full tensors and in rows `row`, `row + 1` of
 * the embedding, times `share`, in the block of worker k. */
static void put_gradient(struct rig *r, int k, int row, real share)
{
    for (int i = 0; i < r->net.n_tensors; i++) {
        const struct net_tensor *t = &r->net.t[i];
        for (size_t j = 0; j < t->n; j++) {
            int touched = i != r->net.embedding || (int)j / 3 == row ||
                          (int)j / 3 == row + 1;
            if (touched)
                r->optim.grad[k][t->at + j] +=
                    share * (real)((int)(j * 7 % 13) - 6) / (real)8;
        }
    }
    rows_touch(&r->pass[k].rows_in, row);
    rows_touch(&r->pass[k].rows_in, row + 1);
}

static double step(struct rig *r)
{
    double squares = 0;
    r->optim.step++;
    for (int i = 0; i < r->optim.n_workers; i++)
        squares += optim_reduce(&r->optim, i);
    for (int i = 0; i < r->optim.n_workers; i++)
        optim_update(&r->optim, i, 1);
    optim_forget(&r->optim);
    return squares;
}

static const struct optim adamw = {.kind = OPTIM_ADAMW,
                                   .beta1 = (real)0.9,
                                   .beta2 = (real)0.999,
                                   .eps = (real)1e-8,
                                   .weight_decay = (real)0.1,
                                   .lazy = 1};

static const struct optim muon = {.kind = OPTIM_MUON,
                                  .beta1 = (real)0.9,
                                  .beta2 = (real)0.999,
                                  .eps = (real)1e-8,
                                  .weight_decay = (real)0.1,
                                  .lazy = 1,
                                  .blas = &train_rig.blas};

static void check_workers(const struct optim *o)
{
    struct rig one, three;
    open_rig(&one, o, 1);
    open_rig(&three, o, WORKERS);
    for (int k = 0; k < 4; k++) {
        put_gradient(&one, 0, k, 1);
        put_gradient(&three, 0, k, (real)0.5);
        put_gradient(&three, 1, k, (real)0.25);
        put_gradient(&three, 2, k, (real)0.25);
        double a = step(&one), b = step(&three);
        assert_true(fabs(a - b) < 1e-4 * a);
    }
    for (size_t i = 0; i < one.net.n; i++) {
        assert_true(fabs((double)(one.w[i] - three.w[i])) < 1e-5);
        assert_true(one.optim.grad[0][i] == 0);
        for (int k = 0; k < WORKERS; k++)
            assert_true(three.optim.grad[k][i] == 0);
    }
    close_rig(&one);
    close_rig(&three);
}

static void test_workers_together_do_what_one_does_alone(void **state)
{
    check_workers(&adamw);
    check_workers(&muon);
}

#define MOST (200 * 200)

/* Muon's step of a matrix [r, c] in plain loops of doubles, for the rate 1. */
static void plain_muon(int r, int c, const double *g, double *m, double *step)
{
    static double x[MOST], y[MOST], a[MOST], b[MOST];
    double norm = 0;
    for (int i = 0; i < r * c; i++) {
        m[i] = 0.95 * m[i] + g[i];
        x[i] = g[i] + 0.95 * m[i];
        norm += x[i] * x[i];
    }
    for (int i = 0; i < r * c; i++)
        x[i] /= sqrt(norm) + 1e-7;
    for (int round = 0; round < 5; round++) {
        memset(a, 0, sizeof a);
        memset(b, 0, sizeof b);
        for (int i = 0; i < r; i++) /* a = x x' */
            for (int j = 0; j < r; j++)
                for (int k = 0; k < c; k++)
                    a[i * r + j] += x[i * c + k] * x[j * c + k];
        for (int i = 0; i < r; i++) /* b = B a + C a a */
            for (int j = 0; j < r; j++) {
                for (int k = 0; k < r; k++)
                    b[i * r + j] += 2.0315 * a[i * r + k] * a[k * r + j];
                b[i * r + j] -= 4.7750 * a[i * r + j];
            }
        for (int i = 0; i < r; i++)
            for (int j = 0; j < c; j++) {
                y[i * c + j] = 3.4445 * x[i * c + j];
                for (int k = 0; k < r; k++)
                    y[i * c + j] += b[i * r + k] * x[k * c + j];
            }
        memcpy(x, y, sizeof x);
    }
    for (int i = 0; i < r * c; i++)
        step[i] = 0.2 * sqrt((double)(r > c ? r : c)) * x[i];
}

static const struct net_tensor *tensor_of(const struct rig *r, const char *name)
{
    for (int i = 0; i < r->net.n_tensors; i++)
        if (strcmp(r->net.t[i].name, name) == 0)
            return &r->net.t[i];
    fail_msg("no %s", name);
    return NULL;
}

/* Each gate [4, c] of an LSTM of four units by itself, three steps. */
static void check_gates(const char *name, int c)
{
    struct rig r;
    double w[64], m[64] = {0}, g[16], step_of[16];
    open_rig(&r, &muon, 1);
    const struct net_tensor *t = tensor_of(&r, name);
    assert_int_equal(t->n, 16 * c);
    for (int i = 0; i < 16 * c; i++)
        w[i] = (double)r.w[t->at + (size_t)i];
    for (int k = 0; k < 3; k++) {
        put_gradient(&r, 0, k, (real)(k + 1));
        for (int i = 0; i < 16 * c; i++) /* another direction each time */
            r.optim.grad[0][t->at + (size_t)i] +=
                (real)(i * (5 + 3 * k) % 11 - 5);
        for (int gate = 0; gate < 4; gate++) {
            int at = gate * 4 * c;
            for (int i = 0; i < 4 * c; i++)
                g[i] = (double)r.optim.grad[0][t->at + (size_t)(at + i)];
            plain_muon(4, c, g, m + at, step_of);
            for (int i = 0; i < 4 * c; i++)
                w[at + i] = w[at + i] * (1 - 0.1 * 0.1) - 0.1 * step_of[i];
        }
        step(&r);
        for (int i = 0; i < 16 * c; i++)
            assert_true(fabs((double)r.w[t->at + (size_t)i] - w[i]) < 2e-4);
    }
    close_rig(&r);
}

static void test_muon_takes_gates_one_by_one(void **state)
{
    check_gates("rnn.weight_hh_l0", 4);
    check_gates("rnn.weight_ih_l0", 3);
}

/* Squares of more than a band are made in bands. */
static void check_large(int r, int c)
{
    static double m[MOST], step_of[MOST], g[MOST];
    struct region mem = {0};
    struct muon s = {.x = region_take(&mem, MOST, sizeof(real)),
                     .y = region_take(&mem, MOST, sizeof(real)),
                     .a = region_take(&mem, MOST, sizeof(real)),
                     .b = region_take(&mem, MOST, sizeof(real))};
    real *w = region_take(&mem, MOST, sizeof(real));
    real *grad = region_take(&mem, MOST, sizeof(real));
    real *momentum = region_take(&mem, MOST, sizeof(real));
    const struct net_tensor t = {.dim = {r, c}, .parts = {1, 1}};
    const struct muon_step step_by = {
        .blas = &train_rig.blas, .lr = 1, .factor = 1};
    assert_false(mem.failed);
    memset(m, 0, sizeof m);
    for (int i = 0; i < r * c; i++) {
        grad[i] = (real)((i * 37 + i / 11 * 5) % 101 - 50) / (real)50;
        g[i] = (double)grad[i];
    }
    plain_muon(r, c, g, m, step_of);
    muon_update(&s, &step_by, &t, w, grad, momentum);
    for (int i = 0; i < r * c; i++)
        assert_true(fabs((double)w[i] + step_of[i]) < 2e-4);
    region_fini(&mem);
}

static void test_muon_squares_in_bands(void **state)
{
    check_large(200, 150);
    check_large(150, 200);
    check_large(131, 131);
    check_large(64, 65);
    check_large(65, 64);
}

static void test_what_is_outside_the_net_has_adamw(void **state)
{
    struct rig a, b;
    open_rig(&a, &adamw, 2);
    open_rig(&b, &muon, 2);
    for (int k = 0; k < 3; k++) {
        put_gradient(&a, k % 2, k, 1);
        put_gradient(&b, k % 2, k, 1);
        step(&a);
        step(&b);
    }
    for (int i = 0; i < a.net.n_tensors; i++) {
        const struct net_tensor *t = &a.net.t[i];
        int same = memcmp(a.w + t->at, b.w + t->at, t->n * sizeof(real)) == 0;
        assert_int_equal(same, strncmp(t->name, "rnn.weight", 10) != 0);
    }
    close_rig(&a);
    close_rig(&b);
}

static void test_lazy_rows_without_gradient_stay(void **state)
{
    struct rig r;
    real before[9 * 3];
    for (int lazy = 0; lazy < 2; lazy++) {
        struct optim o = adamw;
        o.lazy = lazy;
        open_rig(&r, &o, 2);
        const real *e = r.w + r.net.t[r.net.embedding].at;
        put_gradient(&r, 1, 4, 1);
        step(&r);
        memcpy(before, e, sizeof before);
        put_gradient(&r, 0, 7, 1);
        step(&r);
        for (int i = 0; i < 9; i++) {
            int same = memcmp(before + 3 * i, e + 3 * i, 3 * sizeof *e) == 0;
            assert_int_equal(same, lazy && i < 7);
        }
        close_rig(&r);
    }
}

static void test_a_frozen_tensor_neither_moves_nor_counts(void **state)
{
    struct rig r;
    open_rig(&r, &adamw, 2);
    struct net_tensor *t = &r.net.t[r.net.embedding];
    real before[9 * 3];
    memcpy(before, r.w + t->at, sizeof before);
    put_gradient(&r, 0, 2, 1);
    double all = 0;
    for (size_t i = 0; i < r.net.n; i++)
        all += (double)(r.optim.grad[0][i] * r.optim.grad[0][i]);
    double rows = 0;
    for (size_t i = t->at; i < t->at + t->n; i++)
        rows += (double)(r.optim.grad[0][i] * r.optim.grad[0][i]);
    t->lr_mult = 0;
    assert_true(fabs(step(&r) - (all - rows)) < 1e-3);
    assert_memory_equal(before, r.w + t->at, sizeof before);
    for (size_t i = t->at; i < t->at + t->n; i++)
        assert_true(r.optim.grad[0][i] == 0);
    close_rig(&r);
}

static void test_the_clip_factor_is_pytorchs(void **state)
{
    assert_true(optim_clip_factor(9, 0) == (real)1);    /* off */
    assert_true(optim_clip_factor(0.25, 1) == (real)1); /* below */
    /* max / (norm + 1e-6) */
    assert_true(fabs((double)optim_clip_factor(9, 1.5) - 1.5 / 3.000001) <
                1e-7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_workers_together_do_what_one_does_alone),
        cmocka_unit_test(test_muon_takes_gates_one_by_one),
        cmocka_unit_test(test_muon_squares_in_bands),
        cmocka_unit_test(test_what_is_outside_the_net_has_adamw),
        cmocka_unit_test(test_lazy_rows_without_gradient_stay),
        cmocka_unit_test(test_a_frozen_tensor_neither_moves_nor_counts),
        cmocka_unit_test(test_the_clip_factor_is_pytorchs),
    };
    return cmocka_run_group_tests(tests, train_rig_open_blas,
                                  train_rig_close_blas);
}
