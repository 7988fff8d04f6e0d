/* tok_build: what a trainer needs of a tokenizer: cutting a text by a rule
 * before there is a vocabulary, and writing tokenizer.json.
 *
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "engine/base/utf8.h"
#include "engine/text/kinds/tok_split.h"

static const char *const rule_names[N_RULES] = {
    [RULE_ENGLISH] = "seqd-english",
    [RULE_WHITESPACE] = "seqd-whitespace",
    [RULE_CHARACTERS] = "seqd-characters",
};

int tok_rule_find(const char *name)
{
    for (int i = 0; i < N_RULES; i++)
        if (strcmp(name, rule_names[i]) == 0)
            return i;
    return -1;
}

static int spec_rule(const struct tokenizer_spec *s, struct err *e)
{
    int rule = s->normalizer ? tok_rule_find(s->normalizer) : -1;
    if (rule < 0) {
        err_set(e, ERR_UNSUPPORTED, "unknown normalizer '%.60s'",
                s->normalizer ? s->normalizer : "");
    }
    return rule;
}

int tokenizer_split(const struct tokenizer_spec *s, const char *text, size_t n,
                    split_fn *fn, void *arg, struct err *e)
{
    int rule = spec_rule(s, e);
    if (rule < 0)
        return -1;
    if (n > UINT32_MAX)
        return err_set(e, ERR_TOO_LARGE, "text of %zu bytes", n);
    if (rule == RULE_ENGLISH)
        tok_word_split(text, n, s->lowercase, fn, arg);
    else if (rule == RULE_WHITESPACE)
        tok_space_split(text, n, s->newline, fn, arg);
    else
        tok_char_split(text, n, fn, arg);
    return 0;
}

static int is_named(const char *entry, const char *name)
{
    return name && strcmp(entry, name) == 0;
}

/* Unknown and masked words are special, and so are the begin and the end of
 * text, but for a single character (a line feed, say) that texts of a character
 * model may hold. */
static int is_special(const struct tokenizer_spec *s, int rule,
                      const char *entry)
{
    int one = rule == RULE_CHARACTERS && utf8_count(entry, strlen(entry)) == 1;
    for (int i = 0; i < s->n_control; i++)
        if (is_named(entry, s->control[i]))
            return 1;
    return is_named(entry, s->unk) || is_named(entry, s->mask) ||
           (!one && (is_named(entry, s->bos) || is_named(entry, s->eos)));
}

static int check_entries(const struct tokenizer_spec *s,
                         const char *const *entries, int n, struct err *e)
{
    const char *const need[] = {s->unk, s->bos, s->eos, s->newline, s->mask};
    enum { N_NEED = sizeof need / sizeof *need };
    int found[N_NEED] = {0};
    for (int i = 0; i < n; i++) {
        size_t len = strlen(entries[i]);
        if (len == 0 || !utf8_valid(entries[i], len)) {
            return err_set(e, ERR_INVALID,
                           "vocabulary entry %d is empty or not UTF-8", i);
        }
        for (int k = 0; k < N_NEED; k++)
            found[k] |= is_named(entries[i], need[k]);
    }
    for (int k = 0; k < N_NEED; k++) {
        if (need[k] && !found[k]) {
            return err_set(e, ERR_INVALID, "'%.60s' is not in the vocabulary",
                           need[k]);
        }
    }
    return 0;
}

static void put_string(struct buf *out, const char *s)
{
    buf_add_json_string(out, s, strlen(s));
}

static void put_normalizer(struct buf *out, const struct tokenizer_spec *s,
                           int rule)
{
    buf_add_str(out, "\"normalizer\":{\"type\":");
    put_string(out, s->normalizer);
    if (rule == RULE_ENGLISH)
        buf_addf(out, ",\"lowercase\":%s", s->lowercase ? "true" : "false");
    if (rule == RULE_WHITESPACE && s->newline) {
        buf_add_str(out, ",\"newline\":");
        put_string(out, s->newline);
    }
    buf_add_str(out, "},\n");
}

static void put_ends(struct buf *out, const struct tokenizer_spec *s)
{
    buf_add_str(out, "\"seqd\":{");
    if (s->bos) {
        buf_add_str(out, "\"bos\":");
        put_string(out, s->bos);
        buf_add_char(out, ',');
    }
    if (s->eos) {
        buf_add_str(out, "\"eos\":");
        put_string(out, s->eos);
        buf_add_char(out, ',');
    }
    if (s->mask) {
        buf_add_str(out, "\"mask\":");
        put_string(out, s->mask);
        buf_add_char(out, ',');
    }
    if (s->add_eos)
        buf_add_str(out, "\"add_eos\":true,");
    buf_addf(out, "\"add_bos\":%s},\n", s->add_bos ? "true" : "false");
}

int tokenizer_build(const struct tokenizer_spec *s, const char *const *entries,
                    int n, struct buf *out, struct err *e)
{
    int rule = spec_rule(s, e);
    if (rule < 0 || check_entries(s, entries, n, e))
        return -1;
    const char *sep = "";
    buf_add_str(out, "{\"version\":\"1.0\",\n\"added_tokens\":[");
    for (int i = 0; i < n; i++) {
        if (is_special(s, rule, entries[i])) {
            buf_addf(out, "%s{\"id\":%d,\"content\":", sep, i);
            put_string(out, entries[i]);
            buf_add_str(out, ",\"special\":true}");
            sep = ",";
        }
    }
    buf_add_str(out, "],\n");
    put_normalizer(out, s, rule);
    put_ends(out, s);
    buf_add_str(out, "\"model\":{\"type\":\"WordLevel\",");
    if (s->unk) {
        buf_add_str(out, "\"unk_token\":");
        put_string(out, s->unk);
        buf_add_char(out, ',');
    }
    buf_add_str(out, "\"vocab\":{");
    for (int i = 0; i < n; i++) {
        buf_add_str(out, i ? ",\n" : "\n");
        put_string(out, entries[i]);
        buf_addf(out, ":%d", i);
    }
    buf_add_str(out, "}}}\n");
    return out->failed ? err_nomem(e) : 0;
}
