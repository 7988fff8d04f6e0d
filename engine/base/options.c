/* options: see options.h.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/base/options.h"

#include <ctype.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/file.h"
#include "engine/base/json.h"
#include "engine/base/mem.h"

#define MAX_FILE ((size_t)2 << 20) /* of configuration */
#define FILE_WAIT_MS 10000         /* for the next bytes of a pipe */

/* The bytes of a kind's field, and what the help shows for a value. */
static const struct {
    size_t size;
    const char *form;
} kinds[] = {[OPTION_TEXT] = {sizeof(char *), "TEXT"},
             [OPTION_WORD] = {sizeof(char *), ""},
             [OPTION_CHOICE] = {sizeof(int), ""},
             [OPTION_BOOL] = {sizeof(int), ""},
             [OPTION_INT] = {sizeof(int), "N"},
             [OPTION_MIB] = {sizeof(size_t), "N"},
             [OPTION_REAL] = {sizeof(double), "X"},
             [OPTION_LIST] = {sizeof(struct string_list), "TEXT"},
             [OPTION_FILE] = {sizeof(struct option_file), "FILE"}};

struct reader {
    const struct option_table *t;
    char *values;
    enum option_source source;
    int pass; /* 0: only the name of the file is taken; 1: all else */
    struct err *e;
};

static enum option_kind kind_of(const struct option *o)
{
    return o->kind & OPTION_KIND;
}

static int is_positional(const struct option *o)
{
    return kind_of(o) != OPTION_SECTION && o->flag[0] != '-';
}

const struct option *options_row(const struct option_table *t, int i,
                                 size_t *at)
{
    for (const struct option_group *g = t->groups; g->rows; g++)
        for (const struct option *o = g->rows; o->kind != OPTION_END; o++)
            if (i-- == 0) {
                *at = g->at + o->at;
                return o;
            }
    return NULL;
}

int options_name(const struct option_table *t, const struct option *o,
                 enum option_source source, char out[OPTION_NAME])
{
    int env = source == FROM_ENV, file = source == FROM_FILE;
    out[0] = '\0';
    if (kind_of(o) == OPTION_SECTION || is_positional(o) ||
        o->kind & OPTION_NOT << source || (env && !t->env))
        return 0;
    snprintf(out, OPTION_NAME, "%s%s", env ? t->env : "",
             env || file ? o->flag + 2 : o->flag);
    for (char *p = out; (env || file) && *p; p++)
        *p = (char)(*p == '-' ? '_' : env ? toupper((unsigned char)*p) : *p);
    return 1;
}

static const struct option *find(const struct reader *r, const char *word,
                                 size_t n, size_t *at)
{
    char name[OPTION_NAME];
    const struct option *o;
    for (int i = 0; (o = options_row(r->t, i, at)); i++)
        if (options_name(r->t, o, r->source, name) && strlen(name) == n &&
            !memcmp(name, word, n))
            break;
    return o;
}

/* Edits from a [n] to b (Levenshtein 1966), a row of the matrix at a time. */
static size_t distance(const char *a, size_t n, const char *b)
{
    size_t row[OPTION_NAME], m = strlen(b);
    for (size_t j = 0; j <= m; j++)
        row[j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t corner = row[0];
        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t swap = corner + (a[i - 1] != b[j - 1]);
            size_t skip = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            corner = row[j];
            row[j] = swap < skip ? swap : skip;
        }
    }
    return row[m];
}

/* At most two wrong letters, and a third of the word, get a hint. */
static int unknown(const struct reader *r, const char *what, const char *word,
                   size_t n)
{
    char name[OPTION_NAME], best[OPTION_NAME] = "";
    const struct option *o;
    size_t at, d, least = 3;
    for (int i = 0; (o = options_row(r->t, i, &at)); i++)
        if (options_name(r->t, o, r->source, name) &&
            (d = distance(word, n, name)) < least && 3 * d <= n) {
            least = d;
            memcpy(best, name, sizeof best);
        }
    return err_set(r->e, ERR_INVALID, "unknown %s '%.60s'%s%s%s (see --help)",
                   what, word, *best ? ", did you mean " : "", best,
                   *best ? "?" : "");
}

/* ---------------------------------------------------------------- values */

void string_list_fini(struct string_list *l)
{
    for (int i = 0; i < l->n; i++)
        mem_free(l->v[i]);
    mem_free(l->v);
    memset(l, 0, sizeof *l);
}

int string_list_add(struct string_list *l, const char *s, size_t n,
                    struct err *e)
{
    char **v = mem_grow(l->v, (size_t)l->n + 1, sizeof *v);
    if (!v)
        return err_nomem(e);
    l->v = v;
    v[l->n] = mem_strndup(s, n);
    if (!v[l->n])
        return err_nomem(e);
    l->n++;
    return 0;
}

