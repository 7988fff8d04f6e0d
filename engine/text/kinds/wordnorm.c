/* wordnorm: see wordnorm.h.
 *
 * Source: Hugging Face tokenizers, normalizers/bert.rs and
 * pre_tokenizers/bert.rs: what their functions answer, code point by code
 * point.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/text/kinds/wordnorm.h"

#include <string.h>

#include "engine/base/utf8.h"

#define DOTTED_I 0x130u /* its lower case is two code points */

/* The reference classifies by Unicode 8 and looks younger marks, punctuation
 * and format characters upon as unassigned: ranges of those (no older ones are
 * inside). Found by comparing all code points with tokenizers 0.15 and 0.23. */
static const uint32_t young[][2] = {
    {0x61d, 0x61d},     {0x7fd, 0x7fd},     {0x890, 0x8e2},
    {0x9fd, 0x9fe},     {0xa76, 0xa76},     {0xafa, 0xaff},
    {0xb55, 0xb55},     {0xc04, 0xc3c},     {0xc77, 0xc77},
    {0xc84, 0xc84},     {0xd00, 0xd00},     {0xd3b, 0xd3c},
    {0xd81, 0xd81},     {0xeba, 0xeba},     {0xece, 0xece},
    {0x180f, 0x1886},   {0x1abf, 0x1ace},   {0x1b4e, 0x1b4f},
    {0x1b7d, 0x1b7f},   {0x1df6, 0x1dfb},   {0x2e43, 0x2e5d},
    {0xa82c, 0xa82c},   {0xa8c5, 0xa8c5},   {0xa8ff, 0xa8ff},
    {0xa9bd, 0xa9bd},   {0x10d24, 0x10f89}, {0x11070, 0x11074},
    {0x110c2, 0x110cd}, {0x111cf, 0x111cf}, {0x1123e, 0x11241},
    {0x1133b, 0x1133b}, {0x113bb, 0x1145e}, {0x11660, 0x1166c},
    {0x116b9, 0x116b9}, {0x1182f, 0x11fff}, {0x12ff1, 0x1612f},
    {0x16d6d, 0x16f4f}, {0x16fe2, 0x16fe4}, {0x1cf00, 0x1cf46},
    {0x1e000, 0x1e5ff}, {0x1e944, 0x1e95f}};
#define N_YOUNG ((int)(sizeof(young) / sizeof(young[0])))

/* uni_mask as the reference sees it. */
static uint32_t class_of(uint32_t cp)
{
    uint32_t m = uni_mask(cp);
    int lo = 0, hi = N_YOUNG - 1;
    switch (cp) { /* these have changed since */
    case 0x166d:
    case 0x111c9:
        return UNI_BIT(PO);
    case 0x1734:
    case 0x1171e:
        return UNI_BIT(MN);
    default:
        break;
    }
    if (cp < young[0][0] || !(m & (UNI_PUNCT | UNI_BIT(MN) | UNI_BIT(CF))))
        return m;
    while (lo <= hi) {
        int mid = lo + (hi - lo) / 2;
        if (cp < young[mid][0])
            hi = mid - 1;
        else if (cp > young[mid][1])
            lo = mid + 1;
        else
            return UNI_BIT(CN);
    }
    return m;
}

int wordnorm_is_punct(uint32_t cp)
{
    if (cp < 0x80) /* symbols too */
        return utf8_is_punct(cp);
    return (class_of(cp) & UNI_PUNCT) != 0;
}

static int is_removed(uint32_t cp)
{
    if (cp == '\t' || cp == '\n' || cp == '\r')
        return 0;
    return cp == 0 || cp == 0xfffd ||
           (class_of(cp) & (UNI_CONTROL | UNI_BIT(CF) | UNI_BIT(CO))) != 0;
}

/* 0x2b920 and not 0x2b820, as the reference has it. */
static int is_ideograph(uint32_t cp)
{
    static const uint32_t range[][2] = {{0x4e00, 0x9fff},   {0x3400, 0x4dbf},
                                        {0x20000, 0x2a6df}, {0x2a700, 0x2b73f},
                                        {0x2b740, 0x2b81f}, {0x2b920, 0x2ceaf},
                                        {0xf900, 0xfaff},   {0x2f800, 0x2fa1f}};
    if (cp < 0x3400)
        return 0;
    for (size_t i = 0; i < sizeof(range) / sizeof(range[0]); i++)
        if (cp >= range[i][0] && cp <= range[i][1])
            return 1;
    return 0;
}

