/* tokenizer: reading tokenizer.json, the vocabulary and encoding. All entries
 * lie in one block; look-ups go through an open hash table under the process's
 * secret key (hash.h), so that no file and no text can make them slow.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/text/tokenizer.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/hash.h"
#include "engine/base/json.h"
#include "engine/base/mem.h"
#include "engine/text/tokenizer_impl.h"

#define FILE_NAME "tokenizer.json"

/* The parts of a tokenizer.json while it is read. */
struct source {
    const char *label;
    const struct json *vocab, *added;
    struct err *e;
};

static int bad(const struct source *s, const char *what)
{
    return err_set(s->e, ERR_FORMAT, "%s: %s", s->label, what);
}

void token_list_fini(struct token_list *l)
{
    mem_free(l->v);
    memset(l, 0, sizeof(*l));
}

static uint64_t hash_of(const struct tokenizer *t, const char *s, size_t n)
{
    return hash_siphash(t->hkey, s, n);
}

int32_t tokenizer_lookup(const struct tokenizer *t, const char *s, size_t n)
{
    if (n > t->max_len) {
        return -1;
    }
    uint64_t h = hash_of(t, s, n);
    uint32_t tag = (uint32_t)(h >> 32);
    size_t mask = t->n_slots - 1;
    for (size_t i = (size_t)h & mask; t->slots[i].id1; i = (i + 1) & mask) {
        uint32_t id = t->slots[i].id1 - 1;
        if (t->slots[i].tag == tag && t->len[id] == n &&
            memcmp(t->text[id], s, n) == 0) {
            return (int32_t)id;
        }
    }
    return -1;
}

static void insert(struct tokenizer *t, int id)
{
    uint64_t h = hash_of(t, t->text[id], t->len[id]);
    size_t mask = t->n_slots - 1, i = (size_t)h & mask;
    while (t->slots[i].id1) {
        i = (i + 1) & mask;
    }
    t->slots[i] = (struct vocab_slot){(uint32_t)(h >> 32), (uint32_t)id + 1};
}

/* Copy entry s to id, at arena + *used. The text of an id is set once. */
static int set_entry(const struct source *s, struct tokenizer *t, int64_t id,
                     const char *text, size_t *used)
{
    size_t len = strlen(text);
    if (len == 0 || len > UINT16_MAX) {
        return bad(s, "a vocabulary entry is empty or over 65535 bytes");
    }
    memcpy(t->arena + *used, text, len + 1);
    t->text[id] = t->arena + *used;
    t->len[id] = (uint32_t)len;
    *used += len + 1;
    if (len > t->max_len) {
        t->max_len = len;
    }
    return 0;
}

static int read_vocab(const struct source *s, struct tokenizer *t, int room,
                      size_t *used)
{
    const struct json *j = json_child(s->vocab);
    for (; j; j = json_next(j)) {
        int64_t id;
        if (json_int(j, &id) || id < 0 || id >= room) {
            return err_set(s->e, ERR_FORMAT,
                           "%s: the id of '%.40s' is not in 0..%d", s->label,
                           json_key(j), room - 1);
        }
        if (t->text[id]) {
            return err_set(s->e, ERR_FORMAT, "%s: two entries have the id %d",
                           s->label, (int)id);
        }
        if (set_entry(s, t, id, json_key(j), used)) {
            return -1;
        }
    }
    return 0;
}

static int read_added(const struct source *s, struct tokenizer *t, int room,
                      size_t *used)
{
    const struct json *j = json_child(s->added);
    for (; j; j = json_next(j)) {
        int64_t id;
        const char *text = json_string(json_get(j, "content"));
        if (!text || json_int(json_get(j, "id"), &id) || id < 0 || id >= room) {
            return bad(s, "an added token has no content or no valid id");
        }
        if (t->text[id] && strcmp(t->text[id], text) != 0) {
            return err_set(s->e, ERR_FORMAT,
                           "%s: added token '%.40s' has the id of '%.40s'",
                           s->label, text, t->text[id]);
        }
        if (!t->text[id] && set_entry(s, t, id, text, used)) {
            return -1;
        }
        t->special[id] = (uint8_t)json_bool(json_get(j, "special"));
    }
    return 0;
}

