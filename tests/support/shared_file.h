/* shared_file: the data beside the repository ($SEQD_SHARED, else ../shared).
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_SHARED_FILE_H
#define SEQD_SHARED_FILE_H

#include <stddef.h>

const char *shared_dir(void);
/* shared_path: 1 and `out` filled when the file or folder is there. */
int shared_path(const char *name, char *out, size_t cap);
/* shared_read: a file's bytes and a NUL, unpacked when the name ends in ".gz"
 * (by the program gzip); free() it. NULL: not there, or not readable. */
char *shared_read(const char *name, size_t *n);

#endif
