/* lifecycle: see lifecycle.h.
 *
 * SPDX-License-Identifier: MIT */
#include "server/lifecycle.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "server/http/http.h"
#include "server/api/models_json.h"
#include "server/reload.h"
#include "engine/base/version.h"

#define LAST_REPLIES_MS 2000 /* after the drain: answers still being sent */
#define DRAIN_LOOK_MS 10
#define WATCH_MS 1000 /* between looks at the files of the models */
#define HANGUP_MS 500 /* between looks at the terminal */
#define HANGUP_LOOKS 4

struct lifecycle {
    struct server *sv;
    int signal_fd;
    int loaded_fd, stop_fd; /* are readable from then on */
    pthread_t keeper;
    atomic_int loaded;     /* -1: failed, 1: the models are there */
    atomic_int stop;       /* the keeper shall end */
    struct err load_error; /* the keeper's, until it is joined */
    int on_terminal;       /* from the start, until it was outlived */
    int looks;             /* that are due after a SIGHUP */
    int gone;              /* looks that found no terminal, when none was due */
};

/* Our controlling terminal: 1 it is there, 0 there is none (any more), -1
 * nobody knows. */
static int find_terminal(void)
{
    int fd = open("/dev/tty", O_RDONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return errno == ENXIO || errno == EIO || errno == ENODEV ? 0 : -1;
    close(fd);
    return 1;
}

static int is_ignored(int sig)
{
    struct sigaction now;
    return sigaction(sig, NULL, &now) == 0 && now.sa_handler == SIG_IGN;
}

void lifecycle_defer(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGHUP);
    if (!is_ignored(SIGHUP))
        pthread_sigmask(SIG_BLOCK, &set, NULL);
}

int lifecycle_open(struct server *sv, struct lifecycle **out, struct err *e)
{
    sigset_t set;
    struct lifecycle *l = mem_zalloc(sizeof *l);
    if (!l)
        return err_nomem(e);
    l->sv = sv;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    if (!is_ignored(SIGHUP))
        sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGPIPE); /* blocked is as good as ignored */
    sigaddset(&set, SIGXFSZ); /* of a log file */
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    sigdelset(&set, SIGPIPE);
    sigdelset(&set, SIGXFSZ);
    l->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    l->loaded_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    l->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    l->on_terminal = find_terminal() == 1;
    reload_open();
    *out = l;
    if (l->signal_fd < 0 || l->loaded_fd < 0 || l->stop_fd < 0)
        return err_set(e, ERR_IO, "signalfd: %s", strerror(errno));
    return 0;
}

void lifecycle_close(struct lifecycle *l)
{
    if (!l)
        return;
    if (l->signal_fd >= 0)
        close(l->signal_fd);
    if (l->loaded_fd >= 0)
        close(l->loaded_fd);
    if (l->stop_fd >= 0)
        close(l->stop_fd);
    mem_free(l);
}

/* The file appears whole: a reader never sees half a number. What it replaces
 * has to be a file, too: renamed over a device it would take its place. */
static int write_port_file(const char *path, int port, struct err *e)
{
    char tmp[4096], text[16];
    struct stat st;
    int n = snprintf(tmp, sizeof tmp, "%s.%d", path, (int)getpid());
    int len = snprintf(text, sizeof text, "%d\n", port);
    if (n >= (int)sizeof tmp)
        return err_set(e, ERR_INVALID, "--port-file: the name is too long");
    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
        return err_set(e, ERR_INVALID, "--port-file: %.160s is not a file",
                       path);
    int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    int ok = fd >= 0 && write(fd, text, (size_t)len) == len;
    if (fd >= 0 && close(fd) < 0)
        ok = 0;
    if (ok && rename(tmp, path) == 0)
        return 0;
    err_set(e, ERR_IO, "--port-file: %.160s: %s", path, strerror(errno));
    unlink(tmp);
    return -1;
}

