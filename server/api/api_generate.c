/* api_generate: POST /generate, a continuation, whole or streamed.
 *
 * A seed that is not given is drawn here and reported, so that every answer
 * can be had again. All items of a list use the request's seed: an item's text
 * depends on its input, never on its place. `truncate` keeps the last tokens,
 * fewer than the context has: else it would be full after one more; of a source
 * the first, which say what is to be done with it (a task, a language).
 *
 * SPDX-License-Identifier: MIT */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/rng.h"
#include "engine/base/utf8.h"
#include "engine/run/task/generate.h"
#include "server/api/api.h"
#include "server/api/hint.h"
#include "server/api/language.h"
#include "server/api/reply.h"
#include "server/http/sse.h"
#include "server/api/input.h"

#define DEFAULT_TOKENS 64
#define MAX_STOP 16
#define MAX_STOP_POINTS 256 /* of the engine's 1024 bytes */
#define MAX_BIAS 1024
#define TOKEN_BYTES 64 /* of a token with its logprob, rather too many */
#define MOST_BIAS 100.0

struct generate_request {
    struct input_params in;
    const struct json *stop;
    const struct json *logit_bias, *logprobs;
    const char *constraint;
    int stream;
    int64_t top_k, max_tokens, seed, n;
    double temperature, top_p, min_p, repetition_penalty;
    double presence_penalty, frequency_penalty;
};

#define GENERATE_AT(field) offsetof(struct generate_request, field)

static const struct field fields[] = {
    INPUT_FIELDS,
    {"max_tokens", FIELD_INT, 0, 1 << 20, GENERATE_AT(max_tokens)},
    {"temperature", FIELD_NUMBER, 0, 100, GENERATE_AT(temperature)},
    {"top_k", FIELD_INT, 0, 1 << 24, GENERATE_AT(top_k)},
    {"top_p", FIELD_NUMBER, 0, 1, GENERATE_AT(top_p)},
    {"min_p", FIELD_NUMBER, 0, 1, GENERATE_AT(min_p)},
    {"repetition_penalty", FIELD_NUMBER, 0.01, 100,
     GENERATE_AT(repetition_penalty)},
    {"seed", FIELD_INT, 0, MAX_SEED, GENERATE_AT(seed)},
    {"stop", FIELD_ANY, 0, 0, GENERATE_AT(stop)},
    {"constraint", FIELD_TEXT, 0, 0, GENERATE_AT(constraint)},
    {"stream", FIELD_BOOL, 0, 0, GENERATE_AT(stream)},
    {"n", FIELD_INT, 1, MOST_CHOICES, GENERATE_AT(n)},
    {"presence_penalty", FIELD_NUMBER, -2, 2, GENERATE_AT(presence_penalty)},
    {"frequency_penalty", FIELD_NUMBER, -2, 2, GENERATE_AT(frequency_penalty)},
    {"logit_bias", FIELD_ANY, 0, 0, GENERATE_AT(logit_bias)},
    {"logprobs", FIELD_ANY, 0, 0, GENERATE_AT(logprobs)},
    {"session", FIELD_LATER, 0, 0, 0},
    {"attention", FIELD_LATER_FALSE, 0, 0, 0},
};

#define N_FIELDS ((int)(sizeof fields / sizeof *fields))

/* The limit of max_tokens is an option. */
static int read_params(struct request *r, struct generate_request *p)
{
    struct field own[N_FIELDS];
    const int64_t most = r->sv->cfg->max_output_tokens;
    memcpy(own, fields, sizeof fields);
    for (int i = 0; i < N_FIELDS; i++)
        if (own[i].kind == FIELD_INT &&
            own[i].offset == GENERATE_AT(max_tokens))
            own[i].max = (double)most;
    return input_params(r, own, N_FIELDS, &p->in);
}

static int bad(struct request *r, const char *param, const char *msg)
{
    return err_set_at(&r->err, ERR_INVALID, "invalid_value", param, "%s", msg);
}

/* What a range cannot say. */
static int check_params(struct request *r, const struct generate_request *p)
{
    if (p->temperature > 0 && p->temperature < 0.01)
        return bad(r, "temperature",
                   "temperature must be 0 (greedy) or from 0.01 to 100");
    if (!isnan(p->top_p) && p->top_p <= 0)
        return bad(r, "top_p", "top_p must be above 0");
    if (p->n > 1 && p->stream)
        return bad(r, "n", "n must be 1 where stream is true");
    return 0;
}

static int add_stop(struct request *r, const struct json *v, const char **stop,
                    int *n)
{
    size_t len = json_string_len(v);
    if (json_type(v) != JSON_STRING || len == 0)
        return bad(r, "stop", "a stop text is a string of 1 to 256 characters");
    if (memchr(json_string(v), 0xc0, len)) /* no byte of UTF-8 */
        return bad(r, "stop", "a stop text holds U+0000");
    if (utf8_count(json_string(v), len) > MAX_STOP_POINTS)
        return bad(r, "stop", "a stop text has more than 256 characters");
    if (*n == MAX_STOP)
        return bad(r, "stop", "there are more than 16 stop texts");
    stop[(*n)++] = json_string(v);
    return 0;
}

