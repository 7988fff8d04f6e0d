/* pace: how many threads a step gets. Little work stays on one thread: a
 * hand-off to another core costs more than it gives. Beyond that the answer
 * depends on who else wants the cores, and no estimate knows that: a step that
 * meets at barriers runs at the pace of its slowest thread, and is several
 * times slower than one thread alone when a neighbour holds a core. So the
 * runner measures: for each size of work it keeps the speed with one thread
 * and with all, uses the faster one, and tries the other now and then. Bits
 * never depend on the choice (decision 7).
 *
 * It also learns what a step costs by itself and what by its work, so that the
 * runner can say how much of others' work fits beside somebody's.
 *
 * Belongs to one runner.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_PACE_H
#define SEQD_PACE_H

#include <stdint.h>

#include "engine/run/arch.h"

#define PACE_SIZES 16
#define PACE_POINTS 48 /* powers of two of work */

struct pace_size {
    double speed[2]; /* flops a microsecond with one, with all; 0: not known */
    int since[2];    /* steps since it was tried */
};

struct pace_point {
    double work, us; /* about the usual; 0: none yet */
    unsigned at;     /* the step that it was last seen in */
};

struct pace {
    struct pace_size size[PACE_SIZES];
    struct pace_point point[PACE_POINTS];
    unsigned n_seen;
};

/* pace_work: estimated flops of a step. */
double pace_work(const struct model_info *i, int n_tokens, int n_rows);
/* pace_most: as many of at most `most` threads as so much work can use. */
int pace_most(double work, int most);
/* pace_pick: 1 or pace_most(work, most). */
int pace_pick(const struct pace *t, double work, int most);
/* pace_note: a step of this work took us microseconds with n threads. */
void pace_note(struct pace *t, double work, int n, double us);

/* pace_see: a step of this work took us microseconds, whatever it had. */
void pace_see(struct pace *t, double work, double us);
/* pace_beside: the work that makes a step of `work` take twice its time, since
 * a step costs something by itself: a + b work microseconds, by the steps seen.
 * At least twice `work`, so that steps of other sizes are seen, too. */
double pace_beside(const struct pace *t, double work);

#endif
