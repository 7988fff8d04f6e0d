/* json_scan: see json_scan.h. The scanner is a loop over values with an array
 * of open containers. Keys go into one hash table for the whole document,
 * hashed and compared together with the number of their object, after
 * unescaping, so that duplicates are found in linear time; the hash is keyed
 * (hash.h), so that no client can choose collisions.
 * Source: RFC 8259; section numbers are in the comments.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/base/json_scan.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/hash.h"
#include "engine/base/mem.h"
#include "engine/base/utf8.h"

#define FEW_KEYS 32     /* kept on the stack; most requests have fewer */
#define NUMBER_BYTES 63 /* cJSON's own limit */
#define DEPTH_ON_STACK 64
/* Bytes, about: "word":12345, and a line feed; and how many are looked ahead to
 * (2 MB of keys and slots). */
#define VOCABULARY_ENTRY 16
#define MOST_FORESEEN ((size_t)1 << 20)

/* Small: a vocabulary has tens of thousands. The text is below 2^30 bytes. */
struct key {
    const char *p; /* unescaped: into the text, or owned */
    uint64_t hash;
    uint32_t object; /* byte offset of its '{' */
    unsigned n : 31, owned : 1;
};

struct open {
    size_t at; /* byte offset of the bracket */
    int is_object;
};

struct scan {
    const char *s;
    size_t i, n;
    const struct json_limits *lim;
    int nul; /* \u0000 may stand in a string */
    struct err *e;
    size_t n_nodes;
    struct open *stack;
    int depth;
    uint64_t hkey[2];
    struct key *keys;
    size_t n_keys, cap_keys;
    uint32_t *slots; /* index + 1 into keys; NULL while there are few */
    size_t n_slots;
    struct open few_open[DEPTH_ON_STACK];
    struct key few_keys[FEW_KEYS];
};

static int bad(struct scan *c, size_t at, const char *cause)
{
    return err_set(c->e, ERR_INVALID, "invalid JSON at byte %zu: %s", at,
                   cause);
}

static void skip_space(struct scan *c)
{
    while (c->i < c->n && (c->s[c->i] == ' ' || c->s[c->i] == '\n' ||
                           c->s[c->i] == '\r' || c->s[c->i] == '\t'))
        c->i++;
}

static int hex4(const char *s, size_t n, uint32_t *out)
{
    uint32_t v = 0;
    if (n < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        char ch = s[i];
        uint32_t d = ch >= '0' && ch <= '9'   ? (uint32_t)(ch - '0')
                     : ch >= 'a' && ch <= 'f' ? (uint32_t)(ch - 'a') + 10
                     : ch >= 'A' && ch <= 'F' ? (uint32_t)(ch - 'A') + 10
                                              : 16;
        if (d > 15)
            return -1;
        v = v << 4 | d;
    }
    *out = v;
    return 0;
}

/* Decode the escape at s[0] == '\\' into out (1-4 bytes, *n_out). Returns the
 * bytes read, or 0 with *cause. (RFC 8259, 7) */
static size_t unescape(const char *s, size_t n, char out[4], int *n_out,
                       const char **cause)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    *cause = "unknown escape";
    if (n < 2 || s[1] == 0)
        return 0;
    const char *hit = strchr(from, s[1]);
    if (hit) {
        out[0] = to[hit - from];
        *n_out = 1;
        return 2;
    }
    uint32_t cp, low;
    if (s[1] != 'u' || hex4(s + 2, n - 2, &cp))
        return 0;
    size_t used = 6;
    if (cp == 0) { /* as Java writes it, the caller knows if it may be */
        memcpy(out, "\xc0\x80", 2);
        *n_out = 2;
        return used;
    }
    if (cp >= 0xd800 && cp <= 0xdbff && n >= 12 && s[6] == '\\' &&
        s[7] == 'u' && hex4(s + 8, n - 8, &low) == 0 && low >= 0xdc00 &&
        low <= 0xdfff) {
        cp = 0x10000 + ((cp - 0xd800) << 10) + (low - 0xdc00);
        used = 12;
    }
    *n_out = utf8_put(cp, out);
    *cause = "lone surrogate";
    return *n_out ? used : 0;
}

