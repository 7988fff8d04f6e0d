/* http_client: requests of the HTTP tests: libcurl for what a client does, raw
 * sockets for what none should. Every wait is bounded.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_HTTP_CLIENT_H
#define SEQD_HTTP_CLIENT_H

#include <stddef.h>

#include "engine/base/json.h"

struct answer {
    long status; /* 0: no answer */
    char *body;  /* NUL-terminated, never NULL */
    size_t n;
    char *head;     /* header lines as received */
    struct json *j; /* the body, where it is JSON; else NULL */
};

void answer_free(struct answer *a);

/* One connection that is kept: for many requests in a row. */
struct client;
struct client *client_open(int port);
/* client_open_from: as if from this address of 127/8: another client. */
struct client *client_open_from(int port, const char *address);
void client_close(struct client *c);
/* client_send: headers is NULL-terminated ("Name: value"), or NULL; body NULL
 * for none (a Content-Type is sent only when `headers` has it, or
 * application/json when headers is NULL). */
void client_send(struct client *c, const char *method, const char *path,
                 const char *const *headers, const char *body, size_t n,
                 struct answer *a);

/* The same with a connection of its own. */
void http_send(int port, const char *method, const char *path,
               const char *const *headers, const char *body, size_t n,
               struct answer *a);
void http_get(int port, const char *path, struct answer *a);
void http_post(int port, const char *path, const char *json, struct answer *a);

/* answer_header: value of a header line (case ignored), or ""; it lasts until
 * four more were asked for. */
const char *answer_header(const struct answer *a, const char *name);
/* answer_at: "data.0.label" in the body, NULL when it is not there. */
const struct json *answer_at(const struct answer *a, const char *path);
const char *answer_text(const struct answer *a, const char *path); /* or "" */
double answer_number(const struct answer *a, const char *path); /* or -1e300 */
const struct json *json_at(const struct json *j, const char *path);

/* metric_value: the sum of all series of a metric whose line begins with
 * `prefix` ("seqd_requests_total{", or with labels), from GET /metrics. */
double metric_value(int port, const char *prefix);

/* Raw sockets on 127.0.0.1. */
int raw_open(int port);
/* raw_open_small: with room for few bytes that were not read. */
int raw_open_small(int port);
void raw_say(int fd, const char *text); /* ignores a closed peer */
/* raw_post: open and POST json; nothing of the answer is read. */
int raw_post(int port, const char *path, const char *json);
/* raw_hear: read until the peer closes, `until` (may be NULL) has come, or ms
 * are over; NUL-terminated. Returns the length; *closed says whether the peer
 * closed. */
size_t raw_hear(int fd, char *out, size_t size, const char *until, int ms,
                int *closed);
void raw_close(int fd);
void raw_reset(int fd); /* closes with a reset: the server sees it at once */
/* raw_ask: open, say, hear until closed or 2 s of nothing, close. */
size_t raw_ask(int port, const char *text, char *out, size_t size);

#endif
