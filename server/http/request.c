/* request: see request.h. The three ways through:
 *     answered at once    request_run -> handle returns 0
 *     jobs                request_run -> handle returns 1; events on the
 *                         runner's thread; a note; request_look -> finish
 *     large               request_run -> worker: handle; then as above
 *
 * SPDX-License-Identifier: MIT */
#include "server/http/request.h"

#include <string.h>

#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "engine/base/metrics.h"
#include "server/http/http.h"
#include "server/api/reply.h"
#include "server/api/route.h"
#include "server/http/sse.h"
#include "server/http/worker.h"

#define KEEP_BYTES 65536   /* recycled buffers larger than this are freed */
#define LARGE_BODY 65536   /* parsed and tokenized by the worker */
#define LARGE_ANSWER 65536 /* bytes: written by the worker, in half a ms */
/* Bytes of a ROUTE_LONG answer for one of the body: a token of one byte. */
#define LONG_BYTES 56

struct request *request_new(struct request **pool, struct server *sv)
{
    struct request *r = *pool;
    if (r) {
        *pool = r->next;
        r->next = NULL;
        return r;
    }
    r = mem_zalloc(sizeof *r);
    if (!r)
        return NULL;
    pthread_mutex_init(&r->mu, NULL);
    buf_init(&r->out, sv->cfg->answer_bytes);
    r->sv = sv;
    return r;
}

void request_destroy(struct request *r)
{
    request_reset(r);
    buf_fini(&r->out);
    mem_free(r->body);
    mem_free(r->ids);
    token_list_fini(&r->tokens);
    pthread_mutex_destroy(&r->mu);
    mem_free(r);
}

void request_pool_free(struct request *pool)
{
    while (pool) {
        struct request *next = pool->next;
        request_destroy(pool);
        pool = next;
    }
}

/* Who cancels them (under mu) finds none from here on. */
static void drop_jobs(struct request *r)
{
    pthread_mutex_lock(&r->mu);
    int n = r->n_jobs;
    r->n_jobs = r->submitted = 0;
    pthread_mutex_unlock(&r->mu);
    for (int i = 0; i < n; i++)
        job_release(r->jobs[i]);
    if (r->jobs != &r->job1)
        mem_free(r->jobs);
    if (r->items != &r->item1)
        mem_free(r->items);
    r->jobs = NULL;
    r->items = NULL;
    r->n_items = 0;
}

/* What the work is made from; of the buffers the large ones. */
static void drop_input(struct request *r)
{
    json_free(r->json);
    r->json = NULL;
    if (r->body_cap > KEEP_BYTES) {
        mem_free(r->body);
        r->body = NULL;
        r->body_cap = 0;
    }
    if (r->ids_cap > KEEP_BYTES / sizeof *r->ids) {
        mem_free(r->ids);
        r->ids = NULL;
        r->ids_cap = 0;
    }
    if (r->tokens.cap > KEEP_BYTES / (int)sizeof *r->tokens.v)
        token_list_fini(&r->tokens);
}

void request_answered(struct request *r)
{
    drop_jobs(r);
    drop_input(r);
}

static void count_paused(struct request *r, int paused)
{
    if (paused != r->paused)
        metric_add(metrics_series(METRIC_STREAMS_PAUSED, NULL, NULL, NULL),
                   paused ? 1 : -1);
    r->paused = paused;
}

/* Everything between `stage` and `mu` that is not a kept buffer starts at
 * zero: the struct is cleared as a whole and the kept parts are put back. */
void request_reset(struct request *r)
{
    count_paused(r, 0);
    unread_set(r, 0);
    drop_jobs(r);
    drop_input(r);
    if (r->model)
        model_release(r->model);
    mem_free(r->sse_head);
    mem_free(r->head_bytes);
    if (r->out.cap > KEEP_BYTES) {
        buf_fini(&r->out);
        buf_init(&r->out, r->sv->cfg->answer_bytes);
    }
    buf_clear(&r->out);

    const struct request keep = *r;
    memset(r, 0, offsetof(struct request, mu));
    r->held = r->pending = r->noted = r->gone = r->submitted = 0;
    r->cancelled = ERR_NONE;
    r->sv = keep.sv;
    r->loop = keep.loop;
    r->body = keep.body;
    r->body_cap = keep.body_cap;
    r->out = keep.out;
    r->ids = keep.ids;
    r->ids_cap = keep.ids_cap;
    r->tokens = keep.tokens;
}

