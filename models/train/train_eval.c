/* train_eval: see train_eval.h.
 *
 * SPDX-License-Identifier: MIT */
#include "models/train/train_eval.h"

#include "engine/base/mem.h"
#include "engine/run/eval.h"
#include "models/registry.h"
#include "models/train/data.h"

static int eval_lm(struct engine *g, struct model *m, const struct corpus *c,
                   struct buf *out, struct err *e)
{
    const struct tokenizer *tok = model_tokenizer(m);
    int32_t *order = mem_array((size_t)c->n_records, sizeof *order);
    int32_t *stream = NULL;
    int64_t n = 0;
    struct eval_options o = {0};
    if (order == NULL)
        return err_nomem(e);
    int n_order = corpus_order(c, 0, NULL, order);
    int rc =
        corpus_stream(c, order, n_order, tokenizer_eos(tok), &stream, &n, e);
    mem_free(order);
    if (rc == 0)
        rc = eval_stream(g, m, stream, n, &o, out, e);
    mem_free(stream);
    return rc;
}

static int eval_classifier(struct engine *g, struct model *m,
                           const struct corpus *c, struct buf *out,
                           struct err *e)
{
    struct eval_items d = {c->ids, c->start, c->label, c->n_records};
    struct eval_options o = {0};
    return eval_items(g, m, &d, &o, out, e);
}

static int eval_model(struct engine *g, struct model *m,
                      const struct options *o, struct buf *out, struct err *e)
{
    const struct model_info *info = model_get_info(m);
    struct labels labels = {.n = 0};
    struct corpus c;
    struct data_format f = {.labelled = info->cols[OUT_CLASS] > 0,
                            .record = o->record,
                            .max_len = o->max_len,
                            .labels = &labels};
    int rc = 0;
    if (model_tokenizer(m) == NULL)
        return err_set(e, ERR_UNSUPPORTED, "the checkpoint has no tokenizer");
    for (int i = 0; i < info->cols[OUT_CLASS] && rc == 0; i++) {
        labels.name[i] = mem_strdup(info->labels[i]);
        rc = labels.name[i] != NULL ? 0 : err_nomem(e);
        labels.n += rc == 0;
    }
    if (rc == 0)
        rc = corpus_read(&c, o->data, &f, model_tokenizer(m), e);
    if (rc == 0) {
        rc = f.labelled ? eval_classifier(g, m, &c, out, e)
                        : eval_lm(g, m, &c, out, e);
        corpus_fini(&c);
    }
    labels_fini(&labels);
    return rc;
}

int eval_run(const struct options *o, struct buf *out, struct err *e)
{
    struct engine_options eo = o->engine;
    struct engine *g = NULL;
    struct model *m = NULL;
    if (o->model == NULL || o->data == NULL)
        return err_set(e, ERR_INVALID, "eval needs --model and --data");
    eo.max_item_tokens = 1 << 20;
    int rc = engine_open(&eo, registry_archs, &g, e);
    if (rc == 0)
        rc = engine_load(g, "eval", o->model, e);
    if (rc == 0)
        rc = engine_model(g, "eval", NULL, &m, e);
    if (rc == 0)
        rc = eval_model(g, m, o, out, e);
    if (m != NULL)
        model_release(m);
    if (g != NULL)
        engine_close(g);
    return rc;
}
