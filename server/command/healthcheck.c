/* healthcheck: see healthcheck.h. Plain HTTP/1.1, one request, one line of
 * the answer, and one deadline for all of it: who asks has one, too.
 *
 * SPDX-License-Identifier: MIT */
#include "server/command/healthcheck.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "server/config.h"

#define WAIT_US 3000000

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
        if (n == 0 || n != strspn(p, "0123456789") || n > 5)
            return err_set(e, ERR_INVALID, "--url has a port that is none");
        snprintf(t->port, sizeof t->port, "%.*s", (int)n, p);
        p += n;
    }
    for (const char *c = p; *c; c++)
        if ((unsigned char)*c <= ' ' || (unsigned char)*c > '~')
            return err_set(e, ERR_INVALID,
                           "--url has a character that it may not have");
    if (strlen(p) >= sizeof t->path)
        return err_set(e, ERR_INVALID, "--url is too long");
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

/* 1 when fd can be read or written, 0 when the time is over. */
static int wait_for(int fd, short what, int64_t until)
{
    struct pollfd p = {fd, what, 0};
    int64_t ms;
    int n = 0;
    while (n == 0 && (ms = (until - clock_now_us() + 999) / 1000) > 0) {
        n = poll(&p, 1, (int)ms);
        if (n < 0 && errno == EINTR)
            n = 0;
    }
    return n > 0;
}

static int connect_at(const struct addrinfo *a, int64_t until)
{
    int why = 0;
    socklen_t n = sizeof why;
    int fd =
        socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    if (connect(fd, a->ai_addr, a->ai_addrlen) == 0)
        return fd;
    if (errno == EINPROGRESS && wait_for(fd, POLLOUT, until) &&
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &why, &n) == 0 && why == 0)
        return fd;
    close(fd);
    return -1;
}

/* A name may have more than one address: localhost has two, which no resolver
 * needs to be asked for (RFC 6761, section 6.3); small images have none. */
static int connect_to(const struct target *t, int64_t until, struct err *e)
{
    const struct addrinfo want = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    int fd = -1;
    const char *host = strcmp(t->host, "localhost") == 0 ? NULL : t->host;
    if (getaddrinfo(host, t->port, &want, &list))
        return err_set(e, ERR_INVALID, "no such host: %.100s", t->host);
    for (const struct addrinfo *a = list; a && fd < 0; a = a->ai_next)
        fd = connect_at(a, until);
    freeaddrinfo(list);
    if (fd < 0)
        err_set(e, ERR_IO, "nothing answers at %.100s port %.10s", t->host,
                t->port);
    return fd;
}

/* The first bytes of the answer, at least the status line. A socket of a new
 * connection has room for a request. */
static size_t ask(int fd, const struct target *t, int64_t until, char *answer,
                  size_t size)
{
    char text[1024];
    size_t got = 0;
    int six = strchr(t->host, ':') != NULL;
    int n = snprintf(text, sizeof text,
                     "GET %s HTTP/1.1\r\nHost: %s%s%s\r\n"
                     "Connection: close\r\n\r\n",
                     t->path, six ? "[" : "", t->host, six ? "]" : "");
    if (send(fd, text, (size_t)n, MSG_NOSIGNAL) != n)
        return 0;
    while (got < size - 1 && wait_for(fd, POLLIN, until)) {
        ssize_t more = recv(fd, answer + got, size - 1 - got, 0);
        if (more < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
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
    char answer[13]; /* "HTTP/1.1 200" */
    int64_t until = clock_now_us() + WAIT_US;
    if (!c->url)
        own_server(c, &t);
    else if (parse_url(c->url, &t, e) < 0)
        return -1;
    int fd = connect_to(&t, until, e);
    if (fd < 0)
        return -1;
    size_t n = ask(fd, &t, until, answer, sizeof answer);
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
