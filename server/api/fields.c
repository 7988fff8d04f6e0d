/* fields: see fields.h.
 *
 * SPDX-License-Identifier: MIT */
#include "server/api/fields.h"

#include <string.h>

#include "server/api/field_names.h"

#define MOST_MESSAGE 512

static int wrong(const struct json *v, const struct field *f, const char *want,
                 struct err *e)
{
    return err_set_at(e, ERR_INVALID, "invalid_value", f->name,
                      "%s is %s, expected %s", f->name,
                      json_type_name(json_type(v)), want);
}

static int out_of_range(const struct field *f, struct err *e)
{
    if (f->kind == FIELD_INT)
        return err_set_at(e, ERR_INVALID, "invalid_value", f->name,
                          "%s must be a whole number from %.0f to %.0f",
                          f->name, f->min, f->max);
    return err_set_at(e, ERR_INVALID, "invalid_value", f->name,
                      "%s must be from %.15g to %.15g", f->name, f->min,
                      f->max);
}

static int read_number(const struct json *v, const struct field *f, char *at,
                       struct err *e)
{
    double x = json_number(v);
    if (json_type(v) != JSON_NUMBER)
        return wrong(v, f, "a number", e);
    if (!(x >= f->min && x <= f->max))
        return out_of_range(f, e);
    if (f->kind == FIELD_NUMBER)
        memcpy(at, &x, sizeof x);
    else if (json_int(v, (int64_t *)(void *)at) < 0)
        return out_of_range(f, e);
    return 0;
}

static int later(const struct json *v, const struct field *f, struct err *e)
{
    if (f->kind == FIELD_LATER_FALSE && json_type(v) == JSON_BOOL &&
        !json_bool(v))
        return 0;
    if (f->kind == FIELD_LATER_NUMBER && json_type(v) == JSON_NUMBER &&
        json_number(v) >= f->min && json_number(v) <= f->min)
        return 0;
    return err_set_at(e, ERR_UNSUPPORTED, "task_not_supported", f->name,
                      "%s is not supported by this version", f->name);
}

static int read_field(const struct json *v, const struct field *f, char *at,
                      struct err *e)
{
    if (json_type(v) == JSON_NULL)
        return 0;
    switch (f->kind) {
    case FIELD_INT:
    case FIELD_NUMBER:
        return read_number(v, f, at, e);
    case FIELD_BOOL:
        if (json_type(v) != JSON_BOOL)
            return wrong(v, f, "true or false", e);
        *(int *)(void *)at = json_bool(v);
        return 0;
    case FIELD_TEXT:
        if (json_type(v) != JSON_STRING)
            return wrong(v, f, "a string", e);
        *(const char **)(void *)at = json_string(v);
        return 0;
    case FIELD_ANY:
        *(const struct json **)(void *)at = v;
        return 0;
    default:
        return later(v, f, e);
    }
}

static int unknown(const char *key, const struct field *f, int n, struct err *e)
{
    struct buf b;
    buf_init(&b, MOST_MESSAGE);
    field_names_teach(key, f, n, &b);
    err_set_at(e, ERR_INVALID, "unknown_field", key, "%s",
               b.len > 0 ? b.p : "unknown field");
    buf_fini(&b);
    return -1;
}

static int read_all(const struct json *body, const struct field *f, int n,
                    int open, void *out, struct err *e)
{
    for (const struct json *v = json_child(body); v; v = json_next(v)) {
        const char *key = json_key(v);
        int i = 0;
        while (i < n && strcmp(f[i].name, key))
            i++;
        if (i == n && open)
            continue;
        if (i == n)
            return unknown(key, f, n, e);
        if (read_field(v, &f[i], (char *)out + f[i].offset, e) < 0)
            return -1;
    }
    return 0;
}

int fields_read(const struct json *body, const struct field *f, int n,
                void *out, struct err *e)
{
    return read_all(body, f, n, 0, out, e);
}

int fields_read_open(const struct json *body, const struct field *f, int n,
                     void *out, struct err *e)
{
    return read_all(body, f, n, 1, out, e);
}
