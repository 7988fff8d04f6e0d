/* bpe_learn: see bpe_learn.h.
 *
 * SPDX-License-Identifier: MIT */
#include "models/train/bpe_learn.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/mem.h"

#define NONE UINT32_MAX
#define MAX_PLACES (1u << 30)

/* A symbol where it stands: at its first byte. */
struct place {
    int32_t symbol;      /* -1: part of the one before */
    uint32_t prev, next; /* in its word, or NONE */
    uint32_t word;
};

struct pair {
    int32_t left, right;
    int64_t count;
    int64_t queued; /* its newest entry in the heap; 0: none */
    uint32_t first; /* of its occurrences, or NONE */
};

/* Pair p stood at `at`; it may not do so any more. */
struct occurrence {
    uint32_t at, next;
};

struct entry {
    int64_t count;
    uint32_t pair;
};

struct learner {
    const struct pieces *words;
    struct bpe_learned *out;
    struct place *place; /* [n_places] */
    uint32_t n_places;
    struct pair *pair; /* [n_pairs] */
    uint32_t n_pairs;
    size_t cap_pairs;
    uint32_t *slot; /* [n_slots] index of a pair, or NONE */
    uint32_t n_slots;
    struct occurrence *seen;
    uint32_t n_seen;
    size_t cap_seen;
    struct entry *heap;
    size_t n_heap, cap_heap;
    uint32_t *grown; /* pairs that a merge made more frequent */
    size_t n_grown, cap_grown;
    uint32_t *todo; /* the places of a merge */
    size_t cap_todo;
    size_t cap_merges;
    int failed;
};

/* grow: room for an element more of an array of *cap. */
static int grow(void **v, size_t *cap, size_t n, size_t bytes)
{
    if (n < *cap)
        return 0;
    size_t more = *cap * 2 + 1024;
    void *p = mem_grow(*v, more, bytes);
    if (p == NULL)
        return -1;
    *v = p;
    *cap = more;
    return 0;
}

/* ----------------------------------------------------------------- symbols */

static int compare(const struct pieces *l, int32_t a, int32_t b)
{
    size_t n = l->v[a].n, m = l->v[b].n;
    int c = a == b
                ? 0
                : memcmp(pieces_text(l, a), pieces_text(l, b), n < m ? n : m);
    return c != 0 ? c : (n > m) - (n < m);
}

/* ------------------------------------------------------------------- pairs */

static uint32_t hash_of(int32_t left, int32_t right)
{
    uint64_t x = ((uint64_t)(uint32_t)left << 32) | (uint32_t)right;
    x *= 0x9e3779b97f4a7c15u; /* Fibonacci hashing */
    return (uint32_t)(x >> 32) ^ (uint32_t)(x >> 48);
}

static int rehash(struct learner *k)
{
    uint32_t n = k->n_slots == 0 ? 1u << 14 : k->n_slots * 2;
    uint32_t *slot = mem_array(n, sizeof *slot);
    if (slot == NULL)
        return -1;
    for (uint32_t i = 0; i < n; i++)
        slot[i] = NONE;
    for (uint32_t i = 0; i < k->n_pairs; i++) {
        uint32_t h = hash_of(k->pair[i].left, k->pair[i].right) & (n - 1);
        while (slot[h] != NONE)
            h = (h + 1) & (n - 1);
        slot[h] = i;
    }
    mem_free(k->slot);
    k->slot = slot;
    k->n_slots = n;
    return 0;
}

/* The pair, made if need be; NULL: no memory. */
static struct pair *pair_of(struct learner *k, int32_t left, int32_t right)
{
    if (k->n_pairs * 2 >= k->n_slots && rehash(k) != 0)
        return NULL;
    uint32_t h = hash_of(left, right) & (k->n_slots - 1);
    for (; k->slot[h] != NONE; h = (h + 1) & (k->n_slots - 1)) {
        struct pair *p = &k->pair[k->slot[h]];
        if (p->left == left && p->right == right)
            return p;
    }
    if (grow((void **)&k->pair, &k->cap_pairs, k->n_pairs, sizeof *k->pair))
        return NULL;
    k->slot[h] = k->n_pairs;
    k->pair[k->n_pairs] = (struct pair){left, right, 0, 0, NONE};
    return &k->pair[k->n_pairs++];
}

