/* conn: see conn.h.
 *
 * SPDX-License-Identifier: MIT */
#include "server/http/conn.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "engine/base/rng.h"
#include "server/api/reply.h"
#include "server/api/route.h"
#include "server/http/client_id.h"
#include "server/http/http_impl.h"
#include "server/http/request.h"

#define FIRST_IN 4096
#define MAX_HEAD 32768
#define STREAM_BLOCK 16384 /* of a stream, in one chunk */
#define MAX_OUT (1 << 20)
#define TURN 16 /* steps, reads of a body or sends before others have theirs */
#define CONTINUE "HTTP/1.1 100 Continue\r\n\r\n"

/* --- life --- */

static void look_for(struct conn *c, unsigned events)
{
    struct epoll_event ev = {.events = events, .data.ptr = c};
    if (events == c->events)
        return;
    c->events = events;
    epoll_ctl(c->loop->epoll_fd, EPOLL_CTL_MOD, c->fd, &ev);
}

static struct conn_list *list_of(struct conn *c)
{
    return c->state == CONN_HEAD ? &c->loop->idle : &c->loop->busy;
}

static void enter(struct conn *c, enum conn_state state)
{
    conn_list_drop(list_of(c), c);
    c->state = state;
    c->since_us = clock_now_us();
    conn_list_add(list_of(c), c);
}

/* Who is at the other end, without the port. */
static void name_client(struct conn *c)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } a;
    socklen_t n = sizeof a;
    snprintf(c->client, sizeof c->client, "unknown");
    if (getpeername(c->fd, &a.any, &n))
        return;
    c->client_id = client_id_of_address(&a.any);
    if (a.any.sa_family == AF_INET6)
        inet_ntop(AF_INET6, &a.v6.sin6_addr, c->client, sizeof c->client);
    else if (a.any.sa_family == AF_INET)
        inet_ntop(AF_INET, &a.v4.sin_addr, c->client, sizeof c->client);
}

struct conn *conn_open(struct loop *l, int fd, int spare)
{
    const int one = 1;
    struct conn *c = mem_zalloc(sizeof *c);
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};
    if (!c || epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, fd, &ev)) {
        close(fd);
        mem_free(c);
        return NULL;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    c->loop = l;
    c->fd = fd;
    c->events = EPOLLIN;
    c->spare = spare;
    name_client(c);
    c->since_us = clock_now_us();
    buf_init(&c->out, MAX_OUT);
    conn_list_add(&l->idle, c);
    l->n_spare += spare;
    return c;
}

/* The connection is done with its request. Where the worker has it still, the
 * bytes of its head are the request's from now on. */
static void let_request_go(struct conn *c, int ok)
{
    struct request *r = c->req;
    struct loop *l = c->loop;
    if (!r)
        return;
    c->req = NULL;
    c->body = NULL;
    c->n_body = c->body_at = 0;
    r->conn = NULL;
    r->suspended = 0;
    atomic_fetch_sub(&l->n_live, 1);
    access_note(&l->access, r);
    if (request_leave(r, ok)) {
        loop_recycle(l, r);
    } else if (!ok) {
        r->head_bytes = c->in;
        c->in = NULL;
        c->n_in = c->cap_in = c->at = 0;
    }
}

void conn_close(struct conn *c)
{
    struct loop *l = c->loop;
    let_request_go(c, 0);
    conn_list_drop(list_of(c), c);
    l->n_spare -= c->spare;
    close(c->fd);
    buf_fini(&c->out);
    mem_free(c->in);
    mem_free(c->ahead);
    mem_free(c);
    loop_freed(l);
}

int conn_is_silent(const struct conn *c)
{
    char b;
    return !(c->events & EPOLLOUT) && recv(c->fd, &b, 1, MSG_PEEK) <= 0;
}

void conn_linger(struct conn *c)
{
    shutdown(c->fd, SHUT_WR);
    c->at = c->n_in = 0;
    enter(c, CONN_LINGER);
    look_for(c, EPOLLIN);
}

/* --- reading --- */

/* Bytes of the socket into p: > 0, 0 when there are none for now, -1 when the
 * connection is lost. c->ended at its end. */
static ssize_t take(struct conn *c, char *p, size_t n)
{
    if (c->ended)
        return 0;
    ssize_t got = recv(c->fd, p, n, 0);
    if (got > 0)
        return got;
    if (got == 0) {
        c->ended = 1;
        return 0;
    }
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? 0 : -1;
}

/* Room for more of a head or of what lies behind it. */
static int grow_in(struct conn *c, size_t room)
{
    size_t cap = c->cap_in ? c->cap_in : FIRST_IN;
    while (cap < c->n_in + room)
        cap *= 2;
    if (cap == c->cap_in)
        return 0;
    char *p = mem_grow(c->in, cap, 1);
    if (!p)
        return -1;
    c->in = p;
    c->cap_in = cap;
    return 0;
}

