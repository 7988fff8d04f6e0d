/* rnn_plan: from a batch to sorted groups, wanted rows and a map of the
 * scratch. Runs on the runner's thread before the pool does; no allocation.
 *
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "models/rnn/rnn_step.h"

/* Below this many multiply-adds a second thread costs more than it brings:
 * waking a parked one takes some 22 us. */
#define MIN_WORK 1.0e6
/* Fewer rows a thread than this: split units, so that each thread reads only
 * its share of the weights. */
#define MIN_ROWS 4

/* --- scratch --- */

static size_t claim(size_t *at, size_t n, size_t bytes)
{
    size_t here = *at;

    *at = (here + n * bytes + 63) / 64 * 64;
    return here;
}

static int block_rows(int n_items)
{
    return n_items > RNN_BLOCK_ROWS ? n_items : RNN_BLOCK_ROWS;
}

static int x_cols(const struct rnn *m)
{
    int W = m->D == 2 && m->L > 1 ? m->D * m->Rp : 0;

    return cell_pad(m->I > W ? m->I : W);
}

static void *place(char *base, size_t *at, size_t n, size_t bytes)
{
    size_t here = claim(at, n, bytes);

    return base ? base + here : NULL;
}

static void map_lane(struct rnn_run *s, struct lane_mem *l, char *base,
                     size_t *at, size_t n_rows)
{
    const struct rnn *m = s->m;
    size_t B = (size_t)s->block_rows;
    size_t ptrs = B > n_rows ? B : n_rows;

    l->x = place(base, at, B * (size_t)s->x_cols, sizeof(float));
    l->a =
        place(base, at, B * (size_t)m->kind->G * (size_t)m->Hp, sizeof(float));
    l->gates = place(base, at, cell_gate_floats((int)B), sizeof(float));
    l->inputs = place(base, at, B, sizeof(float *));
    l->rows = place(base, at, ptrs, sizeof(float *));
    l->tile =
        place(base, at, (size_t)RNN_TILE_ROWS * RNN_TILE_COLS, sizeof(float));
    l->bad = place(base, at, n_rows, 1);
}

/* map_scratch: places of all arrays of s from base (NULL: none) for so many
 * items, tokens and wanted rows; returns the bytes. Grows with each number. */
static size_t map_scratch(struct rnn_run *s, void *scratch, size_t items,
                          size_t tokens, size_t rows)
{
    const struct rnn *m = s->m;
    size_t Hp = (size_t)m->Hp, Rp = (size_t)m->Rp, D = (size_t)m->D;
    size_t L = (size_t)m->L, at = 0;
    char *base = scratch;

    s->block_rows = block_rows((int)items);
    s->x_cols = x_cols(m);
    s->order = place(base, &at, items, sizeof(int));
    s->len = place(base, &at, items, sizeof(int));
    s->row_of = place(base, &at, 2 * items, sizeof(int));
    s->off = place(base, &at, tokens + RNN_MAX_THREADS, sizeof(int));
    s->fresh = place(base, &at, tokens, sizeof *s->fresh);
    s->h0 = place(base, &at, L * items * D * Rp, sizeof(float));
    s->c = place(base, &at, m->kind->has_c ? L * items * D * Hp : 0,
                 sizeof(float));
    s->y = place(base, &at, 2 * D * tokens * Rp, sizeof(float));
    s->u = place(base, &at, rnn_shrinks(m) ? D * items * Hp : 0, sizeof(float));
    s->product = place(base, &at, rows, sizeof *s->product);
    s->copy = place(base, &at, rows, sizeof *s->copy);
    s->ox = place(base, &at, rows * (size_t)rnn_top_width(m), sizeof(float));
    s->op = place(base, &at, rows * (size_t)m->P, sizeof(float));
    if (m->fast) {
        qrows_bind(&s->q,
                   place(base, &at, qrows_bytes((int)rows, m->output.K), 1),
                   (int)rows, m->output.K);
    }
    for (int i = 0; i < s->n; i++)
        map_lane(s, &s->lane[i], base, &at, rows);
    return at;
}

size_t rnn_scratch_bytes(const void *self, const struct step_size *most)
{
    struct rnn_run s = {.m = self};

    s.n = most->threads < RNN_MAX_THREADS ? most->threads : RNN_MAX_THREADS;
    return map_scratch(&s, NULL, (size_t)most->items, (size_t)most->tokens[0],
                       (size_t)most->rows);
}

/* --- checks --- */

