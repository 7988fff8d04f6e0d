/* windows: see windows.h. Part i has slot i % n_slots from when it is first
 * planned until its row has been added; slots are those of the parts `first`
 * and on.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/run/task/windows.h"

#include <string.h>

#include "engine/base/mem.h"
#include "engine/run/flow.h"
#include "engine/run/model.h"

#define MOST_SLOTS 16
/* Tokens of the parts that are read side by side, about what a step has room
 * for (engine_options.h): fewer where they are kept in pages, for which a job
 * has to find memory. */
#define SIDE_BY_SIDE 1024
#define SIDE_BY_SIDE_PAGED 256

struct part {
    struct seq *seq; /* NULL: to be made */
    int fed;         /* tokens that are in it */
    int last;        /* its row has the scores */
    int done;        /* the row is there */
};

struct windows {
    int n, before, after; /* tokens of the text, and around it */
    int length, stride;   /* the rule */
    int k, n_slots;
    int first, next; /* parts whose rows were added; that have a slot */
    struct part slot[MOST_SLOTS];
    int planned[MOST_SLOTS], n_planned; /* parts in the present step */
    int cols;
    float *row;   /* [n_slots][cols] */
    int32_t *ids; /* [n_slots][length] */
    double *sum;  /* [cols] */
};

int class_token(const struct model_info *info, const int32_t *ids, int n)
{
    int last = n - 1, pad = info->class_padding - 1;

    while (last > 0 && pad >= 0 && ids[last] == pad)
        last--;
    return last;
}

int windows_count(const struct model *m, int n)
{
    const struct class_rules *r = &m->classes;

    if (r->window == 0 || n <= r->window)
        return 1;
    return 1 + (n - r->window - 1) / r->stride + 1;
}

static int start_of(const struct windows *w, int i)
{
    int64_t at = (int64_t)i * w->stride;
    int most = w->n - (w->length - w->before - w->after);

    return at < most ? (int)at : most;
}

static struct part *slot_of(struct windows *w, int i)
{
    return &w->slot[i % w->n_slots];
}

static int32_t *ids_of(const struct windows *w, int i)
{
    return w->ids + (size_t)(i % w->n_slots) * (size_t)w->length;
}

static float *row_of(const struct windows *w, int i)
{
    return w->row + (size_t)(i % w->n_slots) * (size_t)w->cols;
}

/* Parts that are read side by side. */
static int slots_of(const struct job *j, const struct windows *w)
{
    int paged = j->model->info.state.port[PORT_TARGET].page_tokens > 0;
    int n = (paged ? SIDE_BY_SIDE_PAGED : SIDE_BY_SIDE) / w->length;

    n = n < 1 ? 1 : n;
    n = n > MOST_SLOTS ? MOST_SLOTS : n;
    return n > w->k ? w->k : n;
}

struct windows *windows_new(struct job *j, int before, int after, struct err *e)
{
    const struct class_rules *r = &j->model->classes;
    struct windows *w = mem_zalloc(sizeof *w);

    if (!w) {
        err_nomem(e);
        return NULL;
    }
    w->before = before;
    w->after = after;
    w->n = j->n_tokens - before - after;
    w->length = r->window;
    w->stride = r->stride;
    w->k = windows_count(j->model, j->n_tokens);
    w->n_slots = slots_of(j, w);
    w->cols = j->model->info.cols[OUT_CLASS];
    size_t slots = (size_t)w->n_slots, cols = (size_t)w->cols;
    w->row = mem_array(slots * cols, sizeof *w->row);
    w->ids = mem_array(slots * (size_t)w->length, sizeof *w->ids);
    w->sum = mem_zarray(cols, sizeof *w->sum);
    if (!w->row || !w->ids || !w->sum) {
        windows_free(w);
        err_nomem(e);
        return NULL;
    }
    /* Nothing is read into the job's sequence: it is what parts are made of. */
    j->n_all = 0;
    j->unshared = 1;
    j->window = j->branch_rows = w->length;
    j->n_branches = j->most_rows = w->n_slots;
    return w;
}

void windows_free(struct windows *w)
{
    if (!w)
        return;
    mem_free(w->row);
    mem_free(w->ids);
    mem_free(w->sum);
    mem_free(w);
}

void windows_lost(struct windows *w)
{
    for (int i = 0; i < w->n_slots; i++) {
        w->slot[i].seq = NULL;
        w->slot[i].fed = 0;
    }
}

