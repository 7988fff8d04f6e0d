/* api_predict: POST /predict, the most likely next words.
 *
 * A word-level model reads whole words off its softmax; there a token is a
 * word, so both levels are the same. A model of sub-words searches for whole
 * words unless `level` is "token". A character model offers characters alone.
 * `truncate` keeps the last tokens: they say most about what follows. Where
 * words are searched for it leaves room for one.
 *
 * A masked-word model fills in the one mask token of a text: its whole entries
 * are offered, `truncate` keeps the first tokens.
 *
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "engine/run/task/fill.h"
#include "engine/run/task/words.h"
#include "server/api/api.h"
#include "server/api/attention.h"
#include "server/api/reply.h"
#include "server/api/input.h"

#define MAX_WORD ((size_t)64 << 20) /* a vocabulary in one entry */
/* {"text":"...","prob":0.1,"logprob":-2.3}, of a word of usual length */
#define PREDICTION (48 + 2 * REPLY_NUMBER)

struct predict_params {
    struct input_params in;
    int64_t top_k;
    double temperature;
    const char *level;
    int attention;
};

#define PREDICT_AT(field) offsetof(struct predict_params, field)

static const struct field fields[] = {
    INPUT_FIELDS,
    {"top_k", FIELD_INT, 1, 1000, PREDICT_AT(top_k)},
    {"temperature", FIELD_NUMBER, 0.01, 100, PREDICT_AT(temperature)},
    {"level", FIELD_TEXT, 0, 0, PREDICT_AT(level)},
    {"candidates", FIELD_LATER, 0, 0, 0},
    {"session", FIELD_LATER, 0, 0, 0},
    {"attention", FIELD_BOOL, 0, 0, PREDICT_AT(attention)},
};

static int check_level(struct request *r, const char *level)
{
    int words = tokenizer_level(model_tokenizer(r->model)) != TOK_LEVEL_CHAR;
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

/* A model for next words, or one that the name or the want of others makes a
 * masked-word model: then *fill is 1. */
static int find_model(struct request *r, const char *name, int *fill)
{
    *fill = 0;
    if (input_model(r, name, &task_next) == 0)
        return 0;
    if (!r->err.reason || strcmp(r->err.reason, "task_not_supported"))
        return -1;
    struct err first = r->err;
    err_clear(&r->err);
    if (input_model(r, name, &task_fill) < 0) {
        r->err = first;
        return -1;
    }
    *fill = 1;
    return 0;
}

static int check_fill_level(struct request *r, const char *level)
{
    if (!level || !strcmp(level, "token"))
        return 0;
    return err_set_at(&r->err, ERR_UNSUPPORTED, "task_not_supported", "level",
                      "this model fills in single tokens: level \"token\"");
}

/* 1 when the answer's words have to be searched for. */
static int finds_words(const struct request *r, const char *level)
{
    return tokenizer_level(model_tokenizer(r->model)) == TOK_LEVEL_SUBWORD &&
           (!level || !strcmp(level, "word"));
}

int api_predict(struct request *r)
{
    struct predict_params p = {.top_k = 5, .temperature = 1.0};
    int fill;
    if (input_params(r, fields, sizeof fields / sizeof *fields, &p.in) < 0 ||
        find_model(r, p.in.model, &fill) < 0 ||
        (fill ? check_fill_level(r, p.level) : check_level(r, p.level)) < 0)
        return -1;
    int words = !fill && finds_words(r, p.level);
    p.in.room = words ? WORDS_MOST_TOKENS : 0;
    if (input_encode(r, &p.in, fill ? KEEP_FIRST : KEEP_LAST,
                     fill ? ENCODE_PARSE : ENCODE_EMPTY) < 0)
        return -1;
    r->top_k = (int)p.top_k;
    r->attention = p.attention;
    const struct next_params params = {.top_k = (int)p.top_k,
                                       .temperature = (float)p.temperature,
                                       .attention = p.attention};
    const struct job_spec spec = {.task = fill    ? &task_fill
                                          : words ? &task_words
                                                  : &task_next,
                                  .params = &params};
    return input_submit(r, &spec);
}

/* Of whichever of the tasks it was. */
static const struct next_result *predictions(const struct job *j)
{
    const struct next_result *res = next_result(j);
    res = res ? res : words_result(j);
    return res ? res : fill_result(j);
}

/* A masked word as it stands in a text, without the space before it; bytes of
 * no whole code point become U+FFFD. */
static void write_filled(struct request *r, int32_t id)
{
    const struct tokenizer *t = model_tokenizer(r->model);
    struct detok d;
    struct buf b;
    buf_init(&b, MAX_WORD);
    detok_init(&d);
    if (detok_next(t, &d, id, &b) < 0 || detok_finish(t, &d, &b) < 0)
        r->out.failed = 1;
    size_t skip = b.len > 1 && b.p[0] == ' ';
    buf_add_json_string(&r->out, b.p ? b.p + skip : "", b.len - skip);
    buf_fini(&b);
}

static void write_item(struct request *r, const struct item *it,
                       const struct job *j)
{
    const struct next_result *res = predictions(j);
    const struct tokenizer *t = model_tokenizer(r->model);
    struct buf *out = &r->out;
    int fill = model_can(r->model, &task_fill);
    buf_add_str(out, it->index ? ",{\"index\":" : "{\"index\":");
    buf_add_int(out, it->index);
    buf_add_str(out, ",\"predictions\":[");
    for (int i = 0; i < res->n; i++) {
        const struct prediction *p = &res->prediction[i];
        buf_add_str(out, i ? ",{\"text\":" : "{\"text\":");
        if (p->text)
            buf_add_json_string(out, p->text, strlen(p->text));
        else if (fill)
            write_filled(r, p->id);
        else
            piece_write(t, p->id, out);
        buf_add_str(out, ",\"prob\":");
        buf_add_float(out, p->prob);
        buf_add_str(out, ",\"logprob\":");
        buf_add_float(out, p->logprob);
        buf_add_char(out, '}');
    }
    buf_add_str(out, "],\"covered_mass\":");
    buf_add_float(out, (float)res->covered_mass);
    attention_write(r, it, job_result(j), out);
    reply_item_tail(r, it, out);
}

size_t api_predict_size(const struct request *r)
{
    size_t item = REPLY_ITEM + (size_t)r->top_k * PREDICTION;
    return REPLY_FRAME + (size_t)r->n_items * item + attention_size(r);
}

int api_predict_finish(struct request *r)
{
    reply_open(r, "predictions");
    for (int i = 0; i < r->n_items; i++)
        write_item(r, &r->items[i], r->jobs[i]);
    return reply_close(r);
}
