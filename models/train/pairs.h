/* pairs: what encoder-decoders learn from: sources and their targets, line by
 * line (engine/text/pair_lines.h).
 *
 * Where an end is empty the line is passed over and counted. What is held out
 * is chosen by a hash of the source, of which the case of ASCII letters and
 * all other ASCII but digits count for nothing: no source is on both sides,
 * however often and in however many languages it is there, nor is one beside
 * its near twin ("Go!", "go.").
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_PAIRS_H
#define SEQD_PAIRS_H

#include "engine/text/pair_lines.h"
#include "models/train/data.h"

/* Files are "A,B:0.3", as those of corpus_read; the shares of two lists are
 * those of the first. */
struct pair_files {
    const char *table;           /* or NULL, and */
    const char *source, *target; /* as many files in each */
    int language;                /* tables begin with a column of languages */
    const char *languages;       /* or NULL: of the files (pair_lines.h) */
    double hold_out;             /* share of the sources that is held out */
    int held_out;                /* those are wanted, else the others */
};

/* pairs_each: fn for each pair, with the index of its file; counts into *empty
 * the lines without one. pair_lines.h's errors, ERR_IO, fn's errors, to which
 * file and line are added. */
typedef int pair_file_fn(void *arg, int file, const struct pair *p,
                         struct err *e);
int pairs_each(const struct pair_files *f, double *share, int *n_files,
               int64_t *empty, pair_file_fn *fn, void *arg, struct err *e);

/* The entry that begins all targets. */
#define PAIRS_START "<pad>"

/* pairs_controls: the entries that a vocabulary for these files has beside the
 * words: the start, and for each language >>NAME<<, by names. They stand for
 * nothing that a text could hold. */
int pairs_controls(const struct pair_files *f, struct labels *l, struct err *e);

/* pairs_read: the pairs as records of a corpus: [language] source </s>, then
 * start, target, </s>; corpus.n_source says where the second begins. What has a
 * side of more than f->max_len of these is left out and counted. */
int pairs_read(struct corpus *c, const struct data_format *f,
               const struct tokenizer *t, struct err *e);
/* pairs_none: the error of files from which none was read. -1 */
int pairs_none(const struct corpus *c, const struct data_format *f,
               struct err *e);

#endif
