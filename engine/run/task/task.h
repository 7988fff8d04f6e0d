/* task: what a job does with its rows. plan() puts the job's next span into a
 * batch, all or nothing; take() consumes what the step gave. The runner knows
 * no task, a task knows no runner. take() of different jobs may run on
 * different threads of the pool: it touches its own job, its own rows and the
 * thread's scratch, nothing else.
 *
 * A task is one .c and one .h in this folder: the header holds its parameters,
 * its result and the task itself; nothing else in engine/ lists it. Which
 * models can do it (model_can) follows from what it needs.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_TASK_H
#define SEQD_TASK_H

#include "engine/run/arch.h"

struct batch_plan;
struct job;
struct model;
struct sampler_scratch;

struct task_ctx {
    const struct model *model;
    const struct kernels *k;
    struct sampler_scratch *scratch; /* of this thread */
};

enum { TASK_MORE = 0, TASK_DONE = 1 };

/* What a task needs besides columns of an output. */
#define TASK_TOKENS 1u /* port 0 takes tokens */
#define TASK_APPEND 2u /* port 0 can be continued */
#define TASK_WHOLE 4u  /* port 0 looks both ways */
#define TASK_SOURCE 8u /* there is a source; without it there must be none */
#define TASK_ANY_SOURCE 32u  /* there may be a source */
#define TASK_SOURCE_TEXT 64u /* the source takes tokens */
#define TASK_STREAM 16u /* the input may be longer than an item of a request */

struct task {
    const char *name;  /* for messages */
    enum out output;   /* must have columns */
    unsigned needs;    /* TASK_TOKENS ... */
    int forks;         /* at least so many at once, or it cannot go on */
    const char *param; /* that asks for it, to blame when a model cannot; NULL:
                          "model" */
    /* init: check the parameters (NULL where the task has none), allocate all
     * that the job will need; on the submitter's thread. On failure fini is
     * called. */
    int (*init)(struct job *j, const void *params, struct err *e);
    void (*fini)(struct job *j);
    /* most: rows of each port that a sequence of the job can grow to; NULL:
     * its input's. */
    void (*most)(const struct job *j, int64_t n[MAX_PORTS]);
    /* longest: rows of port 0 that an input may have; NULL:
     * model_max_tokens. */
    int (*longest)(const struct model *m);
    /* plan: add the job's next items. Rows added; 0 when none fits. */
    int (*plan)(struct job *j, int budget, struct batch_plan *p);
    /* take: the n items of this job succeeded and are part of their sequences.
     * TASK_MORE, TASK_DONE, or -1 after job_fail. */
    int (*take)(struct job *j, const struct task_ctx *x,
                struct batch_item *first, int n);
    /* lost: all sequences were taken away; plan() begins again. NULL: nothing
     * of the task's lives in forks between steps. */
    void (*lost)(struct job *j);
};

/* Rows of one item that a step has room for, however small its budget. */
#define TASK_LEAST_TOKENS 8

#endif
