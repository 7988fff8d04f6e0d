/* rng: random numbers as a pure function of (seed, index), so that a choice
 * depends on the request's seed and the index of the choice, never on who
 * else is served (SplitMix64 finaliser twice over; Steele et al. 2014). The
 * stateful generator (xoshiro256**, Blackman and Vigna 2018) is the trainer's.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_RNG_H
#define SEQD_RNG_H

#include <stddef.h>
#include <stdint.h>

uint64_t rng_hash(uint64_t seed, uint64_t index);
double rng_uniform_at(uint64_t seed, uint64_t index); /* [0, 1), 53 bits */
uint64_t rng_entropy(void); /* from the system, for requests without a seed */

struct rng {
    uint64_t s[4];
};
void rng_init(struct rng *r, uint64_t seed);
uint64_t rng_next(struct rng *r);
double rng_uniform(struct rng *r);             /* [0, 1) */
double rng_normal(struct rng *r);              /* mean 0, variance 1 */
uint32_t rng_below(struct rng *r, uint32_t n); /* unbiased, n > 0 */

#endif
