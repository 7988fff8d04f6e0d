/* mem: the only door to the heap, so that a test can make every allocation
 * fail once (mem_fail_at) and see that nothing is lost or leaked. Sizes of
 * arrays are checked for overflow. All functions return NULL on failure.
 * Thread-safe. mem_fail_at is for single-threaded tests.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_MEM_H
#define SEQD_MEM_H

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

/* mem_aligned: MEM_ALIGN-aligned block, zeroed; free with mem_aligned_free.
 * Blocks of 2 MiB and more ask for huge pages. */
void *mem_aligned(size_t bytes);
void mem_aligned_free(void *p);

/* mem_floats: n floats from mem_aligned (zeroed). */
float *mem_floats(size_t n);

/* mem_fail_at: make the n-th allocation from now fail (1 = the next one);
 * 0 switches the injection off. mem_count: allocations since the last call. */
void mem_fail_at(long n);
long mem_count(void);

#endif
