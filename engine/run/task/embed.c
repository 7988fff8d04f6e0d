/* embed: one vector for a text. Pooling and length are the checkpoint's
 * business (OUT_POOLED): the row is the answer.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/run/task/embed.h"

#include <string.h>

#include "engine/base/mem.h"
#include "engine/run/model.h"
#include "engine/run/task/task_impl.h"

struct embed {
    struct embed_result res;
    float v[];
};

static int embed_init(struct job *j, const void *params, struct err *e)
{
    size_t n = (size_t)j->model->info.cols[OUT_POOLED];

    (void)params;
    j->own = mem_zalloc(sizeof(struct embed) + n * sizeof(float));
    return j->own ? 0 : err_nomem(e);
}

static void embed_fini(struct job *j)
{
    mem_free(j->own);
}

static int embed_plan(struct job *j, int budget, struct batch_plan *p)
{
    return task_plan_input(j, budget, p, OUT_POOLED);
}

static int embed_take(struct job *j, const struct task_ctx *x,
                      struct batch_item *first, int n)
{
    struct embed *m = j->own;
    int width = x->model->info.cols[OUT_POOLED];

    if (first[n - 1].n_w == 0)
        return TASK_MORE;
    const float *row = task_row(j, x, &first[n - 1], 0, width);
    if (!row)
        return -1;
    memcpy(m->v, row, (size_t)width * sizeof(float));
    m->res = (struct embed_result){m->v, width};
    j->answer = &m->res;
    return TASK_DONE;
}

const struct task task_embed = {.name = "embed",
                                .output = OUT_POOLED,
                                .init = embed_init,
                                .fini = embed_fini,
                                .plan = embed_plan,
                                .take = embed_take};
