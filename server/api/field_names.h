/* field_names: what a member is called here that a client calls otherwise.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_FIELD_NAMES_H
#define SEQD_FIELD_NAMES_H

#include "engine/base/buf.h"
#include "server/api/fields.h"

/* field_names_teach: what is wrong with a name that none of f [n] has, and what
 * was meant: the name that other servers' field of this name has here, or one
 * that is spelled almost so; else all names of f. */
void field_names_teach(const char *key, const struct field *f, int n,
                       struct buf *out);

#endif
