/* reply: see reply.h. The error table is ordered by status. A reason that is
 * not in it (an error from inside, without a name for clients) is found by its
 * code; what is left is internal_error, whose text is fixed so that nothing
 * of the inside reaches a client.
 *
 * SPDX-License-Identifier: MIT */
#include "server/api/reply.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "server/api/input.h"
#include "server/api/route.h"
#include "server/http/unread.h"

struct reason {
    const char *code; /* what clients see */
    int status;
    enum err_code from; /* errors without a reason of their own */
    const char *type;
};

#define BAD "invalid_request_error"

static const struct reason reasons[] = {
    {"invalid_value", 400, ERR_INVALID, BAD},
    {"invalid_json", 400, ERR_NONE, BAD},
    {"invalid_request", 400, ERR_NONE, BAD},
    {"unknown_field", 400, ERR_NONE, BAD},
    {"context_length_exceeded", 400, ERR_TOO_LARGE, BAD},
    {"task_not_supported", 400, ERR_UNSUPPORTED, BAD},
    {"missing_api_key", 401, ERR_NONE, "authentication_error"},
    {"invalid_api_key", 401, ERR_NONE, "authentication_error"},
    {"host_not_allowed", 403, ERR_NONE, "permission_error"},
    {"not_found", 404, ERR_NOT_FOUND, "not_found_error"},
    {"model_not_found", 404, ERR_NONE, "not_found_error"},
    {"method_not_allowed", 405, ERR_NONE, BAD},
    {"request_timeout", 408, ERR_NONE, BAD},
    {"body_too_large", 413, ERR_NONE, BAD},
    {"batch_too_large", 413, ERR_NONE, BAD},
    {"unsupported_media_type", 415, ERR_NONE, BAD},
    {"queue_full", 429, ERR_BUSY, "rate_limit_error"},
    {"rate_limited", 429, ERR_NONE, "rate_limit_error"},
    {"head_too_large", 431, ERR_NONE, BAD},
    {"client_closed_request", 499, ERR_CANCELLED, BAD},
    {"internal_error", 500, ERR_INTERNAL, "server_error"},
    {"loading", 503, ERR_NONE, "unavailable_error"},
    {"draining", 503, ERR_DRAINING, "unavailable_error"},
    {"answers_full", 503, ERR_NONE, "unavailable_error"},
    {"out_of_memory", 503, ERR_NOMEM, "unavailable_error"},
    {"deadline_exceeded", 504, ERR_TIMEOUT, "timeout_error"},
};

#define N_REASONS ((int)(sizeof reasons / sizeof reasons[0]))

int reply_reason(int i, const char **reason, int *status)
{
    if (i < 0 || i >= N_REASONS)
        return 0;
    *reason = reasons[i].code;
    *status = reasons[i].status;
    return 1;
}

static const struct reason *find_reason(const struct err *e)
{
    const struct reason *internal = NULL, *by_code = NULL;
    for (int i = 0; i < N_REASONS; i++) {
        if (e->reason && !strcmp(reasons[i].code, e->reason))
            return &reasons[i];
        if (e->code != ERR_NONE && reasons[i].from == e->code)
            by_code = &reasons[i];
        if (reasons[i].from == ERR_INTERNAL)
            internal = &reasons[i];
    }
    return by_code ? by_code : internal;
}

const char *reply_code(const struct request *r)
{
    return r->err.code == ERR_NONE ? "client_closed_request"
                                   : find_reason(&r->err)->code;
}

/* The client is told nothing about it: here is the place to look. */
static void log_internal(const struct request *r, const struct err *e)
{
    log_event(LOG_ERROR, "http", "internal_error",
              "id=%s route=%s model=%s code=%s msg=\"%s\"", r->id,
              r->route ? r->route->path : "none",
              r->model ? model_name(r->model) : "", err_code_name(e->code),
              e->msg);
}

int reply_error_json(const struct request *r, const struct err *e,
                     struct buf *out)
{
    const struct reason *row = find_reason(e);
    const char *msg = e->msg;
    if (row->status == 500) {
        msg = "internal error";
        log_internal(r, e);
    } else if (!*msg) {
        msg = row->code;
    }
    buf_add_str(out, "{\"error\":{\"message\":");
    buf_add_json_string(out, msg, strlen(msg));
    buf_add_str(out, ",\"type\":\"");
    buf_add_str(out, row->type);
    buf_add_str(out, "\",\"param\":");
    if (*e->param)
        buf_add_json_string(out, e->param, strlen(e->param));
    else
        buf_add_str(out, "null");
    buf_add_str(out, ",\"code\":\"");
    buf_add_str(out, row->code);
    buf_add_str(out, "\",\"request_id\":\"");
    buf_add_str(out, r->id);
    buf_add_str(out, "\"}}");
    return row->status;
}

void reply_error(struct request *r)
{
    if (r->out.cap > UNREAD_SMALL)
        buf_fini(&r->out); /* what was begun of another answer */
    buf_clear(&r->out);
    r->fixed = NULL;
    r->stream = 0;
    r->status = reply_error_json(r, &r->err, &r->out);
    if (r->out.failed) { /* no memory for a few bytes of text */
        int n = snprintf(r->bare, sizeof r->bare,
                         "{\"error\":{\"message\":\"out of memory\",\"type\":"
                         "\"unavailable_error\",\"param\":null,\"code\":"
                         "\"out_of_memory\",\"request_id\":\"%s\"}}",
                         r->id);
        reply_fixed(r, "application/json", r->bare, (size_t)n);
        r->status = 503;
    }
    unread_set(r, r->out.len);
    r->content_type = "application/json";
    r->replied = 1;
}

