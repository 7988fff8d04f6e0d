/* api_classify: POST /classify, one label for a text, and POST /sentiment, the
 * same of models whose labels are sentiments. Labels are the checkpoint's own;
 * `labels` names those that may be the answer. `truncate` keeps the first
 * tokens, as the texts that such models are trained on are cut. Where the
 * checkpoint has a rule for long texts, these are read in parts.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/run/class_rules.h"
#include "engine/run/task/classify.h"
#include "server/api/api.h"
#include "server/api/attention.h"
#include "server/api/input.h"
#include "server/api/labels.h"
#include "server/api/models_json.h"
#include "server/api/reply.h"
#include "server/api/route.h"

struct label_params {
    struct input_params in;
    const struct json *labels;
    int64_t top_k;
    int attention;
};

#define LABELS_AT(field) offsetof(struct label_params, field)

static const struct field fields[] = {
    INPUT_FIELDS,
    {"explain", FIELD_LATER_FALSE, 0, 0, 0},
    {"attention", FIELD_BOOL, 0, 0, LABELS_AT(attention)},
    {"labels", FIELD_ANY, 0, 0, LABELS_AT(labels)},
    {"top_k", FIELD_INT, 1, MODEL_MAX_LABELS, LABELS_AT(top_k)},
};

static int wrong_label(struct request *r, int i, const char *name,
                       const char *what)
{
    char param[32];
    snprintf(param, sizeof param, "labels[%d]", i);
    return err_set_at(&r->err, ERR_INVALID, "invalid_value", param,
                      "'%.64s' %s", name, what);
}

/* Its number among the model's, or -1. */
static int find_label(const struct model_info *info, const char *name)
{
    for (int l = 0; l < info->cols[OUT_CLASS]; l++)
        if (!strcmp(info->labels[l], name))
            return l;
    return -1;
}

/* The labels of the list, by number, into id. */
static int read_labels(struct request *r, const struct json *list,
                       int id[MODEL_MAX_LABELS], int *n)
{
    const struct model_info *info = model_get_info(r->model);
    uint8_t seen[MODEL_MAX_LABELS] = {0};
    *n = 0;
    if (json_type(list) != JSON_ARRAY)
        return err_set_at(&r->err, ERR_INVALID, "invalid_value", "labels",
                          "labels is %s, expected a list of names",
                          json_type_name(json_type(list)));
    int size = json_size(list), most = info->cols[OUT_CLASS];
    if (size < 2 || size > most)
        return err_set_at(&r->err, ERR_INVALID, "invalid_value", "labels",
                          "labels has %d names, expected at least two of the "
                          "model's %d",
                          size, most);
    for (const struct json *v = json_child(list); v; v = json_next(v)) {
        const char *name = json_string(v);
        if (!name)
            return wrong_label(r, *n, json_type_name(json_type(v)),
                               "is no name of a label");
        int l = find_label(info, name);
        if (l < 0)
            return wrong_label(r, *n, name, "is no label of the model");
        if (seen[l]++)
            return wrong_label(r, *n, name, "is there twice");
        id[(*n)++] = l;
    }
    return 0;
}

static int submit(struct request *r, struct label_params *p)
{
    int id[MODEL_MAX_LABELS], n = 0;
    r->top_k = (int)p->top_k;
    p->in.most = classify_most_tokens(r->model);
    if ((p->labels && read_labels(r, p->labels, id, &n) < 0) ||
        input_encode(r, &p->in, KEEP_FIRST, 0) < 0)
        return -1;
    r->attention = p->attention;
    struct classify_params params = {.attention = p->attention,
                                     .labels = p->labels ? id : NULL,
                                     .n_labels = n};
    tokenizer_frame(input_tokenizer(r), &params.before, &params.after);
    const struct job_spec spec = {.task = &task_classify, .params = &params};
    return input_submit(r, &spec);
}

int api_classify(struct request *r)
{
    struct label_params p = {0};
    if (input_params(r, fields, sizeof fields / sizeof *fields, &p.in) < 0 ||
        input_model(r, p.in.model, &task_classify) < 0)
        return -1;
    return submit(r, &p);
}

