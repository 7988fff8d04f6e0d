/* hparams: see hparams.h. A thin layer over json: every reader states its
 * bounds, so that no number of a file is used unchecked. A GGUF file's metadata
 * is written as JSON and becomes such a tree, too: one flat object, whose keys
 * hold dots, so that a key is looked up whole there.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/checkpoint/hparams.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/buf.h"
#include "engine/base/mem.h"
#include "engine/checkpoint/gguf.h"

#define MAX_ARRAY 4096
#define MAX_STRING ((size_t)128 << 10)
#define MODEL_TYPE "model_type"
#define NOT_FINITE "not a finite number"
#define GGUF_BYTES ((size_t)8 << 20) /* of its metadata as text */

struct hparams {
    struct json *root;
    enum hparams_form form;
    char label[256];
};

static const struct json_limits limits = {HPARAMS_MAX_BYTES, 16, 1 << 16};
static const struct json_limits gguf_limits = {GGUF_BYTES, 4, 1 << 20};

/* Takes the text under a label; `out` is filled on success. */
static int parse(const char *text, size_t n, const char *label,
                 enum hparams_form form, struct hparams **out, struct err *e)
{
    *out = NULL;
    struct hparams *h = mem_zalloc(sizeof *h);
    if (!h)
        return err_nomem(e);
    h->form = form;
    snprintf(h->label, sizeof h->label, "%s", label);
    int rc = json_parse_file(text, n, label,
                             form == HPARAMS_GGUF ? &gguf_limits : &limits,
                             &h->root, e);
    if (rc == 0 && json_type(h->root) == JSON_OBJECT) {
        *out = h;
        return 0;
    }
    if (rc == 0)
        err_set(e, ERR_FORMAT, "%s: is %s, expected an object", label,
                json_type_name(json_type(h->root)));
    hparams_close(h);
    return -1;
}

int hparams_parse(const char *text, size_t n, const char *label,
                  struct hparams **out, struct err *e)
{
    return parse(text, n, label, HPARAMS_CONFIG, out, e);
}

/* --- GGUF --- */

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
    if (strcmp(gguf_key(g, i), MODEL_TYPE) == 0)
        return 0; /* ours */
    if (gguf_type(g, i) == GGUF_ARRAY)
        return gguf_len(g, i) <= MAX_ARRAY;
    if (gguf_type(g, i) == GGUF_STRING)
        return string_fits(g, i, 0);
    return 1;
}

