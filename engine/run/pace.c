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
