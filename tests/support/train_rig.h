/* train_rig: what the trainer's tests share: a folder for one test program's
 * trainings, options from words, one training from start to end, BLAS for a
 * group of tests. In a header because only these programs are linked with the
 * trainer.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_TRAIN_RIG_H
#define SEQD_TRAIN_RIG_H

#include <ftw.h>
#include <pthread.h>

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "models/train/load.h"
#include "models/train/train.h"
#include "tests/support/unit.h"

static struct {
    char dir[64];
    struct blas blas;
    atomic_int never, stop_now;
} train_rig;

/* ---- a folder ---- */

static inline int train_rig_open(void **state)
{
    snprintf(train_rig.dir, sizeof train_rig.dir, "/tmp/seqd-train-XXXXXX");
    return mkdtemp(train_rig.dir) != NULL ? 0 : -1;
}

static inline int train_rig_remove(const char *path, const struct stat *s,
                                   int kind, struct FTW *f)
{
    return remove(path);
}

static inline int train_rig_close(void **state)
{
    return nftw(train_rig.dir, train_rig_remove, 8, FTW_DEPTH | FTW_PHYS);
}

/* path [128] of a name in the folder */
static inline char *train_rig_path(char *path, const char *name)
{
    snprintf(path, 128, "%s/%s", train_rig.dir, name);
    return path;
}

static inline FILE *train_rig_file(char *path, const char *name)
{
    FILE *f = fopen(train_rig_path(path, name), "wb");
    assert_non_null(f);
    return f;
}

/* ---- trainings ---- */

/* Options from two strings of words, to train on `data` into `out`. They last
 * until so many more are made. */
#define TRAIN_RIG_OPTIONS 16

static inline struct options train_rig_options(const char *base,
                                               const char *more,
                                               const char *data,
                                               const char *out)
{
    static char text[TRAIN_RIG_OPTIONS][2048];
    static int next;
    struct options o;
    struct err e = ERR_INIT;
    char *argv[80] = {"seqd-train", "train"};
    char *p = text[next++ % TRAIN_RIG_OPTIONS];
    int n = 2;
    snprintf(p, sizeof text[0], "--data %s --valid %s --out %s %s %s", data,
             data, out, base, more);
    while (*p != '\0') {
        assert_true(n < 80);
        argv[n++] = p;
        p += strcspn(p, " ");
        while (*p == ' ')
            *p++ = '\0';
    }
    if (train_options_parse(n, argv, &o, &e) != 0)
        fail_msg("%s", e.msg);
    return o;
}

/* A trainer that is only opened; in place of what an earlier test left. */
static inline struct trainer *train_rig_trainer(const struct options *o)
{
    struct err e = ERR_INIT;
    struct options own = *o;
    struct trainer *t = mem_zalloc(sizeof *t);
    assert_non_null(t);
    own.overwrite = !own.resume;
    if (trainer_open(t, &own, &e) != 0)
        fail_msg("%s", e.msg);
    return t;
}

/* The last validation of a training. */
static inline struct curve_point train_rig_run(const struct options *o,
                                               const atomic_int *stop)
{
    struct err e = ERR_INIT;
    struct curve_point last = {0};
    struct trainer *t = train_rig_trainer(o);
    t->stop = stop;
    if (trainer_run(t, &e) != 0)
        fail_msg("%s", e.msg);
    if (t->curve.n > 0)
        last = t->curve.v[t->curve.n - 1];
    trainer_close(t);
    mem_free(t);
    return last;
}

static inline struct curve_point train_rig_train(const struct options *o)
{
    return train_rig_run(o, &train_rig.never);
}

static inline void train_rig_free(struct trainer *t)
{
    trainer_close(t);
    mem_free(t);
}

static inline void train_rig_refuse(const struct options *o,
                                    const char *message)
{
    struct err e = ERR_INIT;
    struct trainer *t = mem_zalloc(sizeof *t);
    assert_non_null(t);
    assert_int_equal(trainer_open(t, o, &e), -1);
    if (strstr(e.msg, message) == NULL)
        fail_msg("'%s' does not say '%s'", e.msg, message);
    train_rig_free(t);
}

