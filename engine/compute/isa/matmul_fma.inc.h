/* matmul_fma.inc.h: the fast products, over struct c64, i16 and v16; included
 * by a file per family that defines i_dot and PANELS. The codes of a block of
 * PANELS panels are decoded once to registers, then all rows pass: per row
 * eight dot products a panel, and one fp32 term for its sums, which lie in a
 * small array in the first cache.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/compute/isa/matmul_decode.inc.h"

#define ROWS 64    /* of a tile: 8 KiB of sums */
#define AHEAD 2048 /* bytes of codes: how far ahead they are fetched */

struct qtile {
    const uint8_t *w; /* first panel */
    size_t panel;
    int blocks, m;
    const struct qblock *x; /* first row of block 0 */
    size_t ldx;             /* rows of a block */
    float *sum;             /* [m][PANELS * 16] */
    const float *y;         /* where the sums will go */
    size_t ldy;
};

/* Sums of this layout start from -128 sum(q): no offset is left to take off. */
static inline __attribute__((always_inline)) int
starts_below(const struct layout l)
{
    return l.off == 128 && l.subs == 1;
}

/* One row of a block: u = s (code - off) . q + o sum(q); sum += u scale. */
static inline __attribute__((always_inline)) void
row_term(const struct layout l, const struct i16 *dot, const struct v16 *s,
         const struct v16 *o, const struct qblock *x, float *sum)
{
    const float *codes = l.subs > 1 ? x->half : &x->sum;
    const int off = l.off && !starts_below(l);
    const struct v16 noff = v_set1(-(float)l.off);
    struct v16 u = v_from_ints(dot[0]);

    if (off)
        u = v_fma(noff, v_set1(codes[0]), u);
    u = v_mul(u, s[0]);
    if (l.subs > 1) {
        struct v16 t = v_from_ints(dot[1]);

        if (off)
            t = v_fma(noff, v_set1(codes[1]), t);
        u = v_fma(t, s[1], u);
    }
    if (l.has_o)
        u = v_fma(o[0], v_set1(codes[0]), u);
    if (l.has_o && l.subs > 1)
        u = v_fma(o[1], v_set1(codes[1]), u);
    v_store(sum, v_fma(u, v_set1(x->scale), v_load(sum)));
}

/* The dot products of one row with `panels` panels. Two chains each: eight
 * products one after the other would be bound by their latency. */
static inline __attribute__((always_inline)) void
row_dots(const struct layout l, const int panels, struct c64 c[][GROUPS],
         const struct qblock *x, struct i16 dot[][2])
{
#pragma GCC unroll 4
    for (int j = 0; j < panels; j++) {
        dot[j][0] = starts_below(l) ? i_set1(x->below) : i_zero();
        dot[j][1] = i_zero();
    }
#pragma GCC unroll 8
    for (int g = 0; g < GROUPS; g++) {
        const int h = l.subs > 1 ? g / (GROUPS / 2) : g % 2;
        const struct four q = q_load(x->q + 4 * g);

#pragma GCC unroll 4
        for (int j = 0; j < panels; j++)
            dot[j][h] = i_dot(dot[j][h], c[j][g], q, code_bits(l));
    }
    if (l.subs > 1)
        return;
#pragma GCC unroll 4
    for (int j = 0; j < panels; j++)
        dot[j][0] = i_add(dot[j][0], dot[j][1]);
}

/* Block b's share of the rows of y is brought near: a step of many rows has
 * more outputs than the second cache holds. */
static inline __attribute__((always_inline)) void
fetch_outputs(const struct qtile *t, const int panels, int b)
{
    const int rows = (t->m + t->blocks - 1) / t->blocks;
    const float *y = t->y + (size_t)(b * rows) * t->ldy;

    for (int r = b * rows; r < (b + 1) * rows && r < t->m; r++, y += t->ldy)
#pragma GCC unroll 4
        for (int j = 0; j < panels; j++)
            _mm_prefetch((const void *)(y + j * PACK_COLS), _MM_HINT_T0);
}

/* Codes and scales of block b of `panels` panels; those of a later block are
 * brought near meanwhile. */
