/* sse: server-sent events of a streamed text. A chunk is one event:
 *     data: {"id":...,"object":"generation.chunk","model":...,"created":...,
 *            "data":[{"index":0,"text":"..."}]}
 * The chunk that ends an item has what its route says, the last one of the
 * request usage too; then `data: [DONE]`. A failure after the start is
 * `data: {"error":{...}}` and the end without [DONE].
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_SSE_H
#define SEQD_SSE_H

#include "engine/run/task/generate.h"
#include "server/http/request.h"

/* sse_begin: render what all chunks share. ERR_NOMEM in r->err. */
int sse_begin(struct request *r, const char *object);
/* These append to r->out and are called under r->mu once jobs run. */
void sse_text(struct request *r, const struct item *it, const char *text,
              size_t n);
void sse_finish(struct request *r, const struct item *it, const struct job *j,
                int last);
void sse_error(struct request *r);
void sse_ping(struct request *r);

/* sse_finish_reason: the API's word. */
const char *sse_finish_reason(enum finish_reason f);

#endif
