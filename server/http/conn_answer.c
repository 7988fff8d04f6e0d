/* conn_answer: the answer of a connection: its head, its body or the parts of
 * its stream, as the socket takes them.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>

#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "server/api/reply.h"
#include "server/http/conn_impl.h"
#include "server/http/http_impl.h"
#include "server/http/request.h"

#define STREAM_BLOCK 16384 /* of a stream, in one chunk */
#define SEND_BLOCK 65536   /* TURN of them are copied in a third of a ms */
#define FREE_BLOCK 1048576 /* what was sent goes back in such parts */
#define SEND_RATE 1024     /* bytes a second that a client has to read */

static const char *phrase_of(int status)
{
    static const struct {
        int status;
        const char *phrase;
    } all[] = {{200, "OK"},
               {204, "No Content"},
               {400, "Bad Request"},
               {401, "Unauthorized"},
               {403, "Forbidden"},
               {404, "Not Found"},
               {405, "Method Not Allowed"},
               {408, "Request Timeout"},
               {413, "Content Too Large"},
               {415, "Unsupported Media Type"},
               {429, "Too Many Requests"},
               {431, "Request Header Fields Too Large"},
               {499, "Client Closed Request"},
               {500, "Internal Server Error"},
               {503, "Service Unavailable"},
               {504, "Gateway Timeout"}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i].status == status)
            return all[i].phrase;
    return "Unknown";
}

static const char *date_of(struct loop *l)
{
    time_t now = (time_t)(clock_wall_us() / 1000000);
    struct tm t;
    if (l->date_s != (int64_t)now && gmtime_r(&now, &t)) {
        l->date_s = (int64_t)now;
        strftime(l->date, sizeof l->date, "Date: %a, %d %b %Y %H:%M:%S GMT\r\n",
                 &t);
    }
    return l->date;
}

/* The server ends, or has said that it will. */
static int is_ending(const struct conn *c)
{
    return loop_stopped(c->loop) ||
           atomic_load(&c->loop->sv->phase) == PHASE_DRAINING;
}

static void put_head(struct conn *c, struct request *r)
{
    struct header h[MAX_HEADERS];
    int n = reply_headers(r, h), bodiless = r->status == 204;
    c->closes |= r->head.closes || is_ending(c) || c->spare;
    c->closes |= r->stream && r->head.minor == 0; /* ends where it closes */
    buf_addf(&c->out, "HTTP/1.1 %d %s\r\n%s", r->status, phrase_of(r->status),
             date_of(c->loop));
    for (int i = 0; i < n; i++)
        buf_addf(&c->out, "%s: %s\r\n", h[i].name, h[i].value);
    if (r->stream && r->head.minor > 0)
        buf_add_str(&c->out, "Transfer-Encoding: chunked\r\n");
    else if (!r->stream && !bodiless)
        buf_addf(&c->out, "Content-Length: %zu\r\n",
                 r->fixed ? r->fixed_len : r->out.len);
    if (c->closes)
        buf_add_str(&c->out, "Connection: close\r\n");
    else if (r->head.minor == 0)
        buf_add_str(&c->out, "Connection: keep-alive\r\n");
    buf_add_str(&c->out, "\r\n");
}

/* The answer of a request that is READY, or the begin of its stream. */
void conn_put_answer(struct conn *c)
{
    struct request *r = c->req;
    put_head(c, r);
    r->stage = STAGE_SENT;
    r->answered_us = r->sent_us = clock_now_us();
    c->streams = r->stream;
    if (!r->stream) {
        c->body = r->fixed ? r->fixed : r->out.p;
        r->bytes = c->n_body = r->fixed ? r->fixed_len : r->out.len;
        if (r->method == METHOD_HEAD || r->status == 204)
            r->bytes = c->n_body = 0;
        request_answered(r);
    }
    conn_enter(c, CONN_ANSWER);
}

/* More of a stream into `out`. 1: there was some, or its end; 0: none. */
static int put_stream(struct conn *c)
{
    struct request *r = c->req;
    int ended, chunked = r->head.minor > 0;
    char *p = c->loop->scratch;
    size_t n = request_read_stream(r, p, STREAM_BLOCK, &ended);
    if (n > 0 && chunked)
        buf_addf(&c->out, "%zx\r\n", n);
    buf_add(&c->out, p, n);
    if (n > 0 && chunked)
        buf_add_str(&c->out, "\r\n");
    if (ended) {
        if (chunked)
            buf_add_str(&c->out, "0\r\n\r\n");
        c->streams = 0;
    }
    return n > 0 || ended;
}

