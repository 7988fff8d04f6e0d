/* keys: the accepted API keys. A key is compared in time that depends on the
 * lengths only, and with all keys whatever the outcome.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_KEYS_H
#define SEQD_KEYS_H

#include "engine/base/options.h"

/* keys_read: append the non-empty lines of a file (CR and blanks at the ends
 * cut) to the list. ERR_NOT_FOUND, ERR_IO, ERR_INVALID when none is there. */
int keys_read(const char *path, struct string_list *l, struct err *e);

/* keys_match: 1 when `authorization` is "Bearer KEY" with a known key. */
int keys_match(const struct string_list *l, const char *authorization);
/* keys_text: the key in it, or NULL. */
const char *keys_text(const char *authorization);

#endif
