/* transformer_verbs: what a block is written in. Each verb states which row
 * sets it touches and by whom (tf_meet), works on what is its thread's, and
 * adds to the measure of a stack when there is no step. All threads run the
 * same verbs in the same order, so each knows alone when all must meet.
 *
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "models/transformer/sentence.h"
#include "models/transformer/transformer_touch.h"

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

    if (!x || !tf_by_rows(t, -1, to, add, (int)K, own))
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

    if (!tf_by_rows(t, rows, rows, 0, n, own))
        return;
    for (int r = own[0]; r < own[1]; r++)
        t->r->k->scale(n, by, row_at(t, rows, r));
}

void wave_add(struct tf *t, int to)
{
    int own[2], n = t->s->dim[WIDTH];

    tf_expect(t, t->s->wave != NULL, "waves that a stack does not have");
    if (!tf_by_rows(t, -1, to, 1, n, own))
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

    if (!tf_by_rows(t, from, to, 0, n->n, own))
        return;
    for (int r = own[0]; r < own[1]; r++)
        norm_row(t->r->k, n, row_at(t, from, r), row_at(t, to, r));
}

void norm_add(struct tf *t, const struct weight *w, int part, int from, int to)
{
    const struct tf_norm *n = &w[part].norm;
    int own[2];

    norm(t, w, part, from, from);
    if (!tf_by_rows(t, from, to, 0, n->n, own))
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

    if (!tf_by_rows(t, rows, rows, 0, t->s->set[rows].width, own))
        return;
    for (int r = own[0]; r < own[1]; r++) {
        float *x = heads_at(t, rows, which, r, &n);

        for (int h = 0; h < n; h++, x += d)
            norm_row(t->r->k, &w[part].norm, x, x);
    }
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

    tf_expect(t, n > 0, "cells that a stack does not have");
    tf_meet(t, a, 3);
    if (t->measured) {
        tf_widen(t, rows, to, n);
        tf_widen(t, -1, TF_TMP, n);
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

    if (!tf_by_rows(t, rows, rows, 0, t->s->set[rows].width, own))
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

    tf_expect(t, !a->source || s->source,
              "a source that a stack does not have");
    if (t->measured) {
        tf_widen(t, rows, to, s->dim[HEADS_DIM]);
    } else {
        x.q = row_at(t, rows, 0) + at[0];
        x.k = row_at(t, rows, 0) + at[1];
        x.v = row_at(t, rows, 0) + at[2];
        x.ld = t->r->rows[rows].ld;
        x.y = row_at(t, to, 0);
        x.ldy = t->r->rows[to].ld;
    }
    if (!a->source) {
        tf_meet(t, store, 2);
        if (!t->measured)
            tf_attn_store(t->r, &x, t->r0[0], t->r1[0]);
    }
    tf_meet(t, look, 3);
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

    tf_meet(t, store, 2);
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

    if (!tf_by_rows(t, rows, rows, 0, n, own))
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

    if (!tf_by_rows(t, from, to, 0, n, own))
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
        tf_widen(t, from, to, width);
        t->measured->set[to].wanted = 1;
    } else if (!t->r->n_out[out]) {
        return;
    }
    tf_meet(t, a, 2);
    for (int r = t->r0[1]; r < t->r1[1]; r++)
        copy_row(t, part, row_at(t, from, t->r->out[out][r].row),
                 row_at(t, to, r), width);
}

/* This thread's share of the wanted rows of `out`; 0: there are none. */
static int share_wanted(struct tf *t, enum tf_output out, int from, int own[2])
{
    const struct access a = {from, BY_ANY, 0};

    if (t->measured || !t->r->n_out[out])
        return 0;
    tf_meet(t, &a, 1);
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
        tf_check(t, o, o->dst, n);
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
        tf_check(t, o, o->dst, n);
    }
}

void answer_class(struct tf *t, int from)
{
    const struct access a = {from, BY_ROWS, 0};
    int n = t->s->set[from].width;

    if (!any_rows(t, from))
        return;
    tf_meet(t, &a, 1);
    for (int r = t->r0[1]; r < t->r1[1]; r++) {
        const struct tf_out *o = &t->r->out[CLASS][r];

        memcpy(o->dst, row_at(t, from, r), (size_t)n * sizeof(float));
        tf_check(t, o, o->dst, n);
    }
}
