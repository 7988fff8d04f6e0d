/* pair_lines: texts and what they are to become, line by line, for those who
 * train and those who score alike.
 *
 *   a table   source TAB target in each line, further columns are left alone;
 *             with `language` a column with the target's language before them
 *   two texts line k of the one is the target of line k of the other
 *
 * White space at the ends of a column goes; a line without one of the two is
 * passed over.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_PAIR_LINES_H
#define SEQD_PAIR_LINES_H

#include "engine/text/records.h"

#define PAIR_MAX_LANGUAGE 32 /* bytes of a name */

struct pair {
    const char *language, *source, *target; /* of the text, not terminated */
    size_t n_language, n_source, n_target;  /* n_language 0: none */
};

/* A text, and what it is called in messages. */
struct pair_text {
    const char *label, *text;
    size_t n;
};

/* pair_fn: 0, or -1 with an error, to which label and line are added. */
typedef int pair_fn(void *arg, const struct pair *p, struct err *e);

/* pair_lines_table, pair_lines_two: fn for each pair. ERR_FORMAT with label and
 * line (not UTF-8, a line without a tab, a name of a language that is none,
 * texts of different lengths), ERR_NOMEM, fn's errors. */
int pair_lines_table(const struct pair_text *t, int language, pair_fn *fn,
                     void *arg, struct err *e);
int pair_lines_two(const struct pair_text *source,
                   const struct pair_text *target, pair_fn *fn, void *arg,
                   struct err *e);
/* pair_lines_language: of names "fr" or "fr,de" that for file i of a list: the
 * one for all, or each file's own; *n its bytes. NULL, ERR_INVALID: a name that
 * is none, or i is not among them. pair_lines_languages: n files have names.
 */
const char *pair_lines_language(const char *names, int i, size_t *n,
                                struct err *e);
int pair_lines_languages(const char *names, int n, struct err *e);
/* pair_lines_count: the lines of a text, empty ones too. */
int64_t pair_lines_count(const char *p, size_t n);

#endif
