/* http: event loops. Each is one thread: accepting, reading, answering and the
 * janitor all happen on it. Runners and the worker never touch a connection:
 * they push a request on the loop's list of notes (http_note) and wake the loop
 * once a step (http_flush). So a connection parks and goes on in program order,
 * however fast a job ends.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_HTTP_H
#define SEQD_HTTP_H

#include "engine/base/err.h"
#include "server/server.h"

struct request;

/* http_listen: bind and listen; sv->http is usable for http_note and
 * http_flush from then on, nothing is answered yet. ERR_INVALID (address),
 * ERR_IO (in use, not permitted), ERR_NOMEM. */
int http_listen(struct server *sv, struct err *e);
/* http_start: start the loops. */
int http_start(struct http *h, struct err *e);
int http_port(const struct http *h);
/* http_live: requests that have not been answered in full. */
int http_live(const struct http *h);
/* The end, in three steps, each with NULL allowed. http_stop: what has come is
 * answered, the loops' threads have ended. http_end (jobs have had their final
 * events, the worker is closed): connections are closed, requests freed.
 * http_free (the engine is closed: no flush comes any more). */
void http_stop(struct http *h);
void http_end(struct http *h);
void http_free(struct http *h);

/* http_note: any thread: the loop of r shall look at it. The loop is woken by
 * the next http_flush. Called under r->mu, once until the loop has looked. */
void http_note(struct request *r);
void http_flush(struct http *h);

/* http_resume: loop thread: r's connection may go on. */
void http_resume(struct request *r);

#endif