static int read_stop(struct request *r, const struct json *v, const char **stop,
                     int *n)
{
    *n = 0;
    if (!v)
        return 0;
    if (json_type(v) != JSON_ARRAY)
        return add_stop(r, v, stop, n);
    for (v = json_child(v); v; v = json_next(v))
        if (add_stop(r, v, stop, n) < 0)
            return -1;
    return 0;
}

/* {"ID": number, ...}; what the vocabulary has is the task's to say. */
static int read_bias(struct request *r, const struct json *v,
                     struct logit_bias *out, int *n)
{
    *n = 0;
    if (!v)
        return 0;
    if (json_type(v) != JSON_OBJECT)
        return bad(r, "logit_bias",
                   "logit_bias is an object of numbers by a token's id");
    if (json_size(v) > MAX_BIAS)
        return bad(r, "logit_bias", "logit_bias has more than 1024 tokens");
    for (v = json_child(v); v; v = json_next(v)) {
        const char *key = json_key(v);
        size_t len = strlen(key);
        if (len == 0 || len > 9 || strspn(key, "0123456789") < len)
            return bad(r, "logit_bias",
                       "a name in logit_bias is a token's id, as /tokenize "
                       "says it");
        if (json_type(v) != JSON_NUMBER || !(fabs(json_number(v)) <= MOST_BIAS))
            return bad(r, "logit_bias",
                       "a bias must be a number from -100 to 100");
        out[(*n)++] = (struct logit_bias){.id = (int32_t)strtol(key, NULL, 10),
                                          .x = (float)json_number(v)};
    }
    return 0;
}

/* Where the request says nothing the model's files do, else nothing is done. */
static void set_defaults(struct request *r, struct generate_request *p)
{
    const struct sample_rules *s = &model_get_info(r->model)->sample;
    if (isnan(p->temperature))
        p->temperature = s->temperature >= 0 ? s->temperature : 1;
    if (isnan(p->top_p))
        p->top_p = s->top_p >= 0 ? s->top_p : 1;
    if (p->top_k < 0)
        p->top_k = s->top_k >= 0 ? s->top_k : 0;
    if (p->max_tokens < 0)
        p->max_tokens = input_default_tokens(r, DEFAULT_TOKENS);
}

/* false, true, or how many others each token is shown with. */
static int read_logprobs(struct request *r, const struct json *v, int *out)
{
    int64_t n = 0;
    *out = 0;
    if (!v || (json_type(v) == JSON_BOOL && !json_bool(v)))
        return 0;
    if (json_type(v) != JSON_BOOL &&
        (json_type(v) != JSON_NUMBER || json_int(v, &n) < 0 || n < 0 ||
         n > MOST_TOP_TOKENS))
        return bad(r, "logprobs",
                   "logprobs must be true, false or a whole number from 0 to "
                   "20");
    *out = 1 + (int)n;
    return 0;
}

/* The constraint by its name; the model's own where there is none. */
static int find_constraint(struct request *r, const char *name,
                           const struct constraint **out)
{
    *out = name ? NULL : model_constraint(r->model);
    if (!name || strcmp(name, "none") == 0)
        return 0;
    *out = constraint_find(name);
    if (!*out)
        return err_set_at(&r->err, ERR_INVALID, "invalid_value", "constraint",
                          "constraint must be none or %s", constraint_names());
    return 0;
}

int api_generate(struct request *r)
{
    struct generate_request p = {.temperature = NAN,
                                 .top_p = NAN,
                                 .repetition_penalty = 1.0,
                                 .top_k = -1,
                                 .max_tokens = -1,
                                 .seed = -1,
                                 .n = 1};
    const char *stop[MAX_STOP];
    struct logit_bias bias[MAX_BIAS];
    const struct constraint *constraint;
    struct language target;
    int n_stop, n_bias, scores;
    if (read_params(r, &p) < 0 || check_params(r, &p) < 0 ||
        read_stop(r, p.stop, stop, &n_stop) < 0 ||
        read_bias(r, p.logit_bias, bias, &n_bias) < 0 ||
        read_logprobs(r, p.logprobs, &scores) < 0 ||
        input_model(r, p.in.model, &task_generate) < 0 ||
        language_unsaid(r, &target) < 0 ||
        find_constraint(r, p.constraint, &constraint) < 0)
        return -1;
    set_defaults(r, &p);
    p.in.room = p.max_tokens > 0 ? p.max_tokens - 1 : 0; /* fed: all but one */
    int keep = input_port(r) == PORT_SOURCE ? KEEP_FIRST : KEEP_LAST;
    if (input_encode(r, &p.in, keep, ENCODE_EMPTY | ENCODE_LANGUAGE) < 0)
        return -1;
    r->seed = p.seed >= 0 ? (uint64_t)p.seed : rng_entropy() >> 11;
    r->stream = p.stream;
    if (r->stream && sse_begin(r, "generation.chunk") < 0)
        return -1;
    const struct generate_params params = {
        .max_tokens = (int)p.max_tokens,
        .sample = {.temperature = (float)p.temperature,
                   .top_k = (int)p.top_k,
                   .top_p = (float)fmax(p.top_p, (double)FLT_MIN),
                   .min_p = (float)p.min_p,
                   .repetition_penalty = (float)p.repetition_penalty,
                   .presence_penalty = (float)p.presence_penalty,
                   .frequency_penalty = (float)p.frequency_penalty,
                   .bias = bias,
                   .n_bias = n_bias,
                   .seed = r->seed},
        .stop = stop,
        .n_stop = n_stop,
        .stream = p.stream,
        .n = (int)p.n,
        .scores = scores,
        .constraint = constraint,
        .constraint_must = p.constraint != NULL,
        .forced_first = target.first};
    const struct job_spec spec = {.task = &task_generate, .params = &params};
    return input_submit(r, &spec);
}