static size_t text_bytes(const struct source *s)
{
    size_t n = 0;
    const struct json *j = json_child(s->vocab);
    for (; j; j = json_next(j)) {
        n += strlen(json_key(j)) + 1;
    }
    for (j = json_child(s->added); j; j = json_next(j)) {
        n += json_string_len(json_get(j, "content")) + 1;
    }
    return n;
}

/* The hash table: at most half full. Equal texts under two ids are refused. */
static int index_vocab(const struct source *s, struct tokenizer *t)
{
    t->n_slots = 16;
    while (t->n_slots < (size_t)t->n * 2) {
        t->n_slots *= 2;
    }
    t->slots = mem_zarray(t->n_slots, sizeof(*t->slots));
    if (!t->slots) {
        return err_nomem(s->e);
    }
    hash_key(t->hkey);
    for (int id = 0; id < t->n; id++) {
        if (tokenizer_lookup(t, t->text[id], t->len[id]) >= 0) {
            return err_set(s->e, ERR_FORMAT, "%s: '%.40s' is there twice",
                           s->label, t->text[id]);
        }
        insert(t, id);
    }
    return 0;
}

static int load_vocab(const struct source *s, struct tokenizer *t)
{
    int room = json_size(s->vocab) + json_size(s->added);
    size_t used = 0;
    t->arena = mem_alloc(text_bytes(s) + 1);
    t->text = mem_zarray((size_t)room + 1, sizeof(*t->text));
    t->len = mem_zarray((size_t)room + 1, sizeof(*t->len));
    t->special = mem_zalloc((size_t)room + 1);
    if (!t->arena || !t->text || !t->len || !t->special) {
        return err_nomem(s->e);
    }
    if (read_vocab(s, t, room, &used) || read_added(s, t, room, &used)) {
        return -1;
    }
    while (t->n < room && t->text[t->n]) {
        t->n++;
    }
    for (int id = t->n; id < room; id++) {
        if (t->text[id]) {
            return err_set(s->e, ERR_FORMAT, "%s: no entry has the id %d",
                           s->label, t->n);
        }
    }
    return t->n > 0 ? index_vocab(s, t) : bad(s, "the vocabulary is empty");
}

static int longest_first(const void *a, const void *b)
{
    /* Sorted through (length, id) pairs packed into 64 bits. */
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x < y) - (x > y);
}

static int list_specials(const struct source *s, struct tokenizer *t)
{
    int n = 0, k = 0;
    for (int id = 0; id < t->n; id++) {
        n += t->special[id];
    }
    uint64_t *order = mem_array((size_t)n + 1, sizeof(*order));
    t->specials = mem_array((size_t)n + 1, sizeof(*t->specials));
    if (!order || !t->specials) {
        mem_free(order);
        return err_nomem(s->e);
    }
    for (int id = 0; id < t->n; id++) {
        if (t->special[id]) {
            order[k++] = (uint64_t)t->len[id] << 32 | (uint32_t)id;
        }
    }
    qsort(order, (size_t)n, sizeof(*order), longest_first);
    for (k = 0; k < n; k++) {
        t->specials[k] = (int32_t)(order[k] & 0xffffffffu);
    }
    t->n_specials = n;
    mem_free(order);
    return 0;
}

/* The entry that an optional string names, -1 without it. */
static int read_named(const struct source *s, const struct tokenizer *t,
                      const struct json *obj, const char *key, int32_t *id)
{
    const struct json *j = json_get(obj, key);
    *id = -1;
    if (!j || json_type(j) == JSON_NULL) {
        return 0;
    }
    const char *text = json_string(j);
    if (text) {
        *id = tokenizer_lookup(t, text, strlen(text));
    }
    if (*id < 0) {
        return err_set(s->e, ERR_FORMAT,
                       "%s: '%s' does not name a vocabulary entry", s->label,
                       key);
    }
    return 0;
}

static int read_flag(const struct source *s, const struct json *obj,
                     const char *key, int dflt, int *v)
{
    const struct json *j = json_get(obj, key);
    *v = dflt;
    if (j && json_type(j) != JSON_BOOL) {
        return err_set(s->e, ERR_FORMAT, "%s: '%s' is not a boolean", s->label,
                       key);
    }
    *v = j ? json_bool(j) : dflt;
    return 0;
}