/* The first model whose labels are sentiments, or the one that is named, if its
 * labels are. */
static int sentiment_model(struct request *r, const char *name)
{
    struct model *m[MAX_LISTED_MODELS];
    int n = engine_models(r->sv->engine, m, MAX_LISTED_MODELS);
    n = n < MAX_LISTED_MODELS ? n : MAX_LISTED_MODELS;
    for (int i = 0; i < n; i++)
        if (!name && !r->model && labels_are_sentiments(m[i]))
            r->model = m[i];
        else
            model_release(m[i]);
    if (r->model)
        return 0;
    if (input_model(r, name, &task_classify) < 0)
        return -1;
    return labels_are_sentiments(r->model)
               ? 0
               : err_set_at(
                     &r->err, ERR_UNSUPPORTED, "task_not_supported", "model",
                     "the labels of model '%.64s' are no sentiments "
                     "(%.64s ...): POST /classify",
                     model_name(r->model), model_get_info(r->model)->labels[0]);
}

int api_sentiment(struct request *r)
{
    const int n_fields = sizeof fields / sizeof *fields - 1; /* no top_k */
    struct label_params p = {0};
    if (input_params(r, fields, n_fields, &p.in) < 0 ||
        sentiment_model(r, p.in.model) < 0)
        return -1;
    return submit(r, &p);
}

static void write_score(struct request *r, int label, float score)
{
    const char *name = model_get_info(r->model)->labels[label];
    buf_add_str(&r->out, "\"label\":");
    buf_add_json_string(&r->out, name, strlen(name));
    buf_add_str(&r->out, ",\"score\":");
    buf_add_float(&r->out, score);
}

struct ranked {
    float score;
    int at;
};

static int by_rank(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (x->score > y->score || x->score < y->score)
        return x->score > y->score ? -1 : 1;
    return x->at - y->at;
}

/* In the model's order; with top_k the best, best first (equal: in that order).
 */
static void write_scores(struct request *r, const struct classify_result *res)
{
    struct ranked v[MODEL_MAX_LABELS];
    int n = r->top_k > 0 && r->top_k < res->n ? r->top_k : res->n;
    for (int i = 0; i < res->n; i++)
        v[i] = (struct ranked){res->scores[i], i};
    if (r->top_k > 0)
        qsort(v, (size_t)res->n, sizeof *v, by_rank);
    buf_add_str(&r->out, ",\"scores\":[");
    for (int i = 0; i < n; i++) {
        buf_add_str(&r->out, i ? ",{" : "{");
        write_score(r, res->label[v[i].at], v[i].score);
        buf_add_char(&r->out, '}');
    }
    buf_add_char(&r->out, ']');
}

static void write_item(struct request *r, const struct item *it,
                       const struct job *j)
{
    const struct classify_result *res = classify_result(j);
    struct buf *out = &r->out;
    buf_add_str(out, it->index ? ",{\"index\":" : "{\"index\":");
    buf_add_int(out, it->index);
    buf_add_char(out, ',');
    write_score(r, res->label[res->best], res->scores[res->best]);
    write_scores(r, res);
    if (model_class_rules(r->model)->window > 0)
        buf_addf(out, ",\"windows\":%d", res->windows);
    attention_write(r, it, job_result(j), out);
    reply_item_tail(r, it, out);
}

size_t api_classify_size(const struct request *r)
{
    const struct model_info *info = model_get_info(r->model);
    size_t item = 2 * REPLY_ITEM;
    for (int i = 0; i < info->cols[OUT_CLASS]; i++)
        item += sizeof "{\"label\":\"\",\"score\":}" + REPLY_NUMBER +
                strlen(info->labels[i]);
    return REPLY_FRAME + (size_t)r->n_items * item + attention_size(r);
}

int api_classify_finish(struct request *r)
{
    reply_open(r, r->route->handle == api_classify ? "classifications"
                                                   : "sentiments");
    for (int i = 0; i < r->n_items; i++)
        write_item(r, &r->items[i], r->jobs[i]);
    return reply_close(r);
}
