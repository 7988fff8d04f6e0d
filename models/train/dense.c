/* dense: see dense.h.
 *
 * SPDX-License-Identifier: MIT */
#include "models/train/dense.h"

void dense_forward(const struct dense *d, int rows, real *x, real *y)
{
    size_t out = (size_t)d->out;
    struct mat in = mat_of(x, rows, d->in), to = mat_of(y, rows, d->out);
    for (int i = 0; i < rows; i++)
        memcpy(y + (size_t)i * out, d->b, out * sizeof *y);
    if (d->conv1d)
        blas_nn(d->blas, in, mat_of(d->w, d->in, d->out), (real)1, to);
    else
        blas_nt(d->blas, in, mat_of(d->w, d->out, d->in), (real)1, to);
}

void dense_backward(const struct dense *d, int rows, real *x, real *dy,
                    real *dx)
{
    struct mat in = mat_of(x, rows, d->in), out = mat_of(dy, rows, d->out);
    struct mat back = mat_of(dx, rows, d->in);
    vec_column_sums(out, d->gb);
    if (d->conv1d)
        blas_tn(d->blas, in, out, (real)1, mat_of(d->gw, d->in, d->out));
    else
        blas_tn(d->blas, out, in, (real)1, mat_of(d->gw, d->out, d->in));
    if (dx == NULL)
        return;
    if (d->conv1d)
        blas_nt(d->blas, out, mat_of(d->w, d->in, d->out), (real)0, back);
    else
        blas_nn(d->blas, out, mat_of(d->w, d->out, d->in), (real)0, back);
}
