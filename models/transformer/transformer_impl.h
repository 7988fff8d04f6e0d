/* transformer_impl: what the files of transformer.h share among themselves.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_TRANSFORMER_IMPL_H
#define SEQD_TRANSFORMER_IMPL_H

#include "models/transformer/transformer.h"

/* Floats of scores that a thread holds; long contexts take fewer rows at a
 * time, at least MIN_TILE_ROWS. */
#define TILE_SCORES 65536
#define MIN_TILE_ROWS 4
#define SPARE_ROWS 4 /* rows of logits that go through tf_run.spare */

/* Scratch of one thread. */
struct tf_lane {
    const float **init; /* [max(rows, wanted rows)] */
    float *q, *y;       /* [TF_TILE_ROWS][dp] */
    float *s;           /* n_scores floats */
    size_t n_scores;
    const float **kb, **vb; /* blocks of keys and values */
    int lo[TF_TILE_ROWS], hi[TF_TILE_ROWS];
};

/* Rows r0 .. r0+n-1 of a slot, counted from its first, for one kv head. */
struct tf_unit {
    int slot, r0, n;
};

/* transformer_attn.c */
void tf_attn_map(struct tf_run *t, struct tf_arena *a, int max_items,
                 int max_tokens);
void tf_attn_plan(struct tf_run *t);

#endif
