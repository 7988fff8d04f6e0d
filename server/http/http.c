/* http: see http.h. Traps of libmicrohttpd 0.9.75 that shape this file:
 *
 * - An answer queued in the first handler call closes the connection. So the
 *   first call only looks at the header, the last one answers; but where the
 *   header is not to be trusted (smuggling), closing is what we want.
 * - No answer can be queued while a body arrives. A body that is too large or
 *   too slow is answered straight on the socket (abort_with): nothing of this
 *   request has been sent, and no other thread writes to it.
 * - A suspended connection notices nothing. The janitor polls parked sockets
 *   for clients that left.
 * - Two Content-Length headers, Content-Length with Transfer-Encoding and two
 *   Host headers pass the library, also at strict level 1 (message_head.c).
 *
 * Thread: everything below runs on the loop that owns the connection, but for
 * http_note and http_flush (any) and open, start, close (main).
 *
 * SPDX-License-Identifier: MIT */
#include "server/http/http.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "engine/base/rng.h"
#include "server/http/access_log.h"
#include "server/http/conns.h"
#include "server/http/message_head.h"
#include "server/http/listen.h"
#include "server/api/reply.h"
#include "server/api/route.h"

#define LINGER_US 1000000       /* an aborted connection may read its answer */
#define CONNECTION_MEMORY 32768 /* header and read buffer of a connection */
#define STREAM_BLOCK 4096
#define POOL_MAX 256 /* recycled requests of a loop */
#define PEEK_AT_ONCE 128

struct loop {
    struct http *http;
    struct MHD_Daemon *daemon;
    int epoll_fd, wake_fd;
    pthread_t thread;
    int running;
    struct request *live; /* requests that have a connection */
    struct request *pool;
    int n_pool;
    uint64_t id_seed, id_next; /* request ids */
    int64_t next_janitor;
    struct access access;
    struct conns conns;
    _Atomic(struct request *) notes;
    atomic_int woken, n_live;
};

struct http {
    struct server *sv;
    int listen_fd, port, n_loops;
    atomic_int stop;
    struct loop *loop;
};

/* ------------------------------------------------------------------ notes */

void http_note(struct request *r)
{
    struct loop *l = r->loop;
    struct request *head = atomic_load(&l->notes);
    do
        r->next_note = head;
    while (!atomic_compare_exchange_weak(&l->notes, &head, r));
}

static void wake(struct loop *l)
{
    const uint64_t one = 1;
    ssize_t n = write(l->wake_fd, &one, sizeof one);
    (void)n; /* full means that it is awake */
}

void http_flush(struct http *h)
{
    for (int i = 0; i < h->n_loops; i++)
        if (atomic_load(&h->loop[i].notes) &&
            !atomic_exchange(&h->loop[i].woken, 1))
            wake(&h->loop[i]);
}

int http_live(const struct http *h)
{
    int n = 0;
    for (int i = 0; i < h->n_loops; i++)
        n += atomic_load(&h->loop[i].n_live);
    return n;
}

int http_port(const struct http *h)
{
    return h->port;
}

static void suspend(struct request *r)
{
    r->suspended = 1;
    MHD_suspend_connection(r->conn);
}

void http_resume(struct request *r)
{
    if (!r->suspended)
        return;
    r->suspended = 0;
    MHD_resume_connection(r->conn);
}

static void recycle(struct loop *l, struct request *r)
{
    if (l->n_pool >= POOL_MAX) {
        request_destroy(r);
        return;
    }
    request_reset(r);
    r->next = l->pool;
    l->pool = r;
    l->n_pool++;
}

static void look_at_notes(struct loop *l)
{
    struct request *r = atomic_exchange(&l->notes, NULL), *first = NULL;
    while (r) { /* the list is newest first */
        struct request *next = r->next_note;
        r->next_note = first;
        first = r;
        r = next;
    }
    while (first) {
        r = first;
        first = r->next_note;
        if (request_look(r))
            recycle(l, r);
    }
}

