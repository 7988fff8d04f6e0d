/* eval_command: see eval_command.h.
 *
 * SPDX-License-Identifier: MIT */
#include "server/command/eval_command.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/file.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "engine/run/beam_search.h"
#include "engine/run/eval.h"
#include "engine/run/eval_pairs.h"
#include "engine/run/task/beam.h"

/* One window of one sequence has to fit: as much as there is. */
#define STATE_BYTES ((size_t)1 << 40)
#define REPORT_US 2000000
#define MOST_FILES 64
#define MOST_LINE ((size_t)4 << 20)

struct eval_args {
    const char *model, *data, *source, *target, *languages;
    int record, language;
    struct eval_options eval;
    struct eval_pair_options pairs;
    struct engine_options engine;
};

#define AT(field) OPTION_AT(struct eval_args, field)

static const struct option rows[] = {
    {"--model", OPTION_NEEDED | OPT_TEXT(model, "PATH"),
     "directory of a checkpoint, or a .gguf file"},
    {"--data", OPT_TEXT(data, "FILES"),
     "text; a classifier's has a label, a space or tab and a text in each "
     "line, or is CSV or TSV with a header; of a model that makes a text from "
     "a text SOURCE TAB TARGET. Commas stand between several files, which are "
     "scored together, and those of a classifier each by itself, too"},
    {"--record", OPT_CHOICE(record, "auto", RECORD_KINDS),
     "what is scored as one text: a line, a paragraph whose lines are joined, "
     "what stands between blank lines as it is, the file; auto: as the "
     "checkpoint was trained, else paragraphs where the text is wrapped and "
     "lines where not"},
    {"--max-len", OPT_INT(eval.max_len, NULL, 1, 1 << 30),
     "classifier: cut texts to this many tokens; else as many as it takes"},
    {"--labels", OPT_TEXT(eval.labels, "NAMES"),
     "classifier: the labels that may be the answer, commas between; a file "
     "has their names, or their places in this list: 0, 1 ..."},
    {"--window", OPT_INT(eval.window, NULL, 1, 1 << 30),
     "score in pieces of so many tokens; else as many as the model takes"},
    {"--max-tokens", OPT_INT(eval.max_tokens, NULL, 1, 1LL << 40),
     "of the data; else all"},
    {.kind = OPTION_SECTION, .help = "Models from one text into another"},
    {"--source", OPT_TEXT(source, "FILE"),
     "sources, a line each, in place of --data"},
    {"--target", OPT_TEXT(target, "FILE"), "their targets, line by line"},
    {"--language-column", OPT_BOOL(language),
     "lines of --data are LANGUAGE TAB SOURCE TAB TARGET"},
    {"--language", OPT_TEXT(languages, "NAME"),
     "of all targets, where no column says it"},
    {"--beams", OPT_INT(pairs.beams, NULL, 1, MOST_BEAMS),
     "of the search; else as the checkpoint says, or 4"},
    {"--length-penalty", OPT_REAL(pairs.length_penalty, NULL, -10, 10),
     "above 0 favours long translations; else as the checkpoint says, or 1"},
    {"--max-target", OPT_INT(pairs.max_target, NULL, 1, 1 << 20),
     "tokens of a translation, at most; else as the checkpoint says, or 256"},
    {"--output", OPT_TEXT(pairs.output, "FILE"),
     "write the translations there, one a line"},
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

/* The names in --data: one, where a file has that name, commas or not. The
 * texts are in *copy, which is the caller's. */
static int split_data(const char *data, char **copy,
                      const char *path[MOST_FILES], int *n, struct err *e)
{
    *n = 0;
    *copy = mem_strdup(data);
    if (!*copy)
        return err_nomem(e);
    int whole = file_exists(data);
    for (char *at = *copy, *next; at; at = next) {
        next = whole ? NULL : strchr(at, ',');
        if (next)
            *next++ = 0;
        if (!*at)
            return err_set(e, ERR_INVALID, "--data has an empty name");
        if (*n == MOST_FILES)
            return err_set(e, ERR_TOO_LARGE, "--data names more than %d files",
                           MOST_FILES);
        path[(*n)++] = at;
    }
    return 0;
}

static int score_texts(const struct eval_args *a, struct engine *g,
                       struct model *m, struct buf *out, struct err *e)
{
    const char *path[MOST_FILES];
    char *copy = NULL;
    int n, rc = split_data(a->data, &copy, path, &n, e);

    rc = rc ? rc : eval_files(g, m, path, n, &a->eval, out, e);
    mem_free(copy);
    return rc;
}

static int score(const struct eval_args *a, struct engine *g, struct model *m,
                 struct buf *out, struct err *e)
{
    const struct eval_pair_files f = {.source =
                                          a->target ? &a->source : &a->data,
                                      .target = a->target ? &a->target : NULL,
                                      .n = 1,
                                      .language = a->language,
                                      .languages = a->languages};
    if (model_can(m, &task_translate))
        return a->eval.labels
                   ? err_set(e, ERR_INVALID, "--labels is for classifiers")
                   : eval_pairs(g, m, &f, &a->pairs, out, e);
    if (a->source || a->language || a->languages || a->pairs.output)
        return err_set(e, ERR_INVALID,
                       "--source, --target, --language-column, --language and "
                       "--output are for models that make a text from a text");
    return score_texts(a, g, m, out, e);
}

/* A text, or the two sides of it. */
static int check_data(const struct eval_args *a, struct err *e)
{
    if ((a->source == NULL) != (a->target == NULL))
        return err_set(e, ERR_INVALID, "--source and --target go together");
    if (!a->data && !a->source)
        return err_set(e, ERR_INVALID,
                       "--data is missing, or --source and --target");
    if (a->data && a->source)
        return err_set(e, ERR_INVALID,
                       "the data are in --data, or in --source and --target");
    if (a->source && a->language)
        return err_set(e, ERR_INVALID,
                       "--language-column is of --data, not of --source");
    if (a->languages && a->language)
        return err_set(e, ERR_INVALID,
                       "--language or --language-column: one of them");
    return 0;
}

static int run(struct eval_args *a, const struct model_arch *const *archs,
               struct buf *out, struct err *e)
{
    struct report r = {clock_now_us(), clock_now_us(), isatty(2)};
    a->eval.progress = a->pairs.progress = tell;
    a->eval.ctx = a->pairs.ctx = &r;
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
        rc = score(a, g, m, out, e);
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
        .engine = {.max_item_tokens = 1 << 20, .state_bytes = STATE_BYTES},
        .pairs = {.length_penalty = NAN}};
    struct err e = ERR_INIT;
    struct buf out;
    int rc = options_main(&table, &a, argc, argv, stdout, stderr);
    if (rc >= 0)
        return rc;
    if (check_data(&a, &e) < 0) {
        fprintf(stderr, "seqd eval: %s\n", e.msg);
        return 2;
    }
    log_configure(LOG_WARN, 0);
    buf_init(&out, MOST_LINE);
    rc = run(&a, archs, &out, &e);
    if (rc == 0 && (fputs(out.p, stdout) < 0 || fflush(stdout) != 0))
        rc = err_set(&e, ERR_IO, "the figures cannot be written");
    if (rc < 0)
        fprintf(stderr, "seqd eval: %s\n", e.msg);
    buf_fini(&out);
    return rc < 0;
}
