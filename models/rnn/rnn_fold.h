/* rnn_fold: the folded input of layer 0, bias_x + W_ih e(token), of the tokens
 * that have come so far. A row is made by the step that first meets its token
 * and kept, as long as the budget of the process has room; other tokens are
 * multiplied again in each step. So a start makes nothing, memory follows the
 * words that are in use (a word model meets a small part of its vocabulary in
 * most of its text), and a row costs no more than one step without a table.
 *
 * Bits: a row is made by cell_project, as a step without a table makes it, and
 * the bits of that depend neither on its neighbours nor on the threads that
 * share its columns (kernels.h). So answers do not depend on what was there.
 *
 * Threads: a step that wants to add rows takes `busy`; another one at the same
 * time, of the same model, multiplies instead of waiting. A place in `at` is
 * written before (negative: only the step that makes the row may use it) and
 * after the row is whole (released). Rows never move and never change.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_RNN_FOLD_H
#define SEQD_RNN_FOLD_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "engine/base/mem.h"

struct rnn;
struct rnn_run;

struct rnn_fold {
    struct mem_budget *budget; /* NULL: no table */
    size_t width;              /* floats of a row in a direction, G*Hp */
    size_t row_bytes;          /* of all directions */
    int max;                   /* rows that there is room for */
    float *row[2];             /* [max][width] a direction, block order */
    _Atomic int32_t *at;       /* [V] 1 + place of a token's row; 0: none */
    int used;                  /* places given out; by who has `busy` */
    _Atomic size_t taken;      /* bytes of the budget */
    atomic_int busy;
};

/* rnn_fold_open: room for as many rows as the whole budget would hold; nothing
 * is touched. ERR_NOMEM. rnn_fold_close also after a failure. */
int rnn_fold_open(struct rnn_fold *f, const struct rnn *m,
                  struct mem_budget *budget, struct err *e);
void rnn_fold_close(struct rnn_fold *f);

/* rnn_fold_row: a token's row [width], or NULL. own: this step adds rows and
 * its rnn_fold_fill has run on all threads. */
static inline const float *rnn_fold_row(const struct rnn_fold *f, int d,
                                        int32_t token, int own)
{
    int32_t at =
        f->at ? atomic_load_explicit(&f->at[token], memory_order_acquire) : 0;

    if (own && at < 0)
        at = -at;
    return at > 0 ? f->row[d] + (size_t)(at - 1) * f->width : NULL;
}

/* The parts of a step (rnn_step.h). missing: tokens of the batch without a
 * row. claim: places for rows of them, as many as there is room for; s->fresh
 * lists them. fill: this thread's columns of those rows; all threads meet
 * afterwards. publish: the rows are whole. */
int rnn_fold_missing(const struct rnn_run *s);
void rnn_fold_claim(struct rnn_run *s);
void rnn_fold_fill(const struct rnn_run *s, int tid, int n);
void rnn_fold_publish(const struct rnn_run *s);

#endif
