/* matmul_bf16: products of bf16 weights with activations rounded to bf16, for
 * AVX-512 BF16: a lane adds two products at a time (vdpbf16ps), whose order
 * and rounding are the CPU's own. Outside the promise between families; within
 * this one the bits still depend on no m, place or split: one accumulator per
 * output, pairs of k ascending.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/compute/isa/c64_avx512.inc.h"

#define K_PART 512 /* k of a part: its activations stay in the first cache */
#define ROWS_PART 24
#define ROWS_TILE 6 /* with four panels: 24 sums in registers */

struct tile {
    const uint8_t *w;
    size_t panel;
    int pairs;
    const uint32_t *x; /* [rows][K_PART / 2] pairs of bf16 */
    float *sum;        /* [rows][panels * 16] */
};

static inline __attribute__((always_inline)) void
tile_run(const struct tile *t, const int rows, const int panels)
{
    const int ld = panels * PACK_COLS, pairs = t->pairs;
    const uint8_t *w = t->w;
    __m512 sum[ROWS_TILE][8];

#pragma GCC unroll 8
    for (int i = 0; i < rows; i++) {
#pragma GCC unroll 8
        for (int j = 0; j < panels; j++)
            sum[i][j] = _mm512_load_ps(t->sum + i * ld + j * PACK_COLS);
    }
    for (int k = 0; k < pairs; k++, w += GROUP_BYTES) {
        __m512i c[8];

#pragma GCC unroll 8
        for (int j = 0; j < panels; j++) {
            c[j] = _mm512_load_si512(w + (size_t)j * t->panel);
            __asm__("" : "+v"(c[j]));
        }
#pragma GCC unroll 8
        for (int i = 0; i < rows; i++) {
            __m512i x = _mm512_set1_epi32((int)t->x[i * (K_PART / 2) + k]);

#pragma GCC unroll 8
            for (int j = 0; j < panels; j++)
                sum[i][j] =
                    _mm512_dpbf16_ps(sum[i][j], (__m512bh)c[j], (__m512bh)x);
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++) {
#pragma GCC unroll 8
        for (int j = 0; j < panels; j++)
            _mm512_store_ps(t->sum + i * ld + j * PACK_COLS, sum[i][j]);
    }
}

#define TILE(rows, panels)                                                     \
    static void tile_##rows##_##panels(const struct tile *t)                   \
    {                                                                          \
        tile_run(t, rows, panels);                                             \
    }
#define TILES(X, panels)                                                       \
    X(1, panels)                                                               \
    X(2, panels) X(3, panels) X(4, panels) X(5, panels) X(6, panels)
#define ENTRY(rows, panels) [rows] = tile_##rows##_##panels,

TILES(TILE, 1)
TILES(TILE, 4)

typedef void tile_fn(const struct tile *t);
static tile_fn *const tiles[2][ROWS_TILE + 1] = {{TILES(ENTRY, 1)},
                                                 {TILES(ENTRY, 4)}};

/* Rows of x from k0 on as pairs of bf16; beyond n: zero. */
static void round_rows(const float *x, size_t ldx, int m, int n, uint32_t *to)
{
    for (int r = 0; r < m; r++, x += ldx, to += K_PART / 2)
        for (int k = 0; k < n; k += 16) {
            struct v16 v =
                n - k < 16 ? v_load_part(x + k, n - k, 0.0f) : v_load(x + k);

            _mm256_storeu_si256((void *)(to + k / 2),
                                (__m256i)_mm512_cvtneps_pbh(v.v));
        }
}

struct product {
    const struct matrix *w;
    int n0, n1, k0;
    const float *const *init;
    float *y;
    size_t ldy;
};

/* Rows r to r + m (of a tile) of columns n to n + cols. */
static void run_tile(const struct product *p, struct tile *t, int n, int wide,
                     int r, int m)
{
    const int ld = wide ? 4 * PACK_COLS : PACK_COLS;
    const int cols = p->n1 - n < ld ? p->n1 - n : ld;
    const size_t bytes = (size_t)cols * sizeof(float);
    _Alignas(64) float sum[ROWS_TILE * 4 * PACK_COLS] = {0};

    for (int i = 0; i < m; i++) {
        const float *from = p->k0     ? p->y + (size_t)(r + i) * p->ldy
                            : p->init ? p->init[r + i]
                                      : NULL;

        if (from)
            memcpy(sum + i * ld, from + n, bytes);
    }
    t->w = matrix_panel(p->w, n / PACK_COLS) + (size_t)p->k0 * 2 * PACK_COLS;
    t->sum = sum;
    tiles[wide][m](t);
    for (int i = 0; i < m; i++)
        memcpy(p->y + (size_t)(r + i) * p->ldy + n, sum + i * ld, bytes);
}

void matmul_rows_bf16(const struct matrix *w, int n0, int n1, int m,
                      const float *x, size_t ldx, const float *const *init,
                      float *y, size_t ldy)
{
    _Alignas(64) uint32_t pairs[ROWS_PART * K_PART / 2];
    struct product p = {w, n0, n1, 0, init, y, ldy};
    struct tile t = {.panel = w->panel};

    for (; p.k0 < w->K; p.k0 += K_PART) {
        const int n = w->K - p.k0 < K_PART ? w->K - p.k0 : K_PART;

        t.pairs = (n + 1) / 2;
        for (int r0 = 0, rows; r0 < m; r0 += rows) {
            rows = m - r0 < ROWS_PART ? m - r0 : ROWS_PART;
            round_rows(x + (size_t)r0 * ldx + p.k0, ldx, rows, n, pairs);
            for (int c = n0, wide; c < n1; c += wide ? 64 : 16) {
                wide = n1 - c > 3 * PACK_COLS;
                for (int r = 0, h; r < rows; r += h) {
                    h = rows - r < ROWS_TILE ? rows - r : ROWS_TILE;
                    t.x = pairs + r * (K_PART / 2);
                    run_tile(&p, &t, c, wide, r0 + r, h);
                }
            }
        }
    }
}
