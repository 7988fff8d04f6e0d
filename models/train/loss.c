/* loss: see loss.h.
 *
 * SPDX-License-Identifier: MIT */
#include "models/train/loss.h"

void rows_init(struct rows *r, struct region *mem, int n_rows)
{
    r->n = 0;
    r->mark = region_take(mem, (size_t)n_rows, sizeof *r->mark);
    r->list = region_take(mem, (size_t)n_rows, sizeof *r->list);
}

void rows_forget(struct rows *r)
{
    for (int i = 0; i < r->n; i++)
        r->mark[r->list[i]] = 0;
    r->n = 0;
}

void loss_work_init(struct loss_work *k, struct region *mem, int K, int Q,
                    int samples)
{
    size_t n = (size_t)samples, nq = n * (size_t)Q, s = sizeof(real);
    memset(k, 0, sizeof *k);
    k->width = K > samples ? K : samples;
    /* the products want many rows, the passes between them few: measured best
     * at about 4 million scores */
    int rows = (1 << 22) / k->width / 16 * 16;
    k->block = rows < 128 ? 128 : rows > 512 ? 512 : rows;
    k->scores = region_take(mem, (size_t)k->block * (size_t)k->width, s);
    if (samples == 0)
        return;
    k->w = region_take(mem, nq, s);
    k->dw = region_take(mem, nq, s);
    k->b = region_take(mem, n, s);
    k->db = region_take(mem, n, s);
}

static struct mat rows_of(struct mat a, int first, int n)
{
    return mat_ld(a.p + (size_t)first * a.ld, n, a.c, a.ld);
}

/* One row of scores [K] with shares of all labels as its target. */
static double soft_row(const struct loss_task *t, int r, int grad, real *x)
{
    int K = t->w.r;
    const float *share = t->soft[r];
    real max = vec_add_max(K, t->b, x);
    double dot = 0, eps = (double)t->smoothing;
    for (int j = 0; j < K; j++)
        dot += ((1 - eps) * (double)share[j] + eps / K) * (double)x[j];
    real sum = vec_exp_sum(K, max, x);
    double loss = (double)max + log((double)sum) - dot;
    vec_scale((size_t)K, (grad ? t->scale : (real)1) / sum, x);
    for (int j = 0; j < K && grad; j++)
        x[j] -= t->scale * (real)((1 - eps) * (double)share[j] + eps / K);
    return loss;
}

/* One row of scores [K] without bias: turned into scale * d loss / d scores
 * when grad, into probabilities else. Returns the loss. */
static double full_row(const struct loss_task *t, int r, int grad, real *x)
{
    int K = t->w.r;
    int32_t target = t->target[r];
    real eps = t->smoothing, sum_x = 0;
    real max = vec_add_max(K, t->b, x);
    if (eps > 0)
        sum_x = vec_sum(K, x);
    real xt = x[target];
    real sum = vec_exp_sum(K, max, x);
    double log_z = (double)max + log((double)sum);
    double loss = log_z - (double)xt;
    if (eps > 0)
        loss = (1 - (double)eps) * loss +
               (double)eps * (log_z - (double)sum_x / K);
    if (!grad) {
        vec_scale((size_t)K, (real)1 / sum, x);
        return loss;
    }
    vec_scale((size_t)K, t->scale / sum, x);
    x[target] -= t->scale * ((real)1 - eps);
    if (eps > 0)
        for (int j = 0; j < K; j++)
            x[j] -= t->scale * eps / (real)K;
    return loss;
}

/* What a kind of loss makes of the scores x [K] of row r. */
typedef double row_fn(const struct loss_task *t, int r, int grad, real *x);

static double each_row(const struct loss_task *t, row_fn *row)
{
    double loss = 0;
    int K = t->w.r, grad = t->dy.p != NULL;
    for (int first = 0; first < t->y.r; first += t->work->block) {
        int n = t->y.r - first;
        n = n < t->work->block ? n : t->work->block;
        struct mat y = rows_of(t->y, first, n);
        struct mat s = mat_of(t->work->scores, n, K);
        blas_nt(t->blas, y, t->w, (real)0, s);
        for (int r = 0; r < n; r++) {
            real *x = s.p + (size_t)r * s.ld;
            loss += row(t, first + r, grad, x);
            if (grad)
                vec_add((size_t)K, x, t->db);
        }
        if (t->prob != NULL)
            memcpy(t->prob + (size_t)first * (size_t)K, s.p,
                   (size_t)n * (size_t)K * sizeof(real));
        if (!grad)
            continue;
        blas_nn(t->blas, s, t->w, (real)0, rows_of(t->dy, first, n));
        blas_tn(t->blas, s, y, (real)1, mat_ld(t->dw, t->w.r, t->w.c, t->w.ld));
    }
    return loss;
}

