/* abc_fields: the header of a tune, a byte at a time, and names of chords.
 *
 * M:, L: and K: are read for what they say; a value is kept as far as it goes
 * and looked at when its line ends, and each byte that a model writes is held
 * against what may still become one. Other fields are text.
 *
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "engine/text/abc/abc_impl.h"

#define MOST_TEXT 64 /* bytes of a title or a kind that a model writes */
#define MOST_NUMBER 4
#define MOST_SHARPS 7

/* Modes, and the sharps that their signatures have less than the major key of
 * their tonic. Longer forms of a word begin with the short one. */
static const struct {
    const char *word;
    int sharps;
} modes[] = {
    {"", 0},     {"m", -3},          {"maj", 0},  {"major", 0},
    {"min", -3}, {"minor", -3},      {"dor", -2}, {"dorian", -2},
    {"mix", -1}, {"mixolydian", -1}, {"aeo", -3}, {"aeolian", -3},
    {"ion", 0},  {"ionian", 0},      {"lyd", 1},  {"lydian", 1},
    {"phr", -4}, {"phrygian", -4},   {"loc", -5}, {"locrian", -5},
};

/* What a model may state: for these abc2midi knows how to play chords. */
static const char *const metres[] = {"C",   "C|",  "2/2", "2/4", "3/4", "4/4",
                                     "5/4", "6/4", "3/8", "6/8", "9/8", "12/8"};
static const char *const units[] = {"1/4", "1/8", "1/16"};

static const char *const kinds[] = {"",  "m",  "7", "m7",   "maj7", "dim",
                                    "6", "m6", "9", "sus4", "+"};

static int lower(int c)
{
    return c >= 'A' && c <= 'Z' ? c + 32 : c;
}

static int seen_bit(int letter)
{
    static const char letters[] = "XRMLK";
    const char *at = memchr(letters, letter, sizeof letters - 1);

    return at ? 1 << (at - letters) : ANY;
}

/* --- values: 1: it is one; 2: it may become one; 3: both; 0: neither --- */

#define WHOLE 1
#define PART 2

static int listed(const char *const *list, size_t n_list, const char *w, int n)
{
    int is = 0;

    for (size_t k = 0; k < n_list; k++)
        if (strncmp(list[k], w, (size_t)n) == 0)
            is |= list[k][n] ? PART : WHOLE;
    return is;
}

/* C, C| or 6/8. */
static int metre_is(const char *w, int n, int given)
{
    int i = 0, low = 0;

    if (!given)
        return listed(metres, sizeof metres / sizeof *metres, w, n);

    if (n == 0)
        return PART;
    if (w[0] == 'C')
        return n == 1 ? WHOLE | PART : n == 2 && w[1] == '|' ? WHOLE : 0;
    if (w[0] < '1' || w[0] > '9')
        return 0;
    while (i < n && i < 2 && abc_digit(w[i]))
        i++;
    if (i == n)
        return PART;
    if (w[i++] != '/')
        return 0;
    if (i == n)
        return PART;
    for (; i < n && low < 100; i++)
        low = abc_digit(w[i]) ? low * 10 + w[i] - '0' : 100;
    if (low == 1)
        return WHOLE | PART;
    return low == 2 || low == 4 || low == 8 || low == 16 || low == 32 ? WHOLE
           : low == 3                                                 ? PART
                                                                      : 0;
}

/* 1/8. */
static int unit_is(const char *w, int n, int given)
{
    if (n < 2)
        return n == 0 || w[0] == '1' ? PART : 0;
    if (!given)
        return listed(units, sizeof units / sizeof *units, w, n);
    return w[0] == '1' && w[1] == '/' ? metre_is(w, n, given) : 0;
}

/* Sharps of the major key on a letter, "FCGDAEB" from -1 on. */
static int tonic_sharps(int letter)
{
    static const char fifths[] = "FCGDAEB";
    const char *at = memchr(fifths, letter, sizeof fifths - 1);

    return at ? (int)(at - fifths) - 1 : 100;
}

