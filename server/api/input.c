/* input: see input.h. Tokens of all items stand in one array that the request
 * keeps for its next use; the engine copies them.
 *
 * SPDX-License-Identifier: MIT */
#include "server/api/input.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "server/api/language.h"
#include "server/api/route.h"
#include "server/http/unread.h"

int input_body(struct request *r)
{
    const struct json_limits lim = {(size_t)r->sv->cfg->max_body, 0, 0};
    struct err e = ERR_INIT;
    const char *body = r->body ? r->body : "", *like = r->route->example;
    if (json_parse_nul(body, r->body_len, &lim, &r->json, &e) < 0) {
        if (e.code == ERR_NOMEM)
            return err_nomem(&r->err);
        if (e.code == ERR_TOO_LARGE)
            return err_set_at(&r->err, e.code, "body_too_large", NULL, "%s",
                              e.msg);
        return err_set_at(&r->err, e.code, "invalid_json", NULL,
                          "%s; expected an object like %s", e.msg, like);
    }
    if (json_type(r->json) != JSON_OBJECT)
        return err_set_at(&r->err, ERR_INVALID, "invalid_json", NULL,
                          "the body is %s, expected an object like %s",
                          json_type_name(json_type(r->json)), like);
    return 0;
}

static int read_params(struct request *r, const struct field *f, int n,
                       int open, struct input_params *p)
{
    p->timeout_ms = r->sv->cfg->timeout_ms;
    if (input_body(r) < 0 ||
        (open ? fields_read_open(r->json, f, n, p, &r->err)
              : fields_read(r->json, f, n, p, &r->err)) < 0)
        return -1;
    if (p->timeout_ms > 0)
        r->deadline_us = r->complete_us + p->timeout_ms * 1000;
    return 0;
}

int input_params(struct request *r, const struct field *f, int n,
                 struct input_params *p)
{
    return read_params(r, f, n, 0, p);
}

int input_params_open(struct request *r, const struct field *f, int n,
                      struct input_params *p)
{
    return read_params(r, f, n, 1, p);
}

int input_model(struct request *r, const char *name, const struct task *task)
{
    struct err e = ERR_INIT;
    if (engine_model(r->sv->engine, name, task, &r->model, &e) == 0)
        return 0;
    r->err = e;
    if (!*e.param)
        snprintf(r->err.param, sizeof r->err.param, "model");
    return -1;
}

int64_t input_default_tokens(const struct request *r, int64_t otherwise)
{
    const int64_t most = r->sv->cfg->max_output_tokens;
    const struct model_info *info = model_get_info(r->model);
    int64_t n = info->target.max_new;

    n = n > 0 ? n : info->sample.max_new;
    n = n > 0 ? n : otherwise;
    return n < most ? n : most;
}

void input_param(const struct request *r, int i, char out[32])
{
    if (r->single)
        snprintf(out, 32, "input");
    else
        snprintf(out, 32, "input[%d]", i);
}

static int bad_input(struct request *r, const char *param, const char *msg)
{
    return err_set_at(&r->err, ERR_INVALID, "invalid_value", param, "%s", msg);
}

/* r->items for the members of `input`, of this type each. */
static int make_items(struct request *r, const struct json *input,
                      enum json_type type, const char *what)
{
    char param[32];
    int64_t most = r->sv->cfg->max_batch;
    r->n_items = r->single ? 1 : json_size(input);
    if (r->n_items == 0)
        return bad_input(r, "input", "input is an empty list");
    if (r->n_items > most)
        return err_set_at(&r->err, ERR_TOO_LARGE, "batch_too_large", "input",
                          "input has %d items, at most %lld are allowed",
                          r->n_items, (long long)most);
    const struct json *v = r->single ? NULL : json_child(input);
    for (int i = 0; v; v = json_next(v), i++)
        if (json_type(v) != type) {
            input_param(r, i, param);
            return bad_input(r, param, what);
        }
    r->items = &r->item1;
    if (r->n_items > 1)
        r->items = mem_zarray((size_t)r->n_items, sizeof(struct item));
    if (!r->items)
        return err_nomem(&r->err);
    for (int i = 0; i < r->n_items; i++) {
        r->items[i].req = r;
        r->items[i].index = i;
    }
    return 0;
}

