/* tok_vocab: building the vocabulary of a tokenizer. All entries lie in one
 * block; look-ups go through an open hash table under the process's secret key
 * (hash.h), so that no file and no text can make them slow.
 *
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "engine/base/hash.h"
#include "engine/base/mem.h"
#include "engine/text/tokenizer_impl.h"

/* Ids of any vocabulary in use are below; what is larger is a mistake. */
#define MAX_IDS (1 << 22)

int tok_bad(const struct tok_source *s, const char *what)
{
    return err_set(s->e, ERR_FORMAT, "%s: %s", s->label, what);
}

int tok_refuse(const struct tok_source *s, const char *part, const char *name)
{
    return err_set(s->e, ERR_UNSUPPORTED, "%s: %s '%.120s' is not supported",
                   s->label, part, name ? name : "");
}

/* The slot of s [n], or the empty one where it would stand. */
static struct vocab_slot *slot_of(const struct tokenizer *t, const char *s,
                                  size_t n, uint32_t *tag)
{
    uint64_t h = hash_siphash(t->hkey, s, n);
    size_t mask = t->n_slots - 1, i = (size_t)h & mask;
    *tag = (uint32_t)(h >> 32);
    for (; t->slots[i].id1; i = (i + 1) & mask) {
        uint32_t id = t->slots[i].id1 - 1;
        if (t->slots[i].tag == *tag && t->len[id] == n &&
            memcmp(t->text[id], s, n) == 0)
            break;
    }
    return &t->slots[i];
}

int32_t tokenizer_lookup(const struct tokenizer *t, const char *s, size_t n)
{
    uint32_t tag;
    if (n > t->max_len || n == 0)
        return -1;
    return (int32_t)slot_of(t, s, n, &tag)->id1 - 1;
}

int tok_vocab_begin(struct tokenizer *t, const struct tok_source *s,
                    int64_t n_ids, size_t bytes)
{
    if (n_ids > MAX_IDS) {
        return err_set(s->e, ERR_TOO_LARGE, "%s: %lld ids, at most %d",
                       s->label, (long long)n_ids, MAX_IDS);
    }
    t->n = (int)n_ids;
    size_t n = (size_t)t->n;
    t->arena_cap = bytes + n + 1;
    t->arena = mem_alloc(t->arena_cap);
    t->text = mem_zarray(n + 1, sizeof *t->text);
    t->len = mem_zarray(n + 1, sizeof *t->len);
    t->attr = mem_zarray(n + 1, sizeof *t->attr);
    if (!t->arena || !t->text || !t->len || !t->attr)
        return err_nomem(s->e);
    return 0;
}

int tok_vocab_set(struct tokenizer *t, const struct tok_source *s, int64_t id,
                  const char *text, size_t len)
{
    if (id < 0 || id >= t->n) {
        return err_set(s->e, ERR_FORMAT,
                       "%s: the id of '%.40s' is not in 0..%d", s->label, text,
                       t->n - 1);
    }
    if (t->text[id]) {
        return err_set(s->e, ERR_FORMAT, "%s: two entries have the id %d",
                       s->label, (int)id);
    }
    if (len == 0 || len > UINT16_MAX)
        return tok_bad(s, "a vocabulary entry is empty or over 65535 bytes");
    if (len >= t->arena_cap - t->arena_used)
        return tok_bad(s, "the vocabulary is larger than announced");
    char *at = t->arena + t->arena_used;
    memcpy(at, text, len);
    at[len] = 0;
    t->text[id] = at;
    t->len[id] = (uint32_t)len;
    t->arena_used += len + 1;
    t->max_len = len > t->max_len ? len : t->max_len;
    return 0;
}

/* Cut what was not set off the end; say which id is missing, or make it an
 * unused entry. */
static int close_holes(struct tokenizer *t, const struct tok_source *s,
                       int holes)
{
    while (t->n > 0 && !t->text[t->n - 1])
        t->n--;
    if (t->n == 0)
        return tok_bad(s, "the vocabulary is empty");
    for (int id = 0; id < t->n; id++) {
        if (!t->text[id] && !holes) {
            return err_set(s->e, ERR_FORMAT, "%s: no entry has the id %d",
                           s->label, id);
        }
        if (!t->text[id]) {
            t->text[id] = "";
            t->attr[id] = TOK_UNUSED;
        }
    }
    return 0;
}

int tok_vocab_end(struct tokenizer *t, const struct tok_source *s, int holes)
{
    if (close_holes(t, s, holes))
        return -1;
    /* The hash table is at most half full. */
    t->n_slots = 16;
    while (t->n_slots < (size_t)t->n * 2)
        t->n_slots *= 2;
    t->slots = mem_zarray(t->n_slots, sizeof *t->slots);
    if (!t->slots)
        return err_nomem(s->e);
    hash_key(t->hkey);
    for (int id = 0; id < t->n; id++) {
        if (t->len[id] == 0)
            continue;
        uint32_t tag;
        struct vocab_slot *at = slot_of(t, t->text[id], t->len[id], &tag);
        if (at->id1) {
            return err_set(s->e, ERR_FORMAT, "%s: '%.40s' is there twice",
                           s->label, t->text[id]);
        }
        *at = (struct vocab_slot){tag, (uint32_t)id + 1};
    }
    return 0;
}

