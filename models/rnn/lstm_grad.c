/* lstm_grad: the elementwise part of an LSTM step and of its gradient
 * (Hochreiter and Schmidhuber 1997; forget gate: Gers et al. 2000).
 *     i,f,o = s(a)   g = tanh(a)   c = f cp + i g   h = o tanh(c)
 * Activations replace the pre-activations, gradients the activations.
 *
 * SPDX-License-Identifier: MIT */
#include "models/rnn/rnn_grad.h"

TRAIN_CLONES
static void lstm_row(int H, real *restrict a, const real *restrict cp,
                     real *restrict c, real *restrict tc, real *restrict h)
{
    for (int j = 0; j < H; j++) {
        real i = real_sigmoid(a[j]), f = real_sigmoid(a[H + j]);
        real g = real_tanh(a[2 * H + j]), o = real_sigmoid(a[3 * H + j]);
        real cell = f * cp[j] + i * g;
        real t = real_tanh(cell);
        a[j] = i;
        a[H + j] = f;
        a[2 * H + j] = g;
        a[3 * H + j] = o;
        c[j] = cell;
        tc[j] = t;
        h[j] = o * t;
    }
}

static void lstm_forward(const struct grad_step *s)
{
    for (int r = 0; r < s->m; r++) {
        size_t row = (size_t)r * (size_t)s->H;
        lstm_row(s->H, s->a + 4 * row, s->cp + row, s->c + row, s->tc + row,
                 s->h + (size_t)r * s->ldh);
    }
}

TRAIN_CLONES
static void lstm_row_grad(int H, real *restrict a, const real *restrict cp,
                          const real *restrict tc, real *restrict dh,
                          real *restrict dc)
{
    for (int j = 0; j < H; j++) {
        real i = a[j], f = a[H + j], g = a[2 * H + j], o = a[3 * H + j];
        real t = tc[j];
        real d = dc[j] + dh[j] * o * ((real)1 - t * t);
        a[j] = d * g * i * ((real)1 - i);
        a[H + j] = d * cp[j] * f * ((real)1 - f);
        a[2 * H + j] = d * i * ((real)1 - g * g);
        a[3 * H + j] = dh[j] * t * o * ((real)1 - o);
        dc[j] = d * f;
        dh[j] = (real)0;
    }
}

static void lstm_backward(const struct grad_step *s)
{
    for (int r = 0; r < s->m; r++) {
        size_t row = (size_t)r * (size_t)s->H;
        lstm_row_grad(s->H, s->a + 4 * row, s->cp + row, s->tc + row,
                      s->dh + row, s->dc + row);
    }
}

const struct cell_grad lstm_grad = {"lstm",       4, 1, 0, lstm_forward,
                                    lstm_backward};
