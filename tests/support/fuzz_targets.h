/* fuzz_targets: what the fuzzers run on an input; also run on the stored
 * corpus by unit tests. An input that breaks an invariant traps. They keep
 * what is slow to make, and clear it away at exit.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_FUZZ_TARGETS_H
#define SEQD_FUZZ_TARGETS_H

#include <stddef.h>
#include <stdint.h>

/* fuzz_targets.c: readers of files */
void fuzz_json(const uint8_t *data, size_t n);
void fuzz_safetensors(const uint8_t *data, size_t n);
void fuzz_torch(const uint8_t *data, size_t n);
void fuzz_gguf(const uint8_t *data, size_t n);
void fuzz_marian(const uint8_t *data, size_t n);
void fuzz_hparams(const uint8_t *data, size_t n);
/* The first byte chooses the rule, the rest is the text. */
void fuzz_tokenizer(const uint8_t *data, size_t n);
/* The first byte chooses a vocabulary of tests/golden/tokenizer (its lowest two
 * bits) and a chain of expressions (the others), the rest is the text. */
void fuzz_bpe(const uint8_t *data, size_t n);
/* The text of a tokenizer.json. */
void fuzz_vocabulary(const uint8_t *data, size_t n);

/* fuzz_text.c: tokenizers and records. The first byte chooses one of so many
 * tokenizers of tests/golden and, times that number, the flags; the rest is
 * the text. */
#define FUZZ_WORDPIECES 3
#define FUZZ_UNIGRAMS 9
void fuzz_wordpiece(const uint8_t *data, size_t n);
void fuzz_unigram(const uint8_t *data, size_t n);
/* A SentencePiece model file. */
void fuzz_model(const uint8_t *data, size_t n);
/* Two bytes: the length of the table that follows; the rest is the text. */
void fuzz_charsmap(const uint8_t *data, size_t n);
/* The first byte chooses a model; normalizer, pre_tokenizer and decoder, as
 * members of a JSON object, up to a 0; the rest is the text. */
void fuzz_pipe(const uint8_t *data, size_t n);
/* The first byte chooses the kind of record, the rest is the file. */
void fuzz_records(const uint8_t *data, size_t n);
/* A prompt, up to a 0; each byte behind it chooses one of the bytes that may
 * follow. */
void fuzz_abc(const uint8_t *data, size_t n);

/* fuzz_wire.c: the head of a request; a body in chunks. */
void fuzz_head(const uint8_t *data, size_t n);
void fuzz_chunks(const uint8_t *data, size_t n);

/* fuzz_server.c: what a client sends (the first byte: with keys or without, and
 * how it is cut into pieces); the body of a request (the first byte chooses the
 * route). */
void fuzz_conn(const uint8_t *data, size_t n);
void fuzz_api(const uint8_t *data, size_t n);

/* fuzz_models.c: the first byte chooses a small checkpoint of tests/golden; the
 * rest is its config.json; lines KEY=VALUE in place of GGUF's metadata; or what
 * is written over its bytes. Then it is loaded, and makes a step. */
void fuzz_config(const uint8_t *data, size_t n);
void fuzz_keys(const uint8_t *data, size_t n);
void fuzz_checkpoint(const uint8_t *data, size_t n);

/* fuzz_train.c: state.bin of a training. */
void fuzz_state(const uint8_t *data, size_t n);

#endif
