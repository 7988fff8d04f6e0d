/* job: one item of a request on its way through the engine. Two references:
 * submitter and runner. Everything but `cancel` and `refs` belongs to the
 * runner until the final event, to the submitter after it; the runner writes
 * nothing after that event.
 *
 * A job says nothing about batches; what it wants of its rows is its task's
 * business (task.h).
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_JOB_H
#define SEQD_JOB_H

#include <stdatomic.h>

#include "engine/run/engine.h"
#include "engine/run/state.h"

struct task_ops;

enum job_end { JOB_OPEN, JOB_ENDED, JOB_BROKEN };

struct job {
    atomic_int refs;
    atomic_int cancel; /* set by job_cancel, read by the runner */
    struct job *next;  /* in the queue, then in the runner's pending list */
    struct model *model;
    const struct task_ops *ops;
    void *task;      /* the task's own state */
    int32_t *tokens; /* [cap_tokens] the prompt, then what was made */
    int n_tokens;    /* of the prompt */
    int n_all;       /* with what was made of it */
    int cap_tokens;
    int pos;              /* tokens that are in the state */
    int seen;             /* of the prompt, the most that ever were */
    struct seq *seq;      /* while it runs; its state is lost on the way when
                             others need the memory: then pos is 0 again */
    uint64_t age;         /* the runner's count of jobs: lower is older */
    int first, n_planned; /* its items in the present batch */
    int starved;          /* it found no memory for an item in it */
    int uncut;            /* the whole prompt in one item, no shared prefix */
    int most_rows;        /* rows that it may want in one step */
    int scratch_vocab;    /* columns of task scratch that take() needs */
    float *attention;     /* [n_layers][n_heads][n_tokens][n_tokens] or NULL */
    int64_t deadline_us;
    int64_t submit_us, start_us, token_us; /* 0: not yet */
    int fresh_tokens;                      /* made in this step */
    void (*on_event)(void *user, const struct job_event *ev);
    void *user;
    const char *text; /* streamed text that this step made certain */
    size_t text_len;
    enum job_end end; /* what take() or a failure decided */
    struct job_result res;
    struct err err;
};

/* job_new: copies what the spec points to. The job starts with two references
 * (submitter and runner) and retains the model. ERR_INVALID (without param:
 * the caller knows the index), ERR_TOO_LARGE, ERR_UNSUPPORTED, ERR_NOMEM. */
int job_new(const struct job_spec *spec, struct job **out, struct err *e);

/* job_add_token: a token that was made, part of the state from the next step
 * on. -1 when there is no memory. */
int job_add_token(struct job *j, int32_t id);

/* job_fail: decide that the job fails; the runner delivers it. The first
 * cause wins. Always -1. */
int job_fail(struct job *j, enum err_code code, const char *reason,
             const char *msg);

#endif
