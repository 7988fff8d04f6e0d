/* route: see route.h. The table is short, so look-up is a walk.
 *
 * SPDX-License-Identifier: MIT */
#include "server/api/route.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "engine/base/clock.h"
#include "server/api/api.h"
#include "server/http/client_id.h"
#include "server/http/hosts.h"
#include "server/http/keys.h"
#include "server/http/rate.h"

#define MOST_HOST 64            /* bytes of a name that is repeated */
#define HARMFUL " '\"\\`$;&|<>" /* in a command that somebody may copy */

static const struct route routes[] = {
    {"/predict", METHOD_POST, ROUTE_READY | ROUTE_HEAVY, "predict", api_predict,
     api_predict_finish, api_predict_size, NULL,
     "{\"input\": \"Once upon a\"}"},
    {"/sentiment", METHOD_POST, ROUTE_READY | ROUTE_HEAVY, "sentiment",
     api_sentiment, api_classify_finish, api_classify_size, NULL,
     "{\"input\": \"What a lovely day\"}"},
    {"/classify", METHOD_POST, ROUTE_READY | ROUTE_HEAVY, "classify",
     api_classify, api_classify_finish, api_classify_size, NULL,
     "{\"input\": \"What a lovely day\"}"},
    {"/generate", METHOD_POST, ROUTE_READY | ROUTE_HEAVY, "generate",
     api_generate, api_generate_finish, api_generate_size, api_generate_last,
     "{\"input\": \"Once upon a time\"}"},
    {"/translate", METHOD_POST, ROUTE_READY | ROUTE_HEAVY, "translate",
     api_translate, api_translate_finish, api_translate_size,
     api_translate_last, "{\"input\": \"Good morning\", \"target\": \"fr\"}"},
    {"/tokenize", METHOD_POST, ROUTE_READY | ROUTE_HEAVY | ROUTE_LONG,
     "tokenize", api_tokenize, NULL, NULL, NULL,
     "{\"input\": \"Good morning\"}"},
    {"/detokenize", METHOD_POST, ROUTE_READY | ROUTE_HEAVY | ROUTE_LONG,
     "detokenize", api_detokenize, NULL, NULL, NULL, "{\"tokens\": [5, 6]}"},
    {"/v1/embeddings", METHOD_POST, ROUTE_READY | ROUTE_HEAVY, "embeddings",
     api_embeddings, api_embeddings_finish, api_embeddings_size, NULL,
     "{\"input\": \"Good morning\"}"},
    {"/livez", METHOD_GET, ROUTE_OPEN | ROUTE_QUIET, "livez", api_livez, NULL,
     NULL, NULL, NULL},
    {"/readyz", METHOD_GET, ROUTE_OPEN | ROUTE_QUIET, "readyz", api_readyz,
     NULL, NULL, NULL, NULL},
    {"/health", METHOD_GET, ROUTE_OPEN | ROUTE_QUIET, "readyz", api_readyz,
     NULL, NULL, NULL, NULL},
    {"/healthz", METHOD_GET, ROUTE_OPEN | ROUTE_QUIET, "readyz", api_readyz,
     NULL, NULL, NULL, NULL},
    {"/metrics", METHOD_GET, ROUTE_QUIET, "metrics", api_metrics, NULL, NULL,
     NULL, NULL},
    {"/v1/models", METHOD_GET, ROUTE_SLOW, "models", api_models, NULL, NULL,
     NULL, NULL},
    {"/v1/models/{m}", METHOD_GET, ROUTE_SLOW, "models", api_model, NULL, NULL,
     NULL, NULL},
    {"/info", METHOD_GET, 0, "info", api_info, NULL, NULL, NULL, NULL},
    {"/version", METHOD_GET, 0, "version", api_version, NULL, NULL, NULL, NULL},
    {"/openapi.json", METHOD_GET, 0, "openapi", api_openapi, NULL, NULL, NULL,
     NULL},
    {"/docs", METHOD_GET, ROUTE_OPEN, "docs", api_docs, NULL, NULL, NULL, NULL},
    {"/favicon.ico", METHOD_GET, ROUTE_OPEN | ROUTE_QUIET, "icon", api_icon,
     NULL, NULL, NULL, NULL},
    {"/", METHOD_GET, ROUTE_OPEN, "page", api_page, NULL, NULL, NULL, NULL},
};

#define N_ROUTES ((int)(sizeof routes / sizeof routes[0]))

const struct route *route_at(int i)
{
    return i >= 0 && i < N_ROUTES ? &routes[i] : NULL;
}

/* 1 when path is row's path; *arg becomes what stands for {m}. */
static int matches(const struct route *row, const char *path, const char **arg)
{
    const char *brace = strchr(row->path, '{');
    if (!brace)
        return !strcmp(row->path, path);
    size_t n = (size_t)(brace - row->path);
    if (strncmp(row->path, path, n) || !path[n] || strchr(path + n, '/'))
        return 0;
    *arg = path + n;
    return 1;
}

