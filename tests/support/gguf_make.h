/* gguf_make: GGUF files for tests, true or with any fault in them: each call
 * appends what it says to a buffer, nothing is checked or counted. Writing to
 * a file is the last step.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_GGUF_MAKE_H
#define SEQD_GGUF_MAKE_H

#include <stddef.h>
#include <stdint.h>

#include "engine/base/buf.h"
#include "engine/checkpoint/gguf.h"

/* ggml's numbers of tensor types */
enum {
    GM_F32 = 0,
    GM_F16 = 1,
    GM_Q4_0 = 2,
    GM_Q4_1 = 3,
    GM_Q8_0 = 8,
    GM_Q4_K = 12,
    GM_IQ2_XXS = 16,
    GM_BF16 = 30
};

void gm_head(struct buf *b, uint32_t version, uint64_t n_tensors,
             uint64_t n_keys);
void gm_int(struct buf *b, int bytes, uint64_t v); /* little endian */
void gm_string(struct buf *b, const char *s);      /* length and bytes */

/* Key, type, value. */
void gm_key(struct buf *b, const char *key, enum gguf_type type);
void gm_kv_string(struct buf *b, const char *key, const char *value);
void gm_kv_int(struct buf *b, const char *key, enum gguf_type type,
               uint64_t v); /* any type of numbers by its bits */
void gm_kv_f32(struct buf *b, const char *key, float v);
void gm_kv_array(struct buf *b, const char *key, enum gguf_type elem,
                 uint64_t n); /* elements follow */

/* A description; ne as in the file (rows of ne[0]), offset in the section. */
void gm_tensor(struct buf *b, const char *name, uint32_t type, int n_dims,
               const uint64_t *ne, uint64_t offset);
void gm_align(struct buf *b, size_t align); /* zeros up to a multiple */
void gm_fill(struct buf *b, size_t n, uint8_t byte);

/* gm_write: the buffer as a file; 0 or -1. */
int gm_write(const struct buf *b, const char *path);

#endif
