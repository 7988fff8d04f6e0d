/* api_models: GET /v1/models and /v1/models/{m}. The digest of a checkpoint is
 * computed when it is first asked for, so these run on the waiter.
 *
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "server/api/api.h"
#include "server/api/models_json.h"
#include "server/api/reply.h"

int api_models(struct request *r)
{
    struct model *m[MAX_LISTED_MODELS];
    int n = engine_models(r->sv->engine, m, MAX_LISTED_MODELS);
    if (n > MAX_LISTED_MODELS)
        n = MAX_LISTED_MODELS;
    buf_clear(&r->out);
    buf_add_str(&r->out, "{\"object\":\"list\",\"data\":[");
    int rc = 0;
    for (int i = 0; i < n; i++) {
        if (i)
            buf_add_char(&r->out, ',');
        if (rc == 0)
            rc = model_json(r->sv, m[i], &r->out, &r->err);
        model_release(m[i]);
    }
    if (rc < 0)
        return -1;
    buf_add_str(&r->out, "]}");
    return reply_done(r, 200, "application/json");
}

int api_model(struct request *r)
{
    struct model *m = NULL;
    if (engine_model(r->sv->engine, r->arg, NULL, &m, &r->err) < 0)
        return -1;
    buf_clear(&r->out);
    int rc = model_json(r->sv, m, &r->out, &r->err);
    model_release(m);
    return rc < 0 ? -1 : reply_done(r, 200, "application/json");
}
