/* kernels_attn_fma.inc.h: attention, norms, rotary positions and activations
 * over 16 lanes: the text that kernels_attn_avx2.c and kernels_attn_avx512.c
 * share, so that both give the same bits. A file that includes this one
 * defines struct v16 and its operations, ATTN(name) and the tiles:
 *
 *   SCORE_TILES(X)  X(rows, blocks): query rows times blocks of keys, all sums
 *                   in registers; SCORE_ROWS, SCORE_BLOCKS the largest. Every
 *                   row count up to SCORE_ROWS has tiles of score_blocks[rows]
 *                   blocks and of each smaller power of two.
 *   MIX_TILES(X)    X(rows, log2 of vectors): rows times vectors of 16 columns
 *                   of the output; MIX_ROWS, MIX_LOG the largest.
 *
 * Every tile adds in the same order, so its shape never shows in the result.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/compute/isa/v16_math.inc.h"

/* With fewer rows (decoding) attention waits for memory: blocks lie in pages
 * apart from each other, so that the CPU's own prefetch begins each of them
 * anew, and the tiles fetch the next ones. */
#define FETCH_ROWS 5

/* --- attn_scores --- */

struct score_tile {
    int d;
    int ahead; /* blocks behind the tile's that may be fetched */
    const float *q;
    size_t ldq;
    const float *const *kb;
    float scale;
    float *s;
    size_t lds;
};

static inline __attribute__((always_inline)) void
score_run(const struct score_tile *t, const int rows, const int blocks)
{
    struct v16 sum[SCORE_ROWS][SCORE_BLOCKS], key[SCORE_BLOCKS];
    const float *q = t->q, *k[SCORE_BLOCKS], *next[SCORE_BLOCKS];
    const size_t ldq = t->ldq;

#pragma GCC unroll 16
    for (int b = 0; b < blocks; b++)
        k[b] = t->kb[b];
#pragma GCC unroll 16
    for (int b = 0; b < blocks; b++)
        next[b] = t->kb[b < t->ahead ? b + blocks : b];
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++) {
#pragma GCC unroll 16
        for (int b = 0; b < blocks; b++)
            sum[r][b] = v_set1(0.0f);
    }
    for (size_t i = 0; i < (size_t)t->d; i++) {
#pragma GCC unroll 16
        for (int b = 0; b < blocks && rows < FETCH_ROWS; b++)
            __builtin_prefetch(next[b] + 16 * i);
#pragma GCC unroll 16
        for (int b = 0; b < blocks; b++)
            key[b] = v_keep(v_load(k[b] + 16 * i));
#pragma GCC unroll 16
        for (int r = 0; r < rows; r++) {
            struct v16 x = v_set1(q[(size_t)r * ldq + i]);

#pragma GCC unroll 16
            for (int b = 0; b < blocks; b++)
                sum[r][b] = v_fma(x, key[b], sum[r][b]);
        }
    }
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++) {
#pragma GCC unroll 16
        for (int b = 0; b < blocks; b++)
            v_store(t->s + (size_t)r * t->lds + 16 * b,
                    v_mul(sum[r][b], v_set1(t->scale)));
    }
}

#define SCORE_FUNCTION(rows, blocks)                                           \
    static void score_##rows##_##blocks(const struct score_tile *t)            \
    {                                                                          \
        score_run(t, rows, blocks);                                            \
    }
#define SCORE_ENTRY(rows, blocks) [rows][blocks] = score_##rows##_##blocks,

SCORE_TILES(SCORE_FUNCTION)

typedef void score_fn(const struct score_tile *t);
static score_fn *const score_table[SCORE_ROWS + 1][SCORE_BLOCKS + 1] = {
    SCORE_TILES(SCORE_ENTRY)};

/* `blocks` blocks of keys with the tiles that there are for so many rows. */
static void score_some(struct score_tile *t, int rows, int blocks)
{
    for (int n; blocks > 0; blocks -= n) {
        n = score_blocks[rows];
        while (n > blocks)
            n /= 2;
        t->ahead -= n;
        score_table[rows][n](t);
        t->s += (size_t)n * 16;
        t->kb += n;
    }
}

