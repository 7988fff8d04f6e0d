/* rows: which rows of a sparse gradient one worker has touched. The gradient
 * itself is a full tensor; only the touched rows are ever not zero, so adding
 * up, updating and clearing cost what was touched and not what there is.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_ROWS_H
#define SEQD_ROWS_H

#include <stdint.h>

#include "engine/base/err.h"

struct rows {
    uint8_t *mark; /* [rows] 1: in the list */
    int32_t *list;
    int n;
};

int rows_init(struct rows *r, int n_rows, struct err *e);
void rows_fini(struct rows *r);

static inline void rows_touch(struct rows *r, int32_t i)
{
    if (!r->mark[i]) {
        r->mark[i] = 1;
        r->list[r->n++] = i;
    }
}

#endif
