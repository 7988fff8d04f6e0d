/* config_edit: a member of a config.json set, all else as it stands there, byte
 * by byte: others' keys, their order and how numbers are written.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_CONFIG_EDIT_H
#define SEQD_CONFIG_EDIT_H

#include "engine/base/buf.h"
#include "engine/base/err.h"

/* config_put: the text [n] of an object with the member `key` (no escapes in
 * it) at its end, and no other of that name; value: JSON, NULL: without it.
 * ERR_FORMAT (no JSON object; the key is written with escapes), ERR_NOMEM. */
int config_put(const char *text, size_t n, const char *key, const char *value,
               struct buf *out, struct err *e);

#endif
