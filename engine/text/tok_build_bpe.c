/* tok_build_bpe: tokenizer.json of a byte-level BPE vocabulary, as Hugging Face
 * tokenizers writes and reads it: its own keys and no others. What the special
 * tokens are for it has no key for; tokenizer_config.json says it.
 *
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "engine/base/utf8.h"
#include "engine/text/tokenizer.h"

#define PAD "<pad>"

static void put_string(struct buf *out, const char *s)
{
    buf_add_json_string(out, s, strlen(s));
}

static int place_of(const char *const *entries, int n, const char *name)
{
    for (int i = 0; name != NULL && i < n; i++)
        if (strcmp(entries[i], name) == 0)
            return i;
    return -1;
}

static int is_special(const struct tokenizer_spec *s, const char *entry)
{
    const char *const roles[] = {s->unk, s->bos, s->eos, s->mask};
    return place_of(s->control, s->n_control, entry) >= 0 ||
           (roles[0] && strcmp(entry, roles[0]) == 0) ||
           (roles[1] && strcmp(entry, roles[1]) == 0) ||
           (roles[2] && strcmp(entry, roles[2]) == 0) ||
           (roles[3] && strcmp(entry, roles[3]) == 0);
}

static void put_added(struct buf *out, const struct tokenizer_spec *s,
                      const char *const *entries, int n)
{
    const char *sep = "";
    buf_add_str(out, "{\"version\":\"1.0\",\"truncation\":null,\"padding\":"
                     "null,\n\"added_tokens\":[");
    for (int i = 0; i < n; i++) {
        if (!is_special(s, entries[i]))
            continue;
        buf_addf(out, "%s\n{\"id\":%d,\"content\":", sep, i);
        put_string(out, entries[i]);
        buf_add_str(out, ",\"single_word\":false,\"lstrip\":false,\"rstrip\":"
                         "false,\"normalized\":false,\"special\":true}");
        sep = ",";
    }
    buf_add_str(out, "],\n");
}

/* One token of a template, a comma on its text's side. */
static void put_token(struct buf *out, const char *name, int type, int before)
{
    if (name == NULL)
        return;
    buf_add_str(out, before ? "" : ",");
    buf_add_str(out, "{\"SpecialToken\":{\"id\":");
    put_string(out, name);
    buf_addf(out, ",\"type_id\":%d}}%s", type, before ? "," : "");
}

static void put_template(struct buf *out, const char *bos, const char *eos,
                         int pair)
{
    static const char *const text[] = {
        "{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}",
        "{\"Sequence\":{\"id\":\"B\",\"type_id\":1}}"};
    put_token(out, bos, 0, 1);
    buf_add_str(out, text[0]);
    put_token(out, eos, 0, 0);
    if (pair) {
        buf_addf(out, ",%s", text[1]);
        put_token(out, eos, 1, 0);
    }
}

static void put_around_token(struct buf *out, const char *name, int id)
{
    put_string(out, name);
    buf_add_str(out, ":{\"id\":");
    put_string(out, name);
    buf_addf(out, ",\"ids\":[%d],\"tokens\":[", id);
    put_string(out, name);
    buf_add_str(out, "]}");
}

/* What stands around a text. */
static void put_around(struct buf *out, const struct tokenizer_spec *s,
                       const char *const *entries, int n)
{
    const char *bos = s->add_bos ? s->bos : NULL;
    const char *eos = s->add_eos ? s->eos : NULL;
    int same = bos != NULL && eos != NULL && strcmp(bos, eos) == 0;
    if (bos == NULL && eos == NULL) {
        buf_add_str(out, "\"post_processor\":null,\n");
        return;
    }
    buf_add_str(out, "\"post_processor\":{\"type\":\"TemplateProcessing\","
                     "\"single\":[");
    put_template(out, bos, eos, 0);
    buf_add_str(out, "],\"pair\":[");
    put_template(out, bos, eos, 1);
    buf_add_str(out, "],\"special_tokens\":{");
    if (bos != NULL)
        put_around_token(out, bos, place_of(entries, n, bos));
    if (eos != NULL && !same) {
        buf_add_str(out, bos != NULL ? "," : "");
        put_around_token(out, eos, place_of(entries, n, eos));
    }
    buf_add_str(out, "}},\n");
}

