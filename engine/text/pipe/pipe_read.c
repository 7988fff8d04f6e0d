/* pipe_read: the steps that a tokenizer.json asks for (pipe.h). What is not
 * known is refused by its name.
 *
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "engine/base/mem.h"
#include "engine/base/utf8.h"
#include "engine/text/pipe/pipe.h"

#define MAX_DEPTH 8

static const char *type_of(const struct json *j)
{
    const char *type = json_string(json_get(j, "type"));
    return type ? type : "";
}

static int is_null(const struct json *j)
{
    return !j || json_type(j) == JSON_NULL;
}

int pipe_string(const struct tok_source *s, const struct json *obj,
                const char *key, char *out, size_t *n)
{
    const struct json *j = json_get(obj, key);
    const char *text = json_string(j);
    size_t len = json_string_len(j);
    if (!text || len > PIPE_MAX_TEXT)
        return tok_refuse(s, text ? "a long" : "a missing", key);
    memcpy(out, text, len + 1);
    *n = len;
    return 0;
}

/* A new step, or NULL. */
static struct pipe_step *add(struct pipe *p, const struct tok_source *s,
                             enum pipe_op op, int arg)
{
    if (p->n == PIPE_MAX_STEPS) {
        tok_refuse(s, "pipeline", "Sequence of many");
        return NULL;
    }
    struct pipe_step *st = &p->step[p->n++];
    *st = (struct pipe_step){.op = op, .arg = arg};
    return st;
}

static int add_plain(struct pipe *p, const struct tok_source *s,
                     enum pipe_op op, int arg)
{
    return add(p, s, op, arg) ? 0 : -1;
}

static int set_regex(struct pipe_step *st, const struct tok_source *s,
                     const char *regex)
{
    const char *linear = pretok_linear(regex, strlen(regex));
    const char *use = linear ? linear : regex;
    struct err why = ERR_INIT;
    st->regex = regex_open(use, strlen(use), !linear, &why);
    if (st->regex)
        return 0;
    return err_set(s->e, why.code,
                   "%s: expression '%.100s' is not supported: %s", s->label,
                   regex, why.msg);
}

static int read_pattern(struct pipe_step *st, const struct tok_source *s,
                        const struct json *j)
{
    const struct json *pattern = json_get(j, "pattern");
    const char *regex = json_string(json_get(pattern, "Regex"));
    if (regex)
        return set_regex(st, s, regex);
    if (pipe_string(s, pattern, "String", st->pattern, &st->n_pattern))
        return -1;
    /* one of nothing matches between all characters: refused, as "Regex" is */
    return st->n_pattern ? 0 : set_regex(st, s, "");
}

/* -------------------------------------------------------------- normalizer */

static int read_strip(struct pipe *p, const struct tok_source *s,
                      const struct json *j)
{
    int left, right;
    return tok_flag(s, j, "strip_left", 1, &left) ||
                   tok_flag(s, j, "strip_right", 1, &right) ||
                   add_plain(p, s, PIPE_STRIP, left | right << 1)
               ? -1
               : 0;
}

static int read_replace(struct pipe *p, const struct tok_source *s,
                        const struct json *j)
{
    struct pipe_step *st = add(p, s, PIPE_REPLACE, 0);
    return st && read_pattern(st, s, j) == 0
               ? pipe_string(s, j, "content", st->text, &st->n_text)
               : -1;
}

static int read_prepend(struct pipe *p, const struct tok_source *s,
                        const struct json *j)
{
    struct pipe_step *st = add(p, s, PIPE_PREPEND, 0);
    return st ? pipe_string(s, j, "prepend", st->text, &st->n_text) : -1;
}

static int read_clean(struct pipe *p, const struct tok_source *s,
                      const struct json *j)
{
    struct pipe_step *st = add(p, s, PIPE_CLEAN, 0);
    return st ? wordnorm_json(&st->clean, s, j) : -1;
}

static int read_chars(struct pipe *p, const struct tok_source *s,
                      const struct json *j)
{
    return spm_norm_chars(&p->chars, s, j) ||
                   (p->chars.n && add_plain(p, s, PIPE_CHARS, 0))
               ? -1
               : 0;
}

