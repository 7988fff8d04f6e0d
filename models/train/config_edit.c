/* config_edit: see config_edit.h. The text is known to be JSON before it is
 * scanned, so the scan only has to find ends.
 *
 * SPDX-License-Identifier: MIT */
#include "models/train/config_edit.h"

#include <string.h>

#include "engine/base/json.h"

static const struct json_limits limits = {.max_bytes = (size_t)1 << 20};

static size_t skip_space(const char *s, size_t at)
{
    return at + strspn(s + at, " \t\r\n");
}

/* From the quote of a string on: behind its end. */
static size_t skip_string(const char *s, size_t at)
{
    for (at++; s[at] != '"'; at++)
        at += s[at] == '\\';
    return at + 1;
}

/* From a value on: behind it. */
static size_t skip_value(const char *s, size_t at)
{
    int depth = 0;
    do {
        if (s[at] == '"') {
            at = skip_string(s, at);
            continue;
        }
        depth += s[at] == '{' || s[at] == '[';
        depth -= s[at] == '}' || s[at] == ']';
        at++;
    } while (depth > 0 || strchr(",} \t\r\n", s[at]) == NULL);
    return at;
}

/* The members but for `key`; what is behind the last of them. */
static size_t copy_members(const char *s, size_t at, const char *key,
                           struct buf *out, int *n)
{
    size_t size = strlen(key);
    while (s[skip_space(s, at)] != '}') {
        size_t from = at, name = skip_space(s, at);
        at = skip_string(s, name);
        int same = at - name == size + 2 && !memcmp(s + name + 1, key, size);
        at = skip_space(s, skip_space(s, at) + 1); /* the colon */
        at = skip_value(s, at);
        if (!same) {
            buf_add_str(out, (*n)++ > 0 ? "," : "");
            buf_add(out, s + from, at - from);
        }
        size_t next = skip_space(s, at);
        if (s[next] == ',')
            at = next + 1;
    }
    return at;
}

/* s ends with a NUL. */
static int put(const char *s, size_t n, const char *key, const char *value,
               struct buf *out, struct err *e)
{
    struct json *j = NULL;
    int members = 0;
    size_t at = skip_space(s, 0) + 1;
    buf_add(out, s, at);
    at = copy_members(s, at, key, out, &members);
    if (value != NULL)
        buf_addf(out, "%s%s\"%s\": %s", members > 0 ? "," : "",
                 memchr(s, '\n', n) ? "\n  " : " ", key, value);
    buf_add(out, s + at, n - at);
    if (out->failed)
        return err_nomem(e);
    /* a key in disguise stands there twice now, which the parser says */
    if (json_parse_file(out->p, out->len, "config.json", &limits, &j, e) != 0)
        return -1;
    int has = json_get(j, key) != NULL;
    json_free(j);
    return has == (value != NULL)
               ? 0
               : err_set(e, ERR_FORMAT, "config.json: '%s' cannot be set", key);
}

int config_put(const char *text, size_t n, const char *key, const char *value,
               struct buf *out, struct err *e)
{
    struct json *j = NULL;
    if (json_parse_file(text, n, "config.json", &limits, &j, e) != 0)
        return -1;
    int object = json_type(j) == JSON_OBJECT;
    json_free(j);
    return object ? put(text, n, key, value, out, e)
                  : err_set(e, ERR_FORMAT, "config.json: no object");
}
