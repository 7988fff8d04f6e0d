/* region: see region.h.
 *
 * SPDX-License-Identifier: MIT */
#include "models/train/region.h"

#include <string.h>

#include "engine/base/mem.h"

static int grow(struct region *r)
{
    int cap = 2 * r->cap + 16;
    void **block = mem_grow(r->block, (size_t)cap, sizeof *block);
    if (block == NULL)
        return -1;
    r->block = block;
    r->cap = cap;
    return 0;
}

void *region_take(struct region *r, size_t n, size_t size)
{
    size_t bytes;
    void *p = NULL;
    if (r->failed)
        return NULL;
    if (!__builtin_mul_overflow(n, size, &bytes) &&
        (r->n < r->cap || grow(r) == 0))
        p = mem_aligned(bytes);
    if (p != NULL)
        r->block[r->n++] = p;
    r->failed = p == NULL;
    return p;
}

int region_check(const struct region *r, struct err *e)
{
    return r->failed ? err_nomem(e) : 0;
}

void region_fini(struct region *r)
{
    for (int i = 0; i < r->n; i++)
        mem_aligned_free(r->block[i]);
    mem_free(r->block);
    memset(r, 0, sizeof *r);
}
