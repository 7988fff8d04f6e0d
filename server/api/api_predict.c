/* api_predict: POST /predict, the most likely next words.
 *
 * A word-level model reads whole words off its softmax; there a token is a
 * word, so both levels are the same. A model of sub-words searches for whole
 * words unless `level` is "token". A character model offers characters alone.
 * `truncate` keeps the last tokens: they say most about what follows. Where
 * words are searched for it leaves room for one.
 *
 * A word is another one than the text's last when there is a `prefix` of it, an
 * empty one too, or a space behind the text. The space is not read: with models
 * of sub-words it is a part of the word's first token.
 *
 * Candidates are texts that may come behind: each has the probability of its
 * tokens, one after the other. A space is put between, but before a mark and
 * at the start of a text; the tokens are those that the tokenizer makes behind
 * another word.
 *
 * A masked-word model fills in the one mask token of a text: its whole entries
 * are offered, `truncate` keeps the first tokens.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/run/subwords.h"
#include "engine/run/task/candidates.h"
#include "engine/run/task/fill.h"
#include "engine/run/task/words.h"
#include "engine/run/typed.h"
#include "server/api/api.h"
#include "server/api/attention.h"
#include "server/api/reply.h"
#include "server/api/input.h"

#define MAX_WORD ((size_t)64 << 20) /* a vocabulary in one entry */
/* {"text":"...","prob":0.1,"logprob":-2.3}, of a word of usual length */
#define PREDICTION (48 + 2 * REPLY_NUMBER)
#define DEFAULT_TOP 5
#define MOST_CANDIDATE 1024 /* bytes */
#define WORD "a"            /* what candidates are read behind */
#define MOST_LEAD 4         /* tokens of it */
#define MOST_TOKENS (MOST_CANDIDATE + 1 + MOST_LEAD)

struct predict_params {
    struct input_params in;
    int64_t top_k;
    double temperature;
    const char *level;
    const struct json *prefix; /* a string, a list of them, or NULL */
    const struct json *candidates;
    int attention;
};

#define PREDICT_AT(field) offsetof(struct predict_params, field)

