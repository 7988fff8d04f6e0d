/* eval_jobs: jobs for those who wait for them on their own thread.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_EVAL_JOBS_H
#define SEQD_EVAL_JOBS_H

#include "engine/run/engine.h"

#define EVAL_GROUP 256 /* items handed to the engine together */

/* eval_jobs: submit the jobs, wait for all of them. They are the caller's to
 * release; NULL when they were refused. spec: on_event and user are set here.
 * engine_submit's errors. */
int eval_jobs(struct engine *g, struct job_spec *spec, int n, struct job **job,
              struct err *e);
/* eval_failed: the error of a job that failed into e, -1; else 0. */
int eval_failed(const struct job *j, struct err *e);

#endif
