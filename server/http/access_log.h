/* access_log: what is counted and logged when a request has ended: one line at
 * info (debug for probes), never with text of the client but its request id.
 * One struct per loop caches the metric series, so that counting takes no
 * lock.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_ACCESS_LOG_H
#define SEQD_ACCESS_LOG_H

#include "server/http/request.h"

#define ACCESS_SERIES 64

struct access {
    struct {
        char model[65];
        const struct route *route;
        int status;
        struct metric_series *requests, *duration;
    } seen[ACCESS_SERIES];
    int n;
};

void access_init(struct access *a);
void access_note(struct access *a, struct request *r);

#endif
