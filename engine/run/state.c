/* state: see state.h.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/run/state.h"

#include <string.h>

#include "engine/base/mem.h"

static int has_pages(const struct seq_store *st, int port)
{
    return port < st->layout.n_ports && st->layout.port[port].page_tokens > 0;
}

int seq_store_init(struct seq_store *st, const struct state_layout *layout,
                   struct state_budget *budget, struct err *e)
{
    memset(st, 0, sizeof *st);
    if (layout->n_ports < 1 || layout->n_ports > MAX_PORTS)
        return err_set(e, ERR_INTERNAL, "a model of %d ports", layout->n_ports);
    st->layout = *layout;
    st->budget = budget;
    st->seq_bytes = 2 * ((layout->fixed_bytes + 63) & ~(size_t)63);
    for (int i = 0; i < layout->n_ports; i++)
        if (has_pages(st, i) &&
            pages_init(&st->pool[i], &layout->port[i], budget, e))
            return -1;
    st->share = layout->n_ports == 1 && has_pages(st, 0) &&
                layout->fixed_bytes == 0 && !layout->port[0].whole &&
                layout->port[0].unit == UNIT_TOKENS;
    return 0;
}

static void seq_free(struct seq *s)
{
    mem_aligned_free(s->buf[0]);
    for (int i = 0; i < MAX_PORTS; i++)
        mem_free(s->s.pages[i]);
    mem_free(s->tail);
    mem_free(s);
}

static void free_seqs(struct seq_store *st)
{
    while (st->free) {
        struct seq *s = st->free;
        st->free = s->next;
        seq_free(s);
    }
}

void seq_store_fini(struct seq_store *st)
{
    free_seqs(st);
    for (int i = 0; i < st->layout.n_ports; i++)
        pages_fini(&st->pool[i]);
}

static struct seq *seq_new(const struct seq_store *st)
{
    struct seq *s = mem_zalloc(sizeof *s);
    if (!s)
        return NULL;
    if (st->seq_bytes > 0) {
        s->buf[0] = mem_aligned(st->seq_bytes);
        s->buf[1] = s->buf[0] ? s->buf[0] + st->seq_bytes / 2 : NULL;
    }
    if (st->share)
        s->tail = mem_array((size_t)st->pool[0].page_tokens, sizeof *s->tail);
    if ((st->seq_bytes > 0 && !s->buf[0]) || (st->share && !s->tail)) {
        seq_free(s);
        return NULL;
    }
    return s;
}

int seq_take(struct seq_store *st, struct seq **out, struct err *e)
{
    *out = NULL;
    if (st->seq_bytes > st->budget->limit) {
        return err_set(e, ERR_NOMEM, "a state takes %zu bytes, the budget %zu",
                       st->seq_bytes, st->budget->limit);
    }
    if (state_reserve(st->budget, st->seq_bytes)) {
        seq_trim(st);
        if (state_reserve(st->budget, st->seq_bytes))
            return SEQ_WAIT;
    }
    struct seq *s = st->free;
    if (s)
        st->free = s->next;
    else
        s = seq_new(st);
    if (!s) {
        state_unreserve(st->budget, st->seq_bytes);
        return err_nomem(e);
    }
    s->next = NULL;
    memset(s->s.len, 0, sizeof s->s.len);
    memset(s->first, 0, sizeof s->first);
    s->dropped = 0;
    s->cur = 0;
    s->n_kept = s->broken = 0;
    s->serial = 0;
    if (s->buf[0])
        memset(s->buf[0], 0, st->layout.fixed_bytes);
    *out = s;
    return SEQ_OK;
}

void seq_give(struct seq_store *st, struct seq *s)
{
    /* The last page first: of idle prefixes the beginning is the most recently
     * used. */
    for (int port = 0; port < st->layout.n_ports; port++) {
        for (int i = s->n_pages[port] - 1; i >= 0; i--)
            if (s->s.pages[port][i])
                pages_drop(&st->pool[port], s->s.pages[port][i]);
        s->n_pages[port] = 0;
    }
    s->next = st->free;
    st->free = s;
    state_unreserve(st->budget, st->seq_bytes);
}

/* The table of a port has room for n pages. */
static int grow_pages(struct seq *s, int port, int n, struct err *e)
{
    if (n <= s->cap[port])
        return 0;
    int cap = s->cap[port] ? s->cap[port] : 8;
    while (cap < n)
        cap = cap > INT32_MAX / 2 ? n : cap * 2;
    void **p = mem_grow(s->s.pages[port], (size_t)cap, sizeof *p);
    if (!p)
        return err_nomem(e);
    s->s.pages[port] = p;
    s->cap[port] = cap;
    return 0;
}

