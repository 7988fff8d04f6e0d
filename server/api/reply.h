/* reply: the bytes of an answer. One table maps the reason of an error to
 * status and type; all JSON answers are written here or with these helpers
 * into r->out, once, and sent with one write.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_REPLY_H
#define SEQD_REPLY_H

#include "server/http/request.h"

struct header {
    const char *name, *value;
};

#define MAX_HEADERS 12

/* reply_error: r->err as the answer (it must be set). */
void reply_error(struct request *r);
/* reply_error_json: {"error":{...}} of e into out; returns the status. */
int reply_error_json(const struct request *r, const struct err *e,
                     struct buf *out);
/* reply_done: out is complete. -1 with r->err when it is not (ERR_NOMEM,
 * ERR_TOO_LARGE), or when there is no room for it (unread_written). */
int reply_done(struct request *r, int status, const char *content_type);
void reply_fixed(struct request *r, const char *content_type, const char *p,
                 size_t n);

/* reply_open: {"id":...,"object":...,"model":...,"created":...,"data":[
 * reply_close: ],"usage":{...}} */
void reply_open(struct request *r, const char *object);
int reply_close(struct request *r);
void reply_usage(struct request *r, struct buf *out);
/* reply_item_tail: ,"unknown":n (where the tokenizer can miss) and
 * ,"truncated":b} */
void reply_item_tail(struct request *r, const struct item *it, struct buf *out);

/* For those who say how long an answer will be, in bytes. */
#define REPLY_FRAME 512 /* what is around the items */
#define REPLY_ITEM 96   /* of an item what reply_item_tail and its like write */
#define REPLY_NUMBER 15 /* a number and its comma */

/* reply_code: what the answer of a request that failed is called; of one
 * without an answer that its client left. */
const char *reply_code(const struct request *r);

/* reply_headers: all but Content-Length, Date and Connection; borrowed from
 * r and static text. Returns the count. */
int reply_headers(const struct request *r, struct header h[MAX_HEADERS]);

/* reply_reason: i-th row of the error table, for tests; 0 past the end. */
int reply_reason(int i, const char **reason, int *status);

#endif
