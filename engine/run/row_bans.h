/* row_bans: tokens that may not come next because of those that came before: an
 * end too early, and what would repeat an n-gram (Paulus et al. 2017, section
 * 2.5), as transformers' MinNewTokensLengthLogitsProcessor and
 * NoRepeatNGramLogitsProcessor define it. What is never made whatever came
 * before is the model's `forbid`.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_ROW_BANS_H
#define SEQD_ROW_BANS_H

#include <stdint.h>

struct row_bans {
    int n_vocab;        /* columns of a row; a start may be none of them */
    int min_new;        /* tokens made before an end may come */
    const int32_t *end; /* [n_end] end tokens */
    int n_end;
    int no_repeat;         /* size of the n-grams; 0: any */
    const int32_t *prefix; /* [n_prefix] what stands before that is made; it
                              counts for n-grams */
    int n_prefix;
};

/* row_bans_apply: -inf for what may not follow made [n]. n + n_prefix
 * comparisons a row, and no_repeat more where they begin alike. */
void row_bans_apply(const struct row_bans *b, const int32_t *made, int n,
                    float *row);

#endif
