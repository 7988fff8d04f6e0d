/* guard: keeps the process alive when a mapped file is cut short under it.
 * Reading a page that the file no longer has raises SIGBUS; the handler puts
 * zero pages over the rest of that mapping and sets the owner's flag, so that
 * the reader goes on with zeros and whoever looks at the flag stops serving.
 * A SIGBUS anywhere else gets its default action. This is the one handler of a
 * synchronous signal in seqd; guard_add installs it.
 * Thread-safe.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_GUARD_H
#define SEQD_GUARD_H

#include <stdatomic.h>
#include <stddef.h>

#define GUARD_SLOTS 1024 /* mappings at a time */

/* guard_add: watch [addr, addr + bytes), a mapping of its own. *damaged must
 * live until guard_remove. Returns a slot, or -1 when all are taken or the
 * handler cannot be installed. */
int guard_add(void *addr, size_t bytes, atomic_int *damaged);
/* guard_remove: before munmap. */
void guard_remove(int slot);

#endif
