/* conns: see conns.h. A connection is shut down, not closed: the descriptor is
 * the library's, which reads the end of the stream then.
 *
 * SPDX-License-Identifier: MIT */
#include "server/http/conns.h"

#include <sys/socket.h>

#include "engine/base/mem.h"

struct conn *conns_open(struct conns *l, int fd, int64_t now)
{
    struct conn *c = mem_zalloc(sizeof *c);
    if (!c)
        return NULL;
    c->fd = fd;
    c->since_us = now;
    c->next = l->first;
    if (l->first)
        l->first->prev = c;
    l->first = c;
    return c;
}

void conns_close(struct conns *l, struct conn *c)
{
    if (!c)
        return;
    if (c->prev)
        c->prev->next = c->next;
    else
        l->first = c->next;
    if (c->next)
        c->next->prev = c->prev;
    mem_free(c);
}

void conn_busy(struct conn *c, int busy, int64_t now)
{
    if (!c)
        return;
    c->busy = busy;
    c->since_us = now;
}

void conns_expire(struct conns *l, int64_t now, int64_t max_us)
{
    for (struct conn *c = l->first; c; c = c->next)
        if (!c->busy && now - c->since_us > max_us)
            shutdown(c->fd, SHUT_RDWR);
}
