/* corpus_replay: the stored inputs of a fuzzer through its target, in tests.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_CORPUS_REPLAY_H
#define SEQD_CORPUS_REPLAY_H

#include <stddef.h>
#include <stdint.h>

typedef void corpus_fn(const uint8_t *data, size_t n);

/* corpus_replay: fn on each file of tests/fuzz/corpus/name, in a block of
 * exactly its size. Fails the running test where there is none.
 * corpus_replay_good: at least `least` of them were good (fuzz_check.h). */
void corpus_replay(const char *name, corpus_fn *fn);
void corpus_replay_good(const char *name, corpus_fn *fn, int least);

#endif
