/* task_embed: one vector for a text. Pooling and length are the checkpoint's
 * business (WANT_POOLED): the row is the answer.
 *
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "engine/base/mem.h"
#include "engine/run/model.h"
#include "engine/run/task.h"

static int embed_init(struct job *j, const struct job_spec *spec, struct err *e)
{
    (void)spec;
    j->task = mem_zarray((size_t)j->model->info.width, sizeof(float));
    return j->task ? 0 : err_nomem(e);
}

static void embed_fini(struct job *j)
{
    mem_free(j->task);
}

static int embed_plan(struct job *j, int budget, struct batch_plan *p)
{
    return task_plan_prompt(j, budget, p, WANT_POOLED);
}

static int embed_take(struct job *j, const struct task_ctx *x,
                      struct batch_item *first, int n)
{
    int width = x->model->info.width;

    if (first[n - 1].n_w == 0)
        return TASK_MORE;
    const float *row = task_row(j, x, &first[n - 1], width);
    if (!row)
        return -1;
    memcpy(j->task, row, (size_t)width * sizeof(float));
    j->res.embedding = j->task;
    j->res.n_embedding = width;
    return TASK_DONE;
}

const struct task_ops task_embed = {.task = TASK_EMBED,
                                    .init = embed_init,
                                    .fini = embed_fini,
                                    .plan = embed_plan,
                                    .take = embed_take};