enum method route_method(const char *s)
{
    static const char *const names[] = {"GET", "HEAD", "POST", "OPTIONS"};
    int m = METHOD_GET;
    while (m < METHOD_OTHER && (!s || strcmp(s, names[m])))
        m++;
    return (enum method)m;
}

static int method_fits(const struct request *r)
{
    return r->method == r->route->method || r->method == METHOD_OPTIONS ||
           (r->method == METHOD_HEAD && r->route->method == METHOD_GET);
}

/* A preflight carries no key, by design of the protocol. */
static int needs_key(const struct request *r)
{
    if (!r->sv->keys || (r->route && r->route->flags & ROUTE_OPEN))
        return 0;
    return !(r->method == METHOD_OPTIONS && r->head.preflight &&
             r->head.origin);
}

/* Who opens a route in a browser reads here how it is asked. */
static void wrong_method(struct request *r)
{
    const char *host = r->head.host;
    if (r->route->method != METHOD_POST) {
        err_set_at(&r->err, ERR_INVALID, "method_not_allowed", NULL,
                   "this route takes GET");
        return;
    }
    if (!host || strlen(host) > MOST_HOST ||
        strcspn(host, HARMFUL) < strlen(host))
        host = "localhost:8080";
    err_set_at(&r->err, ERR_INVALID, "method_not_allowed", NULL,
               "this route takes POST: curl -s %s%s%s -d '%s'", host,
               r->route->path,
               r->sv->keys ? " -H 'Authorization: Bearer KEY'" : "",
               r->route->example);
}

/* Work alone is counted: probes and pages are not, nor what was refused. */
static void count(struct request *r)
{
    if (!r->sv->rate || r->method != METHOD_POST)
        return;
    int64_t wait = rate_take(r->sv->rate, r->client_id, clock_now_us());
    if (wait == 0)
        return;
    snprintf(r->retry_after, sizeof r->retry_after, "%d",
             (int)((wait + 999999) / 1000000));
    err_set_at(&r->err, ERR_BUSY, "rate_limited", NULL,
               "more than %lld requests a minute: try again in %s s",
               (long long)r->sv->cfg->rate_limit, r->retry_after);
}

void route_begin(struct request *r, const char *method, const char *path)
{
    const struct config *cfg = r->sv->cfg;
    r->method = route_method(method);
    for (int i = 0; i < N_ROUTES && !r->route; i++)
        if (matches(&routes[i], path, &r->arg))
            r->route = &routes[i];
    if (r->err.code != ERR_NONE)
        return; /* the header itself was refused */
    const char *wrong, *given = r->head.authorization;
    int known = r->sv->keys && keyring_match(r->sv->keys, given);
    if (!hosts_allow(cfg, r->head.host, r->head.origin, &wrong))
        err_set_at(&r->err, ERR_INVALID, "host_not_allowed", NULL,
                   "%s: this server has no key and answers its own machine: "
                   "ask it as localhost or 127.0.0.1, or start it with "
                   "--host-name NAME (for an Origin: --cors-origin ORIGIN) or "
                   "with keys",
                   wrong);
    else if (needs_key(r) && !known)
        err_set_at(&r->err, ERR_INVALID,
                   given ? "invalid_api_key" : "missing_api_key", NULL,
                   given ? "the API key is not known"
                         : "an API key is needed: Authorization: Bearer KEY");
    else if (!r->route)
        err_set_at(&r->err, ERR_NOT_FOUND, "not_found", NULL,
                   "there is no such route");
    else if (!method_fits(r))
        wrong_method(r);
    else {
        if (known)
            r->client_id = client_id_of_key(keys_text(given));
        count(r);
    }
}

/* "application/json", with charset utf-8 at most; or what `curl -d` sends,
 * as long as no web page is behind it (a form needs no preflight). */
static int media_type_fits(const struct message_head *h)
{
    const char *t = h->content_type;
    size_t n = t ? strcspn(t, "; \t") : 0;
    if (n == 33 && !strncasecmp(t, "application/x-www-form-urlencoded", n))
        return h->origin == NULL;
    if (n != 16 || strncasecmp(t, "application/json", n))
        return 0;
    t += n;
    t += strspn(t, "; \t");
    if (!*t)
        return 1;
    return !strcasecmp(t, "charset=utf-8") ||
           !strcasecmp(t, "charset=\"utf-8\"");
}

int route_ready(struct request *r)
{
    int phase = atomic_load(&r->sv->phase);
    if (r->method == METHOD_OPTIONS)
        return 0;
    if (r->route->method == METHOD_POST && !media_type_fits(&r->head))
        return err_set_at(&r->err, ERR_INVALID, "unsupported_media_type", NULL,
                          "send the body as application/json");
    if (!(r->route->flags & ROUTE_READY) || phase == PHASE_READY)
        return 0;
    if (phase == PHASE_LOADING)
        return err_set_at(&r->err, ERR_BUSY, "loading", NULL,
                          "the models are being loaded");
    return err_set_at(&r->err, ERR_DRAINING, "draining", NULL,
                      "the server is shutting down");
}
