/* pipe_run: the text under way and its way through the steps (pipe.h).
 *
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "engine/base/mem.h"
#include "engine/base/utf8.h"
#include "engine/text/pipe/pipe.h"

#define MAX_GROWTH 32
#define MAX_BYTES (INT32_MAX / 2)

static void text_fini(struct pipe_text *x)
{
    mem_free(x->p);
    mem_free(x->from);
    mem_free(x->to);
    mem_free(x->cut);
}

static int text_room(struct pipe_text *x, size_t n, struct err *e)
{
    if (x->n + n < x->cap)
        return 0;
    if (n > x->max || x->n > x->max - n)
        return err_set(e, ERR_INVALID,
                       "the normalizer makes more than %zu bytes of a text",
                       x->max);
    size_t cap = x->n + n + x->cap + 64;
    char *p = mem_grow(x->p, cap, 1);
    x->p = p ? p : x->p;
    uint32_t *from = mem_grow(x->from, cap, sizeof *from);
    x->from = from ? from : x->from;
    uint32_t *to = mem_grow(x->to, cap, sizeof *to);
    x->to = to ? to : x->to;
    uint8_t *cut = mem_grow(x->cut, cap, 1);
    x->cut = cut ? cut : x->cut;
    if (!p || !from || !to || !cut)
        return err_nomem(e);
    x->cap = cap;
    return 0;
}

int pipe_put(struct pipe_text *x, const char *s, size_t n, uint32_t from,
             uint32_t to, unsigned cut, struct err *e)
{
    if (text_room(x, n, e))
        return -1;
    for (size_t i = 0; i < n; i++) {
        x->p[x->n] = s[i];
        x->from[x->n] = from;
        x->to[x->n] = to;
        x->cut[x->n++] = (uint8_t)(i == 0 ? cut : 0);
    }
    return 0;
}

static int copy(struct pipe_text *x, const struct pipe_text *in, size_t i,
                size_t j, struct err *e)
{
    if (text_room(x, j - i, e))
        return -1;
    memcpy(x->p + x->n, in->p + i, j - i);
    memcpy(x->from + x->n, in->from + i, (j - i) * sizeof *x->from);
    memcpy(x->to + x->n, in->to + i, (j - i) * sizeof *x->to);
    memcpy(x->cut + x->n, in->cut + i, j - i);
    x->n += j - i;
    return 0;
}

int pipe_copy(struct pipe_work *w, size_t i, size_t j)
{
    return copy(&w->out, &w->in, i, j, w->e);
}

size_t pipe_char(const char *s, size_t n, size_t i, uint32_t *cp)
{
    int len = utf8_next(s + i, n - i, cp);
    if (len == 0)
        *cp = 0xfffd;
    return len ? (size_t)len : 1;
}

size_t pipe_end(const uint8_t *cut, size_t i)
{
    do {
        i++;
    } while (!(cut[i] & CUT_PIECE));
    return i;
}

/* The segment as it is; one piece. */
static int begin(struct pipe_text *x, const char *s, size_t n, struct err *e)
{
    if (text_room(x, n, e))
        return -1;
    for (size_t i = 0; i < n;) {
        uint32_t cp;
        size_t len = pipe_char(s, n, i, &cp);
        if (pipe_put(x, s + i, len, (uint32_t)i, (uint32_t)(i + len),
                     i == 0 ? CUT_PIECE : 0, e))
            return -1;
        i += len;
    }
    x->cut[n] = CUT_PIECE;
    return 0;
}

/* After a step of writing, what it wrote is what the next reads. */
static void turn(struct pipe_work *w)
{
    struct pipe_text x = w->in;
    w->in = w->out;
    w->out = x;
    w->out.n = 0;
}

int pipe_begin(struct pipe_work *w, const char *s, size_t n)
{
    size_t max = n < MAX_BYTES / MAX_GROWTH ? n * MAX_GROWTH : MAX_BYTES;
    w->in.max = w->out.max = max + PIPE_MAX_TEXT;
    if (n > MAX_BYTES)
        return err_set(w->e, ERR_TOO_LARGE, "text of %zu bytes", n);
    return begin(&w->in, s, n, w->e);
}

int pipe_steps(struct pipe_work *w, int from, int to)
{
    for (int k = from; k < to && w->in.n > 0; k++) {
        const struct pipe_step *st = &w->pipe->step[k];
        if (st->op >= PIPE_SPLIT) {
            if (pipe_cut(w, st))
                return -1;
            continue;
        }
        if (text_room(&w->out, 0, w->e) || pipe_normalize(w, st))
            return -1;
        turn(w);
        if (w->in.n > 0) /* what stood in front may have gone */
            w->in.cut[0] |= CUT_PIECE;
        w->in.cut[w->in.n] = CUT_PIECE;
    }
    return 0;
}

void pipe_work_fini(struct pipe_work *w)
{
    text_fini(&w->in);
    text_fini(&w->out);
    regex_work_fini(&w->regex);
    mem_free(w->stand_ins);
}

/* Where tokens lie: in x; NULL: in the segment itself. */
static void set_map(struct tok_encoder *c, struct pipe_text *x)
{
    if (x) /* there is room for the end */
        x->from[x->n] = x->n > 0 ? x->to[x->n - 1] : 0;
    c->map = x ? x->from : NULL;
    c->map_end = x ? x->to : NULL;
}

/* The pre-tokenizers and the model on w->in, which is normalised. */
static int finish(struct tok_encoder *c, struct pipe_work *w)
{
    if (pipe_steps(w, w->pipe->n_norm, w->pipe->n))
        return -1;
    set_map(c, &w->in);
    int rc = w->in.n ? c->t->ops->pieces(c, w->in.p, w->in.n, w->in.cut) : 0;
    set_map(c, NULL);
    return rc;
}

static int finish_part(struct tok_encoder *c, struct pipe_work *w,
                       const struct pipe_text *all, size_t i, size_t j)
{
    w->in.n = 0;
    if (j <= i)
        return 0;
    if (copy(&w->in, all, i, j, w->e))
        return -1;
    w->in.cut[0] = w->in.cut[w->in.n] = CUT_PIECE;
    return finish(c, w);
}

/* As the frame does it with the other added tokens (tokenizer.c). */
static int finish_between(struct tok_encoder *c, struct pipe_work *w)
{
    struct pipe_text all = w->in;
    struct tok_hit h = {0};
    size_t from = 0;
    int rc = 0;
    w->in = (struct pipe_text){.max = all.max};
    while (rc == 0 && tok_added_next(c->t, &w->pipe->added, all.p, all.n, from,
                                     c->flags, &h)) {
        rc = finish_part(c, w, &all, from, h.start);
        set_map(c, &all);
        from = h.end > h.start ? h.end : h.start;
        rc = rc || tok_push_added(c, h.id, h.start, from, all.p + h.start,
                                  from - h.start);
        from = h.end;
    }
    rc = rc || finish_part(c, w, &all, from, all.n);
    set_map(c, NULL);
    text_fini(&all);
    return rc ? -1 : 0;
}

int pipe_encode(struct tok_encoder *c, const char *s, size_t n)
{
    const struct pipe *p = c->t->pipe;
    struct pipe_work w = {
        .pipe = p, .begins = c->base == 0, .steps = &c->steps, .e = c->e};
    int rc = pipe_begin(&w, s, n) || pipe_steps(&w, 0, p->n_norm);
    if (rc == 0)
        rc = p->added.n > 0 ? finish_between(c, &w) : finish(c, &w);
    pipe_work_fini(&w);
    return rc ? -1 : 0;
}
