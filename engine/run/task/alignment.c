/* alignment: see alignment.h. Items may have any number of rows: each shows its
 * own, of which those that made a token are kept.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/run/task/alignment.h"

#include <string.h>

#include "engine/base/mem.h"
#include "engine/run/model.h"

#define PART 16 /* rows of an item: memory for all layers of so many */

static size_t heads_of(const struct job *j)
{
    const struct model_info *info = &j->model->info;
    return (size_t)info->n_layers * (size_t)info->n_heads;
}

int alignment_init(struct alignment *a, const struct job *j, struct err *e)
{
    a->m = j->in[PORT_SOURCE].n;
    if (task_can_show(j, PART, e))
        return -1;
    a->on = 1;
    return 0;
}

void alignment_fini(struct alignment *a)
{
    mem_free(a->ids);
    mem_free(a->part);
    mem_free(a->weights);
}

static int source_is_read(const struct job *j)
{
    return j->pos[PORT_SOURCE] >= j->in[PORT_SOURCE].n;
}

int alignment_hold(struct alignment *a, struct job *j, struct batch_plan *p)
{
    if (!a->on || a->seq || !source_is_read(j))
        return 0;
    int rc = job_fork(j, p->store, j->seq, &a->seq);
    if (rc)
        batch_starve(p, j, rc);
    return rc ? -1 : 0;
}

int alignment_begin(struct alignment *a, struct job *j, const int32_t *ids,
                    int n)
{
    size_t before = (size_t)j->n_tokens;

    if (n > MODEL_MAX_SHOWN) {
        j->end = JOB_BROKEN; /* as job_fail does, with a param */
        return err_set_at(&j->err, ERR_INVALID, "invalid_value", "attention",
                          "the text has %d tokens, attention is shown for at "
                          "most %d",
                          n, MODEL_MAX_SHOWN);
    }
    a->n = n;
    a->n_ids = n > 0 ? j->n_tokens + n - 1 : 0;
    a->ids = mem_array(before + (size_t)n, sizeof *a->ids);
    a->weights = mem_array((size_t)n + 1, (size_t)a->m * sizeof *a->weights);
    a->part = mem_array(heads_of(j) * PART, (size_t)a->m * sizeof *a->part);
    if (!a->ids || !a->weights || !a->part)
        return task_out_of_memory(j);
    memcpy(a->ids, j->tokens, before * sizeof *a->ids);
    if (n > 0)
        memcpy(a->ids + before, ids, (size_t)n * sizeof *a->ids);
    return 0;
}

int alignment_begun(const struct alignment *a)
{
    return a->ids != NULL;
}

int alignment_plan(struct alignment *a, struct job *j, int budget,
                   struct batch_plan *p)
{
    int n = a->n_ids - a->fed, chain = j->model->info.max_chain;

    a->planned = 0;
    if (budget < 1 && p->b.n_item > 0)
        return 0;
    if (!source_is_read(j)) /* once more */
        return task_plan_input(j, budget, p, -1);
    if (alignment_hold(a, j, p))
        return 0;
    n = n > PART ? PART : n;
    n = chain > 0 && n > chain ? chain : n;
    n = n > budget ? budget : n;
    n = n < 1 ? 1 : n;
    struct span in = {.unit = UNIT_TOKENS, .n = n, .p = a->ids + a->fed};
    struct want w = {.kind = OUT_ATTENTION, .n = n, .dst = a->part};
    a->planned = batch_add(p, j, a->seq, PORT_TARGET, &in, &w, 1);
    return a->planned;
}

/* Row i of an item of n: the mean over the heads of the last layer. */
static void mean_row(const struct alignment *a, const struct model_info *info,
                     int n, int i, float *row)
{
    size_t m = (size_t)a->m, rows = (size_t)n;
    const float *w = a->part + (size_t)(info->n_layers - 1) *
                                   (size_t)info->n_heads * rows * m;

    memset(row, 0, m * sizeof *row);
    for (int h = 0; h < info->n_heads; h++)
        for (size_t k = 0; k < m; k++)
            row[k] += w[((size_t)h * rows + (size_t)i) * m + k];
    for (size_t k = 0; k < m; k++)
        row[k] /= (float)info->n_heads;
}

int alignment_take(struct alignment *a, struct job *j, const struct task_ctx *x,
                   const struct batch_item *item)
{
    int n = a->planned, first = j->n_tokens - 1; /* that made a token */

    if (n == 0)
        return TASK_MORE;
    for (int i = 0; i < n; i++) {
        int at = a->fed + i - first;
        if (at < 0)
            continue;
        float *row = a->weights + (size_t)at * (size_t)a->m;
        mean_row(a, &x->model->info, item->in.n, i, row);
        if (!x->k->all_finite(a->m, row))
            return job_fail(j, ERR_INTERNAL, "internal_error",
                            "the model gave a number that is not finite");
    }
    a->fed += n;
    if (a->fed < a->n_ids)
        return TASK_MORE;
    mem_free(a->part); /* the job may live for as long as its list takes */
    a->part = NULL;
    return TASK_DONE;
}

void alignment_lost(struct alignment *a)
{
    a->seq = NULL;
    a->fed = 0;
}
