/* fuzz_check: what the fuzzers' targets share: a promise that is broken traps,
 * and what must hold for any text that a tokenizer takes.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_FUZZ_CHECK_H
#define SEQD_FUZZ_CHECK_H

#include "engine/base/buf.h"
#include "engine/text/tokenizer.h"

#define FUZZ_MAX_OUT ((size_t)64 << 20)

static inline void must(int ok)
{
    if (!ok)
        __builtin_trap();
}

/* fuzz_taken: how many inputs were good: a corpus of which none is shows
 * little. Each target counts where it takes one. */
extern int fuzz_taken;

/* fuzz_encode: encodes text [n] with flags; ids and places are inside; a second
 * run agrees, or one with a limit gives the same beginning, as n says. The
 * decoded text is valid UTF-8, appended to out (or NULL). 0, or -1 when the
 * text was refused for the steps that a file's own expression takes, or its
 * normalizer. */
int fuzz_encode(const struct tokenizer *t, const char *text, size_t n,
                unsigned flags, struct buf *out);

#endif
