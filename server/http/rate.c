/* rate: see rate.h.
 *
 * SPDX-License-Identifier: MIT */
#include "server/http/rate.h"

#include <pthread.h>

#include "engine/base/mem.h"

#define SETS 1024 /* a power of two */
#define WAYS 8    /* places that a client may have */
#define MINUTE_US 60000000

struct cell {
    uint64_t client;
    int64_t full_us; /* when its bucket will be full again */
};

struct rate {
    pthread_mutex_t lock;
    int64_t most;
    struct cell cell[SETS][WAYS];
};

int rate_open(int64_t most, struct rate **out, struct err *e)
{
    struct rate *r = mem_zalloc(sizeof *r);
    if (!r || pthread_mutex_init(&r->lock, NULL) != 0) {
        mem_free(r);
        return err_nomem(e);
    }
    r->most = most;
    *out = r;
    return 0;
}

void rate_close(struct rate *r)
{
    if (!r)
        return;
    pthread_mutex_destroy(&r->lock);
    mem_free(r);
}

/* The client's cell, or the one in its set that will be full first. */
static struct cell *find(struct rate *r, uint64_t client)
{
    struct cell *set = r->cell[client & (SETS - 1)], *least = set;
    for (int i = 0; i < WAYS; i++) {
        if (set[i].client == client)
            return &set[i];
        if (set[i].full_us < least->full_us)
            least = &set[i];
    }
    *least = (struct cell){.client = client};
    return least;
}

int64_t rate_take(struct rate *r, uint64_t client, int64_t now_us)
{
    int64_t each = MINUTE_US / r->most, wait = 0;
    pthread_mutex_lock(&r->lock);
    struct cell *c = find(r, client);
    int64_t full = (c->full_us > now_us ? c->full_us : now_us) + each;
    if (full - now_us > each * r->most)
        wait = full - now_us - each * r->most;
    else
        c->full_us = full;
    pthread_mutex_unlock(&r->lock);
    return wait;
}