/* The tokens of part i into its slot. */
static void open_part(const struct job *j, struct windows *w, int i)
{
    int32_t *ids = ids_of(w, i);
    size_t before = (size_t)w->before, after = (size_t)w->after;
    size_t room = (size_t)w->length - before - after;
    const int32_t *text = j->tokens + w->before;

    memcpy(ids, j->tokens, before * sizeof *ids);
    memcpy(ids + before, text + start_of(w, i), room * sizeof *ids);
    memcpy(ids + before + room, text + w->n, after * sizeof *ids);
    *slot_of(w, i) =
        (struct part){.last = class_token(&j->model->info, ids, w->length)};
    w->next = i + 1;
}

/* Tokens of a part that a step with so much room takes; 0: none. */
static int rows_for(const struct job *j, const struct windows *w,
                    const struct part *part, int room, int alone)
{
    const struct model_info *info = &j->model->info;
    int n = w->length - part->fed, chain = info->max_chain;

    if (room < 1 && !alone)
        return 0;
    if (info->state.port[PORT_TARGET].whole)
        return n > room && !alone ? 0 : n;
    room = room < 1 ? 1 : room;
    n = chain > 0 && n > chain ? chain : n;
    return n > room ? room : n;
}

static int plan_part(struct job *j, struct windows *w, int i, int room,
                     struct batch_plan *p)
{
    struct part *part = slot_of(w, i);
    int n = rows_for(j, w, part, room, p->b.n_item == 0);
    struct span in = {
        .unit = UNIT_TOKENS, .n = n, .p = ids_of(w, i) + part->fed};
    struct want want = {.kind = OUT_CLASS, .from = n - 1, .n = 1};

    if (n == 0)
        return 0;
    int rc = part->seq ? 0 : job_fork(j, p->store, j->seq, &part->seq);
    if (rc) {
        part->seq = NULL;
        batch_starve(p, j, rc);
        return 0;
    }
    return batch_add(p, j, part->seq, PORT_TARGET, &in, &want,
                     part->fed + n > part->last);
}

int windows_plan(struct job *j, struct windows *w, int budget,
                 struct batch_plan *p)
{
    int rows = 0, end = w->first + w->n_slots;

    if (p->bounded && j->flow->heavy) /* one item, as others have */
        end = w->first + 1;
    end = end < w->k ? end : w->k;
    w->n_planned = 0;
    for (int i = w->first; i < end; i++) {
        if (i == w->next)
            open_part(j, w, i);
        if (slot_of(w, i)->done)
            continue;
        int n = plan_part(j, w, i, budget - rows, p);
        if (n == 0)
            break;
        w->planned[w->n_planned++] = i;
        rows += n;
    }
    return rows;
}

/* Tokens of the text that part i is the first to have. */
static int adds(const struct windows *w, int i)
{
    return i == 0 ? w->length - w->before - w->after
                  : start_of(w, i) - start_of(w, i - 1);
}

/* The rows that are next in order, into the sum. */
static void add_rows(struct job *j, struct windows *w)
{
    for (; w->first < w->next && slot_of(w, w->first)->done; w->first++) {
        const float *row = row_of(w, w->first);
        double weight = (double)adds(w, w->first);
        for (int l = 0; l < w->cols; l++)
            w->sum[l] += weight * (double)row[l];
        j->fresh_read += adds(w, w->first);
        j->fresh_read += w->first == 0 ? w->before + w->after : 0;
    }
}

int windows_take(struct job *j, struct windows *w, const struct task_ctx *x,
                 struct batch_item *first, int n, float *row)
{
    for (int k = 0; k < n; k++) {
        struct part *part = slot_of(w, w->planned[k]);
        part->fed += first[k].in.n;
        if (first[k].n_w == 0)
            continue;
        const float *got = task_row(j, x, &first[k], 0, w->cols);
        if (!got)
            return -1;
        memcpy(row_of(w, w->planned[k]), got, (size_t)w->cols * sizeof *w->row);
        part->done = 1;
        job_drop(j, part->seq);
        part->seq = NULL;
    }
    add_rows(j, w);
    if (w->first < w->k)
        return TASK_MORE;
    for (int l = 0; l < w->cols; l++)
        row[l] = (float)(w->sum[l] / (double)w->n);
    return TASK_DONE;
}
