/* sse: see sse.h.
 *
 * SPDX-License-Identifier: MIT */
#include "server/http/sse.h"

#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "server/api/reply.h"
#include "server/api/route.h"

int sse_begin(struct request *r, const char *object)
{
    struct buf b;
    buf_init(&b, 1024);
    buf_addf(&b,
             "data: {\"id\":\"%s\",\"object\":\"%s\",\"model\":"
             "\"%s\",\"created\":%lld,\"data\":[{\"index\":",
             r->id, object, model_name(r->model),
             (long long)(clock_wall_us() / 1000000));
    if (b.failed) {
        buf_fini(&b);
        return err_nomem(&r->err);
    }
    r->sse_head = buf_take(&b);
    buf_clear(&r->out);
    r->out_pos = 0;
    return 0;
}

void sse_text(struct request *r, const struct item *it, const char *text,
              size_t n)
{
    buf_add_str(&r->out, r->sse_head);
    buf_add_int(&r->out, it->index);
    buf_add_str(&r->out, ",\"text\":");
    buf_add_json_string(&r->out, text, n);
    buf_add_str(&r->out, "}]}\n\n");
}

const char *sse_finish_reason(enum finish_reason f)
{
    return f == FINISH_STOP         ? "stop"
           : f == FINISH_LENGTH     ? "length"
           : f == FINISH_CONSTRAINT ? "constraint"
                                    : "cancelled";
}

void sse_finish(struct request *r, const struct item *it, const struct job *j,
                int last)
{
    buf_add_str(&r->out, r->sse_head);
    buf_add_int(&r->out, it->index);
    buf_add_str(&r->out, ",\"text\":\"\"");
    r->route->last(r, it, j, &r->out);
    buf_add_char(&r->out, ']');
    if (last) {
        buf_add_char(&r->out, ',');
        reply_usage(r, &r->out);
    }
    buf_add_str(&r->out, "}\n\n");
    if (last)
        buf_add_str(&r->out, "data: [DONE]\n\n");
}

void sse_error(struct request *r)
{
    buf_add_str(&r->out, "data: ");
    r->status = reply_error_json(r, &r->err, &r->out);
    buf_add_str(&r->out, "\n\n");
}

void sse_ping(struct request *r)
{
    buf_add_str(&r->out, ": ping\n\n");
}
