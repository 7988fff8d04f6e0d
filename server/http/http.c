/* http: see http.h. Accepting and who has to go when there are too many
 * connections, the notes of other threads, the janitor, and the end; what a
 * connection says is conn.c's.
 *
 * Thread: everything below runs on the loop that owns the connection, but for
 * http_note and http_flush (any) and open, start, close (main).
 *
 * SPDX-License-Identifier: MIT */
#include "server/http/http.h"

#include <errno.h>
#include <linux/filter.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "engine/base/rng.h"
#include "server/api/reply.h"
#include "server/http/http_impl.h"
#include "server/http/listen.h"

#define POOL_MAX 256       /* recycled requests of a loop */
#define EVENTS 256         /* of a round */
#define ACCEPT_AT_ONCE 64  /* of a round */
#define SPARE 16           /* connections beyond the limit, for probes */
#define MAY_GO 64          /* idle ones looked at when room is needed */
#define MAY_STALL 4096     /* busy ones, likewise */
#define STALLED_US 2000000 /* of a body, until another may have its place */
#define OTHER_FILES 64     /* descriptors that are no connections */
#define FAREWELL_US 250000 /* clients may read the end of their connections */
#define SILENT_US 1000000
#define LAST_SYN_US 5000 /* a handshake that has begun takes no longer */

/* --- lists --- */

void conn_list_add(struct conn_list *l, struct conn *c)
{
    c->prev = l->last;
    c->next = NULL;
    if (l->last)
        l->last->next = c;
    else
        l->first = c;
    l->last = c;
    l->n++;
}

void conn_list_drop(struct conn_list *l, struct conn *c)
{
    if (c->prev)
        c->prev->next = c->next;
    else
        l->first = c->next;
    if (c->next)
        c->next->prev = c->prev;
    else
        l->last = c->prev;
    c->prev = c->next = NULL;
    l->n--;
}

/* --- notes --- */

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

void http_resume(struct request *r)
{
    if (r->suspended && r->conn)
        conn_resume(r->conn);
}

int loop_stopped(const struct loop *l)
{
    return atomic_load(&l->http->stop);
}

void loop_recycle(struct loop *l, struct request *r)
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
            loop_recycle(l, r);
    }
}

/* --- accepting --- */

static void listen_now(struct loop *l, int on)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = NULL};
    if (on == l->listening)
        return;
    l->listening = on;
    epoll_ctl(l->epoll_fd, on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, l->listen_fd,
              &ev);
}

void loop_freed(struct loop *l)
{
    if (!loop_stopped(l))
        listen_now(l, 1);
}

/* Of the spare connections or of the others, the one that has been silent for
 * longest; not one whose request waits in its socket. */
static struct conn *find_idle(struct loop *l, int spare)
{
    struct conn *c = l->idle.first;
    for (int asked = 0; c && asked < MAY_GO; c = c->next) {
        if (c->spare != spare)
            continue;
        asked++;
        if (conn_is_silent(c))
            return c;
    }
    return NULL;
}

/* Who holds a place without work: a body of which nothing has come for a while,
 * of the spare ones what has had its answer. The longest of them. */
static struct conn *find_stalled(struct loop *l, int spare)
{
    struct conn *c = l->busy.first, *worst = NULL;
    int64_t before = clock_now_us() - (spare ? 0 : STALLED_US);
    for (int i = 0; c && i < MAY_STALL; c = c->next, i++)
        if (c->spare == spare &&
            c->state == (spare ? CONN_LINGER : CONN_BODY) &&
            c->since_us <= before &&
            (!worst || c->since_us < worst->since_us) &&
            (spare || conn_is_silent(c)))
            worst = c;
    return worst;
}

static struct conn *find_room(struct loop *l, int spare)
{
    struct conn *c = find_idle(l, spare);
    return c ? c : find_stalled(l, spare);
}

