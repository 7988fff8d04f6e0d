/* vocab: a vocabulary from any number of texts: files, columns, both sides of
 * pairs; what is added to one vocab is one vocabulary. Words and characters:
 * the most frequent pieces (ties: bytes in order). Sub-words: the merges of
 * byte-level BPE (bpe_learn.h) over GPT-2's pre-splitting. Special tokens stand
 * first: the unknown entry of words, the end token, the mask, the format's
 * controls and --special's.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_VOCAB_H
#define SEQD_VOCAB_H

#include "models/train/data.h"

struct vocab;

/* vocab_open: ERR_INVALID (a special token that cannot be one; too few entries
 * for bytes and special tokens), ERR_NOMEM. o is read until vocab_close. */
int vocab_open(const struct options *o, const struct data_format *f,
               struct vocab **out, struct err *e);
/* vocab_add: one more text, valid UTF-8. ERR_NOMEM. */
int vocab_add(struct vocab *v, const char *text, size_t n, struct err *e);
/* vocab_write: the tokenizer.json of what was added. Progress goes to o->log.
 */
int vocab_write(struct vocab *v, struct buf *out, struct err *e);
/* vocab_write_setup: the tokenizer_config.json beside it; nothing where
 * tokenizer.json says all. */
int vocab_write_setup(struct vocab *v, struct buf *out, struct err *e);
void vocab_close(struct vocab *v);

/* vocab_files: all of that for files "A,B:0.3", into both texts. */
int vocab_files(const struct options *o, const struct data_format *f,
                struct buf *out, struct buf *setup, struct err *e);

#endif
