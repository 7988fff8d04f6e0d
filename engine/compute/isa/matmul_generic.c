/* matmul_generic: the products over packed matrices in portable C, and the
 * readable form of matmul_fma.inc.h: the same steps, one block of a panel at a
 * time. Layouts: matrix_layout.h.
 *
 * SPDX-License-Identifier: MIT */
#include <math.h>
#include <string.h>

#include "engine/compute/dtype.h"
#include "engine/compute/matrix_layout.h"

/* One block of a panel, decoded. */
struct decoded {
    uint8_t code[QBLOCK][PACK_COLS];
    float s[2][PACK_COLS], o[2][PACK_COLS]; /* per half; subs 1: [0] only */
};

static void decode_codes(const struct layout *l, const uint8_t *p,
                         struct decoded *d)
{
    const uint8_t *high = p + (size_t)l->low * GROUP_BYTES;
    const int low_mask = (1 << l->low) - 1, high_mask = (1 << l->high) - 1;

    for (int k = 0; k < QBLOCK; k++) {
        int g = k / 4, lo = l->low, hi = l->high ? l->high : 1;
        const uint8_t *a = p + (size_t)(g % lo) * GROUP_BYTES + k % 4;
        const uint8_t *b = high + (size_t)(g % hi) * GROUP_BYTES + k % 4;

        for (int c = 0; c < PACK_COLS; c++) {
            int code = a[4 * c] >> (g / lo * lo) & low_mask;

            if (l->high)
                code |= (b[4 * c] >> (g / hi * hi) & high_mask) << l->low;
            d->code[k][c] = l->lookup ? matrix_iq4nl[code] : (uint8_t)code;
        }
    }
}

static void halves(const uint8_t *p, float *to)
{
    for (int c = 0; c < PACK_COLS; c++) {
        uint16_t h;

        memcpy(&h, p + 2 * c, sizeof h);
        to[c] = dtype_from_f16(h);
    }
}

/* Scales of block b of a panel, whose scales begin at p. */
static void decode_scales(const struct layout *l, const uint8_t *p, int b,
                          struct decoded *d)
{
    const int sub = b % SUPER * l->subs;
    float s[PACK_COLS], o[PACK_COLS] = {0};

    if (l->meta == META_PANEL) {
        memcpy(d->s[0], p, sizeof d->s[0]);
        return;
    }
    p += (size_t)(b / layout_unit(l)) * layout_meta_bytes(l);
    halves(p, s);
    p += 32;
    if (l->has_o) {
        halves(p, o);
        p += 32;
    }
    if (l->meta == META_F16) {
        memcpy(d->s[0], s, sizeof s);
        memcpy(d->o[0], o, sizeof o);
        return;
    }
    for (int h = 0; h < l->subs; h++) {
        const int8_t *sc = (const int8_t *)p + (sub + h) * PACK_COLS;
        const int8_t *mn = sc + SUPER * l->subs * PACK_COLS;

        for (int c = 0; c < PACK_COLS; c++) {
            if (l->meta == META_NIBBLES) {
                d->s[h][c] = s[c] * (float)(sc[c] & 15);
                d->o[h][c] = -(o[c] * (float)((uint8_t)sc[c] >> 4));
            } else {
                d->s[h][c] = s[c] * (float)sc[c];
                d->o[h][c] = l->has_o ? -(o[c] * (float)mn[c]) : 0.0f;
            }
        }
    }
}

static void decode(const struct layout *l, const struct matrix *w, int p, int b,
                   struct decoded *d)
{
    const uint8_t *panel = matrix_panel(w, p);

    decode_codes(l, panel + (size_t)b * layout_code_bytes(l), d);
    decode_scales(l, panel + layout_meta_at(l, w->K / QBLOCK), b, d);
}

/* --- exact --- */

static void widen_blocks(const struct layout *l, const struct matrix *w, int p,
                         int k0, int k1, float *to)
{
    struct decoded d;

    for (int b = k0 / QBLOCK; b < k1 / QBLOCK; b++) {
        decode(l, w, p, b, &d);
        for (int i = 0; i < QBLOCK; i++, to += PACK_COLS) {
            int h = l->subs > 1 ? i / 16 : 0;

            for (int c = 0; c < PACK_COLS; c++) {
                float v = d.s[h][c] * (float)(d.code[i][c] - l->off);

                to[c] = l->has_o ? v + d.o[h][c] : v;
            }
        }
    }
}

