/* rnn_fold: see rnn_fold.h.
 *
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "models/rnn/rnn_step.h"

/* What is taken of the budget at a time: a huge page, as mem_room's blocks are
 * made of where the system has them. */
#define PIECE_BYTES ((size_t)2 << 20)

int rnn_fold_open(struct rnn_fold *f, const struct rnn *m,
                  struct mem_budget *budget, struct err *e)
{
    size_t fit;

    memset(f, 0, sizeof *f);
    f->width = (size_t)m->kind->G * (size_t)m->Hp;
    f->row_bytes = f->width * (size_t)m->D * sizeof(float);
    fit = budget ? budget->limit / f->row_bytes : 0;
    f->max = fit < (size_t)m->V ? (int)fit : m->V;
    if (!f->max)
        return 0;
    f->budget = budget;
    f->at = mem_zarray((size_t)m->V, sizeof *f->at);
    if (!f->at)
        return err_nomem(e);
    for (int d = 0; d < m->D; d++) {
        f->row[d] = mem_room((size_t)f->max * f->width);
        if (!f->row[d])
            return err_nomem(e);
    }
    return 0;
}

void rnn_fold_close(struct rnn_fold *f)
{
    if (f->budget)
        mem_budget_give(f->budget, atomic_load(&f->taken));
    mem_free(f->at);
    mem_aligned_free(f->row[0]);
    mem_aligned_free(f->row[1]);
    memset(f, 0, sizeof *f);
}

/* The i-th token of an item. */
static int32_t id_at(const struct batch_item *it, int i)
{
    return ((const int32_t *)it->in.p)[i];
}

int rnn_fold_missing(const struct rnn_run *s)
{
    const struct rnn_fold *f = s->m->fold;
    int n = 0;

    if (!f->at)
        return s->n_tokens;
    for (int i = 0; i < s->b->n_item; i++) {
        const struct batch_item *it = &s->b->item[i];

        for (int t = 0; t < it->in.n && !it->status; t++)
            n += !rnn_fold_row(f, 0, id_at(it, t), 0);
    }
    return n;
}

/* Room for one more row. */
static int has_place(struct rnn_fold *f)
{
    size_t taken = atomic_load(&f->taken), all = (size_t)f->max * f->row_bytes;
    size_t need = ((size_t)f->used + 1) * f->row_bytes, more;

    if (f->used == f->max)
        return 0;
    if (need <= taken)
        return 1;
    more = need - taken > PIECE_BYTES ? need - taken : PIECE_BYTES;
    more = more < all - taken ? more : all - taken;
    if (mem_budget_take(f->budget, more)) {
        more = need - taken; /* the rest of the budget, row by row */
        if (mem_budget_take(f->budget, more))
            return 0;
    }
    atomic_store(&f->taken, taken + more);
    return 1;
}

void rnn_fold_claim(struct rnn_run *s)
{
    struct rnn_fold *f = s->m->fold;
    int more = 1;

    s->n_fresh = 0;
    if (!f->at || !s->n_missing || atomic_exchange(&f->busy, 1))
        return;
    s->first_fresh = f->used;
    for (int i = 0; i < s->b->n_item && more; i++) {
        const struct batch_item *it = &s->b->item[i];

        for (int t = 0; t < it->in.n && !it->status; t++) {
            int32_t id = id_at(it, t);

            if (atomic_load_explicit(&f->at[id], memory_order_relaxed))
                continue;
            more = has_place(f);
            if (!more)
                break;
            s->fresh[s->n_fresh++] = id;
            atomic_store_explicit(&f->at[id], -++f->used, memory_order_relaxed);
        }
    }
    if (!s->n_fresh)
        atomic_store(&f->busy, 0);
}

void rnn_fold_fill(const struct rnn_run *s, int tid, int n)
{
    const struct rnn *m = s->m;
    const struct lane_mem *l = &s->lane[tid];
    size_t E = (size_t)m->E, ld = (size_t)s->x_cols;
    int j0, j1;

    rnn_share(m->Hp, UNIT_BLOCK, n, tid, &j0, &j1);
    for (int i = 0; i < s->n_fresh && j1 > j0; i += RNN_BLOCK_ROWS) {
        int rows =
            s->n_fresh - i < RNN_BLOCK_ROWS ? s->n_fresh - i : RNN_BLOCK_ROWS;
        size_t at = (size_t)(s->first_fresh + i) * m->fold->width;

        for (int r = 0; r < rows; r++)
            tensor_read(m->embedding, (size_t)s->fresh[i + r] * E, E,
                        l->x + (size_t)r * ld);
        for (int d = 0; d < m->D; d++)
            cell_project(s->x->k, &m->cell[0][d], rows, j0, j1, l->x, ld,
                         m->fold->row[d] + at, l->rows);
    }
}

void rnn_fold_publish(const struct rnn_run *s)
{
    struct rnn_fold *f = s->m->fold;

    if (!s->n_fresh)
        return;
    for (int i = 0; i < s->n_fresh; i++)
        atomic_store_explicit(&f->at[s->fresh[i]], s->first_fresh + i + 1,
                              memory_order_release);
    atomic_store(&f->busy, 0);
}
