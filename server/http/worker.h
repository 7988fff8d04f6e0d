/* worker: a thread for requests that would hold an event loop. The server has
 * two of them (server.h): the worker, for milliseconds: large bodies to parse
 * and tokenize, large answers to write; and the waiter, for what reads whole
 * files of models, which may take many seconds. Each serves first who came
 * first.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_WORKER_H
#define SEQD_WORKER_H

#include "server/http/request.h"

typedef void worker_fn(struct request *r);

struct worker;
int worker_open(struct worker **out, struct err *e);
/* worker_push: fn(r) on the worker. The request is held by the caller
 * (request_hold); fn ends the hold. */
void worker_push(struct worker *w, struct request *r, worker_fn *fn);
/* worker_close: after all that was pushed has run. NULL is fine. */
void worker_close(struct worker *w);

#endif
