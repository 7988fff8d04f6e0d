/* task: what a job does with its rows. plan() puts the job's next span into a
 * batch, all or nothing; take() consumes what the step gave. The runner knows
 * no task, a task knows no runner. take() of different jobs may run on
 * different threads of the pool: it touches its own job, its own rows and the
 * thread's scratch, nothing else.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_TASK_H
#define SEQD_TASK_H

#include "engine/run/batch.h"
#include "engine/run/job.h"
#include "engine/run/sampler.h"

struct task_ctx {
    const struct model *model;
    const struct kernels *k;
    struct sampler_scratch *scratch; /* of this thread */
};

enum { TASK_MORE = 0, TASK_DONE = 1 };

struct task_ops {
    unsigned task; /* TASK_* */
    /* init: check the spec, allocate all that the job will need; on the
     * submitter's thread. On failure fini is called. */
    int (*init)(struct job *j, const struct job_spec *spec, struct err *e);
    void (*fini)(struct job *j);
    /* most_tokens: that the job's sequence can grow to; NULL: the prompt's. */
    int (*most_tokens)(const struct job *j);
    /* plan: add the job's next items. Tokens added; 0 when none fits. */
    int (*plan)(struct job *j, int budget, struct batch_plan *p);
    /* take: the n items of this job succeeded and are part of its sequence.
     * TASK_MORE, TASK_DONE, or -1 after job_fail. */
    int (*take)(struct job *j, const struct task_ctx *x,
                struct batch_item *first, int n);
    /* rest: on the runner's thread, after each step with items of the job and
     * when it leaves: give back sequences that plan() took. May be NULL. */
    void (*rest)(struct job *j, struct seq_store *st);
};

extern const struct task_ops task_next, task_classify, task_generate,
    task_embed, task_fill;

/* The parts of task_next that task_fill shares: the best tokens of a row of
 * logits. The task's state is theirs. */
int task_next_init(struct job *j, const struct job_spec *spec, struct err *e);
void task_next_fini(struct job *j);
int task_next_take(struct job *j, const struct task_ctx *x,
                   struct batch_item *first, int n);

extern const struct task_ops task_words; /* TASK_NEXT with job_spec.words */

/* Tokens of one item that a step has room for, however small its budget. */
#define TASK_LEAST_TOKENS 8

/* task_check_next: top_k and temperature. ERR_INVALID. */
int task_check_next(const struct job_spec *spec, struct err *e);

/* task_find: by TASK_* bit, or NULL. */
const struct task_ops *task_find(unsigned task);

/* task_plan_prompt: the next chunk of the job's tokens (the prompt, or what was
 * made of it too), from behind the longest shared prefix on; with the last
 * chunk, one row of `want` (WANT_LOGITS: of the last position), or none when
 * want is -1. */
int task_plan_prompt(struct job *j, int budget, struct batch_plan *p, int want);

/* task_row: the only wanted row of the item, checked: NULL, after job_fail,
 * when it holds a NaN or an infinity. n columns. */
float *task_row(struct job *j, const struct task_ctx *x,
                const struct batch_item *item, int n);

#endif
