/* message_head: the head of a request, read strictly (RFC 9112, sections 2.2,
 * 3, 5, 6, 7 and 9.3): whatever a proxy before us could read in another way is
 * refused, and what a later version may bring is unknown, so it is refused too.
 * Pure: no sockets.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_MESSAGE_HEAD_H
#define SEQD_MESSAGE_HEAD_H

#include <stddef.h>
#include <stdint.h>

/* The parts we care about; they point into the bytes that were read. */
struct message_head {
    const char *method, *target; /* without scheme, host and query */
    const char *query;           /* NULL: none */
    const char *host; /* of the target or the header, with its port; NULL: none
                         (HTTP/1.0) */
    const char *content_type, *authorization, *origin;
    const char *preflight; /* Access-Control-Request-Method */
    const char *request_id;
    int64_t content_length; /* -1: none given */
    int minor;              /* of HTTP/1.minor: 0 or 1 */
    int chunked, expect;
    int closes; /* the client wants no other answer on this connection */
};

/* message_head_read: the head that p [n] begins with; *seen (0 at first): bytes
 * that an earlier call has looked at. Its bytes with "\r\n\r\n", and h is
 * filled, with ends of texts written into p; 0: more bytes are needed; -1: it
 * is refused, *wrong says why (static text), what was read of it by then is in
 * h: the connection cannot be trusted any further. */
long message_head_read(char *p, size_t n, size_t *seen, struct message_head *h,
                       const char **wrong);

/* message_head_is_host: is s [len] uri-host [ ":" port ] (RFC 3986, 3.2.2; it
 * may be empty, as it is where there is none)? */
int message_head_is_host(const char *s, size_t len);

/* The body of a request in chunks: zero at first. */
struct chunks {
    int state;
    uint64_t left; /* of the present chunk */
    int digits;    /* of its size */
    size_t extra;  /* bytes of extensions and trailers so far */
    char name[20]; /* of a trailer, as far as it fits */
    size_t n_name;
};

/* chunks_read: one piece of what p [n] begins with: bytes used, of which the
 * last *data are the body's. *end: the body is complete. -1: refused. */
long chunks_read(struct chunks *c, const char *p, size_t n, size_t *data,
                 int *end, const char **wrong);

#endif
