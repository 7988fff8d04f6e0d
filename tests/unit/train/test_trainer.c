/* Whole trainings of small nets on generated text: they learn, one seed gives
 * one checkpoint, an interrupted training ends as an uninterrupted one, and a
 * language model starts a classifier.
 *
 * SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/base/json.h"
#include "engine/base/mem.h"
#include "engine/checkpoint/weights.h"
#include "models/train/train_eval.h"
#include "models/train/train.h"
#include "tests/support/tokenizer_at.h"

static char dir[64];
static char words[128], labelled[128];

static const char *at(char *path, const char *name)
{
    snprintf(path, 128, "%s/%s", dir, name);
    return path;
}

/* Sentences with a rule: the fourth word repeats the first, so a net that
 * remembers three words back has two bits less to guess. */
static void write_words(void)
{
    FILE *f = fopen(words, "wb");
    uint32_t x = 1;
    assert_non_null(f);
    for (int i = 0; i < 600; i++) {
        int w[3];
        for (int k = 0; k < 3; k++) {
            x = x * 1664525u + 1013904223u;
            w[k] = (int)(x >> 24) % 4;
        }
        fprintf(f, "a%d b%d c%d a%d\n", w[0], w[1], w[2], w[0]);
    }
    fclose(f);
}

/* The label is whether "good" stands in a text of changing length. */
static void write_labelled(void)
{
    FILE *f = fopen(labelled, "wb");
    uint32_t x = 7;
    assert_non_null(f);
    for (int i = 0; i < 300; i++) {
        x = x * 1664525u + 1013904223u;
        int n = 1 + (int)(x >> 24) % 9, where = (int)(x >> 16 & 255) % n;
        fprintf(f, "%s", i % 2 ? "1" : "0");
        for (int k = 0; k < n; k++)
            fprintf(f, " %s", k == where ? (i % 2 ? "good" : "bad") : "so");
        fputc('\n', f);
    }
    fclose(f);
}

static struct options options_of(int n, const char *const *more, char *out)
{
    struct options o;
    struct err e = ERR_INIT;
    char *argv[64] = {"seqd-train", "train", "--out", out};
    assert_true(n + 4 <= 64);
    for (int i = 0; i < n; i++)
        memcpy(&argv[4 + i], &more[i], sizeof *argv);
    if (train_options_parse(n + 4, argv, &o, &e) != 0)
        fail_msg("%s", e.msg);
    return o;
}

static atomic_int never, stop_now;

/* Train; the last validation loss (or accuracy) is returned. */
static double train(const struct options *o, const atomic_int *stop,
                    int accuracy)
{
    struct err e = ERR_INIT;
    struct trainer *t = mem_zalloc(sizeof *t);
    double last = -1;
    assert_non_null(t);
    if (trainer_open(t, o, &e) != 0)
        fail_msg("%s", e.msg);
    t->stop = stop;
    if (trainer_run(t, &e) != 0)
        fail_msg("%s", e.msg);
    if (t->curve.n > 0)
        last = accuracy ? t->curve.v[t->curve.n - 1].accuracy
                        : t->curve.v[t->curve.n - 1].valid;
    trainer_close(t);
    mem_free(t);
    return last;
}

static const char *const lm[] = {
    "--data",      words, "--valid",     words,  "--tokenizer", "whitespace",
    "--hidden",    "24",  "--embedding", "16",   "--batch",     "8",
    "--bptt",      "12",  "--lr",        "0.02", "--threads",   "1",
    "--precision", "f32", "--epochs"};
#define N_LM 21

static const char *const classes[] = {
    "--task",      "classifier", "--data",   labelled, "--valid",     labelled,
    "--tokenizer", "whitespace", "--hidden", "12",     "--embedding", "8",
    "--batch",     "16",         "--lr",     "0.02",   "--threads",   "1",
    "--pooling",   "max",        "--epochs"};
#define N_CLASSES 21

static struct options with(const char *const *base, int n,
                           const char *const *more, char *out)
{
    const char *all[60];
    int k = 0;
    for (; k < n; k++)
        all[k] = base[k];
    for (; *more != NULL; more++)
        all[k++] = *more;
    return options_of(k, all, out);
}