/* Where a character comes from, and where it goes to. */
struct place {
    uint32_t at, end;
    struct uni_text *out;
    struct err *e;
};

static int put(const struct place *p, uint32_t cp)
{
    return uni_text_put(p->out, cp, p->at, p->end, p->e);
}

static int put_lower(const struct place *p, uint32_t cp)
{
    if (cp == DOTTED_I)
        return put(p, 'i') || put(p, 0x307) ? -1 : 0;
    return put(p, uni_lower(cp));
}

/* Clean, set ideographs apart, and lower-case where nothing comes between. */
static int clean(const struct wordnorm *b, int lower, const char *s, size_t n,
                 struct uni_text *out, struct err *e)
{
    for (size_t i = 0; i < n;) {
        struct place p = {(uint32_t)i, 0, out, e};
        uint32_t cp;
        int nul = s[i] == 0;
        i += tok_decode(s, n, i, &cp);
        p.end = (uint32_t)i;
        cp = nul ? 0 : cp;
        if (b->clean && is_removed(cp))
            continue;
        if (b->clean && utf8_is_space(cp))
            cp = ' ';
        int apart = b->chinese && is_ideograph(cp), rc = 0;
        rc |= apart ? put(&p, ' ') : 0;
        rc |= lower ? put_lower(&p, cp) : put(&p, cp);
        rc |= apart ? put(&p, ' ') : 0;
        if (rc)
            return -1;
    }
    return uni_text_end(out, (uint32_t)n, e);
}

/* Drop nonspacing marks of decomposed text, and lower-case the rest. */
static int fold(const struct wordnorm *b, const struct uni_text *in,
                struct uni_text *out, struct err *e)
{
    for (size_t i = 0; i < in->n;) {
        struct place p = {in->at[i], in->end[i], out, e};
        uint32_t cp;
        int nul = in->p[i] == 0;
        i += tok_decode(in->p, in->n, i, &cp);
        cp = nul ? 0 : cp;
        if (class_of(cp) & UNI_BIT(MN))
            continue;
        if (b->lowercase ? put_lower(&p, cp) : put(&p, cp))
            return -1;
    }
    return uni_text_end(out, in->at[in->n], e);
}

int wordnorm_run(const struct wordnorm *b, const char *s, size_t n,
                 struct uni_text *out, struct err *e)
{
    struct uni_text a = {0}, d = {0};
    if (!b->strip || uni_is_plain(s, n))
        return clean(b, b->lowercase, s, n, out, e);
    int rc =
        clean(b, 0, s, n, &a, e) || uni_normalize(UNI_NFD, a.p, a.n, &d, e);
    if (rc == 0)
        uni_text_through(&d, &a);
    rc = rc || fold(b, &d, out, e);
    uni_text_fini(&a);
    uni_text_fini(&d);
    return rc ? -1 : 0;
}

int wordnorm_json(struct wordnorm *b, const struct tok_source *s,
                  const struct json *normalizer)
{
    const char *type = json_string(json_get(normalizer, "type"));
    if (!type || strcmp(type, "BertNormalizer") != 0)
        return tok_refuse(s, "normalizer", type);
    return tok_flag(s, normalizer, "clean_text", 1, &b->clean) ||
                   tok_flag(s, normalizer, "handle_chinese_chars", 1,
                            &b->chinese) ||
                   tok_flag(s, normalizer, "lowercase", 1, &b->lowercase) ||
                   tok_flag(s, normalizer, "strip_accents", b->lowercase,
                            &b->strip)
               ? -1
               : 0;
}

int wordnorm_setup(struct wordnorm *b, const struct tok_source *s)
{
    b->clean = 1;
    return tok_flag(s, s->setup, "do_lower_case", 1, &b->lowercase) ||
                   tok_flag(s, s->setup, "tokenize_chinese_chars", 1,
                            &b->chinese) ||
                   tok_flag(s, s->setup, "strip_accents", b->lowercase,
                            &b->strip)
               ? -1
               : 0;
}
