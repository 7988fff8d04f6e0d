/* SPDX-License-Identifier: MIT */
#include <math.h>

#include "models/train/loss.h"
#include "tests/support/train_rig.h"

enum { K = 40, Q = 6, N = 3 };

static struct region mem;
static real y[N * Q], w[K * Q], b[K];
static const int32_t target[N] = {0, 17, 39};

static void fill(void)
{
    for (int i = 0; i < N * Q; i++)
        y[i] = (real)(i * 13 % 7 - 3) / (real)3;
    for (int i = 0; i < K * Q; i++)
        w[i] = (real)(i * 29 % 11 - 5) / (real)5;
    for (int i = 0; i < K; i++)
        b[i] = (real)(i % 3) / (real)4;
}

static double score(int r, int k)
{
    double s = (double)b[k];
    for (int j = 0; j < Q; j++)
        s += (double)y[r * Q + j] * (double)w[k * Q + j];
    return s;
}

static double cross_entropy(double smoothing)
{
    double loss = 0;
    for (int r = 0; r < N; r++) {
        double z = 0, mean = 0;
        for (int k = 0; k < K; k++) {
            z += exp(score(r, k));
            mean += score(r, k) / K;
        }
        loss += (1 - smoothing) * (log(z) - score(r, target[r])) +
                smoothing * (log(z) - mean);
    }
    return loss;
}

static struct loss_task task_of(struct loss_work *work)
{
    return (struct loss_task){.blas = &train_rig.blas,
                              .work = work,
                              .y = mat_of(y, N, Q),
                              .target = target,
                              .w = mat_of(w, K, Q),
                              .b = b,
                              .scale = 1};
}

static void test_full_loss_is_the_cross_entropy(void **state)
{
    struct loss_work work;
    fill();
    loss_work_init(&work, &mem, K, Q, 0);
    struct loss_task t = task_of(&work);
    assert_true(fabs(loss_full(&t) - cross_entropy(0)) < 1e-4);
    t.smoothing = (real)0.2;
    assert_true(fabs(loss_full(&t) - cross_entropy((double)t.smoothing)) <
                1e-4);
}

/* Shares of one label are that label; others are a mixture of losses, and of
 * gradients. */
static void test_soft_targets_mix_those_of_each_label(void **state)
{
    struct loss_work work;
    static float share[N][K];
    static real dy[2][N * Q], dw[2][K * Q], db[2][K];
    const float *soft[N];
    double hard[N] = {0}, loss[2];
    fill();
    loss_work_init(&work, &mem, K, Q, 0);
    for (int r = 0; r < N; r++) {
        soft[r] = share[r];
        share[r][target[r]] = 1;
    }
    for (int i = 0; i < 2; i++) {
        struct loss_task t = task_of(&work);
        t.soft = i == 1 ? soft : NULL;
        t.smoothing = (real)0.1;
        t.dy = mat_of(dy[i], N, Q);
        t.dw = dw[i];
        t.db = db[i];
        loss[i] = loss_full(&t);
    }
    assert_true(fabs(loss[0] - loss[1]) < 1e-4);
    for (int i = 0; i < N * Q; i++)
        assert_true(fabs((double)(dy[0][i] - dy[1][i])) < 1e-5);
    for (int i = 0; i < K; i++)
        assert_true(fabs((double)(db[0][i] - db[1][i])) < 1e-5);
    for (int r = 0; r < N; r++) {
        double z = 0;
        for (int k = 0; k < K; k++)
            z += exp(score(r, k));
        hard[r] = log(z) - 0.25 * score(r, target[r]) - 0.75 * score(r, 5);
        share[r][target[r]] = 0.25f;
        share[r][5] = 0.75f;
    }
    struct loss_task t = task_of(&work);
    t.soft = soft;
    assert_true(fabs(loss_full(&t) - hard[0] - hard[1] - hard[2]) < 1e-4);
}

static void test_full_loss_is_the_same_in_blocks(void **state)
{
    struct loss_work work;
    static real dy[N * Q], dw[K * Q], db[K], dy2[N * Q], dw2[K * Q], db2[K];
    fill();
    loss_work_init(&work, &mem, K, Q, 0);
    struct loss_task t = task_of(&work);
    t.dy = mat_of(dy, N, Q);
    t.dw = dw;
    t.db = db;
    double whole = loss_full(&t);
    work.block = 2;
    t.dy = mat_of(dy2, N, Q);
    t.dw = dw2;
    t.db = db2;
    assert_true(fabs(loss_full(&t) - whole) < 1e-5);
    for (int i = 0; i < N * Q; i++)
        assert_true(fabs((double)(dy[i] - dy2[i])) < 1e-5);
    for (int i = 0; i < K * Q; i++)
        assert_true(fabs((double)(dw[i] - dw2[i])) < 1e-5);
    for (int i = 0; i < K; i++)
        assert_true(fabs((double)(db[i] - db2[i])) < 1e-5);
}

