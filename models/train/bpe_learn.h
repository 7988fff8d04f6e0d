/* bpe_learn: the merges of byte-level BPE from counted words (Gage 1994;
 * Sennrich et al. 2016): the pair of neighbours that stands most often becomes
 * one symbol, again and again; of equal counts the pair that is greater as
 * bytes, its first symbol before its second. The words are one chain of
 * symbols with the places of each pair beside it, and a heap says which pair
 * stands most often, so a merge costs its places and their neighbours, whatever
 * the length of the words. Single-threaded; a function of the words and their
 * counts alone, not of their order.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_BPE_LEARN_H
#define SEQD_BPE_LEARN_H

#include <stdint.h>

#include "engine/base/buf.h"
#include "models/train/pieces.h"

struct bpe_pair {
    int32_t left, right;
};

struct bpe_learned {
    struct pieces symbols;  /* 0 to 255 are the bytes, in order */
    struct bpe_pair *merge; /* [n_merges]; may be more than the other symbols:
                               two pairs can make one */
    int n_merges;
};

struct bpe_goal {
    int symbols;       /* most symbols, the 256 bytes among them */
    int64_t min_count; /* rarer pairs stay apart */
    /* is_barred: 1 when these bytes may be no symbol. May be NULL. */
    int (*is_barred)(void *arg, const char *s, size_t n);
    /* said: progress, symbols so far; each merge calls. May be NULL. */
    void (*said)(void *arg, int symbols);
    void *arg;
};

/* bpe_learn: ERR_NOMEM, ERR_TOO_LARGE (over 2^30 bytes of different words).
 * bpe_learned_fini in any case. */
int bpe_learn(const struct pieces *words, const struct bpe_goal *g,
              struct bpe_learned *out, struct err *e);
void bpe_learned_fini(struct bpe_learned *l);

#endif