/* A string at i; leaves i behind its closing quote. *from, *len: the raw bytes
 * between the quotes. */
static int scan_string(struct scan *c, size_t *from, size_t *len, int *escaped)
{
    size_t i = c->i + 1;
    *from = i;
    *escaped = 0;
    while (i < c->n && c->s[i] != '"') {
        unsigned char ch = (unsigned char)c->s[i];
        size_t used;
        if (ch < 0x20)
            return bad(c, i, "control character in a string");
        if (ch == '\\') {
            char out[4];
            int n_out;
            const char *cause;
            used = unescape(c->s + i, c->n - i, out, &n_out, &cause);
            if (used == 0)
                return bad(c, i, cause);
            if (n_out == 2 && out[0] == '\xc0' && !c->nul)
                return bad(c, i, "\\u0000 in a string");
            *escaped = 1;
        } else if (ch < 0x80) { /* most are */
            used = 1;
        } else {
            uint32_t cp;
            used = (size_t)utf8_next(c->s + i, c->n - i, &cp);
            if (used == 0)
                return bad(c, i, "not UTF-8");
        }
        i += used;
    }
    if (i >= c->n)
        return bad(c, i, "unterminated string");
    *len = i - *from;
    c->i = i + 1;
    return 0;
}

static size_t digits(const struct scan *c, size_t i)
{
    while (i < c->n && c->s[i] >= '0' && c->s[i] <= '9')
        i++;
    return i;
}

/* Is the number s[0..n) finite as a double? The point is taken out first, so
 * that the locale has no say. n <= NUMBER_BYTES. */
static int number_is_finite(const char *s, size_t n)
{
    char text[NUMBER_BYTES + 24];
    size_t k = 0, i = 0;
    long shift = 0;
    int after_point = 0;
    for (; i < n && s[i] != 'e' && s[i] != 'E'; i++) {
        if (s[i] == '.') {
            after_point = 1;
        } else {
            text[k++] = s[i];
            shift -= after_point;
        }
    }
    if (i < n) {
        long x = strtol(s + i + 1, NULL, 10); /* saturates at LONG_MAX */
        shift += x > 100000 ? 100000 : x < -100000 ? -100000 : x;
    }
    snprintf(text + k, sizeof(text) - k, "e%ld", shift);
    return isfinite(strtod(text, NULL));
}

/* RFC 8259, 6 */
static int scan_number(struct scan *c)
{
    size_t from = c->i, i = c->i, next;
    if (i < c->n && c->s[i] == '-')
        i++;
    next = digits(c, i);
    if (next == i)
        return bad(c, from, "expected a value");
    if (c->s[i] == '0' && next > i + 1)
        return bad(c, from, "number with a leading zero");
    i = next;
    if (i < c->n && c->s[i] == '.') {
        next = digits(c, i + 1);
        if (next == i + 1)
            return bad(c, from, "number without digits after the point");
        i = next;
    }
    int has_exp = i < c->n && (c->s[i] == 'e' || c->s[i] == 'E');
    if (has_exp) {
        i++;
        if (i < c->n && (c->s[i] == '+' || c->s[i] == '-'))
            i++;
        next = digits(c, i);
        if (next == i)
            return bad(c, from, "number without digits in the exponent");
        i = next;
    }
    if (i - from > NUMBER_BYTES)
        return bad(c, from, "number with more than 63 characters");
    if (has_exp) {
        char text[NUMBER_BYTES + 1];
        memcpy(text, c->s + from, i - from);
        text[i - from] = 0;
        if (!number_is_finite(text, i - from))
            return bad(c, from, "number out of range");
    }
    c->i = i;
    return 0;
}

