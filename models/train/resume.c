/* resume: what --resume needs, in one file of --out, in this machine's byte
 * order: progress, learning curve, weights, moments, average and what a net
 * keeps between chunks. The order of an epoch is not in it: it is a function of
 * seed and epoch.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "engine/base/file.h"
#include "engine/base/json.h"
#include "engine/base/mem.h"
#include "models/train/train.h"

#define STATE_MAGIC 0x34736471u  /* "qds4" */
#define STATE_THIRD 0x33736471u  /* "qds3": fewer flags */
#define STATE_SECOND 0x32736471u /* "qds2": fewer still */
#define STATE_FIRST 0x31736471u  /* "qds1": without flags */
#define N_FLAGS 352              /* NET_MAX_TENSORS, rounded up */
#define N_FLAGS_THIRD 144
#define N_FLAGS_SECOND 72

_Static_assert(N_FLAGS >= NET_MAX_TENSORS, "a flag for each tensor");

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
    h.batch = t->objective->pairs ? t->o.batch_tokens : t->o.batch;
    h.optimizer = t->o.optimizer;
    h.average = t->o.average;
    if (t->o.average == AVERAGE_LAST) /* the last of them: a number follows */
        h.average += t->o.average_last;
    h.n_curve = t->curve.n;
    return h;
}

/* A function that moves n bytes between memory and the file. */
typedef int move_fn(FILE *f, void *p, size_t n);

static int put(FILE *f, void *p, size_t n)
{
    return n == 0 || fwrite(p, n, 1, f) == 1 ? 0 : -1;
}

static int get(FILE *f, void *p, size_t n)
{
    return n == 0 || fread(p, n, 1, f) == 1 ? 0 : -1;
}

static int move_blocks(struct trainer *t, FILE *f, move_fn *move)
{
    real *const blocks[] = {t->w, t->optim.m, t->optim.v, t->average};
    for (int i = 0; i < 4; i++)
        if (blocks[i] != NULL &&
            move(f, blocks[i], t->net.n * sizeof(real)) != 0)
            return -1;
    for (int i = 0; t->last != NULL && i < t->o.average_last; i++)
        if (move(f, t->last + (size_t)i * t->net.n, t->net.n * sizeof(real)) !=
            0)
            return -1;
    for (int i = 0; i < t->n_workers; i++) {
        const struct pass *p = &t->worker[i].pass;
        for (int k = 0; k < p->n_kept; k++)
            if (move(f, p->kept[k].p, p->kept[k].n * sizeof(real)) != 0)
                return -1;
    }
    return 0;
}

int resume_save(struct trainer *t, struct err *e)
{
    char path[FILE_PATH_BYTES];
    struct file_part p;
    struct head h = head_of(t);
    struct progress at = t->at;
    uint8_t flags[N_FLAGS] = {0};
    at.optim_step = (int32_t)t->optim.step;
    at.seconds = trainer_seconds(t);
    for (int i = 0; i < t->net.n_tensors; i++)
        flags[i] = (uint8_t)t->net.t[i].from_start;
    snprintf(path, sizeof path, "%s/state.bin", t->o.out);
    if (file_part_open(&p, path, e) != 0)
        return -1;
    FILE *f = p.f;
    int bad = put(f, &h, sizeof h) != 0 || put(f, flags, sizeof flags) != 0 ||
              put(f, &at, sizeof at) != 0 ||
              put(f, t->curve.v, (size_t)h.n_curve * sizeof *t->curve.v) != 0 ||
              move_blocks(t, f, put) != 0;
    return file_part_commit(&p, !bad, e);
}

static int check_head(const struct trainer *t, const struct head *h,
                      struct err *e)
{
    struct head mine = head_of(t);
    if ((h->magic != STATE_MAGIC && h->magic != STATE_THIRD &&
         h->magic != STATE_SECOND && h->magic != STATE_FIRST) ||
        h->real_bytes != sizeof(real) || h->n_curve < 0)
        return err_set(e, ERR_FORMAT, "state.bin is not from this program");
    mine.magic = h->magic;
    mine.n_curve = h->n_curve;
    return memcmp(&mine, h, sizeof mine) == 0
               ? 0
               : err_set(e, ERR_INVALID,
                         "state.bin is of another net, data, batch, number of "
                         "threads or optimiser: give the options of the first "
                         "run");
}

static int is_count(int64_t v, int bits)
{
    return v >= 0 && v >> bits == 0;
}

/* What a run can have left behind: the counts are places in the data and are
 * counted on from here. in_epoch is compared with the epoch where it begins. */