/* ----------------------------------------------------------------- header */

static enum MHD_Result scan_header(void *cls, enum MHD_ValueKind kind,
                                   const char *name, const char *value)
{
    (void)kind;
    scan_add(cls, name, value ? value : "");
    return MHD_YES;
}

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

/* ------------------------------------------------------------------ reply */

static int socket_of(const struct request *r)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(r->conn, MHD_CONNECTION_INFO_CONNECTION_FD);
    return info ? info->connect_fd : -1;
}

static ssize_t on_read_stream(void *cls, uint64_t pos, char *p, size_t max)
{
    struct request *r = cls;
    int ended;
    (void)pos;
    size_t n = request_read_stream(r, p, max, &ended);
    if (n > 0)
        return (ssize_t)n;
    if (ended)
        return MHD_CONTENT_READER_END_OF_STREAM;
    suspend(r); /* 0 without this would be asked again at once, forever */
    return 0;
}

static struct MHD_Response *make_response(struct request *r)
{
    if (r->stream)
        return MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK,
                                                 on_read_stream, r, NULL);
    /* The bytes live in the request until it ends: no copy. */
    void *p = r->fixed ? (void *)(uintptr_t)r->fixed : r->out.p;
    r->bytes = r->fixed ? r->fixed_len : r->out.len;
    return MHD_create_response_from_buffer(r->bytes, p, MHD_RESPMEM_PERSISTENT);
}

/* send_reply: the answer of a READY request. */
static enum MHD_Result send_reply(struct request *r)
{
    struct header h[MAX_HEADERS];
    struct MHD_Response *resp = make_response(r);
    if (!resp)
        return MHD_NO; /* out of memory: closes the connection */
    int n = reply_headers(r, h);
    for (int i = 0; i < n; i++)
        MHD_add_response_header(resp, h[i].name, h[i].value);
    r->stage = STAGE_SENT;
    r->answered_us = r->sent_us = clock_now_us();
    enum MHD_Result rc = MHD_queue_response(r->conn, (unsigned)r->status, resp);
    MHD_destroy_response(resp);
    return rc;
}

/* abort_with: r->err as the answer while the library still waits for a body.
 * The client may read it until LINGER_US have passed; what it still sends is
 * dropped. */
static void abort_with(struct request *r)
{
    struct header h[MAX_HEADERS];
    struct buf b;
    reply_error(r);
    buf_init(&b, 65536);
    buf_addf(&b, "HTTP/1.1 %d %s\r\n", r->status,
             MHD_get_reason_phrase_for((unsigned)r->status));
    int n = reply_headers(r, h);
    for (int i = 0; i < n; i++)
        buf_addf(&b, "%s: %s\r\n", h[i].name, h[i].value);
    r->bytes = r->fixed ? r->fixed_len : r->out.len;
    buf_addf(&b, "Content-Length: %zu\r\nConnection: close\r\n\r\n", r->bytes);
    buf_add(&b, r->fixed ? r->fixed : r->out.p, r->bytes);
    int fd = socket_of(r);
    if (!b.failed && send(fd, b.p, b.len, MSG_NOSIGNAL | MSG_DONTWAIT) > 0)
        shutdown(fd, SHUT_WR);
    else
        shutdown(fd, SHUT_RDWR);
    buf_fini(&b);
    r->stage = STAGE_ABORTED;
    r->answered_us = clock_now_us();
}

/* --------------------------------------------------------------- handlers */

static void enlist(struct loop *l, struct request *r)
{
    r->next = l->live;
    if (l->live)
        l->live->prev = r;
    l->live = r;
    atomic_fetch_add(&l->n_live, 1);
}

static void delist(struct loop *l, struct request *r)
{
    if (r->prev)
        r->prev->next = r->next;
    else
        l->live = r->next;
    if (r->next)
        r->next->prev = r->prev;
    r->prev = r->next = NULL;
    atomic_fetch_sub(&l->n_live, 1);
}