int reply_done(struct request *r, int status, const char *content_type)
{
    if (r->out.full)
        return err_set_at(&r->err, ERR_TOO_LARGE, "batch_too_large", NULL,
                          "the answer has more than %zu bytes", r->out.max);
    if (r->out.failed)
        return err_set_at(&r->err, ERR_NOMEM, "out_of_memory", NULL,
                          "out of memory for the answer");
    if (unread_written(r, r->out.len) < 0)
        return -1;
    r->status = status;
    r->content_type = content_type;
    r->replied = 1;
    return 0;
}

void reply_fixed(struct request *r, const char *content_type, const char *p,
                 size_t n)
{
    r->fixed = p;
    r->fixed_len = n;
    r->status = 200;
    r->content_type = content_type;
    r->replied = 1;
}

void reply_open(struct request *r, const char *object)
{
    const char *model = r->model ? model_name(r->model) : "";
    buf_clear(&r->out);
    buf_add_str(&r->out, "{\"id\":\"");
    buf_add_str(&r->out, r->id);
    buf_add_str(&r->out, "\",\"object\":\"");
    buf_add_str(&r->out, object);
    buf_add_str(&r->out, "\",\"model\":\"");
    buf_add_str(&r->out, model); /* names need no escapes */
    buf_add_str(&r->out, "\",\"created\":");
    buf_add_int(&r->out, clock_wall_us() / 1000000);
    buf_add_str(&r->out, ",\"data\":[");
}

void reply_usage(struct request *r, struct buf *out)
{
    buf_add_str(out, "\"usage\":{\"prompt_tokens\":");
    buf_add_int(out, r->prompt_tokens);
    buf_add_str(out, ",\"completion_tokens\":");
    buf_add_int(out, r->completion_tokens);
    buf_add_str(out, ",\"total_tokens\":");
    buf_add_int(out, (int64_t)r->prompt_tokens + r->completion_tokens);
    buf_add_char(out, '}');
}

int reply_close(struct request *r)
{
    buf_add_str(&r->out, "],");
    reply_usage(r, &r->out);
    buf_add_char(&r->out, '}');
    return reply_done(r, 200, "application/json");
}

void reply_item_tail(struct request *r, const struct item *it, struct buf *out)
{
    if (tokenizer_can_miss(input_tokenizer(r))) {
        buf_add_str(out, ",\"unknown\":");
        buf_add_int(out, it->unknown);
    }
    buf_add_str(out, it->truncated ? ",\"truncated\":true}"
                                   : ",\"truncated\":false}");
}

/* ---------------------------------------------------------------- headers */

static int add_header(struct header *h, int n, const char *name,
                      const char *value)
{
    h[n].name = name;
    h[n].value = value;
    return n + 1;
}

static const char *allow_of(const struct route *route)
{
    return route->method == METHOD_POST ? "POST, OPTIONS"
                                        : "GET, HEAD, OPTIONS";
}

/* The request's origin when it is on the list, or "*". */
static const char *cors_origin(const struct request *r)
{
    const struct string_list *l = &r->sv->cfg->cors_origins;
    for (int i = 0; r->head.origin && i < l->n; i++) {
        if (!strcmp(l->v[i], "*"))
            return "*";
        if (!strcmp(l->v[i], r->head.origin))
            return r->head.origin;
    }
    return NULL;
}

static int cors_headers(const struct request *r, struct header *h, int n)
{
    if (r->sv->cfg->cors_origins.n == 0)
        return n;
    n = add_header(h, n, "Vary", "Origin");
    const char *origin = cors_origin(r);
    if (!origin)
        return n;
    n = add_header(h, n, "Access-Control-Allow-Origin", origin);
    n = add_header(h, n, "Access-Control-Expose-Headers",
                   "X-Request-Id, Retry-After");
    if (r->method == METHOD_OPTIONS && r->head.preflight && r->route) {
        n = add_header(h, n, "Access-Control-Allow-Methods",
                       allow_of(r->route));
        n = add_header(h, n, "Access-Control-Allow-Headers",
                       "Authorization, Content-Type, X-Request-Id");
        n = add_header(h, n, "Access-Control-Max-Age", "600");
    }
    return n;
}

int reply_headers(const struct request *r, struct header h[MAX_HEADERS])
{
    int n = add_header(h, 0, "X-Request-Id", r->id);
    if (r->content_type)
        n = add_header(h, n, "Content-Type", r->content_type);
    n = cors_headers(r, h, n);
    if (r->status == 401)
        n = add_header(h, n, "WWW-Authenticate", "Bearer");
    if (r->route && (r->status == 405 || r->method == METHOD_OPTIONS))
        n = add_header(h, n, "Allow", allow_of(r->route));
    if (r->status == 429 || r->status == 503)
        n = add_header(h, n, "Retry-After",
                       *r->retry_after ? r->retry_after : "1");
    if (r->csp) {
        n = add_header(h, n, "Content-Security-Policy", r->csp);
        n = add_header(h, n, "X-Content-Type-Options", "nosniff");
        n = add_header(h, n, "Referrer-Policy", "no-referrer");
    }
    if (r->stream)
        n = add_header(h, n, "Cache-Control", "no-store");
    return n;
}