/* The pair that begins at place `at` stands there now (by 1) or no more. */
static void count_at(struct learner *k, uint32_t at, int by)
{
    const struct place *x = &k->place[at];
    int64_t count = k->words->v[x->word].count;
    struct pair *p = pair_of(k, x->symbol, k->place[x->next].symbol);
    if (p == NULL ||
        grow((void **)&k->seen, &k->cap_seen, k->n_seen, sizeof *k->seen) ||
        grow((void **)&k->grown, &k->cap_grown, k->n_grown, sizeof *k->grown)) {
        k->failed = 1;
        return;
    }
    p->count += by * count;
    if (by < 0)
        return;
    k->seen[k->n_seen] = (struct occurrence){at, p->first};
    p->first = k->n_seen++;
    k->grown[k->n_grown++] = (uint32_t)(p - k->pair);
}

/* -------------------------------------------------------------------- heap */

/* Does a go before b? */
static int is_before(const struct learner *k, struct entry a, struct entry b)
{
    const struct pair *x = &k->pair[a.pair], *y = &k->pair[b.pair];
    if (a.count != b.count)
        return a.count > b.count;
    int c = compare(&k->out->symbols, x->left, y->left);
    return (c != 0 ? c : compare(&k->out->symbols, x->right, y->right)) > 0;
}

static int push(struct learner *k, uint32_t pair)
{
    struct entry x = {k->pair[pair].count, pair};
    size_t i = k->n_heap;
    if (grow((void **)&k->heap, &k->cap_heap, i, sizeof *k->heap) != 0)
        return -1;
    for (k->n_heap++; i > 0; i = (i - 1) / 2) {
        if (!is_before(k, x, k->heap[(i - 1) / 2]))
            break;
        k->heap[i] = k->heap[(i - 1) / 2];
    }
    k->heap[i] = x;
    k->pair[pair].queued = x.count;
    return 0;
}

static struct entry pop(struct learner *k)
{
    struct entry top = k->heap[0], x = k->heap[--k->n_heap];
    size_t i = 0, n = k->n_heap;
    for (size_t c; (c = 2 * i + 1) < n; i = c) {
        c += c + 1 < n && is_before(k, k->heap[c + 1], k->heap[c]);
        if (!is_before(k, k->heap[c], x))
            break;
        k->heap[i] = k->heap[c];
    }
    k->heap[i] = x;
    return top;
}

/* What a merge made more frequent goes into the heap; what became rarer is
 * found out when its old entry comes up. */
static int push_grown(struct learner *k)
{
    for (size_t i = 0; i < k->n_grown; i++) {
        const struct pair *p = &k->pair[k->grown[i]];
        if (p->count > p->queued && push(k, k->grown[i]) != 0)
            return -1;
    }
    k->n_grown = 0;
    return 0;
}

/* The pair that stands most often, or NONE below `least`. */
static uint32_t most_frequent(struct learner *k, int64_t least)
{
    while (k->n_heap > 0) {
        struct entry x = pop(k);
        struct pair *p = &k->pair[x.pair];
        if (x.count != p->queued)
            continue;
        p->queued = 0;
        if (p->count == x.count)
            return x.count >= least ? x.pair : NONE;
        if (p->count >= least && push(k, x.pair) != 0) {
            k->failed = 1;
            return NONE;
        }
    }
    return NONE;
}

/* ------------------------------------------------------------------ merges */

