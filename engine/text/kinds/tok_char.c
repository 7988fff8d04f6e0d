/* tok_char: "seqd-characters", one piece per code point. No normalisation:
 * what a character model has seen is what it writes.
 *
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "engine/base/utf8.h"
#include "engine/text/kinds/tok_split.h"

size_t tok_decode(const char *text, size_t n, size_t i, uint32_t *cp)
{
    int len = utf8_next(text + i, n - i, cp);
    if (len == 0 || *cp == 0) {
        *cp = 0xfffd;
        return 1;
    }
    return (size_t)len;
}

int tok_char_split(const char *text, size_t n, split_fn *fn, void *arg)
{
    for (size_t i = 0; i < n;) {
        uint32_t cp;
        char piece[5];
        size_t used = tok_decode(text, n, i, &cp);
        int len = utf8_put(cp, piece);
        piece[len] = 0;
        int rc = fn(arg, piece, (size_t)len, (uint32_t)i, (uint32_t)(i + used));
        if (rc)
            return rc;
        i += used;
    }
    return 0;
}
