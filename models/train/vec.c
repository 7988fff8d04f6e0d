/* vec: the row helpers of real.h. Every sum keeps 16 partial sums (element i
 * goes to i % 16) and adds them in one fixed tree, so the result is the same
 * for every instruction set.
 *
 * SPDX-License-Identifier: MIT */
#include "models/train/real.h"

static inline real lanes_sum(real *a)
{
    for (int w = REAL_LANES / 2; w > 0; w /= 2)
        for (int j = 0; j < w; j++)
            a[j] += a[j + w];
    return a[0];
}

/* The maximum does not depend on the order, so its lanes may be many: gcc
 * unrolls 16 into scalar code. */
#define MAX_LANES 128

static inline real lanes_max(const real *a)
{
    real m = a[0];
    for (int j = 1; j < MAX_LANES; j++)
        m = a[j] > m ? a[j] : m;
    return m;
}

TRAIN_CLONES
real vec_add_max(int n, const real *restrict b, real *restrict x)
{
    real a[MAX_LANES], m = (real)-1e30;
    int i = 0;
    if (n < MAX_LANES) { /* an attention's rows: the lanes would cost more */
        for (; i < n; i++) {
            x[i] += b[i];
            m = x[i] > m ? x[i] : m;
        }
        return m;
    }
    for (int j = 0; j < MAX_LANES; j++)
        a[j] = (real)-1e30;
    for (; i + MAX_LANES <= n; i += MAX_LANES)
        for (int j = 0; j < MAX_LANES; j++) {
            real v = x[i + j] + b[i + j];
            x[i + j] = v;
            a[j] = v > a[j] ? v : a[j];
        }
    for (int j = 0; i < n; i++, j++) {
        x[i] += b[i];
        a[j] = x[i] > a[j] ? x[i] : a[j];
    }
    return lanes_max(a);
}

TRAIN_CLONES
real vec_exp_sum(int n, real max, real *x)
{
    real a[REAL_LANES] = {0};
    int i = 0;
    for (; i + REAL_LANES <= n; i += REAL_LANES)
        for (int j = 0; j < REAL_LANES; j++) {
            real v = real_exp(x[i + j] - max);
            x[i + j] = v;
            a[j] += v;
        }
    for (int j = 0; i < n; i++, j++) {
        x[i] = real_exp(x[i] - max);
        a[j] += x[i];
    }
    return lanes_sum(a);
}

TRAIN_CLONES
real vec_sum(int n, const real *x)
{
    real a[REAL_LANES] = {0};
    int i = 0;
    for (; i + REAL_LANES <= n; i += REAL_LANES)
        for (int j = 0; j < REAL_LANES; j++)
            a[j] += x[i + j];
    for (int j = 0; i < n; i++, j++)
        a[j] += x[i];
    return lanes_sum(a);
}

TRAIN_CLONES
real vec_dot(int n, const real *x, const real *y)
{
    real a[REAL_LANES] = {0};
    int i = 0;
    for (; i + REAL_LANES <= n; i += REAL_LANES)
        for (int j = 0; j < REAL_LANES; j++)
            a[j] += x[i + j] * y[i + j];
    for (int j = 0; i < n; i++, j++)
        a[j] += x[i] * y[i];
    return lanes_sum(a);
}

double vec_sum_squares(size_t n, const real *x)
{
    double sum = 0;
    for (size_t i = 0; i < n; i += 1024) {
        int m = (int)(n - i < 1024 ? n - i : 1024);
        sum += (double)vec_dot(m, x + i, x + i);
    }
    return sum;
}

TRAIN_CLONES
void vec_scale(size_t n, real s, real *x)
{
    for (size_t i = 0; i < n; i++)
        x[i] *= s;
}

TRAIN_CLONES
void vec_add(size_t n, const real *restrict x, real *restrict y)
{
    for (size_t i = 0; i < n; i++)
        y[i] += x[i];
}

TRAIN_CLONES
void vec_axpy(size_t n, real a, const real *restrict x, real *restrict y)
{
    for (size_t i = 0; i < n; i++)
        y[i] += a * x[i];
}

void vec_column_sums(struct mat a, real *y)
{
    for (int r = 0; r < a.r; r++)
        vec_add((size_t)a.c, a.p + (size_t)r * a.ld, y);
}

/* The finaliser of MurmurHash3 (Appleby) over a Weyl sequence. */
TRAIN_CLONES
void vec_dropout(size_t n, uint32_t key, real p, real *x)
{
    uint32_t limit = (uint32_t)((double)p * 4294967295.0);
    real scale = (real)1 / ((real)1 - p);
    for (uint32_t i = 0; i < (uint32_t)n; i++) {
        uint32_t h = i * 0x9e3779b9u + key;
        h ^= h >> 16;
        h *= 0x85ebca6bu;
        h ^= h >> 13;
        h *= 0xc2b2ae35u;
        h ^= h >> 16;
        x[i] = h < limit ? (real)0 : x[i] * scale;
    }
}