int request_body(struct request *r, const char *p, size_t n, size_t max)
{
    if (n > max || r->body_len > max - n)
        return err_set_at(&r->err, ERR_TOO_LARGE, "body_too_large", NULL,
                          "the body is larger than %zu bytes", max);
    if (r->body_len + n > r->body_cap) {
        size_t cap = r->body_cap ? r->body_cap * 2 : 1024;
        if (r->head.content_length > (int64_t)cap)
            cap = (size_t)r->head.content_length;
        while (cap < r->body_len + n)
            cap *= 2;
        char *grown = mem_grow(r->body, cap, 1);
        if (!grown)
            return err_nomem(&r->err);
        r->body = grown;
        r->body_cap = cap;
    }
    memcpy(r->body + r->body_len, p, n);
    r->body_len += n;
    return 0;
}

/* ------------------------------------------------------------------ holds */

/* Under mu: put r on the loop's list, once. */
static void note(struct request *r)
{
    if (r->noted)
        return;
    r->noted = 1;
    http_note(r);
}

void request_hold(struct request *r)
{
    pthread_mutex_lock(&r->mu);
    r->pending++;
    r->held = 1;
    pthread_mutex_unlock(&r->mu);
}

void request_unhold(struct request *r)
{
    struct http *h = r->sv->http;
    pthread_mutex_lock(&r->mu);
    r->pending--;
    r->held = 0;
    note(r);
    pthread_mutex_unlock(&r->mu);
    http_flush(h);
}

int request_is_held(struct request *r)
{
    pthread_mutex_lock(&r->mu);
    int held = r->held;
    pthread_mutex_unlock(&r->mu);
    return held;
}

void request_handle(struct request *r)
{
    if (r->route->handle(r) < 0)
        reply_error(r);
    request_unhold(r);
}

static void write_answer(struct request *r)
{
    if (r->route->finish(r) < 0)
        reply_error(r);
}

static void finish_on_worker(struct request *r)
{
    write_answer(r);
    request_answered(r); /* here: there may be much to free */
    request_unhold(r);
}

static int is_slow(const struct request *r)
{
    unsigned flags = r->route->flags;
    return r->method != METHOD_OPTIONS &&
           (flags & ROUTE_SLOW ||
            (flags & ROUTE_HEAVY && r->body_len > LARGE_BODY) ||
            (flags & ROUTE_LONG && r->body_len > LARGE_ANSWER / LONG_BYTES));
}

/* What reads whole files has a thread of its own: large bodies and answers do
 * not wait behind it. */
static struct worker *worker_of(const struct request *r)
{
    return r->route->flags & ROUTE_SLOW ? r->sv->waiter : r->sv->worker;
}

int request_run(struct request *r)
{
    int rc = -1;
    r->complete_us = clock_now_us();
    if (r->err.code == ERR_NONE && route_ready(r) == 0) {
        if (is_slow(r)) {
            r->stage = STAGE_PARKED;
            request_hold(r);
            worker_push(worker_of(r), r, request_handle);
            return 1;
        }
        rc = r->method == METHOD_OPTIONS ? reply_done(r, 204, NULL)
                                         : r->route->handle(r);
    }
    if (rc < 0)
        reply_error(r);
    r->stage = rc == 1 ? STAGE_PARKED : STAGE_READY;
    return rc == 1;
}

/* ----------------------------------------------------------------- events */

/* Under mu: an event that there was no memory for goes: what is said about it
 * next has to be one of its own. */
static void drop_part(struct request *r, size_t before)
{
    if (r->out.failed)
        r->out.len = before;
}

/* Under mu: more of a stream. When too much of it is unread its jobs pause,
 * each with its next text. */
static void add_text(struct request *r, struct item *it,
                     const struct job_event *ev)
{
    size_t before = r->out.len;
    sse_text(r, it, ev->text, ev->text_len);
    drop_part(r, before);
    size_t unread = r->out.len - r->out_pos;
    unread_set(r, unread);
    if (unread <= STREAM_UNREAD)
        return;
    count_paused(r, 1);
    job_pause(ev->job, 1);
}

/* Runner's thread: mark and note, nothing else. */
static void on_event(void *user, const struct job_event *ev)
{
    struct item *it = user;
    struct request *r = it->req;
    pthread_mutex_lock(&r->mu);
    if (ev->kind == JOB_TEXT) {
        if (r->cancelled == ERR_NONE && !r->gone)
            add_text(r, it, ev);
    } else {
        it->done = 1;
        it->failed = ev->kind == JOB_FAILED;
        r->pending--;
    }
    if (r->stream || it->failed || r->pending == 0)
        note(r);
    pthread_mutex_unlock(&r->mu);
}

