/* objective: what a net learns from a corpus, and so how the corpus is cut into
 * batches. Language models read one stream (objective_lm.c), texts of their own
 * (objective_records.c), or such whose last tokens alone count
 * (objective_last.c), classifiers labelled texts (objective_class.c),
 * regressions sequences of vectors (objective_value.c), encoder-decoders pairs
 * of texts (objective_seq2seq.c). A net of any family can have any of them that
 * it knows a head for (trainable.h).
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_OBJECTIVE_H
#define SEQD_OBJECTIVE_H

#include "models/train/data.h"
#include "models/train/feed.h"
#include "models/train/net.h"

struct trainer;

/* The batches over a corpus: an epoch's or a validation's, one at a time. */
struct course {
    const struct corpus *corpus;
    int32_t *order; /* [n_order] records */
    int n_order;
    int64_t steps;

    /* streams: all of it, and where the lanes' chunks begin */
    int32_t *stream;
    int64_t n_stream, position;
    int lanes, T;
    /* texts: where in order each batch begins; the batch. Streams: NULL, or
     * [steps + 1] where in a lane each chunk begins */
    int *first; /* [steps] */
    int *turn;  /* pairs: [steps] which batch comes when; first [steps + 1] */
    /* records apart: where in the stream a text begins, its predictions */
    int64_t *text_at; /* [n_texts] */
    int *text_n;
    int n_texts;
    const int32_t *items;
    int n_items;
};
void course_fini(struct course *c);

struct objective {
    const char *name;
    int labelled; /* records are labelled texts, and accuracy counts */
    int pairs;    /* records are pairs of texts */
    int masked;   /* a share of o.mask_rate is predicted, of masked tokens */
    int fresh;    /* each text begins with an empty state */
    int alone;    /* records are texts of their own, not one stream */
    int vectors;  /* records are sequences of vectors, with values: there is no
                     vocabulary, and the loss is the mean squared error */

    /* check: what of vocabulary and options does not do. May be NULL. */
    int (*check)(const struct trainer *t, struct err *e);
    /* most: what a worker's share of a batch can be. */
    struct feed_size (*most)(const struct trainer *t);
    /* begin: the batches over c->order, in a random order, or for r NULL in
     * the order of the corpus. Sets steps. */
    int (*begin)(struct course *c, const struct trainer *t, struct rng *r,
                 struct err *e);
    /* aim: at batch i; its targets when they are not chosen. */
    int64_t (*aim)(struct course *c, const struct trainer *t, int64_t i);
    /* fill: list the texts that are worker tid's share of the batch. */
    void (*fill)(const struct course *c, const struct trainer *t, int tid,
                 struct feed *f);
    /* choose: which of the packed rows are predicted. NULL: all of them. */
    void (*choose)(const struct trainer *t, struct feed *f, uint64_t key);
    /* example: a small made-up batch, packed for net n, to check gradients on.
     */
    void (*example)(const struct net *n, struct rng *r, struct feed *f);
};

extern const struct objective language_model, record_model, masked_model,
    last_tokens, classifier, regression, seq2seq;

/* objective_share: most for batches of o.batch texts of at most T tokens. */
struct feed_size objective_share(const struct trainer *t, int T);
/* objective_sort: items [n] of a corpus by falling length and then by number;
 * pairs: by that of the target and then of the source. ERR_NOMEM. */
int objective_sort(const struct corpus *c, int32_t *items, int n,
                   struct err *e);

#endif
