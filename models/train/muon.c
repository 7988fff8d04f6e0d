/* muon: see muon.h.
 *
 * SPDX-License-Identifier: MIT */
#include "models/train/muon.h"

#include <math.h>

#define MOMENTUM ((real)0.95)
#define ROUNDS 5
#define BANDS 4       /* of a symmetric product: 10 of 16 blocks are made */
#define LEAST_BAND 64 /* rows: below that a product costs more than it saves */
#define RATE 0.2      /* of the learning rate: what AdamW's steps come to */

/* p(x) = a x + b x^3 + c x^5, which takes singular values of 0 to 1 into 0.7 to
 * 1.2 in five rounds (Jordan et al. 2024). */
static const real A = (real)3.4445, B = (real)-4.7750, C = (real)2.0315;

int muon_takes(const struct net *n, const struct net_tensor *t)
{
    return t->n_dims == 2 && t->layer > 0 && t->layer < n->layer &&
           t->dim[0] / t->parts[0] > 1 && t->dim[1] / t->parts[1] > 1;
}

static size_t at_least(size_t a, size_t b)
{
    return a > b ? a : b;
}

void muon_init(struct muon *m, struct region *mem, const struct net *n)
{
    size_t most = 1, side = 1;
    for (int i = 0; i < n->n_tensors; i++) {
        const struct net_tensor *t = &n->t[i];
        if (!muon_takes(n, t))
            continue;
        size_t r = (size_t)(t->dim[0] / t->parts[0]);
        size_t c = (size_t)(t->dim[1] / t->parts[1]);
        most = at_least(most, r * c);
        side = at_least(side, r < c ? r : c);
    }
    m->x = region_take(mem, most, sizeof(real));
    m->y = region_take(mem, most, sizeof(real));
    m->a = region_take(mem, side * side, sizeof(real));
    m->b = region_take(mem, side * side, sizeof(real));
}

/* The part of a matrix from row i and column j on, n rows of it. */
static struct mat part(struct mat x, int i, int j, int n)
{
    return mat_ld(x.p + (size_t)i * x.ld + (size_t)j, n, x.c - j, x.ld);
}

enum square { X_XT, XT_X, X_X };

/* out = x x', x' x, or x x of a symmetric x, which are symmetric: BANDS bands
 * of rows from the diagonal on, and their mirror image. */
static void square(const struct blas *blas, enum square how, struct mat x,
                   struct mat out)
{
    int k = out.r, band = (k + BANDS - 1) / BANDS;
    band = band < LEAST_BAND ? LEAST_BAND : band;
    for (int i = 0; i < k; i += band) {
        int n = k - i < band ? k - i : band;
        struct mat to = part(out, i, i, n);
        if (how == XT_X) {
            struct mat left = part(x, 0, i, x.r);
            left.c = n;
            blas_tn(blas, left, part(x, 0, i, x.r), 0, to);
        } else if (how == X_XT)
            blas_nt(blas, part(x, i, 0, n), part(x, i, 0, k - i), 0, to);
        else
            blas_nn(blas, part(x, i, 0, n), part(x, 0, i, x.r), 0, to);
        for (int a = i; a < i + n; a++)
            for (int b = i + n; b < k; b++)
                out.p[(size_t)b * out.ld + (size_t)a] =
                    out.p[(size_t)a * out.ld + (size_t)b];
    }
}

/* x by the polynomial: of x x' x from the left or x x' x from the right, by the
 * shorter side, whose square is the smaller one. */
static void iterate(const struct muon *m, const struct blas *blas, int r, int c)
{
    int wide = r <= c, k = wide ? r : c;
    size_t n = (size_t)r * (size_t)c, n_square = (size_t)k * (size_t)k;
    struct mat x = mat_of(m->x, r, c), y = mat_of(m->y, r, c);
    struct mat a = mat_of(m->a, k, k), b = mat_of(m->b, k, k);
    square(blas, wide ? X_XT : XT_X, x, a);
    square(blas, X_X, a, b);
    vec_scale(n_square, C, m->b);
    vec_axpy(n_square, B, m->a, m->b);
    if (wide)
        blas_nn(blas, b, x, 0, y);
    else
        blas_nn(blas, x, b, 0, y);
    vec_scale(n, A, m->x);
    vec_add(n, m->y, m->x);
}

static void update_part(const struct muon *m, const struct muon_step *s,
                        struct mat w, const real *g, real *momentum)
{
    size_t r = (size_t)w.r, c = (size_t)w.c;
    for (size_t i = 0; i < r; i++)
        for (size_t j = 0; j < c; j++) {
            size_t k = i * w.ld + j;
            real d = g[k] * s->factor;
            momentum[k] = MOMENTUM * momentum[k] + d;
            m->x[i * c + j] = d + MOMENTUM * momentum[k]; /* Nesterov's */
        }
    double norm = sqrt(vec_sum_squares(r * c, m->x));
    vec_scale(r * c, (real)(1 / (norm + 1e-7)), m->x);
    for (int i = 0; i < ROUNDS; i++)
        iterate(m, s->blas, w.r, w.c);
    real keep = (real)1 - s->lr * s->weight_decay;
    real rate = s->lr * (real)(RATE * sqrt((double)at_least(r, c)));
    for (size_t i = 0; i < r; i++)
        for (size_t j = 0; j < c; j++)
            w.p[i * w.ld + j] =
                w.p[i * w.ld + j] * keep - rate * m->x[i * c + j];
}

void muon_update(const struct muon *m, const struct muon_step *s,
                 const struct net_tensor *t, real *w, const real *g,
                 real *momentum)
{
    int r = t->dim[0] / t->parts[0], c = t->dim[1] / t->parts[1];
    size_t ld = (size_t)t->dim[1];
    for (int i = 0; i < t->parts[0]; i++)
        for (int j = 0; j < t->parts[1]; j++) {
            size_t at = (size_t)i * (size_t)r * ld + (size_t)j * (size_t)c;
            update_part(m, s, mat_ld(w + at, r, c, ld), g + at, momentum + at);
        }
}
