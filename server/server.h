/* server: what the parts of server/ share. One struct, made by main.c before
 * anything runs; after that only `phase`, `cut` and the counts change.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_SERVER_H
#define SEQD_SERVER_H

#include <stdatomic.h>
#include <stdint.h>

#include "engine/run/engine.h"
#include "server/config.h"

struct http;
struct keyring;
struct rate;
struct worker;

enum phase { PHASE_LOADING, PHASE_READY, PHASE_DRAINING };

struct server {
    const struct config *cfg;
    struct engine *engine;
    struct http *http;
    struct keyring *keys;  /* NULL: nobody is asked for a key */
    struct rate *rate;     /* NULL: nobody's requests are counted */
    struct worker *worker; /* NULL once it is closed, at the end */
    struct worker *waiter; /* the same; for what waits for files (ROUTE_SLOW) */
    atomic_int phase;      /* enum phase; only grows */
    atomic_int cut;        /* the drain is over: what still runs ends early */
    _Atomic size_t unread; /* bytes of answers (unread.h) */
    int64_t started_us;    /* wall clock */
};

/* server_phase_raise: move on to `to`, never back. */
static inline void server_phase_raise(struct server *sv, int to)
{
    int now = atomic_load(&sv->phase);
    while (now < to && !atomic_compare_exchange_weak(&sv->phase, &now, to))
        continue;
}

#endif
