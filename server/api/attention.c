/* attention: see attention.h.
 *
 * SPDX-License-Identifier: MIT */
#include "server/api/attention.h"

#include <string.h>

#include "engine/base/utf8.h"

void piece_write(const struct tokenizer *t, int32_t id, struct buf *out)
{
    static const char wrong[] = "\xef\xbf\xbd";
    const char *p = tokenizer_text(t, id);
    size_t n = p ? strlen(p) : 0;
    struct buf b;
    uint32_t cp;
    if (tokenizer_level(t) == TOK_LEVEL_SUBWORD)
        p = tokenizer_piece(t, id, &n);
    if (!p || utf8_valid(p, n)) {
        buf_add_json_string(out, p ? p : "", p ? n : 0);
        return;
    }
    buf_init(&b, 0);
    for (size_t at = 0; at < n;) {
        int len = utf8_next(p + at, n - at, &cp);
        buf_add(&b, len ? p + at : wrong, len ? (size_t)len : 3);
        at += len ? (size_t)len : 1;
    }
    out->failed |= b.failed;
    buf_add_json_string(out, b.p ? b.p : "", b.len);
    buf_fini(&b);
}

/* One head: n rows of n numbers. */
static void write_head(const float *w, int n, struct buf *out)
{
    buf_add_char(out, '[');
    for (int i = 0; i < n; i++) {
        buf_add_str(out, i ? ",[" : "[");
        for (int k = 0; k < n; k++) {
            if (k)
                buf_add_char(out, ',');
            buf_add_float(out, w[i * n + k]);
        }
        buf_add_char(out, ']');
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
    buf_add_str(out, ",\"attention\":{\"tokens\":[");
    for (int i = 0; i < it->n; i++) {
        if (i)
            buf_add_char(out, ',');
        piece_write(model_tokenizer(r->model), r->ids[it->first + (size_t)i],
                    out);
    }
    buf_add_str(out, "],\"layers\":[");
    for (int l = 0; l < info->n_layers; l++) {
        buf_add_str(out, l ? ",{\"heads\":[" : "{\"heads\":[");
        for (int h = 0; h < info->n_heads; h++) {
            if (h)
                buf_add_char(out, ',');
            write_head(w, it->n, out);
            w += it->n * it->n;
        }
        buf_add_str(out, "]}");
    }
    buf_add_str(out, "]}");
}
