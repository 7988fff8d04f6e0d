/* gru_grad: the elementwise part of a GRU step and of its gradient (Cho et al.
 * 2014, reset after the product, as in PyTorch). a is the input part, b the
 * recurrent part, each with its bias.
 *     r = s(a_r + b_r)   z = s(a_z + b_z)   n = tanh(a_n + r b_n)
 *     h = (1 - z) n + z hp
 * After the forward pass a holds r, z, n and b still holds b_n.
 *
 * SPDX-License-Identifier: MIT */
#include "models/rnn/rnn_grad.h"

TRAIN_CLONES
static void gru_row(int H, real *restrict a, const real *restrict b,
                    const real *restrict hp, real *restrict h)
{
    for (int j = 0; j < H; j++) {
        real r = real_sigmoid(a[j] + b[j]);
        real z = real_sigmoid(a[H + j] + b[H + j]);
        real n = real_tanh(a[2 * H + j] + r * b[2 * H + j]);
        a[j] = r;
        a[H + j] = z;
        a[2 * H + j] = n;
        h[j] = ((real)1 - z) * n + z * hp[j];
    }
}

static void gru_forward(const struct grad_step *s)
{
    for (int r = 0; r < s->m; r++) {
        size_t row = (size_t)r * (size_t)s->H;
        gru_row(s->H, s->a + 3 * row, s->b + 3 * row, s->hp + row,
                s->h + (size_t)r * s->ldh);
    }
}

TRAIN_CLONES
static void gru_row_grad(int H, real *restrict a, real *restrict b,
                         const real *restrict hp, real *restrict dh)
{
    for (int j = 0; j < H; j++) {
        real r = a[j], z = a[H + j], n = a[2 * H + j], bn = b[2 * H + j];
        real d = dh[j];
        real dn = d * ((real)1 - z) * ((real)1 - n * n);
        real dz = d * (hp[j] - n) * z * ((real)1 - z);
        real dr = dn * bn * r * ((real)1 - r);
        a[j] = dr;
        a[H + j] = dz;
        a[2 * H + j] = dn;
        b[j] = dr;
        b[H + j] = dz;
        b[2 * H + j] = dn * r;
        dh[j] = d * z;
    }
}

static void gru_backward(const struct grad_step *s)
{
    for (int r = 0; r < s->m; r++) {
        size_t row = (size_t)r * (size_t)s->H;
        gru_row_grad(s->H, s->a + 3 * row, s->b + 3 * row, s->hp + row,
                     s->dh + row);
    }
}

const struct cell_grad gru_grad = {"gru", 3, 0, 1, gru_forward, gru_backward};
