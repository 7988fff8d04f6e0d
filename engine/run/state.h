/* state: the memory of sequences. A sequence owns two buffers of the model's
 * fixed_bytes (none when that is 0): step() reads one and writes the other,
 * and seq_commit swaps them when the item succeeded, so a failed item leaves
 * its sequence as it was. The content is pointer-free bytes, so a copy of them
 * is a fork. For layouts with ports it has a table of pages besides (see
 * pages.h), which grows on demand: seq_reserve makes room before a step, and
 * makes the last page private when others hold it too (copy on write). A
 * port with a window gives pages back that no later token can see.
 *
 * Prefixes are shared for layouts whose whole state is one port: full pages
 * of running and finished sequences are found by seq_share.
 *
 * The byte budget is one for the process and reserved atomically; it counts
 * sequences in use and all pages. A store belongs to one runner, which alone
 * touches it: it keeps finished sequences and free pages for reuse, so that
 * the steady state allocates little.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_STATE_H
#define SEQD_STATE_H

#include "engine/run/pages.h"

struct seq {
    struct seq_state s;
    unsigned char *buf[2]; /* [fixed_bytes] each, 64-byte aligned, or NULL */
    int cur;               /* buf[cur] is the state, the other one is free */
    int n_pages[MAX_PORTS], cap[MAX_PORTS]; /* of s.pages */
    int first[MAX_PORTS]; /* pages before it were given back (windows) */
    /* The chain of kept pages: their number, the last one's serial, and the
     * ids of the unfinished page behind them. broken: this sequence's pages
     * are not kept any more. */
    int n_kept, broken;
    uint64_t serial;
    int32_t *tail;    /* [page_tokens] */
    int dropped;      /* its job needs it no more (job_drop) */
    struct seq *next; /* in the store's list of free ones */
};

struct seq_store {
    struct state_layout layout;
    struct state_budget *budget;
    size_t seq_bytes; /* both buffers of one sequence */
    int share;        /* prefixes are kept and found */
    struct page_pool pool[MAX_PORTS];
    struct seq *free;
};

/* seq_store_init: ERR_INTERNAL when the layout breaks arch.h's rules. */
int seq_store_init(struct seq_store *st, const struct state_layout *layout,
                   struct state_budget *budget, struct err *e);
void seq_store_fini(struct seq_store *st); /* all sequences must be back */

/* seq_take: an empty sequence (zero bytes, no pages, len 0). SEQ_WAIT when the
 * budget is used up by others; -1 with ERR_NOMEM when there is no memory or
 * one sequence is over the whole budget. */
int seq_take(struct seq_store *st, struct seq **out, struct err *e);
void seq_give(struct seq_store *st, struct seq *s);
/* seq_fork: a copy that shares the pages. As seq_take. */
int seq_fork(struct seq_store *st, const struct seq *from, struct seq **out,
             struct err *e);

/* seq_reserve: room for n more tokens of a port, before the step; all or
 * nothing. SEQ_WAIT when the budget has no room, -1 (ERR_NOMEM). */
int seq_reserve(struct seq_store *st, struct seq *s, int port, int n,
                struct err *e);
/* seq_commit: the step succeeded: n tokens were appended to `port`. ids
 * [n], or NULL when they are no tokens (then no prefix is kept of them). */
void seq_commit(struct seq_store *st, struct seq *s, int port,
                const int32_t *ids, int n);

/* seq_share: append pages of the longest known prefix of ids [n]; whole pages
 * at a page's start only. Returns the tokens that are in the sequence now. */
int seq_share(struct seq_store *st, struct seq *s, const int32_t *ids, int n);

/* seq_short: bytes that a sequence (NULL: a new one) still needs for n[port]
 * rows of each port in all. Whether they could ever fit, when `chunk` come in
 * one step, is a question of layout and budget alone: seq_most_bytes. */
size_t seq_short(const struct seq_store *st, const struct seq *s,
                 const int64_t *n);
size_t seq_most_bytes(const struct seq_store *st, const int64_t *n, int chunk);
/* seq_fork_short: what a fork of a sequence of `from` rows needs besides, to
 * hold n rows. seq_fork_most: what it can come to. */
size_t seq_fork_short(const struct seq_store *st, const int64_t *from,
                      const int64_t *n);
size_t seq_fork_most(const struct seq_store *st, const int64_t *from,
                     const int64_t *n, int chunk);
/* seq_room: bytes that this store could hand out now. */
size_t seq_room(const struct seq_store *st);
/* seq_trim: give back what no sequence uses. */
void seq_trim(struct seq_store *st);

#endif