static int read_norm(struct pipe *p, const struct tok_source *s,
                     const struct json *j)
{
    static const struct {
        const char *type;
        enum pipe_op op;
        int arg;
    } plain[] = {
        {"NFC", PIPE_FORM, UNI_NFC},       {"NFD", PIPE_FORM, UNI_NFD},
        {"NFKC", PIPE_FORM, UNI_NFKC},     {"NFKD", PIPE_FORM, UNI_NFKD},
        {"Lowercase", PIPE_LOWER, 0},      {"Nmt", PIPE_NMT, 0},
        {"StripAccents", PIPE_ACCENTS, 0}, {"ByteLevel", PIPE_BYTES, 0}};
    static const struct {
        const char *type;
        int (*read)(struct pipe *, const struct tok_source *,
                    const struct json *);
    } more[] = {{"Strip", read_strip},
                {"Replace", read_replace},
                {"Prepend", read_prepend},
                {"BertNormalizer", read_clean},
                {"Precompiled", read_chars}};
    const char *type = type_of(j);
    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++)
        if (strcmp(type, plain[i].type) == 0)
            return add_plain(p, s, plain[i].op, plain[i].arg);
    for (size_t i = 0; i < sizeof more / sizeof more[0]; i++)
        if (strcmp(type, more[i].type) == 0)
            return more[i].read(p, s, j);
    return tok_refuse(s, "normalizer", type);
}

/* ----------------------------------------------------------- pre_tokenizer */

static int read_join(const struct tok_source *s, const struct json *j,
                     enum pipe_join *join)
{
    static const char *const names[] = {"Isolated", "Removed", "Contiguous",
                                        "MergedWithPrevious", "MergedWithNext"};
    const char *name = json_string(json_get(j, "behavior"));
    *join = JOIN_NOT;
    for (int i = 0; name && i < 5; i++) {
        if (strcmp(name, names[i]) == 0) {
            *join = (enum pipe_join)i;
            return 0;
        }
    }
    return name ? tok_refuse(s, "pre_tokenizer behavior", name) : 0;
}

static int add_class(struct pipe *p, const struct tok_source *s,
                     enum pipe_class which, enum pipe_join join)
{
    struct pipe_step *st = add(p, s, PIPE_CLASS, (int)which);
    if (st)
        st->join = join;
    return st ? 0 : -1;
}

static int read_split(struct pipe *p, const struct tok_source *s,
                      const struct json *j)
{
    struct pipe_step *st = add(p, s, PIPE_SPLIT, 0);
    return st && read_pattern(st, s, j) == 0 && read_join(s, j, &st->join) == 0
               ? tok_flag(s, j, "invert", 0, &st->invert)
               : -1;
}

static int read_delimiter(struct pipe *p, const struct tok_source *s,
                          const struct json *j)
{
    struct pipe_step *st = add(p, s, PIPE_SPLIT, 0);
    if (!st)
        return -1;
    st->join = JOIN_DROP;
    return pipe_string(s, j, "delimiter", st->pattern, &st->n_pattern);
}

static int read_bytes(struct pipe *p, const struct tok_source *s,
                      const struct json *j)
{
    int regex, space;
    struct pipe_step *st;
    if (tok_flag(s, j, "use_regex", 1, &regex) ||
        tok_flag(s, j, "add_prefix_space", 1, &space))
        return -1;
    if (space) {
        if (!(st = add(p, s, PIPE_PREPEND, 1)))
            return -1;
        st->text[0] = ' ';
        st->n_text = 1;
    }
    if (regex &&
        (!(st = add(p, s, PIPE_SPLIT, 0)) || set_regex(st, s, PRE_BYTES)))
        return -1;
    return add_plain(p, s, PIPE_BYTES, 0);
}

/* When Metaspace puts its mark in front: 0 never, 1, 2 at the beginning. */
static int read_scheme(const struct tok_source *s, const struct json *j,
                       int *when)
{
    const char *scheme = json_string(json_get(j, "prepend_scheme"));
    int old;
    if (tok_flag(s, j, "add_prefix_space", 1, &old))
        return -1;
    scheme = scheme ? scheme : old ? "always" : "never";
    *when = strcmp(scheme, "always") == 0  ? 1
            : strcmp(scheme, "first") == 0 ? 2
                                           : 0;
    return *when || strcmp(scheme, "never") == 0
               ? 0
               : tok_refuse(s, "Metaspace prepend_scheme", scheme);
}

