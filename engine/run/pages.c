/* pages: see pages.h. A page's header lies in front of its data, so that the
 * tables of architectures hold plain data pointers.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/run/pages.h"

#include <string.h>

#include "engine/base/hash.h"
#include "engine/base/mem.h"

#define FIRST_BUCKETS 64

struct page {
    int refs;
    uint64_t serial; /* 0: not kept */
    uint64_t parent;
    struct page *chain;         /* in its bucket */
    struct page *older, *newer; /* idle ones; free ones use `older` */
    int32_t ids[];              /* [page_tokens] */
};

int state_reserve(struct state_budget *b, size_t bytes)
{
    return mem_reserve(&b->used, b->limit, bytes);
}

void state_unreserve(struct state_budget *b, size_t bytes)
{
    mem_unreserve(&b->used, bytes);
}

static struct page *page_of(const struct page_pool *p, const void *data)
{
    return (struct page *)(void *)((unsigned char *)data - p->header_bytes);
}

static void *data_of(const struct page_pool *p, struct page *g)
{
    return (unsigned char *)g + p->header_bytes;
}

int pages_init(struct page_pool *p, const struct port *l,
               struct state_budget *b, struct err *e)
{
    memset(p, 0, sizeof *p);
    if (l->page_tokens < 1 || l->page_bytes < 1 || l->page_bytes % 64 != 0 ||
        l->window < 0) {
        return err_set(e, ERR_INTERNAL, "a page of %d tokens and %zu bytes",
                       l->page_tokens, l->page_bytes);
    }
    size_t header =
        sizeof(struct page) + (size_t)l->page_tokens * sizeof(int32_t);
    p->header_bytes = (header + MEM_ALIGN - 1) / MEM_ALIGN * MEM_ALIGN;
    p->page_bytes = l->page_bytes;
    p->page_tokens = l->page_tokens;
    p->budget = b;
    if (__builtin_add_overflow(p->header_bytes, p->page_bytes, &p->each))
        return err_nomem(e);
    hash_key(p->key);
    return 0;
}

void pages_fini(struct page_pool *p)
{
    pages_trim(p);
    mem_free(p->bucket);
    p->bucket = NULL;
    p->n_buckets = 0;
}

/* --- idle prefixes --- */

static uint64_t hash_of(const struct page_pool *p, uint64_t parent,
                        const int32_t *ids)
{
    /* The parent's serial goes into the key: one pass over the ids. */
    uint64_t key[2] = {p->key[0] ^ parent, p->key[1]};
    return hash_siphash(key, ids, (size_t)p->page_tokens * sizeof *ids);
}

static struct page **bucket_of(const struct page_pool *p, uint64_t parent,
                               const int32_t *ids)
{
    return &p->bucket[hash_of(p, parent, ids) & (uint64_t)(p->n_buckets - 1)];
}

static void idle_leave(struct page_pool *p, struct page *g)
{
    *(g->older ? &g->older->newer : &p->oldest) = g->newer;
    *(g->newer ? &g->newer->older : &p->newest) = g->older;
    g->older = g->newer = NULL;
    p->n_idle--;
}

static void idle_enter(struct page_pool *p, struct page *g)
{
    g->older = p->newest;
    g->newer = NULL;
    *(p->newest ? &p->newest->newer : &p->oldest) = g;
    p->newest = g;
    p->n_idle++;
}

static void make_free(struct page_pool *p, struct page *g)
{
    g->older = p->free;
    p->free = g;
    p->n_free++;
}

/* Forget what is in an idle prefix. */
static void forget(struct page_pool *p, struct page *g)
{
    struct page **at = bucket_of(p, g->parent, g->ids);
    while (*at != g)
        at = &(*at)->chain;
    *at = g->chain;
    g->chain = NULL;
    g->serial = 0;
    p->n_indexed--;
    idle_leave(p, g);
}

/* --- pages --- */

static void drop_free(struct page_pool *p)
{
    while (p->free) {
        struct page *g = p->free;
        p->free = g->older;
        p->n_free--;
        p->n_pages--;
        mem_aligned_free(g);
        state_unreserve(p->budget, p->each);
    }
}

void pages_trim(struct page_pool *p)
{
    while (p->oldest) {
        struct page *g = p->oldest;
        forget(p, g);
        make_free(p, g);
    }
    drop_free(p);
}

