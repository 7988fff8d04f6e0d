/* task_classify: one label for a text. The wanted row is the raw score of each
 * label; the answer is its softmax, or what else the checkpoint states.
 *
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "engine/base/mem.h"
#include "engine/run/model.h"
#include "engine/run/task.h"

static int classify_init(struct job *j, const struct job_spec *spec,
                         struct err *e)
{
    size_t n = (size_t)j->model->info.n_labels;
    (void)spec;
    j->task = mem_zarray(n, sizeof(float)); /* the scores */
    return j->task ? 0 : err_nomem(e);
}

static void classify_fini(struct job *j)
{
    mem_free(j->task);
}

static int classify_plan(struct job *j, int budget, struct batch_plan *p)
{
    return task_plan_prompt(j, budget, p, WANT_CLASS);
}

static void to_scores(const struct task_ctx *x, const float *row, int n,
                      float *scores)
{
    float max;

    switch (x->model->info.scores) {
    case SCORE_SIGMOID:
        x->k->vsigmoid(n, row, scores);
        break;
    case SCORE_RAW:
        memcpy(scores, row, (size_t)n * sizeof(float));
        break;
    default:
        max = x->k->row_max(n, row);
        x->k->softmax(n, row, max, x->k->sum_exp(n, row, max), scores);
    }
}

static int classify_take(struct job *j, const struct task_ctx *x,
                         struct batch_item *first, int n)
{
    int n_labels = x->model->info.n_labels, best = 0;
    float *scores = j->task;

    if (first[n - 1].n_w == 0)
        return TASK_MORE;
    float *row = task_row(j, x, &first[n - 1], n_labels);
    if (!row)
        return -1;
    to_scores(x, row, n_labels, scores);
    for (int i = 1; i < n_labels; i++)
        best = scores[i] > scores[best] ? i : best;
    j->res.scores = scores;
    j->res.n_scores = n_labels;
    j->res.best = best;
    return TASK_DONE;
}

const struct task_ops task_classify = {.task = TASK_CLASSIFY,
                                       .init = classify_init,
                                       .fini = classify_fini,
                                       .plan = classify_plan,
                                       .take = classify_take};
