/* edit_distance: how many tokens have to be changed, put in or taken out to
 * make one text of another (Levenshtein 1966), for error rates of words and
 * phonemes: edits / tokens of the reference. Tokens stand between white space.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_EDIT_DISTANCE_H
#define SEQD_EDIT_DISTANCE_H

#include <stdint.h>

#include "engine/base/err.h"
#include "engine/text/mt_score.h"

/* edit_distance: *edits from hyp to ref and *tokens of ref; valid UTF-8.
 * Takes tokens x tokens of time. ERR_NOMEM, ERR_TOO_LARGE. */
int edit_distance(struct mt_text hyp, struct mt_text ref, int64_t *edits,
                  int64_t *tokens, struct err *e);

#endif
