/* resume: what --resume needs, in one file of --out, in this machine's byte
 * order: progress, learning curve, weights, moments, average and the states of
 * the language model's lanes. The order of an epoch is not in it: it is a
 * function of seed and epoch.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "engine/base/mem.h"
#include "models/train/train.h"

#define STATE_MAGIC 0x33736471u  /* "qds3" */
#define STATE_SECOND 0x32736471u /* "qds2": fewer flags */
#define STATE_FIRST 0x31736471u  /* "qds1": without flags */
#define N_FLAGS 144              /* NET_MAX_TENSORS, rounded up */
#define N_FLAGS_SECOND 72

struct head {
    uint32_t magic, real_bytes;
    int64_t n, records;
    int32_t tensors, workers, batch, optimizer, average, n_curve;
};

static struct head head_of(const struct trainer *t)
{
    struct head h;
    memset(&h, 0, sizeof h);
    h.magic = STATE_MAGIC;
    h.real_bytes = sizeof(real);
    h.n = (int64_t)t->net.n;
    h.records = t->train.n_records;
    h.tensors = t->net.n_tensors;
    h.workers = t->n_workers;
    h.batch = t->o.batch;
    h.optimizer = t->o.optimizer;
    h.average = t->o.average;
    h.n_curve = t->curve.n;
    return h;
}

/* A function that moves n bytes between memory and the file. */
typedef int move_fn(FILE *f, void *p, size_t n);

static int put(FILE *f, void *p, size_t n)
{
    return fwrite(p, 1, n, f) == n ? 0 : -1;
}

static int get(FILE *f, void *p, size_t n)
{
    return fread(p, 1, n, f) == n ? 0 : -1;
}

static int move_blocks(struct trainer *t, FILE *f, move_fn *move)
{
    real *const blocks[] = {t->w, t->optim.m, t->optim.v, t->average};
    size_t state = (size_t)t->net.c.H * sizeof(real);
    for (int i = 0; i < 4; i++)
        if (blocks[i] != NULL &&
            move(f, blocks[i], t->net.n * sizeof(real)) != 0)
            return -1;
    if (t->net.c.C > 0 || t->net.c.kind != NET_RNN)
        return 0;
    for (int i = 0; i < t->n_workers; i++) {
        const struct pass *p = &t->worker[i].pass;
        for (int l = 0; l < t->net.c.L; l++) {
            if (move(f, p->layer[l].h[0], state * (size_t)p->cap_B) != 0)
                return -1;
            if (p->layer[l].c[0] != NULL &&
                move(f, p->layer[l].c[0], state * (size_t)p->cap_B) != 0)
                return -1;
        }
    }
    return 0;
}

int state_save(struct trainer *t, struct err *e)
{
    char path[4096], part[4100];
    struct head h = head_of(t);
    struct progress at = t->at;
    uint8_t flags[N_FLAGS] = {0};
    at.optim_step = (int32_t)t->optim.step;
    at.seconds = trainer_seconds(t);
    for (int i = 0; i < t->net.n_tensors; i++)
        flags[i] = (uint8_t)t->net.t[i].from_start;
    snprintf(path, sizeof path, "%s/state.bin", t->o.out);
    snprintf(part, sizeof part, "%s.tmp", path);
    FILE *f = fopen(part, "wb");
    if (f == NULL)
        return err_set(e, ERR_IO, "%s cannot be written", path);
    int bad =
        put(f, &h, sizeof h) != 0 || put(f, flags, sizeof flags) != 0 ||
        put(f, &at, sizeof at) != 0 ||
        (h.n_curve > 0 &&
         put(f, t->curve.v, (size_t)h.n_curve * sizeof *t->curve.v) != 0) ||
        move_blocks(t, f, put) != 0;
    bad |= fclose(f) != 0;
    if (bad || rename(part, path) != 0)
        return err_set(e, ERR_IO, "%s cannot be written", path);
    return 0;
}

static int check_head(const struct trainer *t, const struct head *h,
                      struct err *e)
{
    struct head mine = head_of(t);
    if ((h->magic != STATE_MAGIC && h->magic != STATE_SECOND &&
         h->magic != STATE_FIRST) ||
        h->real_bytes != sizeof(real))
        return err_set(e, ERR_FORMAT, "state.bin is not from this program");
    if (h->n != mine.n || h->tensors != mine.tensors ||
        h->records != mine.records || h->workers != mine.workers ||
        h->batch != mine.batch || h->optimizer != mine.optimizer ||
        h->average != mine.average || h->n_curve < 0 || h->n_curve > 1 << 24)
        return err_set(e, ERR_INVALID,
                       "state.bin is of another net, data, batch, number of "
                       "threads or optimiser: give the options of the first "
                       "run");
    return 0;
}

static int read_state(struct trainer *t, FILE *f, struct err *e)
{
    struct head h;
    uint8_t flags[N_FLAGS] = {0};
    if (get(f, &h, sizeof h) != 0)
        return err_set(e, ERR_FORMAT, "state.bin is cut short");
    if (check_head(t, &h, e) != 0)
        return -1;
    size_t n_flags = h.magic == STATE_MAGIC    ? N_FLAGS
                     : h.magic == STATE_SECOND ? N_FLAGS_SECOND
                                               : 0;
    if ((n_flags > 0 && get(f, flags, n_flags) != 0) ||
        get(f, &t->at, sizeof t->at) != 0)
        return err_set(e, ERR_FORMAT, "state.bin is cut short");
    t->optim.step = t->at.optim_step;
    for (int i = 0; i < t->net.n_tensors; i++)
        t->net.t[i].from_start = flags[i];
    for (int i = 0; i < h.n_curve; i++) {
        struct curve_point p;
        if (get(f, &p, sizeof p) != 0)
            return err_set(e, ERR_FORMAT, "state.bin is cut short");
        if (curve_add(&t->curve, &p, e) != 0)
            return -1;
    }
    if (move_blocks(t, f, get) != 0)
        return err_set(e, ERR_FORMAT, "state.bin is cut short");
    return 0;
}

int state_load(struct trainer *t, struct err *e)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/state.bin", t->o.out);
    FILE *f = fopen(path, "rb");
    if (f == NULL)
        return err_set(e, ERR_NOT_FOUND, "%s: nothing to resume", path);
    int rc = read_state(t, f, e);
    fclose(f);
    return rc;
}
