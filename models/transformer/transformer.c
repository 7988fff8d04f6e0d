/* transformer: the plan of a step: from a batch to rows, wanted rows and
 * threads, on the runner's thread before the pool runs; no allocation.
 *
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "models/transformer/transformer_impl.h"

/* Below this many multiply-adds a second thread costs more than it brings:
 * waking a parked one takes some 22 us, and each tf_sync about a quarter. */
#define MIN_MACS 1.5e6
#define SYNC_MACS 2.0e4

/* --- scratch --- */

size_t tf_pad(int64_t n)
{
    return ((size_t)n + 15) / 16 * 16;
}

void *tf_take(struct tf_arena *a, size_t n, size_t bytes)
{
    size_t here = a->at;

    a->at = (here + n * bytes + 63) / 64 * 64;
    return a->base ? a->base + here : NULL;
}

float *tf_take_rows(struct tf_arena *a, int rows, int64_t width)
{
    return tf_take(a, (size_t)rows * tf_pad(width), sizeof(float));
}

static void map_lane(struct tf_lane *l, struct tf_arena *a, size_t rows)
{
    const float **init = tf_take(a, rows, sizeof *init);

    if (l)
        l->init = init;
}

void tf_map(struct tf_run *t, struct tf_arena *a, int max_items, int max_tokens,
            int max_rows, int n_threads)
{
    size_t items = (size_t)max_items, tokens = (size_t)max_tokens;
    size_t rows = (size_t)max_rows;
    int n = n_threads < TF_MAX_THREADS ? n_threads : TF_MAX_THREADS;

    t->n = n;
    t->slot = tf_take(a, items, sizeof *t->slot);
    t->token = tf_take(a, tokens, sizeof *t->token);
    t->slot_of = tf_take(a, tokens, sizeof *t->slot_of);
    t->pos = tf_take(a, tokens, sizeof *t->pos);
    t->type = tf_take(a, tokens, sizeof *t->type);
    t->logits = tf_take(a, rows, sizeof *t->logits);
    t->hidden = tf_take(a, rows, sizeof *t->hidden);
    t->pooled = tf_take(a, rows, sizeof *t->pooled);
    t->cls = tf_take(a, rows, sizeof *t->cls);
    t->bad = tf_take(a, items, sizeof *t->bad);
    t->next = tf_take(a, (size_t)t->spec->n_layers, sizeof *t->next);
    t->spare = tf_take_rows(a, SPARE_ROWS, t->spec->n_logits);
    t->lane = tf_take(a, (size_t)n, sizeof *t->lane);
    for (int i = 0; i < n; i++)
        map_lane(t->lane ? &t->lane[i] : NULL, a,
                 tokens > rows ? tokens : rows);
    tf_attn_map(t, a, max_items, max_tokens);
}

/* --- checks --- */

static int want_is_valid(const struct tf_run *t, const struct batch_item *it,
                         const struct want *w)
{
    if (!(t->spec->wants & 1u << w->kind) || !w->dst)
        return 0;
    switch (w->kind) {
    case OUT_LOGITS:
    case OUT_HIDDEN:
        return w->from >= 0 && w->n >= 0 && w->from <= it->in.n &&
               w->n <= it->in.n - w->from;
    case OUT_POOLED:
    case OUT_CLASS:
        return it->in.n > 0;
    case OUT_ATTENTION:
        return it->in.n > 0 && it->in.n <= MODEL_MAX_SHOWN &&
               it->seq->len[0] == 0;
    default:
        return 0;
    }
}

static enum err_code check_item(const struct tf_run *t,
                                const struct batch_item *it)
{
    const int32_t *id = it->in.p;
    int64_t len = it->seq->len[0];

    if (it->in.unit != UNIT_TOKENS || it->in.n < 0 || len < 0 ||
        (t->spec->whole && len > 0))
        return ERR_INVALID;
    if (len > t->spec->max_len || it->in.n > t->spec->max_len - len)
        return ERR_TOO_LARGE;
    for (int i = 0; i < it->in.n; i++)
        if (id[i] < 0 || id[i] >= t->spec->n_vocab)
            return ERR_INVALID;
    for (int i = 0; i < it->n_w; i++)
        if (!want_is_valid(t, it, &it->w[i]))
            return ERR_INVALID;
    return ERR_NONE;
}

/* Rows that an item's wants take; -1 for one that does not run. */
static int64_t wanted_rows(const struct batch_item *it)
{
    int64_t n = 0;

    for (int i = 0; i < it->n_w; i++) {
        const struct want *w = &it->w[i];

        if (w->kind == OUT_LOGITS || w->kind == OUT_HIDDEN)
            n += w->n;
        else
            n += w->kind != OUT_ATTENTION;
    }
    return n;
}

/* --- rows --- */

static void list_out(struct tf_out *list, int *n, const struct want *w,
                     int slot, int row)
{
    int rows = w->kind == OUT_LOGITS || w->kind == OUT_HIDDEN ? w->n : 1;

    for (int i = 0; i < rows; i++)
        list[(*n)++] = (struct tf_out){.dst = w->dst + (size_t)i * w->ld,
                                       .ld = w->ld,
                                       .slot = slot,
                                       .row = row + i};
}

