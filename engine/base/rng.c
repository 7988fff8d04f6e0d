/* rng: see rng.h. Sources: Steele, Lea and Flood 2014 (SplitMix64); Blackman
 * and Vigna 2018 (xoshiro256**); Lemire 2019 (unbiased bounded integers).
 *
 * SPDX-License-Identifier: MIT */
#include "engine/base/rng.h"

#include <math.h>
#include <sys/random.h>

#include "engine/base/clock.h"

#define GAMMA 0x9e3779b97f4a7c15u /* 2^64 / golden ratio, odd */

static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* The (index+1)-th output of a SplitMix64 that is seeded with the first output
 * of SplitMix64(seed): neighbouring seeds do not give shifted sequences. */
uint64_t rng_hash(uint64_t seed, uint64_t index)
{
    return mix(mix(seed + GAMMA) + (index + 1) * GAMMA);
}

static double to_unit(uint64_t x)
{
    return (double)(x >> 11) * 0x1p-53;
}

double rng_uniform_at(uint64_t seed, uint64_t index)
{
    return to_unit(rng_hash(seed, index));
}

uint64_t rng_entropy(void)
{
    uint64_t x;
    if (getrandom(&x, sizeof(x), GRND_NONBLOCK) == (ssize_t)sizeof(x))
        return x;
    /* Before the pool is ready at boot: the clock and our address space. */
    return rng_hash((uint64_t)clock_wall_us(),
                    (uint64_t)clock_now_us() ^ (uint64_t)(uintptr_t)&x);
}

void rng_init(struct rng *r, uint64_t seed)
{
    for (int i = 0; i < 4; i++) {
        seed += GAMMA;
        r->s[i] = mix(seed);
    }
}

static inline uint64_t rotl(uint64_t x, int k)
{
    return (x << k) | (x >> (64 - k));
}

uint64_t rng_next(struct rng *r)
{
    uint64_t *s = r->s;
    uint64_t out = rotl(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return out;
}

double rng_uniform(struct rng *r)
{
    return to_unit(rng_next(r));
}

/* Marsaglia's polar method; the second value is thrown away, so that the
 * generator's state is its four words and nothing else. */
double rng_normal(struct rng *r)
{
    double u, s;
    do {
        u = 2 * rng_uniform(r) - 1;
        double v = 2 * rng_uniform(r) - 1;
        s = u * u + v * v;
    } while (s >= 1 || s == 0);
    return u * sqrt(-2 * log(s) / s);
}

uint32_t rng_below(struct rng *r, uint32_t n)
{
    uint64_t m = (rng_next(r) >> 32) * n;
    if ((uint32_t)m < n) {
        uint32_t floor = (uint32_t)(0u - n) % n;
        while ((uint32_t)m < floor)
            m = (rng_next(r) >> 32) * n;
    }
    return (uint32_t)(m >> 32);
}
