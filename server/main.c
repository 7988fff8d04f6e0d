/* seqd: argv -> config -> engine -> http -> signals -> drain. This file reads
 * as a table of contents; every step lives elsewhere.
 *
 * The server listens first and loads its models then, in a thread of their
 * own, so that probes get an answer (503 loading) from the start. Signals are
 * blocked everywhere and read from a descriptor here: the kernel's form of the
 * self-pipe, so there is no handler and no global.
 *
 * SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "engine/base/metrics.h"
#include "engine/base/version.h"
#include "engine/compute/kernels.h"
#include "models/registry.h"
#include "server/command/eval_command.h"
#include "server/http/http.h"
#include "server/http/keys.h"
#include "server/http/rate.h"
#include "server/command/healthcheck.h"
#include "server/lifecycle.h"
#include "server/server.h"
#include "server/command/tokenize_command.h"
#include "server/http/worker.h"

static int fail(const struct err *e, int status)
{
    fprintf(stderr, "seqd: %s\n", e->msg);
    return status;
}

static void flush_events(void *ctx)
{
    struct server *sv = ctx;
    if (sv->http)
        http_flush(sv->http);
}

static int open_engine(struct server *sv, struct err *e)
{
    struct engine_options o = sv->cfg->engine;
    o.flush = flush_events;
    o.ctx = sv;
    if (engine_open(&o, registry_archs, &sv->engine, e) < 0)
        return -1;
    metric_set(metrics_series(METRIC_BUILD_INFO, SEQD_VERSION,
                              engine_kernels(sv->engine)->name, NULL),
               1);
    return 0;
}

/* --check-config: all that a start does, short of listening. */
static int check(struct config *c, struct err *e)
{
    struct server sv = {.cfg = c};
    if (config_models(c, e) < 0 || open_engine(&sv, e) < 0)
        return fail(e, 1);
    int rc = lifecycle_load_models(&sv, NULL, e) < 0 ? fail(e, 1) : 0;
    engine_close(sv.engine);
    if (rc == 0)
        printf("seqd: the configuration is good (%d models)\n", c->models.n);
    return rc;
}

/* What SIGHUP reads or opens again (reload.h). */
static int open_files(struct server *sv, struct err *e)
{
    const struct config *c = sv->cfg;
    if (c->log_file && log_open(c->log_file, e) < 0)
        return -1;
    if (c->rate_limit > 0 && rate_open(c->rate_limit, &sv->rate, e) < 0)
        return -1;
    return c->keys.n > 0 ? keyring_open(&c->keys, &sv->keys, e) : 0;
}

static int serve(struct config *c, struct err *e)
{
    struct server sv = {.cfg = c, .started_us = clock_wall_us()};
    struct lifecycle *cycle = NULL;
    int rc = 0;
    if (lifecycle_open(&sv, &cycle, e) < 0 || open_files(&sv, e) < 0 ||
        config_models(c, e) < 0 || open_engine(&sv, e) < 0 ||
        worker_open(&sv.worker, e) < 0 || worker_open(&sv.waiter, e) < 0 ||
        http_listen(&sv, e) < 0 || http_start(sv.http, e) < 0 ||
        lifecycle_announce(cycle, e) < 0)
        rc = fail(e, 1);
    else if (lifecycle_run(cycle, e) < 0) /* until a signal; drains */
        rc = fail(e, 1);
    http_stop(sv.http);
    worker_close(sv.worker);
    worker_close(sv.waiter);
    sv.worker = sv.waiter = NULL;
    http_end(sv.http);
    if (sv.engine)
        engine_close(sv.engine);
    http_free(sv.http);
    keyring_close(sv.keys);
    rate_close(sv.rate);
    lifecycle_close(cycle);
    return rc;
}

/* Descriptors 0 to 2 are taken, if by nothing: else a socket or a file of ours
 * would get the number of standard error, and the log be written there. */
static void fill_standard(void)
{
    int fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO)
        fd = open("/dev/null", O_RDWR);
    if (fd >= 0)
        close(fd);
}

int main(int argc, char **argv)
{
    static char help[] = "--help";
    struct config c;
    struct err e = ERR_INIT;
    fill_standard();
    if (argc > 1 && !strcmp(argv[1], "tokenize"))
        return tokenize_command(argc - 1, argv + 1, stdin, stdout, stderr);
    if (argc > 1 && !strcmp(argv[1], "eval"))
        return eval_command(argc - 1, argv + 1, registry_archs);
    if (argc > 1 && !strcmp(argv[1], "healthcheck"))
        return healthcheck_command(argc - 1, argv + 1);
    if (argc == 2 && !strcmp(argv[1], "help"))
        argv[1] = help;
    lifecycle_defer();
    int rc = config_load(&c, argc, argv, &e);
    log_configure((enum log_level)c.log_level, c.log_json);
    if (rc > 0) {
        options_help(&config_table, stdout);
        rc = 0;
    } else if (rc < 0)
        rc = fail(&e, 2);
    else if (c.version)
        printf("seqd %s\n", SEQD_VERSION);
    else
        rc = c.check ? check(&c, &e) : serve(&c, &e);
    config_fini(&c);
    return rc;
}
