/* file: see file.h.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/mem.h"

#define FIRST_BYTES 4096
#define NO_PIPES 0

/* What is read, and how. */
struct source {
    int fd;
    const char *label;
    size_t max;
    int wait_ms; /* NO_PIPES: a regular file only */
};

/* The next bytes: how many, 0 at the end, -1 with the message. */
static ssize_t read_some(const struct source *s, char *p, size_t n,
                         struct err *e)
{
    for (;;) {
        struct pollfd at = {s->fd, POLLIN, 0};
        int ready = s->wait_ms ? poll(&at, 1, s->wait_ms) : 1;
        if (ready == 0)
            return err_set(e, ERR_TIMEOUT, "%s: nothing was written to it",
                           s->label);
        ssize_t got = ready > 0 ? read(s->fd, p, n) : -1;
        if (got >= 0)
            return got;
        if (errno != EINTR && !(errno == EAGAIN && s->wait_ms))
            return err_set(e, ERR_IO, "%s: cannot be read", s->label);
    }
}

static int too_large(const struct source *s, struct err *e)
{
    return err_set(e, ERR_TOO_LARGE, "%s: more than %zu bytes", s->label,
                   s->max);
}

/* All of it, in a block that grows. */
static int read_all(const struct source *s, char **text, size_t *n,
                    struct err *e)
{
    size_t cap = 0, len = 0;
    char *p = NULL;
    ssize_t got = 1;
    while (got > 0 && len <= s->max) {
        if (len == cap) {
            size_t more = cap ? cap * 2 : FIRST_BYTES;
            char *q = mem_grow(p, more, 1);
            if (!q) {
                mem_free(p);
                return err_nomem(e);
            }
            p = q;
            cap = more;
        }
        got = read_some(s, p + len, cap - len, e);
        len += got > 0 ? (size_t)got : 0;
    }
    if (got < 0 || len > s->max) {
        mem_free(p);
        return got < 0 ? -1 : too_large(s, e);
    }
    p[len] = 0; /* the last read found room and no byte */
    *text = p;
    *n = len;
    return 0;
}

/* O_NONBLOCK: opening does not wait for a writer, should it be a pipe. */
static int read_path(const char *path, struct source *s, char **text, size_t *n,
                     struct err *e)
{
    struct stat st;
    s->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (s->fd < 0) {
        return errno == ENOENT || errno == ENOTDIR
                   ? err_set(e, ERR_NOT_FOUND, "%s: no such file", s->label)
                   : err_set(e, ERR_IO, "%s: cannot be opened", s->label);
    }
    int rc = fstat(s->fd, &st);
    if (rc)
        err_set(e, ERR_IO, "%s: cannot be read", s->label);
    else if (!S_ISREG(st.st_mode) &&
             !(s->wait_ms != NO_PIPES && S_ISFIFO(st.st_mode)))
        rc = err_set(e, ERR_IO, "%s: is not a regular file", s->label);
    else if (S_ISREG(st.st_mode) && (uintmax_t)st.st_size > s->max)
        rc = too_large(s, e);
    else
        rc = read_all(s, text, n, e);
    close(s->fd);
    return rc;
}

int file_read(const char *path, const char *label, size_t max, char **text,
              size_t *n, struct err *e)
{
    struct source s = {-1, label, max, NO_PIPES};
    return read_path(path, &s, text, n, e);
}

int file_read_piped(const char *path, const char *label, size_t max,
                    int wait_ms, char **text, size_t *n, struct err *e)
{
    struct source s = {-1, label, max, wait_ms};
    return read_path(path, &s, text, n, e);
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

/* O_EXCL: in a folder that others write to, a link of theirs in the place of
 * our file would have it written through, to where they like. */
int file_part_open(struct file_part *p, const char *path, struct err *e)
{
    p->f = NULL;
    if (strlen(path) >= sizeof p->path)
        return err_set(e, ERR_INVALID, "a path of %zu bytes is too long",
                       strlen(path));
    snprintf(p->path, sizeof p->path, "%s", path);
    snprintf(p->tmp, sizeof p->tmp, "%s.tmp-%ld", path, (long)getpid());
    if (unlink(p->tmp) && errno != ENOENT) /* of a run with this number */
        return cannot(p, errno, e);
    int fd = open(p->tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    p->f = fd < 0 ? NULL : fdopen(fd, "wb");
    if (p->f)
        return 0;
    int why = errno;
    if (fd >= 0)
        close(fd);
    return cannot(p, why, e);
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
