/* classify: one label for a text. The wanted row is the raw score of each
 * label; the answer is its softmax, or what else the checkpoint states.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/run/task/classify.h"

#include <string.h>

#include "engine/base/mem.h"
#include "engine/run/model.h"
#include "engine/run/task/task_impl.h"

struct classify {
    struct classify_result res;
    int last; /* token whose row has the scores */
    float scores[];
};

static int classify_init(struct job *j, const void *params, struct err *e)
{
    const struct classify_params *p = params;
    size_t n = (size_t)j->model->info.cols[OUT_CLASS];

    struct classify *c =
        mem_zalloc(sizeof(struct classify) + n * sizeof(float));
    int pad = j->model->info.class_padding - 1;

    j->own = c;
    if (!c)
        return err_nomem(e);
    c->last = j->n_tokens - 1;
    while (c->last > 0 && pad >= 0 && j->tokens[c->last] == pad)
        c->last--;
    /* A known prefix may reach past that token, whose row is wanted. */
    j->unshared |= c->last != j->n_tokens - 1;
    return p && p->attention ? task_show_attention(j, e) : 0;
}

static void classify_fini(struct job *j)
{
    mem_free(j->own);
}

static int classify_plan(struct job *j, int budget, struct batch_plan *p)
{
    const struct classify *c = j->own;
    int port;
    struct span in = task_span(j, budget, p, &port);
    struct want w = {.kind = OUT_CLASS, .from = in.n - 1, .n = 1};
    int wants = port == PORT_TARGET && j->pos[port] + in.n > c->last;

    return in.n > 0 ? batch_add(p, j, j->seq, port, &in, &w, wants) : 0;
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
    struct classify *c = j->own;
    int n_labels = x->model->info.cols[OUT_CLASS], best = 0;

    if (first[n - 1].n_w == 0)
        return TASK_MORE;
    float *row = task_row(j, x, &first[n - 1], 0, n_labels);
    if (!row)
        return -1;
    to_scores(x, row, n_labels, c->scores);
    for (int i = 1; i < n_labels; i++)
        best = c->scores[i] > c->scores[best] ? i : best;
    c->res = (struct classify_result){c->scores, n_labels, best};
    j->answer = &c->res;
    return TASK_DONE;
}

const struct task task_classify = {.name = "classify",
                                   .output = OUT_CLASS,
                                   .init = classify_init,
                                   .fini = classify_fini,
                                   .plan = classify_plan,
                                   .take = classify_take};
