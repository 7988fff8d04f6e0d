/* fields: the members of a request body, one table per endpoint, so that
 * names, types and ranges stand once. A member that no row names is
 * unknown_field; a FIELD_LATER_* row is a member of the API that this version
 * does not have: task_not_supported unless its value asks for nothing. null is
 * as good as no member: clients that fill in a form of their own send it.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_FIELDS_H
#define SEQD_FIELDS_H

#include <stddef.h>

#include "engine/base/err.h"
#include "engine/base/json.h"

enum field_kind {
    FIELD_INT,    /* int64_t, min..max */
    FIELD_NUMBER, /* double, min..max */
    FIELD_BOOL,   /* int */
    FIELD_TEXT,   /* const char *, borrowed */
    FIELD_ANY,    /* const struct json *, the handler looks closer */
    FIELD_LATER,
    FIELD_LATER_FALSE, /* false is fine */
    FIELD_LATER_NUMBER /* min is fine */
};

struct field {
    const char *name;
    enum field_kind kind;
    double min, max;
    size_t offset;
};

/* fields_read: the members of body (an object) into out. ERR_INVALID with
 * reason and param. */
int fields_read(const struct json *body, const struct field *f, int n,
                void *out, struct err *e);
/* fields_read_open: members that no row names are passed over: /v1, whose
 * clients send more than we know. */
int fields_read_open(const struct json *body, const struct field *f, int n,
                     void *out, struct err *e);

#endif
