/* lane: a loaded model and the runner that serves it. The engine owns lanes and
 * knows both sides; a model knows no runner. A submitter's reference to a job
 * holds one to its lane: the last one frees both, engine or no engine, so that
 * job_cancel is safe at any time.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_LANE_H
#define SEQD_LANE_H

#include <stdatomic.h>

#include "engine/base/err.h"

struct model;
struct runner;
struct run_shared;

struct lane {
    atomic_int refs;
    struct model *model;
    struct runner *runner;
};

/* lane_open: takes over the caller's reference to m, also on failure; starts
 * the runner. One reference. */
int lane_open(struct model *m, struct run_shared *s, struct lane **out,
              struct err *e);
/* lane_stop: all its jobs get their final event; its thread ends. */
void lane_stop(struct lane *l);
void lane_retain(struct lane *l);
void lane_release(struct lane *l);

#endif