int input_read(struct request *r, const struct json *input)
{
    if (!input)
        return bad_input(r, "input", "input is missing");
    r->single = json_type(input) == JSON_STRING;
    if (!r->single && json_type(input) != JSON_ARRAY)
        return bad_input(r, "input",
                         "input is neither a string nor a list of strings");
    return make_items(r, input, JSON_STRING,
                      "an item of input is not a string");
}

const struct json *input_at(const struct request *r, const struct json *input,
                            int i, const struct json *before)
{
    if (r->single)
        return input;
    return i == 0 ? json_child(input) : json_next(before);
}

static int grow_ids(struct request *r, size_t more)
{
    if (r->n_ids + more <= r->ids_cap)
        return 0;
    size_t cap = r->ids_cap ? r->ids_cap : 256;
    while (cap < r->n_ids + more)
        cap *= 2;
    int32_t *ids = mem_grow(r->ids, cap, sizeof *ids);
    if (!ids)
        return err_nomem(&r->err);
    r->ids = ids;
    r->ids_cap = cap;
    return 0;
}

const struct tokenizer *input_tokenizer(const struct request *r)
{
    return input_port(r) == PORT_SOURCE ? model_source_tokenizer(r->model)
                                        : model_tokenizer(r->model);
}

/* Copy r->tokens, cut to `limit` tokens, behind the other items' tokens. Those
 * around the text stay; `lead` comes between them and the text. */
static int keep_tokens(struct request *r, struct item *it, int limit, int keep,
                       int before, int after, int lead)
{
    const struct token *v = r->tokens.v;
    int n = r->tokens.n, from = before, room = n - before - after;
    it->truncated = n > limit;
    if (it->truncated && before + after >= limit)
        before = after = from = 0;
    if (it->truncated) {
        room = limit - before - after;
        from = keep == KEEP_LAST ? n - after - room : before;
    }
    it->n = before + (lead > 0) + room + after;
    it->first = r->n_ids;
    if (grow_ids(r, (size_t)it->n) < 0)
        return -1;
    int32_t *out = r->ids + r->n_ids;
    for (int i = 0; i < before; i++)
        *out++ = v[i].id;
    if (lead > 0)
        *out++ = lead - 1;
    for (int i = 0; i < room; i++)
        *out++ = v[from + i].id;
    for (int i = n - after; i < n; i++)
        *out++ = v[i].id;
    r->n_ids += (size_t)it->n;
    return 0;
}

/* "" and text without tokens: the begin token alone, where that means
 * something. */
static int empty_item(struct request *r, const char *param, int empty_ok)
{
    int32_t bos = tokenizer_bos(input_tokenizer(r));
    if ((!empty_ok || bos < 0) && r->tokens.n_unknown > 0)
        return bad_input(r, param, "the vocabulary has no part of the text");
    if (!empty_ok)
        return bad_input(r, param, "the text is empty");
    if (bos < 0)
        return bad_input(r, param,
                         "the text is empty and the model has no token for "
                         "the start of a text");
    r->tokens.n = 0;
    if (r->tokens.cap == 0) {
        r->tokens.v = mem_array(16, sizeof *r->tokens.v);
        if (!r->tokens.v)
            return err_nomem(&r->err);
        r->tokens.cap = 16;
    }
    r->tokens.v[0].id = bos;
    r->tokens.v[0].start = r->tokens.v[0].end = 0;
    r->tokens.n = 1;
    return 0;
}

static int too_long(struct request *r, const char *param, int limit)
{
    return err_set_at(&r->err, ERR_TOO_LARGE, "context_length_exceeded", param,
                      "the text has more than %d tokens (truncate: true "
                      "cuts it)",
                      limit);
}

