/* fuzz_train: the state that a training goes on from (fuzz_targets.h). One
 * trainer of a tiny net reads them all; what it takes it goes on from, to the
 * end of its two epochs.
 *
 * SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/mem.h"
#include "models/train/train.h"
#include "tests/support/fuzz_check.h"
#include "tests/support/fuzz_targets.h"

#define MAX_TMP 40
#define MOST_STEPS 64 /* there are fewer in an epoch */

static struct {
    char dir[64], data[96], out[96];
    int state; /* out/state.bin */
    struct trainer *t;
} rig;

static void write_file(const char *dir, const char *name, const void *p,
                       size_t n)
{
    char path[160];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "wb");
    must(f && fwrite(p, 1, n, f) == n && fclose(f) == 0);
}

static void clear_away(void)
{
    static const char *const files[] = {"out/state.bin",      "out/config.json",
                                        "out/tokenizer.json", "out",
                                        "words.txt",          ""};
    char path[160];
    trainer_close(rig.t);
    mem_free(rig.t);
    close(rig.state);
    for (int i = 0; i < 6; i++) {
        snprintf(path, sizeof path, "%s/%s", rig.dir, files[i]);
        remove(path);
    }
}

/* tests/fuzz/make_seeds.py trains with the same words. */
static void open_trainer(void)
{
    static const char words[] = "a b c\nb c a\nc a b\na c b\nb a c\n";
    static char *argv[] = {"seqd-train",  "train",      "--data",      rig.data,
                           "--valid",     rig.data,     "--out",       rig.out,
                           "--hidden",    "2",          "--embedding", "2",
                           "--batch",     "2",          "--bptt",      "2",
                           "--epochs",    "2",          "--threads",   "1",
                           "--tokenizer", "whitespace", "--min-count", "1",
                           "--average",   "ema"};
    struct options o;
    struct err e = ERR_INIT;
    const char *tmp = getenv("TMPDIR");
    char path[160];
    snprintf(rig.dir, sizeof rig.dir, "%s/seqd-fuzz-XXXXXX",
             tmp && strlen(tmp) < MAX_TMP ? tmp : "/tmp");
    must(mkdtemp(rig.dir) != NULL);
    snprintf(rig.data, sizeof rig.data, "%s/words.txt", rig.dir);
    snprintf(rig.out, sizeof rig.out, "%s/out", rig.dir);
    write_file(rig.dir, "words.txt", words, sizeof words - 1);
    must(train_options_parse(sizeof argv / sizeof *argv, argv, &o, &e) == 0);
    rig.t = mem_zalloc(sizeof *rig.t);
    must(rig.t && trainer_open(rig.t, &o, &e) == 0);
    snprintf(path, sizeof path, "%s/state.bin", rig.out);
    rig.state = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    must(rig.state >= 0);
    must(atexit(clear_away) == 0);
}

/* The rest of an epoch, as loop.c goes through it. */
static void go_on(struct trainer *t)
{
    struct err e = ERR_INIT;
    double loss;
    int64_t rows;
    if (trainer_begin_epoch(t, &e) != 0) {
        must(e.code != ERR_NONE && e.code != ERR_INTERNAL && e.msg[0]);
        return;
    }
    must(t->at.in_epoch >= 0 && t->at.in_epoch <= t->epoch.steps);
    must(t->epoch.steps < MOST_STEPS);
    while (t->at.in_epoch < t->epoch.steps) {
        trainer_step(t, t->o.lr, &loss, &rows);
        must(rows > 0 && rows <= t->o.batch * t->o.bptt);
        t->at.step++;
    }
}

void fuzz_state(const uint8_t *data, size_t n)
{
    struct err e = ERR_INIT;
    if (!rig.t)
        open_trainer();
    struct trainer *t = rig.t;
    t->curve.n = 0;
    memset(&t->at, 0, sizeof t->at);
    must(pwrite(rig.state, data, n, 0) == (ssize_t)n);
    must(ftruncate(rig.state, (off_t)n) == 0);
    if (resume_load(t, &e) != 0) {
        must(e.code != ERR_NONE && e.code != ERR_INTERNAL && e.msg[0]);
        return;
    }
    must(t->at.step >= 0 && t->at.tokens >= 0 && t->at.epoch >= 0);
    must(t->at.seconds >= 0 && t->at.since_best >= 0);
    must(t->optim.step >= 0 && t->at.n_average >= 0);
    fuzz_taken++;
    go_on(t);
}
