/* task: see task.h. Tokens of all items stand in one array that the request
 * keeps for its next use; the engine copies them.
 *
 * SPDX-License-Identifier: MIT */
#include "server/task.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/clock.h"
#include "engine/base/mem.h"

static int read_body(struct request *r, int nul)
{
    const struct json_limits lim = {(size_t)r->sv->cfg->max_body, 0, 0};
    struct err e = ERR_INIT;
    const char *body = r->body ? r->body : "";
    int rc = nul ? json_parse_nul(body, r->body_len, &lim, &r->json, &e)
                 : json_parse(body, r->body_len, &lim, &r->json, &e);
    if (rc < 0) {
        if (e.code == ERR_NOMEM)
            return err_nomem(&r->err);
        return err_set_at(&r->err, ERR_INVALID, "invalid_json", NULL, "%s",
                          e.msg);
    }
    if (json_type(r->json) != JSON_OBJECT)
        return err_set_at(&r->err, ERR_INVALID, "invalid_json", NULL,
                          "the body is %s, expected an object",
                          json_type_name(json_type(r->json)));
    return 0;
}

int task_body(struct request *r)
{
    return read_body(r, 0);
}

int task_body_nul(struct request *r)
{
    return read_body(r, 1);
}

int task_params(struct request *r, const struct field *f, int n,
                struct task_params *p)
{
    p->timeout_ms = r->sv->cfg->timeout_ms;
    if (task_body(r) < 0 || fields_read(r->json, f, n, p, &r->err) < 0)
        return -1;
    if (p->timeout_ms > 0)
        r->deadline_us = r->complete_us + p->timeout_ms * 1000;
    return 0;
}

int task_model(struct request *r, const char *name, unsigned tasks)
{
    struct err e = ERR_INIT;
    if (engine_model(r->sv->engine, name, tasks, &r->model, &e) == 0)
        return 0;
    r->err = e;
    if (!*e.param)
        snprintf(r->err.param, sizeof r->err.param, "model");
    return -1;
}

void task_param(const struct request *r, int i, char out[32])
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

int task_inputs(struct request *r, const struct json *input)
{
    char param[32];
    int64_t most = r->sv->cfg->max_batch;
    if (!input)
        return bad_input(r, "input", "input is missing");
    r->single = json_type(input) == JSON_STRING;
    if (!r->single && json_type(input) != JSON_ARRAY)
        return bad_input(r, "input",
                         "input is neither a string nor a list of strings");
    r->n_items = r->single ? 1 : json_size(input);
    if (r->n_items == 0)
        return bad_input(r, "input", "input is an empty list");
    if (r->n_items > most)
        return err_set_at(&r->err, ERR_TOO_LARGE, "batch_too_large", "input",
                          "input has %d items, at most %lld are allowed",
                          r->n_items, (long long)most);
    const struct json *v = r->single ? NULL : json_child(input);
    for (int i = 0; v; v = json_next(v), i++)
        if (json_type(v) != JSON_STRING) {
            task_param(r, i, param);
            return bad_input(r, param, "an item of input is not a string");
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

const struct json *task_input_at(const struct request *r,
                                 const struct json *input, int i,
                                 const struct json *before)
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

/* Copy r->tokens, cut to `limit` tokens, behind the other items' tokens. A
 * begin token stays in front of a tail. */
static int keep_tokens(struct request *r, struct item *it, int limit, int keep,
                       int has_bos)
{
    const struct token *v = r->tokens.v;
    int n = r->tokens.n, from = 0, head = 0;
    it->truncated = n > limit;
    if (it->truncated && keep == KEEP_LAST) {
        head = has_bos && limit > 1;
        from = n - limit + head;
    }
    it->n = it->truncated ? limit : n;
    it->first = r->n_ids;
    if (grow_ids(r, (size_t)it->n) < 0)
        return -1;
    int32_t *out = r->ids + r->n_ids;
    if (head)
        *out++ = v[0].id;
    for (int i = 0; i < it->n - head; i++)
        *out++ = v[from + i].id;
    r->n_ids += (size_t)it->n;
    return 0;
}

/* "" and text without tokens: the begin token alone, where that means
 * something. */
static int empty_item(struct request *r, const char *param, int empty_ok)
{
    int32_t bos = tokenizer_bos(model_tokenizer(r->model));
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

static int encode_item(struct request *r, const struct json *text, int i,
                       const struct task_params *p, int keep, int empty_ok)
{
    const struct tokenizer *t = model_tokenizer(r->model);
    struct item *it = &r->items[i];
    int limit = model_max_tokens(r->model);
    int bos = tokenizer_add_bos(t) && tokenizer_bos(t) >= 0;
    struct err e = ERR_INIT;
    char param[32];
    task_param(r, i, param);
    r->tokens.n = r->tokens.n_unknown = 0;
    if (tokenizer_encode(t, json_string(text), json_string_len(text),
                         bos ? TOK_ADD_SPECIAL : 0,
                         p->truncate ? INT_MAX : limit, &r->tokens, &e) < 0) {
        if (e.code != ERR_TOO_LARGE)
            return err_set_at(&r->err, e.code, e.reason, param, "%s", e.msg);
        return err_set_at(&r->err, ERR_TOO_LARGE, "context_length_exceeded",
                          param,
                          "the text has more than %d tokens (truncate: true "
                          "cuts it)",
                          limit);
    }
    it->unknown = r->tokens.n_unknown;
    if (r->tokens.n <= bos && empty_item(r, param, empty_ok) < 0)
        return -1;
    return keep_tokens(r, it, limit, keep, bos);
}

int task_encode(struct request *r, const struct task_params *p, int keep,
                int empty_ok)
{
    const struct json *v = NULL;
    if (task_inputs(r, p->input) < 0)
        return -1;
    for (int i = 0; i < r->n_items; i++) {
        v = task_input_at(r, p->input, i, v);
        if (encode_item(r, v, i, p, keep, empty_ok) < 0)
            return -1;
    }
    return 0;
}

int task_submit(struct request *r, const struct job_spec *spec)
{
    struct job_spec one, *specs = &one;
    if (r->n_items > 1)
        specs = mem_array((size_t)r->n_items, sizeof *specs);
    if (!specs)
        return err_nomem(&r->err);
    for (int i = 0; i < r->n_items; i++) {
        specs[i] = *spec;
        specs[i].model = r->model;
        specs[i].tokens = r->ids + r->items[i].first;
        specs[i].n_tokens = r->items[i].n;
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
