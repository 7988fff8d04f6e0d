/* elman_grad: the elementwise part of an Elman step and of its gradient (Elman
 * 1990): h = tanh(a), or max(a, 0) (Le et al. 2015 with the identity as its
 * first recurrent weights).
 *
 * SPDX-License-Identifier: MIT */
#include "models/rnn/rnn_grad.h"

TRAIN_CLONES
static void elman_row(int H, int relu, real *restrict a, real *restrict h)
{
    if (relu)
        for (int j = 0; j < H; j++)
            a[j] = a[j] > (real)0 ? a[j] : (real)0;
    else
        for (int j = 0; j < H; j++)
            a[j] = real_tanh(a[j]);
    for (int j = 0; j < H; j++)
        h[j] = a[j];
}

static void elman_forward(const struct grad_step *s)
{
    for (int r = 0; r < s->m; r++)
        elman_row(s->H, s->relu, s->a + (size_t)r * (size_t)s->H,
                  s->h + (size_t)r * s->ldh);
}

TRAIN_CLONES
static void elman_row_grad(int H, int relu, real *restrict a, real *restrict dh)
{
    if (relu)
        for (int j = 0; j < H; j++)
            a[j] = a[j] > (real)0 ? dh[j] : (real)0;
    else
        for (int j = 0; j < H; j++)
            a[j] = dh[j] * ((real)1 - a[j] * a[j]);
    for (int j = 0; j < H; j++)
        dh[j] = (real)0;
}

static void elman_backward(const struct grad_step *s)
{
    for (int r = 0; r < s->m; r++) {
        size_t row = (size_t)r * (size_t)s->H;
        elman_row_grad(s->H, s->relu, s->a + row, s->dh + row);
    }
}

const struct cell_grad elman_grad = {"elman",       1, 0, 0, elman_forward,
                                     elman_backward};
