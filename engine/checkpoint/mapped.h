/* mapped: a file mapped read-only, under the guard against being cut short
 * while it is served (guard.h). The descriptor stays open, so that a digest
 * reads the very file that is mapped, whatever became of its path, and reads
 * it through a buffer: the mapping's pages stay out of the resident memory.
 * Any thread may read.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_MAPPED_H
#define SEQD_MAPPED_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "engine/base/err.h"

struct sha256_ctx;

/* Must not move while it is open: the guard knows where `damaged` is. */
struct mapped {
    const uint8_t *p;
    size_t bytes;
    int fd;   /* -1: lent memory */
    int slot; /* of the guard */
    atomic_int damaged;
    char *path, *name;  /* where it was; in messages */
    struct stat seen;   /* when it was opened, or accepted */
    struct stat looked; /* at the last look */
    int told;           /* 1 << enum mapped_news; the watcher's */
};

/* What has become of a file: nothing; its times were changed, which may or may
 * not mean its bytes; it has another size; its path leads to another file or
 * nowhere, while this one stays as it was. */
enum mapped_news {
    MAPPED_SAME,
    MAPPED_SUSPECT,
    MAPPED_CHANGED,
    MAPPED_REPLACED
};

/* mapped_open: a regular file of at least `min` bytes. `label` stands for the
 * path. ERR_NOT_FOUND, ERR_IO, ERR_FORMAT (too short), ERR_TOO_LARGE,
 * ERR_INTERNAL. mapped_close is due after failures, too. */
int mapped_open(struct mapped *m, const char *path, size_t min,
                const char *label, struct err *e);
/* mapped_lend: memory of somebody else's in place of a file. */
void mapped_lend(struct mapped *m, const uint8_t *p, size_t n);
void mapped_close(struct mapped *m);

/* mapped_drop: the pages of [p, p + n) leave the resident memory. */
void mapped_drop(const struct mapped *m, const void *p, size_t n);

/* mapped_is_other: 1 when it was written to, or may have been, since it was
 * opened or accepted. Any thread. */
int mapped_is_other(const struct mapped *m);
/* mapped_look: what has become of it since it was opened or accepted; cheap.
 * mapped_accept: its bytes are what they were, as of the last look.
 * mapped_tell: 1 at the first call for this kind of news. One thread at a time
 * calls these. */
enum mapped_news mapped_look(struct mapped *m);
void mapped_accept(struct mapped *m);
int mapped_tell(struct mapped *m, enum mapped_news news);

/* mapped_hash: add the file's bytes to c, nettle's. A file that was cut short
 * is marked damaged and gives the bytes that are left. -1: *stop (NULL: never)
 * became true on the way; a file of many gigabytes takes many seconds. */
int mapped_hash(struct mapped *m, struct sha256_ctx *c, const atomic_int *stop);

#endif
