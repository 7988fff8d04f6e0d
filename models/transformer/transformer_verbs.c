/* transformer_verbs: what a block is written in. Each verb states which row
 * sets it touches and by whom (meet), works on what is its thread's, and adds
 * to the measure of a stack when there is no step. All threads run the same
 * verbs in the same order, so each knows alone when all must meet.
 *
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "models/transformer/sentence.h"
#include "models/transformer/transformer_impl.h"

/* --- who touches what --- */

struct access {
    int set, by, writes;
};

/* The same owner touches his own in order; all else is a matter of luck. */
static int clash(int before, int by)
{
    return before && (before != by || by == BY_ANY);
}

static void note(int *seen, int by)
{
    *seen = *seen && *seen != by ? BY_ANY : by;
}

/* Notes what a verb touches; before that, the threads meet when some of it is
 * not yet theirs. */
static void meet(struct tf *t, const struct access *a, int n)
{
    int wait = 0;

    for (int i = 0; i < n; i++) {
        const struct tf_touch *x = &t->touch[a[i].set];

        wait |= clash(x->wrote, a[i].by) ||
                (a[i].writes && clash(x->read, a[i].by));
    }
    if (wait) {
        t->syncs++;
        for (int i = 0; i < TF_SETS; i++)
            t->touch[i].read = t->touch[i].wrote = 0;
        if (t->n > 1)
            pool_barrier(t->r->x->pool);
    }
    for (int i = 0; i < n; i++) {
        struct tf_touch *x = &t->touch[a[i].set];

        note(a[i].writes ? &x->wrote : &x->read, a[i].by);
        x->stale |= a[i].writes;
    }
}

/* Noted while a stack is measured: its load fails. */
static void expect(const struct tf *t, int right, const char *wrong)
{
    if (t->measured && !right)
        t->measured->wrong = wrong;
}

/* `to` has so many columns, and a row for each row of `from` (-1: tokens);
 * TF_TMP serves both. */
static void widen(struct tf *t, int from, int to, int width)
{
    struct tf_set *s = &t->measured->set[to];

    if (s->width < width)
        s->width = width;
    s->wanted = from >= 0 && to != TF_TMP && t->s->set[from].wanted;
}

/* Whether this thread has anything to do with the rows of a set. */
static int any_rows(const struct tf *t, int set)
{
    return t->measured || t->r->rows[set].m > 0;
}

static float *row_at(const struct tf *t, int set, int r)
{
    return t->r->rows[set].x + (size_t)r * t->r->rows[set].ld;
}

/* A verb in which each row's owner makes a row of `to` [width] from one of
 * `from` (-1: from no set); `tmp`: through one of TF_TMP. 1: rows *r0 .. *r1-1
 * are this thread's. */
static int by_rows(struct tf *t, int from, int to, int tmp, int width,
                   int own[2])
{
    const struct access a[] = {{to, BY_ROWS, 1},
                               {from < 0 ? to : from, BY_ROWS, 0},
                               {TF_TMP, BY_ROWS, 1}};
    int space;

    if (!any_rows(t, from < 0 ? to : from))
        return 0;
    if (t->measured) {
        widen(t, from, to, width);
        if (tmp)
            widen(t, -1, TF_TMP, width);
    }
    meet(t, a, tmp ? 3 : 2);
    space = t->s->set[to].wanted;
    own[0] = t->r0[space];
    own[1] = t->r1[space];
    return !t->measured;
}

const struct stack *tf_stack(const struct tf *t)
{
    return t->s;
}

/* --- rows of tables --- */

/* `to` = rows of a table, or += through TF_TMP. */
static void take_rows(struct tf *t, int table, int to, int add)
{
    const struct tensor *x = t->s->top[table].table;
    size_t K = x ? (size_t)x->dim[1] : 0;
    int own[2];

    if (!x || !by_rows(t, -1, to, add, (int)K, own))
        return;
    for (int r = own[0]; r < own[1]; r++) {
        int64_t i = t->r->index[table][r];

        if (i >= x->dim[0] && !add) /* stack.blank */
            memset(row_at(t, to, r), 0, K * sizeof(float));
        if (i >= x->dim[0])
            continue;
        tensor_read(x, (size_t)i * K, K, row_at(t, add ? TF_TMP : to, r));
        if (add)
            t->r->k->add_to((int)K, row_at(t, TF_TMP, r), row_at(t, to, r));
    }
}