/* Where a number is expected, a string is refused. */
static int write_not_finite(double v, struct buf *out)
{
    if (isfinite(v))
        return 0;
    buf_add_str(out, "\"" NOT_FINITE "\"");
    return 1;
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
        if (!write_not_finite(v, out))
            buf_add_float(out, (float)v);
        return;
    default:
        if (gguf_int(g, i, at, &whole) == 0) {
            buf_add_int(out, whole);
            return;
        }
        gguf_float(g, i, at, &v); /* F64, or 2^63 and over */
        if (!write_not_finite(v, out))
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

/* The text of one object: model_type, then each key that JSON can hold. */
static int write_gguf(const struct gguf *g, struct buf *out, struct err *e)
{
    int arch = gguf_find(g, "general.architecture");
    if (arch < 0 || gguf_type(g, arch) != GGUF_STRING ||
        !string_fits(g, arch, 0)) {
        return err_set(e, ERR_FORMAT,
                       "%s: metadata 'general.architecture' is missing, or no "
                       "string",
                       gguf_label(g));
    }
    buf_add_str(out, "{\"" MODEL_TYPE "\":");
    write_value(g, arch, 0, out);
    for (int i = 0; i < gguf_n_keys(g) && !out->failed; i++)
        if (is_wanted(g, i))
            write_pair(g, i, out);
    buf_add_char(out, '}');
    if (out->failed) {
        return out->len > GGUF_BYTES / 2
                   ? err_set(e, ERR_TOO_LARGE,
                             "%s: metadata of more than %zu bytes",
                             gguf_label(g), GGUF_BYTES)
                   : err_nomem(e);
    }
    return 0;
}

int hparams_gguf(const struct gguf *g, struct hparams **out, struct err *e)
{
    struct buf text;
    *out = NULL;
    buf_init(&text, GGUF_BYTES);
    int rc = write_gguf(g, &text, e) ||
             parse(text.p, text.len, gguf_label(g), HPARAMS_GGUF, out, e);
    buf_fini(&text);
    return rc ? -1 : 0;
}

/* --- the tree --- */

enum hparams_form hparams_form(const struct hparams *h)
{
    return h->form;
}

void hparams_close(struct hparams *h)
{
    if (h) {
        json_free(h->root);
        mem_free(h);
    }
}

const struct json *hparams_json(const struct hparams *h, const char *key)
{
    const struct json *j = h->root;
    if (h->form == HPARAMS_GGUF)
        return json_get(j, key);
    while (j) {
        char part[128];
        size_t n = strcspn(key, ".");
        if (n >= sizeof(part))
            return NULL;
        memcpy(part, key, n);
        part[n] = 0;
        j = json_get(j, part);
        if (key[n] == 0)
            break;
        key += n + 1;
    }
    return j;
}

/* The value of key, or NULL when it is missing or null. */
static const struct json *value(const struct hparams *h, const char *key)
{
    const struct json *j = hparams_json(h, key);
    return j && json_type(j) != JSON_NULL ? j : NULL;
}

int hparams_has(const struct hparams *h, const char *key)
{
    return value(h, key) != NULL;
}

static int missing(const struct hparams *h, const char *key, struct err *e)
{
    return err_set(e, ERR_FORMAT, "%s: '%s' is missing", h->label, key);
}

static int wrong_type(const struct hparams *h, const char *key,
                      const struct json *j, const char *expected, struct err *e)
{
    const char *text = json_string(j);
    int odd = h->form == HPARAMS_GGUF && text && strcmp(text, NOT_FINITE) == 0;
    return err_set(e, ERR_FORMAT, "%s: '%s' is %s, expected %s", h->label, key,
                   odd ? NOT_FINITE : json_type_name(json_type(j)), expected);
}

static int read_int(const struct hparams *h, const char *key,
                    const struct json *j, const int64_t range[2], int64_t *v,
                    struct err *e)
{
    if (json_type(j) != JSON_NUMBER)
        return wrong_type(h, key, j, "an integer", e);
    int64_t x;
    if (json_int(j, &x) || x < range[0] || x > range[1]) {
        return err_set(e, ERR_FORMAT, "%s: '%s' is %.15g, expected %lld..%lld",
                       h->label, key, json_number(j), (long long)range[0],
                       (long long)range[1]);
    }
    *v = x;
    return 0;
}

int hparams_int(const struct hparams *h, const char *key, int64_t min,
                int64_t max, int64_t *v, struct err *e)
{
    const int64_t range[2] = {min, max};
    const struct json *j = value(h, key);
    return j ? read_int(h, key, j, range, v, e) : missing(h, key, e);
}

int hparams_int_or(const struct hparams *h, const char *key, int64_t min,
                   int64_t max, int64_t dflt, int64_t *v, struct err *e)
{
    const int64_t range[2] = {min, max};
    const struct json *j = value(h, key);
    *v = dflt;
    return j ? read_int(h, key, j, range, v, e) : 0;
}

int hparams_float_or(const struct hparams *h, const char *key, double min,
                     double max, double dflt, double *v, struct err *e)
{
    const struct json *j = value(h, key);
    *v = dflt;
    if (!j)
        return 0;
    if (json_type(j) != JSON_NUMBER)
        return wrong_type(h, key, j, "a number", e);
    double x = json_number(j);
    if (!(x >= min && x <= max)) {
        return err_set(e, ERR_FORMAT, "%s: '%s' is %g, expected %g..%g",
                       h->label, key, x, min, max);
    }
    *v = x;
    return 0;
}

int hparams_bool_or(const struct hparams *h, const char *key, int dflt, int *v,
                    struct err *e)
{
    const struct json *j = value(h, key);
    *v = dflt;
    if (!j)
        return 0;
    if (json_type(j) != JSON_BOOL)
        return wrong_type(h, key, j, "a boolean", e);
    *v = json_bool(j);
    return 0;
}

int hparams_string(const struct hparams *h, const char *key, const char **v,
                   struct err *e)
{
    if (!value(h, key))
        return missing(h, key, e);
    return hparams_string_or(h, key, NULL, v, e);
}

int hparams_string_or(const struct hparams *h, const char *key,
                      const char *dflt, const char **v, struct err *e)
{
    const struct json *j = value(h, key);
    *v = dflt;
    if (!j)
        return 0;
    if (json_type(j) != JSON_STRING)
        return wrong_type(h, key, j, "a string", e);
    *v = json_string(j);
    return 0;
}

/* "lstm, gru or elman" */
static void list_text(const char *const *list, char *out, size_t max)
{
    size_t at = 0;
    out[0] = 0;
    for (int i = 0; list[i] && at < max; i++) {
        const char *sep = i == 0 ? "" : list[i + 1] ? ", " : " or ";
        int n = snprintf(out + at, max - at, "%s%s", sep, list[i]);
        at += n > 0 ? (size_t)n : 0;
    }
}

int hparams_choice(const struct hparams *h, const char *key,
                   const char *const *list, const char *dflt, int *v,
                   struct err *e)
{
    const char *s;
    int rc = dflt ? hparams_string_or(h, key, dflt, &s, e)
                  : hparams_string(h, key, &s, e);
    if (rc)
        return -1;
    for (int i = 0; list[i]; i++) {
        if (strcmp(s, list[i]) == 0) {
            *v = i;
            return 0;
        }
    }
    char text[160];
    list_text(list, text, sizeof(text));
    return err_set(e, ERR_FORMAT, "%s: '%s' is '%.40s', expected %s", h->label,
                   key, s, text);
}