/* With every word in the noise set nothing is left out, and each word's
 * expected count is 1: the sampled loss is then the full one. */
static void test_sampled_loss_over_all_words_is_the_full_loss(void **state)
{
    struct err e = ERR_INIT;
    struct loss_work work;
    struct noise noise;
    struct rows rw, rb;
    static real dy[N * Q], dw[K * Q], db[K];
    fill();
    assert_int_equal(noise_init(&noise, &mem, K, K, NULL, 1, &e), 0);
    loss_work_init(&work, &mem, K, Q, K);
    rows_init(&rw, &mem, K);
    rows_init(&rb, &mem, K);
    for (int i = 0; i < K; i++) {
        noise.ids[i] = K - 1 - i;
        noise.place[K - 1 - i] = i;
        noise.log_q[i] = 0;
    }
    noise.n = K;
    noise.tries = 1e9;
    struct loss_task t = task_of(&work);
    t.dy = mat_of(dy, N, Q);
    t.dw = dw;
    t.db = db;
    t.rows_w = &rw;
    t.rows_b = &rb;
    assert_true(fabs(loss_sampled(&t, &noise) - cross_entropy(0)) < 1e-4);
    assert_int_equal(rw.n, K);
}

static void test_noise_follows_its_distribution(void **state)
{
    enum { V = 12, DRAWS = 120000 };
    static const int64_t counts[V] = {900, 500, 100, 90, 80, 60,
                                      40,  30,  10,  3,  1,  0};
    struct err e = ERR_INIT;
    struct noise noise;
    struct rng r;
    int seen[V] = {0};
    rng_init(&r, 3);
    assert_int_equal(noise_init(&noise, &mem, V, 1, counts, 0.75, &e), 0);
    double sum = 0;
    for (int i = 0; i < V; i++)
        sum += pow(counts[i] > 0 ? (double)counts[i] : 0.5, 0.75);
    for (int i = 0; i < DRAWS; i++) {
        noise_draw(&noise, &r); /* one word: the first drawn */
        assert_int_equal(noise.n, 1);
        seen[noise.ids[0]]++;
    }
    for (int i = 0; i < V; i++) {
        double p = pow(counts[i] > 0 ? (double)counts[i] : 0.5, 0.75) / sum;
        double deviation = sqrt(DRAWS * p * (1 - p));
        if (fabs(seen[i] - DRAWS * p) > 5 * deviation)
            fail_msg("word %d drawn %d times, expected %.0f", i, seen[i],
                     DRAWS * p);
    }
}

static void test_noise_set_has_no_word_twice(void **state)
{
    struct err e = ERR_INIT;
    struct noise noise;
    struct rng r;
    rng_init(&r, 4);
    assert_int_equal(noise_init(&noise, &mem, K, 20, NULL, 1, &e), 0);
    for (int round = 0; round < 50; round++) {
        uint8_t seen[K] = {0};
        noise_draw(&noise, &r);
        assert_int_equal(noise.n, 20);
        assert_true(noise.tries >= 20);
        for (int i = 0; i < noise.n; i++) {
            assert_false(seen[noise.ids[i]]);
            seen[noise.ids[i]] = 1;
            assert_int_equal(noise.place[noise.ids[i]], i);
        }
        for (int i = 0; i < K; i++)
            assert_true(seen[i] || noise.place[i] == -1);
    }
}

static int forget_arrays(void **state)
{
    region_fini(&mem);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_full_loss_is_the_cross_entropy,
                                  forget_arrays),
        cmocka_unit_test_teardown(test_soft_targets_mix_those_of_each_label,
                                  forget_arrays),
        cmocka_unit_test_teardown(test_full_loss_is_the_same_in_blocks,
                                  forget_arrays),
        cmocka_unit_test_teardown(
            test_sampled_loss_over_all_words_is_the_full_loss, forget_arrays),
        cmocka_unit_test_teardown(test_noise_follows_its_distribution,
                                  forget_arrays),
        cmocka_unit_test_teardown(test_noise_set_has_no_word_twice,
                                  forget_arrays),
    };
    return cmocka_run_group_tests(tests, train_rig_open_blas,
                                  train_rig_close_blas);
}