void lookup(struct tf *t, int table, int to)
{
    take_rows(t, table, to, 0);
}

void lookup_add(struct tf *t, int table, int to)
{
    take_rows(t, table, to, 1);
}

void scale(struct tf *t, float by, int rows)
{
    int own[2], n = t->s->set[rows].width;

    if (!by_rows(t, rows, rows, 0, n, own))
        return;
    for (int r = own[0]; r < own[1]; r++)
        t->r->k->scale(n, by, row_at(t, rows, r));
}

void wave_add(struct tf *t, int to)
{
    int own[2], n = t->s->dim[WIDTH];

    expect(t, t->s->wave != NULL, "waves that a stack does not have");
    if (!by_rows(t, -1, to, 1, n, own))
        return;
    for (int r = own[0]; r < own[1]; r++) {
        int pos = t->r->pos[r], kept = pos < t->s->n_waves;
        float *y =
            kept ? t->s->waves + (size_t)pos * (size_t)n : row_at(t, TF_TMP, r);

        if (!kept)
            tf_wave_row(t->s, pos, y);
        t->r->k->add_to(n, y, row_at(t, to, r));
    }
}

/* --- norms --- */

static void norm_row(const struct kernels *k, const struct tf_norm *n,
                     const float *x, float *y)
{
    if (n->rms)
        k->rms_norm(n->n, x, n->w, n->eps, y);
    else
        k->layer_norm(n->n, x, n->w, n->b, n->eps, y);
}

void norm(struct tf *t, const struct weight *w, int part, int from, int to)
{
    const struct tf_norm *n = &w[part].norm;
    int own[2];

    if (!by_rows(t, from, to, 0, n->n, own))
        return;
    for (int r = own[0]; r < own[1]; r++)
        norm_row(t->r->k, n, row_at(t, from, r), row_at(t, to, r));
}

void norm_add(struct tf *t, const struct weight *w, int part, int from, int to)
{
    const struct tf_norm *n = &w[part].norm;
    int own[2];

    norm(t, w, part, from, from);
    if (!by_rows(t, from, to, 0, n->n, own))
        return;
    for (int r = own[0]; r < own[1]; r++)
        t->r->k->add_to(n->n, row_at(t, from, r), row_at(t, to, r));
}

/* Heads of queries (0) or keys (1) of a row, and how many. */
static float *heads_at(const struct tf *t, int rows, int which, int r, int *n)
{
    *n = t->s->dim[which ? KV_HEADS : HEADS];
    return row_at(t, rows, r) + t->s->set[rows].at[which];
}

void norm_heads(struct tf *t, const struct weight *w, int part, int rows,
                int which)
{
    int own[2], n, d = t->s->dim[HEAD_DIM];

    if (!by_rows(t, rows, rows, 0, t->s->set[rows].width, own))
        return;
    for (int r = own[0]; r < own[1]; r++) {
        float *x = heads_at(t, rows, which, r, &n);

        for (int h = 0; h < n; h++, x += d)
            norm_row(t->r->k, &w[part].norm, x, x);
    }
}

/* --- products --- */

/* The 8-bit form of a set that a product reads so: each owner's rows. */
static void quantise(struct tf *t, int set)
{
    struct tf_rows *x;
    int own[2];

    if (!t->touch[set].stale || !any_rows(t, set))
        return;
    if (by_rows(t, set, set, 0, t->s->set[set].width, own)) {
        x = &t->r->rows[set];
        if (own[1] > own[0])
            matrix_quantise(t->r->k, x->x, x->ld, own[0], own[1], &x->q);
    }
    t->touch[set].stale = 0;
}

/* Columns c0 .. c1-1 (multiples of 16, c1 may be N) of rows r0 .. r0+m-1 of
 * `in`; y is row r0 of the outputs. */
