/* kernels_fma.inc.h: the text that kernels_avx2.c and kernels_avx512.c share,
 * written over 16 lanes (struct v16: one zmm or two ymm registers). Because
 * both families run the same operations in the same order on the same lanes,
 * they give the same bits; a file that includes this one defines struct v16,
 * its operations (v_*) and the tiles of gemm_rows for its registers.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/compute/isa/v16_math.inc.h"

static void isa_vexp(int n, const float *x, float *y)
{
    for (int i = 0; i < n; i += 16)
        v_put(y + i, v_exp(v_get(x + i, n - i)), n - i);
}

static void isa_vtanh(int n, const float *x, float *y)
{
    for (int i = 0; i < n; i += 16)
        v_put(y + i, v_tanh(v_get(x + i, n - i)), n - i);
}

static void isa_vsigmoid(int n, const float *x, float *y)
{
    for (int i = 0; i < n; i += 16) {
        struct v16 d = v_sigmoid_den(v_get(x + i, n - i));

        v_put(y + i, v_div(v_set1(1.0f), d), n - i);
    }
}

/* --- gates: a sigmoid times a tanh shares one division --- */

static void isa_gates4(int m, int H, int j0, int j1, const float *a, size_t lda,
                       float *c, size_t ldc, float *h, size_t ldh)
{
    const struct v16 two = v_set1(2.0f);

    for (int r = 0; r < m; r++, a += lda, c += ldc, h += ldh) {
        const float *ai = a, *af = a + H, *ag = af + H, *ao = ag + H;

        for (int j = j0; j < j1; j += 16) {
            int n = j1 - j;
            struct v16 g = v_tanh_num(v_get(ag + j, n));
            struct v16 i = v_sigmoid_den(v_get(ai + j, n));
            struct v16 f = v_sigmoid_den(v_get(af + j, n));
            struct v16 in = v_div(g, v_mul(i, v_add(g, two)));
            struct v16 cell = v_add(v_div(v_get(c + j, n), f), in);
            struct v16 t = v_tanh_num(cell);
            struct v16 o = v_sigmoid_den(v_get(ao + j, n));

            v_put(c + j, cell, n);
            v_put(h + j, v_div(t, v_mul(o, v_add(t, two))), n);
        }
    }
}

static void isa_gates3(int m, int H, int j0, int j1, const float *a, size_t lda,
                       const float *b, size_t ldb, float *h, size_t ldh)
{
    for (int r = 0; r < m; r++, a += lda, b += ldb, h += ldh) {
        const float *ar = a, *az = a + H, *an = az + H;
        const float *br = b, *bz = b + H, *bn = bz + H;

        for (int j = j0; j < j1; j += 16) {
            int n = j1 - j;
            struct v16 rd =
                v_sigmoid_den(v_add(v_get(ar + j, n), v_get(br + j, n)));
            struct v16 zd =
                v_sigmoid_den(v_add(v_get(az + j, n), v_get(bz + j, n)));
            struct v16 new =
                v_tanh(v_add(v_get(an + j, n), v_div(v_get(bn + j, n), rd)));
            struct v16 old = v_get(h + j, n);

            v_put(h + j, v_add(new, v_div(v_sub(old, new), zd)), n);
        }
    }
}

static void isa_act_tanh(int m, int j0, int j1, const float *a, size_t lda,
                         float *h, size_t ldh)
{
    for (int r = 0; r < m; r++)
        isa_vtanh(j1 - j0, a + (size_t)r * lda + j0, h + (size_t)r * ldh + j0);
}

static void isa_act_relu(int m, int j0, int j1, const float *a, size_t lda,
                         float *h, size_t ldh)
{
    for (int r = 0; r < m; r++, a += lda, h += ldh)
        for (int j = j0; j < j1; j += 16)
            v_put(h + j, v_max(v_set1(0.0f), v_get(a + j, j1 - j)), j1 - j);
}

/* --- rows --- */

static void isa_add_to(int n, const float *x, float *y)
{
    for (int i = 0; i < n; i += 16)
        v_put(y + i, v_add(v_get(y + i, n - i), v_get(x + i, n - i)), n - i);
}

static void isa_max_to(int n, const float *x, float *y)
{
    for (int i = 0; i < n; i += 16)
        v_put(y + i, v_max(v_get(x + i, n - i), v_get(y + i, n - i)), n - i);
}

