/* conn: see conn.h. Answering is in conn_answer.c.
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
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "engine/base/rng.h"
#include "server/api/reply.h"
#include "server/api/route.h"
#include "server/http/client_id.h"
#include "server/http/conn_impl.h"
#include "server/http/http_impl.h"
#include "server/http/request.h"

#define FIRST_IN 4096
#define MAX_HEAD 32768
#define MAX_OUT (1 << 20)
/* Bytes that the kernel keeps before they go out: what is unread shall be seen
 * here, not hidden in megabytes of its buffers. */
#define MOST_UNSENT (128 << 10)
#define CONTINUE "HTTP/1.1 100 Continue\r\n\r\n"

/* --- life --- */

void conn_look_for(struct conn *c, unsigned events)
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

void conn_enter(struct conn *c, enum conn_state state)
{
    conn_list_drop(list_of(c), c);
    c->state = state;
    c->since_us = clock_now_us();
    c->sent = 0;
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
    const int one = 1, unsent = MOST_UNSENT;
    struct conn *c = mem_zalloc(sizeof *c);
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};
    if (!c || epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, fd, &ev)) {
        close(fd);
        mem_free(c);
        return NULL;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof unsent);
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
void conn_let_request_go(struct conn *c, int ok)
{
    struct request *r = c->req;
    struct loop *l = c->loop;
    if (!r)
        return;
    c->req = NULL;
    c->body = NULL;
    c->n_body = c->body_at = c->body_free = 0;
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
    conn_let_request_go(c, 0);
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
    conn_enter(c, CONN_LINGER);
    conn_look_for(c, EPOLLIN);
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
void conn_drop_used(struct conn *c)
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
    conn_refuse(c);
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
        conn_refuse(c); /* no byte of the body is asked for */
        return;
    }
    conn_enter(c, CONN_BODY);
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
    int has_body = h.chunked || h.content_length > 0; /* a probe has none */
    if (c->spare &&
        (has_body || !(r->route && r->route->flags & ROUTE_QUIET))) {
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
        conn_park(c);
    else
        conn_put_answer(c);
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
            conn_look_for(c, EPOLLIN);
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
        conn_refuse(c);
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
                conn_drop_used(c);
            conn_look_for(c, EPOLLIN);
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
            /* There may be bytes in `in`: go on soon. */
            conn_look_for(c, EPOLLOUT);
            return;
        }
        if (c->state == CONN_HEAD) {
            more = read_head(c);
            more = more == 0 ? fill(c) : more > 0;
        } else if (c->state == CONN_BODY)
            more = read_body(c);
        else if (c->state == CONN_ANSWER)
            more = conn_answer(c);
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
        conn_look_for(c, 0);
    } else {
        go_on(c);
    }
}

void conn_resume(struct conn *c)
{
    struct request *r = c->req;
    r->suspended = 0;
    if (r->stage == STAGE_READY)
        conn_put_answer(c);
    else
        conn_enter(c, CONN_ANSWER);
    go_on(c);
}

/* --- what is late --- */

static void refuse_late(struct conn *c)
{
    err_clear(&c->req->err);
    err_set_at(&c->req->err, ERR_INVALID, "request_timeout", NULL,
               "the body did not arrive in time");
    conn_refuse(c);
}

void conn_give_up(struct conn *c)
{
    if (c->state == CONN_BODY) {
        refuse_late(c);
        if (conn_flush(c) > 0)
            conn_let_request_go(c, 1);
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
    } else if (c->state == CONN_ANSWER) {
        conn_answer_tend(c, now);
    } else if (now - c->since_us >
               (c->state == CONN_LINGER ? LINGER_US : idle)) {
        conn_close(c);
    }
}