static struct conn *conn_of(struct MHD_Connection *conn)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(conn, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? info->socket_context : NULL;
}

static void on_connection(void *cls, struct MHD_Connection *conn, void **ctx,
                          enum MHD_ConnectionNotificationCode code)
{
    struct loop *l = cls;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        const union MHD_ConnectionInfo *info =
            MHD_get_connection_info(conn, MHD_CONNECTION_INFO_CONNECTION_FD);
        *ctx = conns_open(&l->conns, info->connect_fd, clock_now_us());
    } else {
        conns_close(&l->conns, *ctx);
        *ctx = NULL;
    }
}

/* After http_stop only what is there is still sent: the worker and the engine
 * take nothing any more. */
static int is_stopped(const struct loop *l)
{
    return atomic_load(&l->http->stop);
}

/* The header is complete. */
static enum MHD_Result on_header(struct loop *l, struct MHD_Connection *conn,
                                 const char *url, const char *method,
                                 const char *version, void **con_cls)
{
    struct server *sv = l->http->sv;
    if (is_stopped(l))
        return MHD_NO;
    if (l->pool)
        l->n_pool--;
    struct request *r = request_new(&l->pool, sv);
    if (!r)
        return MHD_NO;
    *con_cls = r;
    r->loop = l;
    r->conn = conn;
    r->arrived_us = clock_now_us();
    r->link = conn_of(conn);
    conn_busy(r->link, 1, r->arrived_us);
    enlist(l, r);

    struct scan s = {.head = &r->head};
    MHD_get_connection_values(conn, MHD_HEADER_KIND, scan_header, &s);
    set_id(l, r);
    const char *wrong = scan_end(&s, version);
    if (wrong)
        err_set_at(&r->err, ERR_INVALID, "invalid_request", NULL, "%s", wrong);
    route_begin(r, method, url);
    if (!wrong && r->err.code == ERR_NONE &&
        r->head.content_length > sv->cfg->max_body)
        err_set_at(&r->err, ERR_TOO_LARGE, "body_too_large", NULL,
                   "the body is larger than %lld bytes",
                   (long long)sv->cfg->max_body);
    if (r->err.code == ERR_NONE)
        return MHD_YES;
    r->body_over = 1;
    if (!wrong &&
        !(r->head.expect && (r->head.content_length > 0 || r->head.chunked))) {
        if (r->head.content_length > sv->cfg->max_body)
            abort_with(r);
        return MHD_YES; /* answered when the body has been read */
    }
    reply_error(r);
    return send_reply(r); /* and the library closes the connection */
}

static enum MHD_Result on_body(struct request *r, const char *p, size_t n)
{
    size_t max = (size_t)r->sv->cfg->max_body;
    if (r->stage != STAGE_BODY)
        return MHD_YES;
    if (r->body_over) { /* an early error waits: count, keep nothing */
        r->body_len += n;
        if (r->body_len > max)
            abort_with(r);
    } else if (request_body(r, p, n, max) < 0) {
        abort_with(r);
    }
    return MHD_YES;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *conn,
                                  const char *url, const char *method,
                                  const char *version, const char *upload,
                                  size_t *size, void **con_cls)
{
    struct request *r = *con_cls;
    if (!r)
        return on_header(cls, conn, url, method, version, con_cls);
    if (r->stage == STAGE_BODY && is_stopped(r->loop))
        return MHD_NO;
    if (*size) {
        size_t n = *size;
        *size = 0;
        return on_body(r, upload, n);
    }
    if (r->stage == STAGE_BODY)
        request_run(r);
    if (r->stage == STAGE_READY)
        return send_reply(r);
    if (r->stage == STAGE_PARKED) {
        suspend(r);
        return MHD_YES;
    }
    return MHD_NO; /* aborted: close */
}