/* What is used up of `in` goes; an idle connection keeps no memory. */
static void drop_used(struct conn *c)
{
    if (c->at > 0 && c->at < c->n_in)
        memmove(c->in, c->in + c->at, c->n_in - c->at);
    c->n_in -= c->at;
    c->at = c->seen = 0;
    if (c->n_in == 0) {
        mem_free(c->in);
        c->in = c->ahead;
        c->n_in = c->cap_in = c->n_ahead;
        c->ahead = NULL;
        c->n_ahead = 0;
    }
    if (c->out.cap > FIRST_IN) {
        buf_fini(&c->out);
        buf_init(&c->out, MAX_OUT);
    }
}

/* --- answering --- */

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
static void put_answer(struct conn *c)
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
    }
    enter(c, CONN_ANSWER);
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

/* Send what there is. 1: all of it is out, 0: the socket is full, or others
 * have waited long enough, -1: lost. */
static int flush(struct conn *c)
{
    for (int i = 0; c->out_at < c->out.len || c->body_at < c->n_body; i++) {
        struct iovec v[2] = {{c->out.p + c->out_at, c->out.len - c->out_at},
                             {(void *)(uintptr_t)(c->body + c->body_at),
                              c->n_body - c->body_at}};
        struct msghdr m = {.msg_iov = v[0].iov_len ? v : v + 1,
                           .msg_iovlen = v[0].iov_len && v[1].iov_len ? 2 : 1};
        ssize_t n = i < TURN ? sendmsg(c->fd, &m, MSG_NOSIGNAL) : 0;
        if (n == 0 || (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)))
            return 0;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        size_t head = v[0].iov_len < (size_t)n ? v[0].iov_len : (size_t)n;
        c->out_at += head;
        c->body_at += (size_t)n - head;
        c->since_us = clock_now_us();
    }
    buf_clear(&c->out);
    c->out_at = 0;
    return 1;
}

/* Wait for others to work, and see when the client leaves. */
static void park(struct conn *c)
{
    c->req->suspended = 1;
    enter(c, CONN_PARKED);
    look_for(c, c->half ? 0 : EPOLLRDHUP);
}

/* The state ANSWER: send until the socket is full, the stream silent or all is
 * said. 1: the next request may be read; 0: not yet, or c is closed. */
static int answer(struct conn *c)
{
    for (;;) {
        int rc = flush(c);
        if (rc < 0 || c->out.failed) {
            conn_close(c);
            return 0;
        }
        if (rc == 0) {
            look_for(c, EPOLLOUT);
            return 0;
        }
        if (!c->streams)
            break;
        if (!put_stream(c)) {
            park(c);
            return 0;
        }
    }
    let_request_go(c, 1);
    if (c->closes) {
        conn_linger(c);
        return 0;
    }
    drop_used(c);
    enter(c, CONN_HEAD);
    return 1;
}

/* r->err is the answer, and the last one. */
static void refuse(struct conn *c)
{
    reply_error(c->req);
    c->closes = 1;
    put_answer(c);
}

/* --- a request's head --- */

static void set_id(struct loop *l, struct request *r)
{
    const char *id = r->head.request_id;
    size_t n = id ? strlen(id) : 0, ok = 0;
    while (ok < n && (isalnum((unsigned char)id[ok]) || id[ok] == '.' ||
                      id[ok] == '_' || id[ok] == '-'))
        ok++;
    if (n > 0 && n <= MAX_REQUEST_ID && ok == n) {
        memcpy(r->id, id, n + 1);
        return;
    }
    static const char hex[] = "0123456789abcdef";
    uint64_t v = rng_hash(l->id_seed, l->id_next++);
    for (int i = 0; i < 16; i++, v >>= 4)
        r->id[i] = hex[v & 15];
    r->id[16] = '\0';
}

static struct request *begin(struct conn *c)
{
    struct loop *l = c->loop;
    if (l->pool)
        l->n_pool--;
    struct request *r = request_new(&l->pool, l->sv);
    if (!r)
        return NULL;
    c->req = r;
    r->loop = l;
    r->conn = c;
    r->arrived_us = c->half_us = clock_now_us();
    c->probed = 0;
    memcpy(r->client, c->client, sizeof r->client);
    r->client_id = c->client_id;
    atomic_fetch_add(&l->n_live, 1);
    return r;
}

/* The head cannot be trusted: nothing behind it is read. As read_head. */
static int refuse_head(struct conn *c, const struct message_head *h,
                       const char *code, const char *why)
{
    struct request *r = begin(c);
    if (!r) {
        conn_close(c);
        return -1;
    }
    if (h)
        r->head = *h;
    r->method = route_method(r->head.method);
    set_id(c->loop, r);
    err_set_at(&r->err, ERR_INVALID, code, NULL, "%s", why);
    refuse(c);
    return 1;
}

