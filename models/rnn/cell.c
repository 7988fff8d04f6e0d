/* cell: packing of one recurrent layer and what all cells share. See cell.h
 * for the block order and the order of additions. Packing runs in the loader;
 * everything else is read-only and thread-safe.
 *
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "models/rnn/cell.h"

#include "engine/base/mem.h"

#define MANY_ROWS                                                              \
    16 /* from here on one block at a time: 16 rows x 4 gates x
                        16 units are 4 KiB of gates */
#define FEW_ROWS_BLOCKS 4
#define MAX_GATES 4
#define FETCH_ROWS 16 /* no tile of any family is higher */
#define FETCH_COLS 32

int cell_pad(int H)
{
    return (H + UNIT_BLOCK - 1) / UNIT_BLOCK * UNIT_BLOCK;
}

int cell_blocks(int m)
{
    return m >= MANY_ROWS ? 1 : FEW_ROWS_BLOCKS;
}

size_t cell_gate_floats(int m)
{
    size_t few = (size_t)MANY_ROWS * FEW_ROWS_BLOCKS;
    size_t rows = (size_t)m > few ? (size_t)m : few;

    /* The GRU keeps both parts: 2 x 3 gates. */
    return rows * UNIT_BLOCK * (2 * MAX_GATES);
}

struct packed cell_view(const struct packed *W, int n0, int n1)
{
    struct packed v = {.N = n1 - n0, .K = W->K};

    v.data = W->data + (size_t)n0 * (size_t)W->K;
    v.bytes = (size_t)(n1 - n0) * (size_t)W->K * sizeof(float);
    return v;
}

/* Row of PyTorch's [G*H] that is row n of the block order; -1 for padding. */
static int source_row(const struct cell *w, int n)
{
    int block = n / (UNIT_BLOCK * w->G);
    int gate = n / UNIT_BLOCK % w->G;
    int unit = block * UNIT_BLOCK + n % UNIT_BLOCK;

    return unit < w->H ? gate * w->H + unit : -1;
}

/* W [G*H, n_parts*part] in block order, with zeros for padding and gaps. */
static int pack_matrix(const struct cell *w, const struct tensor *W,
                       const struct cell_params *p, struct packed *out,
                       struct err *e)
{
    int N = w->G * w->Hp, *row = mem_array((size_t)N, sizeof *row), rc;
    const struct pack_rows from = {.t = W,
                                   .N = N,
                                   .row = row,
                                   .n_parts = p->n_parts,
                                   .part = p->part,
                                   .part_stride = p->part_stride};

    if (!row)
        return err_nomem(e);
    for (int n = 0; n < N; n++)
        row[n] = source_row(w, n);
    rc = pack_tensor(&from, out, e);
    mem_free(row);
    return rc;
}

static int pack_bias(const struct cell_kind *kind, const struct cell_params *p,
                     struct cell *w, struct err *e)
{
    int N = w->G * w->Hp;

    w->bias_x = mem_floats((size_t)N);
    if (kind->own_bias_h)
        w->bias_h = mem_floats((size_t)N);
    if (!w->bias_x || (kind->own_bias_h && !w->bias_h))
        return err_nomem(e);
    for (int n = 0; p->b_ih && n < N; n++) {
        int row = source_row(w, n);

        if (row < 0)
            continue;
        w->bias_x[n] = p->b_ih[row];
        if (w->bias_h)
            w->bias_h[n] = p->b_hh[row];
        else
            w->bias_x[n] += p->b_hh[row];
    }
    return 0;
}

/* W_hr with zero rows behind R. */
static int pack_shrink(const struct cell_params *p, struct cell *w,
                       struct err *e)
{
    struct pack_rows from = {.t = p->W_hr,
                             .N = w->Rp,
                             .n_parts = 1,
                             .part = w->H,
                             .part_stride = w->H};
    int *row, rc;

    if (!p->W_hr)
        return 0;
    from.row = row = mem_array((size_t)w->Rp, sizeof *row);
    if (!row)
        return err_nomem(e);
    for (int n = 0; n < w->Rp; n++)
        row[n] = n < w->R ? n : -1;
    rc = pack_tensor(&from, &w->hr, e);
    mem_free(row);
    return rc;
}

int cell_pack(const struct cell_kind *kind, const struct cell_params *p,
              struct cell *w, struct err *e)
{
    int R = p->R ? p->R : p->H;
    struct cell_params hh = {.n_parts = 1, .part = R, .part_stride = R};

    memset(w, 0, sizeof *w);
    w->I = (p->n_parts - 1) * p->part_stride + p->part;
    w->H = p->H;
    w->Hp = cell_pad(p->H);
    w->R = R;
    w->Rp = cell_pad(R);
    w->G = kind->G;
    if (pack_matrix(w, p->W_ih, p, &w->ih, e) ||
        pack_matrix(w, p->W_hh, &hh, &w->hh, e) || pack_shrink(p, w, e) ||
        pack_bias(kind, p, w, e)) {
        cell_fini(w);
        return -1;
    }
    return 0;
}

void cell_fini(struct cell *w)
{
    pack_fini(&w->ih);
    pack_fini(&w->hh);
    pack_fini(&w->hr);
    mem_aligned_free(w->bias_x);
    mem_aligned_free(w->bias_h);
    memset(w, 0, sizeof *w);
}

size_t cell_bytes(const struct cell *w)
{
    size_t bias = (size_t)w->G * (size_t)w->Hp * sizeof(float);

    return w->ih.bytes + w->hh.bytes + w->hr.bytes + bias +
           (w->bias_h ? bias : 0);
}

void cell_project(const struct kernels *k, const struct cell *w, int m, int j0,
                  int j1, const float *x, size_t ldx, float *y,
                  const float **rows)
{
    for (int r = 0; r < m; r++)
        rows[r] = w->bias_x;
    k->gemm_rows(&w->ih, w->G * j0, w->G * j1, m, x, ldx, rows, y,
                 (size_t)w->G * (size_t)w->Hp);
}

void cell_shrink(const struct kernels *k, const struct cell *w, int m, int n0,
                 int n1, const float *x, size_t ldx, float *y, size_t ldy)
{
    if (n1 > n0)
        k->gemm_rows(&w->hr, n0, n1, m, x, ldx, NULL, y, ldy);
}

void cell_fetch(const float *const *a, int m, int n)
{
    for (int r = 0; r < m && r < FETCH_ROWS; r++)
        for (int i = n; i < n + FETCH_COLS; i += PACK_COLS)
            __builtin_prefetch(a[r] + i);
}