int request_submit(struct request *r, struct job_spec *specs)
{
    int n = r->n_items;
    r->jobs = &r->job1;
    if (n > 1)
        r->jobs = mem_zarray((size_t)n, sizeof(struct job *));
    if (!r->jobs)
        return err_nomem(&r->err);
    for (int i = 0; i < n; i++) {
        specs[i].on_event = on_event;
        specs[i].user = &r->items[i];
        specs[i].deadline_us = r->deadline_us;
        specs[i].client = r->client_id;
    }
    pthread_mutex_lock(&r->mu);
    r->pending += n;
    pthread_mutex_unlock(&r->mu);
    int rc = engine_submit(r->sv->engine, specs, n, r->jobs, &r->err);
    pthread_mutex_lock(&r->mu);
    if (rc < 0) {
        r->pending -= n;
    } else {
        r->n_jobs = n;
        r->submitted = 1;
    }
    int cancel = r->cancelled != ERR_NONE;
    pthread_mutex_unlock(&r->mu);
    if (rc == 0 && cancel)
        for (int i = 0; i < n; i++)
            job_cancel(r->jobs[i]);
    return rc;
}

/* The jobs of a request that failed in one item, or that is to end. */
static void cancel_jobs(struct request *r)
{
    pthread_mutex_lock(&r->mu);
    for (int i = 0; r->submitted && i < r->n_jobs; i++)
        job_cancel(r->jobs[i]);
    pthread_mutex_unlock(&r->mu);
}

void request_cancel(struct request *r, enum err_code why)
{
    pthread_mutex_lock(&r->mu);
    int first = r->cancelled == ERR_NONE && r->pending > 0;
    if (first)
        r->cancelled = why;
    pthread_mutex_unlock(&r->mu);
    if (!first)
        return;
    cancel_jobs(r); /* the runner counts them */
}

/* --------------------------------------------------------------- progress */

/* The error that the client sees: the request's own end first, else the first
 * item that failed by itself (not as a consequence). */
static void pick_error(struct request *r)
{
    const struct err *found = NULL;
    for (int i = 0; i < r->n_jobs; i++) {
        const struct err *je =
            r->items[i].failed ? job_error(r->jobs[i]) : NULL;
        if (je && (!found || found->code == ERR_CANCELLED) &&
            (!found || je->code != ERR_CANCELLED))
            found = je;
    }
    if (r->cancelled == ERR_TIMEOUT || (found && found->code == ERR_TIMEOUT)) {
        err_set_at(&r->err, ERR_TIMEOUT, "deadline_exceeded", NULL,
                   "the deadline passed");
    } else if (r->cancelled == ERR_CANCELLED) {
        err_set_at(&r->err, ERR_CANCELLED, NULL, NULL, "the client left");
    } else if (atomic_load(&r->sv->phase) == PHASE_DRAINING &&
               (!found || found->code == ERR_CANCELLED)) {
        err_set_at(&r->err, ERR_DRAINING, "draining", NULL,
                   "the server is shutting down");
    } else if (found && found->code == ERR_CANCELLED) {
        err_set(&r->err, ERR_INTERNAL, "a job was cancelled");
    } else if (found) {
        r->err = *found;
    }
}

static int any_failed(const struct request *r)
{
    int failed = 0;
    for (int i = 0; i < r->n_jobs; i++)
        failed |= r->items[i].failed;
    return failed;
}

static void sum_results(struct request *r)
{
    r->prompt_tokens = r->completion_tokens = 0;
    for (int i = 0; i < r->n_jobs; i++) {
        const struct job_result *res = job_result(r->jobs[i]);
        r->prompt_tokens += res->prompt_tokens;
        r->completion_tokens += res->completion_tokens;
        if (res->queue_us > r->queue_us)
            r->queue_us = res->queue_us;
        if (res->run_us > r->run_us)
            r->run_us = res->run_us;
    }
}

static void make_ready(struct request *r)
{
    r->stage = STAGE_READY;
    http_resume(r);
}

/* All jobs ended well. 1 when the worker writes the answer. */
static int finish(struct request *r)
{
    size_t n = r->route->size ? r->route->size(r) : 0;
    sum_results(r);
    if (unread_take(r, n) < 0) {
        reply_error(r);
    } else if (r->sv->worker && n > LARGE_ANSWER) {
        request_hold(r);
        worker_push(r->sv->worker, r, finish_on_worker);
        return 1;
    } else {
        write_answer(r);
    }
    return 0;
}

/* All work of an unstreamed request has ended. */
static void look_plain(struct request *r)
{
    if (!r->replied && any_failed(r)) {
        pick_error(r);
        reply_error(r);
    } else if (!r->replied && finish(r)) {
        return;
    }
    make_ready(r);
}

