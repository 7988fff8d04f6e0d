/* pretok_alt: the alternatives that published pre-tokenizer expressions are
 * made of, and their scanners. Most have one shape: an optional code point of
 * one set, a run of another, a tail of a third. The rest are functions of their
 * own; where a regex engine would go back, they find the place it would end up
 * at. Sources: the tokenizer.json of the models, the regular expressions of
 * llama.cpp's src/llama-vocab.cpp. The table's order matters only to the
 * reader.
 *
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "engine/text/pretok/pretok.h"
#include "engine/text/pretok/pretok_regex.h"
#include "engine/text/unicode/unicode.h"

#define CP(p) ((p)&0x1fffffu)
#define MASK(p) (1u << ((p) >> 21))

struct range {
    uint32_t first, last;
};

/* [A-Za-z...]: the letters with case that Unicode 11 had, as DeepSeek LLM
 * lists them. (llama.cpp's source holds three of the ends normalised to NFC,
 * which turns their ranges around; these are the original ones.) */
static const struct range cased[] = {
    {0x41, 0x5a},       {0x61, 0x7a},       {0xb5, 0xb5},
    {0xc0, 0xd6},       {0xd8, 0xf6},       {0xf8, 0x1ba},
    {0x1bc, 0x1bf},     {0x1c4, 0x293},     {0x295, 0x2af},
    {0x370, 0x373},     {0x376, 0x376},     {0x377, 0x377},
    {0x37b, 0x37d},     {0x37f, 0x37f},     {0x386, 0x386},
    {0x388, 0x38a},     {0x38c, 0x38c},     {0x38e, 0x3a1},
    {0x3a3, 0x3f5},     {0x3f7, 0x481},     {0x48a, 0x52f},
    {0x531, 0x556},     {0x10a0, 0x10c5},   {0x13a0, 0x13f5},
    {0x13f8, 0x13fd},   {0x1c90, 0x1cba},   {0x1cbd, 0x1cbf},
    {0x1d00, 0x1d2b},   {0x1d6b, 0x1d77},   {0x1d79, 0x1d9a},
    {0x1e00, 0x1f15},   {0x1f18, 0x1f1d},   {0x1f20, 0x1f45},
    {0x1f48, 0x1f4d},   {0x1f50, 0x1f57},   {0x1f59, 0x1f59},
    {0x1f5b, 0x1f5b},   {0x1f5d, 0x1f5d},   {0x1f5f, 0x1f7d},
    {0x1f80, 0x1fb4},   {0x1fb6, 0x1fbc},   {0x1fbe, 0x1fbe},
    {0x1fc2, 0x1fc4},   {0x1fc6, 0x1fcc},   {0x1fd0, 0x1fd3},
    {0x1fd6, 0x1fdb},   {0x1fe0, 0x1fec},   {0x1ff2, 0x1ff4},
    {0x1ff6, 0x1ffc},   {0x2102, 0x2102},   {0x2107, 0x2107},
    {0x210a, 0x2113},   {0x2115, 0x2115},   {0x2119, 0x211d},
    {0x2124, 0x2124},   {0x2126, 0x2126},   {0x2128, 0x2128},
    {0x212a, 0x212d},   {0x212f, 0x2134},   {0x2139, 0x2139},
    {0x213c, 0x213f},   {0x2145, 0x2149},   {0x214e, 0x214e},
    {0x2183, 0x2183},   {0x2184, 0x2184},   {0x2c00, 0x2c7b},
    {0x2c7e, 0x2ce4},   {0x2ceb, 0x2cee},   {0x2cf2, 0x2cf2},
    {0x2cf3, 0x2cf3},   {0xa640, 0xa66d},   {0xa680, 0xa69b},
    {0xa722, 0xa76f},   {0xa771, 0xa787},   {0xa78b, 0xa78e},
    {0xab70, 0xabbf},   {0xfb00, 0xfb06},   {0xfb13, 0xfb17},
    {0xff21, 0xff3a},   {0xff41, 0xff5a},   {0x10400, 0x1044f},
    {0x104b0, 0x104d3}, {0x104d8, 0x104fb}, {0x10c80, 0x10cb2},
    {0x10cc0, 0x10cf2}, {0x118a0, 0x118df}, {0x1e900, 0x1e943}};
