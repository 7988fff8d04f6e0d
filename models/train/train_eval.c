/* train_eval: see train_eval.h.
 *
 * SPDX-License-Identifier: MIT */
#include "models/train/train_eval.h"

#include "engine/base/mem.h"
#include "engine/run/eval.h"
#include "models/registry.h"
#include "models/train/data.h"

#define MAX_ITEM_TOKENS (1 << 20)

/* "A,B:0.3" as paths; all of each file counts. */
static int split_paths(const char *files, char **path, int *n, struct err *e)
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
    return *n > 0 ? 0 : err_set(e, ERR_INVALID, "--data names no file");
}

static int eval_model(struct engine *g, struct model *m,
                      const struct options *o, const char *data,
                      struct buf *out, struct err *e)
{
    char *path[DATA_MAX_FILES];
    int n = 0;
    struct eval_options eo = {.record = (enum record_kind)o->record,
                              .max_len = o->cut ? o->max_len : 0};
    int rc = split_paths(data, path, &n, e);
    if (rc == 0)
        rc = eval_files(g, m, (const char *const *)path, n, &eo, out, e);
    for (int i = 0; i < n; i++)
        mem_free(path[i]);
    return rc;
}

int eval_run(const struct options *o, struct buf *out, struct err *e)
{
    if (o->model == NULL || o->data == NULL)
        return err_set(e, ERR_INVALID, "eval needs --model and --data");
    return eval_checkpoint(o, o->model, o->data, out, e);
}

int eval_checkpoint(const struct options *o, const char *model,
                    const char *data, struct buf *out, struct err *e)
{
    struct engine_options eo = o->engine;
    struct engine *g = NULL;
    struct model *m = NULL;
    eo.max_item_tokens = MAX_ITEM_TOKENS;
    int rc = engine_open(&eo, registry_archs, &g, e);
    if (rc == 0)
        rc = engine_load(g, "eval", model, e);
    if (rc == 0)
        rc = engine_model(g, "eval", NULL, &m, e);
    if (rc == 0)
        rc = eval_model(g, m, o, data, out, e);
    if (m != NULL)
        model_release(m);
    if (g != NULL)
        engine_close(g);
    return rc;
}
