/* beam_search: which of many continuations are kept, as the _beam_search of
 * transformers 4.57 defines it (ids and scores equal): rows of logits go in,
 * the beams of the next step and in the end the hypotheses come out. No
 * sequences and no text here: that is task/beam.c's business.
 *
 *   score of a beam        = sum of log softmax(logits)[id]
 *   score of a hypothesis  = that sum / n^length_penalty, n tokens with the end
 *
 * Each step takes the best continuations of all beams. Those among the first
 * `beams` that end (at an end token, or where max_new is reached) become
 * hypotheses, of which the best `beams` stay; the best `beams` that do not end
 * go on. The search is over when there are `beams` hypotheses and
 *
 *   BEAM_STOP_ESTIMATE  the best beam, at its present length, is no better than
 *                       the worst of them (early_stopping=False)
 *   BEAM_STOP_FULL      or at once (early_stopping=True)
 *   BEAM_STOP_NEVER     the best beam could not become better, at max_new
 *                       tokens where length_penalty > 0 ("never")
 *
 * With one beam it is greedy: the first end is the end.
 *
 * What may not come is taken out after the softmax, or, as renormalize_logits
 * asks for it, before.
 *
 * Bits: maximum and sum of a row are kernels, one row at a time; the logarithm
 * is our own series. Equal scores go to the lower beam, then the lower id.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_BEAM_SEARCH_H
#define SEQD_BEAM_SEARCH_H

#include "engine/base/err.h"
#include "engine/compute/kernels.h"
#include "engine/run/arch.h"
#include "engine/run/row_bans.h"
#include "engine/run/sampler.h"

struct beam_rules {
    int beams;             /* 1..MOST_BEAMS */
    int max_new;           /* tokens, the end included; > 0 */
    double length_penalty; /* > 0 favours long ones */
    enum beam_stop stop;
    int n_vocab;
    const int32_t *forbid; /* [n_forbid] never taken; borrowed */
    int n_forbid;
    const int32_t *end; /* [n_end] end tokens; borrowed */
    int n_end;
    int forced_first, forced_last; /* -1: none; model_info */
    /* target_rules; behind prefix [n_prefix], which is borrowed */
    int min_new, no_repeat, renormalize;
    const int32_t *prefix;
    int n_prefix;
};

struct beam_ids {
    int32_t *v;
    int cap;
};

struct beam {
    float score;
    int from;            /* the beam of the step before that it goes on from */
    struct beam_ids ids; /* [n_made] */
    struct candidate *best; /* [n_best] what its row offers, best first */
    int n_best, read;       /* its row has come */
};

struct hypothesis {
    float score;
    struct beam_ids ids;
    int n;     /* without an end token */
    int ended; /* at an end token that was not forced */
};

struct beam_search {
    struct beam_rules r;
    struct beam beam[MOST_BEAMS], spare[MOST_BEAMS];
    int n_beams; /* live ones, best first */
    int n_made;  /* tokens of each */
    struct hypothesis done[MOST_BEAMS];
    int n_done; /* best first */
    struct candidate *room;
};

/* log_natural: of a positive normal number, within an ulp or two, with the same
 * bits on every machine. */
double log_natural(double x);
/* log_softmax_base: what is taken from a logit to get its log-probability is
 * *max and then the returned logarithm of the sum. */
double log_softmax_base(const struct kernels *k, int n, const float *row,
                        float *max);

/* score_per_length: sum / n^length_penalty, as torch divides floats, but
 * finite: 8192^10 is no float, and a score is a number on the wire. */
float score_per_length(double sum, int n, double length_penalty);

/* beam_search_init: one live beam without tokens. The rules are valid:
 * ERR_NOMEM alone. */
int beam_search_init(struct beam_search *s, const struct beam_rules *r,
                     struct err *e);
void beam_search_fini(struct beam_search *s);
/* beam_search_row: the logits [n_vocab] that follow live beam i; overwritten,
 * finite. */
void beam_search_row(struct beam_search *s, int i, const struct kernels *k,
                     float *row);
/* beam_search_next: when all live beams have their rows: the beams of the next
 * step, whose `from` says where they come from. 1 when the search is over, 0
 * when it goes on, -1 without memory. */
int beam_search_next(struct beam_search *s);
/* beam_search_agreed: the first tokens of *ids that all live beams and the best
 * hypothesis share: no later step takes them back. */
int beam_search_agreed(const struct beam_search *s, const int32_t **ids);

#endif
