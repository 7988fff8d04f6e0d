/* file: a whole file into memory. What lies at a path is not trusted to be a
 * file: a pipe without an end or a device would keep a start for ever.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_FILE_H
#define SEQD_FILE_H

#include <stddef.h>

#include "engine/base/err.h"

#define FILE_WAIT_FOREVER (-1)

/* file_read: a regular file of at most max bytes; *text [*n] is the caller's
 * (mem_free), and a NUL follows it. Messages name `label`, not the path.
 * ERR_NOT_FOUND, ERR_IO (another kind of file, too), ERR_TOO_LARGE, ERR_NOMEM.
 */
int file_read(const char *path, const char *label, size_t max, char **text,
              size_t *n, struct err *e);
/* file_read_piped: the same of a regular file or a pipe ("<(...)" of a shell,
 * /dev/stdin), whose bytes may be wait_ms apart. Besides ERR_TIMEOUT. */
int file_read_piped(const char *path, const char *label, size_t max,
                    int wait_ms, char **text, size_t *n, struct err *e);
/* file_exists: 1 when something of that name is there. */
int file_exists(const char *path);

#endif