/* A source's first word ends what a weaker one said. */
static int set_list(struct string_list *l, enum option_source from,
                    const char *text, struct err *e)
{
    if (l->from != from)
        string_list_fini(l);
    l->from = from;
    if (from != FROM_ENV)
        return string_list_add(l, text, strlen(text), e);
    for (size_t n; *text; text += n + (text[n] == ',')) {
        n = strcspn(text, ",");
        if (n && string_list_add(l, text, n, e) < 0)
            return -1;
    }
    return 0;
}

/* The k-th of "a|b|c" and its length, or NULL. */
static const char *word_at(const char *form, int k, size_t *n)
{
    for (; *form; form += *n + (form[*n] == '|')) {
        *n = strcspn(form, "|");
        if (k-- == 0)
            return form;
    }
    return NULL;
}

static int place_of(const char *form, const char *text)
{
    const char *w;
    size_t n;
    for (int k = 0; (w = word_at(form, k, &n)); k++)
        if (n == strlen(text) && !memcmp(w, text, n))
            return k;
    return -1;
}

static int set_number(const struct option *o, void *p, const char *from,
                      const char *text, struct err *e)
{
    int real = kind_of(o) == OPTION_REAL;
    char *end = NULL;
    errno = 0;
    double v = strtod(text, &end);
    if (errno || end == text || *end || !(v >= o->min && v <= o->max) ||
        !(real || v == (double)(int64_t)v))
        return err_set(e, ERR_INVALID, "%s is '%.60s', expected %s%.15g..%.15g",
                       from, text, real ? "" : "a whole number ", o->min,
                       o->max);
    if (real)
        *(double *)p = v;
    else if (kind_of(o) == OPTION_MIB)
        *(size_t *)p = (size_t)v << 20;
    else if (o->size == sizeof(int64_t))
        *(int64_t *)p = (int64_t)v;
    else
        *(int *)p = (int)v;
    return 0;
}

/* The one parser; `from` is the option as the user wrote it. */
static int set(const struct reader *r, const struct option *o, size_t at,
               const char *from, const char *text)
{
    enum option_kind kind = kind_of(o);
    const char *words = kind == OPTION_BOOL ? "false|true|0|1" : o->form;
    int place = 0;
    void *p = r->values + at;
    if (kind == OPTION_INT || kind == OPTION_MIB || kind == OPTION_REAL)
        return set_number(o, p, from, text, r->e);
    if (kind == OPTION_LIST)
        return set_list(p, r->source, text, r->e);
    if (kind == OPTION_BOOL || kind == OPTION_CHOICE || kind == OPTION_WORD)
        place = place_of(words, text);
    if (place < 0)
        return err_set(r->e, ERR_INVALID, "%s is '%.60s', expected %s", from,
                       text, words);
    if (kind == OPTION_BOOL || kind == OPTION_CHOICE)
        *(int *)p = kind == OPTION_BOOL ? place & 1 : place;
    else if (kind == OPTION_FILE)
        ((struct option_file *)p)->path = text;
    else
        *(const char **)p = text;
    return 0;
}

/* --------------------------------------------------------------- sources */

/* A row whose kind is not its field's would write beside it. */
static int apply_defaults(const struct reader *r)
{
    const struct option *o;
    size_t at;
    for (int i = 0; (o = options_row(r->t, i, &at)); i++) {
        if (o->size != kinds[kind_of(o)].size &&
            (kind_of(o) != OPTION_INT || o->size != sizeof(int64_t)))
            return err_set(r->e, ERR_INTERNAL, "%s has a field of %zu bytes",
                           o->flag ? o->flag : o->help, o->size);
        if (o->def && set(r, o, at, o->flag, o->def) < 0)
            return -1;
    }
    return 0;
}

/* One value of the file, as the text that a flag would carry. */
static int set_json(const struct reader *r, const struct option *o, size_t at,
                    const struct json *v)
{
    char text[32]; /* read or copied: only texts are borrowed */
    const char *key = json_key(v) ? json_key(v) : o->flag + 2;
    int64_t n;
    if (json_type(v) == JSON_STRING)
        return set(r, o, at, key, json_string(v));
    if (json_type(v) == JSON_BOOL)
        return set(r, o, at, key, json_bool(v) ? "true" : "false");
    if (json_type(v) != JSON_NUMBER || kind_of(o) == OPTION_TEXT ||
        kind_of(o) == OPTION_WORD || kind_of(o) == OPTION_FILE)
        return err_set(r->e, ERR_INVALID,
                       "configuration key '%.40s': %s does not fit", key,
                       json_type_name(json_type(v)));
    if (json_int(v, &n) == 0)
        snprintf(text, sizeof text, "%lld", (long long)n);
    else
        snprintf(text, sizeof text, "%.17g", json_number(v));
    return set(r, o, at, key, text);
}

