/* tok_trim: places without the white space at the ends of tokens, which
 * tokenizer.json's post_processor may ask for (trim_offsets).
 *
 * Source: Hugging Face tokenizers, pre_tokenizers/byte_level.rs
 * (process_offsets): characters of the token's text are counted, and as many
 * of the input are left out, never more than the token has.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/base/utf8.h"
#include "engine/text/tokenizer_impl.h"
#include "engine/text/unicode/unicode.h"

#define MOST 1024 /* an added token may take a text of white space, each time */
#define BYTE_SPACE 0x120u /* a space in GPT-2's alphabet */

static int is_space(uint32_t cp)
{
    return cp == BYTE_SPACE || (uni_mask(cp) & UNI_SPACE);
}

/* White space that s [n] begins and ends with, in characters, MOST of each. */
static void count_ends(const char *s, size_t n, size_t *left, size_t *right)
{
    uint32_t cp;
    int len;
    *left = *right = 0;
    for (size_t i = 0; i < n && *left < MOST; i += (size_t)len) {
        if ((len = utf8_next(s + i, n - i, &cp)) <= 0 || !is_space(cp))
            break;
        ++*left;
    }
    for (size_t end = n; end > 0 && *right < MOST; ++*right) {
        size_t i = end - 1;
        while (i > 0 && end - i < 4 && ((unsigned char)s[i] & 0xc0) == 0x80)
            i--;
        if (utf8_next(s + i, end - i, &cp) <= 0 || !is_space(cp))
            break;
        end = i;
    }
}

static int is_inside(const char *s, size_t n, size_t i)
{
    return i < n && ((unsigned char)s[i] & 0xc0) == 0x80;
}

static void trim_one(struct token *k, const char *text, size_t n, size_t left,
                     size_t right)
{
    for (; left > 0 && k->start < k->end; left--)
        do {
            k->start++;
        } while (is_inside(text, n, k->start));
    k->start = k->start < k->end ? k->start : k->end;
    /* of a long text only what decides is counted: 4 bytes at most each */
    if (k->end < 4 * right && right > utf8_count(text, k->end))
        return;
    for (; right > 0 && k->end > k->start; right--)
        do {
            k->end--;
        } while (k->end > k->start && is_inside(text, n, k->end));
}

void tok_trim_place(const struct tok_encoder *c)
{
    const struct tokenizer *t = c->t;
    int at = c->out->n - 1;
    struct token *v = &c->out->v[at];
    size_t left, right;
    if (c->surface)
        count_ends(c->surface, c->n_surface, &left, &right);
    else
        count_ends(t->text[v->id], t->len[v->id], &left, &right);
    for (int k = 0; k < t->n_trim && (left || right); k++) {
        const struct tok_trim *r = &t->trim[k];
        int around = (c->flags & TOK_ADD_SPECIAL) && r->before;
        int begins = at == c->first && !around;
        int keeps = left == 1 && r->prefix && (begins || v->start == 0);
        trim_one(v, c->text, c->n_text, keeps ? 0 : left, right);
    }
}

int tok_push_added(struct tok_encoder *c, int32_t id, size_t start, size_t end,
                   const char *s, size_t n)
{
    c->surface = s;
    c->n_surface = n;
    int rc = tok_push(c, id, start, end);
    c->surface = NULL;
    return rc;
}