static int by_place(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* The places of a pair, ascending, into k->todo: of "aaa" the first two are
 * merged. */
static size_t places_of(struct learner *k, const struct pair *p)
{
    size_t n = 0;
    for (uint32_t i = p->first; i != NONE; i = k->seen[i].next) {
        if (grow((void **)&k->todo, &k->cap_todo, n, sizeof *k->todo) != 0) {
            k->failed = 1;
            return 0;
        }
        k->todo[n++] = k->seen[i].at;
    }
    qsort(k->todo, n, sizeof *k->todo, by_place);
    return n;
}

static void merge_at(struct learner *k, uint32_t at, int32_t to)
{
    struct place *x = &k->place[at], *y = &k->place[x->next];
    if (x->prev != NONE)
        count_at(k, x->prev, -1);
    if (y->next != NONE)
        count_at(k, x->next, -1);
    count_at(k, at, -1);
    y->symbol = -1;
    x->symbol = to;
    x->next = y->next;
    if (x->next != NONE) {
        k->place[x->next].prev = at;
        count_at(k, at, 1);
    }
    if (x->prev != NONE)
        count_at(k, x->prev, 1);
}

static int note_merge(struct learner *k, int32_t left, int32_t right)
{
    struct bpe_learned *l = k->out;
    if (grow((void **)&l->merge, &k->cap_merges, (size_t)l->n_merges,
             sizeof *l->merge) != 0)
        return -1;
    l->merge[l->n_merges++] = (struct bpe_pair){left, right};
    return 0;
}

/* The symbol that a pair becomes, which another one may have made before; -1:
 * it stays apart. */
static int32_t joined(struct learner *k, const struct pair *p,
                      const struct bpe_goal *g)
{
    struct pieces *l = &k->out->symbols;
    size_t n = l->v[p->left].n, m = l->v[p->right].n;
    struct buf text;
    int32_t to = -1;
    buf_init(&text, MAX_PLACES);
    buf_add(&text, pieces_text(l, p->left), n);
    k->failed |= buf_add(&text, pieces_text(l, p->right), m) != 0;
    if (!k->failed && (!g->is_barred || !g->is_barred(g->arg, text.p, n + m))) {
        k->failed |= pieces_add(l, text.p, n + m) != 0;
        to = k->failed ? -1 : pieces_find(l, text.p, n + m);
    }
    buf_fini(&text);
    return to;
}

/* Join the pair everywhere. */
static void merge(struct learner *k, uint32_t index, const struct bpe_goal *g)
{
    struct pair p = k->pair[index];
    int32_t to = joined(k, &p, g);
    if (k->failed || to < 0)
        return;
    k->failed |= note_merge(k, p.left, p.right) != 0;
    k->pair[index].first = NONE;
    size_t n = places_of(k, &p);
    for (size_t i = 0; i < n; i++) {
        const struct place *x = &k->place[k->todo[i]];
        if (x->symbol == p.left && x->next != NONE &&
            k->place[x->next].symbol == p.right)
            merge_at(k, k->todo[i], to);
    }
    k->failed |= push_grown(k) != 0;
}

/* Words as chains of bytes, and their pairs. */
static int lay_out(struct learner *k, struct err *e)
{
    const struct pieces *w = k->words;
    uint32_t at = 0;
    if (w->text.len > MAX_PLACES)
        return err_set(e, ERR_TOO_LARGE, "over %u bytes of different words",
                       MAX_PLACES);
    k->place = mem_array(w->text.len + 1, sizeof *k->place);
    if (k->place == NULL)
        return err_nomem(e);
    for (int i = 0; i < w->n; i++) {
        const char *s = pieces_text(w, i);
        uint32_t n = w->v[i].n;
        for (uint32_t j = 0; j < n; j++, at++)
            k->place[at] =
                (struct place){(unsigned char)s[j], j > 0 ? at - 1 : NONE,
                               j + 1 < n ? at + 1 : NONE, (uint32_t)i};
    }
    k->n_places = at;
    for (uint32_t i = 0; i < at && !k->failed; i++)
        if (k->place[i].next != NONE)
            count_at(k, i, 1);
    return k->failed || push_grown(k) != 0 ? err_nomem(e) : 0;
}

static int run(struct learner *k, const struct bpe_goal *g, struct err *e)
{
    for (int i = 0; i < 256; i++) {
        char c = (char)i;
        if (pieces_add(&k->out->symbols, &c, 1) != 0)
            return err_nomem(e);
    }
    if (lay_out(k, e) != 0)
        return -1;
    while (k->out->symbols.n < g->symbols && !k->failed) {
        uint32_t p = most_frequent(k, g->min_count);
        if (p == NONE)
            break;
        merge(k, p, g);
        if (g->said != NULL)
            g->said(g->arg, k->out->symbols.n);
    }
    return k->failed ? err_nomem(e) : 0;
}

int bpe_learn(const struct pieces *words, const struct bpe_goal *g,
              struct bpe_learned *out, struct err *e)
{
    struct learner k = {.words = words, .out = out};
    memset(out, 0, sizeof *out);
    pieces_init(&out->symbols);
    int rc = run(&k, g, e);
    mem_free(k.place);
    mem_free(k.pair);
    mem_free(k.slot);
    mem_free(k.seen);
    mem_free(k.heap);
    mem_free(k.grown);
    mem_free(k.todo);
    return rc;
}

void bpe_learned_fini(struct bpe_learned *l)
{
    pieces_fini(&l->symbols);
    mem_free(l->merge);
    memset(l, 0, sizeof *l);
}
