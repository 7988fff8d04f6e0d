/* transformer_attn: keys and values into pages or blocks, and attention over
 * them. A unit of work is (rows of a slot, kv head): the query heads that
 * share this kv head and up to TF_TILE_ROWS (row, head) pairs read each block
 * of keys and values together. Threads take units from a counter, the last
 * rows (with the most keys) first; no result depends on who takes what.
 *
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "models/transformer/transformer_impl.h"

/* Floats of scores that a thread holds; long contexts take fewer rows at a
 * time, at least MIN_TILE_ROWS. */
#define TILE_SCORES 65536
#define MIN_TILE_ROWS 4

/* Floats of the keys (or values) of a block for one kv head. */
static size_t half_block(const struct stack *s)
{
    return tf_pad(s->dim[HEAD_DIM]) * ATTN_KEYS;
}

size_t tf_page_bytes(const struct stack *s)
{
    return (size_t)s->dim[LAYERS] * (size_t)s->dim[KV_HEADS] * 2 *
           half_block(s) * sizeof(float);
}

/* --- scratch and units --- */

/* Blocks that the longest sequence of a step can have. The context that a
 * model states is no measure: memory for it may be more than there is. */
static size_t most_blocks(const struct stack *s, const struct step_size *step)
{
    int64_t most = s->max_len;
    int64_t tokens = step->tokens[s->target ? PORT_SOURCE : PORT_TARGET];

    if (s->source && s->source->max_len > most)
        most = s->source->max_len;
    if (step->longest > 0 && step->longest < most)
        most = step->longest;
    if (s->kind->whole && tokens < most)
        most = tokens;
    return (size_t)most / ATTN_KEYS + 1;
}

static int rows_of_unit(const struct stack *s)
{
    int rows = TF_TILE_ROWS / (s->dim[HEADS] / s->dim[KV_HEADS]);

    return rows > 0 ? rows : 1;
}

void tf_attn_map(struct tf_run *t, struct tf_arena *a,
                 const struct step_size *step)
{
    const struct stack *s = t->s;
    int tokens = step->tokens[t->port];
    size_t items = (size_t)step->items, blocks = most_blocks(s, step);
    size_t scores = blocks * ATTN_KEYS * TF_TILE_ROWS;
    size_t all = (size_t)tokens / ATTN_KEYS + items;

    if (scores > TILE_SCORES)
        scores = TILE_SCORES;
    if (scores < blocks * ATTN_KEYS * MIN_TILE_ROWS)
        scores = blocks * ATTN_KEYS * MIN_TILE_ROWS;
    for (int i = 0; i < t->n; i++) {
        struct tf_lane l = {.n_scores = scores};

        l.q = tf_take_rows(a, TF_TILE_ROWS, s->dim[HEAD_DIM]);
        l.y = tf_take_rows(a, TF_TILE_ROWS, s->dim[HEAD_DIM]);
        l.s = tf_take(a, scores, sizeof *l.s);
        l.kb = tf_take(a, blocks, sizeof *l.kb);
        l.vb = tf_take(a, blocks, sizeof *l.vb);
        if (!t->lane)
            continue;
        l.init = t->lane[i].init;
        t->lane[i] = l;
    }
    t->unit =
        tf_take(a, (size_t)(tokens / rows_of_unit(s)) + items, sizeof *t->unit);
    t->blocks = NULL;
    if (s->kind->whole)
        t->blocks =
            tf_take(a, all * (size_t)s->dim[KV_HEADS] * 2 * half_block(s),
                    sizeof *t->blocks);
}

void tf_attn_plan(struct tf_run *t)
{
    int most = rows_of_unit(t->s);

    t->n_units = 0;
    for (int i = 0; i < t->n_slots; i++) {
        int n = t->slot[i].n;

        for (int r = 0; r < n; r += most) {
            int rows = n - r < most ? n - r : most;

            t->unit[t->n_units++] = (struct tf_unit){i, r, rows};
        }
    }
}

/* --- blocks --- */

