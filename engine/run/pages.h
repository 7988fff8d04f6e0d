/* pages: the memory of one port of a store's sequences, in pages of
 * page_bytes. A page is held by the sequences that have it in their tables
 * (refs); one that no sequence holds is either kept for what is in it (an idle
 * prefix, least recently used ones go first) or free.
 *
 * Prefixes: a full page is known by the page before it and the ids of its
 * tokens, compared and not only hashed. Pages of one chain are named by serial
 * numbers that are never used twice, so a name that outlives its page finds
 * nothing. Equal pages hold the same bits (decision 7 of the design: bits do
 * not depend on chunks or company), so a page may stand for its equal.
 *
 * Every page that exists counts in the byte budget of the process, idle and
 * free ones too: pages_trim gives those back when others need the budget.
 * Belongs to one store, so to one thread.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_PAGES_H
#define SEQD_PAGES_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/run/arch.h"

struct state_budget {
    _Atomic size_t used;
    size_t limit; /* bytes */
    /* Who may not give up, so that of several that are stuck one goes on (see
     * runner.h): NULL, or whose turn it is; waiting: it needs memory now. */
    void *_Atomic claim;
    atomic_int waiting;
};

/* state_reserve: 0, or -1 when the budget would be passed. Any thread. */
int state_reserve(struct state_budget *b, size_t bytes);
void state_unreserve(struct state_budget *b, size_t bytes);

enum { SEQ_OK = 0, SEQ_WAIT = 1 };

struct page;
struct page_pool {
    struct state_budget *budget;
    size_t page_bytes;
    int page_tokens;
    size_t header_bytes; /* in front of a page's data */
    size_t each;         /* bytes of a page in the budget */
    struct page *free;
    struct page *oldest, *newest; /* idle prefixes */
    int n_pages, n_idle, n_free;  /* in all, and of those */
    struct page **bucket;         /* [n_buckets], a power of two, or NULL */
    int n_buckets, n_indexed;
    uint64_t serial; /* the last one given */
    uint64_t key[2];
};

/* pages_init: ERR_INTERNAL for a layout that breaks arch.h's rules. */
int pages_init(struct page_pool *p, const struct port *l,
               struct state_budget *b, struct err *e);
void pages_fini(struct page_pool *p); /* all pages must be back */

/* pages_take: n pages of one reference each, all or none: free ones, then new
 * ones, then those of idle prefixes. SEQ_WAIT when the budget is used up by
 * others, -1 with ERR_NOMEM. */
int pages_take(struct page_pool *p, int n, void **out, struct err *e);
void pages_hold(struct page_pool *p, void *data); /* one reference more */
void pages_drop(struct page_pool *p, void *data);
/* pages_fixed: 1 when the page may not be written: shared, or a prefix. */
int pages_fixed(const struct page_pool *p, const void *data);

/* pages_find: the page after `parent` (0: of the start) that holds ids
 * [page_tokens], with a reference more and its serial, or NULL. */
void *pages_find(struct page_pool *p, uint64_t parent, const int32_t *ids,
                 uint64_t *serial);
/* pages_keep: let a full page be found. Returns the page that stands for it:
 * itself, or an equal one that was there, which takes over the reference.
 * *serial is 0 when it could not be kept (no memory for the table). */
void *pages_keep(struct page_pool *p, void *data, uint64_t parent,
                 const int32_t *ids, uint64_t *serial);
/* pages_trim: give idle and free pages back to the budget. */
void pages_trim(struct page_pool *p);

#endif
