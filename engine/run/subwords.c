/* subwords: see subwords.h.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/run/subwords.h"

#include <string.h>

#include "engine/base/utf8.h"
#include "engine/text/unicode/unicode.h"

#define APOSTROPHE 0x27u
#define RIGHT_QUOTE 0x2019u /* the apostrophe of typesetting */

static int is_letter(uint32_t cp)
{
    return (uni_mask(cp) & (UNI_LETTER | UNI_NUMBER | UNI_MARK)) != 0;
}

/* Bytes of the code point that begins with this byte. */
static size_t length_of(unsigned char c)
{
    return c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
}

/* By the first byte of a code point that is not whole yet. */
static enum word_kind guess(unsigned char c)
{
    return c == 0xe2 || c >= 0xf0 ? WORD_MARK : WORD_LETTER;
}

static enum word_kind kind_of(const char *p, size_t n)
{
    uint32_t cp, after;
    unsigned char c = n > 0 ? (unsigned char)p[0] : 0;
    int len = utf8_next(p, n, &cp);

    if (n == 0)
        return WORD_NEVER;
    if (c >= 0x80 && c < 0xc0)
        return WORD_REST;
    if (len == 0)
        return guess(c);
    if (utf8_is_space(cp))
        return WORD_SPACE;
    if (cp == APOSTROPHE || cp == RIGHT_QUOTE) {
        int more = utf8_next(p + len, n - (size_t)len, &after);
        return more > 0 && is_letter(after) ? WORD_LETTER : WORD_MARK;
    }
    return is_letter(cp) ? WORD_LETTER : WORD_MARK;
}

void subwords_kinds(const struct tokenizer *t, const int32_t *forbid,
                    int n_forbid, uint8_t *kind, int n)
{
    for (int32_t id = 0; id < n; id++) {
        size_t len = 0;
        const char *p = tokenizer_piece(t, id, &len);
        kind[id] = tokenizer_is_end(t, id) ? WORD_END
                   : p                     ? (uint8_t)kind_of(p, len)
                                           : WORD_NEVER;
    }
    for (int i = 0; i < n_forbid; i++)
        kind[forbid[i]] = WORD_NEVER;
}

enum word_state subwords_state(const char *text, size_t n)
{
    uint32_t cp;

    if (n == 1 && text[0] == ' ')
        return WORD_OPEN;
    size_t at = n;
    while (at > 0 && n - at < 4 && ((unsigned char)text[--at] & 0xc0) == 0x80) {
    }
    if (n == 0 || utf8_next(text + at, n - at, &cp) == 0) {
        int lead = n > 0 && (unsigned char)text[at] >= 0xc0;
        return lead && n - at < length_of((unsigned char)text[at]) ? WORD_PART
                                                                   : WORD_MARKS;
    }
    if (utf8_is_space(cp))
        return WORD_WHOLE;
    return is_letter(cp) ? WORD_LETTERS : WORD_MARKS;
}

int subwords_goes_on(enum word_state s, enum word_kind k)
{
    switch (s) {
    case WORD_OPEN:
        return k == WORD_LETTER || k == WORD_MARK;
    case WORD_LETTERS:
        return k == WORD_LETTER;
    case WORD_MARKS:
        return k == WORD_MARK;
    case WORD_PART:
        return k == WORD_REST;
    case WORD_WHOLE:
        break;
    }
    return 0;
}

void subwords_text(const char *text, size_t n, char *out, size_t cap)
{
    static const char wrong[] = "\xef\xbf\xbd";
    size_t at = n > 1 && text[0] == ' ' ? 1 : 0, k = 0;
    uint32_t cp;

    while (at < n) {
        int len = utf8_next(text + at, n - at, &cp);
        const char *from = len > 0 ? text + at : wrong;
        size_t put = len > 0 ? (size_t)len : sizeof(wrong) - 1;
        if (k + put >= cap)
            break;
        memcpy(out + k, from, put);
        k += put;
        at += len > 0 ? (size_t)len : 1;
    }
    out[k] = 0;
}