static int make_room(struct loop *l, int spare)
{
    struct conn *c = find_room(l, spare);
    if (c)
        conn_give_up(c);
    return c != NULL;
}

/* Who waits for longest without a request has to go first; when all are at
 * work, a few more are heard, so that probes get an answer. */
static void take_in(struct loop *l, int fd)
{
    int others = l->idle.n + l->busy.n - l->n_spare;
    int spare = others >= l->limit && !make_room(l, 0);
    if (spare && l->n_spare >= SPARE && !make_room(l, 1))
        close(fd); /* all of them have just begun to speak */
    else
        conn_open(l, fd, spare);
}

static void accept_some(struct loop *l)
{
    for (int i = 0; i < ACCEPT_AT_ONCE; i++) {
        if (l->idle.n + l->busy.n >= l->limit + SPARE && !find_room(l, 0) &&
            !find_room(l, 1)) {
            listen_now(l, 0); /* until one of them ends */
            return;
        }
        int fd =
            accept4(l->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) {
            take_in(l, fd);
            continue;
        }
        if ((errno == EMFILE || errno == ENFILE) &&
            (make_room(l, 0) || make_room(l, 1)))
            continue;
        if (errno == EMFILE || errno == ENFILE || errno == ENOMEM ||
            errno == ENOBUFS)
            listen_now(l, 0); /* the janitor tries again */
        if (errno != ECONNABORTED && errno != EINTR)
            return;
    }
}

/* --- the loop --- */

/* What is late. The next of a list is read first: a connection may end. */
static void tend(struct conn_list *list, int64_t now)
{
    for (struct conn *c = list->first, *next; c; c = next) {
        next = c->next;
        conn_tend(c, now);
    }
}

static int wait_ms(int64_t until)
{
    int64_t ms = (until - clock_now_us() + 999) / 1000;
    return ms < 0 ? 0 : (int)ms;
}

void loop_round(struct loop *l, int64_t until)
{
    struct epoll_event ev[EVENTS];
    int accepts = 0;
    uint64_t count;
    int n = epoll_wait(l->epoll_fd, ev, EVENTS, wait_ms(until));
    for (int i = 0; i < n; i++) {
        if (ev[i].data.ptr == l) {
            ssize_t k = read(l->wake_fd, &count, sizeof count);
            (void)k;
        } else if (!ev[i].data.ptr) {
            accepts = 1;
        } else {
            conn_event(ev[i].data.ptr, ev[i].events);
        }
    }
    atomic_store(&l->woken, 0);
    look_at_notes(l);
    if (accepts) /* last: it may close connections that have events */
        accept_some(l);
}

static void look_after(struct loop *l)
{
    int64_t now = clock_now_us();
    if (now < l->next_janitor)
        return;
    tend(&l->idle, now);
    tend(&l->busy, now);
    look_at_notes(l);
    listen_now(l, 1);
    l->next_janitor = now + l->sv->cfg->janitor_ms * 1000;
}

static void run_while_open(struct loop *l, int64_t until)
{
    while (l->idle.n + l->busy.n > 0 && clock_now_us() < until)
        loop_round(l, until);
}

static void run_until(struct loop *l, int64_t until)
{
    while (clock_now_us() < until)
        loop_round(l, until);
}

/* Nobody connects any more, and who has is heard. To close the socket would
 * reset those that the kernel has connected and nobody has accepted: a filter
 * that drops what opens a connection (SYN without ACK in the flags of TCP's
 * header) keeps others from becoming such. They find the port closed when they
 * try again. */
static void refuse_new(struct loop *l)
{
    struct sock_filter code[] = {{BPF_LD | BPF_B | BPF_ABS, 0, 0, 13},
                                 {BPF_ALU | BPF_AND | BPF_K, 0, 0, 0x12},
                                 {BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0x02},
                                 {BPF_RET | BPF_K, 0, 0, 0},
                                 {BPF_RET | BPF_K, 0, 0, UINT32_MAX}};
    struct sock_fprog no_syn = {sizeof code / sizeof *code, code};
    setsockopt(l->listen_fd, SOL_SOCKET, SO_ATTACH_FILTER, &no_syn,
               sizeof no_syn);
    run_until(l, clock_now_us() + LAST_SYN_US);
}

