/* flow: what one client has at one runner: its jobs that wait, by age, and how
 * much it was served so far. Clients are told apart by a number that whoever
 * submits makes (job_spec.client). Fair queueing is between flows, not between
 * jobs: who asks for more waits longer, behind itself (runner_share.c).
 *
 * A flow is made when a job is pushed and stays a while after its last one, so
 * that a client that asks now and then is known when it comes back. `client`
 * and `open` are for any thread that holds the queue's mutex, the rest is the
 * runner's.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_FLOW_H
#define SEQD_FLOW_H

#include <stdatomic.h>
#include <stdint.h>

struct job;

struct flow {
    uint64_t client;
    struct flow *next;       /* of the queue's, under its mutex */
    atomic_int open;         /* jobs without their final event */
    struct flow *peer;       /* of the runner's */
    int known;               /* it is among those */
    struct job *head, *tail; /* wait, the oldest first; head NULL: none */
    int n_active, n_paused;
    uint64_t served; /* tokens, or what a newcomer is taken to have had */
    int64_t left_us; /* when the last job ended */
    int heavy;       /* its rows may only double the step of the others */
    uint64_t cost;   /* while a step's order is made */
};

/* flow_add: among those that wait, by age. */
void flow_add(struct flow *f, struct job *j);

#endif
