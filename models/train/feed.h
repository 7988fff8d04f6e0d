/* feed: one worker's batch, in two steps: an objective lists the texts of its
 * share (objective.h), and the family packs them in one of two ways. Nothing is
 * padded:
 *
 *   by time  row r of time t is row steps.off[t] + r; at time t the first
 *            steps.n[t] texts are still going on (rnn_grad.h)
 *   by text  text r has rows start[r] .. start[r + 1]
 *
 * Of pairs (pairs.h) the text is what the decoder reads and predicts, and its
 * source is packed beside it, in the same of the two ways:
 *
 *   by time  the sources by falling length of their own: the one in place k is
 *            that of text source.text[k]
 *   by text  in the order of the texts
 *
 * Sequences of vectors (vectors.h) are texts, too, of x in place of ids and of
 * values in place of a label. What is still another thing is added to struct
 * pass_batch, with an objective that lists it and a way to pack it.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_FEED_H
#define SEQD_FEED_H

#include <stdint.h>

#include "engine/base/rng.h"
#include "models/rnn/rnn_grad.h"
#include "models/train/region.h"

/* The sources of a batch; N 0: there are none. */
struct pass_source {
    int N;              /* rows */
    struct steps steps; /* by time */
    int *start;         /* by text: [B + 1] */
    int *length;        /* [B] of the one in place k */
    int *text;          /* [B] whose the one in place k is */
    int32_t *ids;       /* [N] */
};

struct pass_batch {
    int B, N;           /* texts, rows */
    struct steps steps; /* by time */
    int *start;         /* by text: [B + 1] */
    int *length;        /* [B] */
    int32_t *ids;       /* [N] */
    real *x;            /* vectors: [N, inputs] in place of ids */
    real *value;        /* vectors: [B, values] in place of target */
    int inputs, values;
    int32_t *target; /* [n_target] what is predicted: of each row, of each
                            row in pick, or of each text */
    int n_target;
    const float **soft; /* NULL, or [n_target] of texts: shares of the labels */
    const int *pick;    /* NULL, or [n_target] rows, rising */
    struct pass_source source;
};

/* A text to pack: a row for each token. */
struct text {
    const int32_t *ids, *next; /* [n]; next: targets, or NULL: the label is */
    int n;
    int32_t label;
    const float *soft;     /* NULL, or the shares of all labels */
    const int32_t *source; /* [n_source] of a pair, or NULL */
    int n_source;
    const float *x, *values; /* vectors: [n, inputs], [values] */
};

/* Most of a batch; rows of the sources and of the texts apart. */
struct feed_size {
    int T, N, B; /* tokens of a text, rows, texts */
    int pairs;
    int inputs, values; /* vectors: columns of a row; of what is predicted */
};

struct feed {
    struct text *text; /* [n_text] by falling length, none of them empty */
    int n_text;
    struct pass_batch batch;
    int *pick;          /* [N] for objectives that choose rows */
    int *count;         /* [T + 2] scratch, of pairs */
    const float **soft; /* [B] */
    struct region mem;
};

int feed_init(struct feed *f, const struct feed_size *most, struct err *e);
void feed_fini(struct feed *f);
/* feed_example: EXAMPLE_TEXTS made-up texts of falling length, whose targets
 * are entries, or with labels > 0 labels; from memory of the feed. */
#define EXAMPLE_TEXTS 3
#define EXAMPLE_LENGTH 5 /* of the first */
void feed_example(struct feed *f, struct rng *r, int V, int labels);
/* feed_example_pairs: as many with sources, whose lengths rise and fall. */
void feed_example_pairs(struct feed *f, struct rng *r, int V);
/* feed_example_vectors: as many of vectors, with values. */
void feed_example_vectors(struct feed *f, struct rng *r);

void feed_pack_by_time(struct feed *f);
void feed_pack_by_text(struct feed *f);

#endif
