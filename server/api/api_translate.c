/* api_translate: POST /translate, a text made from a text: beams, or samples
 * where a temperature is given. Several hypotheses come best first, by their
 * scores.
 *
 * `target` is one of the model's languages: a token in front of the source, or
 * the target's forced first one (targets.h). A model of several languages that
 * forces none by itself has to be told. `truncate` keeps the first tokens.
 *
 * SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/rng.h"
#include "engine/run/task/beam.h"
#include "server/api/api.h"
#include "server/api/attention.h"
#include "server/api/input.h"
#include "server/api/language.h"
#include "server/api/reply.h"
#include "server/http/sse.h"

#define DEFAULT_BEAMS 4
#define DEFAULT_TOKENS 256

struct translate_request {
    struct input_params in;
    const char *target;
    int stream, attention;
    int64_t beams, n_best, max_tokens, seed;
    double length_penalty, temperature;
    enum beam_stop stop;
    struct language language;
};

#define TRANSLATE_AT(field) offsetof(struct translate_request, field)

static const struct field fields[] = {
    INPUT_FIELDS,
    {"target", FIELD_TEXT, 0, 0, TRANSLATE_AT(target)},
    {"beams", FIELD_INT, 1, MOST_BEAMS, TRANSLATE_AT(beams)},
    {"length_penalty", FIELD_NUMBER, -10, 10, TRANSLATE_AT(length_penalty)},
    {"max_tokens", FIELD_INT, 1, 1 << 20, TRANSLATE_AT(max_tokens)},
    {"n_best", FIELD_INT, 1, MOST_BEAMS, TRANSLATE_AT(n_best)},
    {"temperature", FIELD_NUMBER, 0, 100, TRANSLATE_AT(temperature)},
    {"seed", FIELD_INT, 0, MAX_SEED, TRANSLATE_AT(seed)},
    {"stream", FIELD_BOOL, 0, 0, TRANSLATE_AT(stream)},
    {"attention", FIELD_BOOL, 0, 0, TRANSLATE_AT(attention)},
};

#define N_FIELDS ((int)(sizeof fields / sizeof *fields))

/* The limit of max_tokens is an option. */
static int read_params(struct request *r, struct translate_request *p)
{
    struct field own[N_FIELDS];
    const int64_t most = r->sv->cfg->max_output_tokens;
    memcpy(own, fields, sizeof fields);
    for (int i = 0; i < N_FIELDS; i++)
        if (own[i].offset == TRANSLATE_AT(max_tokens))
            own[i].max = (double)most;
    return input_params(r, own, N_FIELDS, &p->in);
}

static int bad(struct request *r, const char *param, const char *msg)
{
    return err_set_at(&r->err, ERR_INVALID, "invalid_value", param, "%s", msg);
}

/* What a range cannot say. */
static int check_params(struct request *r, struct translate_request *p)
{
    int sampled = p->temperature > 0;
    if (sampled && p->temperature < 0.01)
        return bad(r, "temperature",
                   "temperature must be 0 (no chance) or from 0.01 to 100");
    if (sampled && p->beams > 1)
        return bad(r, "beams", "beams must be 1 where temperature is not 0");
    if (sampled && p->n_best > 1 && p->stream)
        return bad(r, "n_best",
                   "n_best must be 1 where stream is true and temperature is "
                   "not 0");
    return 0;
}

/* Where the request says nothing the model's files do, else the constants. */
static int set_defaults(struct request *r, struct translate_request *p)
{
    const struct target_rules *t = &model_get_info(r->model)->target;
    int sampled = p->temperature > 0;
    if (p->beams < 0)
        p->beams = sampled ? 1 : t->beams > 0 ? t->beams : DEFAULT_BEAMS;
    if (isnan(p->length_penalty))
        p->length_penalty = t->length_penalty;
    if (p->max_tokens < 0)
        p->max_tokens = input_default_tokens(r, DEFAULT_TOKENS);
    p->stop = t->stop;
    if (!sampled && p->n_best > p->beams)
        return bad(r, "n_best", "n_best must be at most beams");
    return 0;
}

/* --------------------------------------------------------------- the work */

static int submit_beams(struct request *r, const struct translate_request *p)
{
    const struct beam_params params = {.beams = (int)p->beams,
                                       .n_best = (int)p->n_best,
                                       .length_penalty = p->length_penalty,
                                       .stop = p->stop,
                                       .max_tokens = (int)p->max_tokens,
                                       .forced_first = p->language.first - 1,
                                       .stream = p->stream,
                                       .attention = p->attention};
    const struct job_spec spec = {.task = &task_beam, .params = &params};
    return input_submit(r, &spec);
}

