/* runner_impl: the runner's data, for runner.c (events, steps, life),
 * runner_admit.c (who runs: admission, deadlines, the full budget) and
 * runner_share.c (whose turn it is among clients). Everything in struct runner
 * but the queue and the atomics is touched by the runner's thread only.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_RUNNER_IMPL_H
#define SEQD_RUNNER_IMPL_H

#include "engine/run/batch.h"
#include "engine/run/model.h"
#include "engine/run/pace.h"
#include "engine/run/queue.h"
#include "engine/run/runner.h"
#include "engine/run/sampler.h"
#include "engine/run/task/task.h"

struct runner_metrics {
    struct metric_series *queue, *inference, *first_token, *inter_token;
    struct metric_series *batch, *depth, *prompt, *completion, *cached;
    struct metric_series *gone, *deadline, *drain;
    struct metric_series *prefix, *preempted, *pages_used, *pages_idle;
    struct metric_series *clients, *yielded;
};

struct runner {
    struct model *model; /* the lane holds the reference */
    struct run_shared *s;
    struct queue queue;
    pthread_t thread;
    int started;
    atomic_int cancels; /* calls of job_cancel so far */
    atomic_int drop;    /* fail all that is left */
    atomic_int stop;
    atomic_int trim;     /* others ask for what is idle here */
    struct runner *next; /* of all runners; under s->mu */
    int cancels_seen;
    atomic_int pauses; /* the same of job_pause */
    int pauses_seen;
    struct job *paused;     /* wait to be called on, linked by next */
    struct flow *flows;     /* of the clients that are or were just there */
    int n_flows, n_clients; /* of those with open jobs, as last reported */
    int n_pending;          /* taken, not yet admitted, or waiting again */
    int n_parked;           /* of those and the paused, with their states */
    /* For other runners: the clients here with the fewest jobs. */
    struct runner_light {
        _Atomic uint64_t client;
        atomic_int open;
        _Atomic int64_t until;
    } light[2];
    int64_t next_deadline; /* of all that wait; INT64_MAX: none */
    struct job **active;   /* [max_rows] */
    int n_active;
    int starved; /* nothing runs here, since others hold the state budget */
    int stuck;   /* steps in a row in which nobody found memory */
    int pause;   /* wait a little before the next one */
    struct job *claimant; /* whose claim to the budget this runner has */
    uint64_t n_jobs;      /* so far: their age */
    int step_tokens;
    int used, idle; /* pages, as last reported */
    struct seq_store store;
    struct batch_plan plan;
    void *scratch;
    size_t scratch_bytes;
    int64_t longest; /* sequence that there is scratch for */
    struct sampler_scratch *take_scratch; /* [n_threads] */
    int n_threads;
    double step_us; /* the last step took */
    struct pace pace;
    int n_events, n_final; /* since the last flush */
    struct runner_metrics m;
};

/* runner.c */
/* runner_step_bytes: scratch of usual steps with so many wanted rows, whose
 * sequences are no longer than r->longest. */
size_t runner_step_bytes(const struct runner *r, int rows);
void runner_end_job(struct runner *r, struct job *j, int64_t now);
void runner_deliver(struct runner *r); /* events; jobs that ended leave */
void runner_fail_batch(struct runner *r, const struct err *e);

/* runner_admit.c */
void runner_intake(struct runner *r);
void runner_pause(struct runner *r); /* who has to, and who goes on */
void runner_expire(struct runner *r, int64_t now);
void runner_admit(struct runner *r, int64_t now);
/* runner_get_unstuck: after a step without items. */
void runner_get_unstuck(struct runner *r);
void runner_unclaim(struct runner *r);
/* runner_trim: give back what no running job uses. */
void runner_trim(struct runner *r);
/* runner_stop_job: an active job waits again, with its state or without. */
void runner_stop_job(struct runner *r, int at, int keep);

/* runner_share.c */
void runner_meet(struct runner *r, struct flow *f); /* it has a new job */
/* runner_next_flow: whose job is admitted next; NULL when none waits. */
struct flow *runner_next_flow(const struct runner *r);
/* runner_victim: the active job whose place flow f may have, or -1. keep: the
 * job would keep its state. */
int runner_victim(const struct runner *r, const struct flow *f, int keep);
/* runner_weigh: before a step: which clients are heavy; those that are far
 * behind catch up; flows that nobody needs any more go. */
void runner_weigh(struct runner *r, int64_t now);

#endif
