/* SPDX-License-Identifier: MIT */
#include <math.h>

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

static void test_workers_together_do_what_one_does_alone(void **state)
{
    struct rig one, three;
    open_rig(&one, &adamw, 1);
    open_rig(&three, &adamw, WORKERS);
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
        cmocka_unit_test(test_lazy_rows_without_gradient_stay),
        cmocka_unit_test(test_a_frozen_tensor_neither_moves_nor_counts),
        cmocka_unit_test(test_the_clip_factor_is_pytorchs),
    };
    return cmocka_run_group_tests(tests, train_rig_open_blas,
                                  train_rig_close_blas);
}
