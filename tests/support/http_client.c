/* http_client: see http_client.h.
 *
 * SPDX-License-Identifier: MIT */
#include "tests/support/http_client.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/buf.h"
#include "engine/base/mem.h"
#include "tests/support/http_server.h"

#define WAIT_MS 240000L /* sanitizers on a busy machine */

struct client {
    CURL *curl;
    int port;
    char from[32];
};

static size_t on_bytes(char *p, size_t size, size_t n, void *arg)
{
    buf_add(arg, p, size * n);
    return size * n;
}

struct client *client_open_from(int port, const char *address)
{
    struct client *c = mem_zalloc(sizeof *c);
    if (!c)
        return NULL;
    c->port = port;
    c->curl = curl_easy_init();
    snprintf(c->from, sizeof c->from, "%s", address);
    return c;
}

struct client *client_open(int port)
{
    return client_open_from(port, "127.0.0.1");
}

void client_close(struct client *c)
{
    curl_easy_cleanup(c->curl);
    mem_free(c);
}

static char *take_text(struct buf *b)
{
    char *p = buf_take(b);
    return p ? p : mem_strdup("");
}

void client_send(struct client *c, const char *method, const char *path,
                 const char *const *headers, const char *body, size_t n,
                 struct answer *a)
{
    struct curl_slist *list = NULL;
    struct buf head, text;
    char url[512];
    memset(a, 0, sizeof *a);
    buf_init(&head, 1 << 20);
    buf_init(&text, (size_t)512 << 20);
    snprintf(url, sizeof url, "http://127.0.0.1:%d%s", c->port, path);
    curl_easy_reset(c->curl);
    if (!headers && body)
        list = curl_slist_append(list, "Content-Type: application/json");
    else if (body)
        list = curl_slist_append(list, "Content-Type:");
    for (; headers && *headers; headers++)
        list = curl_slist_append(list, *headers);
    list = curl_slist_append(list, "Expect:");
    curl_easy_setopt(c->curl, CURLOPT_URL, url);
    curl_easy_setopt(c->curl, CURLOPT_INTERFACE, c->from);
    curl_easy_setopt(c->curl, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(c->curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c->curl, CURLOPT_TIMEOUT_MS, WAIT_MS);
    if (body) {
        curl_easy_setopt(c->curl, CURLOPT_POSTFIELDS, body);
        curl_easy_setopt(c->curl, CURLOPT_POSTFIELDSIZE, (long)n);
    }
    if (!strcmp(method, "HEAD"))
        curl_easy_setopt(c->curl, CURLOPT_NOBODY, 1L);
    curl_easy_setopt(c->curl, CURLOPT_CUSTOMREQUEST, method);
    curl_easy_setopt(c->curl, CURLOPT_HTTPHEADER, list);
    curl_easy_setopt(c->curl, CURLOPT_WRITEFUNCTION, on_bytes);
    curl_easy_setopt(c->curl, CURLOPT_WRITEDATA, &text);
    curl_easy_setopt(c->curl, CURLOPT_HEADERFUNCTION, on_bytes);
    curl_easy_setopt(c->curl, CURLOPT_HEADERDATA, &head);
    if (curl_easy_perform(c->curl) == CURLE_OK)
        curl_easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, &a->status);
    curl_slist_free_all(list);
    a->n = text.len;
    a->body = take_text(&text);
    a->head = take_text(&head);
    if (a->n && (a->body[0] == '{' || a->body[0] == '[')) {
        const struct json_limits lim = {(size_t)512 << 20, 0, 1u << 26};
        json_parse(a->body, a->n, &lim, &a->j, NULL);
    }
}

void answer_free(struct answer *a)
{
    json_free(a->j);
    mem_free(a->body);
    mem_free(a->head);
    memset(a, 0, sizeof *a);
}

void http_send(int port, const char *method, const char *path,
               const char *const *headers, const char *body, size_t n,
               struct answer *a)
{
    struct client *c = client_open(port);
    client_send(c, method, path, headers, body, n, a);
    client_close(c);
}

void http_get(int port, const char *path, struct answer *a)
{
    http_send(port, "GET", path, NULL, NULL, 0, a);
}

void http_post(int port, const char *path, const char *json, struct answer *a)
{
    http_send(port, "POST", path, NULL, json, strlen(json), a);
}

