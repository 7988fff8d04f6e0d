/* marian_yml: see marian_yml.h.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/checkpoint/marian_yml.h"

#include <string.h>

#include "engine/base/utf8.h"

struct text {
    const char *label;
    int line;
    struct buf *out;
    struct err *e;
    int n_keys, n_items; /* written; items of the list under way */
    int open;            /* a key whose value has not come yet */
    int has_type;
};

static int bad(const struct text *t, const char *what)
{
    return err_set(t->e, ERR_FORMAT, "%s: line %d of its configuration %s",
                   t->label, t->line, what);
}

static int is_key_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c >= '0' && c <= '9') || c == '-' || c == '_';
}

static size_t count_digits(const char *s, size_t n)
{
    size_t i = 0;
    while (i < n && s[i] >= '0' && s[i] <= '9')
        i++;
    return i;
}

/* A number as JSON writes it. */
static int is_number(const char *s, size_t n)
{
    size_t i = n > 0 && s[0] == '-', k = count_digits(s + i, n - i);
    if (k == 0 || (k > 1 && s[i] == '0'))
        return 0;
    i += k;
    if (i < n && s[i] == '.') {
        k = count_digits(s + i + 1, n - i - 1);
        i += k ? k + 1 : 0;
    }
    if (i < n && (s[i] == 'e' || s[i] == 'E')) {
        size_t sign = i + 1 < n && (s[i + 1] == '-' || s[i + 1] == '+');
        k = count_digits(s + i + 1 + sign, n - i - 1 - sign);
        i += k ? k + 1 + sign : 0;
    }
    return i == n;
}

static int is_word(const char *s, size_t n, const char *word)
{
    return n == strlen(word) && memcmp(s, word, n) == 0;
}

static int put_value(struct text *t, const char *s, size_t n)
{
    if (is_number(s, n) || is_word(s, n, "true") || is_word(s, n, "false") ||
        is_word(s, n, "[]")) {
        buf_add(t->out, s, n);
        return 0;
    }
    if (is_word(s, n, "~")) {
        buf_add_str(t->out, "null");
        return 0;
    }
    if (n >= 2 && s[0] == '"' && s[n - 1] == '"') {
        s++;
        n -= 2;
    } else if (n == 0 || strchr("[]{}\"'&*!|>%@`#-?:,", s[0])) {
        return bad(t, "has a value of a form that is not read");
    }
    if (memchr(s, '"', n) || memchr(s, '\\', n) || memchr(s, 0, n) ||
        !utf8_valid(s, n))
        return bad(t, "has a value of a form that is not read");
    buf_add_json_string(t->out, s, n);
    return 0;
}

/* Ends the value of the key before. */
static void end_value(struct text *t)
{
    if (t->open)
        buf_add_str(t->out, t->n_items ? "]" : "null");
    t->open = t->n_items = 0;
}

static int put_item(struct text *t, const char *s, size_t n)
{
    if (!t->open)
        return bad(t, "has an item of no list");
    buf_add_char(t->out, t->n_items++ ? ',' : '[');
    return put_value(t, s, n);
}

static int put_key(struct text *t, const char *s, size_t n)
{
    size_t k = 0;
    while (k < n && is_key_char(s[k]))
        k++;
    if (k == 0 || k == n || s[k] != ':' || (k + 1 < n && s[k + 1] != ' '))
        return bad(t, "is not a key with a value");
    end_value(t);
    if (t->n_keys++)
        buf_add_char(t->out, ',');
    buf_add_json_string(t->out, s, k);
    buf_add_char(t->out, ':');
    size_t from = k + 1;
    while (from < n && s[from] == ' ')
        from++;
    t->open = from == n;
    if (is_word(s, k, "type") && from < n && is_key_char(s[from])) {
        t->has_type = 1;
        if (put_value(t, s + from, n - from))
            return -1;
        buf_addf(t->out, ",\"model_type\":\"marian-%.*s\"",
                 (int)(n - from < 64 ? n - from : 64), s + from);
        return 0;
    }
    return t->open ? 0 : put_value(t, s + from, n - from);
}

static int put_line(struct text *t, const char *s, size_t n)
{
    size_t from = 0;
    while (n > 0 && (s[n - 1] == ' ' || s[n - 1] == '\r'))
        n--;
    while (from < n && s[from] == ' ')
        from++;
    if (from == n || s[from] == '#')
        return 0;
    if (n - from > 2 && s[from] == '-' && s[from + 1] == ' ')
        return put_item(t, s + from + 2, n - from - 2);
    return from ? bad(t, "is not a key with a value") : put_key(t, s, n);
}

int marian_yml_json(const char *text, size_t n, const char *label,
                    struct buf *out, struct err *e)
{
    struct text t = {.label = label, .out = out, .e = e};
    buf_add_char(out, '{');
    for (size_t i = 0; i < n;) {
        const char *end = memchr(text + i, '\n', n - i);
        size_t len = end ? (size_t)(end - text) - i : n - i;
        t.line++;
        if (put_line(&t, text + i, len))
            return -1;
        i += len + 1;
    }
    end_value(&t);
    buf_add_char(out, '}');
    if (!t.has_type)
        return err_set(e, ERR_FORMAT, "%s: its configuration has no 'type'",
                       label);
    return out->failed ? err_nomem(e) : 0;
}