static void isa_scale(int n, float s, float *x)
{
    for (int i = 0; i < n; i += 16)
        v_put(x + i, v_mul(v_get(x + i, n - i), v_set1(s)), n - i);
}

static void isa_divide(int n, float s, float *x)
{
    for (int i = 0; i < n; i += 16)
        v_put(x + i, v_div(v_get(x + i, n - i), v_set1(s)), n - i);
}

/* Four sets of lanes hide the latency; a maximum does not depend on order. */
static float isa_row_max(int n, const float *x)
{
    const struct v16 low = v_set1(-INFINITY);
    struct v16 a = low, b = low, c = low, d = low;
    int i = 0;

    for (; i + 64 <= n; i += 64) {
        a = v_max(v_load(x + i), a);
        b = v_max(v_load(x + i + 16), b);
        c = v_max(v_load(x + i + 32), c);
        d = v_max(v_load(x + i + 48), d);
    }
    for (; i + 16 <= n; i += 16)
        a = v_max(v_load(x + i), a);
    if (i < n)
        b = v_max(v_load_part(x + i, n - i, -INFINITY), b);
    return v_tree_max(v_max(v_max(a, b), v_max(c, d)));
}

static float isa_sum_exp(int n, const float *x, float max)
{
    const struct v16 m = v_set1(max);
    struct v16 sum = v_set1(0.0f);
    int i = 0;

    for (; i + 16 <= n; i += 16)
        sum = v_add(sum, v_exp(v_sub(v_load(x + i), m)));
    if (i < n) {
        struct v16 rest = v_load_part(x + i, n - i, -INFINITY);

        sum = v_add(sum, v_exp(v_sub(rest, m)));
    }
    return v_tree_add(sum);
}

static void isa_softmax(int n, const float *x, float max, float sum, float *y)
{
    const struct v16 m = v_set1(max), s = v_set1(sum);

    for (int i = 0; i < n; i += 16) {
        struct v16 e = v_exp(v_sub(v_get(x + i, n - i), m));

        v_put(y + i, v_div(e, s), n - i);
    }
}

/* 0 * x is 0 for finite x and NaN otherwise, and NaN stays in the sum. */
static int isa_all_finite(int n, const float *x)
{
    const struct v16 zero = v_set1(0.0f);
    struct v16 a = zero, b = zero, c = zero, d = zero;
    int i = 0;

    for (; i + 64 <= n; i += 64) {
        a = v_fma(v_load(x + i), zero, a);
        b = v_fma(v_load(x + i + 16), zero, b);
        c = v_fma(v_load(x + i + 32), zero, c);
        d = v_fma(v_load(x + i + 48), zero, d);
    }
    for (; i < n; i += 16)
        a = v_fma(v_get(x + i, n - i), zero, a);
    return v_tree_add(v_add(v_add(a, b), v_add(c, d))) == 0.0f;
}

/* --- widening --- */

#define WIDEN(name, widened)                                                   \
    static void name(size_t n, const uint16_t *x, float *y)                    \
    {                                                                          \
        uint16_t rest[16] = {0};                                               \
        size_t i = 0;                                                          \
        for (; i + 16 <= n; i += 16)                                           \
            v_store(y + i, widened(x + i));                                    \
        if (i < n) {                                                           \
            memcpy(rest, x + i, (n - i) * sizeof *x);                          \
            v_store_part(y + i, widened(rest), (int)(n - i));                  \
        }                                                                      \
    }
WIDEN(isa_widen_bf16, v_from_bf16)
WIDEN(isa_widen_f16, v_from_f16)

/* --- gemm_rows ---
 * A tile is `rows` rows times `panels` panels of 16 columns, all of whose sums
 * stay in registers while the inner dimension runs. Every tile adds in the
 * same order, so its shape never shows in the result. */

/* Inner indices of a block: its weights for one group of panels stay in the
 * first and second cache while all row tiles pass. */
#define K_BLOCK 384
/* From this many rows on, the tile fetches weights ahead by itself; with fewer
 * the product waits for memory anyway, and the CPU's own prefetch is better. */
#define PREFETCH_ROWS 3
#define AHEAD (16 * PACK_COLS)

struct tile {
    const float *w;    /* first panel [K][16], at the first k of this block */
    const float *next; /* weights to bring near meanwhile, a line per k */
    size_t panel;      /* floats from one panel to the next */
    int K;             /* inner indices of this block */
    const float *x;    /* first row, at the first k of this block */
    size_t ldx;
    const float *from[ROWS_MAX]; /* what the sums start from, whole panels */
    float *to;                   /* the sums of the first row, likewise */
    size_t ldto;
};

