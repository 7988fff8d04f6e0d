/* fill: the masked word: the most likely tokens at the place of the one
 * mask token. The row of logits is wanted there and not at the end; the rest
 * is what next.c does with it. Such models take whole inputs, so that the
 * item holds the mask.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/run/task/fill.h"

#include "engine/run/model.h"
#include "engine/run/task/next_impl.h"

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

static int fill_init(struct job *j, const void *params, struct err *e)
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
    return next_init(j, params, e);
}

static int fill_plan(struct job *j, int budget, struct batch_plan *p)
{
    int n_masks, port;
    struct span in = task_span(j, budget, p, &port);
    struct want w = {.kind = OUT_LOGITS, .n = 1};

    w.from = find_mask(j, &n_masks) - j->pos[port];
    return in.n > 0 ? batch_add(p, j, j->seq, port, &in, &w, 1) : 0;
}

const struct task task_fill = {.name = "fill",
                               .output = OUT_LOGITS,
                               .needs = TASK_TOKENS | TASK_WHOLE,
                               .init = fill_init,
                               .fini = next_fini,
                               .plan = fill_plan,
                               .take = next_take};
