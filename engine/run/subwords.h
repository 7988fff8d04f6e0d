/* subwords: what a word is to a model of sub-words, so that their texts can be
 * put together to words. The one place of this definition:
 *
 *   A word is a run of letters, digits and combining marks, in which there may
 *   be apostrophes before a letter; or a run of other marks ("?!"); or one
 *   token of white space. One space may stand before the first two; it is not
 *   part of the word's text.
 *   A word ends where a token follows that does not go on with the run: one
 *   that begins with white space or with the other kind of character, or the
 *   end of the text.
 *   A token that ends inside a code point goes on with the bytes that complete
 *   it; what it will be is guessed from its first byte (UTF-8: 0xE2 and four-
 *   byte forms mark and picture, others letters).
 *
 * Tokens are judged by their bytes alone (tokenizer_piece).
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_SUBWORDS_H
#define SEQD_SUBWORDS_H

#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "engine/text/tokenizer.h"

/* How a token begins. */
enum word_kind {
    WORD_NEVER, /* is not offered */
    WORD_END,   /* ends the text */
    WORD_SPACE, /* white space */
    WORD_LETTER,
    WORD_MARK,
    WORD_REST /* a later byte of a code point */
};

/* Where a word's text stands. */
enum word_state {
    WORD_OPEN,    /* nothing but one space so far */
    WORD_LETTERS, /* ends in a letter, digit, combining mark */
    WORD_MARKS,   /* ends in another mark */
    WORD_PART,    /* ends inside a code point */
    WORD_WHOLE    /* nothing goes on with it: white space */
};

/* subwords_kinds: the kind of each of n ids into kind [n]. forbid [n_forbid]:
 * ids that are not offered. */
void subwords_kinds(const struct tokenizer *t, const int32_t *forbid,
                    int n_forbid, uint8_t *kind, int n);

enum word_state subwords_state(const char *text, size_t n);
/* subwords_goes_on: 1 when a token of this kind continues a word. */
int subwords_goes_on(enum word_state s, enum word_kind k);
/* subwords_text: the word of a text [n]: without its space, valid UTF-8 (U+FFFD
 * for other bytes), NUL-terminated, cut to cap. */
void subwords_text(const char *text, size_t n, char *out, size_t cap);

#endif