/* Blocks outside, rows inside: the keys stay in the first cache. */
void ATTN(attn_scores)(int m, int d, const float *q, size_t ldq,
                       const float *const *kb, int n_blocks, float scale,
                       float *s, size_t lds)
{
    struct score_tile t = {.d = d, .ldq = ldq, .scale = scale, .lds = lds};
    int tiles = (m + SCORE_ROWS - 1) / SCORE_ROWS, step;

    for (int b = 0; b < n_blocks && m > 0; b += step) {
        step = score_blocks[(m + tiles - 1) / tiles];
        step = n_blocks - b < step ? n_blocks - b : step;
        for (int i = 0; i < tiles; i++) {
            int row = m * i / tiles, rows = m * (i + 1) / tiles - row;

            t.q = q + (size_t)row * ldq;
            t.s = s + (size_t)row * lds + (size_t)b * 16;
            t.kb = kb + b;
            t.ahead = n_blocks - b;
            score_some(&t, rows, step);
        }
    }
}

/* --- attn_mix --- */

/* Keys that stay in the first cache while the row tiles pass. */
#define MIX_KEYS 64

struct mix_tile {
    int last; /* block of the last key */
    size_t dp;
    const float *p;
    size_t ldp;
    const float *const *vb;
    int from, to; /* keys */
    int column;
    float *y;
    size_t ldy;
};

static inline __attribute__((always_inline)) void
mix_run(const struct mix_tile *t, const int rows, const int vectors)
{
    struct v16 sum[MIX_ROWS][1 << MIX_LOG], value[1 << MIX_LOG];
    const size_t ldp = t->ldp, dp = t->dp;
    float *y = t->y + t->column;

#pragma GCC unroll 16
    for (int r = 0; r < rows; r++) {
#pragma GCC unroll 16
        for (int c = 0; c < vectors; c++)
            sum[r][c] = v_load(y + (size_t)r * t->ldy + 16 * c);
    }
    for (int i = t->from, end; i < t->to; i = end) {
        const float *v = t->vb[i / 16] + (size_t)(i % 16) * dp + t->column;
        const float *next = t->vb[i / 16 < t->last ? i / 16 + 1 : i / 16];
        const float *p = t->p + i;

        next += (size_t)(i % 16) * dp + t->column;
        end = i / 16 * 16 + 16 < t->to ? i / 16 * 16 + 16 : t->to;
        for (int left = end - i; left > 0; left--, v += dp, p++, next += dp) {
#pragma GCC unroll 16
            for (int c = 0; c < vectors && rows < FETCH_ROWS; c++)
                __builtin_prefetch(next + 16 * c);
#pragma GCC unroll 16
            for (int c = 0; c < vectors; c++)
                value[c] = v_keep(v_load(v + 16 * c));
#pragma GCC unroll 16
            for (int r = 0; r < rows; r++) {
                struct v16 x = v_set1(p[(size_t)r * ldp]);

#pragma GCC unroll 16
                for (int c = 0; c < vectors; c++)
                    sum[r][c] = v_fma(x, value[c], sum[r][c]);
            }
        }
    }
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++) {
#pragma GCC unroll 16
        for (int c = 0; c < vectors; c++)
            v_store(y + (size_t)r * t->ldy + 16 * c, sum[r][c]);
    }
}

#define MIX_FUNCTION(rows, log)                                                \
    static void mix_##rows##_##log(const struct mix_tile *t)                   \
    {                                                                          \
        mix_run(t, rows, 1 << log);                                            \
    }
#define MIX_ENTRY(rows, log) [rows][log] = mix_##rows##_##log,

MIX_TILES(MIX_FUNCTION)

typedef void mix_fn(const struct mix_tile *t);
static mix_fn *const mix_table[MIX_ROWS + 1][MIX_LOG + 1] = {
    MIX_TILES(MIX_ENTRY)};

static void mix_columns(struct mix_tile *t, int rows, int from, int to)
{
    int log = MIX_LOG;

    t->from = from;
    t->to = to;
    for (t->column = 0; t->column < (int)t->dp; t->column += 16 << log) {
        while (t->column + (16 << log) > (int)t->dp)
            log--;
        mix_table[rows][log](t);
    }
}

/* `rows` neighbours, keys within from .. to-1: those that all rows see go
 * through one tile, those before and after it row by row. */