static int check_progress(const struct progress *p, const uint8_t *flags,
                          struct err *e)
{
    int good = is_count(p->step, 53) && is_count(p->tokens, 53) &&
               is_count(p->loss_rows, 53) && is_count(p->n_average, 53) &&
               p->in_epoch >= 0 && p->in_epoch <= p->step &&
               is_count(p->epoch, 30) && is_count(p->since_best, 30) &&
               is_count(p->optim_step, 30) && p->seconds >= 0 &&
               isfinite(p->seconds) && isfinite(p->best) &&
               isfinite(p->plateau) && isfinite(p->loss_sum);
    for (int i = 0; i < N_FLAGS; i++)
        good = good && flags[i] <= 1;
    return good ? 0
                : err_set(e, ERR_FORMAT,
                          "state.bin is damaged: its counts are none that a "
                          "training has");
}

static int read_state(struct trainer *t, FILE *f, struct err *e)
{
    struct head h;
    struct curve_point p;
    uint8_t flags[N_FLAGS] = {0};
    int cut = get(f, &h, sizeof h) != 0;
    if (!cut && check_head(t, &h, e) != 0)
        return -1;
    size_t n_flags = cut || h.magic == STATE_FIRST ? 0
                     : h.magic == STATE_MAGIC      ? N_FLAGS
                     : h.magic == STATE_THIRD      ? N_FLAGS_THIRD
                                                   : N_FLAGS_SECOND;
    cut =
        cut || get(f, flags, n_flags) != 0 || get(f, &t->at, sizeof t->at) != 0;
    if (!cut && check_progress(&t->at, flags, e) != 0)
        return -1;
    for (int i = 0; !cut && i < h.n_curve; i++) {
        cut = get(f, &p, sizeof p) != 0;
        if (!cut && curve_add(&t->curve, &p, e) != 0)
            return -1;
    }
    if (cut || move_blocks(t, f, get) != 0)
        return err_set(e, ERR_FORMAT, "state.bin is cut short");
    if (fgetc(f) != EOF)
        return err_set(e, ERR_FORMAT,
                       "state.bin is damaged: something follows its end");
    t->optim.step = t->at.optim_step;
    for (int i = 0; i < t->net.n_tensors; i++)
        t->net.t[i].from_start = flags[i];
    return 0;
}

/* --- config.json, which says what state.bin does not: heads, labels ... --- */

static int same_scalar(const struct json *a, const struct json *b)
{
    const char *s = json_string(a);
    if (json_type(a) != json_type(b))
        return 0;
    return s != NULL ? strcmp(s, json_string(b)) == 0
                     : json_bool(a) == json_bool(b) &&
                           !(json_number(a) < json_number(b)) &&
                           !(json_number(a) > json_number(b));
}

/* A value, or a list or an object of such. */
static int same_value(const struct json *a, const struct json *b)
{
    const struct json *y = json_child(b);
    int named = json_type(a) == JSON_OBJECT;
    if (!named && json_type(a) != JSON_ARRAY)
        return same_scalar(a, b);
    if (json_type(a) != json_type(b) || json_size(a) != json_size(b))
        return 0;
    for (const struct json *x = json_child(a); x != NULL; x = json_next(x)) {
        const struct json *to = named ? json_get(b, json_key(x)) : y;
        if (to == NULL || !same_scalar(x, to))
            return 0;
        y = named ? y : json_next(y);
    }
    return 1;
}

/* Keys that only one of the two has are of another version. */
static int check_config(const struct trainer *t, struct err *e)
{
    char path[FILE_PATH_BYTES];
    struct json *was = NULL, *is = NULL;
    struct buf b;
    snprintf(path, sizeof path, "%s/config.json", t->o.out);
    buf_init(&b, 1 << 20);
    save_config_text(t, &b);
    int rc = json_load(path, path, NULL, &was, e);
    if (rc == 0)
        rc = b.failed ? err_nomem(e) : json_parse(b.p, b.len, NULL, &is, e);
    for (const struct json *x = rc == 0 ? json_child(is) : NULL; x != NULL;
         x = json_next(x)) {
        const struct json *old = json_get(was, json_key(x));
        if (rc == 0 && old != NULL && !same_value(x, old))
            rc = err_set(e, ERR_INVALID,
                         "%s says something else for '%s': give the options "
                         "and the data of the first run",
                         path, json_key(x));
    }
    json_free(was);
    json_free(is);
    buf_fini(&b);
    return rc;
}

int resume_is_there(const struct options *o)
{
    char path[FILE_PATH_BYTES];
    snprintf(path, sizeof path, "%s/state.bin", o->out);
    return file_exists(path);
}

int resume_load(struct trainer *t, struct err *e)
{
    char path[FILE_PATH_BYTES];
    snprintf(path, sizeof path, "%s/state.bin", t->o.out);
    FILE *f = fopen(path, "rb");
    if (f == NULL)
        return err_set(e, ERR_NOT_FOUND, "%s: nothing to resume", path);
    int rc = read_state(t, f, e);
    fclose(f);
    return rc != 0 ? rc : check_config(t, e);
}
