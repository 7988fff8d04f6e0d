/* The promise of architecture.md, decision 7, through HTTP: an answer's `data`
 * and `usage` are the same bytes alone and in a crowd of 64 clients with mixed
 * lengths and cancels, with one thread and with two, under every kernel family
 * of this machine, and the same under AVX2 and AVX-512; recurrent nets, a
 * Transformer and one of 8-bit matrices and activations in flight together. The
 * test fails when the crowd was none:
 * /metrics must show steps with more than 32 sequences.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/base/buf.h"
#include "engine/base/mem.h"
#include "engine/base/rng.h"
#include "engine/compute/kernels.h"
#include "tests/support/http_crowd.h"
#include "tests/support/http_rig.h"
#include "tests/support/model_dir.h"

#define N_CLIENTS 64
/* Sanitizers are some ten times slower. */
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define N_ASKS 18
#define ROUNDS 2 /* requests of a client */
#define MAX_GENERATED 60u
#else
#define N_ASKS 45
#define ROUNDS 6
#define MAX_GENERATED 150u
#endif

static struct http_ask asks[N_ASKS];
static char dir[64];
static char words[96], labels[96];
static char gpt[96], gpt_dir[64], eight[96], eight_dir[64];

#define GPT_WORDS 58u /* w3 to w60 (model_dir.c) */

static void add_text(struct buf *b, struct rng *r, int n, int for_gpt)
{
    buf_add_char(b, '"');
    for (int i = 0; i < n; i++) {
        int k = 0;
        if (for_gpt) {
            buf_addf(b, "%sw%u", i ? " " : "", 3 + rng_below(r, GPT_WORDS));
            continue;
        }
        while (http_model_word(k))
            k++;
        buf_addf(b, "%s%s", i ? " " : "",
                 http_model_word((int)rng_below(r, (uint32_t)k)));
    }
    buf_add_char(b, '"');
}

static void add_candidates(struct buf *b, struct rng *r)
{
    int n = 1 + (int)rng_below(r, 40);
    buf_add_str(b, ",\"candidates\":[");
    for (int i = 0; i < n; i++) {
        buf_add_str(b, i ? "," : "");
        add_text(b, r, 1 + (int)rng_below(r, 5), 1);
    }
    buf_add_char(b, ']');
}

/* A third each of /sentiment, /predict and /generate; one to eight items; texts
 * of 1 to 250 words, some with words that nobody knows. */
static void make_asks(void)
{
    static const char *const paths[] = {"/sentiment", "/predict", "/generate"};
    struct rng r;
    rng_init(&r, 7);
    for (int i = 0; i < N_ASKS; i++) {
        int kind = i % 3;
        int for_gpt = kind > 0 && i % 5 > 2; /* 48 positions */
        int items = 1 + (int)rng_below(&r, kind == 0 ? 8 : 3);
        struct buf b;
        buf_init(&b, 1 << 20);
        buf_addf(&b, "{\"input\":[");
        for (int k = 0; k < items; k++) {
            buf_add_str(&b, k ? "," : "");
            add_text(&b, &r, 1 + (int)rng_below(&r, kind == 2 ? 60u : 250u),
                     for_gpt);
        }
        buf_add_char(&b, ']');
        if (for_gpt)
            buf_addf(&b, ",\"model\":\"%s\",\"truncate\":true",
                     i % 4 > 1 ? "eight" : "gpt");
        if (kind == 1)
            buf_addf(&b, ",\"top_k\":%u", 1 + rng_below(&r, 62));
        if (kind == 1 && for_gpt && i % 7 < 4)
            add_candidates(&b, &r);
        if (kind == 2 && i % 7 < 3)
            buf_addf(&b, ",\"logprobs\":%d,\"frequency_penalty\":0.5", i % 4);
        if (kind == 2)
            buf_addf(&b,
                     ",\"max_tokens\":%u,\"seed\":%d,\"temperature\":%s,"
                     "\"top_p\":0.95,\"repetition_penalty\":1.1",
                     1 + rng_below(&r, MAX_GENERATED), i,
                     i % 2 ? "0.8" : "1.3");
        buf_add_char(&b, '}');
        asks[i].path = paths[kind];
        asks[i].body = buf_take(&b);
        assert_non_null(asks[i].body);
    }
}

