/* tokenizer: see tokenizer.h. What all kinds have in common: questions about
 * the vocabulary, and encoding but for the segments between added tokens,
 * which belong to the kind (tokenizer_impl.h).
 *
 * SPDX-License-Identifier: MIT */
#include "engine/text/tokenizer.h"

#include <string.h>

#include "engine/base/mem.h"
#include "engine/text/pipe/pipe.h"
#include "engine/text/pretok/regex.h"
#include "engine/text/tokenizer_impl.h"

void token_list_fini(struct token_list *l)
{
    mem_free(l->v);
    memset(l, 0, sizeof *l);
}

void tokenizer_close(struct tokenizer *t)
{
    if (!t)
        return;
    if (t->self && t->ops && t->ops->close)
        t->ops->close(t->self);
    pipe_close(t->pipe);
    mem_free(t->arena);
    mem_free((void *)t->text);
    mem_free(t->len);
    mem_free(t->attr);
    mem_free(t->slots);
    tok_index_fini(&t->added);
    mem_free(t->pieces);
    mem_free(t->piece_at);
    mem_free(t);
}

int tokenizer_size(const struct tokenizer *t)
{
    return t->n;
}

enum tokenizer_level tokenizer_level(const struct tokenizer *t)
{
    return t->ops->level;
}

int32_t tokenizer_bos(const struct tokenizer *t)
{
    return t->bos;
}

int32_t tokenizer_eos(const struct tokenizer *t)
{
    return t->eos;
}

int32_t tokenizer_unk(const struct tokenizer *t)
{
    return t->unk;
}

int32_t tokenizer_mask(const struct tokenizer *t)
{
    return t->mask;
}

int tokenizer_add_bos(const struct tokenizer *t)
{
    return t->add_bos;
}

void tokenizer_around(const struct tokenizer *t, int *n_before, int *n_after)
{
    *n_before = t->n_before;
    *n_after = t->n_after;
}

void tokenizer_frame(const struct tokenizer *t, int *n_before, int *n_after)
{
    tokenizer_around(t, n_before, n_after);
    if (tokenizer_level(t) != TOK_LEVEL_SUBWORD && !tokenizer_add_bos(t) &&
        *n_before > 0)
        *n_before = *n_after = 0;
}

int tok_add_end(struct tokenizer *t, int64_t id)
{
    if (id >= 0 && id < t->n && t->n_end < TOK_MAX_ENDS &&
        !tokenizer_is_end(t, (int32_t)id))
        t->end[t->n_end++] = (int32_t)id;
    return 0;
}

int tokenizer_is_end(const struct tokenizer *t, int32_t id)
{
    for (int i = 0; i < t->n_end; i++)
        if (t->end[i] == id)
            return 1;
    return 0;
}

int tokenizer_is_special(const struct tokenizer *t, int32_t id)
{
    return id >= 0 && id < t->n &&
           (t->attr[id] & (TOK_CONTROL | TOK_UNUSED)) != 0;
}

int tokenizer_can_miss(const struct tokenizer *t)
{
    return !t->covers_all;
}

const char *tokenizer_text(const struct tokenizer *t, int32_t id)
{
    return id >= 0 && id < t->n ? t->text[id] : NULL;
}

const char *tokenizer_piece(const struct tokenizer *t, int32_t id, size_t *n)
{
    *n = 0;
    if (id < 0 || id >= t->n)
        return NULL;
    if (t->pieces) {
        *n = t->piece_at[id + 1] - t->piece_at[id];
        return t->pieces + t->piece_at[id];
    }
    *n = t->len[id];
    return t->text[id];
}

int32_t tokenizer_id(const struct tokenizer *t, const char *entry)
{
    return tokenizer_lookup(t, entry, strlen(entry));
}

static int grow(struct tok_encoder *c)
{
    int cap = c->out->cap > 0 ? c->out->cap : 32;
    cap = cap > c->max_tokens / 2 ? c->max_tokens : cap * 2;
    struct token *v = mem_grow(c->out->v, (size_t)cap, sizeof *v);
    if (!v)
        return err_nomem(c->e);
    c->out->v = v;
    c->out->cap = cap;
    return 0;
}

int tok_push(struct tok_encoder *c, int32_t id, size_t start, size_t end)
{
    if (c->out->n >= c->max_tokens) {
        return err_set_at(c->e, ERR_TOO_LARGE, "context_length_exceeded", NULL,
                          "the text has more than %d tokens", c->max_tokens);
    }
    if (c->out->n == c->out->cap && grow(c))
        return -1;
    if (c->map) {
        end = c->map_end && end > start ? c->map_end[end - 1] : c->map[end];
        start = c->map[start];
    }
    c->out->v[c->out->n++] =
        (struct token){id, c->base + (uint32_t)start, c->base + (uint32_t)end};
    if (c->t->n_trim && c->first >= 0)
        tok_trim_place(c);
    return 0;
}

static int encode_segment(struct tok_encoder *c, size_t from, size_t to)
{
    c->base = (uint32_t)from;
    c->map = c->map_end = NULL;
    if (to <= from)
        return 0;
    int rc = c->t->pipe ? pipe_encode(c, c->text + from, to - from)
                        : c->t->ops->encode(c, c->text + from, to - from);
    c->map = c->map_end = NULL;
    return rc;
}

static int encode_text(struct tok_encoder *c, size_t n)
{
    const struct tokenizer *t = c->t;
    struct tok_hit h = {0};
    size_t from = 0;
    while (t->added.n > 0 &&
           tok_added_next(t, &t->added, c->text, n, from, c->flags, &h)) {
        if (encode_segment(c, from, h.start))
            return -1;
        c->base = (uint32_t)h.start;
        size_t len = h.end > h.start ? h.end - h.start : 0;
        if (tok_push_added(c, h.id, 0, len, c->text + h.start, len))
            return -1;
        from = h.end;
    }
    return encode_segment(c, from, n);
}

static int push_all(struct tok_encoder *c, const int32_t *ids, int n, size_t at)
{
    c->base = (uint32_t)at;
    c->first = -1;
    for (int i = 0; i < n; i++)
        if (tok_push(c, ids[i], 0, 0))
            return -1;
    return 0;
}

int tokenizer_encode(const struct tokenizer *t, const char *text, size_t n,
                     unsigned flags, int max_tokens, struct token_list *out,
                     struct err *e)
{
    struct tok_encoder c = {.t = t,
                            .out = out,
                            .max_tokens = max_tokens > 0 ? max_tokens : 0,
                            .flags = flags,
                            .text = text,
                            .n_text = n,
                            .first = -1,
                            .steps = regex_steps(n),
                            .e = e};
    int around = (flags & TOK_ADD_SPECIAL) != 0;
    if (n >= UINT32_MAX)
        return err_set(e, ERR_TOO_LARGE, "text of %zu bytes", n);
    if (around && push_all(&c, t->before, t->n_before, 0))
        return -1;
    c.first = out->n;
    if (encode_text(&c, n))
        return -1;
    return around ? push_all(&c, t->after, t->n_after, n) : 0;
}
