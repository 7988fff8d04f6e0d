/* task: see task.h. What the tasks share.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/run/task.h"

static const struct task_ops *const tasks[] = {
    &task_next, &task_classify, &task_generate, &task_embed, &task_fill};

const struct task_ops *task_find(unsigned task)
{
    for (size_t i = 0; i < sizeof(tasks) / sizeof(tasks[0]); i++)
        if (tasks[i]->task == task)
            return tasks[i];
    return NULL;
}

int task_plan_prompt(struct job *j, int budget, struct batch_plan *p, int want)
{
    if (!p->whole && !j->uncut)
        batch_share(p, j);
    int rest = j->n_all - j->pos, n = rest;
    if (p->whole || j->uncut) {
        if (n > budget && p->b.n_item > 0)
            return 0; /* it runs alone, when its turn comes */
    } else {
        n = p->max_chain > 0 && n > p->max_chain ? p->max_chain : n;
        n = n > budget ? budget : n;
    }
    return batch_add(p, j, j->tokens + j->pos, n, n == rest ? want : -1);
}

float *task_row(struct job *j, const struct task_ctx *x,
                const struct batch_item *item, int n)
{
    float *row = item->w[0].dst;
    if (!x->k->all_finite(n, row)) {
        job_fail(j, ERR_INTERNAL, "internal_error",
                 "the model gave a number that is not finite");
        return NULL;
    }
    return row;
}
