/* mapped: see mapped.h.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/checkpoint/mapped.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <nettle/sha2.h>

#include "engine/base/mem.h"
#include "engine/checkpoint/guard.h"

#define HASH_CHUNK ((size_t)64 << 10) /* on the stack */

static int map_fd(struct mapped *m, size_t min, const char *label,
                  struct err *e)
{
    if (fstat(m->fd, &m->seen) || !S_ISREG(m->seen.st_mode))
        return err_set(e, ERR_IO, "%s: is not a regular file", label);
    if ((uint64_t)m->seen.st_size < min)
        return err_set(e, ERR_FORMAT, "%s: shorter than %zu bytes", label, min);
    if ((uint64_t)m->seen.st_size > PTRDIFF_MAX)
        return err_set(e, ERR_TOO_LARGE, "%s: too large", label);
    size_t bytes = (size_t)m->seen.st_size;
    void *p = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, m->fd, 0);
    if (p == MAP_FAILED)
        return err_set(e, ERR_IO, "%s: cannot be mapped", label);
    m->p = p;
    m->bytes = bytes;
    m->slot = guard_add(p, bytes, &m->damaged);
    if (m->slot < 0)
        return err_set(e, ERR_INTERNAL, "%s: too many mapped files", label);
    return 0;
}

int mapped_open(struct mapped *m, const char *path, size_t min,
                const char *label, struct err *e)
{
    m->p = NULL;
    m->bytes = 0;
    m->slot = -1;
    m->told = 0;
    atomic_init(&m->damaged, 0);
    m->path = mem_strdup(path);
    m->name = mem_strdup(label);
    m->fd = -1;
    if (!m->path || !m->name)
        return err_nomem(e);
    m->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (m->fd < 0) {
        return errno == ENOENT || errno == ENOTDIR
                   ? err_set(e, ERR_NOT_FOUND, "%s: no such file", label)
                   : err_set(e, ERR_IO, "%s: cannot be opened", label);
    }
    return map_fd(m, min, label, e);
}

void mapped_lend(struct mapped *m, const uint8_t *p, size_t n)
{
    m->p = p;
    m->bytes = n;
    m->path = m->name = NULL;
    m->slot = m->fd = -1;
    atomic_init(&m->damaged, 0);
}

void mapped_close(struct mapped *m)
{
    guard_remove(m->slot);
    if (m->p && m->fd >= 0)
        munmap((void *)(uintptr_t)m->p, m->bytes);
    if (m->fd >= 0)
        close(m->fd);
    mem_free(m->path);
    mem_free(m->name);
    m->path = m->name = NULL;
    m->p = NULL;
    m->slot = m->fd = -1;
}

void mapped_drop(const struct mapped *m, const void *p, size_t n)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t from = (uintptr_t)p & ~(page - 1);
    uintptr_t to = ((uintptr_t)p + n + page - 1) & ~(page - 1);
    if (m->fd >= 0 && n)
        madvise((void *)from, to - from, MADV_DONTNEED);
}

static int same_time(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

/* The time of the inode moves with its links, mode and owner too: then it says
 * nothing about the bytes. */
static int is_suspect(const struct stat *was, const struct stat *is)
{
    if (!same_time(&was->st_mtim, &is->st_mtim))
        return 1;
    return !same_time(&was->st_ctim, &is->st_ctim) &&
           was->st_nlink == is->st_nlink && was->st_mode == is->st_mode &&
           was->st_uid == is->st_uid && was->st_gid == is->st_gid;
}

int mapped_is_other(const struct mapped *m)
{
    struct stat is;
    return m->fd >= 0 && fstat(m->fd, &is) == 0 &&
           (is.st_size != m->seen.st_size || is_suspect(&m->seen, &is));
}

enum mapped_news mapped_look(struct mapped *m)
{
    struct stat is, there;
    if (m->fd < 0 || fstat(m->fd, &is))
        return MAPPED_SAME;
    m->looked = is;
    if (is.st_size != m->seen.st_size)
        return MAPPED_CHANGED;
    if (is_suspect(&m->seen, &is))
        return MAPPED_SUSPECT;
    if (stat(m->path, &there))
        return errno == ENOENT || errno == ENOTDIR ? MAPPED_REPLACED
                                                   : MAPPED_SAME;
    return there.st_dev == is.st_dev && there.st_ino == is.st_ino
               ? MAPPED_SAME
               : MAPPED_REPLACED;
}

void mapped_accept(struct mapped *m)
{
    m->seen = m->looked;
}

int mapped_tell(struct mapped *m, enum mapped_news news)
{
    int is_new = !(m->told & 1 << news);
    m->told |= 1 << news;
    return is_new;
}

int mapped_hash(struct mapped *m, struct sha256_ctx *c, const atomic_int *stop)
{
    uint8_t chunk[HASH_CHUNK];
    size_t at = 0;
    while (at < m->bytes) {
        if (stop && atomic_load_explicit(stop, memory_order_relaxed))
            return -1;
        size_t want = m->bytes - at < HASH_CHUNK ? m->bytes - at : HASH_CHUNK;
        ssize_t got = pread(m->fd, chunk, want, (off_t)at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            atomic_store(&m->damaged, 1);
            break;
        }
        sha256_update(c, (size_t)got, chunk);
        at += (size_t)got;
    }
    return 0;
}