static int want_is_valid(const struct rnn *m, const struct batch_item *it,
                         const struct want *w)
{
    switch (w->kind) {
    case OUT_LOGITS:
        if (m->classifier)
            return 0;
        break;
    case OUT_HIDDEN:
        break;
    case OUT_CLASS:
    case OUT_POOLED:
        return m->classifier && it->seq->len[0] + it->in.n > 0;
    default:
        return 0;
    }
    return w->from >= 0 && w->n >= 0 && w->from <= it->in.n &&
           w->n <= it->in.n - w->from;
}

static int item_is_valid(const struct rnn *m, const struct batch_item *it)
{
    const int32_t *id = it->in.p;
    int vectors = rnn_takes_vectors(m);

    if (it->in.unit != (vectors ? UNIT_VECTORS : UNIT_TOKENS) || it->in.n < 0)
        return 0;
    for (int i = 0; i < it->in.n && !vectors; i++)
        if (id[i] < 0 || id[i] >= m->V)
            return 0;
    for (int i = 0; i < it->n_w; i++)
        if (!want_is_valid(m, it, &it->w[i]))
            return 0;
    return 1;
}

/* --- threads --- */

static double work(const struct rnn_run *s)
{
    const struct rnn *m = s->m;
    double G = m->kind->G, Hp = m->Hp, Rp = m->Rp, D = m->D;
    double token = G * Hp * D * Rp, inputs = G * Hp * D * m->I * s->n_missing;

    token += (m->L - 1) * G * Hp * D * (Rp + D * Rp);
    if (rnn_shrinks(m))
        token += m->L * Hp * D * Rp;
    return token * s->n_tokens + inputs +
           (double)m->n_out * m->output.K * s->n_product;
}

void rnn_share(int total, int unit, int n, int i, int *from, int *to)
{
    int64_t units = (total + unit - 1) / unit;
    int a = (int)(units * i / n) * unit, b = (int)(units * (i + 1) / n) * unit;

    *from = a < total ? a : total;
    *to = b < total ? b : total;
}

static void choose_threads(struct rnn_run *s, int n_threads)
{
    const struct rnn *m = s->m;
    int most = m->D * (m->Hp / UNIT_BLOCK);

    s->n = work(s) < MIN_WORK ? 1 : n_threads;
    s->by_units = s->n > 1 && s->n_slots < MIN_ROWS * s->n;
    if (!s->by_units)
        return;
    s->n = s->n < most ? s->n : most;
    if (m->D == 2 && s->n > 1) /* an equal team for each direction */
        s->n -= s->n % 2;
    s->by_units = s->n > 1;
}

/* --- groups --- */

/* Slots by length, longest first; equal lengths stay in order (decoding: all
 * equal, linear time). */
static void sort_slots(struct rnn_run *s)
{
    for (int i = 1; i < s->n_slots; i++) {
        int item = s->order[i], len = s->len[i], k = i;

        for (; k > 0 && s->len[k - 1] < len; k--) {
            s->order[k] = s->order[k - 1];
            s->len[k] = s->len[k - 1];
        }
        s->order[k] = item;
        s->len[k] = len;
    }
}

/* Deal the sorted slots to n groups, each to the one with the fewest tokens so
 * far, and put the groups one after the other, sorted inside. scratch [2 *
 * n_slots]: order and len once more. */
static void deal_slots(struct rnn_run *s, int *scratch)
{
    int tokens[RNN_MAX_THREADS] = {0}, next[RNN_MAX_THREADS];
    int *order = scratch, *target = scratch + s->n_slots, first = 0;

    for (int i = 0; i < s->n_slots; i++) {
        int g = 0;

        for (int k = 1; k < s->n_groups; k++)
            g = tokens[k] < tokens[g] ? k : g;
        tokens[g] += s->len[i] ? s->len[i] : 1;
        s->group[g].m++;
        target[i] = g;
        order[i] = s->order[i];
    }
    for (int g = 0; g < s->n_groups; g++) {
        s->group[g].first = next[g] = first;
        first += s->group[g].m;
    }
    for (int i = 0; i < s->n_slots; i++)
        s->order[next[target[i]]++] = order[i];
    for (int i = 0; i < s->n_slots; i++)
        s->len[i] = s->b->item[s->order[i]].in.n;
}

static void fill_groups(struct rnn_run *s)
{
    int *off = s->off, base = 0;

    for (int g = 0; g < s->n_groups; g++) {
        struct group *p = &s->group[g];
        const int *len = s->len + p->first;
        int m = p->m;

        p->T = m ? len[0] : 0;
        p->base = base;
        p->off = off;
        off += p->T + 1;
        p->off[0] = 0;
        for (int t = 0; t < p->T; t++) {
            while (m > 0 && len[m - 1] <= t)
                m--;
            p->off[t + 1] = p->off[t] + m;
        }
        base += p->off[p->T];
    }
}