static inline __attribute__((always_inline)) void
tile_decode(const struct layout l, const int panels, const struct qtile *t,
            int b, struct c64 c[][GROUPS], struct v16 s[][2], struct v16 o[][2])
{
    const size_t code = layout_code_bytes(&l);
    const size_t meta = (size_t)t->blocks * code;
    const size_t ahead = AHEAD / code * code;

#pragma GCC unroll 4
    for (int j = 0; j < panels; j++) {
        const uint8_t *panel = t->w + (size_t)j * t->panel;
        const uint8_t *p = panel + (size_t)b * code;

#pragma GCC unroll 8
        for (size_t i = 0; i < code; i += 64)
            _mm_prefetch((const void *)(p + ahead + i), _MM_HINT_T0);
#pragma GCC unroll 8
        for (int g = 0; g < GROUPS; g++)
            c[j][g] = c_keep(block_group(l, g, p));
        block_scales(l, panel + meta, b, s[j], o[j]);
    }
}

static inline __attribute__((always_inline)) void
tile_q(const struct layout l, const int panels, const struct qtile *t)
{
    const struct qblock *x = t->x;
    const int m = t->m;

    for (int b = 0; b < t->blocks; b++, x += t->ldx) {
        struct c64 c[PANELS][GROUPS];
        struct v16 s[PANELS][2], o[PANELS][2];
        float *sum = t->sum;

        fetch_outputs(t, panels, b);
        tile_decode(l, panels, t, b, c, s, o);
        for (int r = 0; r < m; r++, sum += panels * PACK_COLS) {
            struct i16 dot[PANELS][2];

            row_dots(l, panels, c, &x[r], dot);
#pragma GCC unroll 4
            for (int j = 0; j < panels; j++)
                row_term(l, dot[j], s[j], o[j], &x[r], sum + j * PACK_COLS);
        }
    }
}

/* A function per type for one panel and one for PANELS. */
#define QTILE(name, ...)                                                       \
    static void tile_one_##name(const struct qtile *t)                         \
    {                                                                          \
        tile_q((struct layout){__VA_ARGS__}, 1, t);                            \
    }                                                                          \
    static void tile_all_##name(const struct qtile *t)                         \
    {                                                                          \
        tile_q((struct layout){__VA_ARGS__}, PANELS, t);                       \
    }
#define QTILE_ENTRY(name, ...) [DT_##name] = {tile_one_##name, tile_all_##name},

MATRIX_LAYOUTS(QTILE)

typedef void qtile_fn(const struct qtile *t);
static qtile_fn *const qtile_table[N_DTYPES][2] = {MATRIX_LAYOUTS(QTILE_ENTRY)};

/* Sums of rows r to r + m of columns n to n + cols: in and out of the tile. */
static void sums_in(const float *const *init, int r, int m, int n, int cols,
                    int width, float *sum)
{
    const struct v16 zero = v_set1(0.0f);

    for (int i = 0; i < m; i++, sum += width)
        for (int j = 0; j < width; j += PACK_COLS) {
            const float *from = init ? init[r + i] + n + j : NULL;

            if (!from || cols <= j)
                v_store(sum + j, zero);
            else if (cols - j < PACK_COLS)
                v_store(sum + j, v_load_part(from, cols - j, 0.0f));
            else
                v_store(sum + j, v_load(from));
        }
}

static void sums_out(const float *sum, int r, int m, int n, int cols, int width,
                     float *y, size_t ldy)
{
    y += (size_t)r * ldy + n;
    for (int i = 0; i < m; i++, sum += width, y += ldy)
        for (int j = 0; j < cols; j += PACK_COLS)
            if (cols - j < PACK_COLS)
                v_store_part(y + j, v_load(sum + j), cols - j);
            else
                v_store(y + j, v_load(sum + j));
}

static void rows_q(const struct matrix *w, int n0, int n1, int r0, int m,
                   const struct qrows *x, const float *const *init, float *y,
                   size_t ldy)
{
    _Alignas(64) float sum[ROWS * PANELS * PACK_COLS];
    struct qtile t = {.panel = w->panel,
                      .blocks = w->K / QBLOCK,
                      .ldx = (size_t)x->m,
                      .sum = sum,
                      .ldy = ldy};

    for (int n = n0, width; n < n1; n += width) {
        const int all = n1 - n > (PANELS - 1) * PACK_COLS;
        int cols;

        width = all ? PANELS * PACK_COLS : PACK_COLS;
        cols = n1 - n < width ? n1 - n : width;
        t.w = matrix_panel(w, n / PACK_COLS);
        for (int r = r0; r < r0 + m; r += t.m) {
            t.m = r0 + m - r < ROWS ? r0 + m - r : ROWS;
            t.x = x->b + r;
            t.y = y + (size_t)r * ldy + n;
            sums_in(init, r, t.m, n, cols, width, sum);
            qtile_table[w->type][all](&t);
            sums_out(sum, r, t.m, n, cols, width, y, ldy);
        }
    }
}
