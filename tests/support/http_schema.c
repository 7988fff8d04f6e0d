/* http_schema: see http_schema.h. The depth of recursion is that of the
 * contract's schemas.
 *
 * SPDX-License-Identifier: MIT */
#include "tests/support/http_schema.h"

#include <regex.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/utf8.h"
#include "tests/support/http_client.h"

struct check {
    const struct json *root;
    char *why;
    size_t size;
    char path[512];
};

static int fits(struct check *c, const struct json *schema,
                const struct json *v);

static int fail(struct check *c, const char *what, const char *detail)
{
    snprintf(c->why, c->size, "%s: %s %s", *c->path ? c->path : "/", what,
             detail ? detail : "");
    return 0;
}

const struct json *schema_named(const struct json *root, const char *name)
{
    return json_get(json_at(root, "components.schemas"), name);
}

const struct json *schema_resolve(const struct json *root,
                                  const struct json *schema)
{
    for (int i = 0; schema && i < 16; i++) {
        const char *ref = json_string(json_get(schema, "$ref"));
        if (!ref)
            return schema;
        const char *name = strrchr(ref, '/');
        schema = json_get(json_at(root, strstr(ref, "/responses/")
                                            ? "components.responses"
                                            : "components.schemas"),
                          name ? name + 1 : "");
    }
    return schema;
}

static int is_type(const char *name, const struct json *v)
{
    int64_t n;
    switch (json_type(v)) {
    case JSON_NULL:
        return !strcmp(name, "null");
    case JSON_BOOL:
        return !strcmp(name, "boolean");
    case JSON_STRING:
        return !strcmp(name, "string");
    case JSON_ARRAY:
        return !strcmp(name, "array");
    case JSON_OBJECT:
        return !strcmp(name, "object");
    case JSON_NUMBER:
        break;
    }
    return !strcmp(name, "number") ||
           (!strcmp(name, "integer") && json_int(v, &n) == 0);
}

static int check_type(struct check *c, const struct json *type,
                      const struct json *v)
{
    if (json_type(type) == JSON_STRING)
        return is_type(json_string(type), v) ||
               fail(c, "is not of type", json_string(type));
    for (const struct json *t = json_child(type); t; t = json_next(t))
        if (is_type(json_string(t), v))
            return 1;
    return fail(c, "is of none of the types", NULL);
}

static int same(const struct json *a, const struct json *b)
{
    if (json_type(a) != json_type(b))
        return 0;
    if (json_type(a) == JSON_STRING)
        return !strcmp(json_string(a), json_string(b));
    if (json_type(a) == JSON_BOOL)
        return json_bool(a) == json_bool(b);
    if (json_type(a) == JSON_NULL)
        return 1;
    return json_type(a) == JSON_NUMBER && json_number(a) >= json_number(b) &&
           json_number(a) <= json_number(b);
}

static int check_enum(struct check *c, const struct json *list,
                      const struct json *v)
{
    for (const struct json *x = json_child(list); x; x = json_next(x))
        if (same(x, v))
            return 1;
    return fail(c, "is none of the listed values:",
                json_type(v) == JSON_STRING ? json_string(v) : "");
}

static int check_required(struct check *c, const struct json *names,
                          const struct json *v)
{
    for (const struct json *x = json_child(names); x; x = json_next(x))
        if (json_type(v) == JSON_OBJECT && !json_get(v, json_string(x)))
            return fail(c, "lacks", json_string(x));
    return 1;
}

static int inside(struct check *c, const char *part, const struct json *schema,
                  const struct json *v)
{
    size_t n = strlen(c->path);
    snprintf(c->path + n, sizeof c->path - n, "/%s", part);
    int ok = fits(c, schema, v);
    if (ok)
        c->path[n] = '\0';
    return ok;
}

static int check_members(struct check *c, const struct json *properties,
                         const struct json *v)
{
    if (json_type(v) != JSON_OBJECT)
        return 1;
    for (const struct json *m = json_child(v); m; m = json_next(m)) {
        const struct json *s = json_get(properties, json_key(m));
        if (s && !inside(c, json_key(m), s, m))
            return 0;
    }
    return 1;
}

static int check_names(struct check *c, const struct json *schema,
                       const struct json *more, const struct json *v)
{
    const struct json *p = json_get(schema, "properties");
    if (json_type(v) != JSON_OBJECT || json_bool(more))
        return 1;
    for (const struct json *m = json_child(v); m; m = json_next(m))
        if (!json_get(p, json_key(m)))
            return fail(
                c, "has a member that is not in the contract:", json_key(m));
    return 1;
}

