/* regex_syntax: Oniguruma's expressions as PCRE2 writes them. What is written
 * anew, because the two read it in two ways (tried on Hugging Face tokenizers
 * 0.23.3):
 *
 *     ( )          groups keep nothing: (?: )
 *     {,n}         from none on; to PCRE2 it is plain text
 *     {m,n}+       repeats {m,n}; to PCRE2 it takes all or nothing
 *     [a[bc]]      one class, as [abc]; the inner [ is plain text to PCRE2
 *     \w \W        letters, marks, Nd, Nl, Pc, letters in circles; and not in a
 *                  class the numbers of Latin-1
 *     \v \uHHHH    U+000B, a code point
 *     \p{Han}      the script of a character; to PCRE2 all that use it
 *     $ ^          at each line: PCRE2_MULTILINE
 *
 * A count above 16 is of a group, so that regex.c sees each round. All else
 * that may differ is refused: references, names and recursion, options but for
 * (?i), classes that intersect, \b \h \R \X, where case does not count all
 * that may fold into two letters or out of ASCII, and what takes some of the
 * characters that a text shows as one (uni_stand_in) and not the others.
 *
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "engine/base/utf8.h"
#include "engine/text/pretok/regex.h"
#include "engine/text/unicode/unicode.h"

#define MAX_BYTES 2048 /* the longest published expression has 700 */
#define MAX_GROUPS 32  /* inside each other */
#define PLAIN_COUNT 16
#define NONE SIZE_MAX
#define MANY UINT32_MAX

#define WORD                                                                   \
    "\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\x{24b6}-\\x{24e9}\\x{1f130}-\\x{"      \
    "1f149}"                                                                   \
    "\\x{1f150}-\\x{1f169}\\x{1f170}-\\x{1f189}"
#define NUMBERS "\\x{b2}\\x{b3}\\x{b9}\\x{bc}-\\x{be}"

struct group {
    size_t at;
    int any_case; /* outside of it */
    int looks;    /* ahead or behind: no item */
};

struct translation {
    const char *s;
    size_t n, i;
    struct buf *out;
    struct err *e;
    size_t
        item; /* where in out the last item begins; NONE: nothing to repeat */
    uint32_t cp; /* the last character; MANY: several */
    int any_case;
    char before; /* the letter before, where case does not count */
    struct group group[MAX_GROUPS];
    int depth;
};

static int refuse(struct translation *t, const char *why)
{
    return err_set(t->e, ERR_UNSUPPORTED, "%s at byte %zu", why, t->i);
}

static int is_digit(int c)
{
    return c >= '0' && c <= '9';
}

static int is_letter(int c)
{
    return (c | 32) >= 'a' && (c | 32) <= 'z';
}

/* The byte k places on, or 0. */
static int ahead(const struct translation *t, size_t k)
{
    return t->i + k < t->n ? (unsigned char)t->s[t->i + k] : 0;
}

static int begins(const struct translation *t, const char *text)
{
    size_t k = strlen(text);
    return t->n - t->i >= k && memcmp(t->s + t->i, text, k) == 0;
}

static void begin_item(struct translation *t)
{
    t->item = t->out->len;
    t->before = 0;
}

/* ------------------------------------------------- characters and escapes */

/* One character as it is, in a class or outside. */
static int plain(struct translation *t)
{
    uint32_t cp;
    int len = utf8_next(t->s + t->i, t->n - t->i, &cp);
    if (len == 0 || cp == 0)
        return refuse(t, "a byte that is no text");
    if (len > 1 && t->any_case)
        return refuse(t, "(?i) beyond ASCII");
    if (len == 1 && !is_letter((int)cp) && !is_digit((int)cp) && cp > ' ')
        buf_add_char(t->out, '\\');
    buf_add(t->out, t->s + t->i, (size_t)len);
    t->i += (size_t)len;
    t->cp = cp;
    return 0;
}

/* May low to cp be asked of PCRE2, which sees the stand-ins of a text? */
static int check(struct translation *t, uint32_t low)
{
    return uni_stand_splits(low, t->cp)
               ? refuse(t, "characters that Unicode 15 or 16 changed")
               : 0;
}

/* "ss", "st", "ff", "fi" and "fl" are one character to some. */
static int is_joined(char a, char b)
{
    return (a == 's' && (b == 's' || b == 't')) ||
           (a == 'f' && (b == 'f' || b == 'i' || b == 'l'));
}

static int literal(struct translation *t)
{
    int c = ahead(t, 0);
    char before = t->before;
    begin_item(t);
    if (t->any_case && is_letter(c)) {
        t->before = (char)(c | 32);
        if (is_joined(before, t->before))
            return refuse(t, "(?i) of letters that may be joined");
    }
    return plain(t) || check(t, t->cp) ? -1 : 0;
}

