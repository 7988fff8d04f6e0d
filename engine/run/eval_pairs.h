/* eval_pairs: the score of a checkpoint that makes texts from texts: each
 * source is translated by beam search, through the engine that serves it, and
 * held against its references. One line of JSON for `seqd eval` and for
 * `seqd-train eval` alike: that of mt_score.h, and behind it
 *
 *   "all_references"    {"bleu", "signature", "chrf2", "chrf_signature"}, where
 *                       some source has several targets
 *   "exact"             share of the translations that are a reference
 *   "token_error_rate"  edits to the nearest reference / its tokens, which
 *                       stand between white space: word or phoneme errors
 *   "errors_by_source_length"  both, by words of the source
 *   "target_tokens"     that the model made, ends included
 *   "unfinished"        translations that the limit ended
 *   "truncated"         sources that were cut to what the model takes
 *   "seconds", "tokens_per_second"  of the translations alone
 *   "languages"         {"fr": {...}, ...}: "sentences", "bleu", "chrf2",
 *                       "all_references", "exact" and "token_error_rate" of
 *                       each
 *
 * A source that is there several times for a language is translated once. The
 * BLEU and chrF of mt_score.h's line hold it against the first of its targets,
 * all else against all of them.
 *
 * Runs on the caller's thread, which waits.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_EVAL_PAIRS_H
#define SEQD_EVAL_PAIRS_H

#include "engine/run/eval.h"

#define EVAL_BEAMS 4
#define EVAL_TARGET 256

struct eval_pair_files {
    const char *const *source; /* [n] tables, or with target [n] sources */
    const char *const *target; /* [n], or NULL */
    int n;
    int language;          /* tables begin with a column of languages */
    const char *languages; /* or NULL: of the files (pair_lines.h) */
};

struct eval_pair_options {
    /* 0, 0 and NAN: as the checkpoint says (target_rules.h), else as below. */
    int beams;             /* EVAL_BEAMS */
    int max_target;        /* tokens of a translation: EVAL_TARGET */
    double length_penalty; /* of beam.h: 1 */
    const char *output;    /* file for the translations, one a line in the
                              order of their sources, or NULL. Line feeds and
                              other controls in them become spaces there, and
                              for the scores, too */
    eval_progress *progress;
    void *ctx;
};

/* eval_pairs: task_translate is what m can do. pair_lines.h's errors, those of
 * reading and writing files, of engine_submit and of a job; ERR_FORMAT: no
 * pairs, a language that the model lacks, none where it wants one. */
int eval_pairs(struct engine *g, struct model *m,
               const struct eval_pair_files *f,
               const struct eval_pair_options *o, struct buf *out,
               struct err *e);

#endif