static int scan_word(struct scan *c)
{
    static const char *const words[] = {"true", "false", "null"};
    for (int k = 0; k < 3; k++) {
        size_t len = strlen(words[k]);
        if (c->n - c->i >= len && memcmp(c->s + c->i, words[k], len) == 0) {
            c->i += len;
            return 0;
        }
    }
    return bad(c, c->i, "expected a value");
}

static int same_key(const struct key *a, const struct key *b)
{
    return a->hash == b->hash && a->object == b->object && a->n == b->n &&
           memcmp(a->p, b->p, a->n) == 0;
}

/* Put key k (index + 1) into its slot; -1 when an equal key is there. */
static int place(struct scan *c, uint32_t k)
{
    const struct key *key = &c->keys[k - 1];
    size_t at = (size_t)key->hash & (c->n_slots - 1);
    while (c->slots[at]) {
        if (same_key(&c->keys[c->slots[at] - 1], key))
            return -1;
        at = (at + 1) & (c->n_slots - 1);
    }
    c->slots[at] = k;
    return 0;
}

/* Grow the list of keys, and the slots to at least twice its size; the first
 * time to what the rest of a vocabulary needs. */
static int grow_keys(struct scan *c)
{
    size_t cap = c->cap_keys * 2, left = c->n - c->i;
    left = left < MOST_FORESEEN ? left : MOST_FORESEEN;
    while (!c->slots && cap < left / VOCABULARY_ENTRY)
        cap *= 2;
    struct key *keys = mem_array(cap, sizeof *keys);
    uint32_t *slots = mem_zarray(cap * 2, sizeof *slots);
    if (!keys || !slots) {
        mem_free(keys);
        mem_free(slots);
        return err_nomem(c->e);
    }
    memcpy(keys, c->keys, c->n_keys * sizeof *keys);
    if (c->keys != c->few_keys)
        mem_free(c->keys);
    mem_free(c->slots);
    c->keys = keys;
    c->cap_keys = cap;
    c->slots = slots;
    c->n_slots = cap * 2;
    for (size_t k = 0; k < c->n_keys; k++)
        place(c, (uint32_t)k + 1);
    return 0;
}

static int unescape_key(struct scan *c, struct key *key)
{
    char *p = mem_alloc(key->n);
    if (!p)
        return err_nomem(c->e);
    size_t i = 0, k = 0;
    while (i < key->n) {
        char out[4] = {key->p[i]};
        int n_out = 1;
        const char *cause;
        i += key->p[i] == '\\'
                 ? unescape(key->p + i, key->n - i, out, &n_out, &cause)
                 : 1;
        memcpy(p + k, out, (size_t)n_out); /* never longer than the escape */
        k += (size_t)n_out;
    }
    key->p = p;
    key->n = (uint32_t)k & INT32_MAX;
    key->owned = 1;
    return 0;
}

static int is_duplicate(struct scan *c, const struct key *key)
{
    if (c->slots)
        return place(c, (uint32_t)c->n_keys + 1) != 0;
    for (size_t k = 0; k < c->n_keys; k++)
        if (same_key(&c->keys[k], key))
            return 1;
    return 0;
}

/* A member's key and its colon. (RFC 8259, 4) */
static int scan_key(struct scan *c)
{
    size_t at = c->i, from, len;
    int escaped;
    if (c->i >= c->n || c->s[c->i] != '"')
        return bad(c, c->i, "expected a key in quotes");
    if (scan_string(c, &from, &len, &escaped) ||
        (c->n_keys == c->cap_keys && grow_keys(c)))
        return -1;
    struct key *key = &c->keys[c->n_keys];
    *key = (struct key){.p = c->s + from,
                        .n = (uint32_t)len & INT32_MAX,
                        .object = (uint32_t)c->stack[c->depth - 1].at};
    if (escaped && unescape_key(c, key))
        return -1;
    key->hash = hash_siphash(c->hkey, key->p, key->n) ^
                key->object * 0x9e3779b97f4a7c15u; /* spread small offsets */
    int dup = is_duplicate(c, key);
    c->n_keys++;
    if (dup) {
        return err_set(
            c->e, ERR_INVALID, "invalid JSON at byte %zu: duplicate key '%.*s'",
            at, (int)utf8_whole(key->p, key->n > 64 ? 64u : key->n), key->p);
    }
    skip_space(c);
    if (c->i >= c->n || c->s[c->i] != ':')
        return bad(c, c->i, "expected ':'");
    c->i++;
    return 0;
}

