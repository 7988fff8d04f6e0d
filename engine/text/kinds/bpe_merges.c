/* bpe_merges: the table of merges and merging itself. The pairs of a word wait
 * in a binary heap, keyed by rank and then place; a node knows the rank of the
 * pair it begins now, so that an entry of the heap that is out of date is seen
 * when it comes up. Each merge removes a symbol and adds at most two entries:
 * O(n log n).
 *
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "engine/base/hash.h"
#include "engine/base/mem.h"
#include "engine/text/kinds/tok_bpe.h"

#define NO_RANK UINT32_MAX
#define GONE (-2)

int bpe_merges_open(struct bpe_merges *m, size_t n, struct err *e)
{
    m->n_slots = 16;
    while (m->n_slots < n * 2)
        m->n_slots *= 2;
    m->slots = mem_array(m->n_slots, sizeof *m->slots);
    if (!m->slots)
        return err_nomem(e);
    for (size_t i = 0; i < m->n_slots; i++)
        m->slots[i].left = -1;
    hash_key(m->key);
    return 0;
}

void bpe_merges_fini(struct bpe_merges *m)
{
    mem_free(m->slots);
    memset(m, 0, sizeof *m);
}

/* The slot of a pair, or the empty one where it would stand. */
static size_t slot_of(const struct bpe_merges *m, int32_t left, int32_t right)
{
    const int32_t pair[2] = {left, right};
    size_t mask = m->n_slots - 1;
    size_t i = (size_t)hash_siphash(m->key, pair, sizeof(pair)) & mask;
    while (m->slots[i].left >= 0 &&
           (m->slots[i].left != left || m->slots[i].right != right))
        i = (i + 1) & mask;
    return i;
}

/* Of a pair that is there already, the new rank counts if `last`, else the old
 * one. */
static void add(struct bpe_merges *m, struct bpe_merge merge, int last)
{
    size_t i = slot_of(m, merge.left, merge.right);
    if (m->slots[i].left < 0 || last)
        m->slots[i] = merge;
}

static const struct bpe_merge *find(const struct bpe_merges *m, int32_t left,
                                    int32_t right)
{
    const struct bpe_merge *at = &m->slots[slot_of(m, left, right)];
    return at->left < 0 ? NULL : at;
}

int bpe_merges_text(struct bpe_merges *m, const struct tokenizer *t,
                    const struct tok_source *s, const char *const part[2],
                    const size_t len[2], size_t skip, uint32_t rank)
{
    char both[1024], *text = both;
    size_t more = len[1] > skip ? len[1] - skip : 0, n = len[0] + more;
    struct bpe_merge merge = {.rank = rank, .to = -1};
    if (n > t->max_len || more == 0)
        n = 0; /* no entry is as long */
    else if (n > sizeof(both) && !(text = mem_alloc(n)))
        return err_nomem(s->e);
    if (n > 0) {
        memcpy(text, part[0], len[0]);
        memcpy(text + len[0], part[1] + skip, more);
    }
    merge.left = tokenizer_lookup(t, part[0], len[0]);
    merge.right = tokenizer_lookup(t, part[1], len[1]);
    merge.to = tokenizer_lookup(t, text, n);
    if (text != both)
        mem_free(text);
    if (merge.left < 0 || merge.right < 0 || merge.to < 0) {
        return err_set(s->e, ERR_FORMAT,
                       "%s: merge %u '%.*s %.*s' is of or makes a token that "
                       "the vocabulary lacks",
                       s->label, rank, (int)(len[0] < 40 ? len[0] : 40),
                       part[0], (int)(len[1] < 40 ? len[1] : 40), part[1]);
    }
    add(m, merge, s->gguf == NULL);
    return 0;
}

/* ---------------------------------------------------------------- merging */

void bpe_work_fini(struct bpe_work *w)
{
    mem_free(w->node);
    mem_free(w->heap);
    memset(w, 0, sizeof *w);
}

int bpe_reserve(struct bpe_work *w, size_t n, struct err *e)
{
    if (n <= w->cap)
        return 0;
    size_t cap = n < 256 ? 256 : n;
    bpe_work_fini(w);
    w->node = mem_array(cap, sizeof *w->node);
    /* n - 1 pairs at first, two more for each of at most n - 1 merges, each
     * after one has left: never more than 2 n at a time. */
    w->heap = mem_array(2 * cap, sizeof *w->heap);
    if (!w->node || !w->heap) {
        bpe_work_fini(w);
        return err_nomem(e);
    }
    w->cap = cap;
    w->heap_cap = 2 * cap;
    return 0;
}

static void sift_down(struct bpe_work *w, size_t i)
{
    uint64_t v = w->heap[i];
    for (;;) {
        size_t k = 2 * i + 1;
        if (k >= w->n_heap)
            break;
        k += k + 1 < w->n_heap && w->heap[k + 1] < w->heap[k];
        if (w->heap[k] >= v)
            break;
        w->heap[i] = w->heap[k];
        i = k;
    }
    w->heap[i] = v;
}

static void heap_push(struct bpe_work *w, uint64_t v)
{
    size_t i = w->n_heap++;
    while (i > 0 && w->heap[(i - 1) / 2] > v) {
        w->heap[i] = w->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    w->heap[i] = v;
}

static uint64_t heap_pop(struct bpe_work *w)
{
    uint64_t v = w->heap[0];
    w->heap[0] = w->heap[--w->n_heap];
    if (w->n_heap > 1)
        sift_down(w, 0);
    return v;
}

/* Look the pair that begins at node i up. */
static void rank_pair(const struct bpe_merges *m, struct bpe_work *w, int32_t i)
{
    struct bpe_node *n = &w->node[i];
    const struct bpe_merge *at = NULL;
    if (n->next >= 0 && n->id >= 0 && w->node[n->next].id >= 0)
        at = find(m, n->id, w->node[n->next].id);
    n->rank = at ? at->rank : NO_RANK;
}

static void push_pair(const struct bpe_merges *m, struct bpe_work *w, int32_t i)
{
    rank_pair(m, w, i);
    if (w->node[i].rank != NO_RANK)
        heap_push(w, (uint64_t)w->node[i].rank << 32 | (uint32_t)i);
}

/* Join node i with the one after it. */
static void join(const struct bpe_merges *m, struct bpe_work *w, int32_t i)
{
    struct bpe_node *a = &w->node[i], *b = &w->node[a->next];
    const struct bpe_merge *at = find(m, a->id, b->id);
    a->id = at->to;
    a->next = b->next;
    b->id = GONE;
    b->rank = NO_RANK;
    if (a->next >= 0)
        w->node[a->next].prev = i;
    push_pair(m, w, i);
    if (a->prev >= 0)
        push_pair(m, w, a->prev);
}

void bpe_run(const struct bpe_merges *m, struct bpe_work *w, int32_t first)
{
    w->n_heap = 0;
    for (int32_t i = first; i >= 0; i = w->node[i].next) {
        rank_pair(m, w, i);
        if (w->node[i].rank != NO_RANK) {
            w->heap[w->n_heap++] =
                (uint64_t)w->node[i].rank << 32 | (uint32_t)i;
        }
    }
    for (size_t i = w->n_heap / 2; i-- > 0;)
        sift_down(w, i);
    while (w->n_heap > 0) {
        uint64_t v = heap_pop(w);
        int32_t i = (int32_t)(v & 0xffffffffu);
        if (w->node[i].rank == (uint32_t)(v >> 32))
            join(m, w, i);
    }
}
