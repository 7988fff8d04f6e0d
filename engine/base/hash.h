/* hash: SipHash-2-4 (Aumasson and Bernstein 2012) under a key that is drawn
 * once per process, so that no client and no checkpoint can choose colliding
 * keys. Values differ from run to run: never store or send them.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_HASH_H
#define SEQD_HASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t hash_siphash(const uint64_t key[2], const void *p, size_t n);
/* hash_key: the process's key; any thread. */
void hash_key(uint64_t key[2]);

#endif
