/* tok_mapped: a SentencePiece model whose pieces have the ids of another list,
 * as two families of translation models have it:
 *
 *   Marian   vocab.json gives each piece its id; source and target have a model
 *            file each and one list, or two. A text that begins with ">>"
 *            begins with a code (">>fr<<"), which is an entry of the list.
 *   fairseq  XLM-RoBERTa: <s> <pad> </s> <unk>, then the pieces from the third
 *            on, then <mask>
 *
 * The model is a tokenizer of its own inside, and what it makes is looked up. A
 * piece that the list lacks is the unknown token; letters that the source's
 * model lacks may be in a list that it shares with the target's.
 * Source: transformers, tokenization_marian.py, tokenization_xlm_roberta.py.
 *
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "engine/base/mem.h"
#include "engine/text/kinds/spm_norm.h"
#include "engine/text/kinds/spm_proto.h"
#include "engine/text/tok_family.h"

struct mapped_ids {
    struct spm base; /* for decoding: as the model's */
    struct tokenizer *inner;
    int32_t *id; /* [inner->n] */
    int codes;
};

/* ---------------------------------------------------------------- encoding */

/* The length of the code that s [n] begins with, or 0. */
static size_t code_length(const char *s, size_t n)
{
    const char *end =
        n >= 4 && s[0] == '>' && s[1] == '>' ? memmem(s, n, "<<", 2) : NULL;
    return end ? (size_t)(end - s) + 2 : 0;
}

static int push_code(struct tok_encoder *c, const char *s, size_t n)
{
    int32_t id = tokenizer_lookup(c->t, s, n);
    int known = id >= 0 && !(c->t->attr[id] & TOK_NOT_PLAIN);
    c->out->n_unknown += !known;
    return tok_push(c, known ? id : c->t->unk, 0, n);
}

static int push_mapped(struct tok_encoder *c, const struct token_list *l,
                       size_t from)
{
    const struct mapped_ids *m = c->t->self;
    c->out->n_unknown += l->n_unknown;
    for (int i = 0; i < l->n; i++) {
        const struct token *k = &l->v[i];
        int32_t id = k->id < 0 ? ~k->id : m->id[k->id];
        c->out->n_unknown += id == c->t->unk && k->id != m->inner->unk;
        if (tok_push(c, id, from + k->start, from + k->end))
            return -1;
    }
    return 0;
}

static int encode(struct tok_encoder *c, const char *s, size_t n)
{
    const struct mapped_ids *m = c->t->self;
    struct token_list l = {0};
    struct tok_encoder in = *c;
    size_t from = m->codes ? code_length(s, n) : 0;
    if (from > 0 && push_code(c, s, from))
        return -1;
    if (from == n)
        return 0;
    in.t = m->inner;
    in.list = m->codes ? c->t : NULL;
    in.out = &l;
    in.base = 0;
    in.first = -1;
    in.max_tokens = INT32_MAX; /* c's is looked at when they are pushed */
    int rc = m->inner->ops->encode(&in, s + from, n - from);
    if (rc == 0)
        rc = push_mapped(c, &l, from);
    token_list_fini(&l);
    return rc;
}

static void close_mapped(void *self)
{
    struct mapped_ids *m = self;
    spm_fini(&m->base);
    tokenizer_close(m->inner);
    mem_free(m->id);
    mem_free(m);
}

static const struct tok_ops ops = {.name = "SentencePiece, mapped",
                                   .level = TOK_LEVEL_SUBWORD,
                                   .encode = encode,
                                   .detok = spm_detok,
                                   .close = close_mapped};

/* ----------------------------------------------------------------- loading */

static int find_control(struct tokenizer *t, const struct tok_source *s,
                        const char *text, int32_t *id)
{
    *id = tokenizer_lookup(t, text, strlen(text));
    if (*id < 0)
        return err_set(s->e, ERR_FORMAT, "%s: '%.40s' is not an entry",
                       s->label, text);
    t->attr[*id] = (uint16_t)((t->attr[*id] & ~TOK_ADDED) | TOK_CONTROL);
    return 0;
}

