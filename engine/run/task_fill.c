/* task_fill: the masked word: the most likely tokens at the place of the one
 * mask token. The row of logits is wanted there and not at the end; the rest
 * is what task_next does with it. Such models take whole inputs, so that the
 * item holds the mask.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/run/model.h"
#include "engine/run/task.h"

/* The place of the only mask token, or -1; *n_masks how many there are. */
static int find_mask(const struct job *j, int *n_masks)
{
    int32_t mask = tokenizer_mask(j->model->tokenizer);
    int at = -1;

    *n_masks = 0;
    for (int i = 0; i < j->n_tokens; i++) {
        if (j->tokens[i] == mask) {
            at = i;
            ++*n_masks;
        }
    }
    return *n_masks == 1 ? at : -1;
}

static int fill_init(struct job *j, const struct job_spec *spec, struct err *e)
{
    int32_t mask = tokenizer_mask(j->model->tokenizer);
    int n = 0;

    if (mask < 0) {
        return err_set_at(e, ERR_UNSUPPORTED, "task_not_supported", "model",
                          "model '%s' has no mask token", j->model->name);
    }
    if (find_mask(j, &n) < 0) {
        return err_set_at(e, ERR_INVALID, "invalid_value", NULL,
                          "the text holds %s %d times, expected once",
                          tokenizer_text(j->model->tokenizer, mask), n);
    }
    return task_next_init(j, spec, e);
}

static int fill_plan(struct job *j, int budget, struct batch_plan *p)
{
    int n_masks, at = find_mask(j, &n_masks);
    int n = task_plan_prompt(j, budget, p, WANT_LOGITS);

    if (n > 0)
        p->b.item[p->b.n_item - 1].w[0].from = at - j->pos;
    return n;
}

const struct task_ops task_fill = {.task = TASK_FILL,
                                   .init = fill_init,
                                   .fini = task_next_fini,
                                   .plan = fill_plan,
                                   .take = task_next_take};
