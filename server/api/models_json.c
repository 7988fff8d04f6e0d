/* models_json: see models_json.h.
 *
 * SPDX-License-Identifier: MIT */
#include "server/api/models_json.h"

#include <string.h>

static void add_text(struct buf *out, const char *key, const char *value)
{
    buf_add_str(out, ",\"");
    buf_add_str(out, key);
    buf_add_str(out, "\":");
    buf_add_json_string(out, value ? value : "", value ? strlen(value) : 0);
}

void models_json_tasks(unsigned tasks, struct buf *out)
{
    static const struct {
        unsigned bit;
        const char *name;
    } names[] = {{TASK_NEXT, "predict"},
                 {TASK_CLASSIFY, "sentiment"},
                 {TASK_GENERATE, "generate"},
                 {TASK_EMBED, "embeddings"},
                 {TASK_FILL, "fill"}};
    int n = 0;
    buf_add_char(out, '[');
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (tasks & names[i].bit)
            buf_addf(out, "%s\"%s\"", n++ ? "," : "", names[i].name);
    buf_add_char(out, ']');
}

/* By enum score_kind. */
static const char *const score_kinds[] = {"softmax", "sigmoid", "raw"};

void model_json(const struct model *m, struct buf *out)
{
    const struct model_info *info = model_get_info(m);
    const char *name = model_name(m);
    buf_add_str(out, "{\"id\":");
    buf_add_json_string(out, name, strlen(name));
    add_text(out, "object", "model");
    buf_add_str(out, ",\"created\":");
    buf_add_int(out, model_created(m));
    add_text(out, "owned_by", "seqd");
    add_text(out, "architecture", model_arch_name(m));
    buf_add_str(out, ",\"tasks\":");
    models_json_tasks(info->tasks, out);
    buf_add_str(out, ",\"context_length\":");
    if (info->context_length > 0)
        buf_add_int(out, info->context_length);
    else
        buf_add_str(out, "null");
    buf_add_str(out, ",\"parameters\":");
    buf_add_int(out, (int64_t)info->parameters);
    add_text(out, "digest", model_digest(m));
    add_text(out, "dtype", model_dtype(m));
    if (info->tasks & TASK_CLASSIFY)
        add_text(out, "scores", score_kinds[info->scores]);
    add_text(out, "path", info->fast ? "fast" : "exact");
    buf_add_str(out, ",\"attention\":");
    if (info->n_layers > 0)
        buf_addf(out, "{\"layers\":%d,\"heads\":%d}", info->n_layers,
                 info->n_heads);
    else
        buf_add_str(out, "null");
    buf_add_char(out, '}');
}
