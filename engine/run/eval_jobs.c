/* eval_jobs: see eval_jobs.h.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/run/eval_jobs.h"

#include <pthread.h>
#include <string.h>

struct waiter {
    pthread_mutex_t mu;
    pthread_cond_t done;
    int left;
};

static void on_event(void *user, const struct job_event *ev)
{
    struct waiter *w = user;
    if (ev->kind == JOB_TEXT)
        return;
    pthread_mutex_lock(&w->mu);
    if (--w->left == 0)
        pthread_cond_signal(&w->done);
    pthread_mutex_unlock(&w->mu);
}

int eval_jobs(struct engine *g, struct job_spec *spec, int n, struct job **job,
              struct err *e)
{
    struct waiter w = {.left = n};

    memset(job, 0, (size_t)n * sizeof(struct job *));
    pthread_mutex_init(&w.mu, NULL);
    pthread_cond_init(&w.done, NULL);
    for (int i = 0; i < n; i++) {
        spec[i].on_event = on_event;
        spec[i].user = &w;
    }
    int rc = engine_submit(g, spec, n, job, e);
    if (rc == 0) {
        pthread_mutex_lock(&w.mu);
        while (w.left > 0)
            pthread_cond_wait(&w.done, &w.mu);
        pthread_mutex_unlock(&w.mu);
    }
    pthread_cond_destroy(&w.done);
    pthread_mutex_destroy(&w.mu);
    return rc;
}

int eval_failed(const struct job *j, struct err *e)
{
    const struct err *failed = job_error(j);
    return failed->code != ERR_NONE
               ? err_set(e, failed->code, "%s", failed->msg)
               : 0;
}