static void mix_rows(const struct mix_tile *of, int rows, const int *lo,
                     const int *hi, int from, int to)
{
    struct mix_tile one = *of;
    struct mix_tile all = *of;
    int first = from, last = to;

    for (int r = 0; r < rows; r++) {
        first = lo[r] > first ? lo[r] : first;
        last = hi[r] < last ? hi[r] : last;
    }
    for (int r = 0; r < rows; r++) {
        int a = lo[r] > from ? lo[r] : from, b = hi[r] < to ? hi[r] : to;

        one.p = of->p + (size_t)r * of->ldp;
        one.y = of->y + (size_t)r * of->ldy;
        if (first >= last && a < b)
            mix_columns(&one, 1, a, b);
        else if (a < first && first < last)
            mix_columns(&one, 1, a, first);
    }
    if (first >= last)
        return;
    mix_columns(&all, rows, first, last);
    for (int r = 0; r < rows; r++) {
        int b = hi[r] < to ? hi[r] : to;

        one.p = of->p + (size_t)r * of->ldp;
        one.y = of->y + (size_t)r * of->ldy;
        if (last < b)
            mix_columns(&one, 1, last, b);
    }
}

void ATTN(attn_mix)(int m, int d, const float *p, size_t ldp, const int *lo,
                    const int *hi, const float *const *vb, float *y, size_t ldy)
{
    struct mix_tile t = {.dp = ATTN_ROW(d), .ldp = ldp, .vb = vb, .ldy = ldy};
    int tiles = (m + MIX_ROWS - 1) / MIX_ROWS, from = INT32_MAX, to = 0;

    for (int r = 0; r < m; r++) {
        memset(y + (size_t)r * ldy, 0, t.dp * sizeof *y);
        from = lo[r] < from ? lo[r] : from;
        to = hi[r] > to ? hi[r] : to;
    }
    t.last = (to - 1) / 16;
    for (int k = from; k < to; k += MIX_KEYS) {
        int end = to - k < MIX_KEYS ? to : k + MIX_KEYS;

        for (int i = 0; i < tiles; i++) {
            int row = m * i / tiles, rows = m * (i + 1) / tiles - row;

            t.p = p + (size_t)row * ldp;
            t.y = y + (size_t)row * ldy;
            mix_rows(&t, rows, lo + row, hi + row, k, end);
        }
    }
}

/* --- attn_softmax --- */

void ATTN(attn_softmax)(int lo, int hi, float cap, float *s)
{
    const int a = lo / 16 * 16, b = (hi + 15) / 16 * 16;
    struct v16 top = v_set1(-INFINITY), sum = v_set1(0.0f);

    for (int i = a; i < b && cap > 0.0f; i += 16) {
        struct v16 x = v_tanh(v_div(v_load(s + i), v_set1(cap)));

        v_store(s + i, v_mul(x, v_set1(cap)));
    }
    for (int i = a; i < lo; i++)
        s[i] = -INFINITY;
    for (int i = hi; i < b; i++)
        s[i] = -INFINITY;
    for (int i = a; i < b; i += 16)
        top = v_max(v_load(s + i), top);
    top = v_set1(v_tree_max(top));
    for (int i = a; i < b; i += 16) {
        struct v16 x = v_exp(v_sub(v_load(s + i), top));

        v_store(s + i, x);
        sum = v_add(sum, x);
    }
    sum = v_set1(1.0f / v_tree_add(sum));
    for (int i = a; i < b; i += 16)
        v_store(s + i, v_mul(v_load(s + i), sum));
}

/* --- norms --- */

void ATTN(rms_norm)(int n, const float *x, const float *w, float eps, float *y)
{
    struct v16 sum = v_set1(0.0f), r;

    for (int i = 0; i < n; i += 16) {
        struct v16 v = v_get(x + i, n - i);

        sum = v_fma(v, v, sum);
    }
    r = v_set1(1.0f / sqrtf(v_tree_add(sum) / (float)n + eps));
    for (int i = 0; i < n; i += 16) {
        struct v16 v = v_mul(v_get(x + i, n - i), r);

        v_put(y + i, v_mul(v, v_get(w + i, n - i)), n - i);
    }
}

