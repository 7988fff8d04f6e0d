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

/* What those of a Sequence have done so far. */
struct post {
    int parts; /* a template has made parts, which others take as two texts */
    int inner; /* tokens in front of the text in its part */
};

/* What one post-processor puts around a text: it stands outside of what those
 * before it have put there. */
struct around {
    int32_t id[2][TOK_MAX_AROUND]; /* before, after */
    int n[2];
};

static int around_add(const struct tokenizer *t, const struct tok_source *s,
                      struct around *a, int after, int64_t id)
{
    if (id < 0 || id >= t->n)
        return tok_bad(s, "post_processor names an id that is no token");
    if (a->n[after] == TOK_MAX_AROUND)
        return tok_bad(s, "post_processor adds more than 8 tokens");
    a->id[after][a->n[after]++] = (int32_t)id;
    return 0;
}

static int around_put(struct tokenizer *t, const struct tok_source *s,
                      const struct around *a)
{
    if (t->n_before + a->n[0] > TOK_MAX_AROUND ||
        t->n_after + a->n[1] > TOK_MAX_AROUND)
        return tok_bad(s, "post_processor adds more than 8 tokens");
    memmove(t->before + a->n[0], t->before,
            (size_t)t->n_before * sizeof *t->before);
    memcpy(t->before, a->id[0], (size_t)a->n[0] * sizeof *t->before);
    memcpy(t->after + t->n_after, a->id[1], (size_t)a->n[1] * sizeof *t->after);
    t->n_before += a->n[0];
    t->n_after += a->n[1];
    return 0;
}

/* {"SpecialToken":{"id":"<s>"}}: special_tokens gives each name its ids. */
static int template_token(const struct tokenizer *t, const struct tok_source *s,
                          const struct json *special, const char *name,
                          struct around *a, int after)
{
    const struct json *ids = json_get(json_get(special, name), "ids");
    int64_t id = -1;
    if (!ids)
        return tok_bad(s, "post_processor names an unknown token");
    for (ids = json_child(ids); ids; ids = json_next(ids)) {
        if (json_int(ids, &id))
            return tok_bad(s, "post_processor names an id that is no token");
        if (around_add(t, s, a, after, id))
            return -1;
    }
    return 0;
}

/* TemplateProcessing: `single` is a list of special tokens and one
 * {"Sequence":{"id":"A"}}. */
static int read_template(struct tokenizer *t, const struct tok_source *s,
                         const struct json *p)
{
    const struct json *special = json_get(p, "special_tokens");
    const struct json *j = json_child(json_get(p, "single"));
    struct around a = {.n = {0, 0}};
    int n = 0;
    if (json_size(json_get(p, "single")) > 2 * TOK_MAX_AROUND + 1)
        return tok_bad(s, "post_processor adds more than 8 tokens");
    for (; j; j = json_next(j)) {
        const char *name =
            json_string(json_get(json_get(j, "SpecialToken"), "id"));
        const char *text = json_string(json_get(json_get(j, "Sequence"), "id"));
        if (!name && (!text || strcmp(text, "A") != 0 || n > 0))
            return tok_refuse(s, "TemplateProcessing of", text ? text : "?");
        n += !name;
        if (name && template_token(t, s, special, name, &a, n))
            return -1;
    }
    return n ? around_put(t, s, &a)
             : tok_refuse(s, "TemplateProcessing of", "no text");
}

/* Places without the white space at the ends of tokens: trim_offsets. */
static int read_trim(struct tokenizer *t, const struct tok_source *s,
                     const struct json *p, const struct post *so)
{
    int trim, prefix;
    if (tok_flag(s, p, "trim_offsets", 1, &trim) ||
        tok_flag(s, p, "add_prefix_space", 1, &prefix))
        return -1;
    if (trim && t->n_trim == TOK_MAX_TRIM)
        return tok_refuse(s, "post_processor", "Sequence of many");
    if (trim) {
        t->trim[t->n_trim++] =
            (struct tok_trim){(uint8_t)prefix, (uint8_t)so->inner};
    }
    return 0;
}

/* BertProcessing and RobertaProcessing: "cls" and "sep" are [text, id]. */
static int read_pair(struct tokenizer *t, const struct tok_source *s,
                     const struct json *p)
{
    struct around a = {.n = {0, 0}};
    int64_t cls = -1, sep = -1;
    const struct json *c = json_child(json_get(p, "cls"));
    const struct json *d = json_child(json_get(p, "sep"));
    if (!c || !d || json_int(json_next(c), &cls) ||
        json_int(json_next(d), &sep))
        return tok_bad(s, "post_processor has no 'cls' or 'sep'");
    return around_add(t, s, &a, 0, cls) || around_add(t, s, &a, 1, sep) ||
                   around_put(t, s, &a)
               ? -1
               : 0;
}

static int read_one(struct tokenizer *t, const struct tok_source *s,
                    const struct json *p, struct post *so)
{
    const char *type = json_string(json_get(p, "type"));
    type = type ? type : "";
    if (strcmp(type, "ByteLevel") == 0)
        return read_trim(t, s, p, so);
    if (so->parts)
        return tok_refuse(s, "post_processor after TemplateProcessing", type);
    if (strcmp(type, "TemplateProcessing") == 0) {
        int n = t->n_before + t->n_after;
        int rc = read_template(t, s, p);
        so->parts = t->n_before + t->n_after > n;
        return rc;
    }
    so->inner = t->n_before + 1;
    if (strcmp(type, "BertProcessing") == 0)
        return read_pair(t, s, p);
    so->inner = t->n_before;
    if (strcmp(type, "RobertaProcessing") != 0)
        return tok_refuse(s, "post_processor", type);
    if (read_trim(t, s, p, so))
        return -1;
    so->inner = t->n_before + 1;
    return read_pair(t, s, p);
}

static int read_processor(struct tokenizer *t, const struct tok_source *s,
                          const struct json *p)
{
    const char *type = json_string(json_get(p, "type"));
    struct post so = {0, 0};
    if (!type || strcmp(type, "Sequence") != 0)
        return read_one(t, s, p, &so);
    const struct json *j = json_child(json_get(p, "processors"));
    for (; j; j = json_next(j))
        if (read_one(t, s, j, &so))
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
