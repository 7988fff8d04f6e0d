/* pipe_cut: the steps that cut a text into pieces, and the search for matches
 * that they share with replacing (pipe.h).
 *
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "engine/base/mem.h"
#include "engine/base/utf8.h"
#include "engine/text/pipe/pipe.h"

/* --------------------------------------------------------------- searching */

int pipe_show(struct pipe_work *w, const struct pipe_step *st)
{
    if (!st->regex)
        return 0;
    mem_free(w->shown);
    w->shown = mem_alloc(w->in.n + 1);
    if (!w->shown)
        return err_nomem(w->e);
    memcpy(w->shown, w->in.p, w->in.n);
    for (size_t i = 0; i < w->in.n;) {
        uint32_t cp;
        size_t len = pipe_char(w->in.p, w->in.n, i, &cp);
        if (len > 2)
            utf8_put(uni_stand_in(cp), w->shown + i);
        i += len;
    }
    return regex_work_begin(&w->regex, w->steps, w->e);
}

static int by_regex(struct pipe_work *w, const struct pipe_step *st,
                    size_t start, size_t stop, pipe_part_fn *fn, void *arg)
{
    const char *s = w->shown + start;
    size_t n = stop - start, from = 0, end = 0, at[2];
    int any = 0, rc;
    while ((rc = regex_find(st->regex, &w->regex, s, n, from, at, w->e)) > 0) {
        if (at[0] == at[1] && any && at[1] == end) {
            uint32_t cp;
            int len = utf8_next(s + from, n - from, &cp);
            if (len == 0)
                break;
            from += (size_t)len;
            continue;
        }
        if ((at[0] > end && fn(arg, start + end, start + at[0], 0)) ||
            fn(arg, start + at[0], start + at[1], 1))
            return -1;
        any = 1;
        from = end = at[1];
    }
    if (rc < 0)
        return -1;
    return end < n ? fn(arg, start + end, stop, 0) : 0;
}

static int by_text(struct pipe_work *w, const struct pipe_step *st, size_t i,
                   size_t stop, pipe_part_fn *fn, void *arg)
{
    const char *s = w->in.p;
    size_t n = st->n_pattern, end = i;
    while (n > 0 && n <= stop - i) {
        const char *at = memchr(s + i, st->pattern[0], stop - i - n + 1);
        if (!at)
            break;
        i = (size_t)(at - s);
        if (memcmp(at, st->pattern, n) != 0) {
            i++;
            continue;
        }
        if ((i > end && fn(arg, end, i, 0)) || fn(arg, i, i + n, 1))
            return -1;
        i = end = i + n;
    }
    return end < stop ? fn(arg, end, stop, 0) : 0;
}

static int is_of(uint32_t cp, int which)
{
    if (which == PIPE_PUNCT)
        return wordnorm_is_punct(cp);
    return (uni_mask(cp) & (which == PIPE_SPACE ? UNI_SPACE : UNI_NUMBER)) != 0;
}

static int by_class(struct pipe_work *w, const struct pipe_step *st, size_t i,
                    size_t stop, pipe_part_fn *fn, void *arg)
{
    size_t end = i;
    while (i < stop) {
        uint32_t cp;
        size_t len = pipe_char(w->in.p, stop, i, &cp);
        if (is_of(cp, st->arg)) {
            if ((i > end && fn(arg, end, i, 0)) || fn(arg, i, i + len, 1))
                return -1;
            end = i + len;
        }
        i += len;
    }
    return end < stop ? fn(arg, end, stop, 0) : 0;
}

/* A word character as the reference's expressions have it. */
static int is_word(uint32_t cp)
{
    uint32_t m = uni_mask(cp);
    if (m & (UNI_LETTER | UNI_MARK | UNI_BIT(ND) | UNI_BIT(NL) | UNI_BIT(PC)))
        return 1;
    return cp == 0x200c || cp == 0x200d || (cp >= 0x24b6 && cp <= 0x24e9) ||
           (cp >= 0x1f130 && cp <= 0x1f149) ||
           (cp >= 0x1f150 && cp <= 0x1f169) || (cp >= 0x1f170 && cp <= 0x1f189);
}

/* Runs of one kind; white space is no match. */
static int by_words(struct pipe_work *w, size_t i, size_t stop,
                    pipe_part_fn *fn, void *arg)
{
    size_t from = i;
    int kind = -1;
    while (i < stop) {
        uint32_t cp;
        size_t len = pipe_char(w->in.p, stop, i, &cp);
        int now = is_word(cp) ? 1 : is_of(cp, PIPE_SPACE) ? 0 : 2;
        if (now != kind && i > from && fn(arg, from, i, kind > 0))
            return -1;
        from = now != kind ? i : from;
        kind = now;
        i += len;
    }
    return from < stop ? fn(arg, from, stop, kind > 0) : 0;
}

int pipe_matches(struct pipe_work *w, const struct pipe_step *st, size_t from,
                 size_t to, pipe_part_fn *fn, void *arg)
{
    if (st->op == PIPE_CLASS)
        return by_class(w, st, from, to, fn, arg);
    if (st->op == PIPE_WORDS)
        return by_words(w, from, to, fn, arg);
    return st->regex ? by_regex(w, st, from, to, fn, arg)
                     : by_text(w, st, from, to, fn, arg);
}

/* ----------------------------------------------------------------- cutting */

struct cutting {
    struct pipe_text *x;
    const struct pipe_step *st;
    int before; /* was the part before a match? -1: there is none */
};

static int cut_part(void *arg, size_t from, size_t to, int is_match)
{
    struct cutting *c = arg;
    int m = is_match != c->st->invert, before = c->before, joined = 0;
    c->before = m;
    if (before >= 0) {
        joined = (c->st->join == JOIN_ALIKE && m == before) ||
                 (c->st->join == JOIN_BEFORE && m && !before) ||
                 (c->st->join == JOIN_NEXT && !m && before);
    }
    if (!joined && from < c->x->n)
        c->x->cut[from] |= CUT_PIECE;
    if (c->st->join == JOIN_DROP && m && to > from)
        c->x->cut[from] |= CUT_DROP;
    return 0;
}

int pipe_cut(struct pipe_work *w, const struct pipe_step *st)
{
    if (pipe_show(w, st))
        return -1;
    for (size_t i = 0; i < w->in.n;) {
        size_t j = pipe_end(w->in.cut, i);
        struct cutting c = {&w->in, st, -1};
        if (!(w->in.cut[i] & CUT_DROP) &&
            pipe_matches(w, st, i, j, cut_part, &c))
            return -1;
        i = j;
    }
    return 0;
}
