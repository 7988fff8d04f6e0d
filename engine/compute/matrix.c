/* matrix: see matrix.h. The exact way has no kernels of its own: a piece of
 * the weights is widened to a tile that stays in the first cache, and
 * gemm_rows multiplies it, the sums resting in y between two pieces of K.
 * That keeps its bits: gemm_rows adds in the same order whatever the shape.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/compute/matrix.h"

#include "engine/compute/kernels.h"
#include "engine/compute/matrix_layout.h"

/* A tile of widened weights, 32 KiB, and the rows of one call over it. */
#define TILE_PANELS 4
#define TILE_K 128
#define TILE_ROWS 256

size_t qrows_bytes(int m, int K)
{
    size_t blocks = ((size_t)K + QBLOCK - 1) / QBLOCK;

    return ((size_t)m * blocks * sizeof(struct qblock) + 63) / 64 * 64;
}

void qrows_bind(struct qrows *q, void *mem, int m, int K)
{
    q->m = m;
    q->K = K;
    q->blocks = (K + QBLOCK - 1) / QBLOCK;
    q->b = mem;
    q->q = NULL;
    q->whole = NULL;
}

/* No more bytes than blocks take: 40 for 32 codes at most, instead of 48. */
void qrows_bind_whole(struct qrows *q, void *mem, int m, int K)
{
    qrows_bind(q, NULL, m, K);
    q->q = mem;
    q->whole = (void *)(q->q + (size_t)m * (size_t)q->blocks * QBLOCK);
}

struct qrows qrows_from(const struct qrows *q, int r0)
{
    struct qrows from = *q;

    if (q->b) {
        from.b += r0; /* row r0 of every block */
    } else {
        from.q += (size_t)r0 * (size_t)q->blocks * QBLOCK;
        from.whole += r0;
    }
    return from;
}

int matrix_quantised(const struct matrix *w)
{
    return matrix_layout(w->type) != NULL;
}

int matrix_takes_whole(const struct matrix *w)
{
    return w->whole;
}

/* One product in pieces. */
struct product {
    const struct kernels *k;
    const struct matrix *w;
    int m;
    const float *x;
    size_t ldx;
    const float *const *init;
    float *y;
    size_t ldy;
};

/* Columns n to n + cols with the widened weights of inner indices from k0. */
static void tile_rows(const struct product *p, const struct packed *tile, int n,
                      int k0)
{
    const float *start[TILE_ROWS];

    for (int r = 0; r < p->m; r += TILE_ROWS) {
        int rows = p->m - r < TILE_ROWS ? p->m - r : TILE_ROWS;
        float *y = p->y + (size_t)r * p->ldy + n;

        for (int i = 0; i < rows; i++)
            if (k0 > 0)
                start[i] = y + (size_t)i * p->ldy;
            else if (p->init)
                start[i] = p->init[r + i] + n;
        p->k->gemm_rows(tile, 0, tile->N, rows, p->x + (size_t)r * p->ldx + k0,
                        p->ldx, k0 > 0 || p->init ? start : NULL, y, p->ldy);
    }
}

static void rows_widened(const struct product *p, int n0, int n1)
{
    _Alignas(64) float tile[TILE_PANELS * TILE_K * PACK_COLS];
    struct packed piece = {.data = tile};

    for (int n = n0; n < n1; n += TILE_PANELS * PACK_COLS) {
        piece.N =
            n1 - n < TILE_PANELS * PACK_COLS ? n1 - n : TILE_PANELS * PACK_COLS;
        for (int k0 = 0; k0 < p->w->K; k0 += TILE_K) {
            int k1 = p->w->K - k0 < TILE_K ? p->w->K : k0 + TILE_K;

            piece.K = k1 - k0;
            for (int j = 0; j * PACK_COLS < piece.N; j++)
                p->k->matrix_widen(p->w, n / PACK_COLS + j, k0, k1,
                                   tile + j * piece.K * PACK_COLS);
            tile_rows(p, &piece, n, k0);
        }
    }
}

void matrix_rows(const struct kernels *k, const struct matrix *w, int n0,
                 int n1, int m, const float *x, size_t ldx,
                 const float *const *init, float *y, size_t ldy)
{
    const struct product p = {k, w, m, x, ldx, init, y, ldy};
    const struct packed all = {
        .N = w->N, .K = w->K, .bytes = w->bytes, .data = w->data};

    if (w->type == DT_F32)
        k->gemm_rows(&all, n0, n1, m, x, ldx, init, y, ldy);
    else if (m == 1 && k->matrix_row)
        k->matrix_row(w, n0, n1, x, init ? init[0] : NULL, y);
    else
        rows_widened(&p, n0, n1);
}

int matrix_has_bf16(const struct kernels *k, const struct matrix *w)
{
    return k->matrix_rows_bf16 && w->type == DT_BF16;
}

void matrix_rows_bf16(const struct kernels *k, const struct matrix *w, int n0,
                      int n1, int m, const float *x, size_t ldx,
                      const float *const *init, float *y, size_t ldy)
{
    if (matrix_has_bf16(k, w))
        k->matrix_rows_bf16(w, n0, n1, m, x, ldx, init, y, ldy);
    else
        matrix_rows(k, w, n0, n1, m, x, ldx, init, y, ldy);
}

void matrix_rows_q(const struct kernels *k, const struct matrix *w, int n0,
                   int n1, int r0, int m, const struct qrows *x,
                   const float *const *init, float *y, size_t ldy)
{
    k->matrix_rows_q(w, n0, n1, r0, m, x, init, y, ldy);
}

void matrix_quantise(const struct kernels *k, const float *x, size_t ldx,
                     int r0, int r1, struct qrows *q)
{
    k->quantise_rows(x, ldx, r0, r1, q);
}
