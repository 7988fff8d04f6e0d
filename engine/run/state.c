/* state: see state.h.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/run/state.h"

#include <string.h>

#include "engine/base/mem.h"

int state_reserve(struct state_budget *b, size_t bytes)
{
    size_t used = atomic_load_explicit(&b->used, memory_order_relaxed);
    do {
        if (bytes > b->limit || used > b->limit - bytes) {
            return -1;
        }
    } while (!atomic_compare_exchange_weak(&b->used, &used, used + bytes));
    return 0;
}

void state_unreserve(struct state_budget *b, size_t bytes)
{
    atomic_fetch_sub(&b->used, bytes);
}

int seq_store_init(struct seq_store *st, const struct state_layout *layout,
                   struct state_budget *budget, struct err *e)
{
    memset(st, 0, sizeof(*st));
    st->layout = *layout;
    st->budget = budget;
    if (layout->n_streams > 0) {
        return err_set(e, ERR_UNSUPPORTED, "states with pages");
    }
    st->seq_bytes = 2 * ((layout->fixed_bytes + 63) & ~(size_t)63);
    return 0;
}

static void seq_free(struct seq *s)
{
    mem_aligned_free(s->buf[0]);
    mem_free(s);
}

void seq_store_fini(struct seq_store *st)
{
    while (st->free) {
        struct seq *s = st->free;
        st->free = s->next;
        seq_free(s);
    }
}

static struct seq *seq_new(const struct seq_store *st)
{
    struct seq *s = mem_zalloc(sizeof(*s));
    if (!s) {
        return NULL;
    }
    s->buf[0] = mem_aligned(st->seq_bytes);
    if (!s->buf[0]) {
        mem_free(s);
        return NULL;
    }
    s->buf[1] = s->buf[0] + st->seq_bytes / 2;
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
        return SEQ_WAIT;
    }
    struct seq *s = st->free;
    if (s) {
        st->free = s->next;
    } else {
        s = seq_new(st);
    }
    if (!s) {
        state_unreserve(st->budget, st->seq_bytes);
        return err_nomem(e);
    }
    s->next = NULL;
    s->cur = 0;
    memset(&s->s, 0, sizeof(s->s));
    memset(s->buf[0], 0, st->layout.fixed_bytes);
    *out = s;
    return SEQ_OK;
}

void seq_give(struct seq_store *st, struct seq *s)
{
    s->next = st->free;
    st->free = s;
    state_unreserve(st->budget, st->seq_bytes);
}

int seq_reserve(struct seq_store *st, struct seq *s, int stream, int n,
                struct err *e)
{
    if (stream < 0 || stream >= MAX_STREAMS || n < 0 ||
        s->s.len[stream] > INT64_MAX - n) {
        return err_set(e, ERR_INTERNAL, "stream %d cannot take %d tokens",
                       stream, n);
    }
    (void)st; /* fixed states need no pages */
    return 0;
}

void seq_commit(struct seq *s, int stream, int n)
{
    s->cur ^= 1;
    s->s.len[stream] += n;
}