size_t input_trimmed(const struct json *text)
{
    const char *s = json_string(text);
    size_t n = json_string_len(text);
    while (n > 0 && s[n - 1] == ' ')
        n--;
    return n;
}

/* The bytes [skip, end) of a text into r->tokens. One with U+0000 is copied. */
static int encode_text(struct request *r, const struct json *text, size_t skip,
                       size_t end, unsigned flags, int most, struct err *e)
{
    const struct tokenizer *t = input_tokenizer(r);
    const char *s = json_string(text) + skip;
    size_t n = end - skip, behind = json_string_len(text) - end;
    struct buf copy;
    r->tokens.n = r->tokens.n_unknown = 0;
    if (!memchr(s, 0xc0, n)) /* no byte of UTF-8 */
        return tokenizer_encode(t, s, n, flags, most, &r->tokens, e);
    buf_init(&copy, json_string_len(text));
    int rc = json_text(text, &copy) < 0
                 ? err_nomem(e)
                 : tokenizer_encode(t, copy.p + skip, copy.len - skip - behind,
                                    flags, most, &r->tokens, e);
    buf_fini(&copy);
    return rc;
}

/* The tokens that are kept of n: a text that is cut leaves room for what is to
 * come behind it; one that just fits is not cut for that. */
static int most_kept(const struct request *r, const struct input_params *p,
                     int n, int limit)
{
    const struct model_info *info = model_get_info(r->model);
    if (n <= limit || info->state.port[PORT_TARGET].context_length == 0 ||
        input_port(r) != PORT_TARGET)
        return limit;
    return limit - (int)(p->room < limit / 2 ? p->room : limit / 2);
}

static int encode_item(struct request *r, const struct json *text, int i,
                       const struct input_params *p, int keep, unsigned how)
{
    struct item *it = &r->items[i];
    int port = input_port(r), lead = p->lead, before, after;
    size_t skip = 0;
    const struct model_info *info = model_get_info(r->model);
    /* A text goes on where it stops, but not one that is read as it is. */
    int ends = info->state.port[port].whole || info->cols[OUT_CLASS];
    struct err e = ERR_INIT;
    char param[32];
    input_param(r, i, param);
    if (how & ENCODE_LANGUAGE &&
        language_in_text(r, text, param, &skip, &lead) < 0)
        return -1;
    int limit = p->most > 0 ? p->most : model_max_tokens(r->model, port);
    limit -= lead > 0;
    tokenizer_frame(input_tokenizer(r), &before, &after);
    unsigned flags = (before + after ? TOK_ADD_SPECIAL : 0) |
                     (how & ENCODE_PARSE ? TOK_PARSE_SPECIAL : 0);
    int most = limit + (ends ? 0 : after);
    size_t end = json_string_len(text), trimmed = input_trimmed(text);
    if (how & ENCODE_TRIM &&
        (trimmed > 0 || tokenizer_bos(input_tokenizer(r)) >= 0))
        end = trimmed;
    if (encode_text(r, text, skip, end, flags, p->truncate ? INT_MAX : most,
                    &e) < 0) {
        if (e.code != ERR_TOO_LARGE)
            return err_set_at(&r->err, e.code, e.reason, param, "%s", e.msg);
        return too_long(r, param, limit);
    }
    if (!ends) {
        r->tokens.n -= after;
        after = 0;
    }
    it->unknown = r->tokens.n_unknown;
    if (r->tokens.n <= before + after && !(after && (how & ENCODE_EMPTY)) &&
        empty_item(r, param, (how & ENCODE_EMPTY) != 0) < 0)
        return -1;
    return keep_tokens(r, it, most_kept(r, p, r->tokens.n, limit), keep,
                       before < r->tokens.n ? before : r->tokens.n, after,
                       lead);
}

int input_port(const struct request *r)
{
    return model_get_info(r->model)->state.n_ports > 1 ? PORT_SOURCE
                                                       : PORT_TARGET;
}

