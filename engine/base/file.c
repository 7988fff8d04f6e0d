/* file: see file.h.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "engine/base/mem.h"

/* The whole of an open file, at most max bytes. */
static int read_all(FILE *f, const char *label, size_t max, char **text,
                    size_t *n, struct err *e)
{
    size_t cap = 0, len = 0;
    char *p = NULL;
    for (;;) {
        if (len == cap) {
            cap = cap ? cap * 2 : 4096;
            char *q = mem_grow(p, cap, 1);
            if (!q) {
                mem_free(p);
                return err_nomem(e);
            }
            p = q;
        }
        size_t got = fread(p + len, 1, cap - len, f);
        len += got;
        if (got == 0 || len > max)
            break;
    }
    if (ferror(f) || len > max) {
        mem_free(p);
        return ferror(f) ? err_set(e, ERR_IO, "%s: cannot be read", label)
                         : err_set(e, ERR_TOO_LARGE, "%s: more than %zu bytes",
                                   label, max);
    }
    *text = p;
    *n = len;
    return 0;
}

/* Without waiting for a writer, should it be a pipe: a checkpoint with a FIFO
 * in it would hang the loader. Reading waits, so /dev/stdin works. */
static FILE *open_file(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    int flags = fd < 0 ? -1 : fcntl(fd, F_GETFL);
    FILE *f = NULL;
    if (flags >= 0 && fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) == 0)
        f = fdopen(fd, "rb");
    if (!f && fd >= 0) {
        int why = errno;
        close(fd);
        errno = why;
    }
    return f;
}

int file_read(const char *path, const char *label, size_t max, char **text,
              size_t *n, struct err *e)
{
    FILE *f = open_file(path);
    if (!f) {
        return errno == ENOENT || errno == ENOTDIR
                   ? err_set(e, ERR_NOT_FOUND, "%s: no such file", label)
                   : err_set(e, ERR_IO, "%s: cannot be opened", label);
    }
    int rc = read_all(f, label, max, text, n, e);
    fclose(f);
    return rc;
}

int file_exists(const char *path)
{
    return access(path, F_OK) == 0;
}