static void columns(const struct tf *t, const struct tf_linear *l,
                    const struct tf_rows *in, const int range[4], float *y,
                    size_t ldy)
{
    const float **init = l->bias ? t->r->lane[t->tid].init : NULL;
    int r0 = range[0], m = range[1], c0 = range[2], c1 = range[3];
    const struct kernels *k = t->r->k;
    struct qrows q = {0};

    if (l->fast)
        q = qrows_from(&in->q, r0);
    for (int i = 0; i < l->n_w; i++) {
        const struct matrix *w = &l->w[i];
        const float *x = in->x + (size_t)r0 * in->ld;
        int n0 = c0 - l->first[i], n1 = c1 - l->first[i];

        n0 = n0 > 0 ? n0 : 0;
        n1 = n1 < w->N ? n1 : w->N;
        if (n0 >= n1 || m < 1)
            continue;
        for (int r = 0; r < m && init; r++)
            init[r] = l->bias + l->first[i];
        if (l->fast && matrix_quantised(w))
            matrix_rows_q(k, w, n0, n1, 0, m, &q, init, y + l->first[i], ldy);
        else if (l->bf16)
            matrix_rows_bf16(k, w, n0, n1, m, x, in->ld, init, y + l->first[i],
                             ldy);
        else
            matrix_rows(k, w, n0, n1, m, x, in->ld, init, y + l->first[i], ldy);
    }
}

static void own_columns(const struct tf *t, const struct tf_linear *l,
                        int own[2])
{
    tf_share(l->N, PACK_COLS, t->tid, t->n, &own[0], &own[1]);
}

/* What the measure of a stack says of a product. */
static void count(struct tf *t, const struct tf_linear *l, int from)
{
    struct stack *s = t->measured;
    double macs = (double)l->outputs * l->K;

    s->set[from].fast = tf_faster(s->set[from].fast, l->fast);
    if (s->set[from].wanted)
        s->row_macs += macs;
    else
        s->token_macs += macs;
}

/* Own columns of to = W from + b, or, through TF_TMP, of to +=. */
static void multiply(struct tf *t, const struct tf_linear *l, int from, int to,
                     int add)
{
    int out = add ? TF_TMP : to, range[4] = {0};
    const struct access a[] = {
        {from, BY_ANY, 0}, {out, l->N, 1}, {to, l->N, 1}};

    expect(t, from != out, "a product in place");
    if (!any_rows(t, from))
        return;
    if (l->fast)
        quantise(t, from);
    meet(t, a, 3);
    if (t->measured) {
        count(t, l, from);
        widen(t, from, out, l->N);
        memcpy(t->measured->set[out].at, l->at, sizeof l->at);
        return;
    }
    range[1] = t->r->rows[from].m;
    own_columns(t, l, range + 2);
    columns(t, l, &t->r->rows[from], range, row_at(t, out, 0),
            t->r->rows[out].ld);
    for (int r = 0; r < range[1] && add; r++)
        t->r->k->add_to(range[3] - range[2], row_at(t, out, r) + range[2],
                        row_at(t, to, r) + range[2]);
}

void linear(struct tf *t, const struct weight *w, int part, int from, int to)
{
    multiply(t, &w[part].linear, from, to, 0);
}

void linear_add(struct tf *t, const struct weight *w, int part, int from,
                int to)
{
    multiply(t, &w[part].linear, from, to, 1);
}

/* --- a recurrence --- */

/* Columns c0 .. c1-1 of an item; f is a row of scratch. */
static void run_cells(const struct tf *t, const struct tf_slot *slot, int layer,
                      int rows, int to, const int c[2])
{
    const struct batch_item *it = &t->r->b->item[slot->item];
    const int *at = t->s->set[rows].at, n = c[1] - c[0];
    size_t first = (size_t)layer * (size_t)t->s->cells + (size_t)c[0];
    const float *before = (const float *)it->fixed_in + first;
    float *cell = (float *)it->fixed_out + first;

    memcpy(cell, before, (size_t)n * sizeof *cell);
    for (int r = slot->row0; r < slot->row0 + slot->n; r++) {
        const float *a = row_at(t, rows, r) + at[0] + c[0];
        const float *b = row_at(t, rows, r) + at[1] + c[0];
        float *f = row_at(t, TF_TMP, r) + c[0], *y = row_at(t, to, r) + c[0];

        t->r->k->vsigmoid(n, a, f);
        for (int i = 0; i < n; i++) {
            cell[i] = f[i] * cell[i] + (1.0f - f[i]) * b[i];
            y[i] += cell[i] > 0.0f ? cell[i] : 0.0f;
        }
    }
}