/* G, Bbm, A dorian. */
static int key_is(const char *w, int n)
{
    int sharps, i = 1, is = 0;

    if (n == 0)
        return PART;
    sharps = tonic_sharps(w[0]);
    if (sharps == 100)
        return 0;
    if (n > 1 && (w[1] == '#' || w[1] == 'b')) {
        sharps += w[1] == '#' ? 7 : -7;
        i = 2;
    } else if (n == 1) {
        is = PART; /* an accidental is to come */
    }
    int blank = i < n && w[i] == ' ';
    i += blank;
    for (size_t k = 0; k < sizeof modes / sizeof *modes; k++) {
        int at = sharps + modes[k].sharps, j = 0;
        if (at > MOST_SHARPS || at < -MOST_SHARPS)
            continue;
        while (i + j < n && modes[k].word[j] &&
               modes[k].word[j] == lower((unsigned char)w[i + j]))
            j++;
        if (i + j < n)
            continue;
        is |= modes[k].word[j] ? PART : blank && j == 0 ? 0 : WHOLE;
    }
    return is;
}

static int number_is(const char *w, int n, int given)
{
    for (int i = 0; i < n; i++)
        if (!abc_digit(w[i]) || (i == 0 && w[i] == '0' && !given))
            return 0;
    if (n > MOST_NUMBER && !given)
        return 0;
    return n == 0 ? PART : n < MOST_NUMBER || given ? WHOLE | PART : WHOLE;
}

static int value_is(const struct abc *s, int given)
{
    switch (s->field) {
    case 'M':
        return metre_is(s->word, s->n_word, given);
    case 'L':
        return unit_is(s->word, s->n_word, given);
    case 'K':
        return key_is(s->word, s->n_word);
    default:
        return number_is(s->word, s->n_word, given);
    }
}

static int number_at(const char **w)
{
    int v = 0;
    for (; abc_digit(**w); (*w)++)
        v = v * 10 + **w - '0';
    return v;
}

/* A value that is whole. */
static int apply(struct abc *s)
{
    const char *w = s->word;

    s->word[s->n_word] = 0;
    if (s->field == 'M' && *w == 'C') {
        s->full = ABC_WHOLE;
        s->compound = 0;
    } else if (s->field == 'M') {
        int beats = number_at(&w);
        w++;
        s->full = ABC_WHOLE / number_at(&w) * beats;
        s->compound = beats > 3 && beats % 3 == 0;
    } else if (s->field == 'L') {
        w += 2;
        s->unit = ABC_WHOLE / number_at(&w);
    }
    if (s->field == 'K')
        s->tonic = (uint8_t)lower(*w);
    return s->music ? abc_metre(s) : 0;
}

/* --- lines --- */

int abc_field_ready(const struct abc *s, int given)
{
    return s->seen & SEEN_K && (s->seen & SEEN_M || given);
}

/* What a model may state next: what is missing, in the order of the standard;
 * behind a K: that a prompt has stated M: and L:. */
static int may_state(const struct abc *s, int letter)
{
    switch (letter) {
    case 'X':
        return s->seen == 0;
    case 'R':
        return s->seen && !(s->seen & (SEEN_R | SEEN_K));
    case 'M':
        return s->seen && !(s->seen & SEEN_M);
    case 'L':
        return s->seen & SEEN_M && !(s->seen & SEEN_L);
    case 'K':
        return s->seen & SEEN_M && s->seen & SEEN_L && !(s->seen & SEEN_K);
    default:
        return 0;
    }
}

int abc_field_letter(struct abc *s, int c, int given)
{
    if (given && (c == '\n' || c == ' '))
        return s->seen && !s->music ? -1 : 0; /* in front of all fields */
    if (given && c == '%') {
        s->field = '%';
        s->n = 0;
        s->place = AT_VALUE;
        return 0;
    }
    if (lower(c) < 'a' || lower(c) > 'z')
        return -1;
    if (s->music ? !given : !given && !may_state(s, c))
        return -1;
    if (s->music && strchr("MLK", c) && s->t > 0)
        return -1;            /* inside a bar */
    if (s->music && c == 'X') /* another tune begins */
        memset(s, 0, sizeof *s);
    s->field = (uint8_t)c;
    s->place = AT_COLON;
    return 0;
}

