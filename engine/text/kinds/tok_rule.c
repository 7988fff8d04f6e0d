/* tok_rule: the kind "WordLevel", words and characters cut by a rule of our own
 * (tok_word.c, tok_char.c) and looked up whole.
 *
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "engine/text/tokenizer_impl.h"

static int on_piece(void *arg, const char *piece, size_t len, uint32_t start,
                    uint32_t end)
{
    struct tok_encoder *c = arg;
    const struct tokenizer *t = c->t;
    int32_t id = tokenizer_lookup(t, piece, len);
    int line_feed = id == t->newline && c->text[c->base + start] == '\n';
    if (id >= 0 && (t->attr[id] & TOK_CONTROL) && !line_feed)
        id = -1; /* plain text is never a special token */
    if (id < 0) {
        c->out->n_unknown++;
        id = t->unk;
    }
    return id < 0 ? 0 : tok_push(c, id, start, end);
}

static int encode(struct tok_encoder *c, const char *s, size_t n)
{
    const struct tokenizer *t = c->t;
    switch (t->rule) {
    case RULE_ENGLISH:
        return tok_word_split(s, n, t->lowercase, on_piece, c);
    case RULE_WHITESPACE:
        return tok_space_split(s, n, tokenizer_text(t, t->newline), on_piece,
                               c);
    default:
        return tok_char_split(s, n, on_piece, c);
    }
}

static const struct tok_ops word_ops = {.name = "WordLevel",
                                        .level = TOK_LEVEL_WORD,
                                        .encode = encode,
                                        .detok = tok_rule_detok};
static const struct tok_ops char_ops = {.name = "WordLevel",
                                        .level = TOK_LEVEL_CHAR,
                                        .encode = encode,
                                        .detok = tok_rule_detok};

static int read_rule(const struct tok_source *s, struct tokenizer *t,
                     const struct json *normalizer)
{
    const char *type = json_string(json_get(normalizer, "type"));
    t->rule = type ? tok_rule_find(type) : -1;
    if (t->rule < 0)
        return tok_refuse(s, "normalizer", type);
    t->ops = t->rule == RULE_CHARACTERS ? &char_ops : &word_ops;
    return tok_flag(s, normalizer, "lowercase", 1, &t->lowercase);
}

int tok_rule_load(struct tokenizer *t, const struct tok_source *s)
{
    const struct json *normalizer = json_get(s->root, "normalizer");
    const struct json *own = json_get(s->root, "seqd");
    int add_eos = 0;
    if (own && json_type(own) != JSON_OBJECT)
        return tok_bad(s, "'seqd' is not an object");
    if (read_rule(s, t, normalizer) || tok_vocab_json(t, s, 0) ||
        tok_named(s, t, s->model, "unk_token", &t->unk) ||
        tok_named(s, t, own, "bos", &t->bos) ||
        tok_named(s, t, own, "eos", &t->eos) ||
        tok_named(s, t, own, "mask", &t->mask) ||
        tok_flag(s, own, "add_bos", 0, &t->add_bos) ||
        tok_flag(s, own, "add_eos", 0, &add_eos))
        return -1;
    t->newline = -1;
    if (t->rule == RULE_WHITESPACE &&
        tok_named(s, t, normalizer, "newline", &t->newline))
        return -1;
    if (t->add_bos && t->bos < 0)
        return tok_bad(s, "add_bos without bos");
    if (add_eos && t->eos < 0)
        return tok_bad(s, "add_eos without eos");
    if (add_eos)
        t->after[t->n_after++] = t->eos;
    if (t->bos >= 0)
        t->before[t->n_before++] = t->bos;
    return tok_add_end(t, t->eos);
}
