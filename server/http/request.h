/* request: one HTTP request from its header to the last byte of its answer.
 *
 * Owners. The event loop owns a request but for two loans: while its handler
 * runs on the worker (large bodies) the worker owns it, and while jobs run
 * their runner appends stream text and marks items done, under `mu`.
 * `pending` counts the loans (one for a running handler, one per job); the
 * loop finishes a request when it is 0. A connection that ends earlier leaves
 * its request `gone`: the last note frees it. Requests are recycled with
 * their buffers, so a small request allocates next to nothing.
 *
 * A stream whose client reads too slowly is paused: with more than
 * STREAM_UNREAD bytes unread its jobs stop (job_pause), with half of that they
 * go on.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_REQUEST_H
#define SEQD_REQUEST_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/buf.h"
#include "engine/base/err.h"
#include "engine/base/json.h"
#include "engine/run/engine.h"
#include "server/http/message_head.h"
#include "server/http/unread.h"
#include "server/server.h"

struct conn;
struct loop;
struct route;

#define MAX_REQUEST_ID 64
#define STREAM_UNREAD UNREAD_SMALL

enum method {
    METHOD_GET,
    METHOD_HEAD,
    METHOD_POST,
    METHOD_OPTIONS,
    METHOD_OTHER
};

enum stage {
    STAGE_BODY,   /* the body is arriving */
    STAGE_PARKED, /* handed over: the connection waits */
    STAGE_READY,  /* the answer (or the start of a stream) can be sent */
    STAGE_SENT    /* its bytes are on the way */
};

/* One element of `input`. */
struct item {
    struct request *req;
    int index;
    size_t first; /* its tokens: req->ids[first .. first + n) */
    int n;
    int unknown; /* pieces that the vocabulary lacks */
    int truncated;
    int done, failed, reported; /* done, failed: under mu */
};

struct request {
    /* http.c and conn.c only */
    struct loop *loop;
    struct conn *conn; /* NULL: it is gone, or has its answer */
    struct request *next, *next_note;
    int suspended;
    struct request *next_work; /* worker.c only */
    void (*work)(struct request *r);

    struct server *sv;
    enum stage stage;
    enum method method;
    const struct route *route; /* NULL: no such path */
    const char *arg;           /* what {m} of the path stands for */
    struct message_head head;
    char *head_bytes; /* what it points into, once the connection is gone */
    char id[MAX_REQUEST_ID + 1];
    char client[48];    /* address, for the log */
    uint64_t client_id; /* who asks: the key, or else the address */
    int64_t arrived_us, complete_us, answered_us, sent_us;
    int64_t deadline_us; /* 0: none */

    char *body;
    size_t body_len, body_cap;
    int body_over; /* an early error answers: the body is dropped */

    /* the answer */
    struct err err; /* code != ERR_NONE: what went wrong */
    int replied;    /* status and out (or fixed) are complete */
    int status;
    const char *content_type;
    const char *csp;      /* Content-Security-Policy, for the page */
    char retry_after[12]; /* seconds, where they are known */
    struct buf out;
    size_t out_pos;    /* of a stream: sent so far */
    const char *fixed; /* static body instead of out */
    size_t fixed_len;
    char bare[224]; /* an error that asks for no memory */
    size_t bytes;   /* of the body, for the log */
    size_t unread;  /* counted in the server's sum (unread.h) */

    /* the work */
    struct json *json;
    struct model *model;
    struct item *items, item1; /* items points to item1 when there is one */
    struct job **jobs, *job1;
    int n_items, n_jobs;
    int single;    /* input was a string, not a list */
    int top_k;     /* of predictions */
    size_t typed;  /* bytes of the longest prefix of one */
    int attention; /* is asked for */
    int base64;    /* embeddings as text */
    uint64_t seed;
    int32_t *ids;
    size_t n_ids, ids_cap;
    struct token_list tokens; /* scratch of tokenization */
    int prompt_tokens, completion_tokens;
    int64_t queue_us, run_us, created;

    /* streams */
    int stream, started, ended;
    int n_reported;
    int paused;     /* jobs are, since the client does not read */
    char *sse_head; /* all that comes before the index in a chunk */

    /* under mu */
    pthread_mutex_t mu;
    int held;      /* 1: the worker has it, the rest is not to be looked at */
    int pending;   /* the worker + running jobs */
    int noted;     /* on the loop's list */
    int gone;      /* the connection ended */
    int submitted; /* jobs[] may be cancelled */
    enum err_code cancelled; /* why; ERR_NONE: it was not */
};

/* request_new: recycled or fresh; NULL when out of memory. */
struct request *request_new(struct request **pool, struct server *sv);
void request_pool_free(struct request *pool);
/* request_reset: drop everything but the buffers, for the next use. */
void request_reset(struct request *r);
void request_destroy(struct request *r);

/* request_body: append; ERR_TOO_LARGE (reason body_too_large), ERR_NOMEM. */
int request_body(struct request *r, const char *p, size_t n, size_t max);

/* request_run: the body is complete: answer (0: stage is READY) or hand over
 * (1: stage is PARKED, a note will follow). */
int request_run(struct request *r);

/* request_hold / request_unhold: a handler starts and ends on some thread. */
void request_hold(struct request *r);
void request_unhold(struct request *r);
int request_is_held(struct request *r);
/* request_handle: run the route's handler and turn its error into an answer;
 * then the hold ends. Worker thread. */
void request_handle(struct request *r);

/* request_submit: n_items specs; the request's jobs start. Sets user and
 * on_event. -1 with r->err as engine_submit says. */
int request_submit(struct request *r, struct job_spec *specs);

/* request_cancel: loop thread: the jobs end soon; `why` is ERR_CANCELLED
 * (the client left) or ERR_TIMEOUT. The first word wins. */
void request_cancel(struct request *r, enum err_code why);

/* request_look: loop thread, for each note: finish, resume or free. 1 when
 * the request is to be recycled. */
int request_look(struct request *r);

/* request_answered: the answer is written: all that it was made from goes, but
 * what the log tells. Not while jobs run or the worker has it. */
void request_answered(struct request *r);

/* request_read_stream: loop thread: up to max bytes of a stream. Returns the
 * count; *ended when no more will come. */
size_t request_read_stream(struct request *r, char *p, size_t max, int *ended);
/* request_tend: loop thread, now and then, for a parked request: its deadline,
 * and a comment when its stream has been silent for long. A stream that still
 * waits for its first token begins with the comment. */
void request_tend(struct request *r, int64_t now);

/* request_leave: the connection is done with r. 1 when it is to be recycled
 * now, 0 when a later note will say so. `ok`: the answer was sent in full. */
int request_leave(struct request *r, int ok);

#endif