static void read_all(const char *path, char **p, size_t *n)
{
    FILE *f = fopen(path, "rb");
    if (f == NULL)
        fail_msg("%s is not there", path);
    fseek(f, 0, SEEK_END);
    *n = (size_t)ftell(f);
    rewind(f);
    *p = mem_alloc(*n + 1);
    assert_non_null(*p);
    assert_int_equal(fread(*p, 1, *n, f), *n);
    (*p)[*n] = '\0';
    fclose(f);
}

static void expect_same_file(const char *a, const char *b, int same)
{
    char *p, *q;
    size_t n, m;
    read_all(a, &p, &n);
    read_all(b, &q, &m);
    assert_int_equal(n == m && memcmp(p, q, n) == 0, same);
    mem_free(p);
    mem_free(q);
}

/* Entropy of the text: 4 choices three times of 5 predictions, then nothing:
 * 0.832 nats; without memory of the first word a quarter of ln 4 more. */
static void test_language_models_learn_what_three_words_ago_said(void **state)
{
    static const char *const cells[][8] = {
        {"12", "--cell", "lstm", NULL},
        {"12", "--cell", "gru", NULL},
        {"14", "--cell", "elman", NULL},
        {"14", "--cell", "elman", "--nonlinearity", "relu", "--hidden", "48",
         NULL},
    };
    char out[128];
    (void)state;
    for (int i = 0; i < 4; i++) {
        struct options o = with(lm, N_LM, cells[i], (char *)at(out, "learn"));
        double loss = train(&o, &never, 0);
        if (!(loss < 0.87))
            fail_msg("cell %d: %.4f nats, the text has 0.832", i, loss);
    }
}

static void test_sampled_softmax_learns_the_same(void **state)
{
    static const char *const more[] = {"14",        "--softmax", "sampled",
                                       "--samples", "10",        NULL};
    char out[128];
    (void)state;
    struct options o = with(lm, N_LM, more, (char *)at(out, "sampled"));
    double loss = train(&o, &never, 0);
    if (!(loss < 0.9))
        fail_msg("%.4f nats, the text has 0.832", loss);
}

static void test_classifiers_learn_to_find_a_word(void **state)
{
    static const char *const kinds[][8] = {
        {"6", NULL},
        {"6", "--bidirectional", "--cell", "gru", NULL},
        {"8", "--pooling", "mean", "--cell", "elman", NULL},
        {"10", "--pooling", "last", "--layers", "2", NULL},
    };
    char out[128];
    (void)state;
    for (int i = 0; i < 4; i++) {
        struct options o =
            with(classes, N_CLASSES, kinds[i], (char *)at(out, "classes"));
        double accuracy = train(&o, &never, 1);
        if (!(accuracy > 0.97))
            fail_msg("classifier %d: accuracy %.3f", i, accuracy);
    }
}

static const char *const rich[] = {"3",    "--tie",
                                   "1",    "--embedding",
                                   "24",   "--layers",
                                   "2",    "--dropout",
                                   "0.2",  "--dropout-embedding",
                                   "0.1",  "--dropout-recurrent",
                                   "0.1",  "--dropout-word",
                                   "0.1",  "--dropout-variational",
                                   "1",    "--average",
                                   "ema",  "--unk-rate",
                                   "0.05", "--threads",
                                   "2",    "--weight-decay",
                                   "0.01", NULL};

static void test_one_seed_gives_one_checkpoint(void **state)
{
    char a[128], b[128], p[160], q[160];
    (void)state;
    struct options o = with(lm, N_LM, rich, (char *)at(a, "seed-a"));
    train(&o, &never, 0);
    o.out = at(b, "seed-b");
    train(&o, &never, 0);
    snprintf(p, sizeof p, "%s/model.safetensors", a);
    snprintf(q, sizeof q, "%s/model.safetensors", b);
    expect_same_file(p, q, 1);
    o.seed = 2;
    train(&o, &never, 0);
    expect_same_file(p, q, 0);
}

