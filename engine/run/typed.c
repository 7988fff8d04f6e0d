/* typed: see typed.h.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/run/typed.h"

#include <string.h>

#include "engine/base/utf8.h"
#include "engine/text/unicode/unicode.h"

int typed_check(const char *text, struct err *e)
{
    size_t n = strlen(text), at = 0, points = 0;

    for (int len; at < n; at += (size_t)len, points++) {
        uint32_t cp = 0;
        len = utf8_next(text + at, n - at, &cp);
        if (len > 0 && utf8_is_space(cp))
            return err_set_at(e, ERR_INVALID, "invalid_value", "prefix",
                              "a prefix is a part of one word, without white "
                              "space");
        len = len > 0 ? len : 1;
    }
    if (points > TYPED_MOST || n > TYPED_BYTES)
        return err_set_at(e, ERR_INVALID, "invalid_value", "prefix",
                          "a prefix of more than %d characters", TYPED_MOST);
    return 0;
}

/* text [n] with its first letter small, or all of them; the bytes, at most
 * TYPED_BYTES: a small letter may take more of them. 0: it is the same. */
static int put_small(const char *text, int n, int all, char *out)
{
    int k = 0;

    for (int i = 0, len; i < n; i += len) {
        uint32_t cp = 0;
        char one[4];
        len = utf8_next(text + i, (size_t)(n - i), &cp);
        if (len == 0)
            return 0;
        int put = utf8_put(i == 0 || all ? uni_lower(cp) : cp, one);
        if (k + put > TYPED_BYTES)
            return 0;
        memcpy(out + k, one, (size_t)put);
        k += put;
    }
    return k == n && memcmp(out, text, (size_t)n) == 0 ? 0 : k;
}

static int begins_with_letter(const char *text, int n)
{
    uint32_t cp = 0;

    return utf8_next(text, (size_t)n, &cp) > 0 &&
           (uni_mask(cp) & (UNI_LETTER | UNI_NUMBER | UNI_MARK)) != 0;
}

void typed_set(struct typed *t, const char *text, int all_small, int apart)
{
    size_t n = text ? strlen(text) : 0;

    memset(t, 0, sizeof *t);
    n = n < TYPED_BYTES ? n : TYPED_BYTES;
    if (n == 0)
        return;
    t->n = (int)n;
    memcpy(t->text, text, n);
    memcpy(t->form[0].s, text, n);
    t->form[0].n = t->n;
    t->form[1].n = put_small(text, t->n, all_small, t->form[1].s);
    t->n_plain = t->form[1].n > 0 ? 2 : 1;
    for (int i = 0; i < t->n_plain; i++) {
        int to = t->n_plain + i;
        t->form[to].s[0] = ' ';
        memcpy(t->form[to].s + 1, t->form[i].s, (size_t)t->form[i].n);
        t->form[to].n = t->form[i].n + 1;
    }
    t->first = (1u << (2 * t->n_plain)) - 1;
    if (apart && begins_with_letter(t->text, t->n))
        t->first &= ~((1u << t->n_plain) - 1);
}

int typed_no_capitals(const struct tokenizer *t)
{
    int n_ids = tokenizer_size(t);

    for (int32_t id = 0; id < n_ids; id++) {
        size_t n;
        const char *p = tokenizer_piece(t, id, &n);
        if (!p || tokenizer_is_special(t, id))
            continue;
        for (size_t i = 0; i < n;) {
            uint32_t cp = 0;
            int len = utf8_next(p + i, n - i, &cp);
            if (len > 0 && uni_lower(cp) != cp)
                return 0;
            i += (size_t)(len > 0 ? len : 1);
        }
    }
    return 1;
}

int typed_word(const struct typed *t, const char *word, size_t n, int *form)
{
    for (int i = 0; i < t->n_plain; i++) {
        size_t need = (size_t)t->form[i].n;
        if (n >= need && memcmp(word, t->form[i].s, need) == 0) {
            *form = i;
            return (int)need;
        }
    }
    return 0;
}

unsigned typed_step(const struct typed *t, unsigned forms, int at,
                    const char *piece, size_t n, int *rest)
{
    unsigned kept = 0;

    *rest = -1;
    for (int i = 0; forms >> i; i++) {
        if (!(forms >> i & 1) || n == 0)
            continue;
        size_t left = (size_t)(t->form[i].n - at);
        size_t both = n < left ? n : left;
        if (memcmp(piece, t->form[i].s + at, both) != 0)
            continue;
        kept |= 1u << i;
        /* Forms part at their first letter: only one comes to its end. */
        if (n >= left)
            *rest = (int)(n - left);
    }
    return kept;
}
