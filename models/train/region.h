/* region: arrays that live and end together. The first that cannot be had
 * marks the region as failed, and every later one is NULL too, so an opener
 * takes all it needs and asks once.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_REGION_H
#define SEQD_REGION_H

#include <stddef.h>

#include "engine/base/err.h"

struct region {
    void **block; /* [n] */
    int n, cap, failed;
};

/* region_take: n elements of `size` bytes, zeroed and aligned; NULL: failed. */
void *region_take(struct region *r, size_t n, size_t size);
/* region_check: ERR_NOMEM when one of the arrays could not be had. */
int region_check(const struct region *r, struct err *e);
void region_fini(struct region *r);

#endif
