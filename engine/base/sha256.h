/* sha256: FIPS 180-4, for the digests of checkpoints.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_SHA256_H
#define SEQD_SHA256_H

#include <stddef.h>
#include <stdint.h>

struct sha256 {
    uint32_t h[8];
    uint64_t n;       /* bytes so far */
    uint8_t part[64]; /* an unfinished block */
    void (*blocks)(uint32_t h[8], const uint8_t *p, size_t n);
};

void sha256_init(struct sha256 *c);
/* sha256_init_portable: without special instructions, for tests. */
void sha256_init_portable(struct sha256 *c);
void sha256_add(struct sha256 *c, const void *p, size_t n);
void sha256_finish(struct sha256 *c, uint8_t out[32]);
/* sha256_hex: 64 lower-case digits and a NUL. */
void sha256_hex(const uint8_t digest[32], char out[65]);

#endif
