/* recur: see recur.h.
 *
 * SPDX-License-Identifier: MIT */
#include "models/train/recur.h"

#define BF16_LEAST 16 /* rows: a block has 32 */
#define MAX_ROWS 64   /* rows handed to the kernel at a time */

static void apply_blas(const struct recur *r, struct mat x, int add,
                       struct mat y)
{
    if (r->transpose)
        blas_nn(r->blas, x, r->w, (real)add, y);
    else
        blas_nt(r->blas, x, r->w, (real)add, y);
}

int recur_init(struct recur *r, struct region *mem, const struct blas *b,
               int rows, int columns, int transpose, struct err *e)
{
    int N = transpose ? columns : rows, K = transpose ? rows : columns;
    size_t panels = ((size_t)N + PACK_COLS - 1) / PACK_COLS;
    memset(r, 0, sizeof *r);
    r->blas = b;
    r->transpose = transpose;
    if (kernels_pick("auto", &r->k, e) != 0)
        return -1;
    if (sizeof(real) > sizeof(float) || r->k == kernels_available(0)) {
        r->k = NULL; /* double, or portable C */
        return 0;
    }
    r->packed.N = N;
    r->packed.K = K;
    r->packed.bytes = panels * (size_t)K * PACK_COLS * sizeof(float);
    r->packed.data = region_take(mem, 1, r->packed.bytes);
    if (b->bf16 != BF16_NONE)
        r->bf16 = region_take(mem, 1, bf16_packed_bytes(K, N));
    return 0;
}

/* Panel p of w as it lies: rows n0 .. n0+cols-1 become columns. */
static void load_panel(struct mat w, int n0, int cols, real *d)
{
    for (int k = 0; k < w.c; k++, d += PACK_COLS)
        for (int c = 0; c < cols; c++)
            d[c] = w.p[(size_t)(n0 + c) * w.ld + (size_t)k];
}

static void load_transposed(struct mat w, int n0, int cols, real *d)
{
    for (int k = 0; k < w.r; k++, d += PACK_COLS)
        memcpy(d, w.p + (size_t)k * w.ld + n0, (size_t)cols * sizeof *d);
}

void recur_load(struct recur *r, struct mat w)
{
    r->w = w;
    if (r->k == NULL)
        return;
    if (r->bf16 != NULL)
        bf16_pack(!r->transpose, w, r->bf16);
    real *d = (void *)r->packed.data;
    for (int n = 0; n < r->packed.N; n += PACK_COLS) {
        int cols = r->packed.N - n;
        cols = cols < PACK_COLS ? cols : PACK_COLS;
        if (r->transpose)
            load_transposed(w, n, cols, d);
        else
            load_panel(w, n, cols, d);
        d += (size_t)r->packed.K * PACK_COLS;
    }
}

void recur_apply(const struct recur *r, struct mat x, int add, struct mat y)
{
    const float *init[MAX_ROWS];
    if (r->k == NULL) {
        apply_blas(r, x, add, y);
        return;
    }
    if (r->bf16 != NULL && y.r >= BF16_LEAST) {
        bf16_product_packed(r->blas->bf16, x, r->bf16, add, y);
        return;
    }
    for (int first = 0; first < y.r; first += MAX_ROWS) {
        int m = y.r - first < MAX_ROWS ? y.r - first : MAX_ROWS;
        /* real is float here */
        void *in = x.p + (size_t)first * x.ld,
             *out = y.p + (size_t)first * y.ld;
        for (int i = 0; i < m; i++)
            init[i] = (float *)out + (size_t)i * y.ld;
        r->k->gemm_rows(&r->packed, 0, r->packed.N, m, in, x.ld,
                        add ? init : NULL, out, y.ld);
    }
}
