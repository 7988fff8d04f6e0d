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
#include "server/version.h"

#define LAST_REPLIES_MS 2000 /* after the drain: answers still being sent */
#define DRAIN_LOOK_MS 10
#define WATCH_MS 1000 /* between looks at the files of the models */

struct lifecycle {
    struct server *sv;
    int signal_fd, loaded_fd;
    pthread_t loader;
    int loading;           /* the loader runs, or ran and is not joined */
    atomic_int stop;       /* the loader shall not start another model */
    struct err load_error; /* the loader's, until it is joined */
};

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
    sigaddset(&set, SIGHUP);  /* the terminal is gone: drain too */
    sigaddset(&set, SIGPIPE); /* blocked is as good as ignored */
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    sigdelset(&set, SIGPIPE);
    l->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    l->loaded_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    *out = l;
    if (l->signal_fd < 0 || l->loaded_fd < 0)
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
    return 0;
}

/* ---------------------------------------------------------------- loading */

/* The places of all models of the configuration; their names are cut off in
 * copies of the specs. */
static int list_models(const struct string_list *m, struct string_list *names,
                       struct model_place *list, struct err *e)
{
    for (int i = 0; i < m->n; i++) {
        const char *eq = strchr(m->v[i], '=');
        if (string_list_add(names, m->v[i], (size_t)(eq - m->v[i]), e) < 0)
            return -1;
        list[i].dir = eq + 1;
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
            model_digest(m[i]);
        model_release(m[i]);
    }
}

static void *loader_main(void *arg)
{
    struct lifecycle *l = arg;
    const uint64_t one = 1;
    if (lifecycle_load_models(l->sv, &l->stop, &l->load_error) == 0) {
        server_phase_raise(l->sv, PHASE_READY);
        log_event(LOG_INFO, "server", "ready", "models=%d ms=%lld",
                  l->sv->cfg->models.n,
                  (long long)((clock_wall_us() - l->sv->started_us) / 1000));
        compute_digests(l);
    }
    ssize_t n = write(l->loaded_fd, &one, sizeof one);
    (void)n;
    return NULL;
}

/* ---------------------------------------------------------------- waiting */

/* The next signal within ms (-1: wait), 0 when there was none. With `loaded`,
 * the end of loading ends the wait too. */
static int next_signal(struct lifecycle *l, int ms, int loaded)
{
    struct signalfd_siginfo info;
    struct pollfd fds[2] = {{l->signal_fd, POLLIN, 0},
                            {l->loaded_fd, POLLIN, 0}};
    poll(fds, loaded ? 2 : 1, ms);
    if (read(l->signal_fd, &info, sizeof info) == (ssize_t)sizeof info)
        return (int)info.ssi_signo;
    return 0;
}

static int join_loader(struct lifecycle *l, struct err *e)
{
    atomic_store(&l->stop, 1);
    if (l->loading)
        pthread_join(l->loader, NULL);
    l->loading = 0;
    if (l->load_error.code == ERR_NONE)
        return 0;
    *e = l->load_error;
    return -1;
}

/* Wait until no request is left, ms have passed or a signal comes (1). */
static int wait_for_requests(struct lifecycle *l, int64_t ms)
{
    int64_t end = clock_now_us() + ms * 1000;
    while (http_live(l->sv->http) > 0 && clock_now_us() < end)
        if (next_signal(l, DRAIN_LOOK_MS, 0))
            return 1;
    return 0;
}

static void drain(struct lifecycle *l)
{
    struct server *sv = l->sv;
    server_phase_raise(sv, PHASE_DRAINING);
    int again = wait_for_requests(l, sv->cfg->drain_ms);
    int left = http_live(sv->http);
    engine_drain(sv->engine, 0); /* cancels what is left */
    wait_for_requests(l, LAST_REPLIES_MS);
    log_event(LOG_INFO, "server", "drained", "cut=%d second_signal=%d", left,
              again);
}

int lifecycle_run(struct lifecycle *l, struct err *e)
{
    int sig = 0;
    if (pthread_create(&l->loader, NULL, loader_main, l))
        return err_set(e, ERR_NOMEM, "the loader thread cannot be started");
    l->loading = 1;
    sig = next_signal(l, -1, 1);
    if (!sig && join_loader(l, e) < 0)
        return -1;
    while (!sig) {
        sig = next_signal(l, WATCH_MS, 0);
        engine_watch(l->sv->engine);
    }
    log_event(LOG_INFO, "server", "draining", "signal=%d", sig);
    if (join_loader(l, e) < 0)
        return -1;
    drain(l);
    return 0;
}
