/* hash: see hash.h.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/base/hash.h"

#include <pthread.h>

#include "engine/base/rng.h"

static inline uint64_t rotl(uint64_t x, int b)
{
    return (x << b) | (x >> (64 - b));
}

static inline void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = rotl(v[1], 13) ^ v[0];
    v[0] = rotl(v[0], 32);
    v[2] += v[3];
    v[3] = rotl(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotl(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotl(v[1], 17) ^ v[2];
    v[2] = rotl(v[2], 32);
}

static uint64_t load_le(const unsigned char *p, size_t n)
{
    uint64_t m = 0;
    for (size_t i = 0; i < n; i++)
        m |= (uint64_t)p[i] << (8 * i);
    return m;
}

uint64_t hash_siphash(const uint64_t key[2], const void *p, size_t n)
{
    uint64_t v[4] = {
        key[0] ^ 0x736f6d6570736575u, /* the four constants of the paper */
        key[1] ^ 0x646f72616e646f6du,
        key[0] ^ 0x6c7967656e657261u,
        key[1] ^ 0x7465646279746573u,
    };
    const unsigned char *s = p;
    size_t left = n;
    for (; left >= 8; s += 8, left -= 8) {
        uint64_t m = load_le(s, 8);
        v[3] ^= m;
        sip_round(v);
        sip_round(v);
        v[0] ^= m;
    }
    uint64_t last = load_le(s, left) | (uint64_t)n << 56;
    v[3] ^= last;
    sip_round(v);
    sip_round(v);
    v[0] ^= last;
    v[2] ^= 0xff;
    for (int i = 0; i < 4; i++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static uint64_t process_key[2]; /* written once, by draw_key */

static void draw_key(void)
{
    process_key[0] = rng_entropy();
    process_key[1] = rng_entropy();
}

void hash_key(uint64_t key[2])
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, draw_key);
    key[0] = process_key[0];
    key[1] = process_key[1];
}
