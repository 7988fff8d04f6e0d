/* api_tokenize: POST /tokenize and /detokenize. No job: the tokenizer is
 * immutable, so the handler's own thread does the work. Offsets are counted
 * in code points of the item.
 *
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "engine/base/utf8.h"
#include "server/api/api.h"
#include "server/api/reply.h"
#include "server/api/input.h"
#include "server/http/unread.h"

/* Tokens in one answer: some 10 MB of JSON. */
#define MAX_LISTED 262144
#define MAX_TEXT ((size_t)64 << 20) /* of a list of tokens */
/* {"id":12345,"text":"","start":1234567,"end":1234567}, */
#define TOKEN_BYTES 54

struct tokenize_params {
    const char *model;
    const struct json *input;
    int add_special, parse_special;
};

#define TOKENIZE_AT(field) offsetof(struct tokenize_params, field)

static const struct field tokenize_fields[] = {
    {"model", FIELD_TEXT, 0, 0, TOKENIZE_AT(model)},
    {"input", FIELD_ANY, 0, 0, TOKENIZE_AT(input)},
    {"add_special", FIELD_BOOL, 0, 0, TOKENIZE_AT(add_special)},
    {"parse_special", FIELD_BOOL, 0, 0, TOKENIZE_AT(parse_special)},
};

/* Byte offsets that ascend, turned into code points: each byte is looked at
 * once. */
struct points {
    const char *text;
    uint32_t byte, point;
};

static uint32_t point_at(struct points *p, uint32_t byte)
{
    if (byte < p->byte) /* a little way back */
        p->point -= (uint32_t)utf8_count(p->text + byte, p->byte - byte);
    else
        p->point += (uint32_t)utf8_count(p->text + p->byte, byte - p->byte);
    p->byte = byte;
    return p->point;
}

/* One token: its text is what it stands for, U+FFFD where it holds but a part
 * of a code point. */
static void write_tokens(struct request *r, const struct item *it,
                         const char *text)
{
    const struct tokenizer *t = input_tokenizer(r);
    struct points from = {text, 0, 0}, to = {text, 0, 0};
    struct buf *out = &r->out;
    buf_add_str(out, it->index ? ",{\"index\":" : "{\"index\":");
    buf_add_int(out, it->index);
    buf_add_str(out, ",\"tokens\":[");
    for (int i = 0; i < r->tokens.n; i++) {
        const struct token *k = &r->tokens.v[i];
        size_t n;
        const char *piece = tokenizer_piece(t, k->id, &n);
        buf_add_str(out, i ? ",{\"id\":" : "{\"id\":");
        buf_add_int(out, k->id);
        buf_add_str(out, ",\"text\":");
        buf_add_json_string(out, piece, n);
        buf_add_str(out, ",\"start\":");
        buf_add_int(out, point_at(&from, k->start));
        buf_add_str(out, ",\"end\":");
        buf_add_int(out, point_at(&to, k->end));
        buf_add_char(out, '}');
    }
    buf_add_char(out, ']');
    if (tokenizer_can_miss(t)) {
        buf_add_str(out, ",\"unknown\":");
        buf_add_int(out, r->tokens.n_unknown);
    }
    buf_add_char(out, '}');
}

/* text is scratch. */
static int tokenize_item(struct request *r, const struct json *v, int i,
                         unsigned flags, struct buf *text)
{
    struct err e = ERR_INIT;
    char param[32];
    r->tokens.n = r->tokens.n_unknown = 0;
    buf_clear(text);
    buf_add_str(text, "");
    if (json_text(v, text) < 0)
        return err_nomem(&r->err);
    if (tokenizer_encode(input_tokenizer(r), text->p, text->len, flags,
                         MAX_LISTED - r->prompt_tokens, &r->tokens, &e) < 0) {
        input_param(r, i, param);
        return err_set_at(&r->err, e.code, e.reason, param, "%s", e.msg);
    }
    size_t more = (size_t)r->tokens.n * TOKEN_BYTES + text->len + REPLY_ITEM;
    if (unread_take(r, r->out.len + more) < 0)
        return -1;
    r->prompt_tokens += r->tokens.n;
    write_tokens(r, &r->items[i], text->p);
    return 0;
}