void cells_add(struct tf *t, int layer, int rows, int to)
{
    const int n = t->s->cells;
    const struct access a[] = {{rows, BY_ANY, 0}, {to, n, 1}, {TF_TMP, n, 1}};
    int c[2];

    expect(t, n > 0, "cells that a stack does not have");
    meet(t, a, 3);
    if (t->measured) {
        widen(t, rows, to, n);
        widen(t, -1, TF_TMP, n);
        return;
    }
    tf_share(n, PACK_COLS, t->tid, t->n, &c[0], &c[1]);
    for (int i = 0; i < t->r->n_slots && c[0] < c[1]; i++)
        run_cells(t, &t->r->slot[i], layer, rows, to, c);
}

/* --- attention --- */

void rotate(struct tf *t, int rope, int rows)
{
    const struct tf_rope *p = &t->s->rope[rope];
    int own[2], n, d = t->s->dim[HEAD_DIM];

    if (!by_rows(t, rows, rows, 0, t->s->set[rows].width, own))
        return;
    for (int r = own[0]; r < own[1]; r++) {
        const float *cs = t->r->cs[rope] + (size_t)r * (size_t)p->n_rot;

        for (int which = 0; which < 2; which++) {
            float *x = heads_at(t, rows, which, r, &n);

            for (int h = 0; h < n; h++, x += d)
                t->r->k->rope(p->n_rot, p->adjacent, cs, x);
        }
    }
}

void attend(struct tf *t, const struct attend *a, int rows, int to)
{
    const struct access store[] = {{rows, BY_ROWS, 0}, {TF_PAGES, BY_ROWS, 1}};
    const struct access look[] = {
        {TF_PAGES, BY_ANY, 0}, {rows, BY_ANY, 0}, {to, BY_ANY, 1}};
    const struct stack *s = t->s;
    const int *at = s->set[rows].at;
    struct tf_attn x = {.of = s,
                        .port = a->source        ? PORT_SOURCE
                                : s->kind->whole ? -1
                                                 : PORT_TARGET,
                        .layer = a->layer,
                        .causal = a->causal,
                        .window = a->window,
                        .source = a->source,
                        .scale = (float)(a->scale != 0.0 ? a->scale : s->scale),
                        .cap = s->cap};

    expect(t, !a->source || s->source, "a source that a stack does not have");
    if (t->measured) {
        widen(t, rows, to, s->dim[HEADS_DIM]);
    } else {
        x.q = row_at(t, rows, 0) + at[0];
        x.k = row_at(t, rows, 0) + at[1];
        x.v = row_at(t, rows, 0) + at[2];
        x.ld = t->r->rows[rows].ld;
        x.y = row_at(t, to, 0);
        x.ldy = t->r->rows[to].ld;
    }
    if (!a->source) {
        meet(t, store, 2);
        if (!t->measured)
            tf_attn_store(t->r, &x, t->r0[0], t->r1[0]);
    }
    meet(t, look, 3);
    if (!t->measured)
        tf_attn_run(t->r, t->tid, &x);
}

const struct weight *tf_reader(const struct tf *t, int layer)
{
    return tf_weights(t->s->target, layer);
}

void keep(struct tf *t, int layer, int rows)
{
    const struct access store[] = {{rows, BY_ROWS, 0}, {TF_PAGES, BY_ROWS, 1}};
    const int *at = t->s->set[rows].at;
    struct tf_attn x = {
        .of = t->s->target, .port = PORT_SOURCE, .layer = layer};

    meet(t, store, 2);
    if (t->measured)
        return;
    x.k = row_at(t, rows, 0) + at[0];
    x.v = row_at(t, rows, 0) + at[1];
    x.ld = t->r->rows[rows].ld;
    tf_attn_store(t->r, &x, t->r0[0], t->r1[0]);
}

