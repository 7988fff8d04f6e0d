/* tok_word: "seqd-english" and "seqd-whitespace".
 *
 * seqd-english cuts like the Penn Treebank's tokenizer (Marcus et al. 1993;
 * "tokenizer.sed" of the LDC), so that a text that a user types gives the same
 * entries as the tokenised corpora that models are trained on, and a tokenised
 * text gives itself. In this order:
 *   - curly quotes, dashes and the ellipsis become ASCII, ` becomes ', a
 *     backslash before / or * is dropped, <br /> is white space;
 *   - "-lrb-" and its kin are brackets; `` and '' are ";
 *   - two or more dots are "...", two or more hyphens "--";
 *   - hyphens, apostrophes, slashes and ampersands inside a word stay, so do
 *     . , : between digits; initials ("u.s.") and some abbreviations ("mr.")
 *     keep their full stop, a single letter does unless it ends the text;
 *   - "don't" is "do" "n't", "it's" is "it" "'s", "cannot" is "can" "not";
 *   - what is left of punctuation is one piece per mark.
 * Words are cut after 512 code points, which bounds memory; no vocabulary has
 * such words.
 *
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "engine/base/utf8.h"
#include "engine/text/kinds/tok_split.h"
#include "engine/text/unicode/unicode.h"

#define MAX_CHUNK 512 /* code points between white space */

struct point {
    uint32_t cp;
    uint32_t start, end; /* bytes of the text */
};

/* One chunk of text without white space, normalised. */
struct chunk {
    struct point p[MAX_CHUNK + 4]; /* an ellipsis may go over the end */
    int n;
    const char *text; /* the whole text, [bytes]; the chunk ends at `next` */
    size_t bytes, next;
    split_fn *fn;
    void *arg;
};

static int is_word_cp(uint32_t cp)
{
    return !utf8_is_punct(cp) && cp >= 0x20;
}

static int is_digit(uint32_t cp)
{
    return cp >= '0' && cp <= '9';
}

static int is_letter_at(const struct chunk *c, int i)
{
    if (i < 0 || i >= c->n)
        return 0;
    uint32_t cp = c->p[i].cp;
    return (cp >= 'a' && cp <= 'z') || (cp >= 'A' && cp <= 'Z') ||
           (cp >= 0xc0 && cp < 0x250);
}

static int is_word_at(const struct chunk *c, int i)
{
    return i >= 0 && i < c->n && is_word_cp(c->p[i].cp);
}

static int is_digit_at(const struct chunk *c, int i)
{
    return i >= 0 && i < c->n && is_digit(c->p[i].cp);
}

static int is_at(const struct chunk *c, int i, uint32_t cp)
{
    return i >= 0 && i < c->n && c->p[i].cp == cp;
}

/* Does ASCII text s (lower case) stand at i, whatever the case there? */
static int matches(const struct chunk *c, int i, const char *s)
{
    int k = 0;
    for (; s[k]; k++) {
        if (i + k >= c->n)
            return 0;
        uint32_t cp = c->p[i + k].cp;
        cp += cp >= 'A' && cp <= 'Z' ? 32 : 0;
        if (cp != (unsigned char)s[k])
            return 0;
    }
    return k;
}

/* Does [i, j) equal one of the words of a NULL-terminated list? */
static int is_one_of(const struct chunk *c, int i, int j,
                     const char *const *list)
{
    for (; *list; list++)
        if (matches(c, i, *list) == j - i)
            return 1;
    return 0;
}

/* Hand over the code points [i, j) as one piece. */
static int emit(const struct chunk *c, int i, int j)
{
    char text[4 * (MAX_CHUNK + 4) + 1];
    size_t n = 0;
    for (int k = i; k < j; k++)
        n += (size_t)utf8_put(c->p[k].cp, text + n);
    text[n] = 0;
    return c->fn(c->arg, text, n, c->p[i].start, c->p[j - 1].end);
}

/* Hand over s for the code points [i, j). */
static int emit_as(const struct chunk *c, int i, int j, const char *s)
{
    return c->fn(c->arg, s, strlen(s), c->p[i].start, c->p[j - 1].end);
}

static const char *const suffixes[] = {"'s",  "'m",  "'d", "'ll",
                                       "'re", "'ve", NULL};

