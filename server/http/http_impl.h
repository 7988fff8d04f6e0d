/* http_impl: the data of an event loop, for http.c (loops, accepting, notes),
 * conn.c and conn_answer.c (connections), and its parts for tests that turn one
 * themselves.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_HTTP_IMPL_H
#define SEQD_HTTP_IMPL_H

#include <pthread.h>
#include <stdatomic.h>

#include "server/http/access_log.h"
#include "server/http/conn.h"
#include "server/http/http.h"

#define PROBE_US 500000   /* after which a silent half of a client is tried */
#define LINGER_US 1000000 /* what comes after the last answer is dropped */
#define SCRATCH 65536     /* bytes that one read takes */

struct conn_list {
    struct conn *first, *last;
    int n;
};

struct loop {
    struct http *http;
    struct server *sv;
    int epoll_fd, wake_fd, listen_fd;
    pthread_t thread;
    int running;
    int listening;         /* epoll looks at listen_fd */
    int limit;             /* connections */
    struct conn_list idle; /* HEAD: the longest idle first */
    struct conn_list busy; /* all others */
    int n_spare;           /* of both: beyond the limit */
    struct request *pool;  /* recycled */
    int n_pool;
    uint64_t id_seed, id_next; /* request ids */
    int64_t next_janitor;
    int64_t date_s; /* the second that `date` says */
    char date[64];  /* "Date: ...\r\n" */
    char *scratch;  /* [SCRATCH] */
    struct access access;
    _Atomic(struct request *) notes;
    atomic_int woken, n_live;
};

struct http {
    struct server *sv;
    int listen_fd, port, n_loops;
    atomic_int stop;
    struct loop *loop; /* [n_loops] */
};

/* loop_open: l, zeroed, becomes one of h's, without a thread; loop_close is due
 * after failures, too. loop_round: wait until a time (clock_now_us) for what
 * happens, and do it. loop_end: close its connections, free its requests. */
int loop_open(struct http *h, struct loop *l, struct err *e);
void loop_round(struct loop *l, int64_t until);
void loop_end(struct loop *l);
void loop_close(struct loop *l);

void conn_list_add(struct conn_list *l, struct conn *c); /* as the last */
void conn_list_drop(struct conn_list *l, struct conn *c);
/* loop_freed: a connection less: the loop may listen again. */
void loop_freed(struct loop *l);
void loop_recycle(struct loop *l, struct request *r);
int loop_stopped(const struct loop *l);

#endif
