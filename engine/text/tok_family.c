/* tok_family: see tok_family.h. The text itself is cut as the sentencepiece
 * library does it ("legacy" of transformers' T5 and Llama classes). A class
 * that is not in the table is refused by its name: most put tokens of their own
 * around a text, or change it before.
 * Source: transformers 4.57, tokenization_t5.py, _llama.py, _gemma.py,
 * _xlm_roberta.py, _marian.py.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/text/tok_family.h"

#include <stdio.h>
#include <string.h>

#include "engine/text/kinds/spm_proto.h"

#define MAX_EXTRA 1000 /* sentinels; T5 has 100 */

static const struct tok_family families[] = {
    {.class = "T5", .file = "spiece.model", .ends = 1, .extra_ids = 100},
    {.class = "Llama", .file = "tokenizer.model", .begins = 1},
    {.class = "Gemma", .file = "", .begins = 1},
    {.class = "XLMRoberta",
     .file = "sentencepiece.bpe.model",
     .begins = 1,
     .ends = 1,
     .fairseq = 1,
     .mapped = 1},
    {.class = "Marian", .file = "source.spm", .ends = 1, .mapped = 1},
    {.class = "Marian", .file = "target.spm", .ends = 1, .mapped = 1},
    /* As Marian itself reads it: a file of any other name. */
    {.class = "", .file = NULL, .ends = 1},
};
#define N_FAMILIES (sizeof families / sizeof *families)

static int is_class(const struct tok_family *f, const char *name)
{
    size_t n = strlen(f->class);
    return n > 0 && strncmp(name, f->class, n) == 0 &&
           (strcmp(name + n, "Tokenizer") == 0 ||
            strcmp(name + n, "TokenizerFast") == 0);
}

int tok_family_find(struct tok_source *s, const char *file)
{
    const char *name = json_string(json_get(s->setup, "tokenizer_class"));
    const struct tok_family *f = families;
    for (; f < families + N_FAMILIES - 1; f++)
        if (name ? is_class(f, name) : strcmp(f->file, file) == 0)
            break;
    if (name && f == families + N_FAMILIES - 1)
        return tok_refuse(s, "tokenizer_class", name);
    s->family = f;
    return 0;
}

const struct tok_family *tok_family_none(void)
{
    static const struct tok_family none = {.class = ""};
    return &none;
}

int tok_proto_load(struct tokenizer *t, const struct tok_source *s)
{
    switch (s->proto->model) {
    case SPM_MODEL_UNIGRAM:
        return tok_unigram_load(t, s);
    case SPM_MODEL_BPE:
        return tok_spm_load(t, s);
    default:
        return tok_refuse(s, "model_type",
                          s->proto->model == SPM_MODEL_WORD ? "WORD" : "CHAR");
    }
}

/* The control piece of this text, or -1. */
static int32_t control(const struct tokenizer *t, const char *text)
{
    int32_t id = tokenizer_lookup(t, text, strlen(text));
    return id >= 0 && (t->attr[id] & TOK_CONTROL) ? id : -1;
}

/* How many sentinels stand behind the pieces: as many as are said, none where
 * the added tokens are listed. -1: wrong. */
static int64_t count_extra(const struct tok_source *s)
{
    const struct json *said = json_get(s->setup, "extra_ids");
    int64_t n = s->added ? 0 : s->family->extra_ids;
    if (!s->family->extra_ids || s->added || !said ||
        json_type(said) == JSON_NULL)
        return n;
    return json_int(said, &n) || n < 0 || n > MAX_EXTRA
               ? tok_bad(s, "'extra_ids' is not in 0..1000")
               : n;
}

/* Sentinels count down: <extra_id_0> is the last id. */
static int write_extra(const struct tok_source *s, int64_t n, struct buf *out)
{
    buf_add_char(out, '[');
    for (int64_t k = 0; k < n; k++)
        buf_addf(out,
                 "%s{\"id\":%lld,\"content\":\"<extra_id_%lld>\","
                 "\"special\":true}",
                 k ? "," : "", (long long)(s->proto->n + k),
                 (long long)(n - 1 - k));
    buf_add_char(out, ']');
    return out->failed ? err_nomem(s->e) : 0;
}

static int load_with_extra(struct tokenizer *t, const struct tok_source *s)
{
    struct tok_source more = *s;
    struct json *list = NULL;
    struct buf text;
    int64_t n = count_extra(s);
    if (n <= 0)
        return n < 0 ? -1 : tok_proto_load(t, s);
    buf_init(&text, (size_t)1 << 20);
    int rc = write_extra(s, n, &text) ||
             json_parse_file(text.p, text.len, s->label, NULL, &list, s->e);
    more.added = list;
    if (rc == 0)
        rc = tok_proto_load(t, &more);
    json_free(list);
    buf_fini(&text);
    return rc ? -1 : 0;
}

/* A file of this name is XLM-RoBERTa's and that of others, which have the same
 * pieces and more tokens behind them (mBART's languages, which stand around a
 * text). Where no class is named, the model's size tells. */
static int check_size(const struct tokenizer *t, const struct tok_source *s)
{
    int64_t n;
    if (!s->family->fairseq || json_get(s->setup, "tokenizer_class") ||
        json_int(s->model_size, &n) || n == t->n)
        return 0;
    return err_set(s->e, ERR_UNSUPPORTED,
                   "%s: no file names a 'tokenizer_class', and "
                   "XLMRobertaTokenizer's %d entries are not the 'vocab_size' "
                   "%lld of config.json",
                   s->label, t->n, (long long)n);
}

int tok_family_load(struct tokenizer *t, const struct tok_source *s)
{
    const struct tok_family *f = s->family;
    if (f->mapped ? tok_mapped_load(t, s) || check_size(t, s)
                  : load_with_extra(t, s))
        return -1;
    if (!f->mapped) {
        t->bos = control(t, "<s>");
        t->bos = t->bos >= 0 ? t->bos : control(t, "<bos>");
        t->eos = control(t, "</s>");
        t->eos = t->eos >= 0 ? t->eos : control(t, "<eos>");
    }
    if (f->begins && t->bos >= 0)
        t->before[t->n_before++] = t->bos;
    if (f->ends && t->eos < 0)
        return tok_bad(s, "there is no end token");
    if (f->ends)
        t->after[t->n_after++] = t->eos;
    return tok_special_json(t, s);
}