static int up(void **state)
{
    const struct http_model lm = {.hidden = 64};
    const struct http_model cls = {.hidden = 48, .classifier = 1, .layers = 2};
    if (http_models_dir(dir) < 0)
        return -1;
    snprintf(words, sizeof words, "words=%s/words", dir);
    snprintf(labels, sizeof labels, "labels=%s/labels", dir);
    if (http_model_make(strchr(words, '/'), &lm) < 0 ||
        http_model_make(strchr(labels, '/'), &cls) < 0 ||
        model_dir_make("tests/golden/gpt2/gpt2/hf", gpt_dir) < 0 ||
        model_dir_make("tests/golden/gpt2/gpt2-i8/hf", eight_dir) < 0)
        return -1;
    snprintf(gpt, sizeof gpt, "gpt=%s", gpt_dir);
    snprintf(eight, sizeof eight, "eight=%s", eight_dir);
    make_asks();
    return 0;
}

static int down(void **state)
{
    http_model_remove(strchr(words, '/'));
    http_model_remove(strchr(labels, '/'));
    model_dir_remove(gpt_dir);
    model_dir_remove(eight_dir);
    rmdir(dir);
    http_asks_free(asks, N_ASKS);
    return 0;
}

static int start(struct seqd *s, const char *family, const char *threads)
{
    return seqd_start(s,
                      "--model %s --model %s --model %s --model %s "
                      "--kernels %s --threads %s --log-level warn "
                      "--state-mb 2 --timeout-ms 0 --janitor-ms 5",
                      words, labels, gpt, eight, family, threads);
}

/* Steps with more than 32 sequences. */
static double large_steps(int port, const char *model)
{
    char all[128], small[128];
    snprintf(all, sizeof all, "seqd_batch_size_count{model=\"%s\"}", model);
    snprintf(small, sizeof small,
             "seqd_batch_size_bucket{model=\"%s\",le=\"32\"}", model);
    return metric_value(port, all) - metric_value(port, small);
}

static void check_family(const char *family)
{
    struct seqd s;
    assert_int_equal(start(&s, family, "2"), 0);
    assert_int_equal(http_crowd_alone(s.port, asks, N_ASKS), 0);
    struct http_crowd w = {.port = s.port,
                           .clients = N_CLIENTS,
                           .rounds = ROUNDS,
                           .ask = asks,
                           .n = N_ASKS};
    http_crowd_run(&w);
    double lm = large_steps(s.port, "words");
    double cls = large_steps(s.port, "labels");
    printf("%s: %d answers, %d left early, steps of more than 32: words %.0f, "
           "labels %.0f\n",
           family, atomic_load(&w.answers), atomic_load(&w.left), lm, cls);
    assert_int_equal(atomic_load(&w.bad), 0);
    assert_true(atomic_load(&w.answers) > N_CLIENTS * ROUNDS / 2);
    assert_true(atomic_load(&w.left) > N_CLIENTS * ROUNDS / 20);
    assert_true(lm > 0);
    assert_true(cls > 0);
    assert_int_equal(seqd_stop(&s), 0);

    assert_int_equal(start(&s, family, "1"), 0);
    assert_int_equal(http_crowd_alone(s.port, asks, N_ASKS), 0);
    assert_int_equal(seqd_stop(&s), 0);
}

static void forget(void)
{
    for (int i = 0; i < N_ASKS; i++) {
        mem_free(asks[i].alone);
        asks[i].alone = NULL;
    }
}

static int has_family(const char *name)
{
    const struct kernels *k;
    for (int i = 0; (k = kernels_available(i)) != NULL; i++)
        if (!strcmp(k->name, name))
            return 1;
    return 0;
}

static void
test_portable_kernels_answer_alike_alone_and_in_a_crowd(void **state)
{
    forget();
    check_family("generic");
}

static void test_vector_kernels_answer_alike_alone_and_in_a_crowd(void **state)
{
    static const char *const names[] = {"avx2", "avx512"};
    int n = 0;
    forget(); /* once: the two families must agree with each other */
    for (int i = 0; i < 2; i++)
        if (has_family(names[i])) {
            check_family(names[i]);
            n++;
        }
    if (n == 0) {
        printf("skipped: this machine has no vector kernels\n");
        skip();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            test_portable_kernels_answer_alike_alone_and_in_a_crowd),
        cmocka_unit_test(test_vector_kernels_answer_alike_alone_and_in_a_crowd),
    };
    return cmocka_run_group_tests(tests, up, down);
}
