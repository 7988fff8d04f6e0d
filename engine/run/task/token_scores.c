/* token_scores: see token_scores.h.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/run/task/token_scores.h"

#include <math.h>
#include <string.h>

#include "engine/base/mem.h"

#define FIRST_TOKENS 64

static float logprob(float logit, float max, double base)
{
    return (float)((double)logit - (double)max - base);
}

static void no_others(struct token_scores *s, int from)
{
    for (int i = from; i < s->n_top; i++)
        s->next[1 + i] = (struct token_score){-1, NAN};
}

void token_scores_row(struct token_scores *s, const struct kernels *k,
                      const float *row, int V, float max, double base,
                      struct sampler_scratch *x)
{
    int n = s->n_top > 0 ? sampler_top(k, row, V, s->n_top, x->v) : 0;
    for (int i = 0; i < n; i++)
        s->next[1 + i] =
            (struct token_score){x->v[i].id, logprob(x->v[i].x, max, base)};
    no_others(s, n);
}

void token_scores_pick(struct token_scores *s, int32_t id, float logit,
                       float max, double base)
{
    s->next[0] = (struct token_score){id, logprob(logit, max, base)};
}

void token_scores_forced(struct token_scores *s, int32_t id)
{
    s->next[0] = (struct token_score){id, NAN};
    no_others(s, 0);
}

int token_scores_keep(struct token_scores *s)
{
    size_t each = 1 + (size_t)s->n_top;
    if (!s->on)
        return 0;
    if (s->n == s->cap) {
        int cap = s->cap ? 2 * s->cap : FIRST_TOKENS;
        struct token_score *v = mem_grow(s->v, (size_t)cap * each, sizeof *v);
        if (!v)
            return -1;
        s->v = v;
        s->cap = cap;
    }
    memcpy(s->v + (size_t)s->n++ * each, s->next, each * sizeof *s->v);
    return 0;
}

void token_scores_fini(struct token_scores *s)
{
    mem_free(s->v);
    s->v = NULL;
}