static void begin_body(struct conn *c)
{
    struct request *r = c->req;
    int64_t max = c->loop->sv->cfg->max_body;
    memset(&c->chunks, 0, sizeof c->chunks);
    c->body_left = r->head.content_length > 0 ? r->head.content_length : 0;
    if (r->err.code == ERR_NONE && c->body_left > max)
        err_set_at(&r->err, ERR_TOO_LARGE, "body_too_large", NULL,
                   "the body is larger than %lld bytes", (long long)max);
    r->body_over = r->err.code != ERR_NONE;
    int awaits = r->head.expect && (c->body_left > 0 || r->head.chunked);
    if (r->body_over && (c->spare || awaits || c->body_left > max)) {
        refuse(c); /* no byte of the body is asked for */
        return;
    }
    enter(c, CONN_BODY);
    if (awaits && c->at == c->n_in && r->head.minor > 0)
        send(c->fd, CONTINUE, sizeof CONTINUE - 1, MSG_NOSIGNAL);
}

/* HEAD: 1 when the state has changed, 0 when bytes are missing, -1 when c is
 * closed. */
static int read_head(struct conn *c)
{
    struct message_head h;
    const char *wrong = NULL;
    size_t skip = c->n_in > 1 && c->in[0] == '\r' && c->in[1] == '\n' ? 2 : 0;
    if (c->n_in == 0)
        return 0;
    if (c->n_in == 1 && c->in[0] == '\r')
        return 0; /* an empty line may stand before a request */
    long n =
        message_head_read(c->in + skip, c->n_in - skip, &c->seen, &h, &wrong);
    if (n > MAX_HEAD || (n == 0 && c->n_in >= MAX_HEAD))
        return refuse_head(c, NULL, "head_too_large",
                           "the head is larger than 32768 bytes");
    if (n == 0)
        return 0;
    if (n < 0)
        return refuse_head(c, &h, "invalid_request", wrong);
    c->at = skip + (size_t)n;
    struct request *r = begin(c);
    if (!r) {
        conn_close(c);
        return -1;
    }
    r->head = h;
    set_id(c->loop, r);
    route_begin(r, h.method, h.target);
    if (c->spare && !(r->route && r->route->flags & ROUTE_QUIET)) {
        err_clear(&r->err);
        err_set_at(&r->err, ERR_BUSY, "queue_full", NULL,
                   "there are too many connections");
    }
    begin_body(c);
    return 1;
}

/* --- a request's body --- */

/* The body is there. */
static void run(struct conn *c)
{
    struct request *r = c->req;
    request_run(r);
    if (r->stage == STAGE_PARKED)
        park(c);
    else
        put_answer(c);
}

/* Bytes of the body, which the request keeps unless an answer is known. */
static int take_body(struct conn *c, const char *p, size_t n)
{
    struct request *r = c->req;
    size_t max = (size_t)c->loop->sv->cfg->max_body;
    if (n == 0)
        return 0;
    if (!r->body_over)
        return request_body(r, p, n, max);
    r->body_len += n;
    return r->body_len > max ? -1 : 0;
}

/* p [n]: bytes used of what follows the head; *end: the body is complete. -1:
 * it is refused, r->err says why. */
static long read_some(struct conn *c, const char *p, size_t n, int *end)
{
    struct request *r = c->req;
    size_t used = 0, data;
    const char *wrong;
    *end = 0;
    if (!r->head.chunked) {
        used = (int64_t)n > c->body_left ? (size_t)c->body_left : n;
        c->body_left -= (int64_t)used;
        *end = c->body_left == 0;
        return take_body(c, p, used) ? -1 : (long)used;
    }
    while (used < n && !*end) {
        long k =
            chunks_read(&c->chunks, p + used, n - used, &data, end, &wrong);
        if (k < 0) {
            err_clear(&r->err);
            return err_set_at(&r->err, ERR_INVALID, "invalid_request", NULL,
                              "%s", wrong);
        }
        used += (size_t)k;
        if (take_body(c, p + used - data, data))
            return -1;
    }
    return (long)used;
}

/* BODY: 1 when the state has changed, 0 when bytes are missing or c is
 * closed. */