static void *stop_soon(void *arg)
{
    usleep(*(useconds_t *)arg);
    stop_now = 1;
    return NULL;
}

static void train_in_pieces(struct options *o)
{
    useconds_t wait = 60000;
    for (int piece = 0; piece < 4; piece++) {
        pthread_t thread;
        stop_now = 0;
        assert_int_equal(pthread_create(&thread, NULL, stop_soon, &wait), 0);
        train(o, &stop_now, 0);
        pthread_join(thread, NULL);
        o->resume = 1;
    }
    train(o, &never, 0);
}

static void test_a_training_in_pieces_ends_like_one_in_one_go(void **state)
{
    char a[128], b[128], p[160], q[160];
    (void)state;
    struct options o = with(lm, N_LM, rich, (char *)at(a, "whole"));
    train(&o, &never, 0);
    o.out = at(b, "pieces");
    train_in_pieces(&o);
    snprintf(p, sizeof p, "%s/model.safetensors", a);
    snprintf(q, sizeof q, "%s/model.safetensors", b);
    expect_same_file(p, q, 1);

    static const char *const more[] = {"4", "--threads", "2", NULL};
    o = with(classes, N_CLASSES, more, (char *)at(a, "whole-c"));
    train(&o, &never, 1);
    o.out = at(b, "pieces-c");
    train_in_pieces(&o);
    snprintf(p, sizeof p, "%s/model.safetensors", a);
    snprintf(q, sizeof q, "%s/model.safetensors", b);
    expect_same_file(p, q, 1);
}

static void test_resuming_another_net_is_refused(void **state)
{
    static const char *const more[] = {"1", NULL};
    char a[128];
    struct err e = ERR_INIT;
    struct trainer *t = mem_zalloc(sizeof *t);
    (void)state;
    assert_non_null(t);
    struct options o = with(lm, N_LM, more, (char *)at(a, "other"));
    train(&o, &never, 0);
    o.resume = 1;
    o.hidden = 20;
    assert_int_equal(trainer_open(t, &o, &e), -1);
    assert_non_null(strstr(e.msg, "state.bin is of another net"));
    trainer_close(t);
    mem_free(t);
}

/* Rows of the embedding follow their words into another vocabulary, the
 * recurrent layer comes along, the output is new. */
static void test_a_language_model_starts_a_classifier(void **state)
{
    static const char *const more[] = {
        "1",        "--data", labelled,      "--valid", labelled,
        "--hidden", "12",     "--embedding", "8",       NULL};
    char a[128], b[128];
    struct err e = ERR_INIT;
    struct weights *w;
    struct trainer *t = mem_zalloc(sizeof *t);
    struct tokenizer *old;
    (void)state;
    assert_non_null(t);
    struct options o = with(lm, N_LM, more, (char *)at(a, "lm"));
    train(&o, &never, 0);
    static const char *const again[] = {"1", NULL};
    o = with(classes, N_CLASSES, again, (char *)at(b, "from-lm"));
    o.init = a;
    assert_int_equal(trainer_open(t, &o, &e), 0);
    assert_int_equal(weights_open(a, "lm", &w, &e), 0);
    assert_int_equal(tokenizer_at(a, "lm", &old, &e), 0);
    const struct tensor *emb = weights_find(w, "embedding.weight");
    for (int id = 0; id < t->net.c.V; id++) {
        float row[8];
        int k = tokenizer_id(old, tokenizer_text(t->tokenizer, id));
        assert_true(k >= 0);
        tensor_read(emb, (size_t)k * 8, 8, row);
        for (int j = 0; j < 8; j++)
            assert_true((float)t->w[t->net.t[t->net.embedding].at +
                                    (size_t)(id * 8 + j)] == row[j]);
    }
    const struct net_tensor *hh = &t->net.t[t->net.rnn[0][0][1]];
    float first;
    tensor_read(weights_find(w, hh->name), 0, 1, &first);
    assert_true((float)t->w[hh->at] == first);
    assert_int_equal(t->net.t[t->net.out_w].from_start, 0);
    tokenizer_close(old);
    weights_close(w);
    trainer_close(t);
    mem_free(t);
}

