/* scaling: see scaling.h. Parameter k of x is an a or a b: `of` says which, and
 * what it is multiplied with in a label's number (phi: z_l, 1, or 0).
 *
 * SPDX-License-Identifier: MIT */
#include "models/train/scaling.h"

#include <math.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/run/class_rules.h"

#define MOST_PARAMETERS (2 * SCALING_MOST_LABELS)
#define MOST_STEPS 100
#define MOST_HALVINGS 50
#define LEAST_GAIN 1e-13 /* of f, in nats: a step that gains less is the last */
#define NOTHING_LEFT 1e-9 /* nats: all texts are right, without a doubt */
#define RIDGE 1e-10 /* on the Hessian, which is flat along a bias for all */
#define ENOUGH 1e-4 /* of the gain that the gradient promises (Armijo) */

struct fit {
    enum scaling_kind kind;
    const struct scaling_texts *t;
    int n; /* parameters */
    double x[MOST_PARAMETERS], least[MOST_PARAMETERS], most[MOST_PARAMETERS];
    double g[MOST_PARAMETERS];
    double H[MOST_PARAMETERS][MOST_PARAMETERS];
    double *y; /* [n_labels] numbers of a text, then its probabilities */
};

/* a and b of a label. */
static double a_of(const struct fit *f, const double *x, int l)
{
    return x[f->kind == SCALING_ONE ? 0 : l];
}

static double b_of(const struct fit *f, const double *x, int l)
{
    return f->kind == SCALING_VECTOR ? x[f->t->n_labels + l] : 0;
}

/* Into y the probabilities of text i; its loss. */
static double text_loss(const struct scaling_texts *t, int i, double *y)
{
    double max = y[0], sum = 0;
    int C = t->n_labels;
    for (int l = 1; l < C; l++)
        max = y[l] > max ? y[l] : max;
    double right = y[t->label[i]] - max;
    for (int l = 0; l < C; l++) {
        y[l] = exp(y[l] - max);
        sum += y[l];
    }
    for (int l = 0; l < C; l++)
        y[l] /= sum;
    return log(sum) - right;
}

static const float *row_of(const struct scaling_texts *t, int i)
{
    return t->z + (size_t)i * (size_t)t->n_labels;
}

static double loss_at(const struct fit *f, const double *x)
{
    const struct scaling_texts *t = f->t;
    double loss = 0;
    for (int i = 0; i < t->n; i++) {
        const float *z = row_of(t, i);
        for (int l = 0; l < t->n_labels; l++)
            f->y[l] = a_of(f, x, l) * (double)z[l] + b_of(f, x, l);
        loss += t->weight[i] * text_loss(t, i, f->y);
    }
    return loss;
}

/* phi of parameter k for label l: what y_l has of it. */
static double phi(const struct fit *f, const float *z, int k, int l)
{
    int C = f->t->n_labels;
    if (f->kind == SCALING_ONE)
        return (double)z[l];
    if (k < C)
        return k == l ? (double)z[l] : 0;
    return k - C == l;
}

/* Text i's part of gradient and Hessian; y are its probabilities:
 * g_k = sum_l (p_l - [l = label]) phi_kl
 * H_km = sum_l p_l phi_kl phi_ml - (sum_l p_l phi_kl)(sum_l p_l phi_ml) */
static void add_text(struct fit *f, int i)
{
    const struct scaling_texts *t = f->t;
    const float *z = row_of(t, i);
    double mean[MOST_PARAMETERS], w = t->weight[i];
    int C = t->n_labels;
    for (int k = 0; k < f->n; k++) {
        mean[k] = 0;
        for (int l = 0; l < C; l++)
            mean[k] += f->y[l] * phi(f, z, k, l);
        f->g[k] += w * (mean[k] - phi(f, z, k, t->label[i]));
    }
    for (int k = 0; k < f->n; k++) {
        for (int m = 0; m <= k; m++) {
            double both = 0;
            if (f->kind == SCALING_ONE)
                for (int l = 0; l < C; l++)
                    both += f->y[l] * (double)z[l] * (double)z[l];
            else if (k % C == m % C) /* both are of one label */
                both = f->y[k % C] * phi(f, z, k, k % C) * phi(f, z, m, k % C);
            f->H[k][m] += w * (both - mean[k] * mean[m]);
        }
    }
}

static void differentiate(struct fit *f)
{
    const struct scaling_texts *t = f->t;
    memset(f->g, 0, sizeof f->g);
    memset(f->H, 0, sizeof f->H);
    for (int i = 0; i < t->n; i++) {
        const float *z = row_of(t, i);
        for (int l = 0; l < t->n_labels; l++)
            f->y[l] = a_of(f, f->x, l) * (double)z[l] + b_of(f, f->x, l);
        text_loss(t, i, f->y);
        add_text(f, i);
    }
}

/* A parameter that its bound keeps from falling further. */
static int is_held(const struct fit *f, int k)
{
    return (f->x[k] <= f->least[k] && f->g[k] > 0) ||
           (f->x[k] >= f->most[k] && f->g[k] < 0);
}

