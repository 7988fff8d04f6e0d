/* job_watch: see job_watch.h.
 *
 * SPDX-License-Identifier: MIT */
#include "tests/support/job_watch.h"

#include <string.h>
#include <time.h>

#include "engine/base/utf8.h"

void watch_init(struct watch *r)
{
    memset(r, 0, sizeof *r);
    pthread_mutex_init(&r->mu, NULL);
    pthread_cond_init(&r->cv, NULL);
}

void watch_fini(struct watch *r)
{
    pthread_mutex_destroy(&r->mu);
    pthread_cond_destroy(&r->cv);
}

void watch_flush(void *ctx)
{
    struct watch *r = ctx;
    pthread_mutex_lock(&r->mu);
    r->n_flush++;
    r->unflushed = 0;
    pthread_mutex_unlock(&r->mu);
}

static void on_event(void *user, const struct job_event *ev)
{
    struct watched *j = user;
    struct watch *r = j->watch;

    pthread_mutex_lock(&r->mu);
    r->unflushed++;
    r->n_late += j->n_final > 0;
    if (ev->kind == JOB_TEXT) {
        r->bad_text += ev->text_len == 0 || !utf8_valid(ev->text, ev->text_len);
        size_t n = ev->text_len;
        n = n < WATCH_TEXT - 1 - j->text_len ? n : WATCH_TEXT - 1 - j->text_len;
        memcpy(j->text + j->text_len, ev->text, n);
        j->text_len += n;
        if (++j->n_text == j->cancel_after)
            job_cancel(ev->job);
    } else {
        j->n_final++;
        j->final = ev->kind;
        j->order = r->n_final++;
        j->stamp = r->stamp ? atomic_load(r->stamp) : 0;
        pthread_cond_broadcast(&r->cv);
    }
    pthread_mutex_unlock(&r->mu);
}

int watch_submit(struct watch *r, struct engine *g, struct flat_spec *specs,
                 int n, struct watched *jobs, struct err *e)
{
    struct job *handle[256] = {0};
    if (n > 256)
        return err_set(e, ERR_INTERNAL, "watch: too many jobs");
    for (int i = 0; i < n; i++) {
        int cancel_after = jobs[i].cancel_after;
        memset(&jobs[i], 0, sizeof(jobs[i]));
        jobs[i].watch = r;
        jobs[i].cancel_after = cancel_after;
        specs[i].on_event = on_event;
        specs[i].user = &jobs[i];
    }
    if (flat_submit(g, specs, n, handle, e))
        return -1;
    for (int i = 0; i < n; i++)
        jobs[i].job = handle[i];
    return 0;
}

int watch_wait(struct watch *r, int n)
{
    struct timespec ts;
    int rc = 0;
    clock_gettime(CLOCK_REALTIME, &ts);
    ts.tv_sec += 20;
    pthread_mutex_lock(&r->mu);
    while (r->n_final < n && rc == 0)
        rc = pthread_cond_timedwait(&r->cv, &r->mu, &ts);
    pthread_mutex_unlock(&r->mu);
    return rc ? -1 : 0;
}

void watch_release(struct watched *jobs, int n)
{
    for (int i = 0; i < n; i++) {
        job_release(jobs[i].job);
        jobs[i].job = NULL;
    }
}
