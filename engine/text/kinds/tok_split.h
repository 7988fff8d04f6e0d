/* tok_split: the rules that cut a text into vocabulary entries, one function
 * each (tok_word.c, tok_char.c). Pieces are handed to fn in order, with their
 * byte span in the text; they are valid during the call. Memory is constant
 * and time linear in n, whatever the text. Bytes that are not UTF-8, and NUL,
 * count as U+FFFD. All return 0, or what fn returned to stop.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_TOK_SPLIT_H
#define SEQD_TOK_SPLIT_H

#include "engine/text/tokenizer.h"

enum tok_rule { RULE_ENGLISH, RULE_WHITESPACE, RULE_CHARACTERS, N_RULES };

/* The rule that `normalizer.type` names, or -1. */
int tok_rule_find(const char *name);

int tok_word_split(const char *text, size_t n, int lowercase, split_fn *fn,
                   void *arg);
/* newline: the piece that a line feed is, NULL: white space. */
int tok_space_split(const char *text, size_t n, const char *newline,
                    split_fn *fn, void *arg);
int tok_char_split(const char *text, size_t n, split_fn *fn, void *arg);

/* tok_decode: one code point at text[i]; U+FFFD and length 1 for a bad
 * byte and for NUL, which no piece may hold. */
size_t tok_decode(const char *text, size_t n, size_t i, uint32_t *cp);

#endif