static void on_completed(void *cls, struct MHD_Connection *conn, void **con_cls,
                         enum MHD_RequestTerminationCode code)
{
    struct loop *l = cls;
    struct request *r = *con_cls;
    (void)conn;
    if (!r)
        return;
    *con_cls = NULL;
    delist(l, r);
    conn_busy(r->link, 0, clock_now_us());
    access_note(&l->access, r);
    if (request_leave(r, code == MHD_REQUEST_TERMINATED_COMPLETED_OK ||
                             r->stage == STAGE_ABORTED))
        recycle(l, r);
}

/* The routes need no escapes, and a decoded %00 would cut the path short. */
static size_t keep_escapes(void *cls, struct MHD_Connection *conn, char *s)
{
    (void)cls;
    (void)conn;
    return strlen(s);
}

/* ---------------------------------------------------------------- janitor */

/* Requests whose client has left: one poll(2) for many sockets. */
static void peek(struct pollfd *fds, struct request **who, int n)
{
    if (n == 0 || poll(fds, (nfds_t)n, 0) <= 0)
        return;
    for (int i = 0; i < n; i++)
        if (fds[i].revents & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL))
            request_cancel(who[i], ERR_CANCELLED);
}

static void look_after(struct request *r, const struct config *cfg, int64_t now)
{
    if (r->stage == STAGE_BODY &&
        now - r->arrived_us > cfg->body_timeout_ms * 1000) {
        err_clear(&r->err);
        err_set_at(&r->err, ERR_INVALID, "request_timeout", NULL,
                   "the body did not arrive in time");
        abort_with(r);
    } else if (r->stage == STAGE_ABORTED && now - r->answered_us > LINGER_US) {
        shutdown(socket_of(r), SHUT_RDWR);
    } else if (r->suspended) {
        request_tend(r, now);
    }
}

static void janitor(struct loop *l, int64_t now)
{
    struct pollfd fds[PEEK_AT_ONCE];
    struct request *who[PEEK_AT_ONCE];
    const struct config *cfg = l->http->sv->cfg;
    int n = 0;
    conns_expire(&l->conns, now, cfg->idle_timeout_s * 1000000);
    for (struct request *r = l->live; r; r = r->next) {
        look_after(r, cfg, now);
        if (!r->suspended)
            continue;
        fds[n].fd = socket_of(r);
        fds[n].events = POLLRDHUP;
        fds[n].revents = 0;
        who[n++] = r;
        if (n == PEEK_AT_ONCE) {
            peek(fds, who, n);
            n = 0;
        }
    }
    peek(fds, who, n);
}

/* ------------------------------------------------------------------- loop */

static int wait_ms(struct loop *l, int64_t now)
{
    MHD_UNSIGNED_LONG_LONG mhd;
    int64_t ms = (l->next_janitor - now + 999) / 1000;
    if (MHD_get_timeout(l->daemon, &mhd) == MHD_YES && (int64_t)mhd < ms)
        ms = (int64_t)mhd;
    return ms < 0 ? 0 : (int)ms;
}

/* One round of the loop: wait, let the library work, look at what was noted. */
static void run_round(struct loop *l)
{
    struct pollfd fds[2] = {{l->epoll_fd, POLLIN, 0}, {l->wake_fd, POLLIN, 0}};
    uint64_t count;
    poll(fds, 2, wait_ms(l, clock_now_us()));
    if (fds[1].revents & POLLIN) {
        ssize_t n = read(l->wake_fd, &count, sizeof count);
        (void)n;
    }
    atomic_store(&l->woken, 0);
    look_at_notes(l);
    int64_t now = clock_now_us();
    if (now >= l->next_janitor) {
        janitor(l, now);
        l->next_janitor = now + l->http->sv->cfg->janitor_ms * 1000;
        look_at_notes(l);
    }
    MHD_run(l->daemon);
}

/* Stopping with suspended connections is against the library's rules: each
 * gets its answer, or is let go. */