const char *answer_header(const struct answer *a, const char *name)
{
    static char values[4][1024];
    static unsigned turn;
    char *out = values[turn++ % 4];
    size_t n = strlen(name);
    out[0] = '\0';
    for (const char *p = a->head; p && *p; p = strchr(p, '\n')) {
        p += *p == '\n';
        if (!strncasecmp(p, name, n) && p[n] == ':') {
            p += n + 1;
            p += strspn(p, " ");
            snprintf(out, sizeof values[0], "%.*s", (int)strcspn(p, "\r\n"), p);
            return out;
        }
    }
    return out;
}

const struct json *json_at(const struct json *j, const char *path)
{
    char part[64];
    while (j && *path) {
        size_t n = strcspn(path, ".");
        snprintf(part, sizeof part, "%.*s", (int)n, path);
        path += n + (path[n] == '.');
        if (json_type(j) == JSON_ARRAY) {
            long i = strtol(part, NULL, 10);
            for (j = json_child(j); j && i > 0; i--)
                j = json_next(j);
        } else {
            j = json_get(j, part);
        }
    }
    return j;
}

const struct json *answer_at(const struct answer *a, const char *path)
{
    return a->j ? json_at(a->j, path) : NULL;
}

const char *answer_text(const struct answer *a, const char *path)
{
    const struct json *j = answer_at(a, path);
    const char *s = j ? json_string(j) : NULL;
    return s ? s : "";
}

double answer_number(const struct answer *a, const char *path)
{
    const struct json *j = answer_at(a, path);
    return j && json_type(j) == JSON_NUMBER ? json_number(j) : -1e300;
}

double metric_value(int port, const char *prefix)
{
    struct answer a;
    double sum = 0;
    size_t n = strlen(prefix);
    http_get(port, "/metrics", &a);
    for (const char *p = a.body; p && *p; p = strchr(p, '\n')) {
        p += *p == '\n';
        if (strncmp(p, prefix, n))
            continue;
        const char *v = strchr(p, ' ');
        const char *brace = strchr(p, '}');
        if (brace && brace < strchr(p, '\n'))
            v = brace + 1;
        sum += v ? strtod(v, NULL) : 0;
    }
    answer_free(&a);
    return sum;
}

/* -------------------------------------------------------------------- raw */

/* room: bytes of the receive buffer; 0: as usual. */
static int open_socket(int port, int room)
{
    const struct sockaddr_in to = {.sin_family = AF_INET,
                                   .sin_port = htons((uint16_t)port),
                                   .sin_addr = {htonl(INADDR_LOOPBACK)}};
    const int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (room > 0) /* before the window is told */
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
    if (connect(fd, (const struct sockaddr *)&to, sizeof to) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

int raw_open(int port)
{
    return open_socket(port, 0);
}

int raw_open_small(int port)
{
    return open_socket(port, 4096);
}

void raw_say(int fd, const char *text)
{
    size_t n = strlen(text);
    while (n > 0) {
        ssize_t sent = send(fd, text, n, MSG_NOSIGNAL);
        if (sent <= 0)
            return;
        text += sent;
        n -= (size_t)sent;
    }
}

int raw_post(int port, const char *path, const char *json)
{
    struct buf b;
    int fd = raw_open(port);
    buf_init(&b, 1 << 22);
    buf_addf(&b,
             "POST %s HTTP/1.1\r\nHost: a\r\nContent-Type: application/json"
             "\r\nContent-Length: %zu\r\n\r\n%s",
             path, strlen(json), json);
    raw_say(fd, b.p);
    buf_fini(&b);
    return fd;
}

size_t raw_hear(int fd, char *out, size_t size, const char *until, int ms,
                int *closed)
{
    double end = now_s() + ms / 1000.0;
    size_t n = 0;
    int over = 0;
    out[0] = '\0';
    while (!over && n < size - 1) {
        struct pollfd p = {fd, POLLIN, 0};
        int left = (int)((end - now_s()) * 1000);
        if (left <= 0 || poll(&p, 1, left) <= 0)
            break;
        ssize_t got = recv(fd, out + n, size - 1 - n, 0);
        over = got <= 0;
        n += got > 0 ? (size_t)got : 0;
        out[n] = '\0';
        if (until && strstr(out, until))
            break;
    }
    if (closed)
        *closed = over;
    return n;
}

void raw_close(int fd)
{
    close(fd);
}

void raw_reset(int fd)
{
    const struct linger now = {1, 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close(fd);
}

size_t raw_ask(int port, const char *text, char *out, size_t size)
{
    int fd = raw_open(port);
    out[0] = '\0';
    if (fd < 0)
        return 0;
    raw_say(fd, text);
    size_t n = raw_hear(fd, out, size, NULL, 2000, NULL);
    raw_close(fd);
    return n;
}
