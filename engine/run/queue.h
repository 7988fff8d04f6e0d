/* queue: from any thread to one runner. A mutex, a condition variable, and one
 * atomic count that the runner looks at without the lock; it takes all that
 * waits in one go. Before it parks it looks for a bounded time, since waking a
 * parked core costs some 22 us here; never longer, since a spin without end
 * starves the threads that it waits for.
 *
 * `waiting` counts items from submission until the runner admits or ends them,
 * so the limit holds for what the runner has taken but not begun, too. The last
 * eighth of a queue of some length is kept from clients that have more than an
 * eighth of it open: others still find room beside them.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_QUEUE_H
#define SEQD_QUEUE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "engine/run/flow.h"
#include "engine/run/job.h"

struct queue {
    pthread_mutex_t mu;
    pthread_cond_t cv;
    struct job *head, *tail;
    struct flow *flows; /* one a client */
    atomic_int fresh;   /* jobs in the list, or a wake-up (counts once) */
    atomic_int waiting; /* items not yet admitted */
    int max;
    int closed;   /* no more jobs */
    int sleeping; /* the runner is in or near the condition variable */
};

int queue_init(struct queue *q, int max, struct err *e);
void queue_fini(struct queue *q);

/* queue_push: n linked jobs of one client, all or none, in their order; they
 * get its flow. ERR_BUSY (reason "queue_full"), ERR_TOO_LARGE when they could
 * never fit, ERR_DRAINING, ERR_NOMEM. */
int queue_push(struct queue *q, struct job *first, struct job *last, int n,
               struct err *e);
/* queue_take: all that waits, linked in order of arrival, or NULL. */
struct job *queue_take(struct queue *q);
/* queue_begun: n items were admitted or ended. */
void queue_begun(struct queue *q, int n);
/* queue_wait: until there is something to take or a wake-up; spins at most
 * spin_us first, parks at most park_us (0: without limit). */
void queue_wait(struct queue *q, int spin_us, int64_t park_us);
void queue_wake(struct queue *q);
/* queue_forget: free a flow without open jobs; 0: it has got one meanwhile. */
int queue_forget(struct queue *q, struct flow *f);
void queue_close(struct queue *q); /* later pushes get ERR_DRAINING */

#endif