int lifecycle_announce(struct lifecycle *l, struct err *e)
{
    const struct config *c = l->sv->cfg;
    int port = http_port(l->sv->http);
    if (c->port_file && write_port_file(c->port_file, port, e) < 0)
        return -1;
    log_event(LOG_INFO, "server", "listening",
              "version=%s host=%s port=%d threads=%d kernels=%s", SEQD_VERSION,
              c->host, port, engine_threads(l->sv->engine),
              engine_kernels(l->sv->engine)->name);
    if (is_ignored(SIGHUP))
        log_event(LOG_INFO, "server", "hangup_ignored",
                  "why=\"SIGHUP was ignored at the start (nohup): no reload\"");
    return 0;
}

/* ------------------------------------------------------------- the keeper */

/* The places of all models of the configuration; their names are cut off in
 * copies of the specs. */
static int list_models(const struct string_list *m, struct string_list *names,
                       struct model_place *list, struct err *e)
{
    for (int i = 0; i < m->n; i++) {
        const char *name;
        size_t n = config_model(m->v[i], &name, &list[i].dir);
        if (string_list_add(names, name, n, e) < 0)
            return -1;
    }
    for (int i = 0; i < m->n; i++)
        list[i].name = names->v[i];
    return 0;
}

int lifecycle_load_models(struct server *sv, const atomic_int *stop,
                          struct err *e)
{
    const struct string_list *m = &sv->cfg->models;
    struct string_list names = {0};
    struct model_place *list = mem_array((size_t)m->n, sizeof *list);
    int rc = !list                                 ? err_nomem(e)
             : list_models(m, &names, list, e) < 0 ? -1
                                                   : 0;
    if (rc == 0)
        rc = engine_load_all(sv->engine, list, m->n, stop, e);
    string_list_fini(&names);
    mem_free(list);
    return rc;
}

/* The digests that /v1/models shows, before anybody waits for them. */
static void compute_digests(struct lifecycle *l)
{
    struct model *m[MAX_LISTED_MODELS];
    int n = engine_models(l->sv->engine, m, MAX_LISTED_MODELS);
    for (int i = 0; i < n && i < MAX_LISTED_MODELS; i++) {
        if (!atomic_load(&l->stop))
            model_digest(m[i], &l->stop);
        model_release(m[i]);
    }
}

static void raise_event(int event_fd)
{
    const uint64_t one = 1;
    ssize_t n = write(event_fd, &one, sizeof one);
    (void)n;
}

/* The models are there: all of them, unless a signal came before. */
static void say_loaded(struct lifecycle *l)
{
    int n = engine_models(l->sv->engine, NULL, 0), all = l->sv->cfg->models.n;
    long long ms = (clock_wall_us() - l->sv->started_us) / 1000;
    if (n < all) {
        log_event(LOG_INFO, "server", "loading_stopped",
                  "models=%d of=%d ms=%lld", n, all, ms);
        return;
    }
    server_phase_raise(l->sv, PHASE_READY);
    log_event(LOG_INFO, "server", "ready", "models=%d ms=%lld", n, ms);
}

/* All that reads whole files of models is done here, so that no signal waits
 * for it: a touched file of many gigabytes takes many seconds. */
static void *keeper_main(void *arg)
{
    struct lifecycle *l = arg;
    struct pollfd stop = {l->stop_fd, POLLIN, 0};
    int rc = lifecycle_load_models(l->sv, &l->stop, &l->load_error);
    if (rc == 0)
        say_loaded(l);
    atomic_store(&l->loaded, rc == 0 ? 1 : -1);
    raise_event(l->loaded_fd);
    if (rc < 0)
        return NULL;
    compute_digests(l);
    while (!atomic_load(&l->stop)) {
        poll(&stop, 1, WATCH_MS);
        engine_watch(l->sv->engine, &l->stop);
    }
    return NULL;
}

/* ---------------------------------------------------------------- waiting */

/* The next signal within ms (-1: wait), 0 when there was none. The end of
 * loading ends the wait, too. */
static int next_signal(struct lifecycle *l, int ms,
                       struct signalfd_siginfo *info)
{
    struct pollfd fds[2] = {{l->signal_fd, POLLIN, 0},
                            {l->loaded_fd, POLLIN, 0}};
    poll(fds, atomic_load(&l->loaded) > 0 ? 1 : 2, ms);
    if (read(l->signal_fd, info, sizeof *info) == (ssize_t)sizeof *info)
        return (int)info->ssi_signo;
    return 0;
}

