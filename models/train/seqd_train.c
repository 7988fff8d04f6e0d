/* seqd_train: the command line of seqd-train. SIGINT and SIGTERM ask the
 * training loop to stop after the step it is in; it then writes its state.
 *
 * SPDX-License-Identifier: MIT */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "engine/base/version.h"
#include "models/train/bleu_command.h"
#include "models/train/calibrate.h"
#include "models/train/convert.h"
#include "models/train/gradcheck.h"
#include "models/train/train.h"
#include "models/train/train_eval.h"

#define MOST_LINE ((size_t)4 << 20) /* of JSON */

static atomic_int stop_asked;

static void on_signal(int number)
{
    (void)number;
    stop_asked = 1;
}

static void watch_signals(void)
{
    struct sigaction a;
    memset(&a, 0, sizeof a);
    a.sa_handler = on_signal;
    a.sa_flags = SA_RESTART | (int)SA_RESETHAND; /* twice ends at once */
    sigaction(SIGINT, &a, NULL);
    sigaction(SIGTERM, &a, NULL);
}

/* The checkpoint's figures as whoever serves it will get them: whole texts in
 * one go, rounded weights. The validations on the way begin their lanes empty.
 * Masked words, pairs of texts, texts read from their end or predicted there
 * alone, vectors and nets that are only to start others from have no such
 * figures. */
static int score_checkpoint(const struct trainer *t, struct err *e)
{
    struct options o = t->o;
    struct err inner = ERR_INIT;
    struct buf b;
    const struct objective *g = t->objective;
    int rc = -1, is_served = !g->masked && !g->pairs && !g->alone && !o.reverse;
    buf_init(&b, MOST_LINE);
    o.record = RECORD_AUTO;
    o.cut = 0;
    o.brief = 1;
    if (is_served)
        rc = eval_checkpoint(&o, o.out, o.valid, &b, &inner);
    if (rc == 0)
        trainer_say(t, "checkpoint: %s", b.p);
    if (rc != 0 && is_served && inner.code != ERR_UNSUPPORTED)
        rc = err_set(e, inner.code, "%s", inner.msg);
    else
        rc = card_write(t, rc == 0 ? b.p : NULL, e);
    buf_fini(&b);
    return rc;
}

static int run_train(const struct options *o, struct err *e)
{
    struct trainer *t = mem_zalloc(sizeof *t);
    if (t == NULL)
        return err_nomem(e);
    int rc = trainer_open(t, o, e);
    t->stop = &stop_asked;
    if (rc == 0)
        rc = trainer_run(t, e);
    if (rc == 0 && !stop_asked)
        rc = score_checkpoint(t, e);
    trainer_close(t);
    mem_free(t);
    return rc;
}

/* A command whose answer is a line of JSON. */
static int run_line(const struct options *o,
                    int (*run)(const struct options *o, struct buf *out,
                               struct err *e),
                    struct err *e)
{
    struct buf b;
    buf_init(&b, MOST_LINE);
    int rc = run(o, &b, e);
    if (rc == 0 && (fputs(b.p, stdout) < 0 || fflush(stdout) != 0))
        rc = err_set(e, ERR_IO, "the figures cannot be written");
    buf_fini(&b);
    return rc;
}

int main(int argc, char **argv)
{
    struct options o;
    struct err e = ERR_INIT;
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        printf("seqd-train %s\n", SEQD_VERSION);
        return 0;
    }
    int rc = train_options_parse(argc, argv, &o, &e);
    if (rc == 0 && strcmp(o.command, "help") == 0) {
        options_help(&train_table, stdout);
        return 0;
    }
    o.log = stderr;
    log_configure(LOG_WARN, 0);
    watch_signals();
    if (rc == 0 && strcmp(o.command, "train") == 0)
        rc = run_train(&o, &e);
    else if (rc == 0 && strcmp(o.command, "eval") == 0)
        rc = run_line(&o, eval_run, &e);
    else if (rc == 0 && strcmp(o.command, "calibrate") == 0)
        rc = run_line(&o, calibrate_run, &e);
    else if (rc == 0 && strcmp(o.command, "convert") == 0)
        rc = run_line(&o, convert_run, &e);
    else if (rc == 0 && strcmp(o.command, "bleu") == 0)
        rc = run_line(&o, bleu_run, &e);
    else if (rc == 0)
        rc = gradcheck_run(stdout, &e);
    if (rc != 0)
        fprintf(stderr, "seqd-train: %s\n", e.msg);
    return rc == 0 ? 0 : 1;
}
