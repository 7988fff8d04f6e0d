/* train_eval: see train_eval.h.
 *
 * SPDX-License-Identifier: MIT */
#include "models/train/train_eval.h"

#include <stdio.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "engine/run/eval.h"
#include "engine/run/eval_pairs.h"
#include "engine/run/task/beam.h"
#include "models/registry.h"
#include "models/train/data.h"
#include "models/train/eval_net.h"

#define MAX_ITEM_TOKENS (1 << 20)
#define REPORT_US 2000000

int eval_paths(const char *files, const char *option, char **path, int *n,
               struct err *e)
{
    double share;
    size_t k;
    for (*n = 0; *files != '\0'; files += k + (files[k] == ',')) {
        if (*n == DATA_MAX_FILES)
            return err_set(e, ERR_TOO_LARGE, "more than %d files",
                           DATA_MAX_FILES);
        path[*n] = data_first_file(files, &k, &share, e);
        if (path[*n] == NULL)
            return -1;
        *n += 1;
    }
    return *n > 0 ? 0 : err_set(e, ERR_INVALID, "%s names no file", option);
}

void eval_paths_free(char **path, int n)
{
    for (int i = 0; i < n; i++)
        mem_free(path[i]);
}

static int eval_texts(struct engine *g, struct model *m,
                      const struct options *o, const char *data,
                      struct buf *out, struct err *e)
{
    char *path[DATA_MAX_FILES];
    int n = 0;
    struct eval_options eo = {.record = (enum record_kind)o->record,
                              .max_len = o->cut ? o->max_len : 0,
                              .labels = o->labels,
                              .brief = o->brief};
    int rc = eval_paths(data, "--data", path, &n, e);
    if (rc == 0)
        rc = eval_files(g, m, (const char *const *)path, n, &eo, out, e);
    eval_paths_free(path, n);
    return rc;
}

static void tell(void *ctx, int64_t done, int64_t all)
{
    int64_t *told_us = ctx, now = clock_now_us();
    if (now - *told_us < REPORT_US)
        return;
    *told_us = now;
    fprintf(stderr, "%lld of %lld pairs\n", (long long)done, (long long)all);
}

static int eval_translations(struct engine *g, struct model *m,
                             const struct options *o, const char *data,
                             struct buf *out, struct err *e)
{
    char *source[DATA_MAX_FILES], *target[DATA_MAX_FILES];
    int64_t told_us = clock_now_us();
    int n = 0, k = 0;
    const struct eval_pair_options po = {.beams = o->beams,
                                         .max_target = o->max_target,
                                         .length_penalty = o->length_penalty,
                                         .output = o->output,
                                         .progress = tell,
                                         .ctx = &told_us};
    int rc = eval_paths(data != NULL ? data : o->source,
                        data != NULL ? "--data" : "--source", source, &n, e);
    if (rc == 0 && data == NULL)
        rc = eval_paths(o->target, "--target", target, &k, e);
    if (rc == 0 && data == NULL && n != k)
        rc = err_set(e, ERR_INVALID, "--source names %d files and --target %d",
                     n, k);
    const struct eval_pair_files f = {
        .source = (const char *const *)source,
        .target = data == NULL ? (const char *const *)target : NULL,
        .n = n,
        .language = o->language_column,
        .languages = o->language};
    if (rc == 0)
        rc = eval_pairs(g, m, &f, &po, out, e);
    eval_paths_free(source, n);
    eval_paths_free(target, k);
    return rc;
}

/* Options that say nothing to a model of another kind are refused. */
static int eval_model(struct engine *g, struct model *m,
                      const struct options *o, const char *data,
                      struct buf *out, struct err *e)
{
    if (model_can(m, &task_translate) && o->labels != NULL)
        return err_set(e, ERR_INVALID, "--labels is for classifiers");
    if (model_can(m, &task_translate))
        return eval_translations(g, m, o, data, out, e);
    if (data == NULL || o->language_column || o->language || o->output != NULL)
        return err_set(e, ERR_INVALID,
                       "--source, --target, --language-column, --language and "
                       "--output are for models that make a text from a text");
    return eval_texts(g, m, o, data, out, e);
}

/* What the trainer's pass scores, not the engine. */
static int eval_own(const struct options *o, int vectors, struct buf *out,
                    struct err *e)
{
    int other = o->data == NULL || o->language != NULL || o->language_column ||
                o->output != NULL || o->labels != NULL || o->cut;
    if (vectors && (other || o->cache_size > 0 || o->record != RECORD_AUTO))
        return err_set(e, ERR_INVALID,
                       "a net of vectors is scored with --model and --data "
                       "alone");
    if (other)
        return err_set(e, ERR_INVALID,
                       "--cache-size is for language models: of the other "
                       "options it reads --model, --data and --record");
    return vectors ? eval_values(o, out, e) : eval_with_cache(o, out, e);
}

int eval_run(const struct options *o, struct buf *out, struct err *e)
{
    int two = o->source != NULL && o->target != NULL;
    if (o->model == NULL || (o->data == NULL && !two))
        return err_set(e, ERR_INVALID,
                       "eval needs --model and --data, or for pairs --source "
                       "and --target in its place");
    if (o->data != NULL && (o->source != NULL || o->target != NULL))
        return err_set(e, ERR_INVALID,
                       "the data are in --data, or in --source and --target");
    if (o->data == NULL && o->language_column)
        return err_set(e, ERR_INVALID,
                       "--language-column is of --data, not of --source");
    if (o->language != NULL && o->language_column)
        return err_set(e, ERR_INVALID,
                       "--language or --language-column: one of them");
    int vectors = eval_is_of_vectors(o->model);
    if (vectors || o->cache_size > 0)
        return eval_own(o, vectors, out, e);
    return eval_checkpoint(o, o->model, o->data, out, e);
}

int eval_open(const struct options *o, const char *model, struct engine **g,
              struct model **m, struct err *e)
{
    struct engine_options eo = o->engine;
    *g = NULL;
    *m = NULL;
    eo.max_item_tokens = MAX_ITEM_TOKENS;
    return engine_open(&eo, registry_archs, g, e) ||
                   engine_load(*g, "eval", model, e) ||
                   engine_model(*g, "eval", NULL, m, e)
               ? -1
               : 0;
}

void eval_shut(struct engine *g, struct model *m)
{
    if (m != NULL)
        model_release(m);
    if (g != NULL)
        engine_close(g);
}

int eval_checkpoint(const struct options *o, const char *model,
                    const char *data, struct buf *out, struct err *e)
{
    struct engine *g;
    struct model *m;
    int rc = eval_open(o, model, &g, &m, e);
    if (rc == 0)
        rc = eval_model(g, m, o, data, out, e);
    eval_shut(g, m);
    return rc;
}
