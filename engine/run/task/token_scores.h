/* token_scores: how likely the tokens of a continuation were, and which others
 * were likelier or nearly so, under the model's own softmax: before penalties,
 * biases, temperature and what else narrows the choice.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_TOKEN_SCORES_H
#define SEQD_TOKEN_SCORES_H

#include "engine/run/sampler.h"

#define MOST_TOP_TOKENS 20

struct token_score {
    int32_t id;
    float logprob; /* NaN: the token was not chosen (forced by the model) */
};

struct token_scores {
    int on, n_top;         /* n_top others of each token */
    struct token_score *v; /* [n * (1 + n_top)], the token itself first; where
                               fewer have a chance the others are -1 */
    int n, cap;
    struct token_score next[1 + MOST_TOP_TOKENS]; /* of the last row */
};

/* token_scores_row: a row of logits [V] before anything is done to it, with its
 * maximum and the logarithm of its sum (log_softmax_base); the scratch has room
 * for n_top. */
void token_scores_row(struct token_scores *s, const struct kernels *k,
                      const float *row, int V, float max, double base,
                      struct sampler_scratch *x);
/* token_scores_pick: the token that was chosen of that row, of which this is
 * the logit; forced: of no row. */
void token_scores_pick(struct token_scores *s, int32_t id, float logit,
                       float max, double base);
void token_scores_forced(struct token_scores *s, int32_t id);
/* token_scores_keep: it is part of the text. -1: no memory. */
int token_scores_keep(struct token_scores *s);
void token_scores_fini(struct token_scores *s);

#endif
