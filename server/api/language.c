/* language: see language.h.
 *
 * SPDX-License-Identifier: MIT */
#include "server/api/language.h"

#include <stdio.h>
#include <string.h>

#include "engine/run/engine.h"

#define LISTED 160 /* bytes of a message that lists languages */

/* Those of the request's model. */
struct languages {
    const struct target_language *l;
    int n, forced;
    int stated; /* the model itself says which one begins a target */
};

static struct languages languages_of(const struct request *r)
{
    struct languages x;
    x.n = model_languages(r->model, &x.l, &x.forced);
    x.stated = x.forced && model_get_info(r->model)->target.forced_first >= 0;
    return x;
}

static struct language language_at(const struct languages *x, int i)
{
    int id = x->l[i].id;
    return x->forced ? (struct language){.first = 1 + id}
                     : (struct language){.lead = 1 + id};
}

static int wrong_target(struct request *r, const char *given,
                        const struct languages *x)
{
    char list[LISTED + 8] = "";
    size_t at = 0;
    for (int i = 0; i < x->n; i++) {
        if (at + (size_t)x->l[i].n + 2 > LISTED) {
            memcpy(list + at, ", ...", sizeof ", ...");
            break;
        }
        at += (size_t)snprintf(list + at, sizeof list - at, "%s%.*s",
                               i ? ", " : "", x->l[i].n, x->l[i].name);
    }
    return err_set_at(&r->err, ERR_INVALID, "invalid_value", "target",
                      given ? "target is none of the model's languages: %s"
                            : "target is missing, one of: %s",
                      list);
}

int language_named(struct request *r, const char *name, struct language *out)
{
    const struct languages x = languages_of(r);
    int at = -1;
    *out = (struct language){0};
    for (int i = 0; name && i < x.n; i++)
        if (strlen(name) == (size_t)x.l[i].n &&
            memcmp(name, x.l[i].name, (size_t)x.l[i].n) == 0)
            at = i;
    if (name && x.n == 0)
        return err_set_at(&r->err, ERR_INVALID, "invalid_value", "target",
                          "the model names no languages: leave target out");
    if (!name && x.n == 1)
        at = 0;
    if (at < 0 && (name || (x.n > 0 && !x.stated)))
        return wrong_target(r, name, &x);
    if (at >= 0)
        *out = language_at(&x, at);
    return 0;
}

int language_unsaid(struct request *r, struct language *out)
{
    const struct languages x = languages_of(r);
    *out = (struct language){0};
    if (!x.forced)
        return 0;
    if (x.n > 1 && !x.stated)
        return err_set_at(
            &r->err, ERR_INVALID, "invalid_value", "model",
            "the model has to be told a language: /translate takes it");
    if (x.n == 1)
        *out = language_at(&x, 0);
    return 0;
}

int language_in_text(struct request *r, const struct json *text,
                     const char *param, size_t *skip, int *lead)
{
    const struct languages x = languages_of(r);
    const char *s = json_string(text);
    size_t len = json_string_len(text);

    if (x.n == 0 || x.forced)
        return 0;
    for (int i = 0; i < x.n; i++) {
        size_t end = 2 + (size_t)x.l[i].n; /* of ">>fr" */
        if (len < end + 2 || memcmp(s, ">>", 2) != 0 ||
            memcmp(s + 2, x.l[i].name, (size_t)x.l[i].n) != 0 ||
            memcmp(s + end, "<<", 2) != 0)
            continue;
        for (*skip = end + 2; *skip < len && s[*skip] == ' '; ++*skip)
            ;
        *lead = 1 + x.l[i].id;
        return 0;
    }
    if (x.n > 1)
        return err_set_at(&r->err, ERR_INVALID, "invalid_value", param,
                          "the text has to begin with a language of the model, "
                          "as in '>>%.*s<< text'",
                          x.l->n, x.l->name);
    *lead = 1 + x.l->id;
    return 0;
}