static double number_of(const char *line, const char *key)
{
    struct json *j;
    struct err e = ERR_INIT;
    if (json_parse(line, strlen(line), NULL, &j, &e) != 0)
        fail_msg("%s: %s", line, e.msg);
    double v = json_number(json_get(j, key));
    json_free(j);
    return v;
}

/* The engine scores a saved checkpoint as the trainer did. */
static void test_eval_agrees_with_the_last_validation(void **state)
{
    static const char *const more[] = {"2", "--batch", "1", NULL};
    char a[128];
    struct err e = ERR_INIT;
    struct buf b;
    (void)state;
    struct options o = with(lm, N_LM, more, (char *)at(a, "eval"));
    double nats = train(&o, &never, 0);
    buf_init(&b, 4096);
    o.model = a;
    if (eval_run(&o, &b, &e) != 0)
        fail_msg("%s", e.msg);
    assert_true(fabs(number_of(b.p, "nats") / number_of(b.p, "tokens") - nats) <
                1e-5);
    assert_int_equal((int)number_of(b.p, "tokens"), 3000);
    assert_true(number_of(b.p, "unk_share") == 0);
    buf_clear(&b);

    static const char *const c[] = {"3", "--precision", "f32", NULL};
    o = with(classes, N_CLASSES, c, (char *)at(a, "eval-c"));
    double accuracy = train(&o, &never, 1);
    o.model = a;
    if (eval_run(&o, &b, &e) != 0)
        fail_msg("%s", e.msg);
    assert_int_equal((int)number_of(b.p, "items"), 300);
    assert_true(number_of(b.p, "accuracy") >= accuracy - 1e-6);
    buf_fini(&b);
}

static void test_the_curve_is_written_as_csv_and_svg(void **state)
{
    static const char *const more[] = {"3", NULL};
    char a[128], p[160], *text;
    size_t n;
    int lines = 0;
    (void)state;
    struct options o = with(lm, N_LM, more, (char *)at(a, "curve"));
    train(&o, &never, 0);
    snprintf(p, sizeof p, "%s/curve.csv", a);
    read_all(p, &text, &n);
    for (size_t i = 0; i < n; i++)
        lines += text[i] == '\n';
    assert_int_equal(lines, 4);
    mem_free(text);
    snprintf(p, sizeof p, "%s/curve.svg", a);
    read_all(p, &text, &n);
    assert_non_null(strstr(text, "<polyline"));
    assert_non_null(strstr(text, "</svg>"));
    mem_free(text);
}

static int setup(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/seqd-train-XXXXXX");
    if (mkdtemp(dir) == NULL)
        return -1;
    at(words, "words.txt");
    at(labelled, "labelled.txt");
    write_words();
    write_labelled();
    return 0;
}

static void remove_tree(const char *path)
{
    DIR *d = opendir(path);
    struct dirent *x;
    char child[512];
    while (d != NULL && (x = readdir(d)) != NULL) {
        if (strcmp(x->d_name, ".") == 0 || strcmp(x->d_name, "..") == 0)
            continue;
        snprintf(child, sizeof child, "%.200s/%.200s", path, x->d_name);
        if (x->d_type == DT_DIR)
            remove_tree(child);
        else
            unlink(child);
    }
    if (d != NULL)
        closedir(d);
    rmdir(path);
}

static int teardown(void **state)
{
    (void)state;
    remove_tree(dir);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_language_models_learn_what_three_words_ago_said),
        cmocka_unit_test(test_sampled_softmax_learns_the_same),
        cmocka_unit_test(test_classifiers_learn_to_find_a_word),
        cmocka_unit_test(test_one_seed_gives_one_checkpoint),
        cmocka_unit_test(test_a_training_in_pieces_ends_like_one_in_one_go),
        cmocka_unit_test(test_resuming_another_net_is_refused),
        cmocka_unit_test(test_a_language_model_starts_a_classifier),
        cmocka_unit_test(test_eval_agrees_with_the_last_validation),
        cmocka_unit_test(test_the_curve_is_written_as_csv_and_svg),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
