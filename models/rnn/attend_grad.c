/* attend_grad: see attend_grad.h. With w = softmax(z) and the context c = sum_j
 * w_j e_j, dz_j = w_j (dc' e_j - sum_i w_i dc' e_i).
 *
 * SPDX-License-Identifier: MIT */
#include "models/rnn/attend_grad.h"

static real *row_of(real *p, int r, int columns)
{
    return p + (size_t)r * (size_t)columns;
}

static int has_keys(const struct attend_run *a)
{
    return a->kind == ATTEND_ADD || a->kind == ATTEND_BILINEAR;
}

void attend_keys(const struct attend_run *a)
{
    struct mat key = mat_of(a->key, a->M, a->A);
    if (!has_keys(a))
        return;
    for (int j = 0; j < a->M; j++) {
        real *k = row_of(a->key, j, a->A);
        if (a->w.key_bias != NULL)
            memcpy(k, a->w.key_bias, (size_t)a->A * sizeof *k);
        else
            memset(k, 0, (size_t)a->A * sizeof *k);
    }
    blas_nt(a->blas, mat_of(a->e, a->M, a->C), mat_of(a->w.key, a->A, a->C),
            (real)1, key);
}

/* What a query is scored against. */
static real *keys_of(const struct attend_run *a)
{
    return has_keys(a) ? a->key : a->e;
}

static void project(const struct attend_run *a, struct mat query)
{
    if (a->kind == ATTEND_ADD)
        blas_nt(a->blas, query, mat_of(a->w.query, a->A, a->H), (real)0,
                mat_of(a->q, query.r, a->A));
}

TRAIN_CLONES
static void unit_row(int A, const real *restrict q, const real *restrict k,
                     real *restrict u)
{
    for (int i = 0; i < A; i++)
        u[i] = real_tanh(q[i] + k[i]);
}

/* Weights of the rows of text r, for query row r. */
static void weigh(const struct attend_run *a, int r, const real *query)
{
    int from = a->start[r], n = a->start[r + 1] - from, width = a->A;
    real max = (real)-1e30, *z = a->weight;
    for (int j = 0; j < n; j++) {
        const real *k = row_of(keys_of(a), from + j, width);
        if (a->kind == ATTEND_ADD) {
            real *u = row_of(a->unit, j, width);
            unit_row(width, row_of(a->q, r, width), k, u);
            z[j] = vec_dot(width, a->w.score, u);
        } else {
            z[j] = vec_dot(width, query, k);
        }
        max = z[j] > max ? z[j] : max;
    }
    vec_scale((size_t)n, (real)1 / vec_exp_sum(n, max, z), z);
}

void attend_forward(const struct attend_run *a, struct mat query,
                    struct mat context)
{
    size_t C = (size_t)a->C;
    project(a, query);
    for (int r = 0; r < query.r; r++) {
        int from = a->start[r], n = a->start[r + 1] - from;
        real *c = context.p + (size_t)r * context.ld;
        weigh(a, r, query.p + (size_t)r * query.ld);
        memset(c, 0, C * sizeof *c);
        for (int j = 0; j < n; j++)
            vec_axpy(C, a->weight[j], row_of(a->e, from + j, a->C), c);
    }
}

TRAIN_CLONES
static void unit_row_grad(int A, real dz, const real *restrict score,
                          real *restrict u)
{
    for (int i = 0; i < A; i++)
        u[i] = dz * score[i] * ((real)1 - u[i] * u[i]);
}

/* From weight, now dz, of text r to what it was made of. */
static void scores_back(const struct attend_run *a, int r, const real *query,
                        real *dquery)
{
    int from = a->start[r], n = a->start[r + 1] - from;
    size_t A = (size_t)a->A;
    for (int j = 0; j < n; j++) {
        real dz = a->weight[j];
        if (a->kind == ATTEND_ADD) {
            real *u = row_of(a->unit, j, a->A);
            vec_axpy(A, dz, u, a->g.score);
            unit_row_grad(a->A, dz, a->w.score, u);
            vec_add(A, u, row_of(a->dq, r, a->A));
            vec_add(A, u, row_of(a->dkey, from + j, a->A));
            continue;
        }
        vec_axpy(A, dz, row_of(keys_of(a), from + j, a->A), dquery);
        vec_axpy(A, dz, query,
                 row_of(has_keys(a) ? a->dkey : a->de, from + j, a->A));
    }
}

void attend_backward(const struct attend_run *a, struct mat query,
                     struct mat dcontext, struct mat dquery)
{
    struct mat dq = mat_of(a->dq, query.r, a->A);
    size_t C = (size_t)a->C;
    project(a, query);
    if (a->kind == ATTEND_ADD)
        memset(a->dq, 0, (size_t)query.r * (size_t)a->A * sizeof(real));
    for (int r = 0; r < query.r; r++) {
        int from = a->start[r], n = a->start[r + 1] - from;
        const real *dc = dcontext.p + (size_t)r * dcontext.ld;
        const real *q = query.p + (size_t)r * query.ld;
        real mean = 0;
        weigh(a, r, q);
        for (int j = 0; j < n; j++) {
            vec_axpy(C, a->weight[j], dc, row_of(a->de, from + j, a->C));
            mean +=
                a->weight[j] * vec_dot(a->C, dc, row_of(a->e, from + j, a->C));
        }
        for (int j = 0; j < n; j++)
            a->weight[j] *=
                vec_dot(a->C, dc, row_of(a->e, from + j, a->C)) - mean;
        scores_back(a, r, q, dquery.p + (size_t)r * dquery.ld);
    }
    if (a->kind != ATTEND_ADD)
        return;
    blas_tn(a->blas, dq, query, (real)1, mat_of(a->g.query, a->A, a->H));
    blas_nn(a->blas, dq, mat_of(a->w.query, a->A, a->H), (real)1, dquery);
}

void attend_keys_backward(const struct attend_run *a)
{
    struct mat dkey = mat_of(a->dkey, a->M, a->A);
    struct mat e = mat_of(a->e, a->M, a->C), de = mat_of(a->de, a->M, a->C);
    if (!has_keys(a))
        return;
    if (a->g.key_bias != NULL)
        vec_column_sums(dkey, a->g.key_bias);
    blas_tn(a->blas, dkey, e, (real)1, mat_of(a->g.key, a->A, a->C));
    blas_nn(a->blas, dkey, mat_of(a->w.key, a->A, a->C), (real)1, de);
}