/* One k of a tile of more rows than panels: the weights stay in registers.
 * This and the next two are always inlined with constant rows and panels, so
 * that the loops unroll and the sums live in registers. */
static inline __attribute__((always_inline)) void
tile_step_tall(const int rows, const int panels, const float *w, size_t panel,
               const float *x, size_t ldx, struct v16 sum[][PANELS_MAX])
{
    struct v16 wk[PANELS_MAX];

#pragma GCC unroll 16
    for (int j = 0; j < panels; j++)
        wk[j] = v_keep(v_load(w + (size_t)j * panel));
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++) {
        struct v16 xk = v_set1(x[(size_t)i * ldx]);

#pragma GCC unroll 16
        for (int j = 0; j < panels; j++)
            sum[i][j] = v_fma(xk, wk[j], sum[i][j]);
    }
}

/* One k of a tile of as many panels as rows or more: the inputs stay. */
static inline __attribute__((always_inline)) void
tile_step_wide(const int rows, const int panels, const float *w, size_t panel,
               const float *x, size_t ldx, struct v16 sum[][PANELS_MAX])
{
    struct v16 xk[ROWS_MAX];

#pragma GCC unroll 16
    for (int i = 0; i < rows; i++)
        xk[i] = v_set1(x[(size_t)i * ldx]);
#pragma GCC unroll 16
    for (int j = 0; j < panels; j++) {
        struct v16 wk = v_load(w + (size_t)j * panel);

        if (rows > 1)
            wk = v_keep(wk);
#pragma GCC unroll 16
        for (int i = 0; i < rows; i++)
            sum[i][j] = v_fma(xk[i], wk, sum[i][j]);
    }
}

static inline __attribute__((always_inline)) void
tile_run(const struct tile *t, const int rows, const int panels)
{
    struct v16 sum[ROWS_MAX][PANELS_MAX];
    const float *w = t->w, *x = t->x, *next = t->next;
    const size_t ldx = t->ldx, panel = t->panel;

#pragma GCC unroll 16
    for (int i = 0; i < rows; i++) {
#pragma GCC unroll 16
        for (int j = 0; j < panels; j++)
            sum[i][j] = v_load(t->from[i] + 16 * j);
    }
    for (int k = t->K; k > 0; k--, w += 16, x++, next += 16) {
        if (rows >= PREFETCH_ROWS)
            _mm_prefetch((const void *)next, _MM_HINT_T1);
#pragma GCC unroll 16
        for (int j = 0; j < panels && rows >= PREFETCH_ROWS; j++)
            _mm_prefetch((const void *)(w + (size_t)j * panel + AHEAD),
                         _MM_HINT_T0);
        if (rows <= panels)
            tile_step_wide(rows, panels, w, panel, x, ldx, sum);
        else
            tile_step_tall(rows, panels, w, panel, x, ldx, sum);
    }
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++) {
#pragma GCC unroll 16
        for (int j = 0; j < panels; j++)
            v_store(t->to + (size_t)i * t->ldto + 16 * j, sum[i][j]);
    }
}

/* One function per shape of the family's list, and the table to find it:
 * tile_table[rows][log2 of panels]. */
#define TILE_FUNCTION(rows, log_panels)                                        \
    static void tile_##rows##_##log_panels(const struct tile *t)               \
    {                                                                          \
        tile_run(t, rows, 1 << log_panels);                                    \
    }
#define TILE_ENTRY(rows, log_panels)                                           \
    [rows][log_panels] = tile_##rows##_##log_panels,

TILES(TILE_FUNCTION)

typedef void tile_fn(const struct tile *t);
static tile_fn *const tile_table[ROWS_MAX + 1][4] = {TILES(TILE_ENTRY)};

/* The widest group for a number of rows. */
static int widest_group(int rows)
{
    int lp = 3;

    while (!tile_table[rows][lp])
        lp--;
    return lp;
}

static const float zeros[PANELS_MAX * 16];

/* One call of gemm_rows. */
struct gemm {
    const struct packed *W;
    const float *x;
    size_t ldx;
    const float *const *init;
    float *y;
    size_t ldy;
};

/* The part of a call that one tile computes: columns n to n + cols, inner
 * indices k0 to k1, the i-th of `tiles` row tiles. */
struct part {
    int row, rows, n, cols, log_panels, k0, k1, i, tiles;
};