static const struct field fields[] = {
    INPUT_FIELDS,
    {"top_k", FIELD_INT, 1, 1000, PREDICT_AT(top_k)},
    {"temperature", FIELD_NUMBER, 0.01, 100, PREDICT_AT(temperature)},
    {"level", FIELD_TEXT, 0, 0, PREDICT_AT(level)},
    {"prefix", FIELD_ANY, 0, 0, PREDICT_AT(prefix)},
    {"candidates", FIELD_ANY, 0, 0, PREDICT_AT(candidates)},
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

/* i -1: the prefix of all. */
static int bad_prefix(struct request *r, int i, const char *msg)
{
    char param[32] = "prefix";
    if (i >= 0)
        snprintf(param, sizeof param, "prefix[%d]", i);
    return err_set_at(&r->err, ERR_INVALID, "invalid_value", param, "%s", msg);
}

/* One prefix for all items, or a list with one for each: before the input is
 * read, and how many there are after. */
static int check_prefix_type(struct request *r, const struct json *prefix)
{
    enum json_type type = prefix ? json_type(prefix) : JSON_STRING;
    return type == JSON_STRING || type == JSON_ARRAY
               ? 0
               : bad_prefix(r, -1,
                            "prefix is neither a string nor a list of strings");
}

static int check_prefix(struct request *r, const struct json *prefix, int words)
{
    enum json_type type = prefix ? json_type(prefix) : JSON_STRING;
    if (prefix && !words &&
        tokenizer_level(model_tokenizer(r->model)) != TOK_LEVEL_WORD)
        return err_set_at(&r->err, ERR_UNSUPPORTED, "task_not_supported",
                          "prefix",
                          "a prefix is of a word, and this offers tokens");
    if (type == JSON_ARRAY && (r->single || json_size(prefix) != r->n_items))
        return bad_prefix(r, -1,
                          "a list of prefixes has one for each text of a list "
                          "of texts");
    return 0;
}

/* Of item i; *at holds the one before. */
static const char *prefix_of(const struct json *prefix, int i,
                             const struct json **at)
{
    if (!prefix)
        return NULL;
    if (json_type(prefix) == JSON_STRING)
        *at = prefix;
    else
        *at = i == 0 ? json_child(prefix) : json_next(*at);
    return json_type(*at) == JSON_STRING ? json_string(*at) : NULL;
}

/* What differs by item: what was typed of its next word, and whether that has
 * to stand apart from the text. */
static int item_params(struct request *r, const struct predict_params *p,
                       int words, struct next_params *out)
{
    const struct json *text = NULL, *at = NULL;
    int each = p->prefix && json_type(p->prefix) == JSON_ARRAY;
    struct err e = ERR_INIT;
    for (int i = 0; i < r->n_items; i++) {
        text = input_at(r, p->in.input, i, text);
        const char *prefix = prefix_of(p->prefix, i, &at);
        if (p->prefix && !prefix)
            return bad_prefix(r, i, "an item of prefix is not a string");
        if (prefix && typed_check(prefix, &e) < 0)
            return bad_prefix(r, each ? i : -1, e.msg);
        size_t n = input_trimmed(text), typed = prefix ? strlen(prefix) : 0;
        int other = prefix || n < json_string_len(text);
        out[i] = (struct next_params){
            .top_k = (int)p->top_k,
            .temperature = (float)p->temperature,
            .attention = p->attention,
            .prefix = prefix,
            .apart = words && other &&
                     subwords_state(json_string(text), n) == WORD_LETTERS};
        r->typed = r->typed > typed ? r->typed : typed;
    }
    return 0;
}

static int submit(struct request *r, const struct predict_params *p,
                  const struct task *task)
{
    struct next_params one, *params = &one;
    if (r->n_items > 1)
        params = mem_zarray((size_t)r->n_items, sizeof *params);
    if (!params)
        return err_nomem(&r->err);
    const struct job_spec spec = {.task = task, .params = params};
    int rc = item_params(r, p, task == &task_words, params);
    if (rc == 0)
        rc = input_submit_each(r, &spec, sizeof *params);
    if (params != &one)
        mem_free(params);
    return rc;
}

/* --- candidates --- */

static int bad_candidate(struct request *r, int i, const char *msg)
{
    char param[32];
    snprintf(param, sizeof param, i < 0 ? "candidates" : "candidates[%d]", i);
    return err_set_at(&r->err, ERR_INVALID, "invalid_value", param, "%s", msg);
}

/* What does not go with candidates, before anything is made of them. */
static int check_candidates(struct request *r, const struct predict_params *p,
                            int fill)
{
    const struct json *v = p->candidates;
    if (!v)
        return 0;
    if (json_type(v) != JSON_ARRAY || json_size(v) < 1 ||
        json_size(v) > MOST_CANDIDATES)
        return bad_candidate(r, -1, "candidates is a list of 1 to 256 texts");
    if (fill)
        return err_set_at(&r->err, ERR_UNSUPPORTED, "task_not_supported",
                          "candidates",
                          "this model fills in one token, it knows no "
                          "continuations");
    if (p->prefix || p->level || p->attention)
        return bad_candidate(r, -1,
                             "candidates go without prefix, level and "
                             "attention");
    v = json_child(v);
    for (int i = 0; v; v = json_next(v), i++)
        if (json_type(v) != JSON_STRING || json_string_len(v) < 1 ||
            json_string_len(v) > MOST_CANDIDATE ||
            memchr(json_string(v), 0xc0, json_string_len(v)))
            return bad_candidate(r, i,
                                 "a candidate is a text of 1 to 1,024 bytes "
                                 "without U+0000");
    return 0;
}

struct candidate_list {
    struct given behind[MOST_CANDIDATES]; /* another word */
    struct given first[MOST_CANDIDATES];  /* nothing */
    int n, n_ids;
    int32_t *ids;            /* [2 * n * MOST_TOKENS] */
    int32_t word[MOST_LEAD]; /* the tokens of WORD */
    int n_word, unknown;
};

/* The text into r->tokens. */
static int encode_plain(struct request *r, const char *text, size_t n)
{
    r->tokens.n = r->tokens.n_unknown = 0;
    return tokenizer_encode(model_tokenizer(r->model), text, n, 0, MOST_TOKENS,
                            &r->tokens, &r->err);
}

/* What stands behind the first `from` of r->tokens becomes *g. */
static int keep_given(struct request *r, int i, const char *text, int from,
                      struct candidate_list *c, struct given *g)
{
    int unknown = r->tokens.n_unknown - (from > 0 ? c->unknown : 0);
    *g = (struct given){text, c->ids + c->n_ids, r->tokens.n - from};
    for (int k = from; k < r->tokens.n; k++)
        c->ids[c->n_ids++] = r->tokens.v[k].id;
    return g->n == 0 || unknown > 0
               ? bad_candidate(r, i, "the vocabulary does not have all of it")
               : 0;
}

/* Whether r->tokens begin as the tokens of WORD alone: else the tokenizer has
 * made one of it and the candidate. */
static int stands_behind(const struct request *r,
                         const struct candidate_list *c)
{
    for (int k = 0; k < c->n_word; k++)
        if (k >= r->tokens.n || r->tokens.v[k].id != c->word[k])
            return 0;
    return 1;
}

/* A letter or a digit begins a word, a mark does not. */
static int begins_word(const char *text)
{
    return *text != ' ' && subwords_state(text, strlen(text)) != WORD_MARKS &&
           !strchr(".,;:!?)]}'\"", *text);
}

/* Behind another word, a space between where one begins a word; 1 where that
 * makes other tokens of the word. */
static int read_behind(struct request *r, int i, const char *text,
                       struct candidate_list *c)
{
    struct buf b;
    buf_init(&b, sizeof WORD + strlen(text));
    buf_add_str(&b, WORD);
    buf_add_str(&b, begins_word(text) ? " " : "");
    buf_add_str(&b, text);
    int rc = b.failed ? err_nomem(&r->err) : encode_plain(r, b.p, b.len);
    buf_fini(&b);
    if (rc == 0 && !stands_behind(r, c))
        return 1;
    return rc < 0 ? -1 : keep_given(r, i, text, c->n_word, c, &c->behind[i]);
}

static int read_word(struct request *r, struct candidate_list *c)
{
    if (encode_plain(r, WORD, strlen(WORD)) < 0)
        return -1;
    c->n_word = r->tokens.n < MOST_LEAD ? r->tokens.n : MOST_LEAD;
    c->unknown = r->tokens.n_unknown;
    for (int k = 0; k < c->n_word; k++)
        c->word[k] = r->tokens.v[k].id;
    return 0;
}

static int read_one(struct request *r, int i, const char *text, int spaced,
                    struct candidate_list *c)
{
    int apart = spaced ? read_behind(r, i, text, c) : 1;
    if (apart < 0)
        return -1;
    if (encode_plain(r, text, strlen(text)) < 0 ||
        keep_given(r, i, text, 0, c, &c->first[i]) < 0)
        return -1;
    if (apart)
        c->behind[i] = c->first[i];
    return 0;
}

static int read_candidates(struct request *r, const struct json *v, int spaced,
                           struct candidate_list *c)
{
    c->n = json_size(v);
    c->ids = mem_array((size_t)c->n * 2 * MOST_TOKENS, sizeof *c->ids);
    if (!c->ids)
        return err_nomem(&r->err);
    if (read_word(r, c) < 0)
        return -1;
    v = json_child(v);
    for (int i = 0; v; v = json_next(v), i++) {
        const char *text = json_string(v);
        if (read_one(r, i, text, spaced, c) < 0) {
            if (r->err.code != ERR_TOO_LARGE)
                return -1;
            err_clear(&r->err);
            return bad_candidate(r, i, "a candidate has too many tokens");
        }
        size_t bytes = strlen(text);
        r->typed = r->typed > bytes ? r->typed : bytes;
    }
    return 0;
}

/* Tokens of the longest one behind its first, which need room. */
static int64_t longest(const struct candidate_list *c)
{
    int most = 1;
    for (int i = 0; i < c->n; i++) {
        most = c->behind[i].n > most ? c->behind[i].n : most;
        most = c->first[i].n > most ? c->first[i].n : most;
    }
    return most - 1;
}

static int submit_candidates(struct request *r, const struct predict_params *p,
                             const struct candidate_list *c)
{
    struct candidates_params *params =
        mem_zarray((size_t)r->n_items, sizeof *params);
    const struct json *text = NULL;
    if (!params)
        return err_nomem(&r->err);
    r->top_k = p->top_k < 0 ? c->n : (int)p->top_k;
    for (int i = 0; i < r->n_items; i++) {
        text = input_at(r, p->in.input, i, text);
        params[i] = (struct candidates_params){
            .given = input_trimmed(text) > 0 ? c->behind : c->first,
            .n = c->n,
            .top_k = r->top_k,
            .temperature = (float)p->temperature};
    }
    const struct job_spec spec = {.task = &task_candidates, .params = params};
    int rc = input_submit_each(r, &spec, sizeof *params);
    mem_free(params);
    return rc;
}

static int predict_candidates(struct request *r, struct predict_params *p)
{
    struct candidate_list *c = mem_zalloc(sizeof *c);
    int spaced = tokenizer_level(model_tokenizer(r->model)) != TOK_LEVEL_CHAR;
    int rc =
        c ? read_candidates(r, p->candidates, spaced, c) : err_nomem(&r->err);
    if (rc == 0) {
        p->in.room = longest(c);
        rc = input_encode(r, &p->in, KEEP_LAST,
                          ENCODE_EMPTY | (spaced ? ENCODE_TRIM : 0));
    }
    if (rc == 0)
        rc = submit_candidates(r, p, c);
    if (c)
        mem_free(c->ids);
    mem_free(c);
    return rc;
}

int api_predict(struct request *r)
{
    struct predict_params p = {.top_k = -1, .temperature = 1.0};
    int fill;
    if (input_params(r, fields, sizeof fields / sizeof *fields, &p.in) < 0 ||
        find_model(r, p.in.model, &fill) < 0 ||
        (fill ? check_fill_level(r, p.level) : check_level(r, p.level)) < 0 ||
        check_prefix_type(r, p.prefix) < 0 || check_candidates(r, &p, fill) < 0)
        return -1;
    r->attention = p.attention;
    r->typed = 0;
    if (p.candidates)
        return predict_candidates(r, &p);
    int words = !fill && finds_words(r, p.level);
    p.in.room = words ? WORDS_MOST_TOKENS : 0;
    unsigned how = ENCODE_EMPTY | (words ? ENCODE_TRIM : 0);
    if (input_encode(r, &p.in, fill ? KEEP_FIRST : KEEP_LAST,
                     fill ? ENCODE_PARSE : how) < 0 ||
        check_prefix(r, p.prefix, words) < 0)
        return -1;
    p.top_k = p.top_k < 0 ? DEFAULT_TOP : p.top_k;
    r->top_k = (int)p.top_k;
    return submit(r, &p, fill ? &task_fill : words ? &task_words : &task_next);
}

/* Of whichever of the tasks it was. */
static const struct next_result *predictions(const struct job *j)
{
    const struct next_result *res = next_result(j);
    res = res ? res : words_result(j);
    res = res ? res : candidates_result(j);
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

/* A word behind what was typed of it. */
static void write_typed(struct request *r, const char *typed, const char *rest)
{
    struct buf b;
    if (!*typed) {
        buf_add_json_string(&r->out, rest, strlen(rest));
        return;
    }
    buf_init(&b, MAX_WORD);
    if (buf_add_str(&b, typed) < 0 || buf_add_str(&b, rest) < 0)
        r->out.failed = 1;
    buf_add_json_string(&r->out, b.p ? b.p : "", b.len);
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
            write_typed(r, res->typed, p->text);
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
    size_t item = REPLY_ITEM + (size_t)r->top_k * (PREDICTION + r->typed);
    return REPLY_FRAME + (size_t)r->n_items * item + attention_size(r);
}

int api_predict_finish(struct request *r)
{
    reply_open(r, "predictions");
    for (int i = 0; i < r->n_items; i++)
        write_item(r, &r->items[i], r->jobs[i]);
    return reply_close(r);
}
