/* healthcheck: see healthcheck.h. Plain HTTP/1.1, one request, one line of
 * the answer.
 *
 * SPDX-License-Identifier: MIT */
#include "server/command/healthcheck.h"

#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "server/config.h"

#define WAIT_S 3

struct target {
    char host[256], port[16], path[512];
};

/* "http://host[:port][/path]", host may be in brackets. */
static int parse_url(const char *url, struct target *t, struct err *e)
{
    const char *p = url;
    if (strncmp(p, "http://", 7))
        return err_set(e, ERR_INVALID, "--url must begin with http://");
    p += 7;
    int bracket = *p == '[';
    p += bracket;
    size_t n = strcspn(p, bracket ? "]" : ":/");
    if (n == 0 || n >= sizeof t->host)
        return err_set(e, ERR_INVALID, "--url has no host");
    memcpy(t->host, p, n);
    t->host[n] = '\0';
    p += n + (bracket && p[n] == ']');
    snprintf(t->port, sizeof t->port, "80");
    if (*p == ':') {
        n = strcspn(++p, "/");
        snprintf(t->port, sizeof t->port, "%.*s", (int)(n < 15 ? n : 15), p);
        p += n;
    }
    snprintf(t->path, sizeof t->path, "%s", *p == '/' ? p : "/readyz");
    return 0;
}

static void own_server(const struct config *c, struct target *t)
{
    const char *host = c->host;
    if (!strcmp(host, "0.0.0.0"))
        host = "127.0.0.1";
    else if (!strcmp(host, "::"))
        host = "::1";
    snprintf(t->host, sizeof t->host, "%s", host);
    snprintf(t->port, sizeof t->port, "%lld", (long long)c->port);
    snprintf(t->path, sizeof t->path, "/readyz");
}

static int connect_to(const struct target *t, struct err *e)
{
    const struct addrinfo want = {.ai_socktype = SOCK_STREAM};
    const struct timeval wait = {WAIT_S, 0};
    struct addrinfo *a = NULL;
    if (getaddrinfo(t->host, t->port, &want, &a))
        return err_set(e, ERR_INVALID, "no such host: %.100s", t->host);
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0) {
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
    }
    if (fd < 0 || connect(fd, a->ai_addr, a->ai_addrlen) < 0) {
        if (fd >= 0)
            close(fd);
        fd = err_set(e, ERR_IO, "nothing answers at %.100s port %.10s", t->host,
                     t->port);
    }
    freeaddrinfo(a);
    return fd;
}

/* The first bytes of the answer, at least the status line. */
static size_t ask(int fd, const struct target *t, char *answer, size_t size)
{
    char text[1024];
    size_t got = 0;
    int n = snprintf(text, sizeof text,
                     "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n",
                     t->path, t->host);
    if (send(fd, text, (size_t)n, MSG_NOSIGNAL) != n)
        return 0;
    while (got < size - 1) {
        ssize_t more = recv(fd, answer + got, size - 1 - got, 0);
        if (more <= 0)
            break;
        got += (size_t)more;
    }
    answer[got] = '\0';
    return got;
}

static int check(const struct config *c, struct err *e)
{
    struct target t;
    char answer[64];
    if (!c->url)
        own_server(c, &t);
    else if (parse_url(c->url, &t, e) < 0)
        return -1;
    int fd = connect_to(&t, e);
    if (fd < 0)
        return -1;
    size_t n = ask(fd, &t, answer, sizeof answer);
    close(fd);
    if (n < 12 || strncmp(answer, "HTTP/1.", 7))
        return err_set(e, ERR_IO, "the server does not answer");
    if (strncmp(answer + 9, "200", 3))
        return err_set(e, ERR_IO, "the server answers with status %.3s",
                       answer + 9);
    return 0;
}

int healthcheck_command(int argc, char *const *argv)
{
    struct config c = {.url = NULL};
    struct err e = ERR_INIT;
    int rc = options_main(&config_table, &c, argc, argv, stdout, stderr);
    if (rc < 0) {
        rc = check(&c, &e) < 0;
        if (rc)
            fprintf(stderr, "seqd: %s\n", e.msg);
    }
    config_fini(&c);
    return rc;
}
