/* reload: see reload.h.
 *
 * SPDX-License-Identifier: MIT */
#include "server/reload.h"

#include "engine/base/log.h"
#include "engine/base/metrics.h"
#include "server/http/keys.h"

static struct metric_series *series(const char *what, int ok)
{
    return metrics_series(METRIC_RELOADS, what, ok ? "ok" : "failed", NULL);
}

void reload_open(void)
{
    for (int ok = 0; ok < 2; ok++) {
        metric_add(series("api_keys", ok), 0);
        metric_add(series("log_file", ok), 0);
    }
}

/* Counts and says how it went; the word for the line of all. */
static const char *tell(const char *what, int rc, const struct err *e)
{
    metric_add(series(what, rc >= 0), 1);
    if (rc >= 0)
        return "new";
    log_event(LOG_ERROR, "server", "reload_failed",
              "what=%s served=old why=\"%s\"", what, e->msg);
    return "old";
}

/* The log first, so that the new file has the rest. */
void reload_run(struct server *sv, int pid)
{
    const struct config *c = sv->cfg;
    struct err log_error = ERR_INIT, key_error = ERR_INIT;
    const char *file = "none", *keys = "none";
    if (c->log_file)
        file = tell("log_file", log_open(c->log_file, &log_error), &log_error);
    if (c->api_key_file && sv->keys)
        keys = tell(
            "api_keys",
            keyring_read(sv->keys, c->api_key_file, c->api_key, &key_error),
            &key_error);
    log_event(LOG_INFO, "server", "reload",
              "pid=%d log_file=%s api_keys=%s models=not_reloaded", pid, file,
              keys);
}
