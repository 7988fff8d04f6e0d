/* Whole trainings of small Transformers on generated text: they learn, stop and
 * go on as one run, and a masked or causal BERT starts a classifier; what is
 * written is Hugging Face's layout.
 *
 * SPDX-License-Identifier: MIT */
#include <ftw.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/base/mem.h"
#include "engine/checkpoint/weights.h"
#include "models/train/train.h"

static char dir[64];
static char words[128], labelled[128];

static char *at(char *path, const char *name)
{
    snprintf(path, 128, "%s/%s", dir, name);
    return path;
}

/* Sentences whose third and fourth words repeat the first and the second: 4
 * choices two times of 5 predictions, then nothing. Without a memory: four
 * times, 1.11 nats. */
#define ENTROPY (2 * 1.386294361 / 5)

static void write_words(void)
{
    FILE *f = fopen(words, "wb");
    uint32_t x = 1;
    assert_non_null(f);
    for (int i = 0; i < 600; i++) {
        int w[2];
        for (int k = 0; k < 2; k++) {
            x = x * 1664525u + 1013904223u;
            w[k] = (int)(x >> 24) % 4;
        }
        fprintf(f, "a%d b%d c%d d%d\n", w[0], w[1], w[0], w[1]);
    }
    fclose(f);
}

/* The label is whether "good" comes before "bad". */
static void write_labelled(void)
{
    FILE *f = fopen(labelled, "wb");
    uint32_t x = 7;
    assert_non_null(f);
    for (int i = 0; i < 400; i++) {
        x = x * 1664525u + 1013904223u;
        int n = 2 + (int)(x >> 24) % 7, k = (int)(x >> 16 & 255) % (n - 1);
        int l = k + 1 + (int)(x >> 8 & 255) % (n - 1 - k);
        fprintf(f, "%s", i % 2 ? "1" : "0");
        for (int j = 0; j < n; j++)
            fprintf(f, " %s",
                    j == k   ? (i % 2 ? "good" : "bad")
                    : j == l ? (i % 2 ? "bad" : "good")
                             : "so");
        fputc('\n', f);
    }
    fclose(f);
}

static const char *const lm[] = {
    "--data",      words,   "--valid",  words, "--tokenizer", "whitespace",
    "--embedding", "24",    "--heads",  "3",   "--layers",    "2",
    "--context",   "16",    "--bptt",   "16",  "--batch",     "4",
    "--lr",        "0.005", "--warmup", "20",  "--precision", "f32",
    "--threads",   "1",     NULL};
static const char *const classes[] = {
    "--task",      "classifier", "--arch",   "bert",        "--data",
    labelled,      "--valid",    labelled,   "--tokenizer", "whitespace",
    "--embedding", "16",         "--heads",  "2",           "--context",
    "12",          "--max-len",  "12",       "--batch",     "16",
    "--lr",        "0.005",      "--warmup", "20",          "--id2label",
    "no,yes",      "--threads",  "1",        NULL};

static struct options with(const char *const *base, const char *const *more,
                           char *out)
{
    struct options o;
    struct err e = ERR_INIT;
    char *argv[80] = {"seqd-train", "train", "--out", out};
    int n = 4;
    for (int i = 0; base[i] != NULL; i++)
        memcpy(&argv[n++], &base[i], sizeof *argv);
    for (int i = 0; more[i] != NULL; i++)
        memcpy(&argv[n++], &more[i], sizeof *argv);
    assert_true(n < 80);
    if (train_options_parse(n, argv, &o, &e) != 0)
        fail_msg("%s", e.msg);
    return o;
}

static atomic_int never, stop_now;

static struct curve_point train(const struct options *o, const atomic_int *stop)
{
    struct err e = ERR_INIT;
    struct curve_point last = {0};
    struct trainer *t = mem_zalloc(sizeof *t);
    assert_non_null(t);
    if (trainer_open(t, o, &e) != 0)
        fail_msg("%s", e.msg);
    t->stop = stop;
    if (trainer_run(t, &e) != 0)
        fail_msg("%s", e.msg);
    if (t->curve.n > 0)
        last = t->curve.v[t->curve.n - 1];
    trainer_close(t);
    mem_free(t);
    return last;
}

