/* utf8: RFC 3629, nothing more lenient: no overlong forms, no surrogates, no
 * code point above U+10FFFF.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_UTF8_H
#define SEQD_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* utf8_next: decode one code point of s[0..n). Returns its length 1-4 and *cp,
 * or 0 when n is 0, the bytes are wrong or cut short. */
int utf8_next(const char *s, size_t n, uint32_t *cp);
int utf8_put(uint32_t cp, char out[4]); /* length 1-4, 0 if not encodable */
int utf8_valid(const char *s, size_t n);
size_t utf8_count(const char *s, size_t n); /* code points of valid text */
/* utf8_whole: the length of the longest prefix that does not end inside a
 * code point (streaming holds the rest back). */
size_t utf8_whole(const char *s, size_t n);
int utf8_is_space(uint32_t cp); /* White_Space property */
int utf8_is_punct(
    uint32_t cp); /* ASCII punctuation, U+2010-2027, U+2030-205E, U+3001-3003 */

#endif