/* The length of the contraction part at i that ends a word, or 0. */
static int suffix_at(const struct chunk *c, int i)
{
    for (int k = 0; suffixes[k]; k++) {
        int len = matches(c, i, suffixes[k]);
        if (len && !is_word_at(c, i + len))
            return len;
    }
    return 0;
}

/* Words that begin with an apostrophe: "'em", "'70s". The length, or 0. */
static int clipped_at(const struct chunk *c, int i)
{
    static const char *const words[] = {
        "'em", "'til", "'tis", "'twas", "'cause", "'bout", "'n'", "'n", NULL};
    int j = i + 1;
    while (is_digit_at(c, j))
        j++;
    if (j == i + 3) { /* two digits: a year or a decade */
        j += is_at(c, j, 's') || is_at(c, j, 'S');
        return is_word_at(c, j) ? 0 : j - i;
    }
    for (int k = 0; words[k]; k++) {
        int len = matches(c, i, words[k]);
        if (len && !is_word_at(c, i + len))
            return len;
    }
    return 0;
}

/* The bracket that "-lrb-" and its kin at i stand for, or NULL. */
static const char *bracket_at(const struct chunk *c, int i)
{
    static const char *const from[] = {"-lrb-", "-rrb-", "-lcb-",
                                       "-rcb-", "-lsb-", "-rsb-"};
    static const char *const to[] = {"(", ")", "{", "}", "[", "]"};
    for (int k = 0; k < 6; k++)
        if (matches(c, i, from[k]) && !is_word_at(c, i + 5))
            return to[k];
    return NULL;
}

/* Is the full stop at j inside a host name ("imdb.com")? */
static int is_host_dot(const struct chunk *c, int j)
{
    static const char *const ends[] = {".com", ".net", ".org", NULL};
    for (int k = 0; ends[k]; k++) {
        int len = matches(c, j, ends[k]);
        if (len && !is_word_at(c, j + len))
            return 1;
    }
    return 0;
}

/* Does the mark at j join the word characters on both sides of it? */
static int joins(const struct chunk *c, int j)
{
    if (!is_word_at(c, j + 1))
        return 0;
    switch (c->p[j].cp) {
    case '-':
    case '\'':
    case '/':
    case '&':
    case '*':
        return bracket_at(c, j) == NULL;
    case '.':
        return (is_digit_at(c, j - 1) && is_digit_at(c, j + 1)) ||
               is_host_dot(c, j);
    case ',':
    case ':':
        return is_digit_at(c, j - 1) && is_digit_at(c, j + 1);
    default:
        return 0;
    }
}

/* The end of initials at i, letters with a full stop each, at least two
 * ("u.s."; the last stop may be missing: "u.s"). i when there are none. */
static int initials_end(const struct chunk *c, int i)
{
    int j = i, letters = 0;
    while (is_letter_at(c, j) && is_at(c, j + 1, '.')) {
        j += 2;
        letters++;
    }
    if (letters && is_letter_at(c, j) && !is_word_at(c, j + 1)) {
        j++;
        letters++;
    }
    int more = is_word_at(c, j) || is_at(c, j, '.');
    return letters >= 2 && !more ? j : i;
}

/* The bytes of "<br>", "<br/>" or "<br />" at text[i], or 0. */
static size_t line_break_at(const char *text, size_t n, size_t i)
{
    size_t j = i + 3;
    if (n - i < 4 || text[i] != '<' || (text[i + 1] | 32) != 'b' ||
        (text[i + 2] | 32) != 'r')
        return 0;
    j += j < n && text[j] == ' ';
    j += j < n && text[j] == '/';
    return j < n && text[j] == '>' ? j + 1 - i : 0;
}

/* White space at text[i]: its bytes, or 0. */
static size_t space_at(const char *text, size_t n, size_t i)
{
    uint32_t cp;
    unsigned char b = (unsigned char)text[i];
    if (b > ' ' && b < 0x80 && b != '<')
        return 0;
    size_t used = tok_decode(text, n, i, &cp);
    return utf8_is_space(cp) ? used : line_break_at(text, n, i);
}

static int is_closing(uint32_t cp)
{
    return cp == '"' || cp == '\'' || cp == ')' || cp == ']' || cp == '}';
}

