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

#include "engine/checkpoint/guard.h"

#define HASH_CHUNK ((size_t)64 << 10) /* on the stack */

static int map_fd(struct mapped *m, size_t min, const char *label,
                  struct err *e)
{
    struct stat st;
    if (fstat(m->fd, &st) || !S_ISREG(st.st_mode))
        return err_set(e, ERR_IO, "%s: not a regular file", label);
    if ((uint64_t)st.st_size < min)
        return err_set(e, ERR_FORMAT, "%s: shorter than %zu bytes", label, min);
    if ((uint64_t)st.st_size > PTRDIFF_MAX)
        return err_set(e, ERR_TOO_LARGE, "%s: too large", label);
    size_t bytes = (size_t)st.st_size;
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
    atomic_init(&m->damaged, 0);
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

void mapped_hash(struct mapped *m, struct sha256_ctx *c)
{
    uint8_t chunk[HASH_CHUNK];
    size_t at = 0;
    while (at < m->bytes) {
        size_t want = m->bytes - at < HASH_CHUNK ? m->bytes - at : HASH_CHUNK;
        ssize_t got = pread(m->fd, chunk, want, (off_t)at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            atomic_store(&m->damaged, 1);
            return;
        }
        sha256_update(c, (size_t)got, chunk);
        at += (size_t)got;
    }
}