int input_reads_text(struct request *r)
{
    if (model_tokenizer(r->model))
        return 0;
    return err_set_at(&r->err, ERR_UNSUPPORTED, "task_not_supported", "model",
                      "model '%s' reads no text", model_name(r->model));
}

int input_encode(struct request *r, const struct input_params *p, int keep,
                 unsigned how)
{
    const struct json *v = NULL;
    if (input_reads_text(r) < 0 || input_read(r, p->input) < 0)
        return -1;
    for (int i = 0; i < r->n_items; i++) {
        v = input_at(r, p->input, i, v);
        if (encode_item(r, v, i, p, keep, how) < 0)
            return -1;
    }
    return 0;
}

/* Tokens that the client sends itself, as item i: nothing is put around. Those
 * that are cut off have to be ids, too. */
static int keep_ids(struct request *r, int i, const struct json *ids,
                    int truncate)
{
    struct item *it = &r->items[i];
    int limit = model_max_tokens(r->model, PORT_TARGET);
    int size = tokenizer_size(model_tokenizer(r->model)), n = json_size(ids);
    char param[32];
    input_param(r, i, param);
    if (n == 0)
        return bad_input(r, param, "a list of tokens is empty");
    if (n > limit && !truncate)
        return too_long(r, param, limit);
    it->truncated = n > limit;
    it->n = it->truncated ? limit : n;
    it->first = r->n_ids;
    if (grow_ids(r, (size_t)it->n) < 0)
        return -1;
    const struct json *v = json_child(ids);
    for (int k = 0; k < n; k++, v = json_next(v)) {
        int64_t id;
        if (json_int(v, &id) < 0 || id < 0 || id >= size)
            return bad_input(r, param, "a token is no id of the vocabulary");
        if (k < it->n)
            r->ids[r->n_ids++] = (int32_t)id;
    }
    return 0;
}

int input_take_ids(struct request *r, const struct input_params *p)
{
    const struct json *v = json_child(p->input);
    if (input_reads_text(r) < 0)
        return -1;
    r->single = v && json_type(v) == JSON_NUMBER;
    if (make_items(r, p->input, JSON_ARRAY,
                   "an item of input is not a list of tokens") < 0)
        return -1;
    if (r->single)
        return keep_ids(r, 0, p->input, p->truncate);
    for (int i = 0; v; v = json_next(v), i++)
        if (keep_ids(r, i, v, p->truncate) < 0)
            return -1;
    return 0;
}

int input_submit(struct request *r, const struct job_spec *spec)
{
    return input_submit_each(r, spec, 0);
}

int input_submit_each(struct request *r, const struct job_spec *spec,
                      size_t step)
{
    struct job_spec one, *specs = &one;
    const int32_t *start = &model_get_info(r->model)->target.start;
    int port = input_port(r);
    if (r->route->size && unread_fits(r, r->route->size(r)) < 0)
        return -1; /* before anything is computed */
    if (r->n_items > 1)
        specs = mem_array((size_t)r->n_items, sizeof *specs);
    if (!specs)
        return err_nomem(&r->err);
    for (int i = 0; i < r->n_items; i++) {
        specs[i] = *spec;
        if (step > 0)
            specs[i].params = (const char *)spec->params + (size_t)i * step;
        specs[i].model = r->model;
        if (port != PORT_TARGET)
            specs[i].in[PORT_TARGET] = (struct span){.p = start, .n = 1};
        specs[i].in[port] =
            (struct span){.p = r->ids + r->items[i].first, .n = r->items[i].n};
    }
    int rc = request_submit(r, specs);
    if (specs != &one)
        mem_free(specs);
    if (rc < 0 && r->single && !strncmp(r->err.param, "input[", 6))
        snprintf(r->err.param, sizeof r->err.param, "input");
    if (rc == 0) {
        json_free(r->json);
        r->json = NULL;
    }
    return rc < 0 ? -1 : 1;
}
