/* rate: how many requests a client may begin. Each has a bucket of `most`
 * requests that fills up within a minute; what finds it empty is told when the
 * next one will be there. Kept as one time a client (the generic cell rate
 * algorithm, ITU-T I.371): a full bucket needs no memory, so that of a fixed
 * table only buckets that are being used are lost when it is full, and those
 * are full then. Any thread.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_RATE_H
#define SEQD_RATE_H

#include <stdint.h>

#include "engine/base/err.h"

struct rate;

/* rate_open: `most` > 0 requests a minute. ERR_NOMEM. */
int rate_open(int64_t most, struct rate **out, struct err *e);
void rate_close(struct rate *r); /* NULL is fine */
/* rate_take: one request of this client at this time of one clock: 0, or the
 * microseconds until it may have one. */
int64_t rate_take(struct rate *r, uint64_t client, int64_t now_us);

#endif
