/* file: a whole file into memory, and one that appears whole or not at all.
 * What lies at a path is not trusted to be a file: a pipe without an end or a
 * device would keep a start for ever.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_FILE_H
#define SEQD_FILE_H

#include <stddef.h>
#include <stdio.h>

#include "engine/base/err.h"

#define FILE_WAIT_FOREVER (-1)
#define FILE_PATH_BYTES 4096

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

/* A file that is being written beside its place, as PATH.tmp-PID, and takes it
 * by file_part_commit: after a power cut the old one or the new one is there,
 * whole. For a user's own programs: messages name path and cause. */
struct file_part {
    char path[FILE_PATH_BYTES], tmp[FILE_PATH_BYTES + 32];
    FILE *f;
};
/* file_part_open: ERR_INVALID (too long a path), ERR_IO. */
int file_part_open(struct file_part *p, const char *path, struct err *e);
/* file_part_commit: ok 0 says that writing to p->f failed, errno why. Flushes,
 * synchronises, renames, synchronises the directory. ERR_IO: the temporary file
 * is gone and the place is as it was, or, where only the directory could not be
 * synchronised, has the new file. */
int file_part_commit(struct file_part *p, int ok, struct err *e);
/* file_part_sweep: remove what runs that are no more left beside the file
 * dir/name: name.tmp-PID and name.tmp. The caller knows that nobody else writes
 * there now. How many were removed. */
int file_part_sweep(const char *dir, const char *name);

#endif
