/* attention: see attention.h.
 *
 * SPDX-License-Identifier: MIT */
#include "server/api/attention.h"

#include <string.h>

#include "server/api/input.h"
#include "server/api/reply.h"

void piece_write(const struct tokenizer *t, int32_t id, struct buf *out)
{
    const char *p = tokenizer_text(t, id);
    size_t n = p ? strlen(p) : 0;
    if (tokenizer_level(t) == TOK_LEVEL_SUBWORD)
        p = tokenizer_piece(t, id, &n);
    buf_add_json_string(out, p ? p : "", p ? n : 0);
}

/* One head: n rows of m numbers. */
static void write_head(const float *w, int n, int m, struct buf *out)
{
    buf_add_char(out, '[');
    for (int i = 0; i < n; i++) {
        buf_add_str(out, i ? ",[" : "[");
        for (int k = 0; k < m; k++) {
            if (k)
                buf_add_char(out, ',');
            buf_add_float(out, w[i * m + k]);
        }
        buf_add_char(out, ']');
    }
    buf_add_char(out, ']');
}

static void write_tokens(const struct tokenizer *t, const int32_t *ids, int n,
                         struct buf *out)
{
    buf_add_char(out, '[');
    for (int i = 0; i < n; i++) {
        if (i)
            buf_add_char(out, ',');
        piece_write(t, ids[i], out);
    }
    buf_add_char(out, ']');
}

void attention_write(const struct request *r, const struct item *it,
                     const struct job_result *res, struct buf *out)
{
    const struct model_info *info = model_get_info(r->model);
    const float *w = res->attention;
    if (!w)
        return;
    buf_add_str(out, ",\"attention\":{\"tokens\":");
    write_tokens(model_tokenizer(r->model), r->ids + it->first, it->n, out);
    buf_add_str(out, ",\"layers\":[");
    for (int l = 0; l < info->n_layers; l++) {
        buf_add_str(out, l ? ",{\"heads\":[" : "{\"heads\":[");
        for (int h = 0; h < info->n_heads; h++) {
            if (h)
                buf_add_char(out, ',');
            write_head(w, it->n, it->n, out);
            w += it->n * it->n;
        }
        buf_add_str(out, "]}");
    }
    buf_add_str(out, "]}");
}

void attention_write_alignment(const struct request *r, const struct item *it,
                               const int32_t *ids, int n, const float *w,
                               struct buf *out)
{
    buf_add_str(out, ",\"attention\":{\"source\":");
    write_tokens(input_tokenizer(r), r->ids + it->first, it->n, out);
    buf_add_str(out, ",\"target\":");
    write_tokens(model_tokenizer(r->model), ids, n, out);
    buf_add_str(out, ",\"weights\":");
    write_head(w, n, it->n, out);
    buf_add_char(out, '}');
}

size_t attention_size(const struct request *r)
{
    const struct model_info *info = model_get_info(r->model);
    size_t heads = (size_t)info->n_layers * (size_t)info->n_heads, all = 0;
    if (!r->attention || info->cols[OUT_ATTENTION] < 1)
        return 0;
    for (int i = 0; i < r->n_items; i++) {
        size_t n = (size_t)r->items[i].n;
        if (n > MODEL_MAX_SHOWN)
            continue; /* it will be refused */
        all += n * REPLY_NUMBER + heads * (n * n * REPLY_NUMBER + 3 * n + 16);
    }
    return all;
}

size_t attention_alignment_size(const struct request *r)
{
    size_t all = 0, most = MODEL_MAX_SHOWN;

    for (int i = 0; r->attention && i < r->n_items; i++) {
        size_t m = (size_t)r->items[i].n;
        if (m <= most) /* else it will be refused */
            all += (m + most) * REPLY_NUMBER + most * (m * REPLY_NUMBER + 3);
    }
    return all;
}