/* Signals of one number do not queue: a shell's SIGHUP may be the only one that
 * is seen of two, so the terminal is looked at, too. */
static int is_hangup(const struct lifecycle *l,
                     const struct signalfd_siginfo *info)
{
    return l->on_terminal &&
           (info->ssi_code == SI_KERNEL || find_terminal() == 0);
}

/* SIGHUPs of others are told apart by whether the terminal outlives them: 1
 * when it does not. Where the terminal went and nobody said so (disown), the
 * server has outlived it, and all that comes later is a reload. */
static int terminal_went(struct lifecycle *l)
{
    int gone = l->on_terminal && find_terminal() == 0;
    if (l->looks > 0) {
        l->looks--;
        return gone;
    }
    l->gone = gone ? l->gone + 1 : 0;
    if (l->gone == HANGUP_LOOKS)
        l->on_terminal = 0;
    return 0;
}

/* Until a signal says that it is the end: which one; SIGHUP: of the terminal. 0
 * when the models cannot be loaded. */
static int wait_for_end(struct lifecycle *l)
{
    struct signalfd_siginfo info;
    while (atomic_load(&l->loaded) >= 0) {
        int sig = next_signal(l, l->on_terminal ? HANGUP_MS : -1, &info);
        if (sig == SIGHUP && !is_hangup(l, &info)) {
            l->looks = l->on_terminal ? HANGUP_LOOKS : 0;
            reload_run(l->sv, (int)info.ssi_pid);
        } else if (sig) {
            return sig;
        } else if (terminal_went(l)) {
            return SIGHUP;
        }
    }
    return 0;
}

/* Wait until no request is left, ms have passed or a signal comes (1). */
static int wait_for_requests(struct lifecycle *l, int64_t ms)
{
    int64_t end = clock_now_us() + ms * 1000;
    struct signalfd_siginfo info;
    while (http_live(l->sv->http) > 0 && clock_now_us() < end) {
        int sig = next_signal(l, DRAIN_LOOK_MS, &info);
        if (sig == SIGHUP)
            log_event(LOG_WARN, "server", "reload_ignored",
                      "phase=draining pid=%d", (int)info.ssi_pid);
        else if (sig)
            return 1;
    }
    return 0;
}

static void drain(struct lifecycle *l)
{
    struct server *sv = l->sv;
    server_phase_raise(sv, PHASE_DRAINING);
    int again = wait_for_requests(l, sv->cfg->drain_ms);
    int left = http_live(sv->http);
    atomic_store(&sv->cut, 1);
    engine_drain(sv->engine, 0); /* cancels what is left */
    wait_for_requests(l, LAST_REPLIES_MS);
    log_event(LOG_INFO, "server", "drained", "cut=%d second_signal=%d", left,
              again);
}

/* The keeper starts no other model. It is joined later: it may wait for a
 * digest that a client has asked for, which has until the end of the drain. */
static int stop_loading(struct lifecycle *l)
{
    struct pollfd loaded = {l->loaded_fd, POLLIN, 0};
    atomic_store(&l->stop, 1);
    raise_event(l->stop_fd);
    while (!atomic_load(&l->loaded))
        poll(&loaded, 1, -1);
    return atomic_load(&l->loaded) < 0 ? -1 : 0;
}

int lifecycle_run(struct lifecycle *l, struct err *e)
{
    if (pthread_create(&l->keeper, NULL, keeper_main, l))
        return err_set(e, ERR_NOMEM, "the loader thread cannot be started");
    int sig = wait_for_end(l);
    if (sig)
        log_event(LOG_INFO, "server", "draining", "signal=%d%s", sig,
                  sig == SIGHUP ? " why=terminal_closed" : "");
    int rc = stop_loading(l);
    if (rc == 0)
        drain(l);
    atomic_store(&l->sv->cut, 1);
    pthread_join(l->keeper, NULL);
    if (rc < 0)
        *e = l->load_error;
    return rc;
}
