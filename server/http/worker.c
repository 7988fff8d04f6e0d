/* worker: see worker.h. The queue is a list through the requests, so a push
 * cannot fail.
 *
 * SPDX-License-Identifier: MIT */
#include "server/http/worker.h"

#include <pthread.h>

#include "engine/base/mem.h"

struct worker {
    pthread_t thread;
    pthread_mutex_t mu;
    pthread_cond_t more;
    struct request *first, *last; /* under mu */
    int stop;                     /* under mu */
};

static struct request *take(struct worker *w)
{
    pthread_mutex_lock(&w->mu);
    while (!w->first && !w->stop)
        pthread_cond_wait(&w->more, &w->mu);
    struct request *r = w->first;
    if (r)
        w->first = r->next_work;
    pthread_mutex_unlock(&w->mu);
    return r;
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    struct request *r;
    while ((r = take(w)) != NULL)
        r->work(r);
    return NULL;
}

int worker_open(struct worker **out, struct err *e)
{
    struct worker *w = mem_zalloc(sizeof *w);
    if (!w)
        return err_nomem(e);
    pthread_mutex_init(&w->mu, NULL);
    pthread_cond_init(&w->more, NULL);
    if (pthread_create(&w->thread, NULL, worker_main, w)) {
        mem_free(w);
        return err_set(e, ERR_NOMEM, "the worker thread cannot be started");
    }
    *out = w;
    return 0;
}

void worker_push(struct worker *w, struct request *r, worker_fn *fn)
{
    r->work = fn;
    r->next_work = NULL;
    pthread_mutex_lock(&w->mu);
    if (w->first)
        w->last->next_work = r;
    else
        w->first = r;
    w->last = r;
    pthread_cond_signal(&w->more);
    pthread_mutex_unlock(&w->mu);
}

void worker_close(struct worker *w)
{
    if (!w)
        return;
    pthread_mutex_lock(&w->mu);
    w->stop = 1;
    pthread_cond_signal(&w->more);
    pthread_mutex_unlock(&w->mu);
    pthread_join(w->thread, NULL);
    pthread_mutex_destroy(&w->mu);
    pthread_cond_destroy(&w->more);
    mem_free(w);
}
