/* paths_task: a task for models with a source: several paths from one beginning
 * of the target, the PATHS best first tokens, each continued greedily. They are
 * forks that share the source and live from step to step.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_PATHS_TASK_H
#define SEQD_PATHS_TASK_H

#include "engine/run/engine.h"
#include "engine/run/task/task.h"

#define PATHS 3
#define PATH_STEPS 9 /* tokens of a path */

struct paths_params {
    int attention; /* of the beginning, too (job_result), and of each token of
                      the first path, in its hash */
};

struct paths { /* the answer */
    struct seq *seq[PATHS];
    int32_t ids[PATHS][PATH_STEPS];
    uint64_t bits[PATHS]; /* a hash of the rows that made it */
    float *shown;         /* [layers][heads][rows of an item][source] */
    int n[PATHS];         /* made */
    int fed[PATHS];       /* in its fork */
    int begun;            /* the first row has been read */
    int planned[PATHS], n_planned;
};

/* paths_best: the column of the `rank` largest of a row of n (0: the largest;
 * of equal ones the first). */
int32_t paths_best(const float *row, int n, int rank);

extern const struct task task_paths;

#endif