static void list_wants(struct tf_run *t, struct tf_slot *s, int slot,
                       const struct batch_item *it)
{
    int last = s->row0 + s->n - 1;

    for (int i = 0; i < it->n_w; i++) {
        const struct want *w = &it->w[i];

        switch (w->kind) {
        case OUT_LOGITS:
            list_out(t->logits, &t->n_logits, w, slot, s->row0 + w->from);
            break;
        case OUT_HIDDEN:
            list_out(t->hidden, &t->n_hidden, w, slot, s->row0 + w->from);
            break;
        case OUT_POOLED:
            list_out(t->pooled, &t->n_pooled, w, slot, last);
            break;
        case OUT_CLASS:
            list_out(t->cls, &t->n_cls, w, slot, last);
            break;
        default:
            s->show = w->dst;
        }
    }
}

static void add_slot(struct tf_run *t, int item, int *block)
{
    const struct batch_item *it = &t->b->item[item];
    const int32_t *id = it->in.p;
    int slot = t->n_slots++;
    struct tf_slot *s = &t->slot[slot];

    *s = (struct tf_slot){.item = item,
                          .row0 = t->n_rows,
                          .n = it->in.n,
                          .pos0 = it->seq->len[0],
                          .block0 = *block};
    for (int i = 0; i < s->n; i++) {
        int r = t->n_rows++;

        t->token[r] = id[i];
        t->slot_of[r] = slot;
        t->pos[r] = (int32_t)(s->pos0 + i);
        t->type[r] = it->in.type ? it->in.type[i] : 0;
    }
    *block += (s->n + ATTN_KEYS - 1) / ATTN_KEYS;
    atomic_init(&t->bad[slot], 0);
    list_wants(t, s, slot, it);
}

static void choose_threads(struct tf_run *t)
{
    const struct tf_spec *s = t->spec;
    double layer = 2.0 * s->n_layers * s->n_heads * s->d;
    double macs = t->n_rows * s->token_macs + t->n_logits * s->row_macs;

    for (int i = 0; i < t->n_slots; i++)
        macs += layer * t->slot[i].n * (double)(t->slot[i].pos0 + t->slot[i].n);
    if (macs < MIN_MACS + SYNC_MACS * s->n_phases)
        t->n = 1;
}

int tf_plan(struct tf_run *t, struct err *e)
{
    struct batch *b = t->b;
    int64_t tokens = 0, rows = 0;
    int block = 0;

    for (int i = 0; i < b->n_item; i++) {
        struct batch_item *it = &b->item[i];

        it->fail = check_item(t, it);
        it->status = it->fail == ERR_NONE ? 0 : -1;
        tokens += it->status ? 0 : it->in.n;
        rows += it->status ? 0 : wanted_rows(it);
    }
    if (tokens > b->n_tokens || rows > b->n_rows)
        return err_set(e, ERR_INTERNAL,
                       "the batch holds more than the %d tokens and %d rows "
                       "that it states",
                       b->n_tokens, b->n_rows);
    t->n_rows = t->n_slots = 0;
    t->n_logits = t->n_hidden = t->n_pooled = t->n_cls = 0;
    for (int i = 0; i < b->n_item; i++)
        if (!b->item[i].status)
            add_slot(t, i, &block);
    for (int i = 0; i < t->spec->n_layers; i++)
        atomic_init(&t->next[i], 0);
    choose_threads(t);
    tf_attn_plan(t);
    return 0;
}

/* --- threads --- */

void tf_go(struct tf_run *t, pool_fn *fn, void *arg)
{
    if (t->n_slots > 0 && t->n == 1)
        fn(arg, 0, 1);
    else if (t->n_slots > 0)
        pool_run(t->x->pool, t->n, fn, arg);
    for (int i = 0; i < t->n_slots; i++) {
        struct batch_item *it = &t->b->item[t->slot[i].item];

        if (!atomic_load_explicit(&t->bad[i], memory_order_relaxed))
            continue;
        it->status = -1;
        it->fail = ERR_INTERNAL;
    }
}

void tf_sync(struct tf_run *t)
{
    if (t->n > 1)
        pool_barrier(t->x->pool);
}

void tf_fail_slot(struct tf_run *t, int slot)
{
    atomic_store_explicit(&t->bad[slot], 1, memory_order_relaxed);
}

void tf_share(int total, int unit, int tid, int n, int *from, int *to)
{
    int64_t units = ((int64_t)total + unit - 1) / unit;
    int a = (int)(units * tid / n) * unit;
    int b = (int)(units * (tid + 1) / n) * unit;

    *from = a < total ? a : total;
    *to = b < total ? b : total;
}

void tf_own_rows(const struct tf_run *t, int tid, int *r0, int *r1)
{
    tf_share(t->n_rows, 1, tid, t->n, r0, r1);
}
