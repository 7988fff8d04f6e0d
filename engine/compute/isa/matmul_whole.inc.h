/* matmul_whole.inc.h: the fast products of I8 weights and activations with one
 * scale per row, over struct c64, i16 and v16; included behind
 * matmul_fma.inc.h. All of K is one sum of whole numbers, so a tile of rows and
 * panels keeps its sums in registers: each weight is read once for its rows,
 * each activation once for its panels, and what is left of fp32 is one term an
 * output. A family defines WHOLE_PANELS, those of a tile, WHOLE_ROWS, the
 * most rows of one, and WHOLE_TILES, all numbers of rows from 2 on. One row
 * alone goes from panel to panel, so that the weights are one stream, and has
 * WHOLE_CHAINS sums a panel, or it would wait for each product. Of several
 * tiles of rows each fetches one of the next panels.
 *
 * SPDX-License-Identifier: MIT */

#define WHOLE_CHAINS 4
#define WHOLE_AHEAD 4096 /* bytes: how far ahead one row fetches */

struct wtile {
    const uint8_t *w;     /* first panel */
    const uint8_t *ahead; /* a panel that is fetched meanwhile */
    size_t panel;
    int groups, cols;
    const int8_t *q; /* first row */
    size_t ldq;
    const struct qwhole *row;
    const float *const *init; /* of the first row, or NULL */
    int n;                    /* first column, in init */
    float *y;
    size_t ldy;
};

/* Panel j of row i: its sums become outputs. */
static inline __attribute__((always_inline)) void
whole_out(const struct wtile *t, const int i, const int j, struct i16 dot)
{
    const float *s =
        (const float *)(const void *)(t->w + (size_t)j * t->panel +
                                      (size_t)t->groups * GROUP_BYTES);
    const float *from = t->init ? t->init[i] + t->n + j * PACK_COLS : NULL;
    float *y = t->y + (size_t)i * t->ldy + j * PACK_COLS;
    const int cols = t->cols - j * PACK_COLS;
    struct v16 u = v_mul(v_from_ints(dot), v_load(s)), sum = v_set1(0.0f);

    if (from)
        sum = cols < PACK_COLS ? v_load_part(from, cols, 0.0f) : v_load(from);
    u = v_fma(u, v_set1(t->row[i].scale), sum);
    if (cols < PACK_COLS)
        v_store_part(y, u, cols);
    else
        v_store(y, u);
}

static inline __attribute__((always_inline)) void
whole_tile(const int rows, const int panels, const struct wtile *t)
{
    struct i16 dot[WHOLE_ROWS][WHOLE_PANELS];

#pragma GCC unroll 8
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 8
        for (int j = 0; j < panels; j++) {
            dot[i][j] = i_set1(t->row[i].below);
            _mm_prefetch((const void *)(t->y + (size_t)i * t->ldy +
                                        (size_t)j * PACK_COLS),
                         _MM_HINT_T0);
        }
    for (int g = 0; g < t->groups; g++) {
        struct c64 c[WHOLE_PANELS];

        _mm_prefetch((const void *)(t->ahead + (size_t)g * GROUP_BYTES),
                     _MM_HINT_T1);
#pragma GCC unroll 8
        for (int j = 0; j < panels; j++)
            c[j] = c_keep(
                c_load(t->w + (size_t)j * t->panel + (size_t)g * GROUP_BYTES));
#pragma GCC unroll 8
        for (int i = 0; i < rows; i++) {
            const struct four q = q_load(t->q + (size_t)i * t->ldq + 4 * g);

#pragma GCC unroll 8
            for (int j = 0; j < panels; j++)
                dot[i][j] = i_dot(dot[i][j], c[j], q, 8);
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 8
        for (int j = 0; j < panels; j++)
            whole_out(t, i, j, dot[i][j]);
}

/* One row of one panel. A block has eight groups: the chains divide it. */
static void whole_one(const struct wtile *t)
{
    struct i16 dot[WHOLE_CHAINS];

    dot[0] = i_set1(t->row->below);
#pragma GCC unroll 8
    for (int h = 1; h < WHOLE_CHAINS; h++)
        dot[h] = i_zero();
    for (int g = 0; g < t->groups; g += WHOLE_CHAINS)
#pragma GCC unroll 8
        for (int h = 0; h < WHOLE_CHAINS; h++) {
            const uint8_t *p = t->w + (size_t)(g + h) * GROUP_BYTES;

            _mm_prefetch((const void *)(p + WHOLE_AHEAD), _MM_HINT_T0);
            dot[h] = i_dot(dot[h], c_load(p), q_load(t->q + 4 * (g + h)), 8);
        }
#pragma GCC unroll 8
    for (int h = 1; h < WHOLE_CHAINS; h++)
        dot[0] = i_add(dot[0], dot[h]);
    whole_out(t, 0, 0, dot[0]);
}

#define WHOLE_TILE(rows)                                                       \
    static void whole_part_##rows(const struct wtile *t)                       \
    {                                                                          \
        whole_tile(rows, 1, t);                                                \
    }                                                                          \
    static void whole_all_##rows(const struct wtile *t)                        \
    {                                                                          \
        whole_tile(rows, WHOLE_PANELS, t);                                     \
    }
#define WHOLE_ENTRY(rows) [rows] = {whole_part_##rows, whole_all_##rows},
WHOLE_TILES(WHOLE_TILE)

typedef void whole_fn(const struct wtile *t);
static whole_fn *const whole_table[WHOLE_ROWS + 1][2] = {
    [1] = {whole_one, whole_one}, WHOLE_TILES(WHOLE_ENTRY)};

/* Rows of like number: 7 are 4 and 3, not 6 and 1. */
static int whole_rows_of(int left)
{
    const int tiles = (left + WHOLE_ROWS - 1) / WHOLE_ROWS;

    return (left + tiles - 1) / tiles;
}

static void rows_whole(const struct matrix *w, int n0, int n1, int r0, int m,
                       const struct qrows *x, const float *const *init,
                       float *y, size_t ldy)
{
    struct wtile t = {.panel = w->panel,
                      .groups = w->K / 4,
                      .ldq = (size_t)x->blocks * QBLOCK,
                      .ldy = ldy};

    for (int n = n0, width; n < n1; n += width) {
        const int all = m > 1 && n1 - n > (WHOLE_PANELS - 1) * PACK_COLS;

        width = all ? WHOLE_PANELS * PACK_COLS : PACK_COLS;
        t.cols = n1 - n < width ? n1 - n : width;
        t.w = matrix_panel(w, n / PACK_COLS);
        t.n = n;
        t.ahead = t.w + w->panel * WHOLE_PANELS;
        for (int r = r0, rows; r < r0 + m; r += rows, t.ahead += w->panel) {
            rows = whole_rows_of(r0 + m - r);
            t.q = x->q + (size_t)r * t.ldq;
            t.row = x->whole + r;
            t.init = init ? init + r : NULL;
            t.y = y + (size_t)r * ldy + n;
            whole_table[rows][all](&t);
        }
    }
}