static void let_go(struct loop *l)
{
    for (struct request *r = l->live; r; r = r->next) {
        if (!r->suspended)
            continue;
        err_set_at(&r->err, ERR_DRAINING, "draining", NULL,
                   "the server is shutting down");
        if (r->stage == STAGE_PARKED) {
            reply_error(r);
            r->stage = STAGE_READY;
        }
        r->ended = 1;
        http_resume(r);
    }
    MHD_run(l->daemon);
    MHD_run(l->daemon);
}

static void *loop_main(void *arg)
{
    struct loop *l = arg;
    while (!atomic_load(&l->http->stop))
        run_round(l);
    return NULL;
}

/* ----------------------------------------------------- opening and closing */

static int start_daemon(struct loop *l, struct err *e)
{
    const struct config *cfg = l->http->sv->cfg;
    int fd = fcntl(l->http->listen_fd, F_DUPFD_CLOEXEC, 3);
    unsigned limit = (unsigned)((cfg->max_connections + cfg->http_threads - 1) /
                                cfg->http_threads);
    l->daemon = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_USE_TURBO | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL,
        on_request, l, MHD_OPTION_LISTEN_SOCKET, fd,
        MHD_OPTION_NOTIFY_COMPLETED, on_completed, l,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, l,
        MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes, NULL,
        MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_CONNECTION_LIMIT, limit,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)cfg->idle_timeout_s,
        MHD_OPTION_END);
    if (!l->daemon) {
        close(fd);
        return err_set(e, ERR_IO, "the HTTP library cannot start");
    }
    l->epoll_fd =
        MHD_get_daemon_info(l->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
    return 0;
}

int http_listen(struct server *sv, struct err *e)
{
    struct http *h = mem_zalloc(sizeof *h);
    if (!h)
        return err_nomem(e);
    h->sv = sv;
    h->listen_fd = -1;
    h->loop = mem_zarray((size_t)sv->cfg->http_threads, sizeof *h->loop);
    if (!h->loop) {
        mem_free(h);
        return err_nomem(e);
    }
    h->listen_fd = listen_open(sv->cfg->host, (int)sv->cfg->port, &h->port, e);
    int rc = h->listen_fd < 0 ? -1 : 0;
    for (; rc == 0 && h->n_loops < sv->cfg->http_threads; h->n_loops++) {
        struct loop *l = &h->loop[h->n_loops];
        l->http = h;
        l->id_seed = rng_entropy();
        l->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (l->wake_fd < 0)
            rc = err_set(e, ERR_IO, "eventfd: %s", strerror(errno));
    }
    if (rc < 0)
        http_free(h);
    else
        sv->http = h;
    return rc;
}

int http_start(struct http *h, struct err *e)
{
    for (int i = 0; i < h->n_loops; i++) {
        struct loop *l = &h->loop[i];
        access_init(&l->access);
        if (start_daemon(l, e) < 0)
            return -1;
        if (pthread_create(&l->thread, NULL, loop_main, l))
            return err_set(e, ERR_NOMEM, "an HTTP thread cannot be started");
        l->running = 1;
    }
    return 0;
}

void http_stop(struct http *h)
{
    if (!h)
        return;
    atomic_store(&h->stop, 1);
    for (int i = 0; i < h->n_loops; i++) {
        struct loop *l = &h->loop[i];
        wake(l);
        if (l->running)
            pthread_join(l->thread, NULL);
        l->running = 0;
    }
}

void http_end(struct http *h)
{
    for (int i = 0; h && i < h->n_loops; i++) {
        struct loop *l = &h->loop[i];
        look_at_notes(l);
        if (l->daemon) {
            let_go(l);
            MHD_stop_daemon(l->daemon);
            l->daemon = NULL;
        }
        look_at_notes(l);
        request_pool_free(l->pool);
        l->pool = NULL;
        l->n_pool = 0;
    }
}

void http_free(struct http *h)
{
    if (!h)
        return;
    for (int i = 0; i < h->n_loops; i++)
        close(h->loop[i].wake_fd);
    if (h->listen_fd >= 0)
        close(h->listen_fd);
    mem_free(h->loop);
    mem_free(h);
}
