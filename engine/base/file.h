/* file: a whole file into memory.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_FILE_H
#define SEQD_FILE_H

#include <stddef.h>

#include "engine/base/err.h"

/* file_read: at most max bytes; *text [*n] is the caller's (mem_free), not
 * terminated. Messages name `label`, not the path. ERR_NOT_FOUND, ERR_IO,
 * ERR_TOO_LARGE, ERR_NOMEM. */
int file_read(const char *path, const char *label, size_t max, char **text,
              size_t *n, struct err *e);
/* file_exists: 1 when something of that name is there. */
int file_exists(const char *path);

#endif
