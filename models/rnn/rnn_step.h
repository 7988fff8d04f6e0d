/* rnn_step: what the parts of a step share: rnn_plan.c checks the batch, sorts
 * it and lays out the scratch; rnn_step.c runs the recurrence; rnn_head.c makes
 * the wanted outputs.
 *
 * Time-major and packed: a group is a set of items sorted by span length,
 * longest first, and row r of time step t stands at base + off[t] + r, so rows
 * that ended drop off the end and no step sees padding. The second direction
 * is stored in its own order of steps: its step t holds time len - 1 - t.
 *
 * Threads: many rows: one group per thread, no barrier between time steps
 * (n_groups == n); few rows: one group, each thread owns a range of units and
 * all meet at a barrier after each time step (by_units). The bits are the same
 * because no kernel depends on m, on a row's place or on the unit range.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_RNN_STEP_H
#define SEQD_RNN_STEP_H

#include "models/rnn/rnn.h"

#define RNN_BLOCK_ROWS 64 /* rows whose input part is made at once */
#define RNN_TILE_COLS 256
#define RNN_TILE_ROWS 64
#define RNN_MAX_THREADS 64

struct group {
    int first; /* first slot */
    int m;     /* items */
    int T;     /* longest span */
    int base;  /* first row */
    int *off;  /* [T + 1] */
};

/* A wanted output. */
struct out_row {
    float *dst;
    int slot; /* place of its item in the sorted order, -1: none */
    int item;
    int row;    /* of its span; -1: pooled */
    int pos[2]; /* row of the top states for each direction; -1: pooled */
};

/* Scratch of one thread. */
struct lane_mem {
    float *x;             /* [B][x_cols]: gathered inputs */
    float *a;             /* [B][G*Hp]: input parts */
    float *gates;         /* cell_gate_floats(B) */
    const float **inputs; /* [B] */
    const float **rows;   /* [max(B, n_rows)] */
    float *tile;          /* [RNN_TILE_ROWS][RNN_TILE_COLS] */
    unsigned char *bad;   /* [n_rows] */
};

struct rnn_run {
    const struct rnn *m;
    const struct exec *x;
    struct batch *b;
    int n;          /* threads */
    int by_units;   /* see above */
    int n_missing;  /* tokens without a folded row when the step began */
    int32_t *fresh; /* [n_fresh] those that get one, at first_fresh and on */
    int n_fresh, first_fresh;
    int block_rows; /* B = max(RNN_BLOCK_ROWS, items) */
    int x_cols;
    int n_slots; /* items that run */
    int n_tokens;
    int *order;  /* [n_slots] item of a slot */
    int *len;    /* [n_slots] */
    int *row_of; /* [n_items] row of the item in its group, then its slot */
    int n_groups;
    struct group group[RNN_MAX_THREADS];
    int *off;  /* memory of group.off */
    float *h0; /* [L][n_slots][W] */
    float *c;  /* [L][n_slots][D*Hp] */
    float *y;  /* [2][D][n_tokens][Rp] */
    float *u;  /* [D][n_slots][Hp]: units before cell_shrink */
    struct lane_mem lane[RNN_MAX_THREADS];
    /* Outputs: products (logits and scores) and copies (states). */
    struct out_row *product, *copy;
    int n_product, n_copy;
    const struct rnn_around *around; /* NULL: m stands alone */
    float *ox;                       /* [n_product][D*R + more] */
    float *op;                       /* [n_product][P] */
    struct qrows q;                  /* of what enters the output, if `fast` */
    int uniform;                     /* products' dst are dst0 + i * ld */
    size_t uniform_ld;
};

/* rnn_plan.c: fill s from the batch; scratch is x->scratch. -1: the batch is
 * larger than what it says. */
int rnn_plan(struct rnn_run *s, struct err *e);

/* rnn_step.c: row of the states y of a layer, direction d. */
float *rnn_states(const struct rnn_run *s, int layer, int d);

/* rnn_head.c */
void rnn_head_run(struct rnn_run *s, int tid);
void rnn_head_finish(struct rnn_run *s);

/* rnn_share: part i of n of the range 0..total in multiples of `unit`. */
void rnn_share(int total, int unit, int n, int i, int *from, int *to);

#endif