static const struct range han_coder[] = {
    {0x4e00, 0x9fa5}, {0x0800, 0x4e00}, {0xac00, 0xd7ff}};

static const struct range han_kana[] = {
    {0x4e00, 0x9fa5}, {0x3040, 0x309f}, {0x30a0, 0x30ff}};

static const struct range wide_punct[] = {{'!', '/'},       {':', '~'},
                                          {0xff01, 0xff0f}, {0xff1a, 0xff5e},
                                          {0x2018, 0x201f}, {0x3000, 0x3002}};

static const struct range hangul[] = {{0xac00, 0xd7a3}, {0x3131, 0x318e}};
static const struct range cjk_marks[] = {
    {0xff01, 0xff01}, {0x2026, 0x2026}, {0x201c, 0x201d},
    {0x2018, 0x2019}, {0x2014, 0x2014}, {0xff1a, 0xff1b},
    {0xff0c, 0xff0c}, {0x3001, 0x303f}, {0xfe30, 0xfe4f}};
static const struct range bopomofo[] = {{0x3105, 0x312f}};

enum set {
    S_NONE,
    S_SPACE, /* U+0020 */
    S_WS,
    S_L,
    S_LM,
    S_N,
    S_P,
    S_PS,
    S_REST,    /* [^\s\p{L}\p{N}] */
    S_REST_M,  /* [^\s\p{L}\p{M}\p{N}] */
    S_LEAD,    /* [^\r\n\p{L}\p{N}] */
    S_LEAD_PS, /* [^\r\n\p{L}\p{P}\p{S}] */
    S_NL,      /* [\r\n] */
    S_NL_SLASH,
    S_ASCII_MARK,
    S_AZ,
    S_DIGIT,
    S_FALCON,
    S_FALCON_OLD,
    S_BLOOM,
    S_LF,
    S_NOT_LF,
    S_UPPER,      /* [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}] */
    S_LOWER,      /* [\p{Ll}\p{Lm}\p{Lo}\p{M}] */
    S_MARK_ASCII, /* Punctuation of Hugging Face: ASCII marks and \p{P} */
    S_CASED,
    S_HAN_CODER,
    S_HAN_KANA,
    S_WIDE_PUNCT,
    S_HANGUL,
    S_CJK_MARKS,
    S_BOPOMOFO
};

enum shape {
    RUN,        /* pre? body{1,max} tail* */
    RUN_LED,    /* pre body{1,max} tail*: pre is needed */
    RUN_ONE,    /* pre? body+ tail? */
    THREE,      /* body{3} */
    CONTRACT,   /* 's and its kin */
    CONTRACT_I, /* in any case */
    WS_BEFORE,  /* \s+(?!\S) */
    WS_LINE,    /* \s*[\r\n]+ */
    WS_END,     /* \s+$ */
    WS_HALVES,  /* \s{512}(?!\S)|\s{256}(?!\S)|...|\s{1} */
    WORD_A,     /* pre? upper* lower+ */
    WORD_B,     /* pre? upper+ lower* */
    WORD_A_CON, /* with a contraction part at the end */
    WORD_B_CON,
    PHRASE /* pre?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+ */
};

struct alt {
    const char *text;
    enum shape shape;
    enum set pre, body, tail;
    int max; /* of the body; 0: any number */
};