void matmul_widen_generic(const struct matrix *w, int p, int k0, int k1,
                          float *to)
{
    const struct layout *l = matrix_layout(w->type);
    const uint16_t *h = (const void *)matrix_panel(w, p);

    if (l) {
        widen_blocks(l, w, p, k0, k1, to);
        return;
    }
    for (int k = k0; k < k1; k++, to += PACK_COLS)
        for (int c = 0; c < PACK_COLS; c++)
            if (w->type == DT_BF16)
                to[c] = dtype_from_bf16(
                    h[(size_t)(k / 2) * (2 * PACK_COLS) + 2 * c + k % 2]);
            else
                to[c] = dtype_from_f16(h[(size_t)k * PACK_COLS + c]);
}

/* --- fast --- */

/* dot [16] = codes k0 to k1 of a block times xq. */
static void dot_codes(const struct decoded *d, const int8_t *xq, int k0, int k1,
                      int32_t *dot)
{
    int32_t sum[PACK_COLS] = {0};

    for (int k = k0; k < k1; k++)
        for (int c = 0; c < PACK_COLS; c++)
            sum[c] += xq[k] * d->code[k][c];
    memcpy(dot, sum, sizeof sum);
}

/* y [16] += one block. */
static void add_block(const struct layout *l, const struct decoded *d,
                      const struct qblock *x, float *y)
{
    const float off = (float)l->off;
    const float *sum = l->subs > 1 ? x->half : &x->sum;
    int32_t dot[2][PACK_COLS];

    dot_codes(d, x->q, 0, QBLOCK / l->subs, dot[0]);
    if (l->subs > 1)
        dot_codes(d, x->q, QBLOCK / 2, QBLOCK, dot[1]);
    for (int c = 0; c < PACK_COLS; c++) {
        float u = ((float)dot[0][c] - off * sum[0]) * d->s[0][c];

        if (l->subs > 1)
            u += ((float)dot[1][c] - off * sum[1]) * d->s[1][c];
        for (int h = 0; h < l->subs && l->has_o; h++)
            u += d->o[h][c] * sum[h];
        y[c] += u * x->scale;
    }
}

/* Rows of y start from init or from zero. */
static void start_rows(int r0, int m, int n, int cols, const float *const *init,
                       float *y, size_t ldy)
{
    const size_t bytes = (size_t)cols * sizeof *y;

    for (int r = r0; r < r0 + m; r++)
        if (init)
            memmove(y + (size_t)r * ldy + n, init[r] + n, bytes);
        else
            memset(y + (size_t)r * ldy + n, 0, bytes);
}

/* sum [16] += the weights of a block times xq, all as whole numbers. */
static void add_whole(const struct decoded *d, const int8_t *xq, int32_t *sum)
{
    for (int k = 0; k < QBLOCK; k++)
        for (int c = 0; c < PACK_COLS; c++)
            sum[c] += xq[k] * (d->code[k][c] - 128);
}

/* Activations with a scale per row: y, which holds what the rows start from. */
#define WHOLE_ROWS 64
static void rows_whole(const struct matrix *w, int n, int r0, int m,
                       const struct qrows *x, float *y, size_t ldy)
{
    const struct layout *l = matrix_layout(w->type);
    const int cols = w->N - n < PACK_COLS ? w->N - n : PACK_COLS;
    int32_t sum[WHOLE_ROWS][PACK_COLS] = {{0}};
    struct decoded d = {0};

    for (int b = 0; b < x->blocks; b++) {
        decode(l, w, n / PACK_COLS, b, &d);
        for (int r = 0; r < m; r++)
            add_whole(&d,
                      x->q +
                          ((size_t)(r0 + r) * (size_t)x->blocks + (size_t)b) *
                              QBLOCK,
                      sum[r]);
    }
    for (int r = 0; r < m; r++)
        for (int c = 0; c < cols; c++)
            y[(size_t)(r0 + r) * ldy + (size_t)(n + c)] +=
                (float)sum[r][c] * d.s[0][c] * x->whole[r0 + r].scale;
}

