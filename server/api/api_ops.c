/* api_ops: what operators and tools ask for: probes, metrics, /info, the
 * contract and the page.
 *
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "engine/base/clock.h"
#include "engine/base/metrics.h"
#include "server/api/api.h"
#include "server/assets.h"
#include "server/api/models_json.h"
#include "server/api/reply.h"
#include "engine/base/version.h"

static int reply_text(struct request *r, const char *json)
{
    reply_fixed(r, "application/json", json, strlen(json));
    return 0;
}

/* The event loop answers: that is all it says. */
int api_livez(struct request *r)
{
    return reply_text(r, "{\"status\":\"live\"}");
}

int api_readyz(struct request *r)
{
    int phase = atomic_load(&r->sv->phase);
    if (phase == PHASE_LOADING)
        return err_set_at(&r->err, ERR_BUSY, "loading", NULL,
                          "the models are being loaded");
    if (phase == PHASE_DRAINING)
        return err_set_at(&r->err, ERR_DRAINING, "draining", NULL,
                          "the server is shutting down");
    if (engine_damaged(r->sv->engine))
        return err_set_at(&r->err, ERR_INTERNAL, "internal_error", NULL,
                          "a model's file was changed");
    return reply_text(r, "{\"status\":\"ready\"}");
}

int api_metrics(struct request *r)
{
    buf_clear(&r->out);
    engine_measure(r->sv->engine);
    metric_set(metrics_series(METRIC_UNREAD, NULL, NULL, NULL),
               (double)atomic_load(&r->sv->unread));
    if (metrics_write(&r->out) < 0)
        return err_nomem(&r->err);
    return reply_done(r, 200, "text/plain; version=0.0.4; charset=utf-8");
}

static void add_models(struct request *r, struct buf *out)
{
    struct model *m[MAX_LISTED_MODELS];
    int n = engine_models(r->sv->engine, m, MAX_LISTED_MODELS);
    for (int i = 0; i < n && i < MAX_LISTED_MODELS; i++) {
        const char *name = model_name(m[i]);
        const char *sum = model_get_info(m[i])->summary;
        buf_add_str(out, i ? ",{\"id\":" : "{\"id\":");
        buf_add_json_string(out, name, strlen(name));
        buf_add_str(out, ",\"summary\":");
        buf_add_json_string(out, sum ? sum : "", sum ? strlen(sum) : 0);
        buf_add_str(out, ",\"tasks\":");
        models_json_tasks(m[i], out);
        buf_addf(out, ",\"max_item_tokens\":%d,\"memory_bytes\":%zu",
                 model_max_tokens(m[i], PORT_TARGET), model_memory(m[i]));
        buf_add_str(out, ",\"load_seconds\":");
        buf_add_float(out, (float)model_load_seconds(m[i]));
        buf_add_char(out, '}');
        model_release(m[i]);
    }
}

int api_info(struct request *r)
{
    static const char *const phases[] = {"loading", "ready", "draining"};
    const struct server *sv = r->sv;
    struct buf *out = &r->out;
    buf_clear(out);
    buf_addf(out,
             "{\"version\":\"%s\",\"status\":\"%s\",\"kernels\":\"%s\","
             "\"threads\":%d,\"started\":%lld,\"uptime_seconds\":%lld,"
             "\"options\":",
             SEQD_VERSION, phases[atomic_load(&sv->phase)],
             engine_kernels(sv->engine)->name, engine_threads(sv->engine),
             (long long)(sv->started_us / 1000000),
             (long long)((clock_wall_us() - sv->started_us) / 1000000));
    options_write(&config_table, sv->cfg, out);
    buf_add_str(out, ",\"models\":[");
    add_models(r, out);
    buf_add_str(out, "]}");
    return reply_done(r, 200, "application/json");
}

int api_version(struct request *r)
{
    return reply_text(r,
                      "{\"name\":\"seqd\",\"version\":\"" SEQD_VERSION "\"}");
}

int api_openapi(struct request *r)
{
    reply_fixed(r, "application/json", (const char *)asset_openapi,
                asset_openapi_len);
    return 0;
}

int api_page(struct request *r)
{
    r->csp = asset_page_csp;
    reply_fixed(r, "text/html; charset=utf-8", (const char *)asset_page,
                asset_page_len);
    return 0;
}

int api_docs(struct request *r)
{
    r->csp = asset_docs_csp;
    reply_fixed(r, "text/html; charset=utf-8", (const char *)asset_docs,
                asset_docs_len);
    return 0;
}

int api_icon(struct request *r)
{
    reply_fixed(r, "image/svg+xml", (const char *)asset_icon, asset_icon_len);
    return 0;
}