static int read_metaspace(struct pipe *p, const struct tok_source *s,
                          const struct json *j)
{
    int when, split;
    struct pipe_step mark = {.op = PIPE_REPLACE, .n_pattern = 1}, *st;
    mark.pattern[0] = ' ';
    if (read_scheme(s, j, &when) || tok_flag(s, j, "split", 1, &split) ||
        pipe_string(s, j, "replacement", mark.text, &mark.n_text) ||
        !(st = add(p, s, PIPE_REPLACE, 0)))
        return -1;
    *st = mark;
    if (when) {
        if (!(st = add(p, s, PIPE_PREPEND, when)))
            return -1;
        memcpy(st->text, mark.text, sizeof st->text);
        st->n_text = mark.n_text;
    }
    if (split) {
        if (!(st = add(p, s, PIPE_SPLIT, 0)))
            return -1;
        memcpy(st->pattern, mark.text, sizeof st->pattern);
        st->n_pattern = mark.n_text;
        st->join = JOIN_NEXT;
    }
    return 0;
}

static int read_pre(struct pipe *p, const struct tok_source *s,
                    const struct json *j)
{
    const char *type = type_of(j);
    enum pipe_join join;
    int each;
    if (strcmp(type, "Split") == 0)
        return read_split(p, s, j);
    if (strcmp(type, "ByteLevel") == 0)
        return read_bytes(p, s, j);
    if (strcmp(type, "Metaspace") == 0)
        return read_metaspace(p, s, j);
    if (strcmp(type, "CharDelimiterSplit") == 0)
        return read_delimiter(p, s, j);
    if (strcmp(type, "WhitespaceSplit") == 0)
        return add_class(p, s, PIPE_SPACE, JOIN_DROP);
    if (strcmp(type, "BertPreTokenizer") == 0)
        return add_class(p, s, PIPE_SPACE, JOIN_DROP) ||
                       add_class(p, s, PIPE_PUNCT, JOIN_NOT)
                   ? -1
                   : 0;
    if (strcmp(type, "Punctuation") == 0)
        return read_join(s, j, &join) ? -1 : add_class(p, s, PIPE_PUNCT, join);
    if (strcmp(type, "Digits") == 0)
        return tok_flag(s, j, "individual_digits", 0, &each)
                   ? -1
                   : add_class(p, s, PIPE_NUMBER, each ? JOIN_NOT : JOIN_ALIKE);
    if (strcmp(type, "Whitespace") == 0) {
        struct pipe_step *st = add(p, s, PIPE_WORDS, 0);
        if (!st)
            return -1;
        st->invert = 1; /* the white space is what matches */
        st->join = JOIN_DROP;
        return 0;
    }
    return tok_refuse(s, "pre_tokenizer", type);
}

/* j, or each of what its list `key` holds, Sequences inside Sequences too. */
static int read_all(struct pipe *p, const struct tok_source *s,
                    const struct json *j, const char *key,
                    int (*one)(struct pipe *, const struct tok_source *,
                               const struct json *))
{
    const struct json *next[MAX_DEPTH];
    int depth = 0;
    if (is_null(j))
        return 0;
    if (strcmp(type_of(j), "Sequence") != 0)
        return one(p, s, j);
    next[depth++] = json_child(json_get(j, key));
    while (depth > 0) {
        const struct json *at = next[depth - 1];
        if (!at) {
            depth--;
            continue;
        }
        next[depth - 1] = json_next(at);
        if (strcmp(type_of(at), "Sequence") != 0) {
            if (one(p, s, at))
                return -1;
        } else if (depth == MAX_DEPTH) {
            return tok_refuse(s, key, "Sequence of many");
        } else {
            next[depth++] = json_child(json_get(at, key));
        }
    }
    return 0;
}

int pipe_open(const struct tok_source *s, struct pipe **out)
{
    struct pipe *p = mem_zalloc(sizeof *p);
    *out = p;
    if (!p)
        return err_nomem(s->e);
    alphabet_init(&p->alphabet);
    if (read_all(p, s, json_get(s->root, "normalizer"), "normalizers",
                 read_norm))
        return -1;
    p->n_norm = p->n;
    return read_all(p, s, json_get(s->root, "pre_tokenizer"), "pretokenizers",
                    read_pre) ||
                   pipe_read_decoder(p, s)
               ? -1
               : 0;
}

void pipe_close(struct pipe *p)
{
    for (int i = 0; p && i < p->n; i++)
        regex_close(p->step[i].regex);
    if (p) {
        spm_norm_fini(&p->chars);
        tok_index_fini(&p->added);
        mem_free(p->by_id);
        mem_free(p->added_text);
    }
    mem_free(p);
}
