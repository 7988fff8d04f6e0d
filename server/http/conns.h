/* conns: the open connections of one event loop, so that one that sends half a
 * header and then a byte now and then is closed like one that sends nothing:
 * the library's own timeout begins anew with every byte. Loop thread only.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_CONNS_H
#define SEQD_CONNS_H

#include <stdint.h>

struct conn {
    struct conn *prev, *next;
    int fd;
    int busy;         /* a request is being read, worked on or answered */
    int64_t since_us; /* when it was last not busy, or opened */
};

struct conns {
    struct conn *first;
};

/* conns_open: NULL when out of memory: that connection is not watched. */
struct conn *conns_open(struct conns *l, int fd, int64_t now);
void conns_close(struct conns *l, struct conn *c);     /* NULL is fine */
void conn_busy(struct conn *c, int busy, int64_t now); /* NULL is fine */
/* conns_expire: shut down those that had no whole header for max_us. */
void conns_expire(struct conns *l, int64_t now, int64_t max_us);

#endif