static int all_close(const struct chunk *c, int j)
{
    for (; j < c->n; j++) {
        const char *b = bracket_at(c, j);
        if (!is_closing(b ? (unsigned char)*b : c->p[j].cp))
            return 0;
        j += b ? 4 : 0;
    }
    return 1;
}

static size_t read_chunk(struct chunk *c, const char *text, size_t n, size_t i,
                         int lowercase);

/* Does nothing but closing marks and white space follow [.., j)? Only asked
 * after a single letter and its stop, so that no part of a text is looked at
 * three times. */
static int ends_text(const struct chunk *c, int j)
{
    struct chunk rest;
    int all = all_close(c, j);
    for (size_t i = c->next; all && i < c->bytes;) {
        size_t space = space_at(c->text, c->bytes, i);
        i = space ? i + space : read_chunk(&rest, c->text, c->bytes, i, 0);
        all = space || all_close(&rest, 0);
    }
    return all;
}

/* Does the word [i, j), followed by a full stop, keep it? */
static int keeps_stop(const struct chunk *c, int i, int j)
{
    static const char *const words[] = {
        "mr",  "mrs",  "ms",   "dr",  "st",   "vs",     "jr",   "sr",  "inc",
        "etc", "bros", "prof", "mme", "mlle", "messrs", "capt", "sgt", "lt",
        "gov", "jan",  "feb",  "aug", "sept", "oct",    "nov",  "dec", NULL};
    if (!is_at(c, j, '.') || is_at(c, j + 1, '.') || is_word_at(c, j + 1))
        return 0;
    if (j - i == 1) { /* "j. smith", but "so do i." and "plan b." at the end */
        return is_letter_at(c, i) && !matches(c, i, "i") &&
               !ends_text(c, j + 1);
    }
    return is_one_of(c, i, j, words);
}

/* Where the contraction part that ends the word [i, j) begins, or j. */
static int contraction(const struct chunk *c, int i, int j)
{
    if (j - i > 3 && is_word_at(c, j - 4) && matches(c, j - 3, "n't"))
        return j - 3;
    for (int at = j - 3; at < j - 1; at++)
        if (at > i && is_word_at(c, at - 1) && is_one_of(c, at, j, suffixes))
            return at;
    return j;
}

/* A word [i, j) with its contraction parts: "could" "n't" "'ve". The parts are
 * found from the end and handed over from the start. */
static int emit_word(const struct chunk *c, int i, int j)
{
    int cut[MAX_CHUNK / 2 + 4], n = 0;
    for (int at = j; n == 0 || at < cut[n - 1]; at = contraction(c, i, at))
        cut[n++] = at;
    if (cut[n - 1] - i == 6 && matches(c, i, "cannot"))
        cut[n++] = i + 3;
    for (int from = i; n > 0; from = cut[n]) {
        int rc = emit(c, from, cut[--n]);
        if (rc)
            return rc;
    }
    return 0;
}

/* The word at i; *next is where it ends. */
static int split_word(const struct chunk *c, int i, int *next)
{
    static const char *const open_end[] = {"ol", "lil", NULL};
    int j = initials_end(c, i);
    if (j > i) {
        *next = j;
        return emit(c, i, j);
    }
    j = i;
    while (j < c->n && (is_word_cp(c->p[j].cp) || joins(c, j)))
        j++;
    if (keeps_stop(c, i, j) ||
        (is_at(c, j, '\'') && is_one_of(c, i, j, open_end))) {
        *next = j + 1;
        return emit(c, i, j + 1);
    }
    *next = j;
    return emit_word(c, i, j);
}

static int run_end(const struct chunk *c, int i)
{
    int j = i;
    while (j < c->n && c->p[j].cp == c->p[i].cp)
        j++;
    return j;
}

/* Marks and words that begin with one, at i. */
static int split_mark(const struct chunk *c, int i, int *next)
{
    uint32_t cp = c->p[i].cp;
    int end = run_end(c, i), len = 0;
    const char *bracket = cp == '-' ? bracket_at(c, i) : NULL;
    *next = i + 1;
    if (bracket) {
        *next = i + 5;
        return emit_as(c, i, i + 5, bracket);
    }
    if (end - i >= 2 && (cp == '.' || cp == '-')) {
        *next = end;
        return emit_as(c, i, end, cp == '.' ? "..." : "--");
    }
    if (cp == '\'' && end - i >= 2) {
        *next = i + 2;
        return emit_as(c, i, i + 2, "\"");
    }
    if (cp == '\'') {
        len = suffix_at(c, i);
        len = len ? len : clipped_at(c, i);
    } else if (cp == '.' && is_digit_at(c, i + 1)) {
        len = 1; /* ".5": the word loop takes the digits */
        while (is_digit_at(c, i + len))
            len++;
    }
    *next = len ? i + len : i + 1;
    return emit(c, i, *next);
}