/* Newton's step of those that are free, by Cholesky's factors in place of H
 * (which is positive with its ridge); of the others none. */
static void find_step(struct fit *f, double *step)
{
    int n = f->n;
    for (int k = 0; k < n; k++) {
        int held = is_held(f, k);
        for (int m = 0; m < k; m++)
            f->H[k][m] = held || is_held(f, m) ? 0 : f->H[k][m];
        f->H[k][k] = held ? 1 : f->H[k][k] + RIDGE;
        step[k] = held ? 0 : -f->g[k];
    }
    for (int k = 0; k < n; k++) {
        for (int m = 0; m <= k; m++) {
            double v = f->H[k][m];
            for (int j = 0; j < m; j++)
                v -= f->H[k][j] * f->H[m][j];
            if (m < k)
                f->H[k][m] = v / f->H[m][m];
            else
                f->H[k][k] = sqrt(v > RIDGE ? v : RIDGE);
        }
        for (int j = 0; j < k; j++)
            step[k] -= f->H[k][j] * step[j];
        step[k] /= f->H[k][k];
    }
    for (int k = n - 1; k >= 0; k--) {
        for (int j = k + 1; j < n; j++)
            step[k] -= f->H[j][k] * step[j];
        step[k] /= f->H[k][k];
    }
}

/* A step, as long as it may be. Returns what it gained; 0: none does. */
static double take_step(struct fit *f, double before, const double *step)
{
    double x[MOST_PARAMETERS], t = 1;
    for (int half = 0; half < MOST_HALVINGS; half++, t /= 2) {
        double promised = 0;
        for (int k = 0; k < f->n; k++) {
            x[k] = fmin(fmax(f->x[k] + t * step[k], f->least[k]), f->most[k]);
            promised += f->g[k] * (f->x[k] - x[k]);
        }
        double gain = before - loss_at(f, x);
        if (promised > 0 && gain >= ENOUGH * promised) {
            memcpy(f->x, x, sizeof x);
            return gain;
        }
    }
    return 0;
}

static void begin(struct fit *f)
{
    int C = f->t->n_labels, one = f->kind == SCALING_ONE;
    f->n = one ? 1 : f->kind == SCALING_LABELS ? C : 2 * C;
    for (int k = 0; k < f->n; k++) {
        int is_a = one || k < C;
        f->x[k] = is_a;
        f->least[k] = is_a ? 1 / CLASS_MOST_TEMPERATURE : -CLASS_MOST_BIAS;
        f->most[k] = is_a ? 1 / CLASS_LEAST_TEMPERATURE : CLASS_MOST_BIAS;
    }
}

/* Returns the loss that is left. */
static double run(struct fit *f)
{
    double step[MOST_PARAMETERS], loss = loss_at(f, f->x);
    for (int i = 0; i < MOST_STEPS; i++) {
        differentiate(f);
        find_step(f, step);
        double gain = take_step(f, loss, step);
        loss -= gain;
        if (gain < LEAST_GAIN)
            break;
    }
    return loss;
}

int scaling_fit(enum scaling_kind kind, const struct scaling_texts *t,
                double *temperature, double *bias, int *at_bound, struct err *e)
{
    int C = t->n_labels;
    if (t->n < 1)
        return err_set(e, ERR_INVALID, "no texts to find a temperature by");
    if (kind != SCALING_ONE && C > SCALING_MOST_LABELS)
        return err_set(e, ERR_INVALID,
                       "a temperature for each of %d labels, at most %d are "
                       "found",
                       C, SCALING_MOST_LABELS);
    struct fit *f = mem_zalloc(sizeof *f);
    if (f == NULL)
        return err_nomem(e);
    f->kind = kind;
    f->t = t;
    f->y = mem_array((size_t)C, sizeof *f->y);
    if (f->y == NULL) {
        mem_free(f);
        return err_nomem(e);
    }
    begin(f);
    *at_bound = run(f) < NOTHING_LEFT;
    double mean = 0;
    for (int l = 0; l < C; l++)
        mean += b_of(f, f->x, l) / C;
    for (int l = 0; l < C; l++) {
        int k = kind == SCALING_ONE ? 0 : l;
        *at_bound |= f->x[k] <= f->least[k] || f->x[k] >= f->most[k];
        temperature[l] = 1 / f->x[k];
        bias[l] = b_of(f, f->x, l) - mean;
    }
    mem_free(f->y);
    mem_free(f);
    return 0;
}

double scaling_loss(const struct scaling_texts *t, const double *temperature,
                    const double *bias)
{
    double loss = 0, *y = mem_array((size_t)t->n_labels, sizeof *y);
    for (int i = 0; y != NULL && i < t->n; i++) {
        const float *z = row_of(t, i);
        for (int l = 0; l < t->n_labels; l++)
            y[l] = (double)z[l] / temperature[l] + bias[l];
        loss += t->weight[i] * text_loss(t, i, y);
    }
    mem_free(y);
    return y != NULL ? loss : (double)NAN;
}
