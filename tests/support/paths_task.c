/* paths_task: see paths_task.h.
 *
 * SPDX-License-Identifier: MIT */
#include "tests/support/paths_task.h"

#include <string.h>

#include "engine/base/mem.h"
#include "engine/run/model.h"
#include "engine/run/task/task_impl.h"

#define PATH_PAGE 16 /* rows that a fork may copy: a page of most */

static int paths_init(struct job *j, const void *params, struct err *e)
{
    const struct paths_params *p = params;

    j->own = mem_zalloc(sizeof(struct paths));
    j->answer = j->own;
    j->most_rows = PATHS;
    if (!j->own)
        return err_nomem(e);
    if (!p || !p->attention)
        return 0;
    const struct model_info *info = &j->model->info;
    struct paths *s = j->own;
    s->shown =
        mem_array((size_t)info->n_layers * (size_t)info->n_heads * PATH_STEPS,
                  (size_t)job_shown(j) * sizeof(float));
    return s->shown ? task_show_attention(j, e) : err_nomem(e);
}

static void paths_fini(struct job *j)
{
    struct paths *s = j->own;

    if (s)
        mem_free(s->shown);
    mem_free(s);
}

static void paths_most(const struct job *j, int64_t n[MAX_PORTS])
{
    (void)j;
    n[PORT_TARGET] += PATHS * (PATH_STEPS + PATH_PAGE);
}

static int paths_plan(struct job *j, int budget, struct batch_plan *p)
{
    struct paths *s = j->own;
    int rows = 0;

    s->n_planned = 0;
    if (j->pos[1] < j->in[1].n || j->pos[0] < j->n_all)
        return task_plan_input(j, budget, p, s->begun ? -1 : OUT_LOGITS);
    for (int i = 0; i < PATHS; i++) {
        int n = s->n[i] - s->fed[i];
        struct span in = {.n = n, .p = s->ids[i] + s->fed[i]};
        struct want w[2] = {{.kind = OUT_LOGITS, .from = n - 1, .n = 1},
                            {.kind = OUT_ATTENTION, .n = n, .dst = s->shown}};
        int n_w = i == 0 && s->shown ? 2 : 1;
        int rc = s->seq[i] ? 0 : job_fork(j, p->store, j->seq, &s->seq[i]);
        if (rc) {
            batch_starve(p, j, rc);
            break;
        }
        if (s->n[i] == PATH_STEPS || (n > budget - rows && p->b.n_item > 0))
            continue;
        if (batch_add(p, j, s->seq[i], PORT_TARGET, &in, w, n_w) == 0)
            break;
        s->planned[s->n_planned++] = i;
        rows += n;
    }
    return rows;
}

int32_t paths_best(const float *row, int n, int rank)
{
    int32_t id = 0;
    for (int k = 0; k <= rank; k++) {
        int32_t best = -1;
        for (int v = 0; v < n; v++) {
            int before =
                k == 0 || row[v] < row[id] || (row[v] <= row[id] && v > id);
            if (before && (best < 0 || row[v] > row[best]))
                best = v;
        }
        id = best;
    }
    return id;
}

static void hash(uint64_t *h, const float *row, int n)
{
    const unsigned char *byte = (const unsigned char *)row;

    for (size_t k = 0; k < (size_t)n * sizeof *row; k++)
        *h = (*h ^ byte[k]) * 0x100000001b3u; /* FNV-1a */
}

/* What an item of n rows shows of its last one. */
static void hash_shown(struct job *j, struct paths *s, int n)
{
    const struct model_info *info = &j->model->info;
    int m = job_shown(j);

    for (int h = 0; h < info->n_layers * info->n_heads; h++)
        hash(&s->bits[0], s->shown + (size_t)((h + 1) * n - 1) * (size_t)m, m);
}

/* The next token of path i, by a row whose bits are kept. */
static void go_on(struct paths *s, int i, const float *row, int n, int rank)
{
    hash(&s->bits[i], row, n);
    s->ids[i][s->n[i]++] = paths_best(row, n, rank);
}

static int paths_take(struct job *j, const struct task_ctx *x,
                      struct batch_item *first, int n)
{
    struct paths *s = j->own;
    int left = 0, V = j->model->info.cols[OUT_LOGITS];

    if (s->n_planned == 0) {
        if (first[n - 1].n_w == 0)
            return TASK_MORE;
        const float *row = task_row(j, x, &first[n - 1], 0, V);
        for (int i = 0; i < PATHS && row; i++)
            go_on(s, i, row, V, i);
        s->begun = 1;
        return TASK_MORE;
    }
    for (int k = 0; k < n; k++) {
        int i = s->planned[k];
        s->fed[i] = s->n[i];
        if (i == 0 && s->shown)
            hash_shown(j, s, first[k].in.n);
        if (s->n[i] < PATH_STEPS)
            go_on(s, i, first[k].w[0].dst, V, 0);
        if (s->n[i] == PATH_STEPS)
            job_drop(j, s->seq[i]);
    }
    for (int i = 0; i < PATHS; i++)
        left += s->n[i] < PATH_STEPS;
    return left ? TASK_MORE : TASK_DONE;
}

static void paths_lost(struct job *j)
{
    struct paths *s = j->own;
    memset(s->seq, 0, sizeof s->seq);
    memset(s->fed, 0, sizeof s->fed);
}

const struct task task_paths = {.name = "paths",
                                .output = OUT_LOGITS,
                                .needs =
                                    TASK_TOKENS | TASK_APPEND | TASK_SOURCE,
                                .init = paths_init,
                                .fini = paths_fini,
                                .most = paths_most,
                                .plan = paths_plan,
                                .take = paths_take,
                                .lost = paths_lost};
