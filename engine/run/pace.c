/* pace: see pace.h.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/run/pace.h"

#include <math.h>

/* A hand-off to another core is worth it from about this much work a thread
 * (models of a few hundred thousand parameters lose by a second thread). */
#define FLOPS_WORTH_A_THREAD 1e6
/* The other choice is tried again after so many steps: soon while it is nearly
 * as good, seldom when it costs. */
#define TRY_NEAR 32
#define TRY_FAR 256
#define NEAR 0.8
#define KEEP 0.75 /* of the old mean, when a new speed comes in */
/* The same for what steps cost: slower, since one point stands for few. */
#define KEEP_POINT 0.9
#define MOST_RISE 0.02
/* Points of about one size say nothing about a and b. */
#define NO_SPREAD 1e-3
/* Steps after which a size that was not seen again is not believed. */
#define STALE 512
/* However much or little work costs beside the step itself: the next size of
 * points, and what a guess of a machine in use may not go past. */
#define LEAST_BESIDE 2.0
#define MOST_BESIDE 8.0

double pace_work(const struct model_info *i, int n_tokens, int n_rows)
{
    double token =
        i->token_flops ? (double)i->token_flops : 2.0 * (double)i->parameters;
    return token * n_tokens + (double)i->row_flops * n_rows;
}

int pace_most(double work, int most)
{
    double n = work / FLOPS_WORTH_A_THREAD;
    return n < 2 ? 1 : n < most ? (int)n : most;
}

/* Sizes are powers of two of the least work for two threads. */
static int size_of(double work)
{
    int k = ilogb(work / FLOPS_WORTH_A_THREAD);
    return k < 0 ? 0 : k < PACE_SIZES ? k : PACE_SIZES - 1;
}

int pace_pick(const struct pace *t, double work, int most)
{
    int all = pace_most(work, most);
    if (all == 1)
        return 1;
    const struct pace_size *s = &t->size[size_of(work)];
    if (s->speed[1] == 0 || s->speed[0] == 0) {
        /* All first; one is tried when some steps have been seen. */
        return s->speed[1] == 0 || s->since[0] < TRY_NEAR ? all : 1;
    }
    int best = s->speed[1] >= s->speed[0];
    double ratio = s->speed[!best] / s->speed[best];
    int due = s->since[!best] >= (ratio > NEAR ? TRY_NEAR : TRY_FAR);
    return best != due ? all : 1;
}

void pace_note(struct pace *t, double work, int n, double us)
{
    struct pace_size *s = &t->size[size_of(work)];
    int with_all = n > 1;
    double speed = work / (us > 0.1 ? us : 0.1);
    double *mean = &s->speed[with_all];

    *mean = *mean == 0 ? speed : KEEP * *mean + (1 - KEEP) * speed;
    s->since[with_all] = 0;
    if (s->since[!with_all] < TRY_FAR)
        s->since[!with_all]++;
}

void pace_see(struct pace *t, double work, double us)
{
    if (!(work >= 1.0) || !(us > 0.0))
        return;
    int k = ilogb(work);
    struct pace_point *p = &t->point[k < PACE_POINTS ? k : PACE_POINTS - 1];
    double keep = p->us == 0 ? 0 : KEEP_POINT;
    p->at = ++t->n_seen;
    p->work = keep * p->work + (1 - keep) * work;
    /* A step that lost its core to another program takes many times as long,
     * and says nothing: down fast, up slowly. */
    double rise = KEEP_POINT * p->us + (1 - KEEP_POINT) * us;
    double most = (1 + MOST_RISE) * p->us;
    if (p->us == 0)
        p->us = us;
    else if (us < p->us)
        p->us = (p->us + us) / 2;
    else
        p->us = rise < most ? rise : most;
}

double pace_beside(const struct pace *t, double work)
{
    /* The least squares of relative errors: weights 1 / us^2, so that small
     * steps, which say what a is, count as much as large ones. */
    double s0 = 0, sx = 0, sxx = 0, sy = 0, sxy = 0;

    for (int i = 0; i < PACE_POINTS; i++) {
        const struct pace_point *p = &t->point[i];
        if (p->us == 0 || t->n_seen - p->at > STALE)
            continue;
        double w = 1 / (p->us * p->us);
        s0 += w;
        sx += w * p->work;
        sxx += w * p->work * p->work;
        sy += w * p->us;
        sxy += w * p->work * p->us;
    }
    double det = s0 * sxx - sx * sx;
    if (!(det > NO_SPREAD * s0 * sxx))
        return LEAST_BESIDE * work;
    double a = (sxx * sy - sx * sxy) / det, b = (s0 * sxy - sx * sy) / det;
    if (!(a > 0))
        return LEAST_BESIDE * work;
    double most = b > 0 ? work + a / b : MOST_BESIDE * work;
    most = most < MOST_BESIDE * work ? most : MOST_BESIDE * work;
    return most > LEAST_BESIDE * work ? most : LEAST_BESIDE * work;
}
