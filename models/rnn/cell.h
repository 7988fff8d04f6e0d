/* cell: one recurrent layer in one direction, the unit that elman.c, lstm.c
 * and gru.c implement and rnn.c stacks.
 *
 * The one decision to know: units are handled in blocks of 16, and the rows
 * of the packed weights are ordered [unit block][gate][unit], so that all
 * gates of a block are neighbours. A thread that owns units j0..j1 multiplies
 * one contiguous stretch of weights and applies the gates while the
 * pre-activations are still in its first-level cache. H is padded to a
 * multiple of 16 with zero weights and biases: padded units stay exactly 0 in
 * every cell.
 *
 * The order of additions (architecture.md, decision 7): the input part of a
 * row starts from its bias and adds W_ih x with x ascending, rounded to fp32
 * (this is also a row of the folded table); the recurrent sum goes on from
 * there with h ascending. b_hh is added to b_ih beforehand, but for the GRU,
 * whose recurrent part has its own start.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_CELL_H
#define SEQD_CELL_H

#include <stddef.h>

#include "engine/base/err.h"
#include "engine/compute/kernels.h"

#define UNIT_BLOCK PACK_COLS /* units of a block */

/* Weights of one layer and direction. I inputs, H units, Hp = H rounded up to
 * whole blocks, G gates; R numbers of the state h, Rp of whole blocks: H and Hp
 * but for an LSTM with proj_size. Columns of ih may have gaps (see cell_pack).
 */
struct cell {
    int I, H, Hp, G, R, Rp;
    struct packed ih; /* [G*Hp, I], block order */
    struct packed hh; /* [G*Hp, R], block order */
    struct packed hr; /* [Rp, H], zero rows behind R; no data: h is as made */
    float *bias_x;    /* [G*Hp]: b_ih, and b_hh but for the GRU */
    float *bias_h;    /* [G*Hp]: b_hh for the GRU, else NULL */
};

/* One time step of m rows, units j0 <= j < j1 (multiples of UNIT_BLOCK; j1 may
 * be Hp). h_out and h_in never overlap. */
struct cell_step {
    int m, j0, j1;
    const float *const *a; /* m rows: input part [G*Hp], block order */
    const float *h_in;     /* [m][>= R] */
    size_t ld_in;
    float *h_out; /* [m][Hp], before cell_shrink */
    size_t ld_out;
    float *c; /* [m][Hp], updated in place; LSTM only */
    size_t ldc;
    float *gates;       /* cell_gate_floats(m) floats of scratch */
    const float **rows; /* m pointers of scratch */
};

struct cell_kind {
    const char *name; /* "lstm" */
    int G;
    int has_c;      /* the state has a second part, c */
    int own_bias_h; /* b_hh starts the recurrent part */
    void (*forward)(const struct kernels *k, const struct cell *w,
                    const struct cell_step *s);
};

extern const struct cell_kind cell_elman_tanh, cell_elman_relu;
extern const struct cell_kind cell_lstm, cell_gru;

/* Raw parameters in PyTorch's shapes and gate order. */
struct cell_params {
    const struct tensor *W_ih; /* [G*H, I] */
    const struct tensor *W_hh; /* [G*H, R] */
    const struct tensor *W_hr; /* [R, H], or NULL: R is H */
    const float *b_ih, *b_hh;  /* [G*H], or NULL both */
    int I, H, R;               /* R 0: H */
    /* The input is laid out in n_parts pieces of part floats (I = n_parts *
     * part), each followed by padding up to part_stride: the columns of ih
     * get zero weights there. part == part_stride: no gaps. */
    int n_parts, part, part_stride;
};

/* cell_pack: block order, padding, bias. ERR_NOMEM; on failure w is empty. */
int cell_pack(const struct cell_kind *kind, const struct cell_params *p,
              struct cell *w, struct err *e);
void cell_fini(struct cell *w);
size_t cell_bytes(const struct cell *w);

/* cell_project: input part of m rows, y[r][n] = bias_x[n] + x[r] W_ih', for
 * units j0..j1. x [m][ldx]; rows: m pointers of scratch. */
void cell_project(const struct kernels *k, const struct cell *w, int m, int j0,
                  int j1, const float *x, size_t ldx, float *y,
                  const float **rows);

/* cell_shrink: what an LSTM with proj_size makes of its units, numbers n0 <= n
 * < n1 (multiples of UNIT_BLOCK) of m rows: y[r][n] = x[r] W_hr', units
 * ascending from 0. x [m][ldx >= H], y [m][ldy >= Rp]; what is behind R is 0.
 * All units of x are there: the threads that own them have met. */
void cell_shrink(const struct kernels *k, const struct cell *w, int m, int n0,
                 int n1, const float *x, size_t ldx, float *y, size_t ldy);

/* cell_fetch: bring what the first tile of a product starts from nearer, the
 * first columns from n on of the first of m rows; the product fetches the rest
 * by itself. */
void cell_fetch(const float *const *a, int m, int n);

/* Scratch for gates of m rows: enough for every kind. */
size_t cell_gate_floats(int m);

/* Unit blocks that a cell handles at once: many rows keep the gates in the
 * first-level cache, few rows want long stretches of weights. */
int cell_blocks(int m);

/* cell_view: output columns n0 <= n < n1 of W as packed weights of their own
 * (n0 a multiple of PACK_COLS). Borrows W's data. */
struct packed cell_view(const struct packed *W, int n0, int n1);

/* cell_pad: H rounded up to whole unit blocks. */
int cell_pad(int H);

#endif