static int open_container(struct scan *c)
{
    if (c->depth == c->lim->max_depth) {
        return err_set(c->e, ERR_INVALID,
                       "invalid JSON at byte %zu: nested deeper than %d", c->i,
                       c->lim->max_depth);
    }
    c->stack[c->depth].at = c->i;
    c->stack[c->depth].is_object = c->s[c->i] == '{';
    c->depth++;
    c->i++;
    return 0;
}

/* One value at i, or the opening bracket of one: *opened says which. */
static int scan_value(struct scan *c, int *opened)
{
    *opened = 0;
    skip_space(c);
    if (c->i >= c->n)
        return bad(c, c->i, "unexpected end");
    if (++c->n_nodes > c->lim->max_nodes) {
        return err_set(c->e, ERR_TOO_LARGE, "more than %zu values of JSON",
                       c->lim->max_nodes);
    }
    size_t from, len;
    int escaped;
    char ch = c->s[c->i];
    switch (ch) {
    case '{':
    case '[':
        *opened = 1;
        return open_container(c);
    case '"':
        return scan_string(c, &from, &len, &escaped);
    case 't':
    case 'f':
    case 'n':
        return scan_word(c);
    default:
        return scan_number(c);
    }
}

/* After a value: close what ends here; *more is 1 when a next value follows.
 * After an opening bracket (opened), an empty container closes at once. */
static int scan_separator(struct scan *c, int opened, int *more)
{
    *more = 0;
    while (c->depth > 0) {
        struct open *o = &c->stack[c->depth - 1];
        char close = o->is_object ? '}' : ']';
        skip_space(c);
        if (c->i >= c->n)
            return bad(c, c->i, "unexpected end");
        if (c->s[c->i] == close) {
            c->i++;
            c->depth--;
            opened = 0;
            continue;
        }
        if (!opened) {
            if (c->s[c->i] != ',') {
                return bad(c, c->i,
                           o->is_object ? "expected ',' or '}'"
                                        : "expected ',' or ']'");
            }
            c->i++;
            skip_space(c);
        }
        *more = 1;
        return o->is_object ? scan_key(c) : 0;
    }
    return 0;
}

static int scan_document(struct scan *c)
{
    int more = 1;
    while (more) {
        int opened;
        if (scan_value(c, &opened) || scan_separator(c, opened, &more))
            return -1;
    }
    skip_space(c);
    return c->i == c->n ? 0 : bad(c, c->i, "bytes after the value");
}

int json_scan(const char *text, size_t n, const struct json_limits *lim,
              int nul, struct err *e)
{
    struct scan c;
    memset(&c, 0, offsetof(struct scan, few_open));
    c.s = text;
    c.n = n;
    c.lim = lim;
    c.nul = nul;
    c.e = e;
    c.stack = c.few_open;
    c.keys = c.few_keys;
    c.cap_keys = FEW_KEYS;
    hash_key(c.hkey);
    if (n > UINT32_MAX / 4)
        return err_set(e, ERR_TOO_LARGE, "%zu bytes of JSON", n);
    if (lim->max_depth > DEPTH_ON_STACK) {
        c.stack = mem_array((size_t)lim->max_depth, sizeof *c.stack);
        if (!c.stack)
            return err_nomem(e);
    }
    int rc = scan_document(&c);
    for (size_t k = 0; k < c.n_keys; k++)
        if (c.keys[k].owned)
            mem_free((char *)(uintptr_t)c.keys[k].p);
    if (c.keys != c.few_keys)
        mem_free(c.keys);
    if (c.stack != c.few_open)
        mem_free(c.stack);
    mem_free(c.slots);
    return rc;
}
