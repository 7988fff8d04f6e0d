/* pieces: see pieces.h.
 *
 * SPDX-License-Identifier: MIT */
#include "models/train/pieces.h"

#include <string.h>

#include "engine/base/mem.h"

#define MAX_BYTES ((size_t)1 << 30)

void pieces_init(struct pieces *p)
{
    memset(p, 0, sizeof *p);
    buf_init(&p->text, MAX_BYTES);
}

void pieces_fini(struct pieces *p)
{
    buf_fini(&p->text);
    mem_free(p->v);
    mem_free(p->slot);
    memset(p, 0, sizeof *p);
}

const char *pieces_text(const struct pieces *p, int i)
{
    return p->text.p + p->v[i].at;
}

static uint32_t hash_of(const char *s, size_t n)
{
    uint32_t h = 2166136261u; /* FNV-1a */
    for (size_t i = 0; i < n; i++)
        h = (h ^ (uint8_t)s[i]) * 16777619u;
    return h ^ (h >> 15);
}

static int rehash(struct pieces *p)
{
    uint32_t n = p->n_slots == 0 ? 1u << 16 : p->n_slots * 2;
    int32_t *slot = mem_array(n, sizeof *slot);
    if (slot == NULL)
        return -1;
    for (uint32_t i = 0; i < n; i++)
        slot[i] = -1;
    for (int i = 0; i < p->n; i++) {
        uint32_t h = hash_of(pieces_text(p, i), p->v[i].n) & (n - 1);
        while (slot[h] >= 0)
            h = (h + 1) & (n - 1);
        slot[h] = i;
    }
    mem_free(p->slot);
    p->slot = slot;
    p->n_slots = n;
    return 0;
}

static int add_new(struct pieces *p, const char *s, size_t n, uint32_t h)
{
    if (p->n == p->cap) {
        int cap = p->cap * 2 + 1024;
        struct piece *v = mem_grow(p->v, (size_t)cap, sizeof *v);
        if (v == NULL)
            return -1;
        p->v = v;
        p->cap = cap;
    }
    p->v[p->n] = (struct piece){p->text.len, (uint32_t)n, 1};
    buf_add(&p->text, s, n);
    if (buf_add_char(&p->text, '\0') != 0)
        return -1;
    p->slot[h] = p->n++;
    return 0;
}

/* The slot of s [n], or the empty one where it belongs. */
static uint32_t slot_of(const struct pieces *p, const char *s, size_t n)
{
    uint32_t h = hash_of(s, n) & (p->n_slots - 1);
    for (; p->slot[h] >= 0; h = (h + 1) & (p->n_slots - 1)) {
        const struct piece *x = &p->v[p->slot[h]];
        if (x->n == n && memcmp(p->text.p + x->at, s, n) == 0)
            break;
    }
    return h;
}

int pieces_find(const struct pieces *p, const char *s, size_t n)
{
    return p->n > 0 ? p->slot[slot_of(p, s, n)] : -1;
}

int pieces_add(struct pieces *p, const char *s, size_t n)
{
    if (n > MAX_BYTES || ((uint32_t)p->n * 2 >= p->n_slots && rehash(p) != 0))
        return -1;
    uint32_t h = slot_of(p, s, n);
    if (p->slot[h] < 0)
        return add_new(p, s, n, h);
    p->v[p->slot[h]].count++;
    return 0;
}
