/* tok_13a: cutting a text into words and marks as mteval-v13a.pl does (NIST),
 * in the form that sacreBLEU gave it (Post 2018): the tokens that BLEU counts.
 * White space is what Python's str.split takes for it: Unicode's, and U+001C to
 * U+001F.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_TOK_13A_H
#define SEQD_TOK_13A_H

#include <stddef.h>
#include <stdint.h>

#include "engine/base/buf.h"
#include "engine/base/err.h"

/* tok_13a_run: valid UTF-8 s [n], appended to out as tokens with white space
 * between (and more of it than there has to be). ERR_NOMEM. */
int tok_13a_run(const char *s, size_t n, struct buf *out, struct err *e);
/* tok_13a_word: the next word of s [n] from *at on: its length, and *at is
 * where it begins; 0 when there is none. */
size_t tok_13a_word(const char *s, size_t n, size_t *at);
/* tok_13a_is_space: of Python's str.split. */
int tok_13a_is_space(uint32_t cp);

#endif
