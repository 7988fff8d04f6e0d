/* alphabet: see alphabet.h.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/text/kinds/alphabet.h"

#include <string.h>

#include "engine/base/utf8.h"

static int is_plain(unsigned b)
{
    return (b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b <= 0xac) || b >= 0xae;
}

void alphabet_init(struct alphabet *a)
{
    unsigned n = 0;
    for (unsigned b = 0; b < 256; b++) {
        if (is_plain(b)) {
            a->char_of[b] = (uint16_t)b;
        } else {
            a->byte_of[n] = (uint8_t)b;
            a->char_of[b] = (uint16_t)(256 + n++);
        }
    }
}

/* The byte that the character at s [n] stands for, or -1. */
static int byte_at(const struct alphabet *a, const char *s, size_t n, int *used)
{
    uint32_t cp = (unsigned char)s[0];
    *used = 1;
    if (cp < 0x80) /* most are: half a vocabulary's reading goes here */
        return is_plain(cp) ? (int)cp : -1;
    *used = utf8_next(s, n, &cp);
    if (*used == 0)
        return -1;
    if (cp >= 256 && cp < 256 + sizeof a->byte_of)
        return a->byte_of[cp - 256];
    return cp < 256 && is_plain(cp) ? (int)cp : -1;
}

size_t alphabet_read(const struct alphabet *a, const char *s, size_t n,
                     char *out)
{
    size_t k = 0;
    int used;
    for (size_t i = 0; i < n; i += (size_t)used) {
        if (byte_at(a, s + i, n - i, &used) < 0) {
            memmove(out, s, n);
            return n;
        }
    }
    for (size_t i = 0; i < n; i += (size_t)used)
        out[k++] = (char)byte_at(a, s + i, n - i, &used);
    return k;
}
