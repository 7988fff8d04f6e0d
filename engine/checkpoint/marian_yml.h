/* marian_yml: the configuration that Marian puts into its binary files, as
 * JSON. Of YAML it uses keys at the beginning of a line, plain values behind
 * them (numbers, true and false, words, "" around words) and lists of such,
 * "[]" or a value a line behind "- "; anything else is refused with its line.
 * Internal to marian_bin.c.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_MARIAN_YML_H
#define SEQD_MARIAN_YML_H

#include <stddef.h>

#include "engine/base/buf.h"
#include "engine/base/err.h"

/* marian_yml_json: text [n] as one object, with "model_type": "marian-" and the
 * value of `type` (words). ERR_FORMAT, ERR_NOMEM (out's limit, too). */
int marian_yml_json(const char *text, size_t n, const char *label,
                    struct buf *out, struct err *e);

#endif
