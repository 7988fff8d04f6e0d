/* runner: one thread per loaded model. It owns the sequences' states, the
 * batch and the scratch, so the loop takes no lock but the queue's and holds
 * the compute pool for one step at a time:
 *
 *   take what waits -> expire -> admit -> build -> step -> take -> deliver
 *
 * A new batch forms at every step from whatever is there; nothing waits for
 * company. Memory but pages grows in admission only, and growth that fails
 * fails the job that needed it.
 *
 * Whose work goes first among clients is runner_share.c's business: by places
 * and by tokens, whatever each has asked for.
 *
 * A paused job (job_pause) waits beside the others: it has no place, and its
 * state is the first to go when memory is short.
 *
 * When the budget of states is full: what waits with a state gives it up, then
 * the client with most jobs that of its youngest for a client with few; else
 * new work waits; a running job that finds no pages waits for the others; a
 * runner that can run nothing asks the others for what they keep idle; and when
 * none of its jobs can move, the youngest of the clients with most loses its
 * state and starts again later from its prompt and what it has made, with the
 * same bits. So that of several runners that are stuck one goes on, a job may
 * claim the budget: while it waits for memory nobody admits work, and others
 * that are stuck give up all they hold. Each job fits alone (runner_fits), so
 * the claim is always met in the end.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_RUNNER_H
#define SEQD_RUNNER_H

#include <pthread.h>
#include <stdatomic.h>

#include "engine/run/engine.h"
#include "engine/run/state.h"

struct runner;
struct job;
struct model;

/* What all runners of an engine share. */
struct run_shared {
    struct engine_options o; /* resolved: no zeroes that mean defaults */
    const struct kernels *k;
    struct pool *pool;
    struct state_budget budget;
    struct mem_budget *tables; /* load_opts.tables; a reference */
    int paged_step_tokens;     /* budget of a step for models with pages: a step
                              of o.step_tokens would take too long */
    struct runner *runners;    /* all that run; under mu */
    /* Accepted jobs without their final event; drain waits for none. */
    atomic_long open_jobs;
    pthread_mutex_t mu;
    pthread_cond_t idle;
};

/* runner_new: everything but the thread. The model must outlive it. */
int runner_new(struct model *m, struct run_shared *s, struct runner **out,
               struct err *e);
int runner_start(struct runner *r, struct err *e);
/* runner_submit: n linked jobs, all or none (queue_push's errors). */
int runner_submit(struct runner *r, struct job *first, struct job *last, int n,
                  struct err *e);
void runner_close(struct runner *r); /* no more jobs */
void runner_drop(struct runner *r);  /* fail all that is left (shutting down) */
void runner_stop(struct runner *r);  /* join; all jobs get their final event */
void runner_free(struct runner *r);  /* after runner_stop; NULL is fine */
void runner_cancelled(struct runner *r); /* some job's cancel flag was set */
void runner_paused(struct runner *r);    /* some job's pause flag has changed */
/* runner_fits: ERR_TOO_LARGE when the job's state is over the whole budget. */
int runner_fits(const struct runner *r, const struct job *j, struct err *e);

#endif