/* The id of an added token: its "id", or the key that it stands under in
 * tokenizer_config.json's added_tokens_decoder. -1: none. */
static int64_t added_id(const struct json *j)
{
    const char *key = json_key(j);
    int64_t id = -1;
    if (json_int(json_get(j, "id"), &id) == 0)
        return id;
    for (id = 0; key && *key >= '0' && *key <= '9' && id < INT32_MAX; key++)
        id = 10 * id + (*key - '0');
    return key && *key == 0 && key != json_key(j) ? id : -1;
}

void tok_added_size(const struct tok_source *s, int64_t *n_ids, size_t *bytes)
{
    for (const struct json *j = json_child(s->added); j; j = json_next(j)) {
        int64_t id = added_id(j);
        *bytes += json_string_len(json_get(j, "content")) + 1;
        if (id >= *n_ids && id < INT32_MAX)
            *n_ids = id + 1;
    }
}

/* One flag of an added token; missing is false. */
static unsigned bit_if(const struct json *j, const char *key, unsigned bit)
{
    return json_bool(json_get(j, key)) ? bit : 0;
}

int tok_added_json(struct tokenizer *t, const struct tok_source *s)
{
    for (const struct json *j = json_child(s->added); j; j = json_next(j)) {
        int64_t id = added_id(j);
        const char *text = json_string(json_get(j, "content"));
        if (!text || id < 0 || id >= t->n)
            return tok_bad(s, "an added token has no content or no valid id");
        if (t->text[id] && strcmp(t->text[id], text) != 0) {
            return err_set(s->e, ERR_FORMAT,
                           "%s: added token '%.40s' has the id of '%.40s'",
                           s->label, text, t->text[id]);
        }
        int beside = !t->text[id];
        if (beside && tok_vocab_set(t, s, id, text, strlen(text)))
            return -1;
        int control = json_bool(json_get(j, "special"));
        t->attr[id] = (uint16_t)((control ? TOK_CONTROL : TOK_ADDED) |
                                 (beside ? TOK_BESIDE : 0) |
                                 bit_if(j, "lstrip", TOK_LSTRIP) |
                                 bit_if(j, "rstrip", TOK_RSTRIP) |
                                 bit_if(j, "single_word", TOK_WHOLE) |
                                 bit_if(j, "normalized", TOK_NORMAL));
    }
    return 0;
}

int tok_vocab_json(struct tokenizer *t, const struct tok_source *s, int holes)
{
    size_t bytes = 0;
    int64_t n = 0;
    if (!s->vocab || json_type(s->vocab) != JSON_OBJECT ||
        (s->added && json_type(s->added) != JSON_ARRAY && s->root))
        return tok_bad(s, "no vocabulary, or added_tokens is not a list");
    for (const struct json *j = json_child(s->vocab); j; j = json_next(j)) {
        int64_t id;
        bytes += strlen(json_key(j));
        if (json_int(j, &id) == 0 && id >= n && id < INT32_MAX)
            n = id + 1;
    }
    tok_added_size(s, &n, &bytes);
    if (!holes) /* an id beyond is named in tok_vocab_set */
        n = (int64_t)json_size(s->vocab) + json_size(s->added);
    if (tok_vocab_begin(t, s, n, bytes))
        return -1;
    for (const struct json *j = json_child(s->vocab); j; j = json_next(j)) {
        int64_t id;
        if (json_int(j, &id))
            id = -1;
        if (tok_vocab_set(t, s, id, json_key(j), strlen(json_key(j))))
            return -1;
    }
    return tok_added_json(t, s) ? -1 : tok_vocab_end(t, s, holes);
}

int tok_pieces(struct tokenizer *t, const struct tok_source *s,
               tok_piece_fn *fn)
{
    size_t used = 0;
    t->piece_at = mem_array((size_t)t->n + 1, sizeof *t->piece_at);
    t->pieces = mem_alloc(t->arena_used + 1);
    if (!t->piece_at || !t->pieces)
        return err_nomem(s->e);
    for (int id = 0; id < t->n; id++) {
        t->piece_at[id] = (uint32_t)used;
        used += fn(t, id, t->pieces + used);
    }
    t->piece_at[t->n] = (uint32_t)used;
    return 0;
}

int tok_named(const struct tok_source *s, const struct tokenizer *t,
              const struct json *obj, const char *key, int32_t *id)
{
    const struct json *j = json_get(obj, key);
    *id = -1;
    if (!j || json_type(j) == JSON_NULL)
        return 0;
    const char *text = json_string(j);
    if (text)
        *id = tokenizer_lookup(t, text, strlen(text));
    if (*id < 0) {
        return err_set(s->e, ERR_FORMAT,
                       "%s: '%s' does not name a vocabulary entry", s->label,
                       key);
    }
    return 0;
}

int tok_flag(const struct tok_source *s, const struct json *obj,
             const char *key, int dflt, int *v)
{
    const struct json *j = json_get(obj, key);
    *v = dflt;
    if (!j || json_type(j) == JSON_NULL)
        return 0;
    if (json_type(j) != JSON_BOOL) {
        return err_set(s->e, ERR_FORMAT, "%s: '%s' is not a boolean", s->label,
                       key);
    }
    *v = json_bool(j);
    return 0;
}
