/* models_json: see models_json.h.
 *
 * SPDX-License-Identifier: MIT */
#include "server/api/models_json.h"

#include <string.h>

#include "engine/run/class_rules.h"
#include "engine/run/task/beam.h"
#include "engine/run/task/classify.h"
#include "engine/run/task/embed.h"
#include "engine/run/task/fill.h"
#include "engine/run/task/generate.h"
#include "engine/run/task/next.h"
#include "server/api/labels.h"

static void add_text(struct buf *out, const char *key, const char *value)
{
    buf_add_str(out, ",\"");
    buf_add_str(out, key);
    buf_add_str(out, "\":");
    buf_add_json_string(out, value ? value : "", value ? strlen(value) : 0);
}

/* What clients call the tasks. */
static const struct {
    const struct task *task;
    const char *name;
} tasks[] = {{&task_next, "predict"},      {&task_classify, "classify"},
             {&task_generate, "generate"}, {&task_embed, "embeddings"},
             {&task_fill, "fill"},         {&task_translate, "translate"}};

void models_json_tasks(const struct model *m, struct buf *out)
{
    int n = 0;
    buf_add_char(out, '[');
    for (size_t i = 0; i < sizeof tasks / sizeof *tasks; i++)
        if (model_can(m, tasks[i].task))
            buf_addf(out, "%s\"%s\"", n++ ? "," : "", tasks[i].name);
    if (labels_are_sentiments(m))
        buf_addf(out, "%s\"sentiment\"", n > 0 ? "," : "");
    buf_add_char(out, ']');
}

static void add_languages(const struct model *m, struct buf *out)
{
    const struct target_language *l;
    int forced, n = model_languages(m, &l, &forced);
    for (int i = 0; i < n; i++) {
        buf_add_str(out, i ? "," : ",\"languages\":[");
        buf_add_json_string(out, l[i].name, (size_t)l[i].n);
    }
    if (n > 0)
        buf_add_char(out, ']');
}

static void add_default(struct buf *out, const char *name, double v, int *n)
{
    if (v < 0)
        return;
    buf_addf(out, "%s\"%s\":", (*n)++ ? "," : ",\"defaults\":{", name);
    buf_add_float(out, (float)v);
}

/* What /generate takes where a request does not say it. */
static void add_defaults(const struct model *m, struct buf *out)
{
    const struct model_info *info = model_get_info(m);
    const struct sample_rules *s = &info->sample;
    int most = info->target.max_new > 0 ? info->target.max_new : s->max_new;
    int n = 0;

    if (model_constraint(m))
        add_text(out, "constraint", model_constraint(m)->name);
    if (!model_can(m, &task_generate))
        return;
    add_default(out, "temperature", s->temperature, &n);
    add_default(out, "top_k", s->top_k, &n);
    add_default(out, "top_p", s->top_p, &n);
    add_default(out, "max_tokens", most > 0 ? most : -1, &n);
    if (n > 0)
        buf_add_char(out, '}');
}

/* By enum tokenizer_level. */
static const char *const levels[] = {"word", "character", "subword"};

/* By enum score_kind. */
static const char *const score_kinds[] = {"softmax", "sigmoid", "raw"};

/* What /sentiment answers with; nothing of models without labels. */
static void add_labels(const struct model *m, struct buf *out)
{
    const struct model_info *info = model_get_info(m);
    const struct class_rules *rules = model_class_rules(m);
    int n = info->cols[OUT_CLASS];
    if (n < 1)
        return;
    add_text(out, "scores", score_kinds[info->scores]);
    for (int i = 0; i < n; i++) {
        buf_add_str(out, i ? "," : ",\"labels\":[");
        buf_add_json_string(out, info->labels[i], strlen(info->labels[i]));
    }
    buf_add_char(out, ']');
    if (rules->window > 0)
        buf_addf(out,
                 ",\"windows\":{\"length\":%d,\"stride\":%d,"
                 "\"max_tokens\":%d}",
                 rules->window, rules->stride, classify_most_tokens(m));
}

int model_json(const struct server *sv, const struct model *m, struct buf *out,
               struct err *e)
{
    const struct model_info *info = model_get_info(m);
    const char *name = model_name(m), *digest = model_digest(m, &sv->cut);
    if (!digest)
        return err_set_at(e, ERR_DRAINING, "draining", NULL,
                          "the server is shutting down");
    buf_add_str(out, "{\"id\":");
    buf_add_json_string(out, name, strlen(name));
    add_text(out, "object", "model");
    buf_add_str(out, ",\"created\":");
    buf_add_int(out, model_created(m));
    add_text(out, "owned_by", "seqd");
    add_text(out, "architecture", model_arch_name(m));
    buf_add_str(out, ",\"tasks\":");
    models_json_tasks(m, out);
    add_languages(m, out);
    add_defaults(m, out);
    if (model_tokenizer(m))
        add_text(out, "level", levels[tokenizer_level(model_tokenizer(m))]);
    buf_add_str(out, ",\"context_length\":");
    if (info->state.port[PORT_TARGET].context_length > 0)
        buf_add_int(out, info->state.port[PORT_TARGET].context_length);
    else
        buf_add_str(out, "null");
    buf_add_str(out, ",\"parameters\":");
    buf_add_int(out, (int64_t)info->parameters);
    add_text(out, "digest", digest);
    add_text(out, "dtype", model_dtype(m));
    add_labels(m, out);
    add_text(out, "path", info->fast ? "fast" : "exact");
    buf_add_str(out, ",\"attention\":");
    if (info->cols[OUT_ATTENTION] > 0)
        buf_addf(out, "{\"layers\":%d,\"heads\":%d}", info->n_layers,
                 info->n_heads);
    else
        buf_add_str(out, "null");
    buf_add_char(out, '}');
    return 0;
}
