/* matmul_row.inc.h: the exact product of one row, over struct c64 and v16: a
 * weight is widened in a register, used once and forgotten. ROW_PANELS panels
 * at a time, so that as many sums hide the latency of the FMAs. The same order
 * per output as gemm_rows over widened weights, so the same bits.
 *
 * SPDX-License-Identifier: MIT */

#define ROW_AHEAD 1024 /* bytes: how far ahead each panel is fetched */

struct row {
    const uint8_t *w; /* first panel */
    size_t panel;
    int K;
    const float *x;
    float *sum; /* [panels * 16] */
};

/* Panel j's vector at p; its line some way ahead is brought near. */
static inline __attribute__((always_inline)) struct c64
row_load(const uint8_t *p)
{
    _mm_prefetch((const void *)(p + ROW_AHEAD), _MM_HINT_T0);
    return c_load(p);
}

static inline __attribute__((always_inline)) void
row_blocks(const struct layout l, const int panels, const struct row *t)
{
    const size_t code = layout_code_bytes(&l);
    const size_t meta = layout_meta_at(&l, t->K / QBLOCK);
    const struct v16 zero = v_set1(0x1p23f + (float)l.off);
    const float *x = t->x;
    struct v16 sum[ROW_PANELS];

#pragma GCC unroll 8
    for (int j = 0; j < panels; j++)
        sum[j] = v_load(t->sum + j * PACK_COLS);
    for (int b = 0; b < t->K / QBLOCK; b++) {
        const uint8_t *p = t->w + (size_t)b * code;
        struct v16 s[ROW_PANELS][2], o[ROW_PANELS][2];

#pragma GCC unroll 8
        for (int j = 0; j < panels; j++) {
            const uint8_t *w = p + (size_t)j * t->panel;

#pragma GCC unroll 8
            for (size_t i = 0; i < code; i += 64)
                _mm_prefetch((const void *)(w + ROW_AHEAD + i), _MM_HINT_T0);
            block_scales(l, t->w + (size_t)j * t->panel + meta, b, s[j], o[j]);
        }
#pragma GCC unroll 8
        for (int g = 0; g < GROUPS; g++, x += 4) {
            const int h = l.subs > 1 ? g / (GROUPS / 2) : 0;
            struct c64 c[ROW_PANELS];

#pragma GCC unroll 8
            for (int j = 0; j < panels; j++)
                c[j] = c_keep(block_group(l, g, p + (size_t)j * t->panel));
#pragma GCC unroll 4
            for (unsigned i = 0; i < 4; i++) {
                const struct v16 xk = v_set1(x[i]);

#pragma GCC unroll 8
                for (int j = 0; j < panels; j++)
                    sum[j] = v_fma(
                        xk, group_weights(l, c[j], i, zero, s[j][h], o[j][h]),
                        sum[j]);
            }
        }
    }
#pragma GCC unroll 8
    for (int j = 0; j < panels; j++)
        v_store(t->sum + j * PACK_COLS, sum[j]);
}

/* 16-bit weights, two k a vector pair: F16 [K][16], BF16 [K/2][16][2]. */
static inline __attribute__((always_inline)) void
row_halves(const int bf16, const int panels, const struct row *t)
{
    const int pairs = t->K / 2;
    const uint8_t *w = t->w;
    struct v16 sum[ROW_PANELS];

#pragma GCC unroll 8
    for (int j = 0; j < panels; j++)
        sum[j] = v_load(t->sum + j * PACK_COLS);
    for (int k = 0; k < pairs; k++, w += GROUP_BYTES) {
        const struct v16 x0 = v_set1(t->x[2 * k]), x1 = v_set1(t->x[2 * k + 1]);

#pragma GCC unroll 8
        for (int j = 0; j < panels; j++) {
            const uint8_t *p = w + (size_t)j * t->panel;
            struct c64 c = row_load(p);
            struct v16 a = bf16 ? c_low_bf16(c) : v_from_f16((const void *)p);
            struct v16 b =
                bf16 ? c_high_bf16(c) : v_from_f16((const void *)(p + 32));

            sum[j] = v_fma(x0, a, sum[j]);
            sum[j] = v_fma(x1, b, sum[j]);
        }
    }
#pragma GCC unroll 8
    for (int j = 0; j < panels; j++) {
        const uint8_t *p = w + (size_t)j * t->panel;

        if (t->K % 2) /* the pair's second number is padding */
            sum[j] = v_fma(v_set1(t->x[t->K - 1]),
                           bf16 ? c_low_bf16(c_load(p))
                                : v_from_f16((const void *)p),
                           sum[j]);
        v_store(t->sum + j * PACK_COLS, sum[j]);
    }
}

/* A function per type for one panel and one for ROW_PANELS. */
#define ROW(name, ...)                                                         \
    static void row_one_##name(const struct row *t)                            \
    {                                                                          \
        row_blocks((struct layout){__VA_ARGS__}, 1, t);                        \
    }                                                                          \
    static void row_all_##name(const struct row *t)                            \
    {                                                                          \
        row_blocks((struct layout){__VA_ARGS__}, ROW_PANELS, t);               \
    }
#define ROW_HALVES(name, bf16)                                                 \
    static void row_one_##name(const struct row *t)                            \
    {                                                                          \
        row_halves(bf16, 1, t);                                                \
    }                                                                          \
    static void row_all_##name(const struct row *t)                            \
    {                                                                          \
        row_halves(bf16, ROW_PANELS, t);                                       \
    }
#define ROW_ENTRY(name, ...) [DT_##name] = {row_one_##name, row_all_##name},

MATRIX_LAYOUTS(ROW)
ROW_HALVES(F16, 0)
ROW_HALVES(BF16, 1)

typedef void row_fn(const struct row *t);
static row_fn *const row_table[N_DTYPES][2] = {
    MATRIX_LAYOUTS(ROW_ENTRY) ROW_ENTRY(F16, 0) ROW_ENTRY(BF16, 1)};

static void one_row(const struct matrix *w, int n0, int n1, const float *x,
                    const float *init, float *y)
{
    _Alignas(64) float sum[ROW_PANELS * PACK_COLS];
    struct row t = {.panel = w->panel, .K = w->K, .x = x, .sum = sum};

    for (int n = n0, width; n < n1; n += width) {
        const int all = n1 - n > (ROW_PANELS - 1) * PACK_COLS;

        width = all ? ROW_PANELS * PACK_COLS : PACK_COLS;
        t.w = matrix_panel(w, n / PACK_COLS);
        sums_in(init ? &init : NULL, 0, 1, n, n1 - n, width, sum);
        row_table[w->type][all](&t);
        sums_out(sum, 0, 1, n, n1 - n < width ? n1 - n : width, width, y, 0);
    }
}