static int read_body(struct conn *c)
{
    int end = 0;
    long n = read_some(c, c->in + c->at, c->n_in - c->at, &end);
    if (n >= 0)
        c->at += (size_t)n;
    for (int i = 0; n >= 0 && !end; i++) {
        char *p = c->loop->scratch;
        size_t room = SCRATCH;
        if (!c->req->head.chunked && c->body_left < SCRATCH)
            room = (size_t)c->body_left;
        ssize_t got = i < TURN ? take(c, p, room) : 0;
        if (got < 0 || (got == 0 && c->ended)) {
            conn_close(c); /* half a request is none */
            return 0;
        }
        if (got == 0) {
            look_for(c, EPOLLIN);
            return 0;
        }
        c->since_us = clock_now_us();
        n = read_some(c, p, (size_t)got, &end);
        if (n >= 0 && n < got) { /* the next request */
            c->n_ahead = (size_t)(got - n);
            c->ahead = mem_alloc(c->n_ahead);
            if (!c->ahead) {
                conn_close(c);
                return 0;
            }
            memcpy(c->ahead, p + n, c->n_ahead);
        }
    }
    if (n < 0)
        refuse(c);
    else
        run(c);
    return 1;
}

/* --- events --- */

/* HEAD: what the socket has. 1: there was something; 0: c has to wait, or is
 * closed. */
static int fill(struct conn *c)
{
    if (c->n_in < MAX_HEAD && grow_in(c, 1) == 0) {
        size_t room = c->cap_in - c->n_in;
        ssize_t got = take(c, c->in + c->n_in, room);
        if (got > 0) {
            c->n_in += (size_t)got;
            return 1;
        }
        if (got == 0 && !c->ended) {
            if (c->n_in == 0)
                drop_used(c);
            look_for(c, EPOLLIN);
            return 0;
        }
    }
    conn_close(c); /* lost, at its end, or without memory */
    return 0;
}

/* What can be done without waiting, up to a turn's worth: who sends without an
 * end must not keep the loop. c may be closed behind it. */
static void go_on(struct conn *c)
{
    for (int i = 0;; i++) {
        int more = 1;
        if (c->state == CONN_HEAD && i >= TURN) {
            look_for(c, EPOLLOUT); /* there may be bytes in `in`: go on soon */
            return;
        }
        if (c->state == CONN_HEAD) {
            more = read_head(c);
            more = more == 0 ? fill(c) : more > 0;
        } else if (c->state == CONN_BODY)
            more = read_body(c);
        else if (c->state == CONN_ANSWER)
            more = answer(c);
        else
            return;
        if (!more)
            return;
    }
}

static void drop_input(struct conn *c)
{
    for (int i = 0; i < 16; i++) {
        ssize_t n = take(c, c->loop->scratch, SCRATCH);
        if (n < 0 || c->ended) {
            conn_close(c);
            return;
        }
        if (n == 0)
            return;
    }
}

void conn_event(struct conn *c, unsigned events)
{
    if (c->state == CONN_LINGER) {
        drop_input(c); /* all of it, even behind the end: see conn.h */
    } else if (events & (EPOLLERR | EPOLLHUP)) {
        conn_close(c);
    } else if (c->state == CONN_PARKED) {
        c->half = 1; /* EPOLLRDHUP: it may still read */
        c->half_us = clock_now_us();
        look_for(c, 0);
    } else {
        go_on(c);
    }
}

void conn_resume(struct conn *c)
{
    struct request *r = c->req;
    r->suspended = 0;
    if (r->stage == STAGE_READY)
        put_answer(c);
    else
        enter(c, CONN_ANSWER);
    go_on(c);
}

/* --- what is late --- */

static void refuse_late(struct conn *c)
{
    err_clear(&c->req->err);
    err_set_at(&c->req->err, ERR_INVALID, "request_timeout", NULL,
               "the body did not arrive in time");
    refuse(c);
}

void conn_give_up(struct conn *c)
{
    if (c->state == CONN_BODY) {
        refuse_late(c);
        if (flush(c) > 0)
            let_request_go(c, 1);
    }
    conn_close(c);
}

/* Is the client whose side is shut still there? */
static void probe(struct conn *c, int64_t now)
{
    struct request *r = c->req;
    if (!c->half || c->probed || now - c->half_us < PROBE_US ||
        r->head.minor == 0 || r->stage == STAGE_SENT)
        return;
    c->probed = 1;
    send(c->fd, CONTINUE, sizeof CONTINUE - 1, MSG_NOSIGNAL);
}

void conn_tend(struct conn *c, int64_t now)
{
    const struct config *cfg = c->loop->sv->cfg;
    int64_t idle = cfg->idle_timeout_s * 1000000;
    if (c->state == CONN_PARKED) {
        probe(c, now);
        request_tend(c->req, now);
    } else if (c->state == CONN_BODY) {
        if (now - c->req->arrived_us <= cfg->body_timeout_ms * 1000)
            return;
        refuse_late(c);
        go_on(c);
    } else if (now - c->since_us >
               (c->state == CONN_LINGER ? LINGER_US : idle)) {
        conn_close(c);
    }
}
