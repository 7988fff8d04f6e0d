/* keys: the accepted API keys. A key is compared in time that depends on the
 * lengths only, and with all keys whatever the outcome.
 *
 * A keyring holds the keys of a running server, which may be read again while
 * its threads compare: each comparison is with the old keys or with the new
 * ones, never with some of both. Who compares holds a reference, so that nobody
 * waits for a comparison.
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

struct keyring;
/* keyring_open: with copies of these. ERR_NOMEM. */
int keyring_open(const struct string_list *l, struct keyring **out,
                 struct err *e);
void keyring_close(struct keyring *k); /* NULL is fine */
/* keyring_read: the keys of the file, and `one` (may be NULL) besides, take the
 * place of those before. How many they are; -1 with keys_read's errors or
 * ERR_NOMEM, and the keys are what they were. */
int keyring_read(struct keyring *k, const char *path, const char *one,
                 struct err *e);
/* keyring_match: keys_match with what is there now. Any thread. */
int keyring_match(struct keyring *k, const char *authorization);

#endif
