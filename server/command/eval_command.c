/* eval_command: see eval_command.h.
 *
 * SPDX-License-Identifier: MIT */
#include "server/command/eval_command.h"

#include <stdio.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "engine/run/eval.h"

/* One window of one sequence has to fit: as much as there is. */
#define STATE_BYTES ((size_t)1 << 40)
#define REPORT_US 2000000

struct eval_args {
    const char *model, *data;
    int record;
    struct eval_options eval;
    struct engine_options engine;
};

#define AT(field) OPTION_AT(struct eval_args, field)

static const struct option rows[] = {
    {"--model", OPTION_NEEDED | OPT_TEXT(model, "PATH"),
     "directory of a checkpoint, or a .gguf file"},
    {"--data", OPTION_NEEDED | OPT_TEXT(data, "FILE"),
     "text; a classifier's has a label, a space or tab and a text in each "
     "line, or is CSV or TSV with a header"},
    {"--record", OPT_CHOICE(record, "auto", RECORD_KINDS),
     "what is scored as one text: a line, a paragraph whose lines are joined, "
     "what stands between blank lines as it is, the file; auto: as the "
     "checkpoint was trained, else paragraphs where the text is wrapped and "
     "lines where not"},
    {"--max-len", OPT_INT(eval.max_len, NULL, 1, 1 << 30),
     "classifier: cut texts to this many tokens; else as many as it takes"},
    {"--window", OPT_INT(eval.window, NULL, 1, 1 << 30),
     "score in pieces of so many tokens; else as many as the model takes"},
    {"--max-tokens", OPT_INT(eval.max_tokens, NULL, 1, 1LL << 40),
     "of the data; else all"},
    {.kind = OPTION_END},
};

static const struct option_table table = {
    .name = "seqd eval",
    .usage = "usage: seqd eval --model PATH --data FILE [options]\n\n"
             "Scores a checkpoint on a file: a line of JSON.\n\n",
    .groups = (const struct option_group[]){
        {rows, 0},
        {engine_option_rows, offsetof(struct eval_args, engine)},
        {NULL, 0}}};

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

static int run(struct eval_args *a, const struct model_arch *const *archs,
               struct buf *out, struct err *e)
{
    struct report r = {clock_now_us(), clock_now_us(), isatty(2)};
    a->eval.progress = tell;
    a->eval.ctx = &r;
    enum record_kind used = RECORD_LINE;
    a->eval.record = (enum record_kind)a->record;
    a->eval.used = &used;
    struct engine *g = NULL;
    struct model *m = NULL;
    int rc = engine_open(&a->engine, archs, &g, e);
    if (rc == 0)
        rc = engine_load(g, "eval", a->model, e);
    if (rc == 0)
        rc = engine_model(g, "eval", NULL, &m, e);
    if (rc == 0)
        rc = eval_files(g, m, &a->data, 1, &a->eval, out, e);
    if (rc == 0 && a->record == RECORD_AUTO && used == RECORD_PARAGRAPH)
        fputs("lines are joined to paragraphs (--record line takes each line "
              "by itself)\n",
              stderr);
    if (r.terminal && r.told_us > r.begun_us)
        fputc('\n', stderr);
    model_release(m);
    engine_close(g);
    return rc;
}

int eval_command(int argc, char **argv, const struct model_arch *const *archs)
{
    struct eval_args a = {
        .engine = {.max_item_tokens = 1 << 20, .state_bytes = STATE_BYTES}};
    struct err e = ERR_INIT;
    struct buf out;
    int rc = options_main(&table, &a, argc, argv, stdout, stderr);
    if (rc >= 0)
        return rc;
    log_configure(LOG_WARN, 0);
    buf_init(&out, 4096);
    rc = run(&a, archs, &out, &e);
    if (rc == 0 && (fputs(out.p, stdout) < 0 || fflush(stdout) != 0))
        rc = err_set(&e, ERR_IO, "the figures cannot be written");
    if (rc < 0)
        fprintf(stderr, "seqd eval: %s\n", e.msg);
    buf_fini(&out);
    return rc < 0;
}