/* Do the checkpoints in two folders have the same weights? */
static inline int train_rig_same(const char *a, const char *b)
{
    const char *const dir[2] = {a, b};
    char path[160], *p[2];
    size_t n[2];
    struct err e = ERR_INIT;
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/model.safetensors", dir[i]);
        if (file_read(path, path, 1 << 24, &p[i], &n[i], &e) != 0)
            fail_msg("%s", e.msg);
    }
    int same = n[0] == n[1] && memcmp(p[0], p[1], n[0]) == 0;
    mem_free(p[0]);
    mem_free(p[1]);
    return same;
}

static inline void *train_rig_stop(void *arg)
{
    usleep(60000);
    train_rig.stop_now = 1;
    return NULL;
}

/* The training once in one go and once stopped and gone on with several times:
 * the same weights. */
static inline void train_rig_expect_resumable(struct options o)
{
    char a[128], b[128];
    o.out = train_rig_path(a, "whole");
    train_rig_train(&o);
    o.out = train_rig_path(b, "pieces");
    o.resume = 0;
    for (int piece = 0; piece < 4; piece++) {
        pthread_t thread;
        train_rig.stop_now = 0;
        assert_int_equal(pthread_create(&thread, NULL, train_rig_stop, NULL),
                         0);
        train_rig_run(&o, &train_rig.stop_now);
        pthread_join(thread, NULL);
        o.resume = 1;
    }
    train_rig_train(&o);
    assert_true(train_rig_same(a, b));
}

/* ---- pairs of texts ---- */

static struct {
    char path[128];
    const char *base; /* options of all trainings */
} train_rig_pairs;

/* Strings of 2 to `most` of so many letters; the target is the string from its
 * end, which no decoder can give that does not look at its source. strings
 * [n][most + 1] are kept there, or NULL. */
static inline void train_rig_turned(int n, int most, int letters, char *strings)
{
    FILE *f = train_rig_file(train_rig_pairs.path, "pairs.tsv");
    uint32_t x = 1;
    assert_true(most < 16);
    for (int i = 0; i < n; i++) {
        char s[16] = "", back[16] = "";
        x = x * 1664525u + 1013904223u;
        int len = 2 + (int)(x >> 16) % (most - 1);
        for (int k = 0; k < len; k++) {
            x = x * 1664525u + 1013904223u;
            s[k] = back[len - 1 - k] = (char)('a' + (int)(x >> 24) % letters);
        }
        fprintf(f, "%s\t%s\n", s, back);
        if (strings)
            memcpy(strings + i * (most + 1), s, (size_t)most + 1);
    }
    fclose(f);
}

static inline struct options train_rig_pair_options(const char *more, char *out,
                                                    const char *name)
{
    struct options o =
        train_rig_options(train_rig_pairs.base, more, train_rig_pairs.path,
                          train_rig_path(out, name));
    o.valid = NULL;
    return o;
}

/* Trains, and reads what was written: it has the trainer's tensors. The net and
 * its weights are the caller's, for train_rig_drop. */
static inline void train_rig_written(const struct options *o, struct net *net,
                                     real **w)
{
    struct err e = ERR_INIT;
    train_rig_train(o);
    if (load_net(o->out, net, w, &e) != 0)
        fail_msg("%s", e.msg);
    struct trainer *t = train_rig_trainer(o);
    assert_int_equal(net->n_tensors, t->net.n_tensors);
    assert_int_equal(net->n, t->net.n);
    train_rig_free(t);
}

static inline void train_rig_drop(struct net *net, real *w)
{
    net_fini(net);
    mem_aligned_free(w);
}

struct train_rig_refusal {
    const char *more, *message;
};

static inline void train_rig_refuse_pairs(const struct train_rig_refusal *r,
                                          size_t n)
{
    char out[128];
    for (size_t i = 0; i < n; i++) {
        struct options o = train_rig_pair_options(r[i].more, out, "refused");
        train_rig_refuse(&o, r[i].message);
    }
}

/* ---- BLAS ---- */

static inline int train_rig_open_blas(void **state)
{
    struct err e = ERR_INIT;
    return blas_open(&train_rig.blas, &e);
}

static inline int train_rig_close_blas(void **state)
{
    blas_close(&train_rig.blas);
    return 0;
}

#endif
