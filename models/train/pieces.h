/* pieces: the different pieces of a training text and how often each stands in
 * it. A hash table with open addressing; the bytes lie in one growing block.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_PIECES_H
#define SEQD_PIECES_H

#include <stdint.h>

#include "engine/base/buf.h"
#include "engine/base/err.h"

struct piece {
    size_t at; /* in the block, a NUL behind it */
    uint32_t n;
    int64_t count;
};

struct pieces {
    struct buf text;
    struct piece *v; /* [n], in the order of their first places */
    int n, cap;
    int32_t *slot; /* [n_slots] index of a piece, or -1 */
    uint32_t n_slots;
};

void pieces_init(struct pieces *p);
void pieces_fini(struct pieces *p);
/* pieces_add: one more s [n]. -1: no memory, or over 1 GB of different ones. */
int pieces_add(struct pieces *p, const char *s, size_t n);
/* pieces_find: the index of s [n], or -1. */
int pieces_find(const struct pieces *p, const char *s, size_t n);
const char *pieces_text(const struct pieces *p, int i);

#endif
