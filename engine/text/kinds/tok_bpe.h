/* tok_bpe: merging by ranked pairs, which byte-level BPE and SentencePiece's
 * BPE have in common. Symbols are token ids.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_TOK_BPE_H
#define SEQD_TOK_BPE_H

#include "engine/text/kinds/alphabet.h"
#include "engine/text/pretok/pretok.h"
#include "engine/text/tokenizer_impl.h"

/* left and right, side by side, become `to`; lower ranks go first. */
struct bpe_merge {
    int32_t left, right, to;
    uint32_t rank;
};

struct bpe_merges {
    struct bpe_merge *slots; /* [n_slots], left < 0: empty */
    size_t n_slots;
    uint64_t key[2];
};

/* bpe_merges_open: room for n merges. */
int bpe_merges_open(struct bpe_merges *m, size_t n, struct err *e);
void bpe_merges_fini(struct bpe_merges *m);
/* bpe_merges_text: rank `rank` joins the entries part[0] and part[1], the
 * second without its first `skip` bytes. -1 when one of the three is not in
 * the vocabulary (the message names it). */
int bpe_merges_text(struct bpe_merges *m, const struct tokenizer *t,
                    const struct tok_source *s, const char *const part[2],
                    const size_t len[2], size_t skip, uint32_t rank);

/* A word while it is merged: symbol i begins at byte i of the word. */
struct bpe_node {
    int32_t id;         /* -1: no token; -2: merged into one before */
    int32_t prev, next; /* -1: none */
    uint32_t rank;      /* of the pair with next, or UINT32_MAX */
};
struct bpe_work {
    struct bpe_node *node; /* [cap] */
    uint64_t *heap;        /* [heap_cap] rank << 32 | node */
    size_t cap, heap_cap, n_heap;
};
void bpe_work_fini(struct bpe_work *w);
/* bpe_reserve: room for words of n symbols. */
int bpe_reserve(struct bpe_work *w, size_t n, struct err *e);
/* bpe_run: merge the chain that begins at node `first`, in O(n log n): the pair
 * of the lowest rank first, of equals the leftmost. ids, prev and next are set
 * by the caller (id -1: never merged). */
void bpe_run(const struct bpe_merges *m, struct bpe_work *w, int32_t first);

/* The private part of byte-level BPE. */
struct bpe {
    struct alphabet alphabet;
    struct pretok pre;
    struct bpe_merges merges;
    int32_t byte_id[256]; /* -1: the vocabulary lacks it */
    int32_t missing;      /* what such a byte becomes; -1: nothing */
    int ignore_merges;    /* a word that is a token needs no merges */
    int fuses;            /* missing bytes side by side are one token */
    int closes_gaps;      /* symbols around a missing byte may merge */
    int prefix_space;     /* a text begins with a space */
    int form;             /* enum uni_form + 1; 0: no normalizer */
};

/* The parts that differ by source; set what they can, 0 or -1. */
int bpe_read_json(struct bpe *b, struct tokenizer *t,
                  const struct tok_source *s);
int bpe_read_files(struct bpe *b, struct tokenizer *t,
                   const struct tok_source *s);
int bpe_read_gguf(struct bpe *b, struct tokenizer *t,
                  const struct tok_source *s);
/* bpe_read_json_merges: "merges" of tokenizer.json's model; skip: bytes of the
 * mark on continuations. */
int bpe_read_json_merges(struct bpe_merges *m, const struct tokenizer *t,
                         const struct tok_source *s, size_t skip);

#endif