static void write_score(const struct tokenizer *t, const struct token_score *s,
                        struct buf *out)
{
    size_t n = 0; /* a row may be wider than the vocabulary */
    const char *piece = tokenizer_piece(t, s->id, &n);
    buf_addf(out, "{\"id\":%d,\"text\":", (int)s->id);
    buf_add_json_string(out, piece ? piece : "", piece ? n : 0);
    buf_add_str(out, ",\"logprob\":");
    buf_add_float(out, s->logprob);
}

/* ,"tokens":[...], each with the likeliest ones in its place. */
static void write_tokens(const struct request *r,
                         const struct generate_result *res, struct buf *out)
{
    const struct tokenizer *t = model_tokenizer(r->model);
    const struct token_scores *s = res->scores;
    const struct token_score *v = s ? s->v : NULL;
    if (!s)
        return;
    buf_add_str(out, ",\"tokens\":[");
    for (int i = 0; i < s->n; i++, v += 1 + s->n_top) {
        buf_add_str(out, i ? "," : "");
        write_score(t, v, out);
        for (int k = 1; k <= s->n_top && v[k].id >= 0; k++) {
            buf_add_str(out, k > 1 ? "," : ",\"top\":[");
            write_score(t, v + k, out);
            buf_add_str(out, k == s->n_top || v[k + 1].id < 0 ? "}]" : "}");
        }
        buf_add_char(out, '}');
    }
    buf_add_char(out, ']');
}

/* The choices behind the first one. */
static void write_others(const struct request *r,
                         const struct generate_result *res, struct buf *out)
{
    for (int i = 1; i < res->n; i++) {
        buf_add_str(out,
                    i > 1 ? ",{\"text\":" : ",\"alternatives\":[{\"text\":");
        buf_add_json_string(out, res[i].text, res[i].text_len);
        buf_addf(out, ",\"finish_reason\":\"%s\"",
                 sse_finish_reason(res[i].finish));
        write_tokens(r, &res[i], out);
        buf_add_char(out, '}');
    }
    if (res->n > 1)
        buf_add_char(out, ']');
}

void api_generate_last(struct request *r, const struct item *it,
                       const struct job *j, struct buf *out)
{
    const struct generate_result *res = generate_result(j);
    buf_add_str(out, ",\"finish_reason\":\"");
    buf_add_str(out, sse_finish_reason(res->finish));
    buf_add_str(out, "\",\"seed\":");
    buf_add_int(out, (int64_t)r->seed);
    write_tokens(r, res, out);
    write_others(r, res, out);
    if (res->constraint)
        buf_addf(out, ",\"constraint\":\"%s\"",
                 res->constrained ? res->constraint->name : "none");
    hint_write(r, it, res, out);
    reply_item_tail(r, it, out);
}

/* Of texts that are there; before, nobody knows how long they will be. */
size_t api_generate_size(const struct request *r)
{
    size_t n = REPLY_FRAME;
    for (int i = 0; i < r->n_jobs; i++) {
        const struct generate_result *res = generate_result(r->jobs[i]);
        for (int k = 0; k < res->n; k++)
            n += 2 * REPLY_ITEM + res[k].text_len +
                 (res[k].scores ? TOKEN_BYTES * (size_t)res[k].scores->n *
                                      (1 + (size_t)res[k].scores->n_top)
                                : 0);
    }
    return n;
}

int api_generate_finish(struct request *r)
{
    struct buf *out = &r->out;
    reply_open(r, "generations");
    for (int i = 0; i < r->n_items; i++) {
        const struct generate_result *res = generate_result(r->jobs[i]);
        buf_add_str(out, i ? ",{\"index\":" : "{\"index\":");
        buf_add_int(out, i);
        buf_add_str(out, ",\"text\":");
        buf_add_json_string(out, res->text, res->text_len);
        api_generate_last(r, &r->items[i], r->jobs[i], out);
    }
    return reply_close(r);
}
