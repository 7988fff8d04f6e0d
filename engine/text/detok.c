/* detok: ids back to text, one after the other. English words are joined by
 * the inverse of the rules in tok_word.c; the bytes of sub-words are joined to
 * whole code points. The state is two bits of open quotes, the last id and at
 * most three bytes, so that it can be kept with a sequence.
 *
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "engine/base/utf8.h"
#include "engine/text/pipe/pipe.h"
#include "engine/text/tokenizer_impl.h"

#define QUOTE_DOUBLE 1u
#define QUOTE_SINGLE 2u

void detok_init(struct detok *d)
{
    memset(d, 0, sizeof *d);
    d->last = -1;
}

static int is_one_of(const char *s, const char *const *list)
{
    for (; *list; list++)
        if (strcmp(s, *list) == 0)
            return 1;
    return 0;
}

/* May an apostrophe after this word be a possessive ("dogs'")? */
static int is_plural(const char *s)
{
    static const char *const others[] = {
        "is",     "was",  "as",   "this", "his",  "has",  "does",
        "its",    "us",   "yes",  "says", "thus", "less", "perhaps",
        "always", "asks", "goes", "ours", NULL};
    size_t n = strlen(s);
    return n > 1 && s[0] != '\'' && (s[n - 1] == 's' || s[n - 1] == 'S') &&
           !is_one_of(s, others);
}

/* Does the quotation mark s open a quotation? Flips the state. An apostrophe
 * after a word in s, with no quotation open, is a possessive. */
static int quote_opens(struct detok *d, const char *s, const char *last)
{
    uint8_t bit = s[0] == '"' ? QUOTE_DOUBLE : QUOTE_SINGLE;
    if (bit == QUOTE_SINGLE && !(d->in_quote & bit) && last && is_plural(last))
        return 0;
    d->in_quote ^= bit;
    return (d->in_quote & bit) != 0;
}

static int is_quote(const char *s)
{
    return (s[0] == '"' || s[0] == '\'') && s[1] == 0;
}

/* Is there no space after this entry? An opening quote leaves its mark in
 * d->glue. */
static int glues_right(const char *s)
{
    static const char *const list[] = {"(", "[",  "{", "$",
                                       "#", "--", "/", NULL};
    return is_one_of(s, list);
}

static int glues_left(const char *s, const char *last)
{
    static const char *const list[] = {
        ".",   ",",  ";",  ":",   "!",   "?",   ")",   "]",   "}",   "%",
        "...", "--", "/",  "n't", "'s",  "'m",  "'d",  "'ll", "'re", "'ve",
        "N'T", "'S", "'M", "'D",  "'LL", "'RE", "'VE", NULL};
    if (is_one_of(s, list))
        return 1;
    return strcmp(s, "not") == 0 && strcmp(last, "can") == 0;
}

/* 1 when a space stands before entry s. Updates the state. */
static int space_before(struct detok *d, const char *s, const char *last)
{
    int glued = d->glue;
    d->glue = 0;
    if (is_quote(s)) {
        int opens = quote_opens(d, s, last);
        d->glue = (uint8_t)opens;
        return last && !glued && opens && !glues_right(last);
    }
    if (!last || glued)
        return 0;
    return !glues_right(last) && !glues_left(s, last);
}

int tok_rule_detok(const struct tokenizer *t, struct detok *d, int32_t id,
                   struct buf *out)
{
    const char *s = tokenizer_text(t, id);
    const char *last = tokenizer_text(t, d->last);
    int space = 0;
    if (t->rule == RULE_ENGLISH) {
        space = space_before(d, s, last);
    } else if (t->rule == RULE_WHITESPACE) {
        space = last && id != t->newline && d->last != t->newline;
        s = id == t->newline ? "\n" : s;
    }
    if (out && space)
        buf_add_char(out, ' ');
    if (out)
        buf_add_str(out, s);
    return out && out->failed ? -1 : 0;
}

/* ------------------------------------------------------------------ bytes */

#define REPLACEMENT "\xef\xbf\xbd"

/* How many bytes of s [n] belong to the code point that begins there: its
 * length when it is whole (*whole 1), else the longest beginning of one, at
 * least 1 (Unicode 16.0, section 3.9, "maximal subparts"). */