static int apply_member(const struct reader *r, const struct json *v)
{
    const char *key = json_key(v);
    size_t at, n = strlen(key);
    const struct option *o = find(r, key, n, &at);
    if (!o)
        return unknown(r, "configuration key", key, n);
    if (json_type(v) != JSON_ARRAY)
        return set_json(r, o, at, v);
    if (kind_of(o) != OPTION_LIST)
        return err_set(r->e, ERR_INVALID,
                       "configuration key '%.40s' takes one value", key);
    for (const struct json *i = json_child(v); i; i = json_next(i))
        if (set_json(r, o, at, i) < 0)
            return -1;
    return 0;
}

/* "--config <(...)" is a pipe. */
static int load_file(const struct reader *r, struct option_file *f)
{
    static const char label[] = "the configuration file";
    char *text = NULL;
    size_t n = 0;
    if (file_read_piped(f->path, label, MAX_FILE, FILE_WAIT_MS, &text, &n,
                        r->e))
        return -1;
    int rc = json_parse_file(text, n, label, NULL, &f->json, r->e);
    mem_free(text);
    return rc;
}

static int apply_file(const struct reader *r, struct option_file *f)
{
    if (!f->path || !*f->path)
        return 0;
    if (load_file(r, f) < 0)
        return -1;
    if (json_type(f->json) != JSON_OBJECT)
        return err_set(r->e, ERR_INVALID,
                       "the configuration file is not an object");
    for (const struct json *v = json_child(f->json); v; v = json_next(v))
        if (apply_member(r, v) < 0)
            return -1;
    return 0;
}

static int is_due(const struct reader *r, const struct option *o)
{
    return (kind_of(o) == OPTION_FILE) == (r->pass == 0);
}

static int apply_env(const struct reader *r)
{
    char name[OPTION_NAME];
    const struct option *o;
    size_t at;
    for (int i = 0; (o = options_row(r->t, i, &at)); i++) {
        const char *text = NULL;
        if (is_due(r, o) && options_name(r->t, o, FROM_ENV, name))
            text = getenv(name);
        if (text && *text && set(r, o, at, name, text) < 0)
            return -1;
    }
    return 0;
}

/* The k-th positional argument; a list takes all that follow. */
static const struct option *find_positional(const struct reader *r, int k,
                                            size_t *at)
{
    const struct option *o;
    for (int i = 0; (o = options_row(r->t, i, at)); i++)
        if (is_positional(o) && (k-- == 0 || kind_of(o) == OPTION_LIST))
            break;
    return o;
}

/* The value of option o, whose flag has n letters: `--port 80`, `--port=80`.
 * The words that it takes. */
static int read_value(const struct option *o, char *const *word, int n_words,
                      size_t n, const char **value)
{
    const char *next = n_words > 1 ? word[1] : NULL;
    *value = word[0][n] ? word[0] + n + 1 : next;
    if (word[0][n])
        return 1;
    if (kind_of(o) != OPTION_BOOL || (next && place_of("0|1", next) >= 0))
        return 2;
    *value = "true";
    return 1;
}

/* 1 at --help. */
static int apply_args(const struct reader *r, int argc, char *const *argv)
{
    int n_positional = 0, used;
    for (int i = 1; i < argc; i += used) {
        const char *word = argv[i], *value = word;
        size_t at, n = strcspn(word, "=");
        const struct option *o = find(r, word, n, &at);
        used = 1;
        if (!strcmp(word, "--help") || !strcmp(word, "-h"))
            return 1;
        if (o)
            used = read_value(o, argv + i, argc - i, n, &value);
        else if (word[0] != '-')
            o = find_positional(r, n_positional++, &at);
        if (!o)
            return unknown(r, "option", word, n);
        if (!value)
            return err_set(r->e, ERR_INVALID, "%s needs a value", o->flag);
        if (is_due(r, o) && set(r, o, at, o->flag, value) < 0)
            return -1;
    }
    return 0;
}

