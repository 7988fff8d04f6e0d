/* kernels_generic: the kernels in portable C, for CPUs without a family of
 * their own and as the readable form of the others. Plain loops that a
 * compiler vectorises with what the base architecture has. Products are
 * rounded before they are added, so its bits differ from the FMA families; its
 * own bits obey the same promise (kernels.h).
 *
 * SPDX-License-Identifier: MIT */
#include <math.h>
#include <string.h>

#include "engine/compute/isa/kernels_generic.h"
#include "engine/compute/matrix_layout.h"

static void gen_vexp(int n, const float *x, float *y)
{
    for (int i = 0; i < n; i++)
        y[i] = one_exp(x[i]);
}

static void gen_vtanh(int n, const float *x, float *y)
{
    for (int i = 0; i < n; i++)
        y[i] = one_tanh(x[i]);
}

static void gen_vsigmoid(int n, const float *x, float *y)
{
    for (int i = 0; i < n; i++)
        y[i] = 1.0f / sigmoid_den(x[i]);
}

/* --- products --- */

/* One row and one panel w [K][16]: acc [16] += x w. */
static void panel_row(int K, const float *x, const float *w, float *acc)
{
    float a[LANES];

    memcpy(a, acc, sizeof a);
    for (int k = 0; k < K; k++, w += LANES) {
        float v = x[k];

        for (int j = 0; j < LANES; j++)
            a[j] += v * w[j];
    }
    memcpy(acc, a, sizeof a);
}

/* The same for two rows at once: each weight is read once for both. */
static void panel_row2(int K, const float *x0, const float *x1, const float *w,
                       float *acc0, float *acc1)
{
    float a[LANES], b[LANES];

    memcpy(a, acc0, sizeof a);
    memcpy(b, acc1, sizeof b);
    for (int k = 0; k < K; k++, w += LANES) {
        float u = x0[k], v = x1[k];

        for (int j = 0; j < LANES; j++) {
            a[j] += u * w[j];
            b[j] += v * w[j];
        }
    }
    memcpy(acc0, a, sizeof a);
    memcpy(acc1, b, sizeof b);
}

static void load_init(float *acc, const float *const *init, int r, int n,
                      int cols)
{
    memset(acc, 0, LANES * sizeof *acc);
    if (init)
        memcpy(acc, init[r] + n, (size_t)cols * sizeof *acc);
}

static void gen_gemm_rows(const struct packed *W, int n0, int n1, int m,
                          const float *x, size_t ldx, const float *const *init,
                          float *y, size_t ldy)
{
    for (int n = n0; n < n1; n += LANES) {
        const float *w = W->data + (size_t)n * (size_t)W->K;
        int cols = n1 - n < LANES ? n1 - n : LANES;
        size_t bytes = (size_t)cols * sizeof *y;

        for (int r = 0; r < m; r += 2) {
            const float *xr = x + (size_t)r * ldx;
            float *yr = y + (size_t)r * ldy + n;
            float a[LANES], b[LANES];

            load_init(a, init, r, n, cols);
            if (r + 1 < m) {
                load_init(b, init, r + 1, n, cols);
                panel_row2(W->K, xr, xr + ldx, w, a, b);
                memcpy(yr + ldy, b, bytes);
            } else {
                panel_row(W->K, xr, w, a);
            }
            memcpy(yr, a, bytes);
        }
    }
}

/* --- gates --- */

static void gen_gates4(int m, int H, int j0, int j1, const float *a, size_t lda,
                       float *c, size_t ldc, float *h, size_t ldh)
{
    for (int r = 0; r < m; r++, a += lda, c += ldc, h += ldh) {
        const float *ai = a, *af = a + H, *ag = af + H, *ao = ag + H;

        for (int j = j0; j < j1; j++) {
            float g = tanh_num(ag[j]);
            float in = g / (sigmoid_den(ai[j]) * (g + 2.0f));
            float cell = c[j] / sigmoid_den(af[j]) + in;
            float t = tanh_num(cell);

            c[j] = cell;
            h[j] = t / (sigmoid_den(ao[j]) * (t + 2.0f));
        }
    }
}

static void gen_gates3(int m, int H, int j0, int j1, const float *a, size_t lda,
                       const float *b, size_t ldb, float *h, size_t ldh)
{
    for (int r = 0; r < m; r++, a += lda, b += ldb, h += ldh) {
        const float *ar = a, *az = a + H, *an = az + H;
        const float *br = b, *bz = b + H, *bn = bz + H;

        for (int j = j0; j < j1; j++) {
            float rd = sigmoid_den(ar[j] + br[j]);
            float zd = sigmoid_den(az[j] + bz[j]);
            float n = one_tanh(an[j] + bn[j] / rd);

            h[j] = n + (h[j] - n) / zd;
        }
    }
}