static size_t subpart(const char *s, size_t n, int *whole)
{
    uint32_t cp;
    unsigned char b0 = (unsigned char)s[0];
    int len = utf8_next(s, n, &cp);
    *whole = len > 0;
    if (len > 0)
        return (size_t)len;
    size_t need = b0 >= 0xf0 ? 4 : b0 >= 0xe0 ? 3 : 2;
    if (b0 < 0xc2 || b0 > 0xf4 || n < 2)
        return 1;
    unsigned char b1 = (unsigned char)s[1];
    unsigned lo = b0 == 0xe0 ? 0xa0 : b0 == 0xf0 ? 0x90 : 0x80;
    unsigned hi = b0 == 0xed ? 0x9f : b0 == 0xf4 ? 0x8f : 0xbf;
    if (b1 < lo || b1 > hi)
        return 1;
    size_t k = 2;
    while (k < n && k < need - 1 && ((unsigned char)s[k] & 0xc0) == 0x80)
        k++;
    return k;
}

/* Can s [n], a maximal subpart at the end of what is there, still become a
 * code point? */
static int is_beginning(const char *s, size_t n)
{
    unsigned char b0 = (unsigned char)s[0];
    size_t need = b0 >= 0xf0 ? 4 : b0 >= 0xe0 ? 3 : 2;
    return b0 >= 0xc2 && b0 <= 0xf4 && n < need;
}

static void put(struct buf *out, const char *s, size_t n)
{
    if (out)
        buf_add(out, s, n);
}

/* Write what is whole of s [n]; returns where the beginning that is held back
 * begins, or n. */
static size_t put_whole(const char *s, size_t n, struct buf *out)
{
    size_t i = 0;
    while (i < n) {
        int whole;
        size_t k = subpart(s + i, n - i, &whole);
        if (!whole && i + k == n && is_beginning(s + i, k))
            break;
        put(out, whole ? s + i : REPLACEMENT, whole ? k : 3);
        i += k;
    }
    return i;
}

int detok_bytes(struct detok *d, const char *s, size_t n, struct buf *out)
{
    /* What is held back is completed byte by byte, the rest is one piece. */
    while (n > 0 && d->n_pend > 0) {
        char two[5];
        memcpy(two, d->pend, d->n_pend);
        two[d->n_pend] = *s++;
        n--;
        size_t len = d->n_pend + 1u;
        size_t from = put_whole(two, len, out);
        d->n_pend = (uint8_t)(len - from);
        memcpy(d->pend, two + from, d->n_pend);
    }
    if (n > 0) {
        size_t from = put_whole(s, n, out);
        d->n_pend = (uint8_t)(n - from);
        memcpy(d->pend, s + from, d->n_pend);
    }
    return out && out->failed ? -1 : 0;
}

/* A control token stands for no text; after an unknown word spacing goes on,
 * after others a text begins. */
static int skip_control(const struct tokenizer *t, struct detok *d, int32_t id,
                        struct buf *out)
{
    int rc = out ? detok_finish(t, d, out) : 0;
    uint8_t begun = d->begun, run = d->run;
    d->n_pend = 0;
    if (id == t->unk) {
        d->last = id;
        d->glue = 0;
    } else {
        detok_init(d);
        d->begun = begun;
        d->run = run;
    }
    return rc;
}

/* Common to detok_seed (out NULL) and detok_next. */
static int step(const struct tokenizer *t, struct detok *d, int32_t id,
                struct buf *out)
{
    size_t n;
    if (id < 0 || id >= t->n)
        return 0;
    if (tokenizer_is_special(t, id) && t->pipe)
        return 0; /* as if it were not there */
    if (tokenizer_is_special(t, id))
        return skip_control(t, d, id, out);
    int rc;
    if (t->pipe) {
        rc = pipe_detok(t, d, id, out);
    } else if (t->ops->detok) {
        rc = t->ops->detok(t, d, id, out);
    } else {
        const char *s = tokenizer_piece(t, id, &n);
        rc = detok_bytes(d, s, n, out);
    }
    d->last = id;
    d->begun = 1;
    return rc;
}

void detok_seed(const struct tokenizer *t, struct detok *d, const int32_t *ids,
                int n)
{
    for (int i = 0; i < n; i++)
        step(t, d, ids[i], NULL);
}

int detok_next(const struct tokenizer *t, struct detok *d, int32_t id,
               struct buf *out)
{
    return step(t, d, id, out);
}

int detok_finish(const struct tokenizer *t, struct detok *d, struct buf *out)
{
    (void)t;
    if (d->n_pend == 0)
        return 0;
    d->n_pend = 0;
    return buf_add_str(out, REPLACEMENT);
}
