/* pickle: the values that a pickle of protocol 2 describes, as a tree; nothing
 * is ever run (Python's pickletools.py says what each opcode does). Read are
 * numbers, strings, tuples, lists, dicts, and names of a table: a call of such
 * a name becomes a value that holds its arguments, a persistent id one that
 * holds what it was made of. Any other name is refused with its module, any
 * other opcode with its place. Values may be shared, and may hold themselves:
 * who walks them must not follow more than he knows.
 * Enforced: at most 2,097,152 values, a memo that grows by one. Memory follows
 * from the bytes read, not from what they claim.
 * Immutable after pickle_parse; any thread may read.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_PICKLE_H
#define SEQD_PICKLE_H

#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"

enum pickle_kind {
    PICKLE_NONE,
    PICKLE_BOOL,
    PICKLE_INT,
    PICKLE_FLOAT, /* its number is dropped */
    PICKLE_STRING,
    PICKLE_TUPLE,
    PICKLE_LIST, /* its elements are dropped */
    PICKLE_DICT,
    PICKLE_NAME,
    PICKLE_CALL,   /* of a name, with n arguments */
    PICKLE_PERSIST /* of a tuple with n elements */
};

struct pickle_value {
    uint8_t kind;  /* enum pickle_kind */
    uint8_t name;  /* NAME, CALL: row of the table */
    uint32_t n;    /* bytes of a string; elements; pairs */
    uint32_t at;   /* STRING: where in the bytes; else internal */
    uint32_t last; /* internal */
    int64_t i;     /* INT, BOOL */
};

struct pickle_pair {
    uint32_t key, value, next; /* next 0: the last one */
};

/* A row of the table of names; a NULL name ends it. */
struct pickle_name {
    const char *name; /* "module.name" */
    int makes_dict;   /* called without arguments it is an empty dict */
};

struct pickle;

/* pickle_parse: [p, p + n) must live longer, as must names. ERR_FORMAT,
 * ERR_UNSUPPORTED (opcode, protocol, name), ERR_TOO_LARGE, ERR_NOMEM. */
int pickle_parse(const uint8_t *p, size_t n, const char *label,
                 const struct pickle_name *names, struct pickle **out,
                 struct err *e);
void pickle_free(struct pickle *k);

/* Borrowed until pickle_free. pickle_item: element i of a TUPLE, CALL or
 * PERSIST; NULL outside. pickle_first and pickle_next: the pairs of a DICT in
 * their order; NULL: no more. pickle_text: the bytes of a STRING. */
const struct pickle_value *pickle_root(const struct pickle *k);
const struct pickle_value *pickle_item(const struct pickle *k,
                                       const struct pickle_value *v, size_t i);
const struct pickle_pair *pickle_first(const struct pickle *k,
                                       const struct pickle_value *v);
const struct pickle_pair *pickle_next(const struct pickle *k,
                                      const struct pickle_pair *p);
const struct pickle_value *pickle_at(const struct pickle *k, uint32_t id);
const char *pickle_text(const struct pickle *k, const struct pickle_value *v);
/* pickle_is: 1 for this string. */
int pickle_is(const struct pickle *k, const struct pickle_value *v,
              const char *text);

#endif
