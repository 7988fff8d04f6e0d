/* unicode: look-ups in the generated tables by binary search, and the
 * normalisation forms (UAX #15). A run of combining marks is
 * sorted by counting, so that a text of nothing else costs no more than
 * another.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/text/unicode/unicode.h"

#include <string.h>

#include "engine/base/mem.h"
#include "engine/base/utf8.h"
#include "engine/text/kinds/tok_split.h"
#include "engine/text/unicode/unicode_tables.h"

/* Hangul syllables are computed (Unicode 16.0, section 3.12). */
#define S_BASE 0xac00u
#define L_BASE 0x1100u
#define V_BASE 0x1161u
#define T_BASE 0x11a7u
#define N_L 19u
#define N_V 21u
#define N_T 28u
#define N_S (N_L * N_V * N_T)

/* The last of v[n], ascending, that is <= x, or -1. */
static int last_upto(const uint32_t *v, int n, uint32_t x)
{
    int lo = 0, hi = n;
    while (lo < hi) {
        int mid = lo + (hi - lo) / 2;
        if (v[mid] <= x)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo - 1;
}

uint32_t uni_category(uint32_t cp)
{
    if (cp > 0x10ffff)
        return UNI_CN;
    if (cp >= 'a' && cp <= 'z')
        return UNI_LL;
    if (cp == ' ')
        return UNI_ZS;
    const uint16_t *start = &uni_class_starts[uni_class_pages[cp / UNI_PAGE]];
    int lo = start[0], hi = start[1];
    uint32_t at = cp % UNI_PAGE;
    while (lo < hi) {
        int mid = lo + (hi - lo) / 2;
        if (uni_class_runs[mid] <= (at << 5 | 31))
            lo = mid + 1;
        else
            hi = mid;
    }
    uint32_t run = uni_class_runs[lo - 1], code = run & 31;
    if (code == UNI_ALTERNATING)
        code = (at - (run >> 5)) & 1 ? UNI_LL : UNI_LU;
    return code;
}

uint32_t uni_mask(uint32_t cp)
{
    return 1u << uni_category(cp);
}

/* Alphabetic beyond letters and marks: letters in circles and squares. */
int uni_is_word(uint32_t cp)
{
    uint32_t m = uni_mask(cp);
    if (m & (UNI_LETTER | UNI_MARK | UNI_BIT(ND) | UNI_BIT(NL) | UNI_BIT(PC)))
        return 1;
    return cp == 0x200c || cp == 0x200d || (cp >= 0x24b6 && cp <= 0x24e9) ||
           (cp >= 0x1f130 && cp <= 0x1f149) ||
           (cp >= 0x1f150 && cp <= 0x1f169) || (cp >= 0x1f170 && cp <= 0x1f189);
}

uint32_t uni_lower(uint32_t cp)
{
    if (cp < 0x80)
        return cp >= 'A' && cp <= 'Z' ? cp + 32 : cp;
    int lo = 0, hi = n_uni_lower_runs - 1;
    while (lo <= hi) {
        int mid = lo + (hi - lo) / 2;
        const struct uni_case_run *r = &uni_lower_runs[mid];
        if (cp < r->first) {
            hi = mid - 1;
        } else if (cp - r->first > r->span) {
            lo = mid + 1;
        } else {
            int hit = (cp - r->first) % (uint32_t)r->stride == 0;
            return hit ? (uint32_t)((int32_t)cp + r->delta) : cp;
        }
    }
    return cp;
}

uint32_t uni_stand_in(uint32_t cp)
{
    int lo = 0, hi = n_uni_stand_runs;
    while (lo < hi) {
        int mid = lo + (hi - lo) / 2;
        if (uni_stand_runs[mid].first <= cp)
            lo = mid + 1;
        else
            hi = mid;
    }
    const struct uni_stand_run *r = lo ? &uni_stand_runs[lo - 1] : NULL;
    return r && cp - r->first <= r->span
               ? (uint32_t)((int32_t)r->first + r->delta)
               : cp;
}

int uni_stand_splits(uint32_t lo, uint32_t hi)
{
    for (int i = 0; i < n_uni_stand_runs; i++) {
        const struct uni_stand_run *r = &uni_stand_runs[i];
        uint32_t last = r->first + r->span, shown = uni_stand_in(last);
        int all = lo <= r->first && hi >= last;
        int some = lo <= last && hi >= r->first;
        if (lo <= shown && hi >= shown ? !all : some)
            return 1;
    }
    return 0;
}

/* Canonical combining class, 0 for starters. */
static int combining_class(uint32_t cp)
{
    if (cp < 0x300)
        return 0;
    int i = last_upto(uni_ccc_runs, n_uni_ccc_runs, cp << 8 | 0xff);
    return i < 0 ? 0 : (int)(uni_ccc_runs[i] & 0xff);
}

/* The two parts of one step of decomposition; 0 when there is none. */
static int split_once(uint32_t cp, uint32_t *a, uint32_t *b)
{
    if (cp < 0xc0 || cp > 0xfffff)
        return 0;
    int n = n_uni_decomp_runs;
    int run = last_upto(uni_decomp_runs, n, cp << 12 | 0xfff);
    uint32_t r = uni_decomp_runs[run];
    uint32_t end = (uint32_t)n_uni_decomp;
    if (run + 1 < n)
        end = uni_decomp_runs[run + 1] & 0xfff;
    uint32_t i = (r & 0xfff) + cp - (r >> 12);
    if (i >= end)
        return 0;
    *a = uni_decomp[i] >> 7;
    *b = uni_seconds[uni_decomp[i] & 0x7f];
    return 1;
}

/* The full canonical decomposition of one code point into out, at most 4;
 * returns their number (1: itself). Hangul included. */
static int decompose(uint32_t cp, uint32_t out[4])
{
    if (cp - S_BASE < N_S) {
        uint32_t s = cp - S_BASE;
        out[0] = L_BASE + s / (N_V * N_T);
        out[1] = V_BASE + s % (N_V * N_T) / N_T;
        out[2] = T_BASE + s % N_T;
        return out[2] == T_BASE ? 2 : 3;
    }
    /* Only the first part decomposes further; the longest chain has 4. */
    uint32_t tail[4], a, b;
    int n_tail = 0, n = 0;
    while (n_tail < 3 && split_once(cp, &a, &b)) {
        cp = a;
        if (b)
            tail[n_tail++] = b;
    }
    out[n++] = cp;
    while (n_tail > 0)
        out[n++] = tail[--n_tail];
    return n;
}

/* The same for either kind of form; returns the number of *parts, which may be
 * `own`. */
static int decompose_as(enum uni_form form, uint32_t cp, uint32_t own[4],
                        const uint32_t **parts)
{
    if (form >= UNI_NFKC && cp >= 0xa0) {
        int i = last_upto(uni_compat, n_uni_compat, cp);
        if (i >= 0 && uni_compat[i] == cp) {
            *parts = uni_compat_parts + uni_compat_at[i];
            return uni_compat_at[i + 1] - uni_compat_at[i];
        }
    }
    *parts = own;
    return decompose(cp, own);
}

static int composes(enum uni_form form)
{
    return form == UNI_NFC || form == UNI_NFKC;
}

/* The code point whose parts are uni_decomp[i]. */
static uint32_t point_at(uint32_t i)
{
    int run = 0;
    for (int hi = n_uni_decomp_runs; hi - run > 1;) {
        int mid = run + (hi - run) / 2;
        if ((uni_decomp_runs[mid] & 0xfff) <= i)
            run = mid;
        else
            hi = mid;
    }
    uint32_t r = uni_decomp_runs[run];
    return (r >> 12) + i - (r & 0xfff);
}

/* The primary composite of a and b, or 0. */
static uint32_t compose(uint32_t a, uint32_t b)
{
    if (a - L_BASE < N_L && b - V_BASE < N_V)
        return S_BASE + ((a - L_BASE) * N_V + (b - V_BASE)) * N_T;
    if (a - S_BASE < N_S && (a - S_BASE) % N_T == 0 && b > T_BASE &&
        b < T_BASE + N_T)
        return a + (b - T_BASE);
    int second = last_upto(uni_seconds, n_uni_seconds, b);
    if (second < 1 || uni_seconds[second] != b)
        return 0;
    uint32_t want = a << 7 | (uint32_t)second;
    int lo = 0, hi = n_uni_comp;
    while (lo < hi) {
        int mid = lo + (hi - lo) / 2;
        if (uni_decomp[uni_comp[mid]] < want)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < n_uni_comp && uni_decomp[uni_comp[lo]] == want
               ? point_at(uni_comp[lo])
               : 0;
}

/* ------------------------------------------------------- normalised text */

void uni_text_fini(struct uni_text *u)
{
    mem_free(u->p);
    mem_free(u->at);
    mem_free(u->end);
    memset(u, 0, sizeof *u);
}

static int text_room(struct uni_text *u, size_t n, struct err *e)
{
    if (u->cap - u->n > n)
        return 0;
    if (u->max && u->n + n > u->max)
        return err_set(e, ERR_INVALID,
                       "the normalizer makes more than %zu bytes of a text",
                       u->max);
    size_t cap = u->cap * 2 > u->n + n ? u->cap * 2 : u->n + n + 256;
    char *p = mem_grow(u->p, cap, 1);
    if (!p)
        return err_nomem(e);
    u->p = p;
    uint32_t *at = mem_grow(u->at, cap, sizeof *at);
    if (!at)
        return err_nomem(e);
    u->at = at;
    uint32_t *end = mem_grow(u->end, cap, sizeof *end);
    if (!end)
        return err_nomem(e);
    u->end = end;
    u->cap = cap;
    return 0;
}

int uni_text_put(struct uni_text *u, uint32_t cp, uint32_t at, uint32_t end,
                 struct err *e)
{
    if (text_room(u, 4, e))
        return -1;
    int len = utf8_put(cp, u->p + u->n);
    for (int k = 0; k < len; k++) {
        u->at[u->n] = at;
        u->end[u->n++] = end;
    }
    return 0;
}

int uni_text_end(struct uni_text *u, uint32_t at, struct err *e)
{
    if (text_room(u, 4, e))
        return -1;
    u->p[u->n] = 0;
    u->at[u->n] = at;
    return 0;
}

int uni_text_copy(struct uni_text *u, const char *s, size_t n, struct err *e)
{
    if (text_room(u, n, e))
        return -1;
    memcpy(u->p + u->n, s, n);
    for (size_t i = 0; i < n;) {
        size_t j = i + 1;
        while (j < n && ((unsigned char)s[j] & 0xc0) == 0x80)
            j++;
        for (size_t k = i; k < j; k++) {
            u->at[u->n] = (uint32_t)i;
            u->end[u->n++] = (uint32_t)j;
        }
        i = j;
    }
    return uni_text_end(u, (uint32_t)n, e);
}

void uni_text_through(struct uni_text *u, const struct uni_text *in)
{
    for (size_t i = 0; i < u->n; i++) {
        size_t at = u->at[i] < in->n ? u->at[i] : in->n;
        u->end[i] = at < in->n ? in->end[at] : in->at[at];
        u->at[i] = in->at[at];
    }
    u->at[u->n] = in->at[in->n];
}

/* The end of the character at byte i. */
static size_t char_end(const struct uni_move *m, size_t i)
{
    for (i += i < m->n; i < m->n && ((unsigned char)m->s[i] & 0xc0) == 0x80;)
        i++;
    return i;
}

int uni_move_put(struct uni_move *m, uint32_t cp, int change)
{
    size_t at = m->last, end = m->next;
    if (change <= 0 && m->next < m->n) {
        at = m->next;
        end = char_end(m, at);
        m->last = at;
        m->next = end;
    }
    for (; change < 0 && m->next < m->n; change++) {
        m->last = m->next;
        m->next = char_end(m, m->next);
    }
    return uni_text_put(m->out, cp, (uint32_t)at, (uint32_t)end, m->e);
}

/* ------------------------------------------------------------------- forms */

struct mark {
    uint32_t cp;
    int ccc;
    int change; /* as in uni_move_put; goes along where marks are sorted */
};

/* A starter and the marks after it, decomposed: what is normalised at a time.
 * Marks before the first starter make a cluster of their own. */
struct cluster {
    struct mark *v, *tmp;
    size_t n, cap;
};

static int cluster_add(struct cluster *c, uint32_t cp, int change,
                       struct err *e)
{
    if (c->n == c->cap) {
        size_t cap = c->cap ? c->cap * 2 : 32;
        struct mark *v = mem_grow(c->v, cap, sizeof *v);
        if (!v)
            return err_nomem(e);
        c->v = v;
        struct mark *tmp = mem_grow(c->tmp, cap, sizeof *tmp);
        if (!tmp)
            return err_nomem(e);
        c->tmp = tmp;
        c->cap = cap;
    }
    c->v[c->n++] = (struct mark){cp, combining_class(cp), change};
    return 0;
}

/* Stable sort of the marks by class; the starter has class 0 and stays. */
static void cluster_sort(struct cluster *c)
{
    size_t at[257] = {0};
    int sorted = 1;
    for (size_t i = 1; i < c->n; i++)
        sorted &= c->v[i - 1].ccc <= c->v[i].ccc;
    if (sorted)
        return;
    for (size_t i = 0; i < c->n; i++)
        at[c->v[i].ccc + 1]++;
    for (int k = 0; k < 256; k++)
        at[k + 1] += at[k];
    for (size_t i = 0; i < c->n; i++)
        c->tmp[at[c->v[i].ccc]++] = c->v[i];
    memcpy(c->v, c->tmp, c->n * sizeof *c->v);
}

/* Canonical composition of a sorted cluster in place: a mark joins the starter
 * when nothing of its class or above stands between them. */
static void cluster_compose(struct cluster *c)
{
    size_t n = 1;
    int last = 0; /* class of the mark before, of those that stay */
    if (c->n == 0 || c->v[0].ccc != 0)
        return;
    for (size_t i = 1; i < c->n; i++) {
        struct mark m = c->v[i];
        int blocked = n > 1 && last >= m.ccc;
        uint32_t both = blocked ? 0 : compose(c->v[0].cp, m.cp);
        if (both) {
            c->v[0].cp = both;
            c->v[0].change += m.change - 1;
        } else {
            c->v[n++] = m;
            last = m.ccc;
        }
    }
    c->n = n;
}

static int cluster_flush(struct cluster *c, struct uni_move *to)
{
    for (size_t i = 0; i < c->n; i++)
        if (uni_move_put(to, c->v[i].cp, c->v[i].change))
            return -1;
    c->n = 0;
    return 0;
}

/* In NFC a starter may join the starter before it (Hangul, and a few vowel
 * signs): only when no mark stands between. */
static int joins_starter(struct cluster *c, enum uni_form form, uint32_t cp,
                         int change)
{
    if (!composes(form) || c->n != 1 || c->v[0].ccc != 0)
        return 0;
    uint32_t both = compose(c->v[0].cp, cp);
    if (both) {
        c->v[0].cp = both;
        c->v[0].change += change - 1;
    }
    return both != 0;
}

static int add_point(struct cluster *c, enum uni_form form, uint32_t cp,
                     int change, struct uni_move *to)
{
    if (combining_class(cp) == 0 && c->n > 0) {
        cluster_sort(c);
        if (composes(form))
            cluster_compose(c);
        if (joins_starter(c, form, cp, change))
            return 0;
        if (cluster_flush(c, to))
            return -1;
    }
    return cluster_add(c, cp, change, to->e);
}

static int normalize(struct cluster *c, enum uni_form form, const char *s,
                     size_t n, struct uni_text *out, struct err *e)
{
    struct uni_move to = {.s = s, .n = n, .out = out, .e = e};
    for (size_t i = 0; i < n;) {
        uint32_t cp, own[4];
        const uint32_t *part;
        size_t used = (unsigned char)s[i] ? tok_decode(s, n, i, &cp) : 1;
        cp = s[i] ? cp : 0;
        int k = decompose_as(form, cp, own, &part);
        for (int m = 0; m < k; m++)
            if (add_point(c, form, part[m], m > 0, &to))
                return -1;
        i += used;
    }
    cluster_sort(c);
    if (composes(form))
        cluster_compose(c);
    return cluster_flush(c, &to) || uni_text_end(out, (uint32_t)n, e) ? -1 : 0;
}

int uni_normalize(enum uni_form form, const char *s, size_t n,
                  struct uni_text *out, struct err *e)
{
    struct cluster c = {0};
    int rc = normalize(&c, form, s, n, out, e);
    mem_free(c.v);
    mem_free(c.tmp);
    return rc;
}

int uni_is_plain(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)s[i] >= 0xc3)
            return 0;
    return 1;
}
