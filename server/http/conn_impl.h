/* conn_impl: what conn.c (reading, states, what is late) and conn_answer.c
 * (answering) have of each other.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_CONN_IMPL_H
#define SEQD_CONN_IMPL_H

#include "server/http/conn.h"

#define TURN 16 /* steps, reads of a body or sends before others have theirs */

/* conn.c */
void conn_look_for(struct conn *c, unsigned events);
void conn_enter(struct conn *c, enum conn_state state);
/* conn_let_request_go: the connection is done with its request. */
void conn_let_request_go(struct conn *c, int ok);
/* conn_drop_used: what is used up of `in` goes. */
void conn_drop_used(struct conn *c);

/* conn_answer.c */
/* conn_put_answer: the answer of a request that is READY, or the begin of its
 * stream. */
void conn_put_answer(struct conn *c);
/* conn_answer: the state ANSWER: send until the socket is full, the stream
 * silent or all is said. 1: the next request may be read; 0: not yet, or c is
 * closed. */
int conn_answer(struct conn *c);
/* conn_flush: send what there is. 1: all of it is out, 0: the socket is full,
 * or others have waited long enough, -1: the connection is lost, or there was
 * no memory for a part of it. */
int conn_flush(struct conn *c);
/* conn_answer_tend: now and then in ANSWER: a client that does not read is
 * closed. */
void conn_answer_tend(struct conn *c, int64_t now);
/* conn_refuse: r->err is the answer, and the last one. */
void conn_refuse(struct conn *c);
/* conn_park: wait for others to work, and see when the client leaves. */
void conn_park(struct conn *c);

#endif
