/* tok_gguf: the vocabulary and the special tokens of a GGUF file
 * (tokenizer.ggml.*, ggml's docs/gguf.md). Which tokens end a generation is
 * what llama.cpp goes by: the ids that the file names, and tokens of certain
 * texts, which count as control tokens whatever the file says of them.
 *
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "engine/base/utf8.h"
#include "engine/checkpoint/gguf.h"
#include "engine/text/tokenizer_impl.h"

/* token_type: 1 is a plain token. */
#define TYPE_UNKNOWN 2
#define TYPE_CONTROL 3
#define TYPE_USER 4
#define TYPE_UNUSED 5
#define TYPE_BYTE 6

static const char *const end_texts[] = {
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<\uff5cend\u2581of\u2581sentence\uff5c>",
    NULL};

int64_t tok_gguf_int(const struct tok_source *s, const char *key, int64_t dflt)
{
    int64_t v;
    int i = gguf_find(s->gguf, key);
    return i >= 0 && gguf_int(s->gguf, i, 0, &v) == 0 ? v : dflt;
}

int tok_gguf_string(const struct tok_source *s, const char *key,
                    const char **text, size_t *n)
{
    int i = gguf_find(s->gguf, key);
    return i >= 0 && gguf_type(s->gguf, i) == GGUF_STRING &&
           gguf_string(s->gguf, i, 0, text, n) == 0;
}

static unsigned attr_of(int64_t type)
{
    switch (type) {
    case TYPE_UNKNOWN:
        return TOK_CONTROL | TOK_UNKNOWN;
    case TYPE_CONTROL:
        return TOK_CONTROL;
    case TYPE_USER:
        return TOK_ADDED;
    case TYPE_UNUSED:
        return TOK_UNUSED;
    case TYPE_BYTE:
        return TOK_BYTE;
    default:
        return 0;
    }
}

/* The token list; -1 when it is none. */
static int find_tokens(const struct tok_source *s, int *key)
{
    *key = gguf_find(s->gguf, "tokenizer.ggml.tokens");
    if (*key < 0 || gguf_type(s->gguf, *key) != GGUF_ARRAY ||
        gguf_elem(s->gguf, *key) != GGUF_STRING)
        return tok_bad(s, "tokenizer.ggml.tokens is not a list of strings");
    return 0;
}

static int set_types(struct tokenizer *t, const struct tok_source *s)
{
    int key = gguf_find(s->gguf, "tokenizer.ggml.token_type");
    if (key < 0)
        return 0;
    if (gguf_type(s->gguf, key) != GGUF_ARRAY ||
        gguf_len(s->gguf, key) < (size_t)t->n) {
        return tok_bad(s, "tokenizer.ggml.token_type is shorter than the list "
                          "of tokens");
    }
    for (int id = 0; id < t->n; id++) {
        int64_t type = 0;
        if (gguf_int(s->gguf, key, (size_t)id, &type))
            return tok_bad(s, "tokenizer.ggml.token_type holds no integers");
        t->attr[id] |= (uint16_t)attr_of(type);
    }
    return 0;
}

int tok_vocab_gguf(struct tokenizer *t, const struct tok_source *s)
{
    int key;
    size_t n, bytes = 0, len;
    const char *text;
    if (find_tokens(s, &key))
        return -1;
    n = gguf_len(s->gguf, key);
    for (size_t i = 0; i < n; i++) {
        if (gguf_string(s->gguf, key, i, &text, &len))
            return tok_bad(s, "tokenizer.ggml.tokens cannot be read");
        bytes += len;
    }
    if (tok_vocab_begin(t, s, n < INT64_MAX ? (int64_t)n : INT64_MAX, bytes))
        return -1;
    for (size_t i = 0; i < n; i++) {
        gguf_string(s->gguf, key, i, &text, &len);
        if (!utf8_valid(text, len)) {
            return err_set(s->e, ERR_FORMAT, "%s: token %zu is not UTF-8",
                           s->label, i);
        }
        if (len > 0 && tok_vocab_set(t, s, (int64_t)i, text, len))
            return -1;
    }
    return tok_vocab_end(t, s, 1) ? -1 : set_types(t, s);
}

/* The id of a key, or what it was. An id beyond the vocabulary is ignored, as
 * llama.cpp does. */
static void set_id(const struct tokenizer *t, const struct tok_source *s,
                   const char *key, int32_t *id)
{
    int64_t v = tok_gguf_int(s, key, *id);
    *id = v >= 0 && v < t->n ? (int32_t)v : *id;
    *id = *id < t->n ? *id : -1;
}

static void set_ends(struct tokenizer *t, const struct tok_source *s)
{
    int32_t eot = -1, eom = -1;
    set_id(t, s, "tokenizer.ggml.eot_token_id", &eot);
    set_id(t, s, "tokenizer.ggml.eom_token_id", &eom);
    tok_add_end(t, t->eos);
    tok_add_end(t, eot);
    tok_add_end(t, eom);
    for (int i = 0; end_texts[i]; i++) {
        int32_t id = tokenizer_lookup(t, end_texts[i], strlen(end_texts[i]));
        if (id >= 0) {
            tok_add_end(t, id);
            t->attr[id] &= (uint8_t)~TOK_ADDED;
            t->attr[id] |= TOK_CONTROL;
        }
    }
}

int tok_special_gguf(struct tokenizer *t, const struct tok_source *s)
{
    int32_t sep = t->add_sep ? t->eos : -1;
    set_id(t, s, "tokenizer.ggml.bos_token_id", &t->bos);
    set_id(t, s, "tokenizer.ggml.eos_token_id", &t->eos);
    set_id(t, s, "tokenizer.ggml.unknown_token_id", &t->unk);
    set_id(t, s, "tokenizer.ggml.mask_token_id", &t->mask);
    /* The specification's spelling, then the right one. */
    set_id(t, s, "tokenizer.ggml.seperator_token_id", &sep);
    set_id(t, s, "tokenizer.ggml.separator_token_id", &sep);
    t->add_bos = tok_gguf_int(s, "tokenizer.ggml.add_bos_token", t->add_bos) &&
                 t->bos >= 0;
    t->add_eos = tok_gguf_int(s, "tokenizer.ggml.add_eos_token", t->add_eos) &&
                 t->eos >= 0;
    t->add_sep =
        tok_gguf_int(s, "tokenizer.ggml.add_sep_token", t->add_sep) && sep >= 0;
    if (t->add_bos)
        t->before[t->n_before++] = t->bos;
    if (t->add_eos || t->add_sep)
        t->after[t->n_after++] = t->add_sep ? sep : t->eos;
    set_ends(t, s);
    return 0;
}