static const float *part_start(const struct gemm *g, int row,
                               const struct part *p)
{
    if (p->k0 > 0) /* an earlier block left its sums in y */
        return g->y + (size_t)row * g->ldy + p->n;
    return g->init ? g->init[row] + p->n : zeros;
}

/* What a tile brings to the second cache: of several row tiles the first ones
 * share the next group of panels, a panel each; the others, and a tile that is
 * alone, leave it to the CPU. */
static const float *part_next(const struct tile *t, const struct part *p)
{
    int panels = 1 << p->log_panels;

    if (p->tiles == 1 || p->i >= panels)
        return t->w + AHEAD;
    return t->w + (size_t)(panels + p->i) * t->panel;
}

static void part_run(const struct gemm *g, const struct part *p)
{
    float edge[ROWS_MAX * PANELS_MAX * 16];
    const size_t width = (size_t)16 << p->log_panels;
    const size_t bytes = (size_t)p->cols * sizeof *edge;
    const int whole = (size_t)p->cols == width;
    struct tile t = {
        .w = g->W->data + (size_t)p->n * (size_t)g->W->K + (size_t)p->k0 * 16,
        .panel = (size_t)g->W->K * 16,
        .K = p->k1 - p->k0,
        .x = g->x + (size_t)p->row * g->ldx + p->k0,
        .ldx = g->ldx,
        .to = whole ? g->y + (size_t)p->row * g->ldy + p->n : edge,
        .ldto = whole ? g->ldy : width,
    };

    t.next = part_next(&t, p);
    for (int i = 0; i < p->rows; i++) {
        t.from[i] = part_start(g, p->row + i, p);
        if (!whole) {
            memset(edge + (size_t)i * width, 0, width * sizeof *edge);
            memcpy(edge + (size_t)i * width, t.from[i], bytes);
            t.from[i] = edge + (size_t)i * width;
        }
    }
    tile_table[p->rows][p->log_panels](&t);
    for (int i = 0; i < p->rows && !whole; i++)
        memcpy(g->y + (size_t)(p->row + i) * g->ldy + p->n,
               edge + (size_t)i * width, bytes);
}

/* Fetch what the sums of the tile after p start from: rows of a folded table
 * lie far away and in no order, and a tile cannot begin without its own. */
static void fetch_next(const struct gemm *g, const struct part *p, int m,
                       int n1)
{
    const int last = p->row + p->rows == m; /* then on to the next columns */
    const int row = last ? 0 : p->row + p->rows;
    const int n = last ? p->n + p->cols : p->n;
    const int end = n1 - n < p->cols ? n1 : n + p->cols;

    if (!g->init || (last ? p->k1 < g->W->K : p->k0 > 0))
        return;
    /* Heights of row tiles differ by one at most. */
    for (int i = 0; i <= p->rows && row + i < m; i++)
        for (int j = n; j < end; j += 16)
            __builtin_prefetch(g->init[row + i] + j);
}

static void isa_gemm_rows(const struct packed *W, int n0, int n1, int m,
                          const float *x, size_t ldx, const float *const *init,
                          float *y, size_t ldy)
{
    const struct gemm g = {W, x, ldx, init, y, ldy};
    /* Row tiles of nearly equal height: 16 rows are 8 + 8, not 14 + 2. */
    const int tiles = (m + ROWS_MAX - 1) / ROWS_MAX;
    const int k_block = tiles > 1 && W->K > K_BLOCK ? K_BLOCK : W->K;
    struct part p = {.n = n0, .tiles = tiles};

    if (m < 1)
        return;
    p.log_panels = widest_group((m + tiles - 1) / tiles);
    for (; p.n < n1; p.n += p.cols) {
        while (16 << p.log_panels >= n1 - p.n + 16)
            p.log_panels--;
        p.cols = 16 << p.log_panels;
        if (p.cols > n1 - p.n)
            p.cols = n1 - p.n;
        for (p.k0 = 0; p.k0 < W->K; p.k0 = p.k1) {
            p.k1 = W->K - p.k0 < k_block ? W->K : p.k0 + k_block;
            for (p.i = 0; p.i < tiles; p.i++) {
                p.row = (int)((int64_t)m * p.i / tiles);
                p.rows = (int)((int64_t)m * (p.i + 1) / tiles) - p.row;
                fetch_next(&g, &p, m, n1);
                part_run(&g, &p);
            }
        }
    }
}
