/* pipe_norm: the steps that write another text (pipe.h). Which character of
 * the input one comes from is as the reference has it: what is put in takes the
 * place of the character before, what stands for another that one's.
 *
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "engine/base/utf8.h"
#include "engine/text/pipe/pipe.h"

#define DOTTED_I 0x130u /* its lower case is two code points */

/* The reference takes marks away as Unicode 9 knew them: ranges of younger ones
 * (no older ones are inside). Found by comparing all code points with
 * tokenizers 0.23.3. */
static const uint32_t young[][2] = {
    {0x7fd, 0x7fd},     {0x897, 0x8d3},     {0x9fe, 0x9fe},
    {0xafa, 0xaff},     {0xb55, 0xb55},     {0xc04, 0xc3c},
    {0xcf3, 0xd00},     {0xd3b, 0xd3c},     {0xd81, 0xd81},
    {0xeba, 0xeba},     {0xece, 0xece},     {0x1715, 0x1715},
    {0x180f, 0x180f},   {0x1abf, 0x1ace},   {0x1cf7, 0x1cf7},
    {0x1df6, 0x1dfa},   {0xa82c, 0xa82c},   {0xa8ff, 0xa8ff},
    {0x10d24, 0x10f85}, {0x11070, 0x11074}, {0x110c2, 0x110c2},
    {0x11145, 0x11146}, {0x111c9, 0x111c9}, {0x111ce, 0x111cf},
    {0x11241, 0x11241}, {0x1133b, 0x1133b}, {0x113b8, 0x113e2},
    {0x1145e, 0x1145e}, {0x1182c, 0x11a99}, {0x11d31, 0x1612f},
    {0x16f4f, 0x16f4f}, {0x16f7f, 0x16f87}, {0x16fe4, 0x16ff1},
    {0x1cf00, 0x1cf46}, {0x1e08f, 0x1e5ef}};

/* cp, which stands for the character of w->in at byte i. */
static int put_as(struct pipe_work *w, uint32_t cp, size_t i, unsigned cut)
{
    char one[4];
    int len = utf8_put(cp, one);
    return pipe_put(&w->out, one, (size_t)len, w->in.from[i], w->in.to[i], cut,
                    w->e);
}

/* A text whose bytes come from those of w->in. */
static int take_over(struct pipe_work *w, const struct uni_text *u)
{
    for (size_t i = 0; i < u->n;) {
        uint32_t cp;
        size_t len = pipe_char(u->p, u->n, i, &cp), at = u->at[i];
        at = at < w->in.n ? at : w->in.n - 1;
        if (pipe_put(&w->out, u->p + i, len, w->in.from[at], w->in.to[at], 0,
                     w->e))
            return -1;
        i += len;
    }
    return 0;
}

static int by_uni_text(struct pipe_work *w, const struct pipe_step *st)
{
    const struct pipe_text *in = &w->in;
    struct uni_text u = {.max = w->out.max};
    int rc;
    if (st->op == PIPE_FORM)
        rc = uni_normalize((enum uni_form)st->arg, in->p, in->n, &u, w->e);
    else if (st->op == PIPE_CLEAN)
        rc = wordnorm_run(&st->clean, in->p, in->n, &u, w->e);
    else
        rc = spm_norm_run(&w->pipe->chars, in->p, in->n, 0, &u, w->e);
    rc = rc || take_over(w, &u);
    uni_text_fini(&u);
    return rc ? -1 : 0;
}

static int is_nmt_gone(uint32_t cp)
{
    return (cp >= 1 && cp <= 8) || cp == 0xb || (cp >= 0xe && cp <= 0x1f) ||
           cp == 0x7f || cp == 0x8f || cp == 0x9f;
}

static int is_nmt_space(uint32_t cp)
{
    return cp == 9 || cp == 0xa || cp == 0xc || cp == 0xd || cp == 0x1680 ||
           (cp >= 0x200b && cp <= 0x200f) || cp == 0x2028 || cp == 0x2029 ||
           cp == 0x2581 || cp == 0xfeff || cp == 0xfffd;
}

static int lower(struct pipe_work *w, uint32_t cp, size_t i)
{
    if (cp == DOTTED_I)
        return put_as(w, 'i', i, 0) || put_as(w, 0x307, i, 0) ? -1 : 0;
    return put_as(w, uni_lower(cp), i, 0);
}

static int is_accent(uint32_t cp)
{
    int is = (uni_mask(cp) & UNI_MARK) != 0;
    for (size_t i = 0; is && i < sizeof young / sizeof young[0]; i++)
        is = cp < young[i][0] || cp > young[i][1];
    return is || cp == 0x1cf2 || cp == 0x1cf3; /* marks then, letters since */
}