int seq_fork(struct seq_store *st, const struct seq *from, struct seq **out,
             struct err *e)
{
    int rc = seq_take(st, out, e);
    if (rc)
        return rc;
    struct seq *s = *out;
    for (int i = 0; i < st->layout.n_ports; i++) {
        if (grow_pages(s, i, from->n_pages[i], e)) {
            seq_give(st, s);
            *out = NULL;
            return -1;
        }
        for (int k = 0; k < from->n_pages[i]; k++) {
            void *page = s->s.pages[i][k] = from->s.pages[i][k];
            if (page)
                pages_hold(&st->pool[i], page);
        }
        s->n_pages[i] = from->n_pages[i];
        s->first[i] = from->first[i];
    }
    memcpy(s->s.len, from->s.len, sizeof(s->s.len));
    s->n_kept = from->n_kept;
    s->broken = from->broken;
    s->serial = from->serial;
    if (s->buf[0])
        memcpy(s->buf[0], from->buf[from->cur], st->layout.fixed_bytes);
    if (s->tail) {
        memcpy(s->tail, from->tail,
               (size_t)st->pool[0].page_tokens * sizeof *s->tail);
    }
    return SEQ_OK;
}

static int pages_for(const struct page_pool *p, int64_t tokens)
{
    int64_t n = tokens / p->page_tokens + (tokens % p->page_tokens > 0);
    return n < INT32_MAX / 2 ? (int)n : INT32_MAX / 2;
}

int seq_reserve(struct seq_store *st, struct seq *s, int port, int n,
                struct err *e)
{
    if (port < 0 || port >= MAX_PORTS || n < 0 ||
        s->s.len[port] > INT64_MAX - n) {
        return err_set(e, ERR_INTERNAL, "port %d cannot take %d tokens", port,
                       n);
    }
    if (!has_pages(st, port) || n == 0)
        return SEQ_OK; /* fixed states need no pages */
    struct page_pool *p = &st->pool[port];
    int have = s->n_pages[port], last = pages_for(p, s->s.len[port]) - 1;
    int need = pages_for(p, s->s.len[port] + n);
    int copy = s->s.len[port] % p->page_tokens != 0 &&
               pages_fixed(p, s->s.pages[port][last]);
    int more = (need > have ? need - have : 0) + copy;
    if (more == 0)
        return SEQ_OK;
    if (grow_pages(s, port, have + more, e))
        return -1;
    void **pages = s->s.pages[port];
    int rc = pages_take(p, more, pages + have, e);
    for (int i = 0; rc == SEQ_WAIT && i < st->layout.n_ports; i++)
        if (i != port && has_pages(st, i)) {
            /* What the other port keeps is of no use to this one. */
            pages_trim(&st->pool[i]);
            rc = pages_take(p, more, pages + have, e);
        }
    if (rc)
        return rc;
    if (copy) {
        /* Which bytes are filled is the architecture's business. */
        void *own = pages[have + more - 1];
        memcpy(own, pages[last], p->page_bytes);
        pages_drop(p, pages[last]);
        pages[last] = own;
    }
    s->n_pages[port] = have + more - copy;
    return SEQ_OK;
}

/* --- prefixes --- */

/* Let the pages that ids [n], appended at s->s.len[0], have filled be found. */
static void keep_pages(struct seq_store *st, struct seq *s, const int32_t *ids,
                       int n)
{
    struct page_pool *p = &st->pool[0];
    int at = (int)(s->s.len[0] % p->page_tokens);

    for (int i = 0; i < n; i++) {
        s->tail[at++] = ids[i];
        if (at < p->page_tokens)
            continue;
        at = 0;
        void **page = &s->s.pages[0][s->n_kept];
        *page = pages_keep(p, *page, s->serial, s->tail, &s->serial);
        s->broken = s->serial == 0;
        if (s->broken)
            return;
        s->n_kept++;
    }
}

/* Pages that no token from len on can see. */
static void drop_old(struct seq_store *st, struct seq *s, int port)
{
    const struct page_pool *p = &st->pool[port];
    int64_t seen = s->s.len[port] - st->layout.port[port].window;
    int to = seen > 0 ? (int)(seen / p->page_tokens) : 0;
    for (; s->first[port] < to; s->first[port]++) {
        void **page = &s->s.pages[port][s->first[port]];
        if (*page) {
            pages_drop(&st->pool[port], *page);
            *page = NULL;
        }
    }
}