static int submit_samples(struct request *r, const struct translate_request *p)
{
    const struct generate_params params = {
        .max_tokens = (int)p->max_tokens,
        .sample = {.temperature = (float)p->temperature,
                   .top_p = 1,
                   .repetition_penalty = 1,
                   .seed = r->seed},
        .stream = p->stream,
        .n = (int)p->n_best,
        .logprob = 1,
        .length_penalty = p->length_penalty,
        .forced_first = p->language.first,
        .attention = p->attention};
    const struct job_spec spec = {.task = &task_generate, .params = &params};
    return input_submit(r, &spec);
}

int api_translate(struct request *r)
{
    struct translate_request p = {.beams = -1,
                                  .n_best = 1,
                                  .length_penalty = NAN,
                                  .max_tokens = -1,
                                  .seed = -1};
    if (read_params(r, &p) < 0 || check_params(r, &p) < 0 ||
        input_model(r, p.in.model, &task_translate) < 0)
        return -1;
    if (set_defaults(r, &p) < 0 || language_named(r, p.target, &p.language) < 0)
        return -1;
    p.in.lead = p.language.lead;
    if (input_encode(r, &p.in, KEEP_FIRST, 0) < 0)
        return -1;
    r->seed = p.seed >= 0 ? (uint64_t)p.seed : rng_entropy() >> 11;
    r->stream = p.stream;
    r->attention = p.attention;
    if (r->stream && sse_begin(r, "translation.chunk") < 0)
        return -1;
    return p.temperature > 0 ? submit_samples(r, &p) : submit_beams(r, &p);
}

/* -------------------------------------------------------------- the answer */

struct told {
    const char *text;
    size_t len;
    float score;
    enum finish_reason finish;
    const int32_t *tokens;
    int n_tokens;
    const float *attention; /* [n_tokens][tokens of the source] or NULL */
};

/* What a job has found, best first; of equal ones the first. */
static int find_texts(const struct job *j, struct told t[MOST_BEAMS])
{
    const struct beam_result *b = beam_result(j);
    const struct generate_result *g = generate_result(j);
    int n = b ? b->n : g->n;
    for (int i = 0; b && i < n; i++)
        t[i] = (struct told){b->best[i].text,        b->best[i].text_len,
                             b->best[i].score,       b->best[i].finish,
                             b->best[i].tokens,      b->best[i].n_tokens,
                             i ? NULL : b->attention};
    for (int i = 0, at; !b && i < n; i++) {
        struct told one = {g[i].text,     g[i].text_len, g[i].score,
                           g[i].finish,   g[i].tokens,   g[i].n_tokens,
                           g[i].attention};
        for (at = i; at > 0 && t[at - 1].score < one.score; at--)
            t[at] = t[at - 1];
        t[at] = one;
    }
    return n;
}

static void write_text(const struct told *t, struct buf *out)
{
    buf_add_str(out, "\"text\":");
    buf_add_json_string(out, t->text, t->len);
}

static void write_score(const struct told *t, struct buf *out)
{
    buf_add_str(out, ",\"score\":");
    buf_add_float(out, t->score);
    buf_addf(out, ",\"finish_reason\":\"%s\"", sse_finish_reason(t->finish));
}

void api_translate_last(struct request *r, const struct item *it,
                        const struct job *j, struct buf *out)
{
    struct told t[MOST_BEAMS];
    int n = find_texts(j, t);
    write_score(&t[0], out);
    for (int i = 1; i < n; i++) {
        buf_add_str(out, i > 1 ? ",{" : ",\"alternatives\":[{");
        write_text(&t[i], out);
        write_score(&t[i], out);
        buf_add_char(out, '}');
    }
    if (n > 1)
        buf_add_char(out, ']');
    if (t[0].attention)
        attention_write_alignment(r, it, t[0].tokens, t[0].n_tokens,
                                  t[0].attention, out);
    if (!beam_result(j)) {
        buf_add_str(out, ",\"seed\":");
        buf_add_int(out, (int64_t)r->seed);
    }
    reply_item_tail(r, it, out);
}

/* Of texts that are there; before, nobody knows how long they will be. */
size_t api_translate_size(const struct request *r)
{
    struct told t[MOST_BEAMS];
    size_t n = REPLY_FRAME + attention_alignment_size(r);
    for (int i = 0; i < r->n_jobs; i++)
        for (int k = find_texts(r->jobs[i], t); k-- > 0;)
            n += 2 * REPLY_ITEM + t[k].len;
    return n;
}

int api_translate_finish(struct request *r)
{
    struct told t[MOST_BEAMS];
    struct buf *out = &r->out;
    reply_open(r, "translations");
    for (int i = 0; i < r->n_items; i++) {
        find_texts(r->jobs[i], t);
        buf_addf(out, "%s{\"index\":%d,", i ? "," : "", i);
        write_text(&t[0], out);
        api_translate_last(r, &r->items[i], r->jobs[i], out);
    }
    return reply_close(r);
}