/* Steps that look at one character at a time. */
static int each_char(struct pipe_work *w, const struct pipe_step *st)
{
    int rc = 0;
    for (size_t i = 0; i < w->in.n && rc == 0;) {
        uint32_t cp;
        size_t len = pipe_char(w->in.p, w->in.n, i, &cp);
        if (st->op == PIPE_LOWER)
            rc = lower(w, cp, i);
        else if (st->op == PIPE_ACCENTS)
            rc = is_accent(cp) ? 0 : put_as(w, cp, i, 0);
        else if (!is_nmt_gone(cp))
            rc = put_as(w, is_nmt_space(cp) ? ' ' : cp, i, 0);
        i += len;
    }
    return rc;
}

static int strip(struct pipe_work *w, int ends)
{
    size_t first = SIZE_MAX, last = 0;
    for (size_t i = 0; i < w->in.n;) {
        uint32_t cp;
        size_t len = pipe_char(w->in.p, w->in.n, i, &cp);
        if (!(uni_mask(cp) & UNI_SPACE)) {
            first = first == SIZE_MAX ? i : first;
            last = i + len;
        }
        i += len;
    }
    if (first == SIZE_MAX)
        return ends ? 0 : pipe_copy(w, 0, w->in.n);
    return pipe_copy(w, ends & 1 ? first : 0, ends & 2 ? last : w->in.n);
}

/* --------------------------------------------------------------- of pieces */

struct replacing {
    struct pipe_work *w;
    const struct pipe_step *st;
    size_t piece, begun; /* where it begins in w->in and in w->out */
};

static int replace_part(void *arg, size_t from, size_t to, int is_match)
{
    struct replacing *r = arg;
    const struct pipe_text *in = &r->w->in;
    if (!is_match)
        return pipe_copy(r->w, from, to);
    /* Of the last character of the match, or of the one before it. */
    uint32_t a = to > r->piece ? in->from[to - 1] : 0;
    uint32_t b = to > r->piece ? in->to[to - 1] : 0;
    return pipe_put(&r->w->out, r->st->text, r->st->n_text, a, b, 0, r->w->e);
}

static int prepend(struct pipe_work *w, const struct pipe_step *st, size_t i,
                   size_t j)
{
    int there =
        st->n_text <= j - i && !memcmp(w->in.p + i, st->text, st->n_text);
    if ((st->arg && there) ||
        (st->arg == 2 && !(w->begins && w->in.from[i] == 0)))
        return 0;
    return pipe_put(&w->out, st->text, st->n_text, w->in.from[i], w->in.to[i],
                    0, w->e);
}

/* The reference puts the bytes of a piece that comes from nothing (what a
 * pattern put in that matches nothing at the beginning) in front of it. */
static int write_bytes(struct pipe_work *w, size_t i, size_t j)
{
    const uint16_t *char_of = w->pipe->alphabet.char_of;
    int from_nothing = w->in.to[j - 1] <= w->in.from[i];
    for (size_t k = i; k < j; k++)
        if (put_as(w, char_of[(unsigned char)w->in.p[k]], k, 0))
            return -1;
    return from_nothing ? pipe_copy(w, i, j) : 0;
}

static int each_piece(struct pipe_work *w, const struct pipe_step *st)
{
    if (pipe_show(w, st))
        return -1;
    for (size_t i = 0; i < w->in.n;) {
        size_t j = pipe_end(w->in.cut, i);
        struct replacing r = {w, st, i, w->out.n};
        int rc = 0;
        if (w->in.cut[i] & CUT_DROP)
            rc = 0;
        else if (st->op == PIPE_REPLACE)
            rc = pipe_matches(w, st, i, j, replace_part, &r);
        else if (st->op == PIPE_BYTES)
            rc = write_bytes(w, i, j);
        else
            rc = prepend(w, st, i, j) || pipe_copy(w, i, j);
        if (rc)
            return -1;
        for (size_t k = r.begun; k < w->out.n; k++)
            w->out.cut[k] = k == r.begun ? CUT_PIECE : 0;
        i = j;
    }
    return 0;
}

int pipe_normalize(struct pipe_work *w, const struct pipe_step *st)
{
    switch (st->op) {
    case PIPE_FORM:
    case PIPE_CLEAN:
    case PIPE_CHARS:
        return by_uni_text(w, st);
    case PIPE_LOWER:
    case PIPE_ACCENTS:
    case PIPE_NMT:
        return each_char(w, st);
    case PIPE_STRIP:
        return strip(w, st->arg);
    default:
        return each_piece(w, st);
    }
}