static const struct alt alts[] = {
    {"'s|'t|'re|'ve|'m|'ll|'d", CONTRACT, 0, 0, 0, 0},
    {"'(?:[sdmt]|ll|ve|re)", CONTRACT, 0, 0, 0, 0},
    {RX_CON, CONTRACT_I, 0, 0, 0, 0},
    {"'(?i:[sdmt]|ll|ve|re)", CONTRACT_I, 0, 0, 0, 0},
    {" ?\\p{L}+", RUN, S_SPACE, S_L, 0, 0},
    {" ?\\p{N}+", RUN, S_SPACE, S_N, 0, 0},
    {" ?[^\\s\\p{L}\\p{N}]+", RUN, S_SPACE, S_REST, 0, 0},
    {"\\s+(?!\\S)", WS_BEFORE, 0, 0, 0, 0},
    {"\\s+", RUN, 0, S_WS, 0, 0},
    {"\\s", RUN, 0, S_WS, 0, 1},
    {"\\s+$", WS_END, 0, 0, 0, 0},
    {"\\s++$", WS_END, 0, 0, 0, 0},
    {"\\s*[\\r\\n]+", WS_LINE, 0, 0, 0, 0},
    {"\\s*[\\r\\n]", WS_LINE, 0, 0, 0, 0},
    {RX_HALVES, WS_HALVES, 0, 0, 0, 0},
    {RX_LEAD "?\\p{L}+", RUN, S_LEAD, S_L, 0, 0},
    {RX_LEAD "?+\\p{L}+", RUN, S_LEAD, S_L, 0, 0},
    {RX_LEAD "?[\\p{L}\\p{M}]+", RUN, S_LEAD, S_LM, 0, 0},
    {"\\p{N}", RUN, 0, S_N, 0, 1},
    {"\\p{N}{1}", RUN, 0, S_N, 0, 1},
    {"\\p{N}{1,3}", RUN, 0, S_N, 0, 3},
    {"\\p{N}{1,3}+", RUN, 0, S_N, 0, 3},
    {"\\p{N}+", RUN, 0, S_N, 0, 0},
    {" ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*", RUN, S_SPACE, S_REST, S_NL, 0},
    {" ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*", RUN, S_SPACE, S_REST, S_NL, 0},
    {" ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*+", RUN, S_SPACE, S_REST, S_NL, 0},
    {" ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*", RUN, S_SPACE, S_REST, S_NL_SLASH, 0},
    {" ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]?", RUN_ONE, S_SPACE, S_REST, S_NL_SLASH,
     0},
    {" ?[^\\s\\p{L}\\p{N}\\r\\n]+", RUN, S_SPACE, S_REST, 0, 0},
    {" ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*", RUN, S_SPACE, S_REST_M, S_NL, 0},
    /* DeepSeek */
    {"[\\r\\n]", RUN, 0, S_NL, 0, 1},
    {"\\s?\\p{L}+", RUN, S_WS, S_L, 0, 0},
    {"\\s?\\p{P}+", RUN, S_WS, S_P, 0, 0},
    {RX_HAN_CODER, RUN, 0, S_HAN_CODER, 0, 0},
    {RX_HAN_KANA, RUN, 0, S_HAN_KANA, 0, 0},
    {"\\s?[" RX_CASED_LETTERS "]+", RUN, S_WS, S_CASED, 0, 0},
    {RX_WIDE_PUNCT, RUN, S_WS, S_WIDE_PUNCT, 0, 0},
    {RX_MARKED_WORD, RUN_LED, S_ASCII_MARK, S_AZ, 0, 0},
    {"[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+", RUN, S_LEAD_PS, S_LM, 0, 0},
    {" ?[\\p{P}\\p{S}]+[\\r\\n]*", RUN, S_SPACE, S_PS, S_NL, 0},
    {" ?[\\p{P}\\p{S}]+", RUN, S_SPACE, S_PS, 0, 0},
    /* Falcon, and llama.cpp's default */
    {"[\\p{P}\\$\\+<=>\\^~\\|`]+", RUN, 0, S_FALCON, 0, 0},
    {"[\\p{P}\\$\\+<=>\\^~\\|]+", RUN, 0, S_FALCON_OLD, 0, 0},
    {"[0-9][0-9][0-9]", THREE, 0, S_DIGIT, 0, 0},
    /* BLOOM and its kin; the class is the same with and without [ ] inside */
    {RX_BLOOM, RUN, S_SPACE, S_BLOOM, 0, 0},
    {" ?[^(\\s|[.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c])]+", RUN,
     S_SPACE, S_BLOOM, 0, 0},
    /* Laguna */
    {"[^\\n]+", RUN, 0, S_NOT_LF, 0, 0},
    {"[\\n]+", RUN, 0, S_LF, 0, 0},
    /* Mistral's Tekken, GPT-4o and its kin */
    {RX_LEAD "?" RX_UP "*" RX_LOW "+", WORD_A, S_LEAD, 0, 0, 0},
    {RX_LEAD "?" RX_UP "+" RX_LOW "*", WORD_B, S_LEAD, 0, 0, 0},
    {RX_LEAD "?" RX_UP "*" RX_LOW "+" RX_CON "?", WORD_A_CON, S_LEAD, 0, 0, 0},
    {RX_LEAD "?" RX_UP "+" RX_LOW "*" RX_CON "?", WORD_B_CON, S_LEAD, 0, 0, 0},
    /* EXAONE */
    {RX_LEAD "?(?:\\p{L}\\p{M}*(?: \\p{L}\\p{M}*)*)+", PHRASE, S_LEAD, 0, 0, 0},
    /* Youtu */
    {RX_HANGUL, RUN, 0, S_HANGUL, 0, 0},
    {RX_CJK_MARKS, RUN, 0, S_CJK_MARKS, 0, 0},
    {RX_BOPOMOFO, RUN, 0, S_BOPOMOFO, 0, 0},
    /* Punctuation of Hugging Face; no expression, a name of ours */
    {"punctuation", RUN, 0, S_MARK_ASCII, 0, 1},
};
#define N_ALTS ((int)(sizeof(alts) / sizeof(alts[0])))