static int check_items(struct check *c, const struct json *schema,
                       const struct json *v)
{
    int i = 0;
    char part[16];
    if (json_type(v) != JSON_ARRAY)
        return 1;
    for (const struct json *x = json_child(v); x; x = json_next(x), i++) {
        snprintf(part, sizeof part, "%d", i);
        if (!inside(c, part, schema, x))
            return 0;
    }
    return 1;
}

/* How many of a list of schemas v fits. */
static int count_fits(const struct check *c, const struct json *list,
                      const struct json *v)
{
    int n = 0;
    for (const struct json *s = json_child(list); s; s = json_next(s)) {
        struct check part = *c;
        n += fits(&part, s, v);
    }
    return n;
}

static int check_all_of(struct check *c, const struct json *list,
                        const struct json *v)
{
    for (const struct json *s = json_child(list); s; s = json_next(s))
        if (!fits(c, s, v))
            return 0;
    return 1;
}

static int check_pattern(struct check *c, const char *pattern,
                         const struct json *v)
{
    regex_t r;
    if (json_type(v) != JSON_STRING)
        return 1;
    if (regcomp(&r, pattern, REG_EXTENDED | REG_NOSUB))
        return fail(c, "a pattern that POSIX does not read:", pattern);
    int ok = regexec(&r, json_string(v), 0, NULL, 0) == 0;
    regfree(&r);
    return ok || fail(c, "breaks the pattern", pattern);
}

static size_t length(const struct json *v)
{
    return utf8_count(json_string(v), json_string_len(v));
}

static int check_bound(struct check *c, const char *key, double bound,
                       const struct json *v)
{
    int ok = 1;
    if (!strcmp(key, "minLength"))
        ok = json_type(v) != JSON_STRING || length(v) >= (size_t)bound;
    else if (!strcmp(key, "maxLength"))
        ok = json_type(v) != JSON_STRING || length(v) <= (size_t)bound;
    else if (!strcmp(key, "minItems"))
        ok = json_type(v) != JSON_ARRAY || json_size(v) >= (int)bound;
    else if (!strcmp(key, "maxItems"))
        ok = json_type(v) != JSON_ARRAY || json_size(v) <= (int)bound;
    else if (json_type(v) != JSON_NUMBER)
        ok = 1;
    else if (!strcmp(key, "minimum"))
        ok = json_number(v) >= bound;
    else if (!strcmp(key, "maximum"))
        ok = json_number(v) <= bound;
    else if (!strcmp(key, "exclusiveMinimum"))
        ok = json_number(v) > bound;
    return ok || fail(c, "breaks", key);
}

static int is_any(const char *key, const char *list)
{
    size_t n = strlen(key);
    for (const char *p = list; (p = strstr(p, key)) != NULL; p += n)
        if ((p == list || p[-1] == ' ') && (p[n] == ' ' || !p[n]))
            return 1;
    return 0;
}

static int check_keyword(struct check *c, const struct json *schema,
                         const struct json *k, const struct json *v)
{
    const char *key = json_key(k);
    if (is_any(key, "description default x-status x-errors"))
        return 1;
    if (!strcmp(key, "type"))
        return check_type(c, k, v);
    if (!strcmp(key, "enum"))
        return check_enum(c, k, v);
    if (!strcmp(key, "const"))
        return same(k, v) || fail(c, "is not the constant", json_string(k));
    if (!strcmp(key, "required"))
        return check_required(c, k, v);
    if (!strcmp(key, "properties"))
        return check_members(c, k, v);
    if (!strcmp(key, "additionalProperties"))
        return check_names(c, schema, k, v);
    if (!strcmp(key, "items"))
        return check_items(c, k, v);
    if (!strcmp(key, "oneOf"))
        return count_fits(c, k, v) == 1 || fail(c, "fits not one of", key);
    if (!strcmp(key, "anyOf"))
        return count_fits(c, k, v) > 0 || fail(c, "fits none of", key);
    if (!strcmp(key, "allOf"))
        return check_all_of(c, k, v);
    if (!strcmp(key, "pattern"))
        return check_pattern(c, json_string(k), v);
    if (is_any(key, "minimum maximum exclusiveMinimum minLength maxLength "
                    "minItems maxItems"))
        return check_bound(c, key, json_number(k), v);
    return fail(c, "unknown keyword in the contract:", key);
}

static int fits(struct check *c, const struct json *schema,
                const struct json *v)
{
    schema = schema_resolve(c->root, schema);
    if (!schema)
        return fail(c, "a reference leads nowhere", NULL);
    for (const struct json *k = json_child(schema); k; k = json_next(k))
        if (!check_keyword(c, schema, k, v))
            return 0;
    return 1;
}

int schema_check(const struct json *root, const struct json *schema,
                 const struct json *v, char *why, size_t size)
{
    struct check c = {root, why, size, ""};
    return fits(&c, schema, v);
}
