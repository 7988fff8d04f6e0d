/* detok: ids back to text, one after the other. English words are joined by
 * the inverse of the rules in tok_word.c. The state is two bits of open quotes
 * and the last id, so that it can be kept with a sequence.
 *
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "engine/text/tok_split.h"
#include "engine/text/tokenizer_impl.h"

#define QUOTE_DOUBLE 1u
#define QUOTE_SINGLE 2u

void detok_init(struct detok *d)
{
    memset(d, 0, sizeof(*d));
    d->last = -1;
}

static int is_one_of(const char *s, const char *const *list)
{
    for (; *list; list++) {
        if (strcmp(s, *list) == 0) {
            return 1;
        }
    }
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
    if (bit == QUOTE_SINGLE && !(d->in_quote & bit) && last &&
        is_plural(last)) {
        return 0;
    }
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
    if (is_one_of(s, list)) {
        return 1;
    }
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
    if (!last || glued) {
        return 0;
    }
    return !glues_right(last) && !glues_left(s, last);
}

/* Common to detok_seed (out NULL) and detok_next. */
static int step(const struct tokenizer *t, struct detok *d, int32_t id,
                struct buf *out)
{
    const char *s = tokenizer_text(t, id);
    if (!s) {
        return 0;
    }
    if (tokenizer_is_special(t, id)) {
        if (id == t->unk) {
            d->last = id; /* a word stood here */
            d->glue = 0;
        } else {
            detok_init(d);
        }
        return 0;
    }
    int space = 0;
    const char *last = tokenizer_text(t, d->last);
    if (t->rule == RULE_ENGLISH) {
        space = space_before(d, s, last);
    } else if (t->rule == RULE_WHITESPACE) {
        space = last && id != t->newline && d->last != t->newline;
        s = id == t->newline ? "\n" : s;
    }
    d->last = id;
    if (out && space) {
        buf_add_char(out, ' ');
    }
    if (out) {
        buf_add_str(out, s);
    }
    return out && out->failed ? -1 : 0;
}

void detok_seed(const struct tokenizer *t, struct detok *d, const int32_t *ids,
                int n)
{
    for (int i = 0; i < n; i++) {
        step(t, d, ids[i], NULL);
    }
}

int detok_next(const struct tokenizer *t, struct detok *d, int32_t id,
               struct buf *out)
{
    return step(t, d, id, out);
}

int detok_finish(const struct tokenizer *t, struct detok *d, struct buf *out)
{
    (void)t;
    if (d->n_pend == 0) {
        return 0;
    }
    d->n_pend = 0;
    return buf_add_str(out, "\xef\xbf\xbd");
}
