/* sha256_block: between sha256.c and the instructions that some CPUs have for
 * it (sha256_x86.c; sha256_noisa.c elsewhere).
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_SHA256_BLOCK_H
#define SEQD_SHA256_BLOCK_H

#include <stddef.h>
#include <stdint.h>

extern const uint32_t sha256_k[64];

/* Work n blocks of 64 bytes into h. */
typedef void sha256_blocks_fn(uint32_t h[8], const uint8_t *p, size_t n);

/* sha256_isa: the fast way of this CPU, or NULL. */
sha256_blocks_fn *sha256_isa(void);

#endif
