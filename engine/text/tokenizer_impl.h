/* tokenizer_impl: the struct behind tokenizer.h, for the files of engine/text.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_TOKENIZER_IMPL_H
#define SEQD_TOKENIZER_IMPL_H

#include "engine/text/tok_split.h"

struct vocab_slot {
    uint32_t tag; /* upper half of the hash */
    uint32_t id1; /* id + 1; 0: empty */
};

struct tokenizer {
    int rule; /* enum tok_rule */
    int lowercase;
    int n;
    const char **text; /* [n], in arena */
    uint32_t *len;     /* [n] */
    uint8_t *special;  /* [n] 0 or 1 */
    char *arena;
    size_t max_len; /* of an entry */
    uint64_t hkey[2];
    struct vocab_slot *slots; /* [n_slots], a power of two */
    size_t n_slots;
    int32_t *specials; /* [n_specials] ids, longest text first */
    int n_specials;
    int32_t unk, bos, eos, newline;
    int add_bos;
};

/* tokenizer_lookup: the id of an entry of n bytes, or -1. */
int32_t tokenizer_lookup(const struct tokenizer *t, const char *s, size_t n);

#endif
