/* mem: see mem.h. The injection counter is two relaxed atomics on the way to
 * malloc, so that it is there in every build and tests need no other library.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/base/mem.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define HUGE_BYTES ((size_t)2 << 20) /* x86-64 and arm64 huge page */

/* Blocks that stay, below this, share chunks; of what a chunk takes of the
 * addresses only what is written is there. Not where the address sanitizer is
 * to see the end of each. */
#ifdef MEM_APART
#define SHARED_BYTES ((size_t)1)
#else
#define SHARED_BYTES ((size_t)16 << 20)
#endif
#define CHUNK_BYTES ((size_t)128 << 20)

static atomic_long fail_at;
static atomic_long n_allocs;

void mem_fail_at(long n)
{
    atomic_store(&fail_at, n);
}

long mem_count(void)
{
    return atomic_exchange(&n_allocs, 0);
}

/* 1 when this allocation has to fail. */
static int inject(void)
{
    atomic_fetch_add_explicit(&n_allocs, 1, memory_order_relaxed);
    if (atomic_load_explicit(&fail_at, memory_order_relaxed) <= 0)
        return 0;
    return atomic_fetch_sub(&fail_at, 1) == 1;
}

void *mem_alloc(size_t bytes)
{
    if (inject() || bytes > PTRDIFF_MAX)
        return NULL;
    return malloc(bytes ? bytes : 1);
}

void *mem_zalloc(size_t bytes)
{
    if (inject() || bytes > PTRDIFF_MAX)
        return NULL;
    return calloc(1, bytes ? bytes : 1);
}

void *mem_array(size_t n, size_t bytes)
{
    size_t total;
    if (__builtin_mul_overflow(n, bytes, &total))
        return NULL;
    return mem_alloc(total);
}

void *mem_zarray(size_t n, size_t bytes)
{
    size_t total;
    if (__builtin_mul_overflow(n, bytes, &total))
        return NULL;
    return mem_zalloc(total);
}

void *mem_grow(void *p, size_t n, size_t bytes)
{
    size_t total;
    if (__builtin_mul_overflow(n, bytes, &total) || total > PTRDIFF_MAX ||
        inject())
        return NULL;
    return realloc(p, total ? total : 1);
}

char *mem_strdup(const char *s)
{
    return mem_strndup(s, strlen(s));
}

char *mem_strndup(const char *s, size_t n)
{
    if (n == SIZE_MAX)
        return NULL;
    char *p = mem_alloc(n + 1);
    if (p) {
        memcpy(p, s, n);
        p[n] = 0;
    }
    return p;
}

void mem_free(void *p)
{
    free(p);
}

void mem_forget(void *p, size_t bytes)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), at = (uintptr_t)p;
    uintptr_t from = (at + page - 1) / page * page;
    uintptr_t to = (at + bytes) / page * page;
    if (from < to)
        madvise((void *)from, to - from, MADV_DONTNEED); /* or it stays */
}

/* Large blocks are fresh pages of the system. */
static void *aligned_block(size_t bytes)
{
    int huge = bytes >= HUGE_BYTES;
    void *p = NULL;
    if (posix_memalign(&p, huge ? HUGE_BYTES : MEM_ALIGN, bytes ? bytes : 1))
        return NULL;
    if (huge)
        madvise(p, bytes, MADV_HUGEPAGE); /* a wish: failure is harmless */
    return p;
}

static void *aligned_room(size_t bytes)
{
    return inject() || bytes > PTRDIFF_MAX - HUGE_BYTES ? NULL
                                                        : aligned_block(bytes);
}

void *mem_aligned(size_t bytes)
{
    void *p = aligned_room(bytes);
    if (p)
        memset(p, 0, bytes);
    return p;
}

void mem_aligned_free(void *p)
{
    free(p);
}

float *mem_floats(size_t n)
{
    size_t total;
    if (__builtin_mul_overflow(n, sizeof(float), &total))
        return NULL;
    return mem_aligned(total);
}

