/* bart: what Marian shares with BART: a stack that reads and one that writes,
 * of the same parts. bart.c is the blocks and what stands before and behind
 * them.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_BART_H
#define SEQD_BART_H

#include "models/transformer/names.h"

/* Bits of stack.has. */
enum {
    SHARED = 2,      /* one embedding for sources and targets */
    SEPARATE = 4,    /* one for each */
    LEARNED = 8,     /* positions are a table */
    EMBED_BASE = 16, /* a norm behind the embedding */
    BEFORE = 32, /* norms before each part and at the end, not behind each */
    LOGIT_BIAS = 64
};

/* bart_read: sizes and activation of either stack from config.json. s->has
 * says, before, what the model has. */
int bart_read(struct stack *s, struct names *n, struct err *e);

/* The stacks' tables, blocks and heads; own_bytes of both are BART_OWN. */
#define BART_OWN 64
extern const struct tensor_row bart_top[], bart_block[];
extern const struct tensor_row bart_source_top[], bart_source_block[];
void bart_embed(struct tf *t);
void bart_run(struct tf *t, const struct weight *w, int layer);
void bart_head(struct tf *t);
void bart_source_run(struct tf *t, const struct weight *w, int layer);
void bart_source_head(struct tf *t);

#endif
