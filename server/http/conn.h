/* conn: one connection, from its bytes to its answers. HTTP/1.1 and 1.0
 * (RFC 9112), one request at a time: those that a client sends ahead wait in
 * the socket. All of it happens on the thread of the loop that owns it.
 *
 *   HEAD    a request is waited for or begins; nothing is owed
 *   BODY    its head is read, its body arrives
 *   PARKED  others work on it (or a stream has nothing to say); what the client
 *           sends stays in the socket
 *   ANSWER  bytes of the answer are waiting for room in the socket
 *   LINGER  the last answer is sent; what still comes is dropped for a while:
 *           a socket that is closed with unread bytes in it resets its client,
 *           which may lose the answer by it
 *
 * A client that shuts its side down but goes on reading gets its answer. One
 * that is gone looks the same until something is sent: after PROBE_US it gets
 * "100 Continue", which a client has to skip, and which a closed socket
 * answers with a reset.
 *
 * In ANSWER a client has to read at some pace (--send-timeout-s), or it is
 * closed with a reset, and the log says 408.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_CONN_H
#define SEQD_CONN_H

#include "engine/base/buf.h"
#include "server/http/message_head.h"

struct loop;
struct request;

enum conn_state { CONN_HEAD, CONN_BODY, CONN_PARKED, CONN_ANSWER, CONN_LINGER };

struct conn {
    struct conn *prev, *next; /* of the loop: idle ones by age, or the others */
    struct loop *loop;
    int fd;
    char client[48]; /* address */
    uint64_t client_id;
    unsigned events; /* that epoll looks for */
    enum conn_state state;
    int spare;        /* beyond the limit: it may only ask for probes */
    int closes;       /* no request is read after this one */
    int ended;        /* all that the client sends has been read */
    int half;         /* it has shut down its side, or it is gone */
    int probed;       /* with this request */
    int64_t since_us; /* begin of the state; BODY: the last byte; ANSWER: of
                         `sent` */
    int64_t half_us;  /* since when, or since this request */

    char *in; /* [cap_in]: the head, then what came with it or behind it */
    size_t n_in, cap_in, seen;
    size_t at;   /* bytes of `in` that are used up */
    char *ahead; /* read behind a body in chunks: `in` of the next request */
    size_t n_ahead;
    struct chunks chunks;
    int64_t body_left;
    struct request *req;

    int streams;    /* the answer goes on after what is in `out` */
    struct buf out; /* head of the answer; parts of a stream */
    size_t out_at;
    const char *body; /* the request's own memory */
    size_t n_body, body_at;
    size_t body_free; /* of those sent, so many are back */
    size_t sent;      /* bytes that the client has taken since since_us */
};

/* conn_open: takes over fd, which it closes when it fails (NULL). */
struct conn *conn_open(struct loop *l, int fd, int spare);
/* conn_close: at once; a request in it loses its connection. */
void conn_close(struct conn *c);
/* conn_event: what epoll has seen. It may close c. */
void conn_event(struct conn *c, unsigned events);
/* conn_resume: others have worked on its request. It may close c. */
void conn_resume(struct conn *c);
/* conn_tend: now and then: what is late. It may close c. */
void conn_tend(struct conn *c, int64_t now);
/* conn_give_up: as conn_close; whose body is missing is told so (408). */
void conn_give_up(struct conn *c);
/* conn_is_silent: in HEAD and BODY: nothing has come that is not read yet. */
int conn_is_silent(const struct conn *c);
/* conn_linger: no more answers: the client may read what it has in peace. */
void conn_linger(struct conn *c);

#endif