/* --- wanted rows --- */

static void add_row(struct rnn_run *s, const struct out_row *r, int product)
{
    if (product)
        s->product[s->n_product++] = *r;
    else
        s->copy[s->n_copy++] = *r;
}

static int rows_of(const struct want *w)
{
    return w->kind == OUT_CLASS || w->kind == OUT_POOLED ? 1 : w->n;
}

/* Rows that the valid items want; -1 when more than the batch says. */
static int count_rows(const struct rnn_run *s, int *products)
{
    int64_t n = 0;

    *products = 0;
    for (int i = 0; i < s->b->n_item; i++) {
        const struct batch_item *it = &s->b->item[i];

        for (int k = 0; k < it->n_w && !it->status; k++) {
            int rows = rows_of(&it->w[k]);

            n += rows;
            if (it->w[k].kind == OUT_LOGITS || it->w[k].kind == OUT_CLASS)
                *products += rows;
            if (n > s->b->n_rows)
                return -1;
        }
    }
    return 0;
}

/* The rows of one slot. g: its group, r: its row there. */
static void list_slot(struct rnn_run *s, const struct group *g, int r)
{
    int slot = g->first + r, item = s->order[slot], len = s->len[slot];
    const struct batch_item *it = &s->b->item[item];

    for (int k = 0; k < it->n_w; k++) {
        const struct want *w = &it->w[k];
        int product = w->kind == OUT_LOGITS || w->kind == OUT_CLASS;
        int pooled = w->kind == OUT_CLASS || w->kind == OUT_POOLED;

        for (int i = 0; i < rows_of(w); i++) {
            int t = w->from + i;
            struct out_row row = {
                .slot = slot, .item = item, .row = pooled ? -1 : t};

            row.dst = w->dst + (size_t)i * w->ld;
            row.pos[0] = pooled ? -1 : g->base + g->off[t] + r;
            row.pos[1] = pooled ? -1 : g->base + g->off[len - 1 - t] + r;
            add_row(s, &row, product);
        }
    }
}

/* Wanted rows in the order of the items, so that a caller who lays its rows
 * out in that order gets the product written in place. */
static void list_rows(struct rnn_run *s)
{
    int *row_of = s->row_of, *group_of = s->row_of + s->b->n_item;

    for (int g = 0; g < s->n_groups; g++) {
        for (int r = 0; r < s->group[g].m; r++) {
            int item = s->order[s->group[g].first + r];

            row_of[item] = r;
            group_of[item] = g;
        }
    }
    s->n_product = s->n_copy = 0;
    for (int i = 0; i < s->b->n_item; i++)
        if (!s->b->item[i].status)
            list_slot(s, &s->group[group_of[i]], row_of[i]);
    s->uniform = 1;
    s->uniform_ld = (size_t)s->m->n_out;
    for (int i = 1; i < s->n_product && s->uniform; i++) {
        ptrdiff_t ld = s->product[i].dst - s->product[i - 1].dst;

        if (i == 1 && ld >= s->m->n_out)
            s->uniform_ld = (size_t)ld;
        s->uniform = ld >= 0 && (size_t)ld == s->uniform_ld;
    }
}

int rnn_plan(struct rnn_run *s, struct err *e)
{
    struct batch *b = s->b;
    int64_t tokens = 0;

    for (int i = 0; i < b->n_item; i++) {
        struct batch_item *it = &b->item[i];
        int ok = item_is_valid(s->m, it);

        it->status = ok ? 0 : -1;
        it->fail = ok ? ERR_NONE : ERR_INVALID;
        tokens += ok ? it->in.n : 0;
        s->n_slots += ok;
    }
    s->n_tokens = (int)tokens;
    if (tokens > b->n_tokens || count_rows(s, &s->n_product))
        return err_set(e, ERR_INTERNAL,
                       "the batch holds more than the %d tokens and %d rows "
                       "that it states",
                       b->n_tokens, b->n_rows);
    s->n_missing = rnn_fold_missing(s);
    choose_threads(s, s->x->n_threads < RNN_MAX_THREADS ? s->x->n_threads
                                                        : RNN_MAX_THREADS);
    map_scratch(s, s->x->scratch, (size_t)b->n_item, (size_t)b->n_tokens,
                (size_t)b->n_rows);
    for (int i = 0, n = 0; i < b->n_item; i++) {
        if (b->item[i].status)
            continue;
        s->order[n] = i;
        s->len[n++] = b->item[i].in.n;
    }
    sort_slots(s);
    s->n_groups = s->by_units ? 1 : s->n;
    deal_slots(s, s->row_of);
    fill_groups(s);
    list_rows(s);
    rnn_fold_claim(s);
    return 0;
}
