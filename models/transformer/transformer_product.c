/* transformer_product: the verbs that multiply: rows by a matrix of a layer,
 * and the wanted rows by that of the logits.
 *
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "models/transformer/transformer_touch.h"

/* The 8-bit form of a set that a product reads so: each owner's rows. */
static void quantise(struct tf *t, int set)
{
    struct tf_rows *x;
    int own[2];

    if (!t->touch[set].stale || !any_rows(t, set))
        return;
    if (tf_by_rows(t, set, set, 0, t->s->set[set].width, own)) {
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

    tf_expect(t, from != out, "a product in place");
    if (!any_rows(t, from))
        return;
    if (l->fast)
        quantise(t, from);
    tf_meet(t, a, 3);
    if (t->measured) {
        count(t, l, from);
        tf_widen(t, from, out, l->N);
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

/* --- logits --- */

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
    tf_check(t, o, y, n);
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
    tf_meet(t, &a, 1);
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
