/* ports_arch: a toy architecture that uses all of the contract (arch.h): tokens
 * on a whole source port and an appended target port, each with pages; or a
 * port of vectors with outputs of several kinds. Its outputs are hashes of what
 * it has read, so a test computes the right answer by itself. It checks what
 * the engine promises and counts violations.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_PORTS_ARCH_H
#define SEQD_PORTS_ARCH_H

#include <stdatomic.h>

#include "engine/run/arch.h"

#define PORTS_VOCAB 40    /* entries of its tokenizer */
#define PORTS_PAGE 4      /* rows of a page */
#define PORTS_SOURCE 5000 /* rows of a source, at most */
#define PORTS_WIDTH 3     /* floats of a vector */
#define PORTS_VALUES 2    /* columns of OUT_VALUE */

/* PORTS_SHOWN: a pair whose attention can be looked at, of PORTS_HEADS heads in
 * each of two layers. */
enum ports_kind { PORTS_PAIR, PORTS_SERIES, PORTS_SHOWN };
#define PORTS_HEADS 3

/* ports_dir: a checkpoint directory, as fake_dir makes it. A series has no
 * tokenizer. max_chain 0: no limit. */
void ports_dir(enum ports_kind kind, int max_chain, char *path);

extern const struct model_arch ports_arch;
extern const struct model_arch *const ports_archs[];

/* Logit of token v after `n` target tokens, given the source. */
float ports_logit(const int32_t *source, int n_source, const int32_t *target,
                  int n, int v);
/* What the heads of the last layer give to row j of the source then, their
 * mean. */
float ports_mean_weight(const int32_t *source, int n_source,
                        const int32_t *target, int n, int j);
/* Row n - 1 of a series: the value, and what was kept of it. */
void ports_value(const float *x, int n, float value[PORTS_VALUES]);

struct ports_stats {
    atomic_int violations, steps, sources;
    atomic_int both;    /* steps with items of both ports */
    atomic_int shared;  /* pairs of target items on the same source pages */
    atomic_int rows;    /* most wanted of one item */
    atomic_int longest; /* sequence that scratch was asked for */
};
extern struct ports_stats ports_stats;

#endif