static void gen_act_tanh(int m, int j0, int j1, const float *a, size_t lda,
                         float *h, size_t ldh)
{
    for (int r = 0; r < m; r++)
        gen_vtanh(j1 - j0, a + (size_t)r * lda + j0, h + (size_t)r * ldh + j0);
}

static void gen_act_relu(int m, int j0, int j1, const float *a, size_t lda,
                         float *h, size_t ldh)
{
    for (int r = 0; r < m; r++, a += lda, h += ldh)
        for (int j = j0; j < j1; j++)
            h[j] = 0.0f > a[j] ? 0.0f : a[j];
}

/* --- rows --- */

static void gen_add_to(int n, const float *x, float *y)
{
    for (int i = 0; i < n; i++)
        y[i] += x[i];
}

static void gen_max_to(int n, const float *x, float *y)
{
    for (int i = 0; i < n; i++)
        y[i] = x[i] > y[i] ? x[i] : y[i];
}

static void gen_scale(int n, float s, float *x)
{
    for (int i = 0; i < n; i++)
        x[i] *= s;
}

static void gen_divide(int n, float s, float *x)
{
    for (int i = 0; i < n; i++)
        x[i] /= s;
}

static float gen_row_max(int n, const float *x)
{
    float lane[LANES];
    int i = 0;

    for (int j = 0; j < LANES; j++)
        lane[j] = -INFINITY;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++)
            lane[j] = x[i + j] > lane[j] ? x[i + j] : lane[j];
    for (int j = 0; i + j < n; j++)
        lane[j] = x[i + j] > lane[j] ? x[i + j] : lane[j];
    for (int w = LANES / 2; w; w /= 2)
        for (int j = 0; j < w; j++)
            lane[j] = lane[j + w] > lane[j] ? lane[j + w] : lane[j];
    return lane[0];
}

static float gen_sum_exp(int n, const float *x, float max)
{
    float lane[LANES] = {0};
    int i = 0;

    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++)
            lane[j] += one_exp(x[i + j] - max);
    for (int j = 0; i + j < n; j++)
        lane[j] += one_exp(x[i + j] - max);
    for (int w = LANES / 2; w; w /= 2)
        for (int j = 0; j < w; j++)
            lane[j] += lane[j + w];
    return lane[0];
}

static void gen_softmax(int n, const float *x, float max, float sum, float *y)
{
    for (int i = 0; i < n; i++)
        y[i] = one_exp(x[i] - max) / sum;
}

static int gen_all_finite(int n, const float *x)
{
    uint32_t bad = 0;

    for (int i = 0; i < n; i++)
        bad |= (bits_of(x[i]) & 0x7f800000u) == 0x7f800000u;
    return !bad;
}

/* --- widening --- */

static void gen_widen_bf16(size_t n, const uint16_t *x, float *y)
{
    for (size_t i = 0; i < n; i++)
        y[i] = float_of((uint32_t)x[i] << 16);
}

/* IEEE 754 binary16. A denormal is mantissa * 2^-24; a signalling NaN becomes
 * quiet, as the CPU's own conversion has it. */
static inline float widen_half(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16;
    uint32_t mag = h & 0x7fffu;
    float tiny = (float)(int32_t)mag * 0x1p-24f;
    uint32_t u = (mag << 13) + (112u << 23);

    if (mag < 0x0400u)
        u = bits_of(tiny);
    if (mag >= 0x7c00u)
        u = (mag << 13) | 0x7f800000u;
    if (mag > 0x7c00u)
        u |= 0x00400000u;
    return float_of(u | sign);
}

static void gen_widen_f16(size_t n, const uint16_t *x, float *y)
{
    for (size_t i = 0; i < n; i++)
        y[i] = widen_half(x[i]);
}

const struct kernels kernels_generic = {
    .name = "generic",
    ATTN_ENTRIES(generic),
    .gemm_rows = gen_gemm_rows,
    .matrix_widen = matmul_widen_generic,
    .matrix_rows_q = matmul_rows_q_generic,
    .quantise_rows = matmul_quantise_generic,
    .gates4 = gen_gates4,
    .gates3 = gen_gates3,
    .act_tanh = gen_act_tanh,
    .act_relu = gen_act_relu,
    .add_to = gen_add_to,
    .max_to = gen_max_to,
    .scale = gen_scale,
    .divide = gen_divide,
    .row_max = gen_row_max,
    .sum_exp = gen_sum_exp,
    .softmax = gen_softmax,
    .all_finite = gen_all_finite,
    .vexp = gen_vexp,
    .vtanh = gen_vtanh,
    .vsigmoid = gen_vsigmoid,
    .widen_bf16 = gen_widen_bf16,
    .widen_f16 = gen_widen_f16,
};
