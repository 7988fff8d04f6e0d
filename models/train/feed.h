/* feed: one worker's batch, in two steps: an objective lists the texts of its
 * share (objective.h), and the family packs them in one of two ways. Nothing is
 * padded:
 *
 *   by time  row r of time t is row steps.off[t] + r; at time t the first
 *            steps.n[t] texts are still going on (rnn_grad.h)
 *   by text  text r has rows start[r] .. start[r + 1]
 *
 * A net that reads something else than ids adds it to struct pass_batch, with
 * an objective that lists it and a way to pack it.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_FEED_H
#define SEQD_FEED_H

#include <stdint.h>

#include "engine/base/rng.h"
#include "models/rnn/rnn_grad.h"
#include "models/train/region.h"

struct pass_batch {
    int B, N;           /* texts, rows */
    struct steps steps; /* by time */
    int *start;         /* by text: [B + 1] */
    int *length;        /* [B] */
    int32_t *ids;       /* [N] */
    int32_t *target;    /* [n_target] what is predicted: of each row, of each
                            row in pick, or of each text */
    int n_target;
    const int *pick; /* NULL, or [n_target] rows, rising */
};

/* A text to pack: a row for each token. */
struct text {
    const int32_t *ids, *next; /* [n]; next: targets, or NULL: the label is */
    int n;
    int32_t label;
};

struct feed {
    struct text *text; /* [n_text] by falling length, none of them empty */
    int n_text;
    struct pass_batch batch;
    int *pick; /* [max_N] for objectives that choose rows */
    struct region mem;
};

int feed_init(struct feed *f, int max_T, int max_N, int max_B, struct err *e);
void feed_fini(struct feed *f);
/* feed_example: EXAMPLE_TEXTS made-up texts of falling length, whose targets
 * are entries, or with labels > 0 labels; from memory of the feed. */
#define EXAMPLE_TEXTS 3
#define EXAMPLE_LENGTH 5 /* of the first */
void feed_example(struct feed *f, struct rng *r, int V, int labels);

void feed_pack_by_time(struct feed *f);
void feed_pack_by_text(struct feed *f);

#endif
