/* The trainer's forward pass of a GPT-2 and of a BERT classifier against the
 * engine's, on the nets of tests/golden/train/: probabilities within 1e-5
 * relative. What both say is PyTorch's is held by test_train_torch.c.
 *
 * SPDX-License-Identifier: MIT */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "engine/base/mem.h"
#include "models/transformer/archs.h"
#include "models/train/load.h"
#include "models/train/trainable.h"
#include "tests/support/arch_rig.h"

#define GOLDEN "tests/golden/train/"
#define TOLERANCE 1e-5
#define ROWS 32
#define WIDTH 64

static const int lengths[] = {9, 4, 1, 7};
#define N_LENGTHS 4

struct both {
    const char *name;
    struct blas blas;
    struct net net;
    struct pass pass;
    struct rig rig;
    real *w;
    int32_t ids[N_LENGTHS][ROWS];
    struct feed feed;
};

static void open_both(struct both *b, const char *name,
                      const struct model_arch *arch)
{
    struct err e = ERR_INIT;
    char dir[128];
    memset(b, 0, sizeof *b);
    b->name = name;
    snprintf(dir, sizeof dir, GOLDEN "%s", name);
    if (blas_open(&b->blas, &e) != 0 ||
        load_net(dir, &b->net, &b->w, &e) != 0 ||
        pass_init(&b->pass, &b->net, &b->blas, ROWS, N_LENGTHS, 0, &e) != 0 ||
        feed_init(&b->feed,
                  &(struct feed_size){.T = ROWS, .N = ROWS, .B = N_LENGTHS},
                  &e) != 0 ||
        rig_open(&b->rig, arch, dir, "auto", 1, 0, &e) != 0)
        fail_msg("%s: %s", name, e.msg);
    if (b->pass.prob == NULL)
        b->pass.prob = pass_reals(&b->pass, (size_t)(ROWS * b->net.K));
    assert_non_null(b->pass.prob);
    b->feed.n_text = N_LENGTHS;
    for (int r = 0; r < N_LENGTHS; r++) {
        for (int i = 0; i < lengths[r]; i++)
            b->ids[r][i] = (int32_t)((i * 31 + r * 17) % b->net.V);
        b->feed.text[r] = (struct text){.ids = b->ids[r],
                                        .next = b->net.C > 0 ? NULL : b->ids[r],
                                        .n = lengths[r]};
    }
    b->net.family->pack(&b->feed);
}

static void close_both(struct both *b)
{
    pass_fini(&b->pass);
    feed_fini(&b->feed);
    net_fini(&b->net);
    rig_close(&b->rig);
    mem_aligned_free(b->w);
    blas_close(&b->blas);
}

static void compare_row(const struct both *b, int row, const float *scores)
{
    const real *p = b->pass.prob + (size_t)row * (size_t)b->net.K;
    double sum = 0;
    for (int k = 0; k < b->net.K; k++)
        sum += exp((double)scores[k]);
    for (int k = 0; k < b->net.K; k++) {
        double served = exp((double)scores[k]) / sum;
        if (!(fabs((double)p[k] - served) <= TOLERANCE * served))
            fail_msg("%s: output %d of row %d is %.9g when training and %.9g "
                     "when serving",
                     b->name, k, row, (double)p[k], served);
    }
}

static void compare_sequence(struct both *b, int r)
{
    static float out[ROWS * WIDTH];
    struct err e = ERR_INIT;
    struct rig_seq seq;
    int classifier = b->net.C > 0, n = lengths[r], K = b->net.K;
    assert_true(K <= WIDTH);
    struct rig_item it = {.seq = &seq, .ids = b->ids[r], .n = n, .n_want = 1};
    it.want[0] = (struct want){.kind = classifier ? OUT_CLASS : OUT_LOGITS,
                               .n = n,
                               .dst = out,
                               .ld = (size_t)K};
    assert_int_equal(rig_seq_open(&b->rig, &seq), 0);
    if (rig_step(&b->rig, &it, 1, &e) != 0)
        fail_msg("%s: %s", b->name, e.msg);
    assert_int_equal(it.status, 0);
    for (int i = 0; i < (classifier ? 1 : n); i++)
        compare_row(b, classifier ? r : b->feed.batch.start[r] + i,
                    out + i * K);
    rig_seq_close(&seq);
}

static void test_training_and_serving_compute_the_same(void **state)
{
    static const struct {
        const char *name;
        const struct model_arch *arch;
    } nets[] = {{"gpt2-1", &gpt2_arch},
                {"gpt2-2", &gpt2_arch},
                {"bert-1", &bert_arch},
                {"bert-2", &bert_arch}};
    (void)state;
    for (size_t i = 0; i < sizeof nets / sizeof *nets; i++) {
        struct both b;
        struct pass_opts o = {.scale = 1};
        open_both(&b, nets[i].name, nets[i].arch);
        pass_run(&b.pass, &b.feed.batch, b.w, &o, NULL);
        for (int r = 0; r < N_LENGTHS; r++)
            compare_sequence(&b, r);
        close_both(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_training_and_serving_compute_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
