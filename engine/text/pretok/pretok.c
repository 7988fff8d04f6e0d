/* pretok: see pretok.h. A stage only ever adds cuts, so that one array of marks
 * holds the pieces of all stages.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/text/pretok/pretok.h"

#include <string.h>

#include "engine/base/mem.h"
#include "engine/base/utf8.h"
#include "engine/text/unicode/unicode.h"

/* The longest published expression has some 700 bytes. */
#define MAX_REGEX 2048

/* A copy with line feeds and carriage returns escaped. */
static size_t escape(const char *s, size_t n, char *out)
{
    size_t k = 0;
    for (size_t i = 0; i < n; i++) {
        if (s[i] == '\n' || s[i] == '\r') {
            out[k++] = '\\';
            out[k++] = s[i] == '\n' ? 'n' : 'r';
        } else {
            out[k++] = s[i];
        }
    }
    return k;
}

static int read_alts(struct pre_stage *st, const char *s, size_t n)
{
    size_t i = 0, len;
    while (i < n) {
        int alt = pre_alt_find(s + i, n - i, &len);
        if (alt < 0 || st->n_alts == PRE_MAX_ALTS)
            return -1;
        st->alt[st->n_alts++] = (uint8_t)alt;
        i += len + 1; /* the bar, or one past the end */
    }
    return st->n_alts > 0 && i == n + 1 ? 0 : -1;
}

int pretok_add(struct pretok *p, const char *regex, size_t n,
               enum pre_behavior behavior)
{
    char plain[2 * MAX_REGEX];
    struct pre_stage st = {.behavior = behavior};
    if (n > MAX_REGEX || p->n == PRE_MAX_STAGES ||
        read_alts(&st, plain, escape(regex, n, plain)))
        return -1;
    p->stage[p->n++] = st;
    return 0;
}

int pretok_add_bytes(struct pretok *p, int kind)
{
    if (p->n == PRE_MAX_STAGES)
        return -1;
    p->stage[p->n++] = (struct pre_stage){.bytes = kind};
    return 0;
}

/* ---------------------------------------------------------------- cutting */

void pre_work_fini(struct pre_work *w)
{
    mem_free(w->point);
    mem_free(w->at);
    mem_free(w->cut);
    memset(w, 0, sizeof *w);
}

static int reserve(struct pre_work *w, size_t n, struct err *e)
{
    if (n + 1 <= w->cap)
        return 0;
    pre_work_fini(w);
    w->point = mem_array(n + 1, sizeof *w->point);
    w->at = mem_array(n + 1, sizeof *w->at);
    w->cut = mem_alloc(n + 1);
    if (!w->point || !w->at || !w->cut) {
        pre_work_fini(w);
        return err_nomem(e);
    }
    w->cap = n + 1;
    return 0;
}

static void decode(struct pre_work *w, const char *s, size_t n)
{
    size_t k = 0;
    for (size_t i = 0; i < n; k++) {
        uint32_t cp;
        int len = utf8_next(s + i, n - i, &cp);
        if (len == 0) {
            cp = 0xfffd;
            len = 1;
        }
        w->at[k] = (uint32_t)i;
        w->point[k] = cp | uni_category(cp) << 21;
        i += (size_t)len;
    }
    w->at[k] = (uint32_t)n;
    w->n_points = k;
}

/* The end of the first match at i, or i. */
static size_t match_any(const struct pre_stage *st, const struct pre_work *w,
                        size_t begin, size_t i, size_t end)
{
    for (int k = 0; k < st->n_alts; k++) {
        size_t j = pre_alt_match(st->alt[k], w->point, begin, i, end);
        if (j > i)
            return j;
    }
    return i;
}

/* One piece [begin, end) of the stage before, in points. */
static void cut_piece(const struct pre_stage *st, struct pre_work *w,
                      size_t begin, size_t end)
{
    size_t matched = begin; /* the end of the match before */
    int any = 0;
    for (size_t i = begin; i < end;) {
        size_t j = match_any(st, w, begin, i, end);
        if (j == i) {
            if (i == matched) { /* a gap begins, maybe the piece itself */
                w->cut[w->at[i]] |=
                    st->behavior == PRE_KEPT ? CUT_PIECE | CUT_DROP : CUT_PIECE;
            }
            i++;
            continue;
        }
        int joins = any && i == matched && st->behavior == PRE_CONTIGUOUS;
        if (!joins)
            w->cut[w->at[i]] |= CUT_PIECE;
        if (st->behavior == PRE_REMOVED)
            w->cut[w->at[i]] |= CUT_DROP;
        any = 1;
        matched = i = j;
    }
}

static void run_stage(const struct pre_stage *st, struct pre_work *w)
{
    for (size_t i = 0; i < w->n_points;) {
        size_t j = i + 1;
        while (j < w->n_points && !(w->cut[w->at[j]] & CUT_PIECE))
            j++;
        if (!(w->cut[w->at[i]] & CUT_DROP))
            cut_piece(st, w, i, j);
        i = j;
    }
}

/* Bytes that GPT-2's alphabet writes as characters of class N. */
static int is_byte_digit(unsigned char b)
{
    return (b >= '0' && b <= '9') || b == 0xb2 || b == 0xb3 || b == 0xb9 ||
           (b >= 0xbc && b <= 0xbe);
}

static void cut_bytes(int kind, const char *s, size_t n, uint8_t *cut)
{
    for (size_t i = 0; i < n;) {
        size_t j = i;
        while (j < n && (j == i || !(cut[j] & CUT_PIECE)) &&
               (kind == 1 ? is_byte_digit((unsigned char)s[j])
                          : j < i + 3 && s[j] >= '0' && s[j] <= '9'))
            j++;
        if (j > i && (kind == 1 || j == i + 3)) {
            cut[i] |= CUT_PIECE;
            cut[j] |= CUT_PIECE;
            i = j;
        } else {
            i++;
        }
    }
}

int pretok_run(const struct pretok *p, const char *s, size_t n,
               struct pre_work *w, struct err *e)
{
    if (reserve(w, n, e))
        return -1;
    memset(w->cut, 0, n + 1);
    w->cut[0] = CUT_PIECE;
    decode(w, s, n);
    for (int k = 0; k < p->n; k++)
        if (p->stage[k].bytes)
            cut_bytes(p->stage[k].bytes, s, n, w->cut);
        else
            run_stage(&p->stage[k], w);
    w->cut[n] = CUT_PIECE;
    return 0;
}
