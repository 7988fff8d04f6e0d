/* pretok: see pretok.h. A stage only ever adds cuts, so that one array of marks
 * holds the pieces of all stages.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/text/pretok/pretok.h"

#include <string.h>

#include "engine/base/mem.h"
#include "engine/base/utf8.h"
#include "engine/text/unicode/unicode.h"

void pretok_fini(struct pretok *p)
{
    for (int k = 0; k < p->n; k++)
        regex_close(p->stage[k].regex);
    memset(p, 0, sizeof *p);
}

int pretok_add(struct pretok *p, const char *regex, size_t n,
               enum pre_behavior behavior, struct err *e)
{
    const char *linear = pretok_linear(regex, n);
    if (p->n == PRE_MAX_STAGES)
        return err_set(e, ERR_UNSUPPORTED, "too many stages");
    struct regex *r = linear
                          ? regex_open(linear, strlen(linear), p->counts_all, e)
                          : regex_open(regex, n, 1, e);
    if (!r)
        return -1;
    p->stage[p->n++] = (struct pre_stage){.regex = r, .behavior = behavior};
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
    mem_free(w->cut);
    mem_free(w->text);
    regex_work_fini(&w->regex);
    memset(w, 0, sizeof *w);
}

static int reserve(struct pre_work *w, size_t n, struct err *e)
{
    if (n + 1 <= w->cap)
        return 0;
    pre_work_fini(w);
    w->cut = mem_alloc(n + 1);
    if (!w->cut)
        return err_nomem(e);
    w->cap = n + 1;
    return 0;
}

/* Most texts need no stand-ins. */
int pre_show(const char **s, size_t n, char **own, size_t room, struct err *e)
{
    const char *from = *s;
    for (size_t i = 0; i < n;) {
        uint32_t cp, as = 0x7f; /* of a wrong byte */
        if ((unsigned char)from[i] < 0x80) {
            i++;
            continue;
        }
        int len = utf8_next(from + i, n - i, &cp);
        if (len) /* two bytes: no younger than PCRE2's tables */
            as = len == 2 ? cp : uni_stand_in(cp);
        if (len == 0 || as != cp) {
            if (*s == from) {
                *own = *own ? *own : mem_alloc(room);
                if (!*own)
                    return err_nomem(e);
                memcpy(*own, from, n);
                *s = *own;
            }
            utf8_put(as, *own + i);
        }
        i += (size_t)(len ? len : 1);
    }
    return 0;
}

/* One piece of the stage before: s [n], whose marks are cut [n]. */
static int cut_piece(const struct pre_stage *st, struct pre_work *w,
                     const char *s, size_t n, uint8_t *cut, struct err *e)
{
    const uint8_t gap =
        st->behavior == PRE_KEPT ? CUT_PIECE | CUT_DROP : CUT_PIECE;
    struct regex_match m = {{0, 0}, 0};
    size_t end = 0; /* of the match before, if any */
    int rc;
    while ((rc = regex_next(st->regex, &w->regex, s, n, &m, e)) > 0) {
        if (m.at[0] > end)
            cut[end] |= gap;
        if (st->behavior != PRE_CONTIGUOUS || m.at[0] > end)
            cut[m.at[0]] |= CUT_PIECE;
        if (st->behavior == PRE_REMOVED && m.at[1] > m.at[0])
            cut[m.at[0]] |= CUT_DROP;
        end = m.at[1];
    }
    if (end < n)
        cut[end] |= gap;
    return rc < 0 ? -1 : 0;
}

static int run_stage(const struct pre_stage *st, struct pre_work *w,
                     const char *s, size_t n, struct err *e)
{
    for (size_t i = 0; i < n;) {
        size_t j = i + 1;
        while (j < n && !(w->cut[j] & CUT_PIECE))
            j++;
        if (!(w->cut[i] & CUT_DROP) &&
            cut_piece(st, w, s + i, j - i, w->cut + i, e))
            return -1;
        i = j;
    }
    return 0;
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

int pretok_run(const struct pretok *p, const char *s, size_t n, int64_t *steps,
               struct pre_work *w, struct err *e)
{
    const char *text = s;
    if (reserve(w, n, e) || pre_show(&text, n, &w->text, w->cap, e) ||
        regex_work_begin(&w->regex, steps, e))
        return -1;
    memset(w->cut, 0, n + 1);
    w->cut[0] = CUT_PIECE;
    for (int k = 0; k < p->n; k++)
        if (p->stage[k].bytes)
            cut_bytes(p->stage[k].bytes, s, n, w->cut);
        else if (run_stage(&p->stage[k], w, text, n, e))
            return -1;
    w->cut[n] = CUT_PIECE;
    return 0;
}