/* Keys of positions 16 block .. of a slot; the values follow them. */
static float *block_at(const struct tf_run *t, const struct tf_attn *a,
                       const struct tf_slot *slot, int64_t block, int kv)
{
    size_t one = 2 * half_block(a->of), heads = (size_t)a->of->dim[KV_HEADS];
    float *page;

    if (a->port < 0)
        return t->blocks +
               ((size_t)(slot->block0 + block) * heads + (size_t)kv) * one;
    page = t->b->item[slot->item].seq->pages[a->port][block];
    return page + ((size_t)a->layer * heads + (size_t)kv) * one;
}

void tf_attn_store(const struct tf_run *t, const struct tf_attn *a, int r0,
                   int r1)
{
    const struct stack *s = a->of;
    size_t d = (size_t)s->dim[HEAD_DIM], dp = tf_pad(s->dim[HEAD_DIM]);

    for (int r = r0; r < r1; r++) {
        const struct tf_slot *slot = &t->slot[t->slot_of[r]];
        int64_t pos = t->pos[r];
        const float *k = a->k + (size_t)r * a->ld;
        const float *v = a->v + (size_t)r * a->ld;

        for (int h = 0; h < s->dim[KV_HEADS]; h++, k += d, v += d) {
            float *kb = block_at(t, a, slot, pos / ATTN_KEYS, h);
            float *vb = kb + half_block(s) + (size_t)(pos % ATTN_KEYS) * dp;

            kb += pos % ATTN_KEYS;
            for (size_t i = 0; i < d; i++)
                kb[i * ATTN_KEYS] = k[i];
            memcpy(vb, v, d * sizeof *v);
            memset(vb + d, 0, (dp - d) * sizeof *v);
        }
    }
}

/* --- attention --- */

/* A tile: m pairs (row, head), pair i of the unit counted from `first`. */
struct tile {
    const struct tf_slot *slot;
    int kv, group; /* group: query heads that share a kv head */
    int row0;      /* of the step: that of pair 0 */
    int first, m;
    int64_t block0; /* first block read */
    int n_blocks;
};

static int tile_row(const struct tile *l, int i)
{
    return l->row0 + (l->first + i) / l->group;
}

static int tile_head(const struct tile *l, int i)
{
    return l->kv * l->group + (l->first + i) % l->group;
}

/* Keys that the query at position p sees: *lo .. *hi - 1. */
static void visible(const struct tf_attn *a, const struct tf_slot *slot,
                    int64_t p, int64_t *lo, int64_t *hi)
{
    *lo = a->window > 0 && p >= a->window ? p - a->window + 1 : 0;
    *hi = a->causal ? p + 1 : slot->pos0 + slot->n;
    if (a->source) {
        *lo = 0;
        *hi = slot->shown;
    }
}

/* Which blocks the tile reads, and how many of `rows` pairs it takes. */
static void tile_fit(const struct tf_run *t, const struct tf_attn *a,
                     const struct tf_lane *lane, struct tile *l, int rows)
{
    int64_t lo, hi, ignored;

    l->m = rows < TF_TILE_ROWS ? rows : TF_TILE_ROWS;
    visible(a, l->slot, t->pos[tile_row(l, 0)], &lo, &ignored);
    visible(a, l->slot, t->pos[tile_row(l, l->m - 1)], &ignored, &hi);
    l->block0 = lo / ATTN_KEYS;
    l->n_blocks = (int)((hi + ATTN_KEYS - 1) / ATTN_KEYS - l->block0);
    rows = (int)(lane->n_scores / ((size_t)l->n_blocks * ATTN_KEYS));
    l->m = l->m < rows ? l->m : rows;
}

static void tile_load(const struct tf_run *t, const struct tf_attn *a,
                      struct tf_lane *lane, const struct tile *l)
{
    size_t d = (size_t)t->s->dim[HEAD_DIM], dp = tf_pad(t->s->dim[HEAD_DIM]);

    for (int b = 0; b < l->n_blocks; b++) {
        lane->kb[b] = block_at(t, a, l->slot, l->block0 + b, l->kv);
        lane->vb[b] = lane->kb[b] + half_block(t->s);
    }
    for (int i = 0; i < l->m; i++) {
        int64_t lo, hi, base = l->block0 * ATTN_KEYS;
        int r = tile_row(l, i);

        visible(a, l->slot, t->pos[r], &lo, &hi);
        lane->lo[i] = (int)(lo - base);
        lane->hi[i] = (int)(hi - base);
        memcpy(lane->q + (size_t)i * dp,
               a->q + (size_t)r * a->ld + (size_t)tile_head(l, i) * d,
               d * sizeof *a->q);
    }
}

