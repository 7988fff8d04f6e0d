/* hosts: see hosts.h.
 *
 * SPDX-License-Identifier: MIT */
#include "server/http/hosts.h"

#include <string.h>
#include <strings.h>

static int is(const char *s, size_t n, const char *name)
{
    return strlen(name) == n && strncasecmp(s, name, n) == 0;
}

/* "localhost", an address in digits, what we listen on, what was told; a dot
 * behind a name says that it is a whole one. */
static int is_ours(const struct config *cfg, const char *host)
{
    size_t n = *host == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":");
    if (n > 1 && host[n - 1] == '.')
        n--;
    if (*host == '[' ||
        (*host >= '0' && *host <= '9' && strspn(host, "0123456789.") >= n))
        return 1;
    if (is(host, n, "localhost") || is(host, n, cfg->host))
        return 1;
    for (int i = 0; i < cfg->host_names.n; i++)
        if (is(host, n, cfg->host_names.v[i]))
            return 1;
    return 0;
}

static int is_listed(const struct config *cfg, const char *origin)
{
    const struct string_list *l = &cfg->cors_origins;
    for (int i = 0; i < l->n; i++)
        if (!strcmp(l->v[i], "*") || !strcmp(l->v[i], origin))
            return 1;
    return 0;
}

int hosts_allow(const struct config *cfg, const char *host, const char *origin,
                const char **wrong)
{
    if (cfg->keys.n > 0 || !config_is_loopback(cfg->host))
        return 1;
    *wrong = "Host";
    if (host && !is_ours(cfg, host))
        return 0;
    *wrong = "Origin";
    const char *from = origin ? strstr(origin, "://") : NULL;
    return !origin || is_listed(cfg, origin) ||
           (from && is_ours(cfg, from + 3));
}