static int read_rule(const struct source *s, struct tokenizer *t,
                     const struct json *normalizer)
{
    const char *type = json_string(json_get(normalizer, "type"));
    t->rule = type ? tok_rule_find(type) : -1;
    if (t->rule < 0) {
        return err_set(s->e, ERR_UNSUPPORTED,
                       "%s: normalizer '%.60s' is not supported", s->label,
                       type ? type : "");
    }
    return read_flag(s, normalizer, "lowercase", 1, &t->lowercase);
}

static int load(const struct source *s, struct tokenizer *t,
                const struct json *root)
{
    const struct json *model = json_get(root, "model");
    const struct json *normalizer = json_get(root, "normalizer");
    const struct json *own = json_get(root, "seqd");
    const char *type = json_string(json_get(model, "type"));
    if (!type || strcmp(type, "WordLevel") != 0) {
        return err_set(s->e, ERR_UNSUPPORTED,
                       "%s: model type '%.60s' is not supported", s->label,
                       type ? type : "");
    }
    if (!s->vocab || json_type(s->vocab) != JSON_OBJECT ||
        (s->added && json_type(s->added) != JSON_ARRAY)) {
        return bad(s, "no vocabulary, or added_tokens is not a list");
    }
    if (own && json_type(own) != JSON_OBJECT) {
        return bad(s, "'seqd' is not an object");
    }
    if (read_rule(s, t, normalizer) || load_vocab(s, t) ||
        list_specials(s, t) || read_named(s, t, model, "unk_token", &t->unk) ||
        read_named(s, t, own, "bos", &t->bos) ||
        read_named(s, t, own, "eos", &t->eos) ||
        read_flag(s, own, "add_bos", 0, &t->add_bos)) {
        return -1;
    }
    t->newline = -1;
    if (t->rule == RULE_WHITESPACE &&
        read_named(s, t, normalizer, "newline", &t->newline)) {
        return -1;
    }
    return t->add_bos && t->bos < 0 ? bad(s, "add_bos without bos") : 0;
}

static int from_json(const struct json *root, const char *label,
                     struct tokenizer **out, struct err *e)
{
    struct tokenizer *t = mem_zalloc(sizeof(*t));
    if (!t) {
        return err_nomem(e);
    }
    const struct source s = {label, json_get(json_get(root, "model"), "vocab"),
                             json_get(root, "added_tokens"), e};
    if (load(&s, t, root)) {
        tokenizer_close(t);
        return -1;
    }
    *out = t;
    return 0;
}

/* 64 MiB and 4 million values: room for any vocabulary in use. */
static const struct json_limits limits = {(size_t)64 << 20, 16,
                                          (size_t)4 << 20};

int tokenizer_open(const char *dir, const char *label, struct tokenizer **out,
                   struct err *e)
{
    char path[PATH_MAX], name[160];
    struct json *root;
    int named = label && label[0];
    *out = NULL;
    snprintf(name, sizeof(name), "%s%s%s", named ? label : "", named ? "/" : "",
             FILE_NAME);
    int len = snprintf(path, sizeof(path), "%s/%s", dir, FILE_NAME);
    if (len < 0 || (size_t)len >= sizeof(path)) {
        return err_set(e, ERR_INVALID, "%s: path too long", name);
    }
    if (json_load(path, name, &limits, &root, e)) {
        return -1;
    }
    int rc = from_json(root, name, out, e);
    json_free(root);
    return rc;
}

int tokenizer_parse(const char *text, size_t n, const char *label,
                    struct tokenizer **out, struct err *e)
{
    struct json *root;
    struct err inner = ERR_INIT;
    const char *name = label ? label : FILE_NAME;
    *out = NULL;
    if (json_parse(text, n, &limits, &root, &inner)) {
        enum err_code code =
            inner.code == ERR_INVALID ? ERR_FORMAT : inner.code;
        return err_set(e, code, "%.80s: %.160s", name, inner.msg);
    }
    int rc = from_json(root, name, out, e);
    json_free(root);
    return rc;
}

void tokenizer_close(struct tokenizer *t)
{
    if (t) {
        mem_free(t->arena);
        mem_free((void *)t->text);
        mem_free(t->len);
        mem_free(t->special);
        mem_free(t->slots);
        mem_free(t->specials);
        mem_free(t);
    }
}

int tokenizer_size(const struct tokenizer *t)
{
    return t->n;
}

