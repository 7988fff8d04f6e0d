/* hosts: see hosts.h.
 *
 * SPDX-License-Identifier: MIT */
#include "server/http/hosts.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <strings.h>

#include "server/http/message_head.h"

static int is(const char *s, size_t n, const char *name)
{
    return strlen(name) == n && strncasecmp(s, name, n) == 0;
}

/* Digits and dots or a [...]: 1 when they are an address. */
static int read_address(const char *s, size_t n, struct in6_addr *out)
{
    char text[INET6_ADDRSTRLEN];
    int v6 = n > 2 && *s == '[';
    s += v6;
    n -= v6 ? 2U : 0U;
    if (n == 0 || n >= sizeof text)
        return 0;
    memcpy(text, s, n);
    text[n] = 0;
    memset(out, 0, sizeof *out);
    if (!v6)
        out->s6_addr[10] = out->s6_addr[11] = 0xff; /* ::ffff:a.b.c.d */
    return inet_pton(v6 ? AF_INET6 : AF_INET, text,
                     out->s6_addr + (v6 ? 0 : 12)) == 1;
}

static int is_own_address(const struct in6_addr *a)
{
    return IN6_IS_ADDR_LOOPBACK(a) ||
           (IN6_IS_ADDR_V4MAPPED(a) && a->s6_addr[12] == 127);
}

/* The length of a host without its port. */
static size_t host_length(const char *host)
{
    return *host == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":");
}

/* "localhost", what we listen on, what was told; a dot behind a name says that
 * it is a whole one. */
static int is_our_name(const struct config *cfg, const char *host, size_t n)
{
    if (n > 1 && host[n - 1] == '.')
        n--;
    if (is(host, n, "localhost") || is(host, n, cfg->host))
        return 1;
    for (int i = 0; i < cfg->host_names.n; i++)
        if (is(host, n, cfg->host_names.v[i]))
            return 1;
    return 0;
}

/* By any address: no name leads to it, and who has forwarded a port here knows
 * that. */
static int is_our_host(const struct config *cfg, const char *host)
{
    struct in6_addr a;
    size_t n = host_length(host);
    return is_our_name(cfg, host, n) || read_address(host, n, &a);
}

/* A page of this machine or of the host that is asked: any other address is as
 * foreign as another name. */
static int is_our_origin(const struct config *cfg, const char *origin,
                         const char *host)
{
    struct in6_addr a;
    size_t scheme = !strncasecmp(origin, "http://", 7)    ? 7
                    : !strncasecmp(origin, "https://", 8) ? 8
                                                          : 0;
    const char *from = origin + scheme;
    size_t n = host_length(from);
    if (scheme == 0 || n == 0 || !message_head_is_host(from, strlen(from)))
        return 0;
    return is_our_name(cfg, from, n) || (host && !strcasecmp(from, host)) ||
           (read_address(from, n, &a) && is_own_address(&a));
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
    if (host && !is_our_host(cfg, host))
        return 0;
    *wrong = "Origin";
    return !origin || is_listed(cfg, origin) ||
           is_our_origin(cfg, origin, host);
}
