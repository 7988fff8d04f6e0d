/* job: one item of a request on its way through the engine. Two references:
 * submitter and runner. Everything but `cancel`, `pause` and `refs` belongs to
 * the runner until the final event, to the submitter after it; the runner
 * writes nothing after that event.
 *
 * A job owns a set of sequences: the one its input is read into, and forks that
 * its task makes of it (paths, beams). Admission, the budget and pre-emption
 * count all of them. What it wants of its rows is its task's business
 * (task/task.h).
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_JOB_H
#define SEQD_JOB_H

#include <stdatomic.h>

#include "engine/run/engine.h"
#include "engine/run/state.h"

struct flow;

enum job_end { JOB_OPEN, JOB_ENDED, JOB_BROKEN };

struct job {
    atomic_int refs;
    atomic_int cancel;         /* set by job_cancel, read by the runner */
    atomic_int pause;          /* the same by job_pause */
    struct job *next;          /* in the queue, then among those that wait */
    struct lane *lane;         /* for the submitter's reference */
    uint64_t client;           /* who asks */
    struct flow *flow;         /* that client's at the runner */
    const struct model *model; /* the lane's */
    const struct task *task;
    void *own;          /* the task's state */
    const void *answer; /* the task's result */
    struct span in[MAX_PORTS];
    int32_t *tokens; /* [cap_tokens] in[0] and what was made; NULL: vectors */
    int n_tokens;    /* in[0].n */
    int n_all;       /* with what was made of it */
    int cap_tokens;
    int pos[MAX_PORTS];  /* rows of each port that are in the state */
    int seen[MAX_PORTS]; /* of the input, the most that ever were */
    struct seq *seq;     /* while it runs, or waits for its turn to go on; its
                            state is lost on the way when others need the
                            memory: then pos is 0 again */
    struct seq **fork;   /* [n_forks] */
    int n_forks, cap_forks, n_dropped;
    /* Forks that it goes on with once its input is read, to be held from step
     * to step (task/branches.h), and the rows of port 0 that each of them has
     * or is about to get behind those of the input. 0: none such. */
    int n_branches, branch_rows;
    /* Rows of each part of an input that is read in parts, each into a branch
     * (task/windows.h): seq stays empty, n_all is 0. 0: it is read as it is. */
    int window;
    uint64_t age;         /* the runner's count of jobs: lower is older */
    int first, n_planned; /* its items in the present batch */
    int starved;          /* it found no memory for an item in it */
    int uncut;            /* the whole prompt in one item */
    int unshared;         /* no prefix of it is known: all rows are wanted */
    int most_rows;        /* rows that it may want in one step */
    int scratch_vocab;    /* columns of task scratch that take() needs */
    float *attention;     /* [n_layers][n_heads][n_tokens][job_shown] or NULL */
    int64_t deadline_us;
    int64_t submit_us, start_us, token_us; /* 0: not yet */
    int fresh_tokens;                      /* made in this step */
    int fresh_read; /* of the input, read in parts in this step */
    void (*on_event)(void *user, const struct job_event *ev);
    void *user;
    const char *text; /* streamed text that this step made certain */
    size_t text_len;
    enum job_end end; /* what take() or a failure decided */
    struct job_result res;
    struct err err;
};

/* job_new: copies what the spec points to. The job starts with two references
 * (submitter and runner) and without a lane. ERR_INVALID (without param:
 * the caller knows the index), ERR_TOO_LARGE, ERR_UNSUPPORTED, ERR_NOMEM. */
int job_new(const struct job_spec *spec, struct job **out, struct err *e);
/* job_unref: one reference less; the last one frees. */
void job_unref(struct job *j);

/* job_rows: the input of a port from row `at` on, n rows; of port 0 also what
 * was made. */
struct span job_rows(const struct job *j, int port, int at, int n);

/* job_prompt: the port whose rows are what was asked: the source, where the
 * model has one. What a target begins with is the model's. */
int job_prompt(const struct job *j);

/* job_shown: rows that its attention looks at: of the source, or its own. */
int job_shown(const struct job *j);

/* job_most: rows of each port that one of its sequences can grow to. */
void job_most(const struct job *j, int64_t n[MAX_PORTS]);

/* job_add_token: a token that was made, part of the state from the next step
 * on. -1 when there is no memory. */
int job_add_token(struct job *j, int32_t id);

/* job_fail: decide that the job fails; the runner delivers it. The first
 * cause wins. Always -1. */
int job_fail(struct job *j, enum err_code code, const char *reason,
             const char *msg);

/* job_fork: from plan(): a copy of one of the job's sequences (pages are
 * shared), the job's too until it is dropped or the state is lost. seq_fork's
 * results. */
int job_fork(struct job *j, struct seq_store *st, const struct seq *from,
             struct seq **out);
/* job_drop: from plan() or take(): a fork is needed no more. Its memory goes
 * back when the step is over. */
void job_drop(struct job *j, struct seq *s);

/* job_sweep, job_lose_state: dropped forks go back; all sequences do. */
void job_sweep(struct job *j, struct seq_store *st);
void job_lose_state(struct job *j, struct seq_store *st);

#endif