void seq_commit(struct seq_store *st, struct seq *s, int port,
                const int32_t *ids, int n)
{
    s->cur ^= 1;
    if (st->share && !s->broken && port == 0) {
        s->broken = !ids;
        if (ids)
            keep_pages(st, s, ids, n);
    }
    s->s.len[port] += n;
    if (port < st->layout.n_ports && st->layout.port[port].window > 0)
        drop_old(st, s, port);
}

int seq_share(struct seq_store *st, struct seq *s, const int32_t *ids, int n)
{
    int got = 0;
    if (!st->share || s->broken)
        return 0;
    struct page_pool *p = &st->pool[0];
    if (s->s.len[0] != (int64_t)s->n_kept * p->page_tokens ||
        s->n_pages[0] != s->n_kept)
        return 0;
    while (n - got >= p->page_tokens &&
           grow_pages(s, 0, s->n_kept + 1, NULL) == 0) {
        void *page = pages_find(p, s->serial, ids + got, &s->serial);
        if (!page)
            break;
        s->s.pages[0][s->n_kept++] = page;
        s->n_pages[0] = s->n_kept;
        s->s.len[0] += p->page_tokens;
        got += p->page_tokens;
    }
    if (got > 0 && st->layout.port[0].window > 0)
        drop_old(st, s, 0);
    return got;
}

/* --- the budget --- */

size_t seq_short(const struct seq_store *st, const struct seq *s,
                 const int64_t *n)
{
    size_t bytes = s ? 0 : st->seq_bytes;
    for (int i = 0; i < st->layout.n_ports; i++) {
        const struct page_pool *p = &st->pool[i];
        int window = st->layout.port[i].window;
        if (!has_pages(st, i))
            continue;
        int need = pages_for(p, n[i]);
        int have = s ? s->n_pages[i] - s->first[i] : 0;
        /* In flight there may be a page at both ends of the window. */
        if (window > 0 && need > pages_for(p, window) + 1)
            need = pages_for(p, window) + 1;
        bytes += need > have ? (size_t)(need - have) * p->each : 0;
    }
    return bytes;
}

size_t seq_most_bytes(const struct seq_store *st, const int64_t *n, int chunk)
{
    size_t bytes = st->seq_bytes;
    for (int i = 0; i < st->layout.n_ports; i++) {
        const struct page_pool *p = &st->pool[i];
        int window = st->layout.port[i].window;
        int64_t held = n[i];
        if (!has_pages(st, i))
            continue;
        if (window > 0 && held > (int64_t)window + chunk + p->page_tokens)
            held = (int64_t)window + chunk + p->page_tokens;
        size_t pages = (size_t)pages_for(p, held), all;
        if (__builtin_mul_overflow(pages, p->each, &all) ||
            __builtin_add_overflow(bytes, all, &bytes))
            return SIZE_MAX;
    }
    return bytes;
}

/* The rows of n that stand in pages of the fork's own. */
static void own_rows(const struct seq_store *st, const int64_t *from,
                     const int64_t *n, int64_t own[MAX_PORTS])
{
    for (int i = 0; i < MAX_PORTS; i++) {
        int page = has_pages(st, i) ? st->pool[i].page_tokens : 1;
        own[i] = n[i] > from[i] ? n[i] - from[i] / page * page : 0;
    }
}

size_t seq_fork_short(const struct seq_store *st, const int64_t *from,
                      const int64_t *n)
{
    int64_t own[MAX_PORTS];
    own_rows(st, from, n, own);
    return seq_short(st, NULL, own);
}

size_t seq_fork_most(const struct seq_store *st, const int64_t *from,
                     const int64_t *n, int chunk)
{
    int64_t own[MAX_PORTS];
    own_rows(st, from, n, own);
    return seq_most_bytes(st, own, chunk);
}

size_t seq_room(const struct seq_store *st)
{
    size_t used = atomic_load(&st->budget->used), idle = 0;
    for (int i = 0; i < st->layout.n_ports; i++) {
        const struct page_pool *p = &st->pool[i];
        idle += (size_t)(p->n_free + p->n_idle) * p->each;
    }
    return idle + (used < st->budget->limit ? st->budget->limit - used : 0);
}

void seq_trim(struct seq_store *st)
{
    for (int i = 0; i < st->layout.n_ports; i++)
        pages_trim(&st->pool[i]);
    free_seqs(st);
}