double loss_full(const struct loss_task *t)
{
    return each_row(t, t->soft != NULL ? soft_row : full_row);
}

/* One row of outputs x [K] without bias: turned into scale * d loss / d output
 * when grad. Returns the loss. */
static double square_row(const struct loss_task *t, int r, int grad, real *x)
{
    int K = t->w.r;
    const real *value = t->value + (size_t)r * (size_t)K;
    double loss = 0;
    for (int j = 0; j < K; j++) {
        real out = x[j] + t->b[j], off = out - value[j];
        loss += (double)off * (double)off / K;
        x[j] = grad ? t->scale * 2 * off / (real)K : out;
    }
    return loss;
}

double loss_squares(const struct loss_task *t)
{
    return each_row(t, square_row);
}

/* One row of sampled scores [set->n] (bias and correction not yet added):
 * becomes scale * gradient; *dt gets that of the target's score. */
static double sampled_row(const struct loss_task *t, const struct noise *set,
                          int32_t target, real score, real *x, real *dt)
{
    int hit = set->place[target];
    real max = vec_add_max(set->n, t->work->b, x);
    if (hit >= 0)
        x[hit] = (real)-1e30;
    max = score > max ? score : max;
    real sum = vec_exp_sum(set->n, max, x);
    if (hit >= 0) {
        sum -= x[hit];
        x[hit] = 0;
    }
    real et = real_exp(score - max);
    sum += et;
    vec_scale((size_t)set->n, t->scale / sum, x);
    *dt = t->scale * (et / sum - (real)1);
    return (double)max + log((double)sum) - (double)score;
}

static void gather_noise(const struct loss_task *t, const struct noise *set)
{
    size_t q = (size_t)t->w.c;
    for (int i = 0; i < set->n; i++) {
        size_t id = (size_t)set->ids[i];
        memcpy(t->work->w + (size_t)i * q, t->w.p + id * t->w.ld,
               q * sizeof(real));
        t->work->b[i] = t->b[id] - set->log_q[i];
    }
    memset(t->work->dw, 0, (size_t)set->n * q * sizeof(real));
    memset(t->work->db, 0, (size_t)set->n * sizeof(real));
}

static void scatter_noise(const struct loss_task *t, const struct noise *set)
{
    size_t q = (size_t)t->w.c;
    for (int i = 0; i < set->n; i++) {
        size_t id = (size_t)set->ids[i];
        rows_touch(t->rows_w, set->ids[i]);
        rows_touch(t->rows_b, set->ids[i]);
        vec_add(q, t->work->dw + (size_t)i * q, t->dw + id * q);
        t->db[id] += t->work->db[i];
    }
}

double loss_sampled(const struct loss_task *t, const struct noise *set)
{
    double loss = 0;
    int Q = t->w.c;
    size_t q = (size_t)Q;
    struct mat w = mat_of(t->work->w, set->n, Q);
    if (t->dy.p == NULL)
        return 0; /* of use in training only */
    gather_noise(t, set);
    for (int first = 0; first < t->y.r; first += t->work->block) {
        int n = t->y.r - first;
        n = n < t->work->block ? n : t->work->block;
        struct mat y = rows_of(t->y, first, n), dy = rows_of(t->dy, first, n);
        struct mat s = mat_of(t->work->scores, n, set->n);
        blas_nt(t->blas, y, w, (real)0, s);
        for (int r = 0; r < n; r++) {
            int32_t id = t->target[first + r];
            const real *row = t->w.p + (size_t)id * t->w.ld;
            const real *in = y.p + (size_t)r * y.ld;
            real *out = dy.p + (size_t)r * dy.ld;
            real d,
                score = vec_dot(Q, in, row) + t->b[id] - noise_log_q(set, id);
            real *x = s.p + (size_t)r * s.ld;
            loss += sampled_row(t, set, id, score, x, &d);
            vec_add((size_t)set->n, x, t->work->db);
            rows_touch(t->rows_w, id);
            rows_touch(t->rows_b, id);
            vec_axpy(q, d, in, t->dw + (size_t)id * q);
            t->db[id] += d;
            for (int j = 0; j < Q; j++)
                out[j] = d * row[j];
        }
        blas_nn(t->blas, s, w, (real)1, dy);
        blas_tn(t->blas, s, y, (real)1, mat_of(t->work->dw, set->n, Q));
    }
    scatter_noise(t, set);
    return loss;
}
