/* unicode: what the tokenizers need of the Unicode character database (16.0,
 * the version that Hugging Face tokenizers 0.23 classifies by): general
 * categories, White_Space, lower case, the normalisation forms (UAX #15). The
 * tables are made by tools/make_unicode.py. All functions are pure; code points
 * above U+10FFFF are unassigned.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_UNICODE_H
#define SEQD_UNICODE_H

#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"

/* Cw: the control characters that are White_Space (U+0009 to U+000D, U+0085).
 */
enum uni_cat {
    UNI_CN,
    UNI_CC,
    UNI_CW,
    UNI_CF,
    UNI_CO,
    UNI_CS,
    UNI_ZS,
    UNI_ZL,
    UNI_ZP,
    UNI_LU,
    UNI_LL,
    UNI_LT,
    UNI_LM,
    UNI_LO,
    UNI_MN,
    UNI_MC,
    UNI_ME,
    UNI_ND,
    UNI_NL,
    UNI_NO,
    UNI_PC,
    UNI_PD,
    UNI_PS,
    UNI_PE,
    UNI_PI,
    UNI_PF,
    UNI_PO,
    UNI_SM,
    UNI_SC,
    UNI_SK,
    UNI_SO
};

/* uni_category: enum uni_cat of a code point. */
uint32_t uni_category(uint32_t cp);
/* uni_mask: 1 << category, to be tested against the sets below. */
uint32_t uni_mask(uint32_t cp);

#define UNI_BIT(c) (1u << UNI_##c)
#define UNI_LETTER                                                             \
    (UNI_BIT(LU) | UNI_BIT(LL) | UNI_BIT(LT) | UNI_BIT(LM) | UNI_BIT(LO))
#define UNI_MARK (UNI_BIT(MN) | UNI_BIT(MC) | UNI_BIT(ME))
#define UNI_NUMBER (UNI_BIT(ND) | UNI_BIT(NL) | UNI_BIT(NO))
#define UNI_PUNCT                                                              \
    (UNI_BIT(PC) | UNI_BIT(PD) | UNI_BIT(PS) | UNI_BIT(PE) | UNI_BIT(PI) |     \
     UNI_BIT(PF) | UNI_BIT(PO))
#define UNI_SYMBOL (UNI_BIT(SM) | UNI_BIT(SC) | UNI_BIT(SK) | UNI_BIT(SO))
#define UNI_SPACE (UNI_BIT(CW) | UNI_BIT(ZS) | UNI_BIT(ZL) | UNI_BIT(ZP))
#define UNI_CONTROL (UNI_BIT(CC) | UNI_BIT(CW))

/* uni_is_word: \w of the reference's expressions: what is alphabetic, marks,
 * decimal digits, connectors, joiners; not fractions. */
int uni_is_word(uint32_t cp);

/* uni_lower: the simple lower case mapping (one code point). The full mapping
 * differs for U+0130 alone: "i" and U+0307. */
uint32_t uni_lower(uint32_t cp);

/* uni_stand_in: cp, or a code point of its category and its length in UTF-8 to
 * show to PCRE2, whose tables may be as old as Unicode 14 (10.42, Debian 12's,
 * has these), and which takes U+180E for white space. */
uint32_t uni_stand_in(uint32_t cp);
/* uni_stand_splits: 1 when of some code points that are shown as one lo..hi
 * holds some, but not all. */
int uni_stand_splits(uint32_t lo, uint32_t hi);

enum uni_form { UNI_NFC, UNI_NFD, UNI_NFKC, UNI_NFKD };

/* A text after a step of normalisation: p [n], and for each byte the character
 * of the input that it comes from: bytes at to end, both ascending; at [n] is
 * the end of the input. */
struct uni_text {
    char *p;
    uint32_t *at, *end; /* [n + 1], [n] */
    size_t n, cap;
    size_t max; /* what it may grow to, set by its owner; 0: no bound */
};
void uni_text_fini(struct uni_text *u);
/* uni_text_put: append cp, which comes from bytes [at, end) of the input. The
 * end is the caller's last put: uni_text_end(u, n of the input). 0, ERR_NOMEM,
 * or ERR_INVALID beyond max. */
int uni_text_put(struct uni_text *u, uint32_t cp, uint32_t at, uint32_t end,
                 struct err *e);
int uni_text_end(struct uni_text *u, uint32_t at, struct err *e);
/* uni_text_copy: append s [n] as it is, and the end. */
int uni_text_copy(struct uni_text *u, const char *s, size_t n, struct err *e);
/* uni_text_through: u, made from the text of `in`, comes from the input of
 * that. */
void uni_text_through(struct uni_text *u, const struct uni_text *in);

/* Writing what stands for the characters of s [n], one after the other, as
 * NormalizedString::transform of the reference tells it: the next character
 * takes the place of the next one of s and -change more go with it, or, change
 * 1, it is put in and comes from the last one that was taken. */
struct uni_move {
    const char *s;
    size_t n, next, last; /* bytes of s: the next character, the last taken */
    struct uni_text *out;
    struct err *e;
};
int uni_move_put(struct uni_move *m, uint32_t cp, int change);

/* uni_normalize: append valid UTF-8 s [n], normalised, and the end. O(n), also
 * for runs of combining marks. Bytes that are not UTF-8 become U+FFFD. Code
 * points younger than Unicode 9 stay as they are, as in the reference. */
int uni_normalize(enum uni_form form, const char *s, size_t n,
                  struct uni_text *out, struct err *e);
/* uni_is_plain: 1 when NFC and NFD leave s as it is for sure (no code point
 * from U+00C0 on); a quick look before the work. */
int uni_is_plain(const char *s, size_t n);

#endif
