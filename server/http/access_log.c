/* access_log: see access_log.h.
 *
 * SPDX-License-Identifier: MIT */
#include "server/http/access_log.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "engine/base/metrics.h"
#include "server/api/reply.h"
#include "server/api/route.h"

void access_init(struct access *a)
{
    memset(a, 0, sizeof *a);
}

/* What is told of a request. */
struct told {
    int status;
    const char *model, *code;
    int tokens;
    int64_t queue_us, run_us, us;
};

/* A client that left before there was an answer has no status. What the worker
 * has in its hands is not looked at. */
static void look_at(struct request *r, struct told *t)
{
    int64_t now = clock_now_us();
    int64_t from = r->complete_us ? r->complete_us : r->arrived_us;
    *t = (struct told){
        .status = 499, .code = "client_closed_request", .us = now - from};
    if (request_is_held(r))
        return;
    if (r->answered_us && !r->stream)
        t->us = r->answered_us - from;
    if (r->status)
        t->status = r->status;
    t->code = t->status < 400 ? "none" : reply_code(r);
    t->model = r->model ? model_name(r->model) : NULL;
    t->tokens = r->prompt_tokens + r->completion_tokens;
    t->queue_us = r->queue_us;
    t->run_us = r->run_us;
}

static void find_series(const struct request *r, const char *model, int status,
                        struct metric_series **requests,
                        struct metric_series **duration)
{
    char code[16];
    const char *task = r->route ? r->route->task : "none";
    snprintf(code, sizeof code, "%d", status);
    *requests = metrics_series(METRIC_REQUESTS, model, task, code);
    *duration = metrics_series(METRIC_REQUEST_DURATION, task, NULL, NULL);
}

static void count(struct access *a, const struct request *r,
                  const struct told *t)
{
    const char *model = t->model ? t->model : "";
    struct metric_series *requests, *duration;
    int i = 0;
    while (i < a->n &&
           (a->seen[i].route != r->route || a->seen[i].status != t->status ||
            strcmp(a->seen[i].model, model)))
        i++;
    if (i < a->n) {
        requests = a->seen[i].requests;
        duration = a->seen[i].duration;
    } else {
        find_series(r, model, t->status, &requests, &duration);
        if (a->n < ACCESS_SERIES) {
            a->seen[i].route = r->route;
            a->seen[i].status = t->status;
            snprintf(a->seen[i].model, sizeof a->seen[i].model, "%s", model);
            a->seen[i].requests = requests;
            a->seen[i].duration = duration;
            a->n++;
        }
    }
    metric_add(requests, 1);
    if (r->complete_us)
        metric_observe(duration, (double)t->us / 1e6);
}

void access_note(struct access *a, struct request *r)
{
    struct told t;
    enum log_level level =
        r->route && r->route->flags & ROUTE_QUIET ? LOG_DEBUG : LOG_INFO;
    look_at(r, &t);
    count(a, r, &t);
    if (!log_enabled(level))
        return;
    static const char *const methods[] = {"GET", "HEAD", "POST", "OPTIONS",
                                          "other"};
    log_event(level, "http", "request",
              "id=%s client=%s method=%s route=%s task=%s model=%s status=%d "
              "code=%s bytes=%zu tokens=%d queue_us=%lld run_us=%lld "
              "total_us=%lld",
              r->id, r->client, methods[r->method],
              r->route ? r->route->path : "none",
              r->route ? r->route->task : "none", t.model ? t.model : "none",
              t.status, t.code, r->bytes, t.tokens, (long long)t.queue_us,
              (long long)t.run_us, (long long)t.us);
}