/* One more free page: new, or of an idle prefix. */
static int one_free(struct page_pool *p, struct err *e)
{
    struct page *g = p->oldest;
    if (state_reserve(p->budget, p->each) == 0) {
        g = mem_aligned(p->each);
        if (!g) {
            state_unreserve(p->budget, p->each);
            return err_nomem(e);
        }
        p->n_pages++;
    } else if (g) {
        forget(p, g);
    } else {
        return SEQ_WAIT;
    }
    make_free(p, g);
    return SEQ_OK;
}

/* Bytes that pages_take could hand out now. */
static size_t room(const struct page_pool *p)
{
    size_t used = atomic_load(&p->budget->used);
    size_t rest = used < p->budget->limit ? p->budget->limit - used : 0;
    return rest / p->each * p->each + (size_t)(p->n_free + p->n_idle) * p->each;
}

int pages_take(struct page_pool *p, int n, void **out, struct err *e)
{
    /* Prefixes are not dropped for a request that waits all the same. */
    if ((size_t)n > room(p) / p->each)
        return SEQ_WAIT;
    while (p->n_free < n) {
        int rc = one_free(p, e);
        if (rc)
            return rc;
    }
    for (int i = 0; i < n; i++) {
        struct page *g = p->free;
        p->free = g->older;
        p->n_free--;
        g->older = NULL;
        g->refs = 1;
        out[i] = data_of(p, g);
    }
    return SEQ_OK;
}

void pages_hold(struct page_pool *p, void *data)
{
    struct page *g = page_of(p, data);
    if (g->refs++ == 0)
        idle_leave(p, g);
}

void pages_drop(struct page_pool *p, void *data)
{
    struct page *g = page_of(p, data);
    if (--g->refs > 0)
        return;
    if (g->serial)
        idle_enter(p, g);
    else
        make_free(p, g);
}

int pages_fixed(const struct page_pool *p, const void *data)
{
    const struct page *g = page_of(p, data);
    return g->refs > 1 || g->serial != 0;
}

static int grow_table(struct page_pool *p)
{
    int n = p->n_buckets ? p->n_buckets * 2 : FIRST_BUCKETS;
    struct page **old = p->bucket;
    struct page **bucket = mem_zarray((size_t)n, sizeof(struct page *));
    if (!bucket)
        return -1;
    int n_old = p->n_buckets;
    p->bucket = bucket;
    p->n_buckets = n;
    for (int i = 0; i < n_old; i++) {
        for (struct page *g = old[i], *next; g; g = next) {
            next = g->chain;
            struct page **at = bucket_of(p, g->parent, g->ids);
            g->chain = *at;
            *at = g;
        }
    }
    mem_free(old);
    return 0;
}

static struct page *look_up(const struct page_pool *p, uint64_t parent,
                            const int32_t *ids)
{
    size_t bytes = (size_t)p->page_tokens * sizeof *ids;
    if (!p->bucket)
        return NULL;
    for (struct page *g = *bucket_of(p, parent, ids); g; g = g->chain)
        if (g->parent == parent && memcmp(g->ids, ids, bytes) == 0)
            return g;
    return NULL;
}

void *pages_find(struct page_pool *p, uint64_t parent, const int32_t *ids,
                 uint64_t *serial)
{
    struct page *g = look_up(p, parent, ids);
    if (!g)
        return NULL;
    *serial = g->serial;
    pages_hold(p, data_of(p, g));
    return data_of(p, g);
}

void *pages_keep(struct page_pool *p, void *data, uint64_t parent,
                 const int32_t *ids, uint64_t *serial)
{
    struct page *g = page_of(p, data), *same = look_up(p, parent, ids);

    *serial = g->serial;
    if (g->serial)
        return data;
    if (same) {
        *serial = same->serial;
        pages_hold(p, data_of(p, same));
        pages_drop(p, data);
        return data_of(p, same);
    }
    if (p->n_indexed >= p->n_buckets && grow_table(p) && !p->bucket)
        return data;
    memcpy(g->ids, ids, (size_t)p->page_tokens * sizeof *ids);
    g->parent = parent;
    g->serial = *serial = ++p->serial;
    struct page **at = bucket_of(p, parent, ids);
    g->chain = *at;
    *at = g;
    p->n_indexed++;
    return data;
}