float *mem_room(size_t n)
{
    size_t total;
    if (__builtin_mul_overflow(n, sizeof(float), &total))
        return NULL;
    return aligned_room(total);
}

/* --- blocks that stay --- */

struct chunk {
    size_t bytes, used;
    int n; /* blocks that were not freed */
};

/* In front of each block, MEM_ALIGN bytes. */
struct lasting {
    struct chunk *chunk;
    size_t bytes;
};

static pthread_mutex_t chunk_lock = PTHREAD_MUTEX_INITIALIZER;
static struct chunk *chunk_now; /* where the next block goes, or NULL */

static struct chunk *chunk_new(size_t bytes)
{
    struct chunk *c = aligned_block(bytes);
    if (c)
        *c = (struct chunk){bytes, MEM_ALIGN, 0};
    return c;
}

/* A chunk with room: a large block has its own. Under chunk_lock. */
static struct chunk *chunk_with(size_t bytes)
{
    struct chunk *c = NULL;
    if (bytes < SHARED_BYTES) {
        if (chunk_now && chunk_now->bytes - chunk_now->used >= bytes)
            return chunk_now;
        c = chunk_new(CHUNK_BYTES);
        chunk_now = c ? c : chunk_now;
    }
    return c ? c : chunk_new(bytes + MEM_ALIGN);
}

float *mem_lasting(size_t n)
{
    size_t bytes;
    char *p = NULL;
    if (__builtin_mul_overflow(n, sizeof(float), &bytes) || inject() ||
        bytes > PTRDIFF_MAX - HUGE_BYTES)
        return NULL;
    bytes = (bytes + MEM_ALIGN - 1) / MEM_ALIGN * MEM_ALIGN;
    pthread_mutex_lock(&chunk_lock);
    struct chunk *c = chunk_with(MEM_ALIGN + bytes);
    if (c) {
        p = (char *)c + c->used;
        *(struct lasting *)(void *)p = (struct lasting){c, bytes};
        c->used += MEM_ALIGN + bytes;
        c->n++;
    }
    pthread_mutex_unlock(&chunk_lock);
    return p ? (float *)(void *)(p + MEM_ALIGN) : NULL;
}

void mem_lasting_free(void *p)
{
    if (!p)
        return;
    struct lasting of = *(struct lasting *)(void *)((char *)p - MEM_ALIGN);
    mem_forget(p, of.bytes);
    pthread_mutex_lock(&chunk_lock);
    int last = --of.chunk->n == 0;
    if (last && of.chunk == chunk_now)
        chunk_now = NULL;
    pthread_mutex_unlock(&chunk_lock);
    if (last)
        free(of.chunk);
}

int mem_reserve(_Atomic size_t *used, size_t limit, size_t bytes)
{
    size_t now = atomic_load_explicit(used, memory_order_relaxed);
    do {
        if (bytes > limit || now > limit - bytes)
            return -1;
    } while (!atomic_compare_exchange_weak(used, &now, now + bytes));
    return 0;
}

void mem_unreserve(_Atomic size_t *used, size_t bytes)
{
    atomic_fetch_sub(used, bytes);
}

struct mem_budget *mem_budget_new(size_t limit)
{
    struct mem_budget *b = mem_zalloc(sizeof *b);
    if (!b)
        return NULL;
    atomic_store(&b->refs, 1);
    b->limit = limit;
    return b;
}

void mem_budget_keep(struct mem_budget *b)
{
    if (b)
        atomic_fetch_add(&b->refs, 1);
}

void mem_budget_drop(struct mem_budget *b)
{
    if (b && atomic_fetch_sub(&b->refs, 1) == 1)
        mem_free(b);
}

int mem_budget_take(struct mem_budget *b, size_t bytes)
{
    return mem_reserve(&b->used, b->limit, bytes);
}

void mem_budget_give(struct mem_budget *b, size_t bytes)
{
    mem_unreserve(&b->used, bytes);
}