int api_tokenize(struct request *r)
{
    struct tokenize_params p = {0};
    const struct json *v = NULL;
    struct buf text;
    int rc = 0;
    if (input_body(r) < 0 ||
        fields_read(r->json, tokenize_fields,
                    sizeof tokenize_fields / sizeof(struct field), &p,
                    &r->err) < 0 ||
        input_model(r, p.model, NULL) < 0 || input_reads_text(r) < 0 ||
        input_read(r, p.input) < 0)
        return -1;
    unsigned flags = (p.add_special ? TOK_ADD_SPECIAL : 0) |
                     (p.parse_special ? TOK_PARSE_SPECIAL : 0);
    reply_open(r, "tokens");
    buf_init(&text, (size_t)1 << 30);
    for (int i = 0; i < r->n_items && rc == 0; i++) {
        v = input_at(r, p.input, i, v);
        rc = tokenize_item(r, v, i, flags, &text);
    }
    buf_fini(&text);
    return rc < 0 ? -1 : reply_close(r);
}

/* -------------------------------------------------------------- detokenize */

struct detokenize_params {
    const char *model;
    const struct json *tokens;
};

#define DETOKENIZE_AT(field) offsetof(struct detokenize_params, field)

static const struct field detokenize_fields[] = {
    {"model", FIELD_TEXT, 0, 0, DETOKENIZE_AT(model)},
    {"tokens", FIELD_ANY, 0, 0, DETOKENIZE_AT(tokens)},
};

static int bad_tokens(struct request *r, const char *msg)
{
    return err_set_at(&r->err, ERR_INVALID, "invalid_value", "tokens", "%s",
                      msg);
}

/* The text could not be written: it is too long, or there is no memory. */
static int no_text(struct request *r, const struct buf *text)
{
    if (!text->full)
        return err_nomem(&r->err);
    return err_set_at(&r->err, ERR_TOO_LARGE, "batch_too_large", "tokens",
                      "the text has more than %zu bytes", MAX_TEXT);
}

/* A list of ids as {"index":i,"text":"..."}; text is scratch. */
static int detokenize_list(struct request *r, const struct json *list,
                           int index, struct buf *text)
{
    const struct tokenizer *t = model_tokenizer(r->model);
    struct detok d;
    int64_t id;
    detok_init(&d);
    buf_clear(text);
    for (const struct json *v = json_child(list); v; v = json_next(v)) {
        if (json_int(v, &id) < 0 || id < 0 || id >= tokenizer_size(t))
            return bad_tokens(r, "a token is not an id of the vocabulary");
        if (detok_next(t, &d, (int32_t)id, text) < 0)
            return no_text(r, text);
        r->prompt_tokens++;
    }
    if (detok_finish(t, &d, text) < 0)
        return no_text(r, text);
    if (unread_take(r, r->out.len + text->len + REPLY_ITEM) < 0)
        return -1;
    buf_add_str(&r->out, index ? ",{\"index\":" : "{\"index\":");
    buf_add_int(&r->out, index);
    buf_add_str(&r->out, ",\"text\":");
    buf_add_json_string(&r->out, text->p ? text->p : "", text->len);
    buf_add_char(&r->out, '}');
    return 0;
}

static int detokenize_all(struct request *r, const struct json *tokens)
{
    struct buf text;
    int rc = 0, i = 0;
    const struct json *v = json_child(tokens);
    buf_init(&text, MAX_TEXT);
    if (!v || json_type(v) != JSON_ARRAY)
        rc = detokenize_list(r, tokens, 0, &text);
    else
        for (; v && rc == 0; v = json_next(v), i++)
            rc = json_type(v) == JSON_ARRAY
                     ? detokenize_list(r, v, i, &text)
                     : bad_tokens(r, "tokens mixes lists and ids");
    buf_fini(&text);
    return rc;
}

int api_detokenize(struct request *r)
{
    struct detokenize_params p = {0};
    if (input_body(r) < 0 ||
        fields_read(r->json, detokenize_fields,
                    sizeof detokenize_fields / sizeof(struct field), &p,
                    &r->err) < 0 ||
        input_model(r, p.model, NULL) < 0 || input_reads_text(r) < 0)
        return -1;
    if (!p.tokens)
        return bad_tokens(r, "tokens is missing");
    if (json_type(p.tokens) != JSON_ARRAY)
        return bad_tokens(r, "tokens is not a list of ids");
    reply_open(r, "text");
    return detokenize_all(r, p.tokens) < 0 ? -1 : reply_close(r);
}
