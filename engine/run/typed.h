/* typed: the beginning of a word that somebody is typing, and what of a
 * vocabulary goes on with it. The one place of the rule:
 *
 *   A word begins with what was typed when its bytes do. Besides, a capital in
 *   front stands for the small letter, too: whoever begins a sentence types
 *   "Bir" where the model may know "birthday" alone. A vocabulary that has no
 *   capitals is held against all that was typed in small letters.
 *   What is offered is what was typed, as it was typed, and what the model puts
 *   behind it: nothing is taken back.
 *
 * With models of sub-words a space may stand in front of the word, and tokens
 * end anywhere: before the end of what was typed, at it, behind it. A form is
 * one way to spell the beginning, [space] x [as typed, small].
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_TYPED_H
#define SEQD_TYPED_H

#include <stddef.h>

#include "engine/base/err.h"
#include "engine/text/tokenizer.h"

#define TYPED_MOST 64 /* code points */
#define TYPED_BYTES (4 * TYPED_MOST)
#define TYPED_FORMS 4

struct typed {
    char text[TYPED_BYTES + 1]; /* NUL-terminated */
    int n;                      /* its bytes; 0: every word goes */
    unsigned first;             /* bits of the forms that a word may take */
    int n_plain;                /* forms without a space; they come first */
    struct {
        char s[TYPED_BYTES + 2];
        int n;
    } form[TYPED_FORMS];
};

/* typed_check: ERR_INVALID (reason "invalid_value", param "prefix"): white
 * space in it, more than TYPED_MOST code points. */
int typed_check(const char *text, struct err *e);

/* typed_set: of a text that typed_check has passed; NULL is "". all_small: of
 * a vocabulary without capitals. apart: a letter, digit or combining mark may
 * not come first without a space before it. */
void typed_set(struct typed *t, const char *text, int all_small, int apart);

/* typed_no_capitals: 1 when no entry but control tokens has a letter that is
 * not its own small one. O(vocabulary). */
int typed_no_capitals(const struct tokenizer *t);

/* typed_word: how many bytes of a whole word [n] were typed, in the form
 * *form; 0: the word does not begin so. */
int typed_word(const struct typed *t, const char *word, size_t n, int *form);

/* typed_step: a token [n] behind `at` bytes of the forms in the set `forms`:
 * the set of those that it goes on with, and in *rest how many of its last
 * bytes stand behind the whole form (-1: it ends before). */
unsigned typed_step(const struct typed *t, unsigned forms, int at,
                    const char *piece, size_t n, int *rest);

#endif