static void refuse(const struct options *o, const char *message)
{
    struct err e = ERR_INIT;
    struct trainer *t = mem_zalloc(sizeof *t);
    assert_non_null(t);
    assert_int_equal(trainer_open(t, o, &e), -1);
    if (strstr(e.msg, message) == NULL)
        fail_msg("'%s' does not say '%s'", e.msg, message);
    trainer_close(t);
    mem_free(t);
}

static void test_a_decoder_learns_what_two_words_ago_said(void **state)
{
    static const char *const kinds[][10] = {
        {"--arch", "gpt2", "--epochs", "30", NULL},
        {"--arch", "gpt2", "--epochs", "40", "--softmax", "sampled",
         "--samples", "10", NULL},
        {"--arch", "bert", "--causal", "1", "--epochs", "30", NULL},
    };
    char out[128];
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct options o = with(lm, kinds[i], at(out, "decoder"));
        double loss = train(&o, &never).valid;
        /* a window's first words do not know what was before it */
        if (!(loss < ENTROPY + 0.25))
            fail_msg("kind %d: %.4f nats, the text has %.4f", i, loss, ENTROPY);
    }
}

static void test_an_encoder_learns_an_order_of_words(void **state)
{
    static const char *const more[] = {"--epochs", "16", NULL};
    char out[128];
    (void)state;
    struct options o = with(classes, more, at(out, "encoder"));
    double accuracy = train(&o, &never).accuracy;
    if (!(accuracy > 0.97))
        fail_msg("accuracy %.3f", accuracy);
}

/* What a step fed: 30 % of the tokens chosen, none of them special, 80 % of
 * those unknown now, 10 % drawn anew (one in V as it was), 10 % as they were.
 * */
static void test_a_masked_model_is_asked_for_a_share_of_the_tokens(void **state)
{
    static const char *const more[] = {"--arch",      "bert", "--batch", "32",
                                       "--mask-rate", "0.3",  NULL};
    struct err e = ERR_INIT;
    struct trainer *t = mem_zalloc(sizeof *t);
    char out[128];
    int special = 0, unknown = 0, same = 0, steps = 0, tokens = 0, picks = 0;
    (void)state;
    assert_non_null(t);
    struct options o = with(lm, more, at(out, "masked"));
    assert_int_equal(trainer_open(t, &o, &e), 0);
    assert_int_equal(trainer_begin_epoch(t, &e), 0);
    for (; t->at.in_epoch < t->steps; t->at.in_epoch++, t->at.step++) {
        const struct feed *f = &t->worker[0].feed;
        double loss;
        int64_t rows;
        trainer_step(t, 0, &loss, &rows);
        assert_int_equal(rows, f->batch.n_pick);
        for (int i = 0; i < f->batch.n_pick; i++) {
            int32_t now = f->ids[f->pick[i]];
            special += tokenizer_is_special(t->tokenizer, f->target[i]);
            unknown += now == tokenizer_unk(t->tokenizer);
            same += now == f->target[i];
        }
        picks += f->batch.n_pick;
        tokens += f->batch.steps.N;
        steps++;
    }
    assert_true(steps > 4 && tokens > 2500);
    assert_int_equal(special, 0);
    /* a fifth of the text is ends of sentences; 4 deviations about each */
    assert_true(abs(picks - tokens * 24 / 100) < 100);
    assert_true(abs(unknown - picks * 81 / 100) < picks * 7 / 100);
    assert_true(abs(same - picks * 11 / 100) < picks * 5 / 100);
    trainer_close(t);
    mem_free(t);
}

static void expect_same_file(const char *a, const char *b)
{
    static char p[1 << 20], q[1 << 20];
    FILE *f = fopen(a, "rb"), *g = fopen(b, "rb");
    assert_non_null(f);
    assert_non_null(g);
    size_t n = fread(p, 1, sizeof p, f), m = fread(q, 1, sizeof q, g);
    fclose(f);
    fclose(g);
    assert_int_equal(n, m);
    assert_memory_equal(p, q, n);
}

static void *stop_soon(void *arg)
{
    (void)arg;
    usleep(60000);
    stop_now = 1;
    return NULL;
}