enum tokenizer_level tokenizer_level(const struct tokenizer *t)
{
    return t->rule == RULE_CHARACTERS ? TOK_LEVEL_CHAR : TOK_LEVEL_WORD;
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

int tokenizer_add_bos(const struct tokenizer *t)
{
    return t->add_bos;
}

int tokenizer_is_special(const struct tokenizer *t, int32_t id)
{
    return id >= 0 && id < t->n && t->special[id];
}

int tokenizer_can_miss(const struct tokenizer *t)
{
    (void)t;
    return 1; /* words and characters alike: a vocabulary is a finite list */
}

const char *tokenizer_text(const struct tokenizer *t, int32_t id)
{
    return id >= 0 && id < t->n ? t->text[id] : NULL;
}

int32_t tokenizer_id(const struct tokenizer *t, const char *entry)
{
    return tokenizer_lookup(t, entry, strlen(entry));
}

struct encoder {
    const struct tokenizer *t;
    struct token_list *out;
    int max_tokens;
    const char *text; /* the whole; pieces are counted from base */
    uint32_t base;
    struct err *e;
};

static int grow(struct encoder *c)
{
    int cap = c->out->cap ? c->out->cap * 2 : 64;
    if (cap > c->max_tokens) {
        cap = c->max_tokens;
    }
    struct token *v = mem_grow(c->out->v, (size_t)cap, sizeof(*v));
    if (!v) {
        return err_nomem(c->e);
    }
    c->out->v = v;
    c->out->cap = cap;
    return 0;
}

static int push(struct encoder *c, int32_t id, uint32_t start, uint32_t end)
{
    if (c->out->n >= c->max_tokens) {
        return err_set_at(c->e, ERR_TOO_LARGE, "context_length_exceeded", NULL,
                          "the text has more than %d tokens", c->max_tokens);
    }
    if (c->out->n == c->out->cap && grow(c)) {
        return -1;
    }
    c->out->v[c->out->n++] = (struct token){id, start, end};
    return 0;
}

static int on_piece(void *arg, const char *piece, size_t len, uint32_t start,
                    uint32_t end)
{
    struct encoder *c = arg;
    const struct tokenizer *t = c->t;
    int32_t id = tokenizer_lookup(t, piece, len);
    int line_feed = id == t->newline && c->text[c->base + start] == '\n';
    if (id >= 0 && t->special[id] && !line_feed) {
        id = -1; /* plain text is never a special token */
    }
    if (id < 0) {
        c->out->n_unknown++;
        id = t->unk;
    }
    return id < 0 ? 0 : push(c, id, c->base + start, c->base + end);
}

static int encode_plain(struct encoder *c, const char *text, size_t from,
                        size_t to)
{
    const struct tokenizer *t = c->t;
    const char *s = text + from;
    size_t n = to - from;
    c->base = (uint32_t)from;
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

/* The longest special token whose text stands at s, or -1. */
static int32_t special_at(const struct tokenizer *t, const char *s, size_t n)
{
    for (int k = 0; k < t->n_specials; k++) {
        int32_t id = t->specials[k];
        if (t->len[id] <= n && memcmp(t->text[id], s, t->len[id]) == 0) {
            return id;
        }
    }
    return -1;
}

static int encode_special(struct encoder *c, const char *text, size_t n)
{
    const struct tokenizer *t = c->t;
    size_t from = 0;
    for (size_t i = 0; i < n;) {
        int32_t id = special_at(t, text + i, n - i);
        if (id < 0) {
            i++;
            continue;
        }
        size_t end = i + t->len[id];
        if (encode_plain(c, text, from, i) ||
            push(c, id, (uint32_t)i, (uint32_t)end)) {
            return -1;
        }
        from = i = end;
    }
    return encode_plain(c, text, from, n);
}

int tokenizer_encode(const struct tokenizer *t, const char *text, size_t n,
                     unsigned flags, int max_tokens, struct token_list *out,
                     struct err *e)
{
    struct encoder c = {t, out, max_tokens > 0 ? max_tokens : 0, text, 0, e};
    if (n > UINT32_MAX) {
        return err_set(e, ERR_TOO_LARGE, "text of %zu bytes", n);
    }
    if ((flags & TOK_ADD_SPECIAL) && t->bos >= 0 && push(&c, t->bos, 0, 0)) {
        return -1;
    }
    int rc = (flags & TOK_PARSE_SPECIAL) ? encode_special(&c, text, n)
                                         : encode_plain(&c, text, 0, n);
    return rc ? -1 : 0;
}
