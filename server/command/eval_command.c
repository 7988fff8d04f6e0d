/* eval_command: see eval_command.h.
 *
 * SPDX-License-Identifier: MIT */
#include "server/command/eval_command.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "engine/run/eval.h"

/* One window of one sequence has to fit: as much as there is. */
#define STATE_BYTES ((size_t)1 << 40)
#define REPORT_US 2000000

struct eval_args {
    const char *model, *data, *path, *kernels;
    long window, max_tokens, threads;
    int bf16;
};

static int set_number(const char *flag, const char *text, long max, long *out,
                      struct err *e)
{
    char *end = NULL;
    errno = 0;
    long v = strtol(text, &end, 10);
    if (errno || end == text || *end || v < 1 || v > max)
        return err_set(e, ERR_INVALID,
                       "%s is \"%.40s\", expected a whole number from 1 to %ld",
                       flag, text, max);
    *out = v;
    return 0;
}

static int set_arg(struct eval_args *a, const char *flag, const char *value,
                   struct err *e)
{
    if (!strcmp(flag, "--model"))
        a->model = value;
    else if (!strcmp(flag, "--data"))
        a->data = value;
    else if (!strcmp(flag, "--kernels"))
        a->kernels = value;
    else if (!strcmp(flag, "--window"))
        return set_number(flag, value, 1L << 30, &a->window, e);
    else if (!strcmp(flag, "--max-tokens"))
        return set_number(flag, value, 1L << 40, &a->max_tokens, e);
    else if (!strcmp(flag, "--threads"))
        return set_number(flag, value, 64, &a->threads, e);
    else if (strcmp(flag, "--path"))
        return err_set(e, ERR_INVALID, "unknown argument \"%.60s\"", flag);
    else if (strcmp(value, "exact") && strcmp(value, "fast"))
        return err_set(e, ERR_INVALID,
                       "--path is \"%.40s\", expected exact or fast", value);
    else
        a->path = value;
    return 0;
}

static int parse(int argc, char **argv, struct eval_args *a, struct err *e)
{
    for (int i = 1; i < argc; i++) {
        char flag[32];
        const char *eq = strchr(argv[i], '=');
        size_t n = eq ? (size_t)(eq - argv[i]) : strlen(argv[i]);
        if (!strcmp(argv[i], "--bf16")) {
            a->bf16 = 1;
            continue;
        }
        snprintf(flag, sizeof flag, "%.*s", n < 31 ? (int)n : 31, argv[i]);
        if (!eq && i + 1 == argc)
            return err_set(e, ERR_INVALID, "%s needs a value", flag);
        if (set_arg(a, flag, eq ? eq + 1 : argv[++i], e) < 0)
            return -1;
    }
    if (!a->model || !a->data)
        return err_set(e, ERR_INVALID, "eval needs --model and --data");
    return 0;
}

struct report {
    int64_t begun_us, told_us;
    int terminal;
};

static void tell(void *ctx, int64_t done, int64_t all)
{
    struct report *r = ctx;
    int64_t now = clock_now_us();
    if (now - r->told_us < REPORT_US)
        return;
    r->told_us = now;
    fprintf(stderr, "%s%lld of %lld, %lld s%s", r->terminal ? "\r" : "",
            (long long)done, (long long)all,
            (long long)((now - r->begun_us) / 1000000),
            r->terminal ? " " : "\n");
}

static int run(const struct eval_args *a, const struct model_arch *const *archs,
               struct buf *out, struct err *e)
{
    struct report r = {clock_now_us(), clock_now_us(), isatty(2)};
    const struct engine_options o = {.n_threads = (int)a->threads,
                                     .spin_us = -1,
                                     .kernels = a->kernels,
                                     .max_item_tokens = 1 << 20,
                                     .state_bytes = STATE_BYTES,
                                     .exact = !strcmp(a->path, "exact"),
                                     .bf16 = a->bf16};
    const struct eval_options eo = {.window = a->window,
                                    .max_tokens = a->max_tokens,
                                    .progress = tell,
                                    .ctx = &r};
    struct engine *g = NULL;
    struct model *m = NULL;
    int rc = engine_open(&o, archs, &g, e);
    if (rc == 0)
        rc = engine_load(g, "eval", a->model, e);
    if (rc == 0)
        rc = engine_model(g, "eval", NULL, &m, e);
    if (rc == 0)
        rc = eval_file(g, m, a->data, &eo, out, e);
    if (r.terminal && r.told_us > r.begun_us)
        fputc('\n', stderr);
    model_release(m);
    engine_close(g);
    return rc;
}

int eval_command(int argc, char **argv, const struct model_arch *const *archs)
{
    struct eval_args a = {.path = "fast", .kernels = "auto"};
    struct err e = ERR_INIT;
    struct buf out;
    int rc = parse(argc, argv, &a, &e) < 0 ? 2 : 0;
    log_configure(LOG_WARN, 0);
    buf_init(&out, 4096);
    if (rc == 0 && run(&a, archs, &out, &e) < 0)
        rc = 1;
    if (rc == 0)
        fputs(out.p, stdout);
    else
        fprintf(stderr, "seqd eval: %s\n", e.msg);
    buf_fini(&out);
    return rc;
}