int abc_field_colon(struct abc *s, int c)
{
    if (c != ':')
        return -1;
    s->n = s->n_word = 0;
    s->place = AT_VALUE;
    return 0;
}

static int end_of_line(struct abc *s, int given)
{
    int parsed = s->field && strchr("XMLK", s->field) != NULL;

    while (s->n_word > 0 && parsed && s->word[s->n_word - 1] == ' ')
        s->n_word--;
    if (parsed && !(value_is(s, given) & WHOLE))
        return -1;
    if (!given &&
        (s->n == 0 || (!parsed && s->n < MOST_TEXT - 1 && s->word[0] == ' ')))
        return -1;
    if (parsed && apply(s))
        return -1;
    if (s->field != '%')
        s->seen |= (uint8_t)seen_bit(s->field);
    s->place = AT_LINE;
    s->line_start = 1;
    return 0;
}

/* Text of a field: word[0] is the last byte of it. */
static int text_byte(struct abc *s, int c, int given)
{
    int kind = s->field == 'R';
    int blank = s->n == 0 || s->word[0] == ' ';

    if (!given && (s->n >= MOST_TEXT || c < ' ' || c == 127 ||
                   (c == ' ' && (blank || s->n >= MOST_TEXT - 1)) ||
                   (kind && c != ' ' && (c < 'a' || c > 'z'))))
        return -1;
    s->word[0] = (char)c;
    s->n = (uint8_t)(s->n + (s->n < 255));
    return 0;
}

int abc_field_value(struct abc *s, int c, int given)
{
    if (c == '\n')
        return end_of_line(s, given);
    if (!strchr("XMLK", s->field))
        return text_byte(s, c, given);
    if (given && c == ' ' && s->n_word == 0)
        return 0;
    if (s->n_word == ABC_WORD - 1)
        return -1;
    s->word[s->n_word++] = (char)c;
    s->n = (uint8_t)(s->n + (s->n < 255));
    if (!given && !(value_is(s, given)))
        return -1;
    return 0;
}

/* --- names of chords: root, kind, bass --- */

static int root_of(const char *w, int n)
{
    if (n < 1 || w[0] < 'A' || w[0] > 'G')
        return 0;
    return n > 1 && (w[1] == '#' || w[1] == 'b') ? 2 : 1;
}

static int name_is(const char *w, int n)
{
    const char *slash = memchr(w, '/', (size_t)n);
    int root = root_of(w, n), to = slash ? (int)(slash - w) : n;

    if (n == 0)
        return PART;
    if (root == 0 || root > to)
        return 0;
    int is = listed(kinds, sizeof kinds / sizeof *kinds, w + root, to - root);
    if (!slash)
        return is | (is & WHOLE ? PART : 0);
    if (!(is & WHOLE))
        return 0;
    w = slash + 1;
    n -= to + 1;
    return n == 0 ? PART : root_of(w, n) == n ? WHOLE | PART : 0;
}

int abc_symbol(struct abc *s, int c, int given)
{
    if (c == '"') {
        if (!given && !s->field && !(name_is(s->word, s->n_word) & WHOLE))
            return -1;
        s->symbol = 1;
        s->place = AT_ITEM;
        return 0;
    }
    if (c == '\n')
        return -1;
    if (s->n_word == ABC_WORD - 1) {
        s->field = 1; /* free text */
        return given ? 0 : -1;
    }
    s->word[s->n_word++] = (char)c;
    if (s->field || !name_is(s->word, s->n_word)) {
        s->field = 1;
        return given ? 0 : -1;
    }
    return 0;
}
