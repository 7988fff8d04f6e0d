/* hparams_gguf: see hparams_gguf.h.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/checkpoint/hparams_gguf.h"

#include <math.h>
#include <string.h>

#define MAX_ARRAY 4096
#define MAX_STRING ((size_t)128 << 10)
#define MODEL_TYPE "model_type"

/* Strings that JSON cannot hold are left out, too. */
static int string_fits(const struct gguf *g, int i, size_t at)
{
    const char *s;
    size_t n;
    return gguf_string(g, i, at, &s, &n) == 0 && n <= MAX_STRING &&
           !memchr(s, 0, n);
}

static int is_wanted(const struct gguf *g, int i)
{
    double v;
    if (strcmp(gguf_key(g, i), MODEL_TYPE) == 0)
        return 0; /* ours */
    if (gguf_type(g, i) == GGUF_ARRAY)
        return gguf_len(g, i) <= MAX_ARRAY;
    if (gguf_type(g, i) == GGUF_STRING)
        return string_fits(g, i, 0);
    return gguf_float(g, i, 0, &v) || isfinite(v);
}

/* Any value, an array's element included; what JSON cannot hold is null. */
static void write_value(const struct gguf *g, int i, size_t at, struct buf *out)
{
    const char *s;
    size_t n;
    int64_t whole;
    double v = 0;
    switch (gguf_elem(g, i)) {
    case GGUF_STRING:
        if (!string_fits(g, i, at) || gguf_string(g, i, at, &s, &n)) {
            buf_add_str(out, "null");
            return;
        }
        buf_add_json_string(out, s, n);
        return;
    case GGUF_BOOL:
        gguf_float(g, i, at, &v);
        buf_add_str(out, v != 0 ? "true" : "false");
        return;
    case GGUF_F32: /* the shortest text of the float: 1e-05, not 9.9999997e-6 */
        gguf_float(g, i, at, &v);
        buf_add_float(out, (float)v);
        return;
    default:
        if (gguf_int(g, i, at, &whole) == 0) {
            buf_add_int(out, whole);
            return;
        }
        gguf_float(g, i, at, &v); /* F64, or 2^63 and over */
        buf_add_double(out, v);
    }
}

static void write_pair(const struct gguf *g, int i, struct buf *out)
{
    buf_add_char(out, ',');
    buf_add_json_string(out, gguf_key(g, i), strlen(gguf_key(g, i)));
    buf_add_char(out, ':');
    if (gguf_type(g, i) != GGUF_ARRAY) {
        write_value(g, i, 0, out);
        return;
    }
    for (size_t at = 0; at < gguf_len(g, i) && !out->failed; at++) {
        buf_add_char(out, at ? ',' : '[');
        write_value(g, i, at, out);
    }
    buf_add_str(out, gguf_len(g, i) ? "]" : "[]");
}

int hparams_gguf_write(const struct gguf *g, const char *label, struct buf *out,
                       struct err *e)
{
    int arch = gguf_find(g, "general.architecture");
    if (arch < 0 || gguf_type(g, arch) != GGUF_STRING ||
        !string_fits(g, arch, 0)) {
        return err_set(e, ERR_FORMAT,
                       "%s: metadata 'general.architecture' is missing, or no "
                       "string",
                       label);
    }
    buf_add_str(out, "{\"" MODEL_TYPE "\":");
    write_value(g, arch, 0, out);
    for (int i = 0; i < gguf_n_keys(g) && !out->failed; i++)
        if (is_wanted(g, i))
            write_pair(g, i, out);
    buf_add_char(out, '}');
    if (out->failed) {
        return out->len > HPARAMS_GGUF_BYTES / 2
                   ? err_set(e, ERR_TOO_LARGE,
                             "%s: metadata of more than %zu bytes", label,
                             HPARAMS_GGUF_BYTES)
                   : err_nomem(e);
    }
    return 0;
}