/* \p{..} and \P{..} */
static int property(struct translation *t)
{
    char name[40];
    size_t k = 0;
    int which = ahead(t, 1);
    if (ahead(t, 2) != '{')
        return refuse(t, "a property without braces");
    while (is_letter(ahead(t, 3 + k)) && k < sizeof name - 1) {
        name[k] = t->s[t->i + 3 + k];
        k++;
    }
    name[k] = 0;
    if (k == 0 || ahead(t, 3 + k) != '}')
        return refuse(t, "an unknown property");
    int is_script = k > 2 || (name[0] | 32) == 'y'; /* Yi */
    if (t->any_case && k == 2 && (name[0] | 32) == 'l')
        return refuse(t, "(?i) of a kind of letter");
    buf_addf(t->out, "\\%c{%s%s}", which, is_script ? "sc:" : "", name);
    t->i += k + 4;
    return 0;
}

/* \xHH of ASCII, \x{H..}, \uHHHH. */
static int number(struct translation *t)
{
    int u = ahead(t, 1) == 'u', braced = ahead(t, 2) == '{';
    size_t k = 0, most = u ? 4 : braced ? 6 : 2, from = braced ? 3 : 2;
    unsigned long cp = 0;
    for (; k < most; k++) {
        int c = ahead(t, from + k);
        if (!is_digit(c) && !((c | 32) >= 'a' && (c | 32) <= 'f'))
            break;
        cp = cp * 16 + (unsigned)(is_digit(c) ? c - '0' : (c | 32) - 'a' + 10);
    }
    if (k == 0 || (u && (k < 4 || braced)) || t->any_case ||
        (braced ? ahead(t, 3 + k) != '}' : !u && cp > 0x7f))
        return refuse(t, "a number of a character");
    buf_addf(t->out, "\\x{%lx}", cp);
    t->i += from + k + (size_t)braced;
    t->cp = (uint32_t)cp;
    return 0;
}

static int escape(struct translation *t, int in_class)
{
    int c = ahead(t, 1);
    t->cp = c && strchr("pPwWsSdD", c) ? MANY : 0; /* 0: some of ASCII */
    if (c == 'p' || c == 'P')
        return property(t);
    if (c == 'x' || c == 'u')
        return number(t);
    if (c == 'w' || (c == 'W' && !in_class)) {
        buf_add_str(t->out, in_class   ? WORD
                            : c == 'w' ? "[" WORD NUMBERS "]"
                                       : "[^" WORD NUMBERS "]");
    } else if (c == 'v') {
        buf_add_str(t->out, "\\x{b}");
    } else if (c && c < 0x80 &&
               (!(is_letter(c) || is_digit(c)) || strchr("tnrfaesSdD", c))) {
        buf_add_char(t->out, '\\');
        buf_add_char(t->out, (char)c);
    } else {
        return refuse(t, "an unknown escape");
    }
    t->i += 2;
    return 0;
}

/* A character of a class, or those of an escape. */
static int one(struct translation *t)
{
    if (begins(t, "&&"))
        return refuse(t, "a class that intersects");
    return ahead(t, 0) == '\\' ? escape(t, 1) : plain(t);
}

/* One of a class, or a range. A hyphen in front of a closing bracket, or one
 * that begins an item, is a character. */
static int class_item(struct translation *t)
{
    if (one(t))
        return -1;
    uint32_t low = t->cp;
    int next = ahead(t, 1);
    if (ahead(t, 0) == '-' && next != ']') {
        if (low == MANY || next == '[')
            return refuse(t, "a range of another kind");
        buf_add_char(t->out, '-');
        t->i++;
        if (one(t))
            return -1;
    }
    return check(t, low);
}

/* A class: what stands in inner brackets belongs to it. */
static int class_of(struct translation *t)
{
    int depth = 0, rc = 0;
    begin_item(t);
    do {
        int c = ahead(t, 0), next = ahead(t, 1);
        if (c == '[' && (next == ']' || next == ':' ||
                         (next == '^' && (depth || ahead(t, 2) == ']'))))
            return refuse(t, "a class of another kind");
        if (c == '[' || c == ']') {
            if (depth + (c == '[') == 1)
                buf_add_char(t->out, (char)c);
            depth += c == '[' ? 1 : -1;
            t->i++;
            if (c == '[' && next == '^') {
                buf_add_char(t->out, '^');
                t->i++;
            }
        } else {
            rc = class_item(t);
        }
    } while (rc == 0 && depth && t->i < t->n);
    return rc || depth ? refuse(t, "a class without an end") : 0;
}

/* ------------------------------------------------------ groups and repeats */

