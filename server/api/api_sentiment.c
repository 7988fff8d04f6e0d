/* api_sentiment: POST /sentiment, one label for a text. Labels are the
 * checkpoint's own. `truncate` keeps the first tokens, as the texts that such
 * models are trained on are cut.
 *
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "engine/run/task/classify.h"
#include "server/api/api.h"
#include "server/api/attention.h"
#include "server/api/reply.h"
#include "server/api/input.h"

struct sentiment_params {
    struct input_params in;
    int attention;
};

static const struct field fields[] = {
    INPUT_FIELDS,
    {"explain", FIELD_LATER_FALSE, 0, 0, 0},
    {"attention", FIELD_BOOL, 0, 0,
     offsetof(struct sentiment_params, attention)},
};

int api_sentiment(struct request *r)
{
    struct sentiment_params p = {0};
    if (input_params(r, fields, sizeof fields / sizeof *fields, &p.in) < 0 ||
        input_model(r, p.in.model, &task_classify) < 0 ||
        input_encode(r, &p.in, KEEP_FIRST, 0) < 0)
        return -1;
    r->attention = p.attention;
    const struct classify_params params = {.attention = p.attention};
    const struct job_spec spec = {.task = &task_classify, .params = &params};
    return input_submit(r, &spec);
}

static void write_score(struct request *r, int label, float score)
{
    const char *name = model_get_info(r->model)->labels[label];
    buf_add_str(&r->out, "\"label\":");
    buf_add_json_string(&r->out, name, strlen(name));
    buf_add_str(&r->out, ",\"score\":");
    buf_add_float(&r->out, score);
}

static void write_item(struct request *r, const struct item *it,
                       const struct job *j)
{
    const struct classify_result *res = classify_result(j);
    struct buf *out = &r->out;
    buf_add_str(out, it->index ? ",{\"index\":" : "{\"index\":");
    buf_add_int(out, it->index);
    buf_add_char(out, ',');
    write_score(r, res->best, res->scores[res->best]);
    buf_add_str(out, ",\"scores\":[");
    for (int i = 0; i < res->n; i++) {
        buf_add_str(out, i ? ",{" : "{");
        write_score(r, i, res->scores[i]);
        buf_add_char(out, '}');
    }
    buf_add_char(out, ']');
    attention_write(r, it, job_result(j), out);
    reply_item_tail(r, it, out);
}

size_t api_sentiment_size(const struct request *r)
{
    const struct model_info *info = model_get_info(r->model);
    size_t item = 2 * REPLY_ITEM;
    for (int i = 0; i < info->cols[OUT_CLASS]; i++)
        item += sizeof "{\"label\":\"\",\"score\":}" + REPLY_NUMBER +
                strlen(info->labels[i]);
    return REPLY_FRAME + (size_t)r->n_items * item + attention_size(r);
}

int api_sentiment_finish(struct request *r)
{
    reply_open(r, "sentiments");
    for (int i = 0; i < r->n_items; i++)
        write_item(r, &r->items[i], r->jobs[i]);
    return reply_close(r);
}