/* --- activations --- */

/* x = silu(x) by the kernel of gates. */
static void silu(const struct kernels *k, int n, float *x)
{
    float ones[128];

    for (int i = 0; i < 128; i++)
        ones[i] = 1.0f;
    for (int i = 0; i < n; i += 128)
        k->silu_mul(n - i < 128 ? n - i : 128, x + i, ones, x + i);
}

static void act_row(const struct kernels *k, enum tf_act act, int n, float *x)
{
    if (act == GELU)
        k->gelu_erf(n, x, x);
    else if (act == GELU_TANH)
        k->gelu_tanh(n, x, x);
    else if (act == RELU)
        k->act_relu(1, 0, n, x, (size_t)n, x, (size_t)n);
    else if (act == SILU)
        silu(k, n, x);
    else
        k->vtanh(n, x, x);
}

void activate(struct tf *t, enum tf_act act, int rows)
{
    int own[2], n = t->s->set[rows].width;

    if (!by_rows(t, rows, rows, 0, n, own))
        return;
    for (int r = own[0]; r < own[1]; r++)
        act_row(t->r->k, act, n, row_at(t, rows, r));
}

/* y = act(x) u; what few models have goes without a kernel of its own. */
static void gate_row(const struct kernels *k, enum tf_act act, int n,
                     const float *x, const float *u, float *y)
{
    if (act == SILU) {
        k->silu_mul(n, x, u, y);
        return;
    }
    if (act == GELU_TANH) {
        k->gelu_mul(n, x, u, y);
        return;
    }
    memcpy(y, x, (size_t)n * sizeof *y);
    act_row(k, act, n, y);
    for (int i = 0; i < n; i++)
        y[i] *= u[i];
}

void gate(struct tf *t, enum tf_act act, int from, int to)
{
    int own[2], at = t->s->set[from].at[1], n = t->s->set[from].width - at;

    if (!by_rows(t, from, to, 0, n, own))
        return;
    for (int r = own[0]; r < own[1]; r++) {
        const float *x = row_at(t, from, r);

        gate_row(t->r->k, act, n, x, x + at, row_at(t, to, r));
    }
}

/* --- wanted rows --- */

/* y [n] = x, normed by a part of the stack, or (-1) as it is. */
static void copy_row(const struct tf *t, int part, const float *x, float *y,
                     int n)
{
    if (part < 0)
        memcpy(y, x, (size_t)n * sizeof *y);
    else
        norm_row(t->r->k, &t->s->top[part].norm, x, y);
}

void gather(struct tf *t, enum tf_output out, int part, int from, int to)
{
    const struct access a[] = {{from, BY_ANY, 0}, {to, BY_ROWS, 1}};
    int width = t->s->set[from].width;

    if (t->measured) {
        widen(t, from, to, width);
        t->measured->set[to].wanted = 1;
    } else if (!t->r->n_out[out]) {
        return;
    }
    meet(t, a, 2);
    for (int r = t->r0[1]; r < t->r1[1]; r++)
        copy_row(t, part, row_at(t, from, t->r->out[out][r].row),
                 row_at(t, to, r), width);
}

/* An answer that is there: fails its item when it holds no number. */
static void check(const struct tf *t, const struct tf_out *o, const float *y,
                  int n)
{
    if (!t->r->k->all_finite(n, y))
        tf_fail_slot(t->r, o->slot);
}

/* This thread's share of the wanted rows of `out`; 0: there are none. */
static int share_wanted(struct tf *t, enum tf_output out, int from, int own[2])
{
    const struct access a = {from, BY_ANY, 0};

    if (t->measured || !t->r->n_out[out])
        return 0;
    meet(t, &a, 1);
    tf_share(t->r->n_out[out], 1, t->tid, t->n, &own[0], &own[1]);
    return 1;
}

void answer_hidden(struct tf *t, int part, int from)
{
    int own[2], n = t->s->set[from].width;

    if (!share_wanted(t, HIDDEN, from, own))
        return;
    for (int r = own[0]; r < own[1]; r++) {
        const struct tf_out *o = &t->r->out[HIDDEN][r];

        copy_row(t, part, row_at(t, from, o->row), o->dst, n);
        check(t, o, o->dst, n);
    }
}

