/* job_watch: submit jobs to an engine in a test, collect their events, count
 * the final ones.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_JOB_WATCH_H
#define SEQD_JOB_WATCH_H

#include <pthread.h>
#include <stdatomic.h>

#include "tests/support/flat_job.h"

#define WATCH_TEXT 4096

struct watched {
    struct job *job;
    struct watch *watch;
    int n_final, n_text; /* events */
    enum job_event_kind final;
    char text[WATCH_TEXT]; /* streamed */
    size_t text_len;
    int order, stamp; /* of the final event: how manieth, at which stamp */
    int cancel_after; /* cancel from on_event after so many JOB_TEXT; 0: no */
};

struct watch {
    pthread_mutex_t mu;
    pthread_cond_t cv;
    int n_final; /* of all jobs */
    int n_late;  /* events after a job's final one */
    int n_flush;
    int unflushed;     /* events since the last flush */
    int bad_text;      /* JOB_TEXT events that are not whole code points */
    atomic_int *stamp; /* NULL, or a number to note at final events */
};

void watch_init(struct watch *r);
void watch_fini(struct watch *r);
void watch_flush(void *ctx); /* engine_options.flush; ctx is the watch */

/* watch_submit: fills on_event and user of the specs. engine_submit's result.
 * */
int watch_submit(struct watch *r, struct engine *g, struct flat_spec *specs,
                 int n, struct watched *jobs, struct err *e);
/* watch_wait: until n final events in all came, at most 20 s. 0 or -1. */
int watch_wait(struct watch *r, int n);
void watch_release(struct watched *jobs, int n);

#endif