static int split_chunk(const struct chunk *c)
{
    for (int i = 0; i < c->n;) {
        int next;
        int rc = is_word_cp(c->p[i].cp) ? split_word(c, i, &next)
                                        : split_mark(c, i, &next);
        if (rc)
            return rc;
        i = next;
    }
    return 0;
}

/* ASCII for typographic marks: up to three code points into out; 0 code points
 * for what is invisible. */
static int plain(uint32_t cp, uint32_t out[3])
{
    out[0] = out[1] = out[2] = cp;
    if (cp < 0x80 || (cp > 0xbb && cp < 0x2010)) {
        out[0] = cp == '`' ? '\'' : cp;
        return 1;
    }
    switch (cp) {
    case 0xad: /* soft hyphen */
    case 0xfeff:
        return 0;
    case 0x2018:
    case 0x2019:
    case 0x201a:
    case 0x201b:
    case 0x2032:
    case 0xb4:
        out[0] = '\'';
        return 1;
    case 0x201c:
    case 0x201d:
    case 0x201e:
    case 0x201f:
    case 0x2033:
    case 0xab:
    case 0xbb:
        out[0] = '"';
        return 1;
    case 0x2010:
    case 0x2011:
    case 0x2012:
        out[0] = '-';
        return 1;
    case 0x2013:
    case 0x2014:
    case 0x2015:
        out[0] = out[1] = '-';
        return 2;
    case 0x2026:
        out[0] = out[1] = out[2] = '.';
        return 3;
    default:
        return 1;
    }
}

/* Read one chunk from text[i]; returns where it ends. */
static size_t read_chunk(struct chunk *c, const char *text, size_t n, size_t i,
                         int lowercase)
{
    c->n = 0;
    while (i < n && c->n < MAX_CHUNK && !space_at(text, n, i)) {
        uint32_t cp, out[3];
        size_t used = tok_decode(text, n, i, &cp);
        int escape = cp == '\\' && i + 1 < n &&
                     (text[i + 1] == '/' || text[i + 1] == '*');
        int k = escape ? 0 : plain(lowercase ? uni_lower(cp) : cp, out);
        for (int m = 0; m < k; m++) {
            c->p[c->n++] =
                (struct point){out[m], (uint32_t)i, (uint32_t)(i + used)};
        }
        i += used;
    }
    return i;
}

int tok_word_split(const char *text, size_t n, int lowercase, split_fn *fn,
                   void *arg)
{
    struct chunk c;
    c.text = text;
    c.bytes = n;
    c.fn = fn;
    c.arg = arg;
    for (size_t i = 0; i < n;) {
        size_t space = space_at(text, n, i);
        if (space) {
            i += space;
            continue;
        }
        i = read_chunk(&c, text, n, i, lowercase);
        c.next = i;
        int rc = split_chunk(&c);
        if (rc)
            return rc;
    }
    return 0;
}

int tok_space_split(const char *text, size_t n, const char *newline,
                    split_fn *fn, void *arg)
{
    for (size_t i = 0; i < n;) {
        uint32_t cp;
        char word[4 * MAX_CHUNK + 1];
        size_t from = i, len = 0;
        size_t used = tok_decode(text, n, i, &cp);
        if (utf8_is_space(cp)) {
            i += used;
            int rc = cp == '\n' && newline ? fn(arg, newline, strlen(newline),
                                                (uint32_t)from, (uint32_t)i)
                                           : 0;
            if (rc)
                return rc;
            continue;
        }
        for (int k = 0; i < n && k < MAX_CHUNK; k++, i += used) {
            used = tok_decode(text, n, i, &cp);
            if (utf8_is_space(cp))
                break;
            len += (size_t)utf8_put(cp, word + len);
        }
        word[len] = 0;
        int rc = fn(arg, word, len, (uint32_t)from, (uint32_t)i);
        if (rc)
            return rc;
    }
    return 0;
}
