/* api_predict: POST /predict, the most likely next words.
 *
 * A word-level model reads whole words off its softmax; there a token is a
 * word, so both levels are the same. A character model offers characters:
 * `level` is "token" there, and "word" would be a search, which is not here
 * yet. `truncate` keeps the last tokens: they say most about what follows.
 *
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "server/api.h"
#include "server/reply.h"
#include "server/task.h"

static const struct field fields[] = {
    TASK_FIELDS,
    {"top_k", FIELD_INT, 1, 1000, TASK_AT(top_k)},
    {"temperature", FIELD_NUMBER, 0.01, 100, TASK_AT(temperature)},
    {"level", FIELD_TEXT, 0, 0, TASK_AT(level)},
    {"candidates", FIELD_LATER, 0, 0, 0},
    {"session", FIELD_LATER, 0, 0, 0},
    {"attention", FIELD_LATER_FALSE, 0, 0, 0},
};

static int check_level(struct request *r, const char *level)
{
    int words = tokenizer_level(model_tokenizer(r->model)) == TOK_LEVEL_WORD;
    if (!level || (words && !strcmp(level, "word")) || !strcmp(level, "token"))
        return 0;
    if (!strcmp(level, "word"))
        return err_set_at(&r->err, ERR_UNSUPPORTED, "task_not_supported",
                          "level",
                          "this model has no words; level \"token\" offers "
                          "its characters");
    return err_set_at(&r->err, ERR_INVALID, "invalid_value", "level",
                      "level must be \"word\" or \"token\"");
}

int api_predict(struct request *r)
{
    struct task_params p = {.top_k = 5, .temperature = 1.0};
    if (task_params(r, fields, sizeof fields / sizeof *fields, &p) < 0 ||
        task_model(r, p.model, TASK_NEXT) < 0 || check_level(r, p.level) < 0 ||
        task_encode(r, &p, KEEP_LAST, 1) < 0)
        return -1;
    r->top_k = (int)p.top_k;
    const struct job_spec spec = {.task = TASK_NEXT,
                                  .top_k = (int)p.top_k,
                                  .temperature = (float)p.temperature};
    return task_submit(r, &spec);
}

static void write_item(struct request *r, const struct item *it,
                       const struct job_result *res)
{
    const struct tokenizer *t = model_tokenizer(r->model);
    struct buf *out = &r->out;
    buf_add_str(out, it->index ? ",{\"index\":" : "{\"index\":");
    buf_add_int(out, it->index);
    buf_add_str(out, ",\"predictions\":[");
    for (int i = 0; i < res->n_predictions; i++) {
        const struct prediction *p = &res->predictions[i];
        const char *text = tokenizer_text(t, p->id);
        buf_add_str(out, i ? ",{\"text\":" : "{\"text\":");
        buf_add_json_string(out, text, strlen(text));
        buf_add_str(out, ",\"prob\":");
        buf_add_float(out, p->prob);
        buf_add_str(out, ",\"logprob\":");
        buf_add_float(out, p->logprob);
        buf_add_char(out, '}');
    }
    buf_add_str(out, "],\"covered_mass\":");
    buf_add_float(out, (float)res->covered_mass);
    reply_item_tail(r, it, out);
}

int api_predict_finish(struct request *r)
{
    reply_open(r, "predictions");
    for (int i = 0; i < r->n_items; i++)
        write_item(r, &r->items[i], job_result(r->jobs[i]));
    return reply_close(r);
}
