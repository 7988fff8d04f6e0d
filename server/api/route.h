/* route: the table of all paths. A handler gets a complete request and
 * returns 0 (the answer is in r), 1 (jobs run; `finish` writes the answer when
 * all ended well) or -1 (r->err says why).
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_ROUTE_H
#define SEQD_ROUTE_H

#include "server/http/request.h"

#define ROUTE_OPEN 1u  /* no key asked */
#define ROUTE_READY 2u /* 503 while loading or draining */
#define ROUTE_QUIET 4u /* probes: logged at debug */
#define ROUTE_HEAVY 8u /* large bodies are handled by the worker */
#define ROUTE_SLOW 16u /* reads whole files: always the waiter's */
#define ROUTE_LONG 32u /* the answer is many times as long as the body */

struct route {
    const char *path; /* "/v1/models/{m}": the last segment may be a name */
    enum method method;
    unsigned flags;
    const char *task; /* label of metrics */
    int (*handle)(struct request *r);
    int (*finish)(struct request *r); /* -1: r->err */
    /* size: bytes that finish will write, about, rather too many; asked for
     * before the jobs run, too. NULL: few, or not known before. */
    size_t (*size)(const struct request *r);
    /* last: of routes that stream: what an item has behind its text. */
    void (*last)(struct request *r, const struct item *it, const struct job *j,
                 struct buf *out);
    const char *example; /* POST: a body, for those who sent none like it */
};

/* route_at: i-th row, NULL past the end. */
const struct route *route_at(int i);

enum method route_method(const char *name); /* NULL: of a head without one */
/* route_begin: the head is complete: find the route, check method and key. What
 * is wrong is in r->err. */
void route_begin(struct request *r, const char *method, const char *path);
/* route_ready: the body is complete: media type, phase. -1 with r->err. */
int route_ready(struct request *r);

#endif
