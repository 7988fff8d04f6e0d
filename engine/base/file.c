/* file: see file.h.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
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

/* --- files that appear whole --- */

static int cannot(const struct file_part *p, int why, struct err *e)
{
    return err_set(e, ERR_IO, "%s cannot be written: %s", p->path,
                   strerror(why));
}

int file_part_open(struct file_part *p, const char *path, struct err *e)
{
    p->f = NULL;
    if (strlen(path) >= sizeof p->path)
        return err_set(e, ERR_INVALID, "a path of %zu bytes is too long",
                       strlen(path));
    snprintf(p->path, sizeof p->path, "%s", path);
    snprintf(p->tmp, sizeof p->tmp, "%s.tmp-%ld", path, (long)getpid());
    p->f = fopen(p->tmp, "wbe");
    return p->f ? 0 : cannot(p, errno, e);
}

/* A name is durable when its directory is. File systems that cannot do that say
 * EINVAL. */
static int sync_dir(const char *path)
{
    char dir[FILE_PATH_BYTES];
    const char *slash = strrchr(path, '/');
    size_t n = slash ? (size_t)(slash - path) : 0;

    snprintf(dir, sizeof dir, "%.*s", (int)n, path);
    int fd = open(n       ? dir
                  : slash ? "/"
                          : ".",
                  O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    int rc = fsync(fd) && errno != EINVAL ? -1 : 0, why = errno;
    close(fd);
    errno = why;
    return rc;
}

int file_part_commit(struct file_part *p, int ok, struct err *e)
{
    int bad = !ok, why = errno;

    if (!bad && (fflush(p->f) || fsync(fileno(p->f)))) {
        bad = 1;
        why = errno;
    }
    if (fclose(p->f) && !bad) {
        bad = 1;
        why = errno;
    }
    p->f = NULL;
    if (!bad && rename(p->tmp, p->path)) {
        bad = 1;
        why = errno;
    }
    if (bad) {
        unlink(p->tmp);
        return cannot(p, why, e);
    }
    return sync_dir(p->path) ? cannot(p, errno, e) : 0;
}

/* Is it NAME.tmp or NAME.tmp-PID? */
static int is_part_of(const char *entry, const char *name)
{
    size_t n = strlen(name);

    if (strncmp(entry, name, n) || strncmp(entry + n, ".tmp", 4))
        return 0;
    entry += n + 4;
    return !*entry || (*entry == '-' && entry[1] &&
                       strspn(entry + 1, "0123456789") == strlen(entry + 1));
}

int file_part_sweep(const char *dir, const char *name)
{
    DIR *d = opendir(dir);
    int n = 0;

    for (struct dirent *x; d && (x = readdir(d));)
        if (is_part_of(x->d_name, name))
            n += unlinkat(dirfd(d), x->d_name, 0) == 0;
    if (d)
        closedir(d);
    return n;
}
