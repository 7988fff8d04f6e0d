/* tok_added: finding added and control tokens in a text. They lie sorted by
 * their bytes; at a place of the text the range of those that still agree is
 * narrowed byte by byte, so that a look costs at most the length of the longest
 * of them however many there are. The first place wins, then the longest, as
 * in Hugging Face tokenizers.
 *
 * SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/base/utf8.h"
#include "engine/text/tokenizer_impl.h"
#include "engine/text/unicode/unicode.h"

struct entry {
    const char *text;
    uint32_t len;
    int32_t id;
};

static int by_bytes(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    int c = memcmp(x->text, y->text, x->len < y->len ? x->len : y->len);
    return c ? c : (x->len > y->len) - (x->len < y->len);
}

static int is_cut(const struct tokenizer *t, int id)
{
    return t->len[id] > 0 && (t->attr[id] & (TOK_CONTROL | TOK_ADDED));
}

int tok_added_index(struct tokenizer *t, const struct tok_source *s)
{
    int n = 0, k = 0;
    for (int id = 0; id < t->n; id++)
        n += is_cut(t, id);
    struct entry *v = mem_array((size_t)n + 1, sizeof *v);
    t->added = mem_array((size_t)n + 1, sizeof *t->added);
    if (!v || !t->added) {
        mem_free(v);
        return err_nomem(s->e);
    }
    for (int id = 0; id < t->n; id++)
        if (is_cut(t, id))
            v[k++] = (struct entry){t->text[id], t->len[id], id};
    qsort(v, (size_t)n, sizeof *v, by_bytes);
    for (k = 0; k < n; k++) {
        t->added[k] = v[k].id;
        t->first_added[(unsigned char)v[k].text[0] + 1] = k + 1;
    }
    for (k = 1; k <= 256; k++) /* bytes that none begins with */
        if (t->first_added[k] == 0)
            t->first_added[k] = t->first_added[k - 1];
    t->n_added = n;
    mem_free(v);
    return 0;
}

/* The first of added[lo..hi), which agree on `depth` bytes, whose next byte is
 * at least b; an entry that ends there comes before all others. */
static int narrow(const struct tokenizer *t, int lo, int hi, uint32_t depth,
                  unsigned b)
{
    while (lo < hi) {
        int mid = lo + (hi - lo) / 2;
        int32_t id = t->added[mid];
        unsigned at =
            t->len[id] > depth ? (unsigned char)t->text[id][depth] + 1u : 0;
        if (at < b + 1)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

int32_t tok_added_at(const struct tokenizer *t, const char *s, size_t n,
                     unsigned flags)
{
    unsigned not_now = (flags & TOK_PARSE_SPECIAL) ? 0 : TOK_CONTROL;
    int32_t best = -1;
    int lo = 0, hi = t->n_added;
    for (uint32_t depth = 0; depth < n && lo < hi; depth++) {
        unsigned b = (unsigned char)s[depth];
        if (depth == 0) {
            lo = t->first_added[b];
            hi = t->first_added[b + 1];
        } else {
            int from = narrow(t, lo, hi, depth, b);
            hi = narrow(t, from, hi, depth, b + 1);
            lo = from;
        }
        int32_t id = lo < hi ? t->added[lo] : -1;
        if (id >= 0 && t->len[id] == depth + 1 && !(t->attr[id] & not_now))
            best = id;
    }
    return best;
}

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

static int is_word(uint32_t cp)
{
    return (uni_mask(cp) &
            (UNI_LETTER | UNI_MARK | UNI_NUMBER | UNI_BIT(PC))) != 0;
}

/* Is no word character beside [start, end)? */
static int stands_alone(const char *s, size_t n, size_t start, size_t end)
{
    uint32_t cp;
    if (start > 0 && is_word(point_before(s, start)))
        return 0;
    return !(end < n && utf8_next(s + end, n - end, &cp) && is_word(cp));
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
    }
    if (t->attr[h->id] & TOK_RSTRIP)
        while ((len = utf8_next(s + h->end, n - h->end, &cp)) > 0 &&
               (uni_mask(cp) & UNI_SPACE))
            h->end += (size_t)len;
}

int tok_added_next(const struct tokenizer *t, const char *s, size_t n,
                   size_t from, unsigned flags, struct tok_hit *hit)
{
    for (size_t i = hit->resume; i < n;) {
        unsigned b = (unsigned char)s[i];
        int32_t id = t->first_added[b] < t->first_added[b + 1]
                         ? tok_added_at(t, s + i, n - i, flags)
                         : -1;
        if (id < 0) {
            i++;
            continue;
        }
        size_t end = i + t->len[id];
        *hit = (struct tok_hit){id, i, end, end};
        if (!(t->attr[id] & TOK_WHOLE) ||
            stands_alone(s, n, hit->start, hit->end)) {
            take_space(t, s, n, from, hit);
            return 1;
        }
        i = hit->end;
    }
    return 0;
}
