/* kernels_attn_generic: attention, norms, rotary positions and activations of
 * Transformers in portable C. The same lanes and order as the FMA families,
 * but products are rounded before they are added.
 *
 * SPDX-License-Identifier: MIT */
#include <math.h>
#include <string.h>

#include "engine/compute/isa/kernels_generic.h"

/* --- attention --- */

void attn_scores_generic(int m, int d, const float *q, size_t ldq,
                         const float *const *kb, int n_blocks, float scale,
                         float *s, size_t lds)
{
    for (int b = 0; b < n_blocks; b++) {
        for (int r = 0; r < m; r++) {
            const float *qr = q + (size_t)r * ldq, *k = kb[b];
            float acc[LANES] = {0};

            for (int i = 0; i < d; i++, k += LANES)
                for (int j = 0; j < LANES; j++)
                    acc[j] += qr[i] * k[j];
            for (int j = 0; j < LANES; j++)
                s[(size_t)r * lds + (size_t)b * LANES + j] = scale * acc[j];
        }
    }
}

void attn_mix_generic(int m, int d, const float *p, size_t ldp, const int *lo,
                      const int *hi, const float *const *vb, float *y,
                      size_t ldy)
{
    for (int r = 0; r < m; r++, p += ldp, y += ldy) {
        for (int c = 0; c < d; c += LANES) {
            float acc[LANES] = {0};

            for (int i = lo[r]; i < hi[r]; i++) {
                const float *v = vb[i / ATTN_KEYS] +
                                 (size_t)(i % ATTN_KEYS) * ATTN_ROW(d) + c;

                for (int j = 0; j < LANES; j++)
                    acc[j] += p[i] * v[j];
            }
            memcpy(y + c, acc, sizeof acc);
        }
    }
}

static float tree_add(float *lane)
{
    for (int w = LANES / 2; w; w /= 2)
        for (int j = 0; j < w; j++)
            lane[j] += lane[j + w];
    return lane[0];
}

void attn_softmax_generic(int lo, int hi, float cap, float *s)
{
    float lane[LANES] = {0}, max = -INFINITY, sum;

    for (int i = lo; i < hi && cap > 0.0f; i++)
        s[i] = cap * one_tanh(s[i] / cap);
    for (int i = lo; i < hi; i++)
        max = s[i] > max ? s[i] : max;
    for (int i = lo; i < hi; i++) {
        s[i] = one_exp(s[i] - max);
        lane[i % LANES] += s[i];
    }
    sum = 1.0f / tree_add(lane);
    for (int i = lo; i < hi; i++)
        s[i] *= sum;
}

/* --- norms --- */

void rms_norm_generic(int n, const float *x, const float *w, float eps,
                      float *y)
{
    float lane[LANES] = {0}, r;

    for (int i = 0; i < n; i++)
        lane[i % LANES] += x[i] * x[i];
    r = 1.0f / sqrtf(tree_add(lane) / (float)n + eps);
    for (int i = 0; i < n; i++)
        y[i] = x[i] * r * w[i];
}

void layer_norm_generic(int n, const float *x, const float *w, const float *b,
                        float eps, float *y)
{
    float lane[LANES] = {0}, mean, r;

    for (int i = 0; i < n; i++)
        lane[i % LANES] += x[i];
    mean = tree_add(lane) / (float)n;
    memset(lane, 0, sizeof lane);
    for (int i = 0; i < n; i++)
        lane[i % LANES] += (x[i] - mean) * (x[i] - mean);
    r = 1.0f / sqrtf(tree_add(lane) / (float)n + eps);
    for (int i = 0; i < n; i++)
        y[i] = (x[i] - mean) * r * w[i] + (b ? b[i] : 0.0f);
}

/* --- rotary positions --- */

void rope_generic(int n_rot, int adjacent, const float *cs, float *x)
{
    const int half = n_rot / 2, step = adjacent ? 2 : 1;
    float *x0 = x, *x1 = adjacent ? x + 1 : x + half;

    for (int i = 0; i < half; i++, x0 += step, x1 += step) {
        float a = *x0, b = *x1, c = cs[i], s = cs[half + i];

        *x0 = a * c - b * s;
        *x1 = b * c + a * s;
    }
}

/* --- activations: see kernels_isa.h --- */

static float one_gelu_tanh(float x)
{
    float z = x * (GELU_A + GELU_B * (x * x));

    return x / sigmoid_den(z);
}

static float one_gelu_erf(float x)
{
    float u = fabsf(x), t = 1.0f / (1.0f + PHI_P * u);
    float q = PHI_C9;

    q = q * t + PHI_C8;
    q = q * t + PHI_C7;
    q = q * t + PHI_C6;
    q = q * t + PHI_C5;
    q = q * t + PHI_C4;
    q = q * t + PHI_C3;
    q = q * t + PHI_C2;
    q = q * t + PHI_C1;
    q = q * t * one_exp(-0.5f * (u * u));
    return (x > 0.0f ? x : 0.0f) - u * q;
}

void gelu_tanh_generic(int n, const float *x, float *y)
{
    for (int i = 0; i < n; i++)
        y[i] = one_gelu_tanh(x[i]);
}

void gelu_erf_generic(int n, const float *x, float *y)
{
    for (int i = 0; i < n; i++)
        y[i] = one_gelu_erf(x[i]);
}

void silu_mul_generic(int n, const float *g, const float *u, float *y)
{
    for (int i = 0; i < n; i++)
        y[i] = g[i] / sigmoid_den(g[i]) * u[i];
}

void gelu_mul_generic(int n, const float *g, const float *u, float *y)
{
    for (int i = 0; i < n; i++)
        y[i] = one_gelu_tanh(g[i]) * u[i];
}