int options_parse(const struct option_table *t, void *values, int argc,
                  char *const *argv, struct err *e)
{
    struct reader r = {t, values, FROM_TABLE, 1, e};
    const struct option *o;
    size_t at;
    int rc = apply_defaults(&r);
    for (r.pass = 0; r.pass < 2 && rc == 0; r.pass++) {
        r.source = FROM_FILE;
        for (int i = 0; r.pass && (o = options_row(t, i, &at)); i++)
            if (kind_of(o) == OPTION_FILE &&
                apply_file(&r, (void *)(r.values + at)) < 0)
                return -1;
        r.source = FROM_ENV;
        if (apply_env(&r) < 0)
            return -1;
        r.source = FROM_ARGS;
        rc = apply_args(&r, argc, argv);
    }
    for (int i = 0; rc == 0 && (o = options_row(t, i, &at)); i++)
        if (o->kind & OPTION_NEEDED && !*(const char **)(void *)(r.values + at))
            return err_set(e, ERR_INVALID, "%s is missing (see --help)",
                           o->flag);
    return rc;
}

void options_fini(const struct option_table *t, void *values)
{
    const struct option *o;
    size_t at;
    for (int i = 0; (o = options_row(t, i, &at)); i++) {
        void *p = (char *)values + at;
        if (kind_of(o) == OPTION_LIST)
            string_list_fini(p);
        else if (kind_of(o) == OPTION_FILE)
            json_free(((struct option_file *)p)->json);
    }
}

int options_main(const struct option_table *t, void *values, int argc,
                 char *const *argv, FILE *out, FILE *errors)
{
    struct err e = ERR_INIT;
    int rc = options_parse(t, values, argc, argv, &e);
    if (rc > 0)
        options_help(t, out);
    else if (rc < 0)
        fprintf(errors, "%s: %s\n", t->name, e.msg);
    return rc > 0 ? 0 : rc < 0 ? 2 : -1;
}

/* --------------------------------------------------------------- writing */

static void print_row(const struct option_table *t, const struct option *o,
                      FILE *out)
{
    char left[160], env[OPTION_NAME];
    const char *form = o->form ? o->form : kinds[kind_of(o)].form;
    int flag = !(o->kind & OPTION_NOT << FROM_ARGS);
    options_name(t, o, FROM_ENV, env);
    snprintf(left, sizeof left, "%s%s%s", flag ? o->flag : env,
             *form && !flag ? "=" : " ", form);
    fprintf(out, "  %-34s %s", left, o->help);
    if (kind_of(o) == OPTION_LIST)
        fputs(" (repeatable)", out);
    if (o->max > o->min)
        fprintf(out, " (%.15g..%.15g)", o->min, o->max);
    if (o->def && kind_of(o) != OPTION_BOOL)
        fprintf(out, " [%s]", o->def);
    if (flag && *env)
        fprintf(out, " {%s}", env);
    fputc('\n', out);
}

void options_help(const struct option_table *t, FILE *out)
{
    const struct option *o;
    size_t at;
    fputs(t->usage, out);
    for (int i = 0; (o = options_row(t, i, &at)); i++)
        if (kind_of(o) == OPTION_SECTION)
            fprintf(out, "\n%s\n", o->help);
        else if (!is_positional(o))
            print_row(t, o, out);
}

static void write_value(const struct option *o, const void *p, struct buf *out)
{
    const struct string_list *l = p;
    const char *text;
    size_t n = 0;
    switch (kind_of(o)) {
    case OPTION_INT:
        buf_add_int(out, o->size == sizeof(int) ? *(const int *)p
                                                : *(const int64_t *)p);
        break;
    case OPTION_MIB:
        buf_add_int(out, (int64_t)(*(const size_t *)p >> 20));
        break;
    case OPTION_REAL:
        buf_add_double(out, *(const double *)p);
        break;
    case OPTION_BOOL:
        buf_add_str(out, *(const int *)p ? "true" : "false");
        break;
    case OPTION_LIST:
        for (int i = 0; i < l->n; i++) {
            buf_add_char(out, i ? ',' : '[');
            buf_add_json_string(out, l->v[i], strlen(l->v[i]));
        }
        buf_add_str(out, l->n ? "]" : "[]");
        break;
    case OPTION_CHOICE:
        text = word_at(o->form, *(const int *)p, &n);
        buf_add_json_string(out, text, n);
        break;
    default:
        text = *(char *const *)p ? *(char *const *)p : "";
        buf_add_json_string(out, text, strlen(text));
    }
}

int options_write(const struct option_table *t, const void *values,
                  struct buf *out)
{
    char key[OPTION_NAME];
    const struct option *o;
    size_t at;
    int n = 0;
    buf_add_char(out, '{');
    for (int i = 0; (o = options_row(t, i, &at)); i++) {
        if (o->kind & OPTION_HIDDEN || !options_name(t, o, FROM_FILE, key))
            continue;
        buf_addf(out, "%s\"%s\":", n++ ? "," : "", key);
        write_value(o, (const char *)values + at, out);
    }
    buf_add_char(out, '}');
    return out->failed ? -1 : 0;
}
