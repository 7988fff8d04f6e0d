/* mem: the only door to the heap, so that a test can make every allocation
 * fail once (mem_fail_at) and see that nothing is lost or leaked. Sizes of
 * arrays are checked for overflow. All functions return NULL on failure.
 * Thread-safe. mem_fail_at is for single-threaded tests.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_MEM_H
#define SEQD_MEM_H

#include <stdatomic.h>
#include <stddef.h>

#define MEM_ALIGN 64 /* a cache line, and the widest vector */

void *mem_alloc(size_t bytes);
void *mem_zalloc(size_t bytes);
void *mem_array(size_t n, size_t bytes);  /* n * bytes, overflow-checked */
void *mem_zarray(size_t n, size_t bytes); /* the same, zeroed */
/* mem_grow: realloc of n elements; the old block stays valid on failure. */
void *mem_grow(void *p, size_t n, size_t bytes);
char *mem_strdup(const char *s);
char *mem_strndup(const char *s, size_t n);
void mem_free(void *p); /* NULL is fine */

/* mem_forget: nobody reads these bytes of a block any more: the whole pages
 * among them go back to the system. What is read there is undefined. */
void mem_forget(void *p, size_t bytes);

/* mem_aligned: MEM_ALIGN-aligned block, zeroed; free with mem_aligned_free.
 * Blocks of 2 MiB and more ask for huge pages. */
void *mem_aligned(size_t bytes);
void mem_aligned_free(void *p);

/* mem_floats: n floats from mem_aligned (zeroed). */
float *mem_floats(size_t n);

/* mem_room: n floats like those of mem_floats, of undefined content. Nothing of
 * a large block is touched: it is there once it is written. */
float *mem_room(size_t n);

/* mem_lasting: the same for what stays as long as a model does. Such blocks lie
 * side by side, in huge pages that one of them would not fill. mem_lasting_free
 * gives a block's pages back; its addresses only go with all blocks near it. */
float *mem_lasting(size_t n);
void mem_lasting_free(void *p);

/* mem_reserve: take bytes of a limit that several share: 0, or -1 when it would
 * be passed; then nothing is taken. Any thread. */
int mem_reserve(_Atomic size_t *used, size_t limit, size_t bytes);
void mem_unreserve(_Atomic size_t *used, size_t bytes);

/* Such a limit for those who may outlive each other: the last to drop it frees
 * it. mem_budget_new: one reference, NULL without memory. mem_budget_take: as
 * mem_reserve. NULL may be kept and dropped. */
struct mem_budget {
    atomic_int refs;
    _Atomic size_t used;
    size_t limit;
};
struct mem_budget *mem_budget_new(size_t limit);
void mem_budget_keep(struct mem_budget *b);
void mem_budget_drop(struct mem_budget *b);
int mem_budget_take(struct mem_budget *b, size_t bytes);
void mem_budget_give(struct mem_budget *b, size_t bytes);

/* mem_fail_at: make the n-th allocation from now fail (1 = the next one);
 * 0 switches the injection off. mem_count: allocations since the last call. */
void mem_fail_at(long n);
long mem_count(void);

#endif