/* n bytes are out. */
static void note_sent(struct conn *c, size_t n)
{
    struct request *r = c->req;
    size_t head = c->out.len - c->out_at < n ? c->out.len - c->out_at : n;
    c->out_at += head;
    c->body_at += n - head;
    c->sent += n;
    if (!c->body || r->fixed)
        return;
    if (r->unread > c->n_body - c->body_at)
        unread_set(r, c->n_body - c->body_at);
    if (c->body_at - c->body_free >= FREE_BLOCK) {
        mem_forget(r->out.p + c->body_free, c->body_at - c->body_free);
        c->body_free = c->body_at;
    }
}

/* What is left of p [n], which may be NULL for none. */
static struct iovec rest_of(const char *p, size_t n, size_t at)
{
    if (at == n)
        return (struct iovec){NULL, 0};
    return (struct iovec){(void *)(uintptr_t)(p + at), n - at};
}

int conn_flush(struct conn *c)
{
    if (c->out.failed)
        return -1; /* what follows would stand for what is missing */
    for (int i = 0; c->out_at < c->out.len || c->body_at < c->n_body; i++) {
        struct iovec v[2] = {rest_of(c->out.p, c->out.len, c->out_at),
                             rest_of(c->body, c->n_body, c->body_at)};
        if (v[1].iov_len > SEND_BLOCK)
            v[1].iov_len = SEND_BLOCK;
        struct msghdr m = {.msg_iov = v[0].iov_len ? v : v + 1,
                           .msg_iovlen = v[0].iov_len && v[1].iov_len ? 2 : 1};
        ssize_t n = i < TURN ? sendmsg(c->fd, &m, MSG_NOSIGNAL) : 0;
        if (n == 0 || (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)))
            return 0;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        note_sent(c, (size_t)n);
    }
    buf_clear(&c->out);
    c->out_at = 0;
    return 1;
}

/* Wait for others to work, and see when the client leaves. */
void conn_park(struct conn *c)
{
    c->req->suspended = 1;
    conn_enter(c, CONN_PARKED);
    conn_look_for(c, c->half ? 0 : EPOLLRDHUP);
}

/* The state ANSWER: send until the socket is full, the stream silent or all is
 * said. 1: the next request may be read; 0: not yet, or c is closed. */
int conn_answer(struct conn *c)
{
    for (;;) {
        int rc = conn_flush(c);
        if (rc < 0) {
            conn_close(c);
            return 0;
        }
        if (rc == 0) {
            conn_look_for(c, EPOLLOUT);
            return 0;
        }
        if (!c->streams)
            break;
        if (!put_stream(c)) {
            conn_park(c);
            return 0;
        }
    }
    conn_let_request_go(c, 1);
    if (c->closes) {
        conn_linger(c);
        return 0;
    }
    conn_drop_used(c);
    conn_enter(c, CONN_HEAD);
    return 1;
}

/* It is not told why: it does not read. A reset drops what the kernel has. */
static void abandon(struct conn *c)
{
    const struct linger now = {1, 0};
    struct request *r = c->req;
    err_clear(&r->err);
    err_set_at(&r->err, ERR_INVALID, "request_timeout", NULL,
               "the answer was not read in time");
    r->status = 408;
    if (c->body)
        r->bytes = c->body_at;
    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    conn_close(c);
}

void conn_answer_tend(struct conn *c, int64_t now)
{
    int64_t s = c->loop->sv->cfg->send_timeout_s;
    int runs = c->streams && !c->req->ended;
    if (now - c->since_us < s * 1000000)
        return;
    if ((int64_t)c->sent < (runs ? 1 : s * SEND_RATE)) {
        abandon(c);
        return;
    }
    c->since_us = now;
    c->sent = 0;
}

/* r->err is the answer, and the last one. */
void conn_refuse(struct conn *c)
{
    reply_error(c->req);
    c->closes = 1;
    conn_put_answer(c);
}
