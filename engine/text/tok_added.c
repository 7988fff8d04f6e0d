/* tok_added: finding added and control tokens in a text. The first place wins,
 * then the longest, as in Hugging Face tokenizers.
 *
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "engine/base/utf8.h"
#include "engine/text/tokenizer_impl.h"
#include "engine/text/unicode/unicode.h"

/* Bytes that are held against others, below a second of them: 1000 normalized
 * tokens of 20 bytes and as many others. */
#define MAX_HELD ((int64_t)1 << 26)

static int is_cut(const struct tokenizer *t, int id)
{
    if (t->pipe && t->attr[id] & TOK_NORMAL) /* pipe_added.c */
        return 0;
    return t->len[id] > 0 && (t->attr[id] & (TOK_CONTROL | TOK_ADDED));
}

int tok_added_index(struct tokenizer *t, const struct tok_source *s)
{
    int n = 0;
    for (int id = 0; id < t->n; id++)
        n += is_cut(t, id);
    if (tok_index_begin(&t->added, n, s->e))
        return -1;
    for (int id = 0; id < t->n; id++)
        if (is_cut(t, id))
            tok_index_add(&t->added, t, id, 0);
    return tok_index_end(&t->added, s);
}

/* ---------------------------------------------------------- in one pass */

/* Only marks and white space of ASCII: NFC does nothing to them, whatever
 * stands beside them. */
static int is_inert(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!utf8_is_punct((unsigned char)s[i]) &&
            !utf8_is_space((unsigned char)s[i]))
            return 0;
    return 1;
}

static int has_space(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (utf8_is_space((unsigned char)s[i]) || (unsigned char)s[i] >= 0xc2)
            return 1;
    return 0;
}

/* Can occurrences of a and b lie one over the other? */
static int overlap(const struct tokenizer *t, int a, int b)
{
    const char *x = t->text[a], *y = t->text[b];
    size_t n = t->len[a], m = t->len[b];
    for (size_t i = 0; i < n; i++) /* b begins inside of a */
        if (memcmp(x + i, y, n - i < m ? n - i : m) == 0)
            return 1;
    for (size_t i = 0; i < m; i++)
        if (memcmp(y + i, x, m - i < n ? m - i : n) == 0)
            return 1;
    return 0;
}

static int disturbs(const struct tokenizer *t, int normal, int other)
{
    const unsigned strips = TOK_LSTRIP | TOK_RSTRIP;
    return (t->attr[normal] & TOK_WHOLE) ||
           ((t->attr[normal] & strips) &&
            has_space(t->text[other], t->len[other])) ||
           ((t->attr[other] & strips) &&
            has_space(t->text[normal], t->len[normal])) ||
           overlap(t, normal, other);
}

static int needs_pass(const struct tokenizer *t, int normal, int64_t *left)
{
    for (int k = 0; k < t->added.n && *left >= 0; k++) {
        int id = t->added.v[k].id;
        --*left;
        if (t->attr[id] & TOK_NORMAL)
            continue;
        *left -= (int64_t)t->len[normal] + t->len[id];
        if (disturbs(t, normal, id))
            return 1;
    }
    return *left < 0;
}

int tok_added_one_pass(const struct tokenizer *t, const struct tok_source *s)
{
    const struct json *j = json_get(s->root, "normalizer");
    const char *type = json_string(json_get(j, "type"));
    int64_t left = MAX_HELD;
    for (int k = 0; k < t->added.n; k++) {
        int id = t->added.v[k].id;
        if (!(t->attr[id] & TOK_NORMAL))
            continue;
        int inert = !type || (strcmp(type, "NFC") == 0 &&
                              is_inert(t->text[id], t->len[id]));
        if (!inert || needs_pass(t, id, &left))
            return tok_refuse(s, "normalized added token", t->text[id]);
    }
    return 0;
}

/* ------------------------------------------------------------- the search */

/* The code point before s[i], or 0. */
static uint32_t point_before(const char *s, size_t i)
{
    uint32_t cp = 0;
    size_t k = i;
    while (k > 0 && i - k < 4) {
        k--;
        if (((unsigned char)s[k] & 0xc0) != 0x80)
            return utf8_next(s + k, i - k, &cp) ? cp : 0;
    }
    return 0;
}

/* Is no word character beside [start, end)? */
static int stands_alone(const char *s, size_t n, size_t start, size_t end)
{
    uint32_t cp;
    if (start > 0 && uni_is_word(point_before(s, start)))
        return 0;
    return !(end < n && utf8_next(s + end, n - end, &cp) && uni_is_word(cp));
}

static void take_space(const struct tokenizer *t, const char *s, size_t n,
                       size_t from, struct tok_hit *h)
{
    uint32_t cp;
    int len;
    if (t->attr[h->id] & TOK_LSTRIP) {
        while (h->start > from && (cp = point_before(s, h->start)) != 0 &&
               (uni_mask(cp) & UNI_SPACE)) {
            char one[4];
            h->start -= (size_t)utf8_put(cp, one);
        }
        h->start = h->start > from ? h->start : from;
    }
    if (t->attr[h->id] & TOK_RSTRIP) {
        size_t i = h->end < h->space ? h->space : h->end;
        while ((len = utf8_next(s + i, n - i, &cp)) > 0 &&
               (uni_mask(cp) & UNI_SPACE))
            i += (size_t)len;
        h->end = h->space = i;
    }
}

int tok_added_next(const struct tokenizer *t, const struct tok_index *x,
                   const char *s, size_t n, size_t from, unsigned flags,
                   struct tok_hit *hit)
{
    unsigned but = (flags & TOK_PARSE_SPECIAL) ? 0 : TOK_CONTROL;
    for (size_t i = hit->resume; i < n;) {
        unsigned b = (unsigned char)s[i];
        const struct tok_entry *at =
            x->first[b] < x->first[b + 1]
                ? tok_index_longest(x, t, but, s + i, n - i)
                : NULL;
        if (!at) {
            i++;
            continue;
        }
        size_t end = i + at->len;
        *hit = (struct tok_hit){at->id, i, end, end, hit->space};
        if (!(t->attr[at->id] & TOK_WHOLE) ||
            stands_alone(s, n, hit->start, hit->end)) {
            take_space(t, s, n, from, hit);
            return 1;
        }
        i = hit->end;
    }
    return 0;
}
