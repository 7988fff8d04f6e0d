/* state: the memory of sequences. A sequence owns two buffers of the model's
 * fixed_bytes: step() reads one and writes the other, and seq_commit swaps
 * them when the item succeeded, so a failed item leaves its sequence as it
 * was. The content is pointer-free bytes, so a copy of them is a fork.
 *
 * The byte budget is one for the process and reserved atomically; it counts
 * sequences in use. A store belongs to one runner, which alone touches it: it
 * keeps finished sequences for reuse, so that the steady state allocates
 * nothing. Layouts with streams need pages, which no architecture has yet:
 * seq_reserve is where they will come from, before each step.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_STATE_H
#define SEQD_STATE_H

#include <stdatomic.h>
#include <stddef.h>

#include "engine/run/arch.h"

struct state_budget {
    _Atomic size_t used;
    size_t limit; /* bytes */
};

/* state_reserve: 0, or -1 when the budget would be passed. Any thread. */
int state_reserve(struct state_budget *b, size_t bytes);
void state_unreserve(struct state_budget *b, size_t bytes);

struct seq {
    struct seq_state s;
    unsigned char *buf[2]; /* [fixed_bytes] each, 64-byte aligned */
    int cur;               /* buf[cur] is the state, the other one is free */
    struct seq *next;      /* in the store's list of free ones */
};

struct seq_store {
    struct state_layout layout;
    struct state_budget *budget;
    size_t seq_bytes; /* of one sequence, both buffers */
    struct seq *free;
};

/* seq_store_init: ERR_UNSUPPORTED when the layout wants pages. */
int seq_store_init(struct seq_store *st, const struct state_layout *layout,
                   struct state_budget *budget, struct err *e);
void seq_store_fini(struct seq_store *st); /* all sequences must be back */

enum { SEQ_OK = 0, SEQ_WAIT = 1 };
/* seq_take: an empty sequence (zero bytes, len 0). SEQ_WAIT when the budget is
 * used up by others; -1 with ERR_NOMEM when there is no memory or one sequence
 * is over the whole budget. */
int seq_take(struct seq_store *st, struct seq **out, struct err *e);
void seq_give(struct seq_store *st, struct seq *s);

/* seq_reserve: room for n more tokens of a stream, before the step. */
int seq_reserve(struct seq_store *st, struct seq *s, int stream, int n,
                struct err *e);
/* seq_commit: the step succeeded: n tokens were appended to `stream`. */
void seq_commit(struct seq *s, int stream, int n);

#endif
