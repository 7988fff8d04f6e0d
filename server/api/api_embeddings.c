/* api_embeddings: POST /v1/embeddings, one vector for a text, in the shape of
 * OpenAI's API. What makes the vector of a text's tokens is the checkpoint's
 * business. An extension of ours: `truncate`, without which a text over the
 * model's length is refused and not cut in silence.
 *
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "engine/run/task/embed.h"
#include "server/api/api.h"
#include "server/api/reply.h"
#include "server/api/input.h"

struct embeddings_params {
    struct input_params in;
    const char *encoding;
    int64_t dimensions;
};

#define EMBEDDINGS_AT(field) offsetof(struct embeddings_params, field)

static const struct field fields[] = {
    INPUT_FIELDS,
    {"encoding_format", FIELD_TEXT, 0, 0, EMBEDDINGS_AT(encoding)},
    {"dimensions", FIELD_INT, 1, 1 << 20, EMBEDDINGS_AT(dimensions)},
};

static int check_format(struct request *r, const struct embeddings_params *p)
{
    int base64 = p->encoding && !strcmp(p->encoding, "base64");
    if (p->encoding && !base64 && strcmp(p->encoding, "float"))
        return err_set_at(&r->err, ERR_INVALID, "invalid_value",
                          "encoding_format",
                          "encoding_format must be \"float\" or \"base64\"");
    r->base64 = base64;
    return 0;
}

/* Vectors come as long as the model makes them. */
static int check_dimensions(struct request *r, int64_t wanted)
{
    int width = model_get_info(r->model)->cols[OUT_POOLED];
    if (wanted == 0 || wanted == width)
        return 0;
    return err_set_at(&r->err, ERR_UNSUPPORTED, "task_not_supported",
                      "dimensions", "this model has %d dimensions", width);
}

static int takes_ids(const struct json *input)
{
    const struct json *v = input ? json_child(input) : NULL;
    return v && json_type(input) == JSON_ARRAY &&
           (json_type(v) == JSON_NUMBER || json_type(v) == JSON_ARRAY);
}

int api_embeddings(struct request *r)
{
    struct embeddings_params p = {0};
    if (input_params_open(r, fields, sizeof fields / sizeof *fields, &p.in) <
            0 ||
        check_format(r, &p) < 0 ||
        input_model(r, p.in.model, &task_embed) < 0 ||
        check_dimensions(r, p.dimensions) < 0)
        return -1;
    int rc = takes_ids(p.in.input) ? input_take_ids(r, &p.in)
                                   : input_encode(r, &p.in, KEEP_FIRST,
                                                  ENCODE_EMPTY | ENCODE_PARSE);
    const struct job_spec spec = {.task = &task_embed};
    return rc < 0 ? -1 : input_submit(r, &spec);
}

/* RFC 4648 over the little-endian bytes of the floats. */
static void write_base64(struct buf *out, const float *v, int n)
{
    static const char digit[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint32_t bits = 0;
    int n_bits = 0, n_digits = 0;
    for (int i = 0; i < 4 * n; i++) {
        uint32_t u;
        memcpy(&u, &v[i / 4], sizeof u);
        bits = bits << 8 | (u >> (8 * (i % 4)) & 0xff);
        for (n_bits += 8; n_bits >= 6; n_bits -= 6, n_digits++)
            buf_add_char(out, digit[bits >> (n_bits - 6) & 63]);
    }
    if (n_bits > 0) {
        buf_add_char(out, digit[bits << (6 - n_bits) & 63]);
        n_digits++;
    }
    for (; n_digits % 4; n_digits++)
        buf_add_char(out, '=');
}

static void write_item(struct request *r, const struct item *it,
                       const struct embed_result *res)
{
    struct buf *out = &r->out;
    buf_add_str(out, it->index ? "," : "");
    buf_add_str(out, "{\"object\":\"embedding\",\"index\":");
    buf_add_int(out, it->index);
    buf_add_str(out, r->base64 ? ",\"embedding\":\"" : ",\"embedding\":[");
    if (r->base64)
        write_base64(out, res->v, res->n);
    for (int i = 0; !r->base64 && i < res->n; i++) {
        if (i)
            buf_add_char(out, ',');
        buf_add_float(out, res->v[i]);
    }
    buf_add_char(out, r->base64 ? '"' : ']');
    reply_item_tail(r, it, out);
}

size_t api_embeddings_size(const struct request *r)
{
    size_t width = (size_t)model_get_info(r->model)->cols[OUT_POOLED];
    size_t item = REPLY_ITEM +
                  (r->base64 ? (4 * width + 2) / 3 * 4 : width * REPLY_NUMBER);
    return REPLY_FRAME + (size_t)r->n_items * item;
}

int api_embeddings_finish(struct request *r)
{
    reply_open(r, "list");
    for (int i = 0; i < r->n_items; i++)
        write_item(r, &r->items[i], embed_result(r->jobs[i]));
    return reply_close(r);
}
