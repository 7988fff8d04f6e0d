/* token_mask: which tokens of a vocabulary may follow by a constraint
 * (engine/text/constraint.h). It holds the tokens' bytes in an order in which
 * those that begin alike stand together: what a machine has read of one token's
 * bytes is not read again for the next, and where a beginning may not follow,
 * none of the tokens that have it may.
 *
 * Immutable after open: any thread.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_TOKEN_MASK_H
#define SEQD_TOKEN_MASK_H

#include <stdint.h>

#include "engine/base/err.h"
#include "engine/text/constraint.h"
#include "engine/text/tokenizer.h"

struct token_mask;

/* token_mask_open: of the tokens 0 .. n_vocab - 1 that stand for bytes. *out
 * NULL, and 0: the texts of this vocabulary are not its tokens' bytes one
 * behind the other (words and sub-words, between which spaces are made), or
 * they are too long. ERR_NOMEM. */
int token_mask_open(const struct tokenizer *t, int n_vocab,
                    struct token_mask **out, struct err *e);
void token_mask_close(struct token_mask *p);

/* token_mask_apply: -inf for each token of row [n_vocab] that may not follow
 * the state, and for end [n_end], which have no bytes, where the text may not
 * end; others without bytes (special ones) are left as they are. Returns how
 * many of those that may follow are over -inf. row NULL: only that. */
int token_mask_apply(const struct token_mask *p, const struct constraint *c,
                     const void *state, const int32_t *end, int n_end,
                     float *row);

/* token_mask_next: the state with one token more. -1: it may not follow; the
 * state is of no use then. A token without bytes changes nothing. */
int token_mask_next(const struct tokenizer *t, const struct constraint *c,
                    void *state, int32_t id, int given);

#endif