static int check(const struct tokenizer_spec *s, const struct tokenizer_bpe *b,
                 struct err *e)
{
    const char *const need[] = {s->unk, s->bos, s->eos, s->mask};
    for (int i = 0; i < b->n; i++) {
        size_t len = strlen(b->entries[i]);
        if (len == 0 || !utf8_valid(b->entries[i], len))
            return err_set(e, ERR_INVALID,
                           "vocabulary entry %d is empty or not UTF-8", i);
    }
    for (int k = 0; k < 4; k++)
        if (need[k] != NULL && place_of(b->entries, b->n, need[k]) < 0)
            return err_set(e, ERR_INVALID, "'%.60s' is not in the vocabulary",
                           need[k]);
    for (int i = 0; i < b->n_merges; i++)
        for (int k = 0; k < 2; k++)
            if (b->merges[i][k] < 0 || b->merges[i][k] >= b->n)
                return err_set(e, ERR_INVALID, "merge %d names no entry", i);
    return 0;
}

int tokenizer_build_bpe(const struct tokenizer_spec *s,
                        const struct tokenizer_bpe *b, struct buf *out,
                        struct err *e)
{
    if (check(s, b, e) != 0)
        return -1;
    put_added(out, s, b->entries, b->n);
    buf_add_str(out, "\"normalizer\":null,\n\"pre_tokenizer\":{\"type\":"
                     "\"ByteLevel\",\"add_prefix_space\":false,"
                     "\"trim_offsets\":true,\"use_regex\":true},\n");
    put_around(out, s, b->entries, b->n);
    buf_add_str(out, "\"decoder\":{\"type\":\"ByteLevel\",\"add_prefix_space\":"
                     "true,\"trim_offsets\":true,\"use_regex\":true},\n"
                     "\"model\":{\"type\":\"BPE\",\"dropout\":null,"
                     "\"unk_token\":null,\"continuing_subword_prefix\":null,"
                     "\"end_of_word_suffix\":null,\"fuse_unk\":false,"
                     "\"byte_fallback\":false,\"ignore_merges\":false,\n"
                     "\"vocab\":{");
    for (int i = 0; i < b->n; i++) {
        buf_add_str(out, i ? ",\n" : "\n");
        put_string(out, b->entries[i]);
        buf_addf(out, ":%d", i);
    }
    buf_add_str(out, "},\n\"merges\":[");
    for (int i = 0; i < b->n_merges; i++) {
        buf_add_str(out, i ? ",\n[" : "\n[");
        put_string(out, b->entries[b->merges[i][0]]);
        buf_add_char(out, ',');
        put_string(out, b->entries[b->merges[i][1]]);
        buf_add_char(out, ']');
    }
    buf_add_str(out, "]}}\n");
    return out->failed ? err_nomem(e) : 0;
}

static void put_role(struct buf *out, const char *key, const char *name)
{
    if (name == NULL)
        return;
    buf_addf(out, ",\n\"%s\":", key);
    put_string(out, name);
}

int tokenizer_build_setup(const struct tokenizer_spec *s, struct buf *out,
                          struct err *e)
{
    int pad = place_of(s->control, s->n_control, PAD) >= 0;
    const char *sep = "";
    buf_add_str(out, "{\"tokenizer_class\":\"PreTrainedTokenizerFast\",\n"
                     "\"clean_up_tokenization_spaces\":false");
    put_role(out, "unk_token", s->unk);
    put_role(out, "bos_token", s->bos);
    put_role(out, "eos_token", s->eos);
    put_role(out, "mask_token", s->mask);
    put_role(out, "pad_token", pad ? PAD : NULL);
    buf_add_str(out, ",\n\"additional_special_tokens\":[");
    for (int i = 0; i < s->n_control; i++) {
        if (strcmp(s->control[i], PAD) == 0)
            continue;
        buf_add_str(out, sep);
        put_string(out, s->control[i]);
        sep = ",";
    }
    buf_add_str(out, "]}\n");
    return out->failed ? err_nomem(e) : 0;
}
