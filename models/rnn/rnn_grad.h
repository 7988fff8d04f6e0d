/* rnn_grad: training forward and backward of the recurrent layers. The cells
 * (elman_grad.c, lstm_grad.c, gru_grad.c) do the elementwise work of one time
 * step; rnn_grad.c runs a layer over time and leaves all products with weight
 * matrices that need no recurrence to one product over all rows.
 *
 * A batch is time-major and packed: at time t the first n[t] rows are active,
 * n never rises, so sequences are sorted by falling length and nothing is
 * padded. Row r of time t is row off[t] + r of every [N, ...] array.
 *
 * Dimensions: N rows in all, B = n[0] sequences, T time, I inputs, H hidden, G
 * gates. Gate order as in models/README.md.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_RNN_GRAD_H
#define SEQD_RNN_GRAD_H

#include "models/train/blas.h"
#include "models/train/recur.h"

struct steps {
    int T, N;
    int *n;   /* [T] active rows */
    int *off; /* [T + 1] */
};

/* One time step of one direction for m rows. */
struct grad_step {
    int m, H;
    int relu;       /* Elman: max(x, 0) in place of tanh */
    real *a;        /* [m, G*H] forward: in pre-activations (split cells: the
                       input part), out activations; backward: out gradient */
    real *b;        /* [m, G*H] split cells: recurrent part; backward: out its
                       gradient */
    const real *hp; /* [m, H] state that entered the step */
    const real *cp; /* [m, H] cell state that entered (LSTM) */
    real *c;        /* [m, H] forward: out (LSTM) */
    real *tc;       /* [m, H] tanh of the new cell state (LSTM) */
    real *h;        /* [m, ldh] forward: out; backward: as it was */
    size_t ldh;
    real *dh; /* [m, H] backward: in dL/dh; out the part that reaches hp past
                 the weights (zero for cells that have none) */
    real *dc; /* [m, H] backward: in dL/dc, out dL/dcp (LSTM) */
};

struct cell_grad {
    const char *name;
    int gates;
    int has_c; /* the state has a second part */
    int split; /* the recurrent product is kept apart from the input's */
    void (*forward)(const struct grad_step *s);
    void (*backward)(const struct grad_step *s);
};

extern const struct cell_grad elman_grad, lstm_grad, gru_grad;

/* Weights of one direction of one layer, or their gradients. */
struct rnn_weights {
    real *w_ih; /* [G*H, I] */
    real *w_hh; /* [G*H, H] */
    real *b_ih; /* [G*H], may be NULL together with b_hh */
    real *b_hh;
};

/* One direction of one layer at work. The caller owns all arrays. */
struct rnn_run {
    const struct cell_grad *cell;
    const struct blas *blas;
    const struct steps *steps;
    int I, H, relu, reverse;
    struct rnn_weights w;
    struct recur ahead, back; /* w_hh, loaded; back: for backward */
    struct mat x;             /* [N, I] input */
    struct mat out;           /* [N, H] output, a column range of the layer's */
    real *h, *c;   /* [B, H] state: in the first, out the last (reverse: in
                       zero). c may be NULL */
    real *a;       /* [N, G*H] */
    real *b;       /* [N, G*H], split cells */
    real *hp;      /* [N, H] */
    real *cp, *tc; /* [N, H], where there is a c */
    real *bias;    /* [G*H] scratch */
    /* NULL, or [T] that the backward pass adds the squared norm to of the
     * gradient of the states that step t hands on. */
    double *h_squares, *c_squares;
};

/* rnn_forward: fills out, h, c and what the backward pass needs. */
void rnn_forward(const struct rnn_run *r);

/* rnn_backward: dout [N, H] gradient of out (a view); adds to g; dx [N, I]
 * gets dL/dx (beta: 0 sets, 1 adds), unless dx.p is NULL. dh, dc [B, H]
 * scratch, in: the gradient of the last state, normally zero. */
void rnn_backward(const struct rnn_run *r, struct mat dout,
                  const struct rnn_weights *g, struct mat dx, real beta,
                  real *dh, real *dc);

#endif
