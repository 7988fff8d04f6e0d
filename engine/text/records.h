/* records: the texts of a file, one by one, for those who train and those who
 * score alike: what is a record is said here alone.
 *
 *   RECORD_LINE       a line
 *   RECORD_PARAGRAPH  lines up to a blank one, joined by a space; white space
 *                     at their ends goes. For text that was wrapped
 *   RECORD_BLANK      lines up to a blank one as they are, line feeds too
 *   RECORD_WHOLE      the file
 *   RECORD_AUTO       paragraphs where records_wrapped, else lines
 *
 * Labelled texts are lines of a label, a tab (or a space, unless each line has
 * a tab), and a text; or a table with a header: CSV (RFC 4180: quotes, "" in
 * them, line feeds in them; commas or semicolons) or TSV, whose columns are
 * found by name: text, sentence, review or content; label, sentiment, class or
 * target.
 *
 * A byte order mark at the start of a file is no text, nor is a carriage return
 * at the end of a line (but of RECORD_WHOLE).
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_RECORDS_H
#define SEQD_RECORDS_H

#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"

enum record_kind {
    RECORD_AUTO,
    RECORD_LINE,
    RECORD_PARAGRAPH,
    RECORD_BLANK,
    RECORD_WHOLE
};
#define RECORD_KINDS "auto|line|paragraph|blank|whole"

struct record {
    int64_t line; /* where it begins */
    const char *label, *text;
    size_t n_label, n; /* bytes; n_label 0: not labelled */
};

/* record_fn: 0, or -1 with an error, to which file and line are added. */
typedef int record_fn(void *arg, const struct record *r, struct err *e);

/* records_wrapped: 1 for text whose lines were broken at a width: paragraphs
 * with blank lines between them, lines of like length of which most have no
 * room for the next one's first word. */
int records_wrapped(const char *text, size_t n);
/* records_kind: what RECORD_AUTO is for this text; another kind is itself. */
enum record_kind records_kind(enum record_kind kind, const char *text,
                              size_t n);
/* records_kind_name: a word of RECORD_KINDS. */
const char *records_kind_name(enum record_kind kind);
/* records_kind_find: -1: none of them. */
int records_kind_find(const char *name);

/* records_each: fn for each of a text; label is for messages. kind is ignored
 * for labelled ones. Empty records are left out. ERR_FORMAT (not UTF-8; a table
 * that is broken; a label without a text), ERR_NOMEM, fn's errors. */
int records_each(const char *label, const char *text, size_t n,
                 enum record_kind kind, int labelled, record_fn *fn, void *arg,
                 struct err *e);

/* records_number: the number that a label of digits is, to 9999; -1: none. */
int records_number(const char *s, size_t n);
/* records_label: the place of s [n] among names, or the number that it is where
 * no name is the number of another place; -1. */
int records_label(const char *const *names, int n_names, const char *s,
                  size_t n);
/* records_no_label: ERR_FORMAT: what was found, and which are expected. */
int records_no_label(const char *const *names, int n_names,
                     const struct record *r, struct err *e);

#endif
