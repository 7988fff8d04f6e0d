/* matmul_widen.inc.h: panels as fp32, and activations as int8, over struct c64
 * and v16 (c64_*.inc.h).
 *
 * SPDX-License-Identifier: MIT */

static inline __attribute__((always_inline)) void
widen_blocks(const struct layout l, const struct matrix *w, int p, int k0,
             int k1, float *to)
{
    const uint8_t *panel = matrix_panel(w, p);
    const uint8_t *meta = panel + layout_meta_at(&l, w->K / QBLOCK);
    const struct v16 zero = v_set1(0x1p23f + (float)l.off);

    for (int b = k0 / QBLOCK; b < k1 / QBLOCK; b++) {
        const uint8_t *code = panel + (size_t)b * layout_code_bytes(&l);
        struct v16 s[2], o[2];

        block_scales(l, meta, b, s, o);
#pragma GCC unroll 8
        for (int g = 0; g < GROUPS; g++) {
            const int h = l.subs > 1 ? g / (GROUPS / 2) : 0;
            struct c64 c = block_group(l, g, code);

#pragma GCC unroll 4
            for (unsigned i = 0; i < 4; i++, to += PACK_COLS)
                v_store(to, group_weights(l, c, i, zero, s[h], o[h]));
        }
    }
}

#define WIDEN(name, ...)                                                       \
    static void widen_##name(const struct matrix *w, int p, int k0, int k1,    \
                             float *to)                                        \
    {                                                                          \
        widen_blocks((struct layout){__VA_ARGS__}, w, p, k0, k1, to);          \
    }
#define WIDEN_ENTRY(name, ...) [DT_##name] = widen_##name,

MATRIX_LAYOUTS(WIDEN)

static void widen_F16(const struct matrix *w, int p, int k0, int k1, float *to)
{
    const uint16_t *h = (const void *)matrix_panel(w, p);

    for (int k = k0; k < k1; k++, to += PACK_COLS)
        v_store(to, v_from_f16(h + (size_t)k * PACK_COLS));
}

/* Pairs of k: an odd K has a last one of zeros. */
static void widen_BF16(const struct matrix *w, int p, int k0, int k1, float *to)
{
    const uint8_t *pairs = matrix_panel(w, p);

    for (int k = k0; k < k1; k += 2, to += 2 * PACK_COLS) {
        struct c64 c = c_load(pairs + (size_t)k * (2 * PACK_COLS));

        v_store(to, c_low_bf16(c));
        if (k + 1 < k1)
            v_store(to + PACK_COLS, c_high_bf16(c));
    }
}

typedef void widen_fn(const struct matrix *w, int p, int k0, int k1, float *to);
static widen_fn *const widen_table[N_DTYPES] = {
    MATRIX_LAYOUTS(WIDEN_ENTRY)[DT_F16] = widen_F16, [DT_BF16] = widen_BF16};

static void widen(const struct matrix *w, int p, int k0, int k1, float *to)
{
    widen_table[w->type](w, p, k0, k1, to);
}

/* A block of whole numbers; n < 32: the others count as zero. */
static inline void quantise_block(const float *x, int n, struct qblock *b)
{
    struct v16 lo, hi;
    float max;
    int32_t half, sum;

    if (n >= QBLOCK) {
        lo = v_load(x);
        hi = v_load(x + 16);
    } else {
        lo = n >= 16 ? v_load(x) : v_load_part(x, n, 0.0f);
        hi = n > 16 ? v_load_part(x + 16, n - 16, 0.0f) : v_set1(0.0f);
    }
    max = v_largest(lo, hi);
    if (!(max < INFINITY) || max < QBLOCK_TINY) {
        memset(b, 0, sizeof *b);
        b->scale = max < INFINITY ? 0.0f : NAN;
        return;
    }
    lo = v_mul(lo, v_set1(127.0f / max));
    hi = v_mul(hi, v_set1(127.0f / max));
    b->scale = max / 127.0f;
    half = i_total(v_put_codes(b->q, lo));
    sum = i_total(v_put_codes(b->q + 16, hi));
    b->half[0] = (float)half;
    b->half[1] = (float)sum;
    b->sum = (float)(half + sum);
    b->below = -128 * (half + sum);
}

/* A row with one scale: blocks * QBLOCK codes. */
static void quantise_whole(const float *x, int n, int blocks, int8_t *q,
                           struct qwhole *w)
{
    const int full = n / PACK_COLS * PACK_COLS, most = blocks * QBLOCK;
    const struct v16 zero = v_set1(0.0f);
    struct v16 top = zero, by;
    struct i16 sum = i_zero();
    float max;

    for (int i = 0; i < n; i += PACK_COLS)
        top = v_larger(top, i < full ? v_load(x + i)
                                     : v_load_part(x + i, n - i, 0.0f));
    max = v_largest(top, zero);
    if (!(max < INFINITY) || max < QBLOCK_TINY) {
        memset(q, 0, (size_t)most);
        w->scale = max < INFINITY ? 0.0f : NAN;
        w->below = 0;
        return;
    }
    by = v_set1(127.0f / max);
    for (int i = 0; i < most; i += PACK_COLS) {
        struct v16 v = i < full ? v_load(x + i)
                       : i < n  ? v_load_part(x + i, n - i, 0.0f)
                                : zero;

        sum = i_add(sum, v_put_codes(q + i, v_mul(v, by)));
    }
    w->scale = max / 127.0f;
    w->below = -128 * i_total(sum);
}

static void quantise(const float *x, size_t ldx, int r0, int r1,
                     struct qrows *q)
{
    for (int r = r0; r < r1 && q->whole; r++)
        quantise_whole(x + (size_t)r * ldx, q->K, q->blocks,
                       q->q + (size_t)r * (size_t)q->blocks * QBLOCK,
                       &q->whole[r]);
    for (int r = r0; r < r1 && !q->whole; r++) {
        struct qblock *b = q->b + r;

        for (int k = 0; k < q->K; k += QBLOCK, b += q->m)
            quantise_block(x + (size_t)r * ldx + k, q->K - k, b);
    }
}
