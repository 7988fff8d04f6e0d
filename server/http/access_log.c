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

/* A client that left before there was an answer has no status. */
static int status_of(const struct request *r)
{
    return r->status ? r->status : 499;
}

static void find_series(const struct request *r, const char *model,
                        struct metric_series **requests,
                        struct metric_series **duration)
{
    char code[16];
    const char *task = r->route ? r->route->task : "none";
    snprintf(code, sizeof code, "%d", status_of(r));
    *requests = metrics_series(METRIC_REQUESTS, model, task, code);
    *duration = metrics_series(METRIC_REQUEST_DURATION, task, NULL, NULL);
}

static void count(struct access *a, const struct request *r, int64_t us)
{
    const char *model = r->model ? model_name(r->model) : "";
    struct metric_series *requests, *duration;
    int i = 0;
    while (i < a->n &&
           (a->seen[i].route != r->route || a->seen[i].status != status_of(r) ||
            strcmp(a->seen[i].model, model)))
        i++;
    if (i < a->n) {
        requests = a->seen[i].requests;
        duration = a->seen[i].duration;
    } else {
        find_series(r, model, &requests, &duration);
        if (a->n < ACCESS_SERIES) {
            a->seen[i].route = r->route;
            a->seen[i].status = status_of(r);
            snprintf(a->seen[i].model, sizeof a->seen[i].model, "%s", model);
            a->seen[i].requests = requests;
            a->seen[i].duration = duration;
            a->n++;
        }
    }
    metric_add(requests, 1);
    if (r->complete_us)
        metric_observe(duration, (double)us / 1e6);
}

void access_note(struct access *a, const struct request *r)
{
    int64_t now = clock_now_us();
    int64_t from = r->complete_us ? r->complete_us : r->arrived_us;
    int64_t us = (r->answered_us && !r->stream ? r->answered_us : now) - from;
    enum log_level level =
        r->route && r->route->flags & ROUTE_QUIET ? LOG_DEBUG : LOG_INFO;
    count(a, r, us);
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
              r->route ? r->route->task : "none",
              r->model ? model_name(r->model) : "none", status_of(r),
              status_of(r) < 400 ? "none" : reply_code(r), r->bytes,
              r->prompt_tokens + r->completion_tokens, (long long)r->queue_us,
              (long long)r->run_us, (long long)us);
}
