/* pretok: cutting a text into the words inside which byte-level BPE merges.
 * Checkpoints state this as a chain of regular expressions, each of which cuts
 * the pieces of the one before. There is no regex engine here, so that no file
 * can make the daemon slow: an expression is read as alternatives out of a
 * table of those that were published, each of which is a scanner of its own
 * (pretok_alt.c) that looks at a code point a bounded number of times. An
 * expression with anything else in it is refused. GGUF files name their chain
 * by one word (`pre`), which the table of pretok_names.c spells out.
 *
 * A plan is immutable after it was made; a work belongs to one thread.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_PRETOK_H
#define SEQD_PRETOK_H

#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"

#define PRE_MAX_STAGES 8
#define PRE_MAX_ALTS 12

/* What becomes of the matches of a stage; what lies between them is a piece.
 */
enum pre_behavior {
    PRE_ISOLATED,   /* each match is a piece */
    PRE_CONTIGUOUS, /* matches that touch are one piece */
    PRE_REMOVED,    /* they are dropped */
    PRE_KEPT        /* what lies between them is dropped */
};

struct pre_stage {
    uint8_t alt[PRE_MAX_ALTS]; /* indices into the table of pretok_alt.c */
    int n_alts;
    enum pre_behavior behavior;
    int bytes; /* runs over GPT-2's alphabet: 1 digits, 3 threes of them */
};

struct pretok {
    struct pre_stage stage[PRE_MAX_STAGES];
    int n;
};

/* pretok_add: one more stage, the expression `regex` [n]. Line feeds and
 * carriage returns in it may be written as such or escaped. 0, or -1 when it
 * is not one that is known, or there are too many. */
int pretok_add(struct pretok *p, const char *regex, size_t n,
               enum pre_behavior behavior);
/* pretok_add_bytes: a stage over the bytes as GPT-2's alphabet writes them
 * (what stands after ByteLevel in tokenizer.json): runs of its digits (each
 * byte: 1), or the expression [0-9][0-9][0-9] (3). */
int pretok_add_bytes(struct pretok *p, int kind);

/* What a name of llama.cpp's table stands for. */
#define PRE_IGNORE_MERGES 1u /* a word that is a token needs no merges */
#define PRE_ADD_BOS 2u       /* unless the file says otherwise */
/* pretok_named: the chain of a GGUF file's tokenizer.ggml.pre [n]; 0, or -1
 * for a name that is not known. */
int pretok_named(struct pretok *p, const char *name, size_t n, unsigned *flags);
/* pretok_all_named: fn for each group of names (space between) that share a
 * chain, until it returns non-zero; for tests. */
int pretok_all_named(int (*fn)(void *arg, const char *names), void *arg);

/* A text cut up: cut[i] says what begins at byte i. */
#define CUT_PIECE 1u /* a piece */
#define CUT_DROP 2u  /* with CUT_PIECE: one that is dropped */
struct pre_work {
    uint32_t *point; /* [n_points] code point | category << 21 */
    uint32_t *at;    /* [n_points + 1] its byte */
    uint8_t *cut;    /* [bytes + 1]; the end is a cut */
    size_t n_points, cap;
};
void pre_work_fini(struct pre_work *w);

/* pretok_run: s [n], in O(n). Bytes that are not UTF-8 count as U+FFFD. */
int pretok_run(const struct pretok *p, const char *s, size_t n,
               struct pre_work *w, struct err *e);

/* ------------------------------------------------------- between its files */

/* Where the alternative `alt` that begins at point i ends, within [i, end);
 * `begin` is where the piece begins. i when it does not match. */
size_t pre_alt_match(int alt, const uint32_t *point, size_t begin, size_t i,
                     size_t end);
/* The alternative whose text begins at s [n] and is followed by "|" or the
 * end, the longest; its length in *len. -1: none. */
int pre_alt_find(const char *s, size_t n, size_t *len);

#endif
