/* hparams: see hparams.h. A thin layer over json: every reader states its
 * bounds, so that no number of a file is used unchecked. A GGUF file's metadata
 * becomes such a tree, too (hparams_gguf.c): one flat object, whose keys hold
 * dots, so that a key is looked up whole there.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/checkpoint/hparams.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/checkpoint/gguf.h"
#include "engine/checkpoint/hparams_gguf.h"

#define FILE_NAME "config.json"

struct hparams {
    struct json *root;
    enum hparams_form form;
    char label[160];
};

static const struct json_limits limits = {(size_t)1 << 20, 16, 1 << 16};
static const struct json_limits gguf_limits = {HPARAMS_GGUF_BYTES, 4, 1 << 20};

static int finish(struct hparams *h, int rc, struct hparams **out,
                  struct err *e)
{
    if (rc == 0 && json_type(h->root) != JSON_OBJECT) {
        rc = err_set(e, ERR_FORMAT, "%s: is %s, expected an object", h->label,
                     json_type_name(json_type(h->root)));
    }
    if (rc) {
        hparams_close(h);
        return -1;
    }
    *out = h;
    return 0;
}

static int open_config(struct hparams *h, const char *dir, const char *label,
                       struct err *e)
{
    char path[PATH_MAX];
    int named = label && label[0];
    snprintf(h->label, sizeof(h->label), "%s%s%s", named ? label : "",
             named ? "/" : "", FILE_NAME);
    int len = snprintf(path, sizeof(path), "%s/%s", dir, FILE_NAME);
    return len < 0 || (size_t)len >= sizeof(path)
               ? err_set(e, ERR_INVALID, "%s: path too long", h->label)
               : json_load(path, h->label, &limits, &h->root, e);
}

static int parse_text(struct hparams *h, const char *text, size_t n,
                      const struct json_limits *lim, struct err *e)
{
    struct err inner = ERR_INIT;
    if (json_parse(text, n, lim, &h->root, &inner)) {
        enum err_code code =
            inner.code == ERR_INVALID ? ERR_FORMAT : inner.code;
        return err_set(e, code, "%s: %.90s", h->label, inner.msg);
    }
    return 0;
}

static int open_gguf(struct hparams *h, const char *path, const char *label,
                     struct err *e)
{
    struct gguf *g = NULL;
    struct buf text;
    h->form = HPARAMS_GGUF;
    gguf_label(label, path, h->label, sizeof(h->label));
    if (gguf_open(path, h->label, &g, e))
        return -1;
    buf_init(&text, HPARAMS_GGUF_BYTES);
    int rc = hparams_gguf_write(g, h->label, &text, e);
    gguf_close(g);
    if (rc == 0)
        rc = parse_text(h, text.p, text.len, &gguf_limits, e);
    buf_fini(&text);
    return rc;
}

int hparams_open(const char *path, const char *label, struct hparams **out,
                 struct err *e)
{
    char file[PATH_MAX];
    *out = NULL;
    struct hparams *h = mem_zalloc(sizeof *h);
    if (!h)
        return err_nomem(e);
    int rc = gguf_find_file(path, file, sizeof(file))
                 ? open_gguf(h, file, label, e)
                 : open_config(h, path, label, e);
    return finish(h, rc, out, e);
}

enum hparams_form hparams_form(const struct hparams *h)
{
    return h->form;
}

int hparams_parse(const char *text, size_t n, const char *label,
                  struct hparams **out, struct err *e)
{
    *out = NULL;
    struct hparams *h = mem_zalloc(sizeof *h);
    if (!h)
        return err_nomem(e);
    snprintf(h->label, sizeof(h->label), "%s", label ? label : FILE_NAME);
    return finish(h, parse_text(h, text, n, &limits, e), out, e);
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
    return err_set(e, ERR_FORMAT, "%s: '%s' is %s, expected %s", h->label, key,
                   json_type_name(json_type(j)), expected);
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