int pre_alt_find(const char *s, size_t n, size_t *len)
{
    int best = -1;
    *len = 0;
    for (int i = 0; i < N_ALTS; i++) {
        size_t k = strlen(alts[i].text);
        if (k <= n && k > *len && memcmp(s, alts[i].text, k) == 0 &&
            (k == n || s[k] == '|')) {
            best = i;
            *len = k;
        }
    }
    return best;
}

/* ------------------------------------------------------------------- sets */

static int in_ranges(const struct range *r, int n, uint32_t cp)
{
    for (int i = 0; i < n; i++)
        if (cp >= r[i].first && cp <= r[i].last)
            return 1;
    return 0;
}

#define IN(r) in_ranges(r, (int)(sizeof(r) / sizeof((r)[0])), cp)

static int in_cased(uint32_t cp)
{
    int lo = 0, hi = (int)(sizeof(cased) / sizeof(cased[0]));
    while (lo < hi) {
        int mid = lo + (hi - lo) / 2;
        if (cased[mid].last < cp)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < (int)(sizeof(cased) / sizeof(cased[0])) &&
           cased[lo].first <= cp;
}

static int is_ascii_mark(uint32_t cp)
{
    return cp > ' ' && cp < 0x7f && !(cp >= '0' && cp <= '9') &&
           !((cp | 32) >= 'a' && (cp | 32) <= 'z');
}

static int one_of(uint32_t cp, const char *ascii)
{
    return cp && cp < 0x80 && strchr(ascii, (int)cp) != NULL;
}

static int is_bloom_stop(uint32_t cp)
{
    return one_of(cp, "(|.,!?)") || cp == 0x2026 || cp == 0x3002 ||
           cp == 0xff0c || cp == 0x3001 || cp == 0x0964 || cp == 0x06d4 ||
           cp == 0x060c;
}

/* Sets that a mask and a line feed or two describe. */
static uint32_t mask_of(enum set set)
{
    switch (set) {
    case S_WS:
        return UNI_SPACE;
    case S_L:
        return UNI_LETTER;
    case S_LM:
        return UNI_LETTER | UNI_MARK;
    case S_N:
        return UNI_NUMBER;
    case S_P:
        return UNI_PUNCT;
    case S_PS:
        return UNI_PUNCT | UNI_SYMBOL;
    case S_REST:
        return ~(UNI_SPACE | UNI_LETTER | UNI_NUMBER);
    case S_REST_M:
        return ~(UNI_SPACE | UNI_LETTER | UNI_MARK | UNI_NUMBER);
    case S_LEAD:
        return ~(UNI_LETTER | UNI_NUMBER);
    case S_LEAD_PS:
        return ~(UNI_LETTER | UNI_PUNCT | UNI_SYMBOL);
    case S_UPPER:
        return (UNI_LETTER & ~UNI_BIT(LL)) | UNI_MARK;
    case S_LOWER:
        return (UNI_LETTER & ~(UNI_BIT(LU) | UNI_BIT(LT))) | UNI_MARK;
    case S_FALCON:
    case S_FALCON_OLD:
    case S_MARK_ASCII:
        return UNI_PUNCT;
    default:
        return 0;
    }
}

static int is_in(enum set set, uint32_t point)
{
    uint32_t cp = CP(point);
    int in = (MASK(point) & mask_of(set)) != 0;
    switch (set) {
    case S_SPACE:
        return cp == ' ';
    case S_LEAD:
    case S_LEAD_PS:
        return in && cp != '\r' && cp != '\n';
    case S_NL:
        return cp == '\r' || cp == '\n';
    case S_NL_SLASH:
        return cp == '\r' || cp == '\n' || cp == '/';
    case S_ASCII_MARK:
        return is_ascii_mark(cp);
    case S_AZ:
        return (cp | 32) >= 'a' && (cp | 32) <= 'z';
    case S_DIGIT:
        return cp >= '0' && cp <= '9';
    case S_FALCON:
        return in || one_of(cp, "$+<=>^~|`");
    case S_FALCON_OLD:
        return in || one_of(cp, "$+<=>^~|");
    case S_BLOOM:
        return !(MASK(point) & UNI_SPACE) && !is_bloom_stop(cp);
    case S_LF:
        return cp == '\n';
    case S_NOT_LF:
        return cp != '\n';
    case S_MARK_ASCII:
        return in || is_ascii_mark(cp);
    case S_CASED:
        return in_cased(cp);
    case S_HAN_CODER:
        return IN(han_coder);
    case S_HAN_KANA:
        return IN(han_kana);
    case S_WIDE_PUNCT:
        return IN(wide_punct);
    case S_HANGUL:
        return IN(hangul);
    case S_CJK_MARKS:
        return IN(cjk_marks);
    case S_BOPOMOFO:
        return IN(bopomofo);
    default:
        return in;
    }
}

/* --------------------------------------------------------------- scanners */

/* A stretch of code points: p [end], looked at from i. */
struct scan {
    const uint32_t *p;
    size_t begin, end;
};

static size_t run(const struct scan *c, size_t i, enum set set)
{
    while (i < c->end && is_in(set, c->p[i]))
        i++;
    return i;
}

static int has(const struct scan *c, size_t i, enum set set)
{
    return i < c->end && is_in(set, c->p[i]);
}

static size_t match_run(const struct scan *c, const struct alt *a, size_t i)
{
    size_t j = i;
    if (has(c, i, a->pre) && has(c, i + 1, a->body))
        j = i + 1;
    else if (a->shape == RUN_LED || !has(c, i, a->body))
        return i;
    if (a->max) {
        size_t stop = j + (size_t)a->max;
        while (j < stop && has(c, j, a->body))
            j++;
        return j;
    }
    j = run(c, j, a->body);
    if (a->shape == RUN_ONE)
        return j + (has(c, j, a->tail) ? 1 : 0);
    return run(c, j, a->tail);
}

/* The letter at i in lower case, if it is ASCII; the long s folds to s where
 * case does not count, as in the reference. */
static uint32_t letter(const struct scan *c, size_t i, int any_case)
{
    uint32_t cp = i < c->end ? CP(c->p[i]) : 0;
    if (any_case && cp >= 'A' && cp <= 'Z')
        return cp + 32;
    return any_case && cp == 0x17f ? 's' : cp;
}

static size_t match_contraction(const struct scan *c, size_t i, int any_case)
{
    if (i >= c->end || CP(c->p[i]) != '\'')
        return i;
    uint32_t a = letter(c, i + 1, any_case), b = letter(c, i + 2, any_case);
    if (a == 's' || a == 't' || a == 'm' || a == 'd')
        return i + 2;
    if ((a == 'r' && b == 'e') || (a == 'v' && b == 'e') ||
        (a == 'l' && b == 'l'))
        return i + 3;
    return i;
}

/* \s+(?!\S): a run up to the end, or all of it but the last. */
static size_t match_before(const struct scan *c, size_t i)
{
    size_t j = run(c, i, S_WS);
    return j == c->end || j == i ? j : j - 1;
}

/* \s*[\r\n]+: up to the last line break of the run. */
static size_t match_line(const struct scan *c, size_t i)
{
    size_t last = i;
    for (size_t j = i; has(c, j, S_WS); j++)
        if (is_in(S_NL, c->p[j]))
            last = j + 1;
    return last;
}

/* \s+$: a run up to the end. One that begins inside a run that was looked at
 * before has failed there. */
static size_t match_end(const struct scan *c, size_t i)
{
    if (i > c->begin && is_in(S_WS, c->p[i - 1]))
        return i;
    size_t j = run(c, i, S_WS);
    return j == c->end ? j : i;
}

/* 512, 256 ... 4, 2 of white space that no other character follows, else 1. */
static size_t match_halves(const struct scan *c, size_t i)
{
    size_t n = 0;
    while (n <= 512 && has(c, i + n, S_WS))
        n++;
    for (size_t k = 512; k >= 4; k /= 2)
        if (n > k || (n == k && i + n == c->end))
            return i + k;
    if (n > 2 || (n == 2 && i + n == c->end))
        return i + 2;
    return n ? i + 1 : i;
}

/* upper* lower+ from i; i when it does not match. Letters without case and
 * marks are in both sets: when no lower-case letter follows the run of upper,
 * the last of those in it must be the end. */
static size_t word_a(const struct scan *c, size_t i)
{
    size_t j = run(c, i, S_UPPER), k = j;
    if (has(c, j, S_LOWER))
        return run(c, j, S_LOWER);
    while (k > i && !is_in(S_LOWER, c->p[k - 1]))
        k--;
    return k;
}

/* upper+ lower* */
static size_t word_b(const struct scan *c, size_t i)
{
    size_t j = run(c, i, S_UPPER);
    return j == i ? i : run(c, j, S_LOWER);
}

static size_t match_word(const struct scan *c, const struct alt *a, size_t i)
{
    int is_a = a->shape == WORD_A || a->shape == WORD_A_CON;
    size_t j = i;
    if (has(c, i, a->pre)) {
        j = is_a ? word_a(c, i + 1) : word_b(c, i + 1);
        j = j == i + 1 ? i : j;
    }
    if (j == i)
        j = is_a ? word_a(c, i) : word_b(c, i);
    if (j > i && (a->shape == WORD_A_CON || a->shape == WORD_B_CON))
        j = match_contraction(c, j, 1);
    return j;
}

/* Letters with their marks, single spaces between them. */
static size_t match_phrase(const struct scan *c, const struct alt *a, size_t i)
{
    size_t j = has(c, i, a->pre) ? i + 1 : i;
    if (!has(c, j, S_L))
        return i;
    for (;;) {
        if (has(c, j, S_L)) {
            j++;
            while (j < c->end && (MASK(c->p[j]) & UNI_MARK))
                j++;
        } else if (has(c, j, S_SPACE) && has(c, j + 1, S_L)) {
            j++;
        } else {
            return j;
        }
    }
}

size_t pre_alt_match(int alt, const uint32_t *point, size_t begin, size_t i,
                     size_t end)
{
    const struct alt *a = &alts[alt];
    const struct scan c = {point, begin, end};
    switch (a->shape) {
    case THREE:
        return has(&c, i, a->body) && has(&c, i + 1, a->body) &&
                       has(&c, i + 2, a->body)
                   ? i + 3
                   : i;
    case CONTRACT:
        return match_contraction(&c, i, 0);
    case CONTRACT_I:
        return match_contraction(&c, i, 1);
    case WS_BEFORE:
        return match_before(&c, i);
    case WS_LINE:
        return match_line(&c, i);
    case WS_END:
        return match_end(&c, i);
    case WS_HALVES:
        return match_halves(&c, i);
    case WORD_A:
    case WORD_B:
    case WORD_A_CON:
    case WORD_B_CON:
        return match_word(&c, a, i);
    case PHRASE:
        return match_phrase(&c, a, i);
    default:
        return match_run(&c, a, i);
    }
}
