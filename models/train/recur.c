/* recur: see recur.h.
 *
 * SPDX-License-Identifier: MIT */
#include "models/train/recur.h"

#include "engine/base/mem.h"

#define MAX_ROWS 64 /* rows handed to the kernel at a time */

static void apply_blas(const struct recur *r, struct mat x, int add,
                       struct mat y)
{
    if (r->transpose)
        blas_nn(r->blas, x, r->w, (real)add, y);
    else
        blas_nt(r->blas, x, r->w, (real)add, y);
}

#ifdef REAL_DOUBLE

int recur_init(struct recur *r, const struct blas *b, int rows, int columns,
               int transpose, struct err *e)
{
    (void)rows;
    (void)columns;
    (void)e;
    memset(r, 0, sizeof *r);
    r->blas = b;
    r->transpose = transpose;
    return 0;
}

void recur_load(struct recur *r, struct mat w)
{
    r->w = w;
}

void recur_apply(const struct recur *r, struct mat x, int add, struct mat y)
{
    apply_blas(r, x, add, y);
}

#else

int recur_init(struct recur *r, const struct blas *b, int rows, int columns,
               int transpose, struct err *e)
{
    int N = transpose ? columns : rows, K = transpose ? rows : columns;
    size_t panels = ((size_t)N + PACK_COLS - 1) / PACK_COLS;
    memset(r, 0, sizeof *r);
    r->blas = b;
    r->transpose = transpose;
    if (kernels_pick("auto", &r->k, e) != 0)
        return -1;
    if (r->k == kernels_available(0)) { /* portable C */
        r->k = NULL;
        return 0;
    }
    r->packed.N = N;
    r->packed.K = K;
    r->packed.bytes = panels * (size_t)K * PACK_COLS * sizeof(float);
    r->packed.data = mem_aligned(r->packed.bytes);
    return r->packed.data != NULL ? 0 : err_nomem(e);
}

/* Panel p of w as it lies: rows n0 .. n0+cols-1 become columns. */
static void load_panel(struct mat w, int n0, int cols, float *d)
{
    for (int k = 0; k < w.c; k++, d += PACK_COLS)
        for (int c = 0; c < cols; c++)
            d[c] = w.p[(size_t)(n0 + c) * w.ld + (size_t)k];
}

static void load_transposed(struct mat w, int n0, int cols, float *d)
{
    for (int k = 0; k < w.r; k++, d += PACK_COLS)
        memcpy(d, w.p + (size_t)k * w.ld + n0, (size_t)cols * sizeof *d);
}

void recur_load(struct recur *r, struct mat w)
{
    r->w = w;
    if (r->k == NULL)
        return;
    float *d = r->packed.data;
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
    for (int first = 0; first < y.r; first += MAX_ROWS) {
        int m = y.r - first < MAX_ROWS ? y.r - first : MAX_ROWS;
        float *out = y.p + (size_t)first * y.ld;
        for (int i = 0; i < m; i++)
            init[i] = out + (size_t)i * y.ld;
        r->k->gemm_rows(&r->packed, 0, r->packed.N, m,
                        x.p + (size_t)first * x.ld, x.ld, add ? init : NULL,
                        out, y.ld);
    }
}

#endif

void recur_fini(struct recur *r)
{
    mem_aligned_free(r->packed.data);
    memset(r, 0, sizeof *r);
}
