/* rows: which rows of a sparse gradient one worker has touched. The gradient
 * itself is a full tensor; only the touched rows are ever not zero, so adding
 * up, updating and clearing cost what was touched and not what there is.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_ROWS_H
#define SEQD_ROWS_H

#include <stdint.h>

#include "models/train/region.h"

struct rows {
    uint8_t *mark; /* [rows] 1: in the list */
    int32_t *list;
    int n;
};

/* rows_init: failed memory is the region's to tell. */
void rows_init(struct rows *r, struct region *mem, int n_rows);
/* rows_forget: none is touched. */
void rows_forget(struct rows *r);

static inline void rows_touch(struct rows *r, int32_t i)
{
    if (!r->mark[i]) {
        r->mark[i] = 1;
        r->list[r->n++] = i;
    }
}

#endif
