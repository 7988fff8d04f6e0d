/* constrained: see constrained.h.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/run/task/constrained.h"

#include "engine/run/model.h"

static int cannot_serve(const struct model *m, const struct constraint *c,
                        struct err *e)
{
    return err_set_at(e, ERR_UNSUPPORTED, "task_not_supported", "constraint",
                      "model '%s' does not write by characters, which the "
                      "constraint '%s' needs",
                      m->name, c->name);
}

int constrained_begin(struct constrained *s, const struct job *j,
                      const struct constraint *c, int must, struct err *e)
{
    const struct model *m = j->model;
    int i = 0;

    s->c = c;
    if (!c)
        return 0;
    if (!m->token_mask)
        return cannot_serve(m, c, e);
    c->begin(s->state);
    while (i < j->n_tokens &&
           token_mask_next(m->tokenizer, c, s->state, j->tokens[i], 1) == 0)
        i++;
    if (i == j->n_tokens && token_mask_apply(m->token_mask, c, s->state, m->end,
                                             m->n_end, NULL) > 0)
        return 0;
    s->c = NULL;
    if (!must)
        return 0;
    return err_set_at(e, ERR_INVALID, "invalid_value", NULL,
                      "the text does not begin %s that can be gone on with "
                      "(token %d of %d)",
                      c->what, i < j->n_tokens ? i + 1 : i, j->n_tokens);
}

int constrained_mask(const struct constrained *s, const struct model *m,
                     float *row)
{
    return !s->c || token_mask_apply(m->token_mask, s->c, s->state, m->end,
                                     m->n_end, row) > 0;
}

void constrained_see(struct constrained *s, const struct model *m, int32_t id)
{
    if (s->c && token_mask_next(m->tokenizer, s->c, s->state, id, 0))
        s->c = NULL;
}
