/* tok_special: begin, end, mask and unknown tokens, the tokens around a text
 * and the ends of generation, as a Hugging Face directory states them. What
 * counts for a text is tokenizer.json's post_processor; without one the flags
 * add_bos_token and add_eos_token of tokenizer_config.json.
 *
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "engine/text/tokenizer_impl.h"

/* The id of a token that a string or {"content": ...} names, or -1. */
static int32_t token_of(const struct tokenizer *t, const struct json *j)
{
    const char *text = json_string(j);
    text = text ? text : json_string(json_get(j, "content"));
    return text ? tokenizer_lookup(t, text, strlen(text)) : -1;
}

static void set_role(const struct tokenizer *t, const struct json *setup,
                     const char *key, int32_t *id)
{
    int32_t named = token_of(t, json_get(setup, key));
    if (named >= 0)
        *id = named;
}

static int around_add(struct tokenizer *t, const struct tok_source *s,
                      int after, int64_t id)
{
    int *n = after ? &t->n_after : &t->n_before;
    if (id < 0 || id >= t->n)
        return tok_bad(s, "post_processor names an id that is no token");
    if (*n == TOK_MAX_AROUND)
        return tok_bad(s, "post_processor adds more than 8 tokens");
    (after ? t->after : t->before)[(*n)++] = (int32_t)id;
    return 0;
}

/* TemplateProcessing: `single` is a list of {"SpecialToken":{"id":"<s>"}} and
 * one {"Sequence":{"id":"A"}}; special_tokens gives each name its ids. */
static int read_template(struct tokenizer *t, const struct tok_source *s,
                         const struct json *p)
{
    const struct json *special = json_get(p, "special_tokens");
    int after = 0;
    for (const struct json *j = json_child(json_get(p, "single")); j;
         j = json_next(j)) {
        const char *name =
            json_string(json_get(json_get(j, "SpecialToken"), "id"));
        if (!name) {
            after = 1;
            continue;
        }
        const struct json *ids = json_get(json_get(special, name), "ids");
        int64_t id = -1;
        if (!ids)
            return tok_bad(s, "post_processor names an unknown token");
        for (ids = json_child(ids); ids; ids = json_next(ids)) {
            if (json_int(ids, &id) || around_add(t, s, after, id)) {
                return tok_bad(s, "post_processor names an id that is no "
                                  "token");
            }
        }
    }
    return 0;
}

/* BertProcessing and RobertaProcessing: "cls" and "sep" are [text, id]. */
static int read_pair(struct tokenizer *t, const struct tok_source *s,
                     const struct json *p)
{
    int64_t cls = -1, sep = -1;
    const struct json *c = json_child(json_get(p, "cls"));
    const struct json *d = json_child(json_get(p, "sep"));
    if (!c || !d || json_int(json_next(c), &cls) ||
        json_int(json_next(d), &sep))
        return tok_bad(s, "post_processor has no 'cls' or 'sep'");
    return around_add(t, s, 0, cls) || around_add(t, s, 1, sep) ? -1 : 0;
}

static int read_one(struct tokenizer *t, const struct tok_source *s,
                    const struct json *p)
{
    const char *type = json_string(json_get(p, "type"));
    if (type && strcmp(type, "ByteLevel") == 0)
        return 0; /* offsets only */
    if (type && strcmp(type, "TemplateProcessing") == 0)
        return read_template(t, s, p);
    if (type && (strcmp(type, "BertProcessing") == 0 ||
                 strcmp(type, "RobertaProcessing") == 0))
        return read_pair(t, s, p);
    return tok_refuse(s, "post_processor", type);
}

static int read_processor(struct tokenizer *t, const struct tok_source *s,
                          const struct json *p)
{
    const char *type = json_string(json_get(p, "type"));
    if (!type || strcmp(type, "Sequence") != 0)
        return read_one(t, s, p);
    const struct json *j = json_child(json_get(p, "processors"));
    for (; j; j = json_next(j))
        if (read_one(t, s, j))
            return -1;
    return 0;
}

/* Classes whose flags count even beside a post_processor: they make it anew
 * from them. */
static int flags_rule(const struct json *setup)
{
    const char *name = json_string(json_get(setup, "tokenizer_class"));
    return name && (strstr(name, "Llama") || strstr(name, "Gemma"));
}

static void read_flags(struct tokenizer *t, const struct json *setup)
{
    const struct json *bos = json_get(setup, "add_bos_token");
    const struct json *eos = json_get(setup, "add_eos_token");
    if (bos && json_type(bos) == JSON_BOOL && t->bos >= 0) {
        t->n_before = json_bool(bos);
        t->before[0] = t->bos;
    }
    if (eos && json_type(eos) == JSON_BOOL && t->eos >= 0) {
        t->n_after = json_bool(eos);
        t->after[0] = t->eos;
    }
}

/* eos_token_id: a number or a list of them. */
static void read_ends(struct tokenizer *t, const struct json *j)
{
    int64_t id;
    if (json_int(j, &id) == 0)
        tok_add_end(t, id);
    if (j && json_type(j) == JSON_ARRAY) {
        for (j = json_child(j); j; j = json_next(j))
            if (json_int(j, &id) == 0)
                tok_add_end(t, id);
    }
}

/* A role that no file names: the entry that the usual files use for it. */
static void guess_role(const struct tokenizer *t, int32_t *id,
                       const char *const *names)
{
    for (; *id < 0 && *names; names++) {
        int32_t at = tokenizer_lookup(t, *names, strlen(*names));
        *id = at >= 0 && (t->attr[at] & TOK_CONTROL) ? at : -1;
    }
}

int tok_special_json(struct tokenizer *t, const struct tok_source *s)
{
    static const char *const masks[] = {"[MASK]", "<mask>", NULL};
    static const char *const unks[] = {"[UNK]", "<unk>", NULL};
    const struct json *p = json_get(s->root, "post_processor");
    const struct json *unk = json_get(s->model, "unk_token");
    set_role(t, s->setup, "bos_token", &t->bos);
    set_role(t, s->setup, "eos_token", &t->eos);
    set_role(t, s->setup, "mask_token", &t->mask);
    guess_role(t, &t->mask, masks);
    if (t->unk < 0) {
        t->unk = token_of(t, unk);
        guess_role(t, &t->unk, unks);
    }
    int has = p && json_type(p) != JSON_NULL;
    if (has && read_processor(t, s, p))
        return -1;
    if (!has || flags_rule(s->setup))
        read_flags(t, s->setup);
    read_ends(t, s->ends);
    if (t->n_end == 0)
        read_ends(t, s->model_ends);
    if (t->eos < 0 && t->n_end > 0)
        t->eos = t->end[0];
    tok_add_end(t, t->eos);
    t->add_bos = t->bos >= 0 && t->n_before > 0 && t->before[0] == t->bos;
    return 0;
}