/* The text of a token in tokenizer_config.json, or what it is without. */
static const char *named(const struct tok_source *s, const char *key,
                         const char *without)
{
    const struct json *j = json_get(s->setup, key);
    const char *text = json_string(j);
    text = text ? text : json_string(json_get(j, "content"));
    return text ? text : without;
}

static int load_list(struct tokenizer *t, const struct tok_source *s)
{
    struct mapped_ids *m = t->self;
    int32_t pad;
    m->codes = 1;
    return tok_vocab_json(t, s, 1) ||
                   find_control(t, s, named(s, "unk_token", "<unk>"),
                                &t->unk) ||
                   find_control(t, s, named(s, "eos_token", "</s>"), &t->eos) ||
                   find_control(t, s, named(s, "pad_token", "<pad>"), &pad)
               ? -1
               : 0;
}

#define FAIRSEQ_FIRST 4 /* tokens in front of the pieces */
#define FAIRSEQ_SKIP 3  /* pieces that these stand for */

static int put_fairseq(struct tokenizer *t, const struct tok_source *s)
{
    static const char *const first[FAIRSEQ_FIRST] = {"<s>", "<pad>", "</s>",
                                                     "<unk>"};
    int mask = s->proto->n + FAIRSEQ_FIRST - FAIRSEQ_SKIP;
    for (int i = 0; i < FAIRSEQ_FIRST; i++) {
        if (tok_vocab_set(t, s, i, first[i], strlen(first[i])))
            return -1;
        t->attr[i] = TOK_CONTROL;
    }
    for (int i = FAIRSEQ_SKIP; i < s->proto->n; i++) {
        const struct spm_piece *p = &s->proto->piece[i];
        if (tok_vocab_set(t, s, i + FAIRSEQ_FIRST - FAIRSEQ_SKIP, p->text,
                          p->len))
            return -1;
    }
    if (tok_vocab_set(t, s, mask, "<mask>", 6))
        return -1;
    t->attr[mask] = TOK_CONTROL | TOK_LSTRIP | TOK_BESIDE;
    return tok_added_json(t, s) || tok_vocab_end(t, s, 1) ? -1 : 0;
}

static int load_fairseq(struct tokenizer *t, const struct tok_source *s)
{
    int64_t n = s->proto->n + 2;
    size_t bytes = 64;
    if (s->proto->n < FAIRSEQ_SKIP)
        return tok_bad(s, "fewer than 3 pieces");
    for (int i = 0; i < s->proto->n; i++)
        bytes += s->proto->piece[i].len;
    tok_added_size(s, &n, &bytes);
    if (tok_vocab_begin(t, s, n, bytes) || put_fairseq(t, s))
        return -1;
    t->bos = 0;
    t->eos = 2;
    t->unk = 3;
    t->mask = s->proto->n + 1;
    return 0;
}

/* The model inside, and which id each of its pieces has outside. */
static int load_inner(struct tokenizer *t, const struct tok_source *s)
{
    struct mapped_ids *m = t->self;
    const struct tok_source in = {
        .label = s->label, .e = s->e, .proto = s->proto};
    m->inner = mem_zalloc(sizeof *m->inner);
    if (!m->inner)
        return err_nomem(s->e);
    if (tok_proto_load(m->inner, &in))
        return -1;
    m->id = mem_array((size_t)m->inner->n + 1, sizeof *m->id);
    if (!m->id)
        return err_nomem(s->e);
    for (int i = 0; i < m->inner->n; i++) {
        int32_t id = tokenizer_lookup(t, m->inner->text[i], m->inner->len[i]);
        m->id[i] = id >= 0 && i != m->inner->unk ? id : t->unk;
    }
    const struct spm *model = m->inner->self;
    m->base.fallback = model->fallback;
    m->base.norm.strips = model->norm.strips;
    return 0;
}

int tok_mapped_load(struct tokenizer *t, const struct tok_source *s)
{
    struct mapped_ids *m = mem_zalloc(sizeof *m);
    if (!m)
        return err_nomem(s->e);
    t->self = m;
    t->ops = &ops;
    if (s->family->fairseq ? load_fairseq(t, s) : load_list(t, s))
        return -1;
    return load_inner(t, s) || spm_load(t, s) ? -1 : 0;
}