static int open_group(struct translation *t)
{
    static const char *const kinds[] = {"(?=",  "(?!", "(?<=", "(?<!",
                                        "(?i:", "(?:", "(?>",  NULL};
    int k = 0;
    if (t->depth == MAX_GROUPS)
        return refuse(t, "too many groups");
    struct group *g = &t->group[t->depth++];
    *g = (struct group){t->out->len, t->any_case, 0};
    while (kinds[k] && !begins(t, kinds[k]))
        k++;
    if (!kinds[k] && ahead(t, 1) == '?')
        return refuse(t, "a group of an unknown kind");
    buf_add_str(t->out, kinds[k] ? kinds[k] : "(?:");
    t->i += kinds[k] ? strlen(kinds[k]) : 1;
    g->looks = k < 4;
    t->any_case |= k == 4;
    t->item = NONE;
    t->before = 0;
    return 0;
}

static int close_group(struct translation *t)
{
    if (t->depth == 0)
        return refuse(t, "a bracket that closes nothing");
    const struct group *g = &t->group[--t->depth];
    t->any_case = g->any_case;
    t->before = 0;
    t->item = g->looks ? NONE : g->at;
    buf_add_char(t->out, ')');
    t->i++;
    return 0;
}

/* The last item becomes a group. */
static void wrap(struct translation *t)
{
    struct buf *b = t->out;
    if (buf_add_str(b, "(?:)"))
        return;
    memmove(b->p + t->item + 3, b->p + t->item, b->len - 4 - t->item);
    memcpy(b->p + t->item, "(?:", 3);
    b->p[b->len - 1] = ')';
}

static int repeat(struct translation *t)
{
    if (t->item == NONE)
        return refuse(t, "nothing to repeat");
    buf_add_char(t->out, t->s[t->i++]);
    if (ahead(t, 0) == '?' || ahead(t, 0) == '+')
        buf_add_char(t->out, t->s[t->i++]);
    t->item = NONE;
    t->before = 0;
    return 0;
}

/* The number at i + *k; -1: none. Above 65535 PCRE2 refuses any. */
static int read_count(const struct translation *t, size_t *k)
{
    int n = -1;
    for (; is_digit(ahead(t, *k)); (*k)++)
        if (n <= 65535)
            n = (n < 0 ? 0 : n) * 10 + ahead(t, *k) - '0';
    return n;
}

static int interval(struct translation *t)
{
    size_t k = 1;
    int comma, least = read_count(t, &k), most = least;
    comma = ahead(t, k) == ',';
    if (comma) {
        k++;
        most = read_count(t, &k);
    }
    if ((least < 0 && most < 0) || ahead(t, k) != '}')
        return literal(t);
    if (t->item == NONE || (most >= 0 && least > most) || t->any_case ||
        (!comma && ahead(t, k + 1) == '?'))
        return refuse(t, "a count of an unknown kind");
    t->i += k + 1;
    if (most > PLAIN_COUNT || least > PLAIN_COUNT)
        wrap(t);
    buf_addf(t->out, comma ? "{%d," : "{%d", least < 0 ? 0 : least);
    if (comma && most >= 0)
        buf_addf(t->out, "%d", most);
    buf_add_char(t->out, '}');
    t->before = 0;
    if (ahead(t, 0) == '+') {
        wrap(t);
        return 0; /* the item is repeated */
    }
    if (ahead(t, 0) == '?')
        buf_add_char(t->out, t->s[t->i++]);
    t->item = NONE;
    return 0;
}

/* ---------------------------------------------------------- the expression */

static int translate_one(struct translation *t)
{
    int c = ahead(t, 0);
    switch (c) {
    case '(':
        return open_group(t);
    case ')':
        return close_group(t);
    case '[':
        return class_of(t);
    case '\\':
        begin_item(t);
        return escape(t, 0) || check(t, t->cp) ? -1 : 0;
    case '?':
    case '*':
    case '+':
        return repeat(t);
    case '{':
        return interval(t);
    case '.':
    case '|':
    case '^':
    case '$':
        begin_item(t);
        t->item = c == '.' ? t->item : NONE;
        buf_add_char(t->out, (char)c);
        t->i++;
        return 0;
    default:
        return literal(t);
    }
}

int regex_translate(const char *s, size_t n, struct buf *out, struct err *e)
{
    struct translation t = {.s = s, .n = n, .out = out, .e = e, .item = NONE};
    if (n == 0 || n > MAX_BYTES)
        return refuse(&t, n ? "more than 2048 bytes" : "nothing");
    if (begins(&t, "(?i)")) {
        buf_add_str(out, "(?i)");
        t.any_case = 1;
        t.i = 4;
    }
    while (t.i < n)
        if (translate_one(&t))
            return -1;
    if (t.depth)
        return refuse(&t, "a group without an end");
    return out->failed ? err_nomem(e) : 0;
}