static void test_a_training_in_pieces_ends_like_one_in_one_go(void **state)
{
    static const char *const more[] = {"--arch",
                                       "gpt2",
                                       "--epochs",
                                       "4",
                                       "--dropout",
                                       "0.1",
                                       "--dropout-embedding",
                                       "0.1",
                                       "--dropout-output",
                                       "0.1",
                                       "--average",
                                       "ema",
                                       "--threads",
                                       "2",
                                       NULL};
    char a[128], b[128], p[160], q[160];
    (void)state;
    struct options o = with(lm, more, at(a, "whole"));
    train(&o, &never);
    o.out = at(b, "pieces");
    for (int piece = 0; piece < 3; piece++) {
        pthread_t thread;
        stop_now = 0;
        assert_int_equal(pthread_create(&thread, NULL, stop_soon, NULL), 0);
        train(&o, &stop_now);
        pthread_join(thread, NULL);
        o.resume = 1;
    }
    train(&o, &never);
    snprintf(p, sizeof p, "%s/model.safetensors", a);
    snprintf(q, sizeof q, "%s/model.safetensors", b);
    expect_same_file(p, q);
}

/* All of the encoder comes along, pooler and classifier are new. */
static void test_a_masked_model_starts_a_classifier(void **state)
{
    static const char *const more[] = {
        "--arch",  "bert",    "--epochs", "1",           "--data",
        labelled,  "--valid", labelled,   "--embedding", "16",
        "--heads", "2",       "--layers", "1",           "--context",
        "12",      "--bptt",  "12",       NULL};
    static const char *const none[] = {"--epochs", "1", NULL};
    char a[128], b[128];
    struct err e = ERR_INIT;
    struct weights *w;
    struct trainer *t = mem_zalloc(sizeof *t);
    (void)state;
    assert_non_null(t);
    struct options o = with(lm, more, at(a, "start"));
    train(&o, &never);
    o = with(classes, none, at(b, "started"));
    o.init = o.vocab_from = a;
    if (trainer_open(t, &o, &e) != 0)
        fail_msg("%s", e.msg);
    assert_int_equal(weights_open(a, "start", &w, &e), 0);
    for (int i = 0; i < t->net.pooler; i++) {
        const struct net_tensor *x = &t->net.t[i];
        const struct tensor *from = weights_find(w, x->name);
        float first;
        assert_non_null(from);
        tensor_read(from, 0, 1, &first);
        assert_true(x->from_start && (float)t->w[x->at] == first);
    }
    assert_false(t->net.t[t->net.pooler].from_start);
    assert_false(t->net.t[t->net.out_w].from_start);
    weights_close(w);
    trainer_close(t);
    mem_free(t);
}

static void test_sizes_that_contradict_each_other_are_refused(void **state)
{
    static const char *const cases[][7] = {
        {"--arch", "gpt2", "--heads", "5", NULL},
        {"--arch", "gpt2", "--bptt", "17", NULL},
        {"--arch", "gpt2", "--task", "classifier", "--data", labelled, NULL},
    };
    static const char *const says[] = {"not divisible by 5 heads",
                                       "--bptt 17 is longer than --context 16",
                                       "a gpt2 is a language model"};
    static const char *const narrow[] = {"--context", "4", NULL};
    char out[128];
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct options o = with(lm, cases[i], at(out, "refused"));
        if (i == 2)
            o.valid = labelled;
        refuse(&o, says[i]);
    }
    struct options o = with(classes, narrow, at(out, "refused"));
    refuse(&o, "do not fit --context 4");
}

static int setup(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/seqd-trainer-XXXXXX");
    if (mkdtemp(dir) == NULL)
        return -1;
    at(words, "words.txt");
    at(labelled, "labelled.txt");
    write_words();
    write_labelled();
    return 0;
}

static int remove_one(const char *path, const struct stat *s, int kind,
                      struct FTW *f)
{
    (void)s;
    (void)kind;
    (void)f;
    return remove(path);
}

static int teardown(void **state)
{
    (void)state;
    return nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_decoder_learns_what_two_words_ago_said),
        cmocka_unit_test(test_an_encoder_learns_an_order_of_words),
        cmocka_unit_test(
            test_a_masked_model_is_asked_for_a_share_of_the_tokens),
        cmocka_unit_test(test_a_training_in_pieces_ends_like_one_in_one_go),
        cmocka_unit_test(test_a_masked_model_starts_a_classifier),
        cmocka_unit_test(test_sizes_that_contradict_each_other_are_refused),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
