/* json: strict reading (RFC 8259) in front of cJSON. A pre-scan counts by
 * length and refuses what cJSON would let through: bad UTF-8, duplicate keys,
 * trailing bytes, numbers that are not finite, \u0000 in strings, lone
 * surrogates, nesting over max_depth. json.c is the one file that includes
 * cJSON.h; `struct json` is its node, opaque here. Trees are read-only.
 * Writing is buf's business.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_JSON_H
#define SEQD_JSON_H

#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"

struct json;

enum json_type {
    JSON_NULL,
    JSON_BOOL,
    JSON_NUMBER,
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT
};

struct json_limits {
    size_t max_bytes; /* 0: 2 MiB */
    int max_depth;    /* 0: 32 */
    size_t max_nodes; /* values in all; 0: 1 << 20 */
};

/* json_parse: text [n bytes, no NUL needed]. ERR_INVALID with byte offset and
 * cause, ERR_TOO_LARGE, ERR_NOMEM. lim may be NULL. */
int json_parse(const char *text, size_t n, const struct json_limits *lim,
               struct json **out, struct err *e);
/* json_parse_nul: the same, but \u0000 may stand in strings: json_string then
 * holds the bytes C0 80 for it, as Java writes it, and json_text the byte 0.
 * For what may be given to json_text, and nothing else. */
int json_parse_nul(const char *text, size_t n, const struct json_limits *lim,
                   struct json **out, struct err *e);
/* json_parse_file: the same of what a file holds: bad JSON is ERR_FORMAT, the
 * message begins with `label`. json_load: reads it, too (ERR_IO,
 * ERR_NOT_FOUND); no message has the path. */
int json_parse_file(const char *text, size_t n, const char *label,
                    const struct json_limits *lim, struct json **out,
                    struct err *e);
int json_load(const char *path, const char *label,
              const struct json_limits *lim, struct json **out, struct err *e);
void json_free(struct json *j);

enum json_type json_type(const struct json *j);
const char *json_type_name(enum json_type t);
const struct json *json_get(const struct json *obj, const char *key);
const struct json *json_child(const struct json *j); /* first of array/object */
const struct json *json_next(const struct json *j);  /* sibling, or NULL */
const char *json_key(const struct json *j);          /* of an object member */
int json_size(const struct json *j);           /* members; walks the list */
const char *json_string(const struct json *j); /* NULL if no string */
size_t json_string_len(const struct json *j);
/* json_text: append a string to out (nothing if j is none), C0 80 as 0. */
struct buf;
int json_text(const struct json *j, struct buf *out);
double json_number(const struct json *j); /* 0 if no number */
/* json_int: 0 and *v when j is a number with an integral value in
 * [-2^53, 2^53], else -1. */
int json_int(const struct json *j, int64_t *v);
int json_bool(const struct json *j); /* 1 true, 0 else */

#endif