/* The weights of pair i for who looks at them: the item began at position 0,
 * or the keys are the source's, so they count from 0 too. */
static void show(const struct tf_run *t, const struct tf_attn *a,
                 const struct tf_lane *lane, const struct tile *l, int i,
                 const float *p)
{
    size_t n = (size_t)l->slot->n, heads = (size_t)t->s->dim[HEADS];
    size_t m = (size_t)l->slot->shown;
    size_t head = (size_t)a->layer * heads + (size_t)tile_head(l, i);
    size_t row = (size_t)(tile_row(l, i) - l->slot->row0);
    float *dst = l->slot->show + (head * n + row) * m;
    size_t base = (size_t)l->block0 * ATTN_KEYS;

    memset(dst, 0, m * sizeof *dst);
    for (int j = lane->lo[i]; j < lane->hi[i]; j++)
        dst[base + (size_t)j] = p[j];
}

/* What a head adds to the scores of pair i by the distance of keys. */
static void add_near(const struct tf_run *t, const struct tf_lane *lane,
                     const struct tile *l, int i, float *p)
{
    int64_t at = t->pos[tile_row(l, i)] - l->block0 * ATTN_KEYS;
    int64_t reach = t->s->near.reach;
    const float *add = t->s->near.add + tile_head(l, i) * (2 * reach + 1);

    for (int j = lane->lo[i]; j < lane->hi[i]; j++) {
        int64_t away = j - at;

        away = away < -reach ? -reach : away;
        p[j] += add[(away > reach ? reach : away) + reach];
    }
}

static void tile_run(const struct tf_run *t, const struct tf_attn *a,
                     struct tf_lane *lane, const struct tile *l)
{
    const struct kernels *k = t->k;
    size_t d = (size_t)t->s->dim[HEAD_DIM], dp = tf_pad(t->s->dim[HEAD_DIM]);
    size_t lds = (size_t)l->n_blocks * ATTN_KEYS;

    tile_load(t, a, lane, l);
    k->attn_scores(l->m, (int)d, lane->q, dp, lane->kb, l->n_blocks, a->scale,
                   lane->s, lds);
    for (int i = 0; i < l->m; i++) {
        float *p = lane->s + (size_t)i * lds;

        if (t->s->near.add && !a->source)
            add_near(t, lane, l, i, p);
        k->attn_softmax(lane->lo[i], lane->hi[i], a->cap, p);
        if (l->slot->show && a->source == (t->s->source != NULL))
            show(t, a, lane, l, i, p);
    }
    k->attn_mix(l->m, (int)d, lane->s, lds, lane->lo, lane->hi, lane->vb,
                lane->y, dp);
    for (int i = 0; i < l->m; i++)
        memcpy(a->y + (size_t)tile_row(l, i) * a->ldy +
                   (size_t)tile_head(l, i) * d,
               lane->y + (size_t)i * dp, d * sizeof *a->y);
}

void tf_attn_run(struct tf_run *t, int tid, const struct tf_attn *a)
{
    struct tf_lane *lane = &t->lane[tid];
    int n_kv = t->s->dim[KV_HEADS], total = t->n_units * n_kv, taken;
    atomic_int *next = &t->next[2 * a->layer + a->source];

    while ((taken = atomic_fetch_add_explicit(next, 1, memory_order_relaxed)) <
           total) {
        int at = total - 1 - taken;
        const struct tf_unit *u = &t->unit[at / n_kv];
        struct tile l = {.slot = &t->slot[u->slot],
                         .kv = at % n_kv,
                         .group = t->s->dim[HEADS] / n_kv};
        int pairs = u->n * l.group;

        l.row0 = l.slot->row0 + u->r0;
        for (; l.first < pairs; l.first += l.m) {
            tile_fit(t, a, lane, &l, pairs - l.first);
            tile_run(t, a, lane, &l);
        }
    }
}
