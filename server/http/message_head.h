/* message_head: what a request's header says, and the filter against request
 * smuggling: whatever a proxy before us and the library below us could read in
 * two ways is refused (RFC 9112, sections 2.2, 3.2 and 6.3). Pure: no sockets,
 * no library.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_MESSAGE_HEAD_H
#define SEQD_MESSAGE_HEAD_H

#include <stdint.h>

/* The parts we care about; borrowed from the library until the request ends. */
struct message_head {
    const char *content_type, *authorization, *origin;
    const char *preflight; /* Access-Control-Request-Method */
    const char *request_id;
    int64_t content_length; /* -1: none given */
    int chunked, expect;
};

struct scan {
    struct message_head *head;
    int n_length, n_encoding, n_host, n_authorization, n_origin, n_type;
    int bad_name, bad_value, folded;
    const char *length, *encoding;
};

/* scan_add: the next header, in order. */
void scan_add(struct scan *s, const char *name, const char *value);
/* scan_end: completes s->head. NULL, or what is wrong (static text): the
 * connection cannot be trusted any further. */
const char *scan_end(struct scan *s, const char *version);

#endif