void ATTN(layer_norm)(int n, const float *x, const float *w, const float *b,
                      float eps, float *y)
{
    struct v16 sum = v_set1(0.0f), mean, r;
    float m;

    for (int i = 0; i < n; i += 16)
        sum = v_add(sum, v_get(x + i, n - i));
    m = v_tree_add(sum) / (float)n;
    mean = v_set1(m);
    sum = v_set1(0.0f);
    for (int i = 0; i < n; i += 16) {
        struct v16 v =
            n - i < 16 ? v_load_part(x + i, n - i, m) : v_load(x + i);

        v = v_sub(v, mean);
        sum = v_fma(v, v, sum);
    }
    r = v_set1(1.0f / sqrtf(v_tree_add(sum) / (float)n + eps));
    for (int i = 0; i < n; i += 16) {
        struct v16 v = v_mul(v_sub(v_get(x + i, n - i), mean), r);
        struct v16 add = b ? v_get(b + i, n - i) : v_set1(0.0f);

        v_put(y + i, v_fma(v, v_get(w + i, n - i), add), n - i);
    }
}

/* --- rotary positions: plain C, as the compiler vectorises it --- */

void ATTN(rope)(int n_rot, int adjacent, const float *cs, float *x)
{
    const int half = n_rot / 2;
    const float *s = cs + half;

    for (int i = 0; i < half && adjacent; i++) {
        float a = x[2 * i], b = x[2 * i + 1];

        x[2 * i] = a * cs[i] - b * s[i];
        x[2 * i + 1] = b * cs[i] + a * s[i];
    }
    for (int i = 0; i < half && !adjacent; i++) {
        float a = x[i], b = x[half + i];

        x[i] = a * cs[i] - b * s[i];
        x[half + i] = b * cs[i] + a * s[i];
    }
}

/* --- activations: see kernels_isa.h --- */

static inline struct v16 v_gelu_tanh(struct v16 x)
{
    struct v16 z = v_fma(v_set1(GELU_B), v_mul(x, x), v_set1(GELU_A));

    return v_div(x, v_sigmoid_den(v_mul(x, z)));
}

static inline struct v16 v_gelu_erf(struct v16 x)
{
    const struct v16 zero = v_set1(0.0f), one = v_set1(1.0f);
    struct v16 u = v_max(v_sub(zero, x), x);
    struct v16 t = v_div(one, v_fma(v_set1(PHI_P), u, one));
    struct v16 q = v_fma(v_set1(PHI_C9), t, v_set1(PHI_C8));

    q = v_fma(q, t, v_set1(PHI_C7));
    q = v_fma(q, t, v_set1(PHI_C6));
    q = v_fma(q, t, v_set1(PHI_C5));
    q = v_fma(q, t, v_set1(PHI_C4));
    q = v_fma(q, t, v_set1(PHI_C3));
    q = v_fma(q, t, v_set1(PHI_C2));
    q = v_fma(q, t, v_set1(PHI_C1));
    q = v_mul(v_mul(q, t), v_exp(v_mul(v_mul(u, u), v_set1(-0.5f))));
    return v_sub(v_max(zero, x), v_mul(u, q));
}

void ATTN(gelu_tanh)(int n, const float *x, float *y)
{
    for (int i = 0; i < n; i += 16)
        v_put(y + i, v_gelu_tanh(v_get(x + i, n - i)), n - i);
}

void ATTN(gelu_erf)(int n, const float *x, float *y)
{
    for (int i = 0; i < n; i += 16)
        v_put(y + i, v_gelu_erf(v_get(x + i, n - i)), n - i);
}

void ATTN(silu_mul)(int n, const float *g, const float *u, float *y)
{
    for (int i = 0; i < n; i += 16) {
        struct v16 x = v_get(g + i, n - i);

        x = v_div(x, v_sigmoid_den(x));
        v_put(y + i, v_mul(x, v_get(u + i, n - i)), n - i);
    }
}

void ATTN(gelu_mul)(int n, const float *g, const float *u, float *y)
{
    for (int i = 0; i < n; i += 16) {
        struct v16 x = v_gelu_tanh(v_get(g + i, n - i));

        v_put(y + i, v_mul(x, v_get(u + i, n - i)), n - i);
    }
}
