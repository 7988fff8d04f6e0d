/* unread: the bytes of answers that are in memory because their clients have
 * not read them yet. One sum for the process, with a bound (--unread-mb), and
 * one for an answer (--answer-mb), which is that of a connection, since it has
 * one answer at a time. A large answer asks for its room before it is written,
 * where its size is known: so what does not fit costs no memory.
 *
 * What is small is counted and never refused: an error has to be said, and the
 * number of connections bounds the rest. A running stream stays that small by
 * itself: its jobs are paused (request.h).
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_UNREAD_H
#define SEQD_UNREAD_H

#include <stddef.h>

struct request;

#define UNREAD_SMALL 65536 /* bytes of an answer that is never refused */

/* unread_fits: may an answer of n bytes be begun? -1 with r->err: the reason
 * batch_too_large when it never may, answers_full when there is no room now. */
int unread_fits(struct request *r, size_t n);
/* unread_take: the same, and r's answer has room of n bytes from now on. */
int unread_take(struct request *r, size_t n);
/* unread_written: r's answer is written and has n bytes. Texts of JSON may be
 * up to six times as long as they were: one that has asked for room and needs
 * more than that asks again. -1 as unread_take. */
int unread_written(struct request *r, size_t n);
/* unread_set: there are n bytes of r's answer, whatever they need. Whoever owns
 * the request (of a stream: under its mu). */
void unread_set(struct request *r, size_t n);

#endif