/* What has come is answered, and all see the end of their connections before
 * they are closed: a reset would take the last answer away. */
static void say_farewell(struct loop *l)
{
    int64_t now = clock_now_us();
    refuse_new(l);
    /* Those that have been silent for a while will hardly speak now. */
    for (struct conn *c = l->idle.first, *next; c; c = next) {
        next = c->next;
        if (now - c->since_us > SILENT_US)
            conn_linger(c);
    }
    run_while_open(l, now + FAREWELL_US);
    listen_now(l, 0);
    while (l->idle.first)
        conn_linger(l->idle.first);
    run_while_open(l, now + 2 * FAREWELL_US);
}

static void *loop_main(void *arg)
{
    struct loop *l = arg;
    while (!loop_stopped(l)) {
        loop_round(l, l->next_janitor);
        look_after(l);
    }
    say_farewell(l);
    return NULL;
}

/* --- opening and closing --- */

/* Connections of a loop: what the option says and the descriptors allow. */
static int limit_of(const struct config *cfg)
{
    struct rlimit lim;
    int64_t most = cfg->max_connections;
    int64_t others = OTHER_FILES + SPARE * cfg->http_threads;
    if (getrlimit(RLIMIT_NOFILE, &lim) == 0 &&
        (int64_t)lim.rlim_cur - others < most)
        most = (int64_t)lim.rlim_cur - others;
    most = (most + cfg->http_threads - 1) / cfg->http_threads;
    return most > 1 ? (int)most : 1;
}

int loop_open(struct http *h, struct loop *l, struct err *e)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = l};
    l->http = h;
    l->sv = h->sv;
    l->id_seed = rng_entropy();
    l->listen_fd = h->listen_fd;
    l->limit = limit_of(h->sv->cfg);
    l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    l->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    l->scratch = mem_alloc(SCRATCH);
    if (!l->scratch)
        return err_nomem(e);
    if (l->epoll_fd < 0 || l->wake_fd < 0 ||
        epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, l->wake_fd, &ev))
        return err_set(e, ERR_IO, "an event loop cannot be made: %s",
                       strerror(errno));
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
    for (; rc == 0 && h->n_loops < sv->cfg->http_threads; h->n_loops++)
        rc = loop_open(h, &h->loop[h->n_loops], e);
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
        listen_now(l, 1);
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
    for (int i = 0; i < h->n_loops; i++)
        wake(&h->loop[i]);
    for (int i = 0; i < h->n_loops; i++) {
        struct loop *l = &h->loop[i];
        if (l->running)
            pthread_join(l->thread, NULL);
        l->running = 0;
    }
}

static void close_all(struct conn_list *list)
{
    while (list->first)
        conn_close(list->first);
}

void loop_end(struct loop *l)
{
    look_at_notes(l);
    close_all(&l->idle);
    close_all(&l->busy);
    look_at_notes(l);
    request_pool_free(l->pool);
    l->pool = NULL;
    l->n_pool = 0;
}

void http_end(struct http *h)
{
    for (int i = 0; h && i < h->n_loops; i++)
        loop_end(&h->loop[i]);
}

void loop_close(struct loop *l)
{
    if (l->wake_fd >= 0)
        close(l->wake_fd);
    if (l->epoll_fd >= 0)
        close(l->epoll_fd);
    mem_free(l->scratch);
}

void http_free(struct http *h)
{
    if (!h)
        return;
    for (int i = 0; i < h->n_loops; i++)
        loop_close(&h->loop[i]);
    if (h->listen_fd >= 0)
        close(h->listen_fd);
    mem_free(h->loop);
    mem_free(h);
}
