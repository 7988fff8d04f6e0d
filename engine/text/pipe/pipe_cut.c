/* pipe_cut: the steps that cut a text into pieces, and the search for matches
 * that they share with replacing (pipe.h).
 *
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "engine/base/mem.h"
#include "engine/text/pipe/pipe.h"

/* --------------------------------------------------------------- searching */

int pipe_show(struct pipe_work *w, const struct pipe_step *st)
{
    if (!st->regex)
        return 0;
    mem_free(w->stand_ins);
    w->stand_ins = NULL;
    w->shown = w->in.p;
    return pre_show(&w->shown, w->in.n, &w->stand_ins, w->in.n, w->e) ||
                   regex_work_begin(&w->regex, w->steps, w->e)
               ? -1
               : 0;
}

static int by_regex(struct pipe_work *w, const struct pipe_step *st,
                    size_t start, size_t stop, pipe_part_fn *fn, void *arg)
{
    const char *s = w->shown + start;
    struct regex_match m = {{0, 0}, 0};
    size_t n = stop - start, end = 0;
    int rc;
    while ((rc = regex_next(st->regex, &w->regex, s, n, &m, w->e)) > 0) {
        if ((m.at[0] > end && fn(arg, start + end, start + m.at[0], 0)) ||
            fn(arg, start + m.at[0], start + m.at[1], 1))
            return -1;
        end = m.at[1];
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

/* Runs of one kind; white space is no match. */
static int by_words(struct pipe_work *w, size_t i, size_t stop,
                    pipe_part_fn *fn, void *arg)
{
    size_t from = i;
    int kind = -1;
    while (i < stop) {
        uint32_t cp;
        size_t len = pipe_char(w->in.p, stop, i, &cp);
        int now = uni_is_word(cp) ? 1 : is_of(cp, PIPE_SPACE) ? 0 : 2;
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