void answer_pooled(struct tf *t, const struct sentence *p, int from)
{
    int own[2], n = t->s->set[from].width;

    if (!share_wanted(t, POOLED, from, own))
        return;
    for (int r = own[0]; r < own[1]; r++) {
        const struct tf_out *o = &t->r->out[POOLED][r];
        const struct tf_slot *slot = &t->r->slot[o->slot];

        sentence_pool(p, t->r->k, n, row_at(t, from, slot->row0),
                      t->r->rows[from].ld, slot->n, o->dst);
        check(t, o, o->dst, n);
    }
}

void answer_class(struct tf *t, int from)
{
    const struct access a = {from, BY_ROWS, 0};
    int n = t->s->set[from].width;

    if (!any_rows(t, from))
        return;
    meet(t, &a, 1);
    for (int r = t->r0[1]; r < t->r1[1]; r++) {
        const struct tf_out *o = &t->r->out[CLASS][r];

        memcpy(o->dst, row_at(t, from, r), (size_t)n * sizeof(float));
        check(t, o, o->dst, n);
    }
}

/* Wanted rows from i on that lie `ld` apart in the caller's memory, with room
 * for whole panels. 0: not even one. */
static int run_in_place(const struct tf_run *t, int i, size_t cols)
{
    const struct tf_out *o = t->out[LOGITS];
    int n = 1;

    if (o[i].ld < cols)
        return 0;
    while (i + n < t->n_out[LOGITS] && o[i + n].ld == o[i].ld &&
           (uintptr_t)o[i + n].dst - (uintptr_t)o[i + n - 1].dst ==
               o[i].ld * sizeof(float))
        n++;
    return n;
}

/* Columns of a piece of n answers: what was made of it is looked at while it
 * is in the second cache. */
#define PIECE 65536 /* numbers */
static int piece_of(int n)
{
    int cols = PIECE / n / PACK_COLS * PACK_COLS;

    return cols > 4 * PACK_COLS ? cols : 4 * PACK_COLS;
}

/* Columns c0 .. c1-1 of an answer: out of spare memory where it was not made
 * in place, capped, checked. */
static void finish(const struct tf *t, const struct tf_out *o,
                   const float *spare, const int range[4], float cap)
{
    const struct kernels *k = t->r->k;
    float *y = o->dst + range[2];
    int n = range[3] - range[2];

    if (spare && n > 0)
        memcpy(y, spare + range[2], (size_t)n * sizeof *y);
    if (cap > 0.0f) {
        k->divide(n, cap, y);
        k->vtanh(n, y, y);
        k->scale(n, cap, y);
    }
    check(t, o, y, n);
}

void answer_logits(struct tf *t, int part, int from, float cap)
{
    const struct tf_linear *l = &t->s->top[part].linear;
    const struct access a = {from, BY_ANY, 0};
    size_t cols = tf_pad(l->N);
    int own[2], n;

    if (!any_rows(t, from))
        return;
    if (l->fast)
        quantise(t, from);
    meet(t, &a, 1);
    if (t->measured) {
        count(t, l, from);
        return;
    }
    own_columns(t, l, own);
    for (int i = 0; i < t->r->n_out[LOGITS]; i += n) {
        const struct tf_out *o = &t->r->out[LOGITS][i];
        int left = t->r->n_out[LOGITS] - i, spare;

        n = run_in_place(t->r, i, cols);
        spare = n == 0;
        if (spare)
            n = left < SPARE_ROWS ? left : SPARE_ROWS;
        for (int c = own[0]; c < own[1]; c += piece_of(n)) {
            int end = own[1] - c < piece_of(n) ? own[1] : c + piece_of(n);
            const int range[4] = {i, n, c, end};

            columns(t, l, &t->r->rows[from], range,
                    spare ? t->r->spare : o->dst, spare ? cols : o->ld);
            for (int r = 0; r < n; r++)
                finish(t, &o[r], spare ? t->r->spare + (size_t)r * cols : NULL,
                       range, cap);
        }
    }
}