/* Under mu: append the last chunks of items that ended well. */
static void report_items(struct request *r)
{
    for (int i = 0; i < r->n_items; i++) {
        struct item *it = &r->items[i];
        if (!it->done || it->failed || it->reported)
            continue;
        it->reported = 1;
        r->n_reported++;
        if (r->n_reported == r->n_items)
            sum_results(r);
        size_t before = r->out.len;
        sse_finish(r, it, r->jobs[i], r->n_reported == r->n_items);
        drop_part(r, before);
    }
}

static void look_stream(struct request *r)
{
    pthread_mutex_lock(&r->mu);
    int failed = any_failed(r), pending = r->pending;
    if (!failed && !r->ended && r->submitted)
        report_items(r);
    if (r->out.failed && !failed) {
        failed = 1;
        err_set_at(&r->err, ERR_NOMEM, "out_of_memory", NULL,
                   "out of memory for the stream");
    }
    int more = r->out.len > r->out_pos;
    pthread_mutex_unlock(&r->mu);
    if (failed && pending > 0) {
        cancel_jobs(r); /* the rest ends soon: another note follows */
        return;
    }
    if (pending == 0 && !r->ended) {
        r->ended = 1;
        if (failed)
            pick_error(r);
        if (failed && !r->started) {
            reply_error(r);
        } else if (failed) {
            r->out.failed = 0;
            sse_error(r);
        }
    }
    if (r->stage == STAGE_PARKED && (r->ended || more)) {
        if (r->stream) {
            r->started = 1;
            r->status = 200;
            r->content_type = "text/event-stream";
        }
        make_ready(r);
    } else if (r->suspended && (r->ended || more)) {
        http_resume(r);
    }
}

int request_look(struct request *r)
{
    pthread_mutex_lock(&r->mu);
    r->noted = 0;
    int pending = r->pending, gone = r->gone;
    int failed = pending > 0 && any_failed(r);
    int stream = r->stream && r->n_jobs > 0;
    pthread_mutex_unlock(&r->mu);
    if (gone)
        return pending == 0;
    if (stream)
        look_stream(r);
    else if (pending == 0)
        look_plain(r);
    else if (failed)
        cancel_jobs(r);
    return 0;
}

/* ---------------------------------------------------------------- streams */

/* Under mu: what was read goes, so that a stream takes what is unread and no
 * more, however long it is. */
static void drop_read(struct request *r)
{
    size_t left = r->out.len - r->out_pos;
    if (left > 0 && r->out_pos < STREAM_UNREAD)
        return;
    if (left > 0)
        memmove(r->out.p, r->out.p + r->out_pos, left);
    r->out.len = left;
    r->out_pos = 0;
}

/* Under mu: its client has read: paused jobs go on when half is free. */
static void go_on(struct request *r)
{
    size_t unread = r->out.len - r->out_pos;
    unread_set(r, unread);
    if (!r->paused || unread > STREAM_UNREAD / 2)
        return;
    count_paused(r, 0);
    for (int i = 0; i < r->n_jobs; i++)
        job_pause(r->jobs[i], 0);
}

size_t request_read_stream(struct request *r, char *p, size_t max, int *ended)
{
    pthread_mutex_lock(&r->mu);
    size_t n = r->out.len - r->out_pos;
    if (n > max)
        n = max;
    if (n > 0)
        memcpy(p, r->out.p + r->out_pos, n);
    r->out_pos += n;
    drop_read(r);
    go_on(r);
    *ended = n == 0 && r->ended;
    pthread_mutex_unlock(&r->mu);
    r->bytes += n;
    if (n > 0)
        r->sent_us = clock_now_us();
    return n;
}

/* Under mu. */
static int is_silent(const struct request *r, int64_t now)
{
    int64_t last = r->sent_us ? r->sent_us : r->complete_us;
    return r->stream && r->submitted && r->pending > 0 && !r->ended &&
           r->cancelled == ERR_NONE && r->out.len == r->out_pos &&
           now - last > r->sv->cfg->ping_ms * 1000;
}

void request_tend(struct request *r, int64_t now)
{
    int late = 0;
    pthread_mutex_lock(&r->mu);
    if (!r->held) {
        late = r->deadline_us && now > r->deadline_us;
        if (!late && is_silent(r, now)) {
            sse_ping(r);
            note(r);
        }
    }
    pthread_mutex_unlock(&r->mu);
    if (late)
        request_cancel(r, ERR_TIMEOUT);
}

int request_leave(struct request *r, int ok)
{
    if (!ok)
        request_cancel(r, ERR_CANCELLED);
    pthread_mutex_lock(&r->mu);
    int busy = r->pending > 0 || r->noted;
    r->gone = 1;
    pthread_mutex_unlock(&r->mu);
    return !busy;
}
