/* table: the labelled texts of a CSV or TSV file with a header (records.h).
 * What stands between fields is told by the header: of tab, comma and semicolon
 * (CSV of Excel where a comma is in numbers) the first that gives both names.
 * Fields are copied: quotes are taken off. In TSV a quote that does not close
 * where the field ends, or only behind a tab and a line feed, is text, as files
 * of sentences have it; in CSV (RFC 4180) it is an error.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_TABLE_H
#define SEQD_TABLE_H

#include <stdint.h>

#include "engine/base/buf.h"
#include "engine/base/err.h"

struct table {
    const char *name, *p, *end;
    char sep;
    int n_cols, text_col, label_col;
    int64_t line, next_line; /* of the row; after it */
    struct buf text, label, other;
};

/* table_open: 1 when the first line names a column of texts and one of labels;
 * 0 when it is no header; -1: ERR_NOMEM. table_close in any case. */
int table_open(struct table *t, const char *name, const char *p, size_t n,
               struct err *e);
void table_close(struct table *t);
/* table_row: the next row's text and label; 1, 0 at the end. -1: ERR_FORMAT
 * (file and line, what is wrong), ERR_NOMEM. */
int table_row(struct table *t, struct err *e);

#endif