void matmul_rows_q_generic(const struct matrix *w, int n0, int n1, int r0,
                           int m, const struct qrows *x,
                           const float *const *init, float *y, size_t ldy)
{
    const struct layout *l = matrix_layout(w->type);
    struct decoded d;

    for (int n = n0; n < n1; n += PACK_COLS) {
        const int cols = n1 - n < PACK_COLS ? n1 - n : PACK_COLS;

        start_rows(r0, m, n, cols, init, y, ldy);
        for (int r = 0; x->whole && r < m; r += WHOLE_ROWS)
            rows_whole(w, n, r0 + r, m - r < WHOLE_ROWS ? m - r : WHOLE_ROWS, x,
                       y, ldy);
        for (int b = 0; b < w->K / QBLOCK && !x->whole; b++) {
            decode(l, w, n / PACK_COLS, b, &d);
            for (int r = r0; r < r0 + m; r++) {
                float *to = y + (size_t)r * ldy + n, sum[PACK_COLS] = {0};

                memcpy(sum, to, (size_t)cols * sizeof *y);
                add_block(l, &d, &x->b[(size_t)b * (size_t)x->m + (size_t)r],
                          sum);
                memcpy(to, sum, (size_t)cols * sizeof *y);
            }
        }
    }
}

/* n of QBLOCK numbers, the others count as zero. */
static void quantise_block(const float *x, int n, struct qblock *b)
{
    float max = 0.0f, inv;
    int finite = 1;
    int32_t half[2] = {0, 0};

    memset(b, 0, sizeof *b);
    for (int i = 0; i < n; i++) {
        float a = fabsf(x[i]);

        finite &= isfinite(a) != 0;
        max = a > max ? a : max;
    }
    if (!finite)
        b->scale = NAN;
    if (!finite || max < QBLOCK_TINY)
        return;
    inv = 127.0f / max;
    for (int i = 0; i < n; i++) {
        b->q[i] = (int8_t)lrintf(x[i] * inv);
        half[i / 16] += b->q[i];
    }
    b->scale = max / 127.0f;
    b->sum = (float)(half[0] + half[1]);
    b->below = -128 * (half[0] + half[1]);
    b->half[0] = (float)half[0];
    b->half[1] = (float)half[1];
}

/* A row with one scale. */
static void quantise_whole(const float *x, int n, int blocks, int8_t *q,
                           struct qwhole *w)
{
    float max = 0.0f, inv;
    int32_t sum = 0;
    int finite = 1;

    memset(q, 0, (size_t)blocks * QBLOCK);
    memset(w, 0, sizeof *w);
    for (int i = 0; i < n; i++) {
        float a = fabsf(x[i]);

        finite &= isfinite(a) != 0;
        max = a > max ? a : max;
    }
    if (!finite)
        w->scale = NAN;
    if (!finite || max < QBLOCK_TINY)
        return;
    inv = 127.0f / max;
    for (int i = 0; i < n; i++) {
        q[i] = (int8_t)lrintf(x[i] * inv);
        sum += q[i];
    }
    w->scale = max / 127.0f;
    w->below = -128 * sum;
}

void matmul_quantise_generic(const float *x, size_t ldx, int r0, int r1,
                             struct qrows *q)
{
    for (int r = r0; r < r1; r++)
        for (int b = 0; b < q->blocks && !q->whole; b++) {
            int n = q->K - b * QBLOCK;

            quantise_block(x + (size_t)r * ldx + b * QBLOCK,
                           n < QBLOCK ? n : QBLOCK,
                           &q->b[(size_t)b * (size_t)q->m + (size_t)r]);
        }
    for (int r = r0; r < r1 && q->whole; r++)
        quantise_whole(x + (size_t)r * ldx, q->K, q->blocks,
                       q->q + (size_t)r * (size_t)q->blocks * QBLOCK,
                       &q->whole[r]);
}
