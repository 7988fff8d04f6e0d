/* rnn_grad: see rnn_grad.h. Per layer and direction: one product for the
 * inputs of all rows, one small product per time step for the recurrence, and
 * in the backward pass one per time step for the state and one over all rows
 * for each weight matrix.
 *
 * SPDX-License-Identifier: MIT */
#include "models/rnn/rnn_grad.h"

static void fill_rows(struct mat a, const real *row)
{
    if (row == NULL) {
        memset(a.p, 0, (size_t)a.r * a.ld * sizeof(real));
        return;
    }
    for (int r = 0; r < a.r; r++)
        memcpy(a.p + (size_t)r * a.ld, row, (size_t)a.c * sizeof(real));
}

/* The input part of all rows: a = x w_ih' + b_ih (+ b_hh unless split). */
static void input_part(const struct rnn_run *r, int GH)
{
    int N = r->steps->N;
    const real *bias = NULL;
    if (r->w.b_ih != NULL) {
        memcpy(r->bias, r->w.b_ih, (size_t)GH * sizeof(real));
        if (!r->cell->split)
            vec_add((size_t)GH, r->w.b_hh, r->bias);
        bias = r->bias;
    }
    struct mat a = mat_of(r->a, N, GH);
    fill_rows(a, bias);
    blas_nt(r->blas, r->x, mat_of(r->w.w_ih, GH, r->I), (real)1, a);
    if (r->cell->split)
        fill_rows(mat_of(r->b, N, GH), r->w.b_hh);
}

static struct grad_step step_at(const struct rnn_run *r, int t)
{
    size_t off = (size_t)r->steps->off[t], H = (size_t)r->H;
    size_t GH = H * (size_t)r->cell->gates;
    struct grad_step s = {.m = r->steps->n[t],
                          .H = r->H,
                          .relu = r->relu,
                          .a = r->a + off * GH,
                          .hp = r->hp + off * H,
                          .h = r->out.p + off * r->out.ld,
                          .ldh = r->out.ld};
    if (r->cell->split)
        s.b = r->b + off * GH;
    if (r->cell->has_c) {
        s.cp = r->cp + off * H;
        s.tc = r->tc + off * H;
        s.c = r->c;
    }
    return s;
}

void rnn_forward(const struct rnn_run *r)
{
    int T = r->steps->T, H = r->H, GH = H * r->cell->gates;
    input_part(r, GH);
    for (int i = 0; i < T; i++) {
        int t = r->reverse ? T - 1 - i : i;
        int m = r->steps->n[t];
        size_t off = (size_t)r->steps->off[t] * (size_t)H;
        size_t bytes = (size_t)m * (size_t)H * sizeof(real);
        memcpy(r->hp + off, r->h, bytes);
        if (r->cell->has_c)
            memcpy(r->cp + off, r->c, bytes);
        struct grad_step s = step_at(r, t);
        recur_apply(&r->ahead, mat_of(r->h, m, H), 1,
                    mat_of(r->cell->split ? s.b : s.a, m, GH));
        r->cell->forward(&s);
        for (int k = 0; k < m; k++)
            memcpy(r->h + (size_t)k * (size_t)H, s.h + (size_t)k * s.ldh,
                   (size_t)H * sizeof(real));
    }
}

static void add_squares(const struct rnn_run *r, int t, const real *dh,
                        const real *dc)
{
    size_t n = (size_t)r->steps->n[t] * (size_t)r->H;
    if (r->h_squares != NULL)
        r->h_squares[t] += vec_sum_squares(n, dh);
    if (r->c_squares != NULL)
        r->c_squares[t] += vec_sum_squares(n, dc);
}

void rnn_backward(const struct rnn_run *r, struct mat dout,
                  const struct rnn_weights *g, struct mat dx, real beta,
                  real *dh, real *dc)
{
    int T = r->steps->T, N = r->steps->N, H = r->H, GH = H * r->cell->gates;
    for (int i = 0; i < T; i++) {
        int t = r->reverse ? i : T - 1 - i;
        struct grad_step s = step_at(r, t);
        const real *d = dout.p + (size_t)r->steps->off[t] * dout.ld;
        for (int k = 0; k < s.m; k++)
            vec_add((size_t)H, d + (size_t)k * dout.ld,
                    dh + (size_t)k * (size_t)H);
        add_squares(r, t, dh, dc);
        s.dh = dh;
        s.dc = dc;
        r->cell->backward(&s);
        recur_apply(&r->back, mat_of(r->cell->split ? s.b : s.a, s.m, GH),
                    r->cell->split, mat_of(dh, s.m, H));
    }
    struct mat da = mat_of(r->a, N, GH);
    struct mat db = r->cell->split ? mat_of(r->b, N, GH) : da;
    blas_tn(r->blas, da, r->x, (real)1, mat_of(g->w_ih, GH, r->I));
    blas_tn(r->blas, db, mat_of(r->hp, N, H), (real)1, mat_of(g->w_hh, GH, H));
    if (g->b_ih != NULL) {
        memset(r->bias, 0, (size_t)GH * sizeof(real));
        vec_column_sums(da, r->bias);
        vec_add((size_t)GH, r->bias, g->b_ih);
        if (r->cell->split) {
            memset(r->bias, 0, (size_t)GH * sizeof(real));
            vec_column_sums(db, r->bias);
        }
        vec_add((size_t)GH, r->bias, g->b_hh);
    }
    if (dx.p != NULL)
        blas_nn(r->blas, da, mat_of(r->w.w_ih, GH, r->I), beta, dx);
}
