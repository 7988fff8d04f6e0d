/* fuzz_targets: what the fuzzers run on an input; also run on the stored
 * corpus by a unit test. An input that breaks an invariant traps.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_FUZZ_TARGETS_H
#define SEQD_FUZZ_TARGETS_H

#include <stddef.h>
#include <stdint.h>

void fuzz_json(const uint8_t *data, size_t n);
void fuzz_safetensors(const uint8_t *data, size_t n);
void fuzz_torch(const uint8_t *data, size_t n);
void fuzz_gguf(const uint8_t *data, size_t n);
void fuzz_hparams(const uint8_t *data, size_t n);
/* The first byte chooses the rule, the rest is the text. */
void fuzz_tokenizer(const uint8_t *data, size_t n);
/* The first byte chooses a vocabulary of tests/golden/tokenizer, the rest is
 * the text. */
void fuzz_bpe(const uint8_t *data, size_t n);
/* The text of a tokenizer.json. */
void fuzz_vocabulary(const uint8_t *data, size_t n);

#endif
