/* spm_norm: running the steps (spm_norm.h). Each step reads one text and
 * writes the next, with the byte of the input that each byte comes from.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/text/kinds/spm_norm.h"

#include <string.h>

#include "engine/base/mem.h"
#include "engine/base/utf8.h"

void spm_norm_fini(struct spm_norm *m)
{
    mem_free(m->chars.unit);
    mem_free(m->chars.text);
    tok_index_fini(&m->user);
    memset(&m->chars, 0, sizeof m->chars);
}

/* ------------------------------------------------------ table of characters */

/* Bytes of a key and of what it stands for. The tables that SentencePiece comes
 * with have at most 12 and 33; in a wild one a key could go round for ever. */
#define MAX_CHARS 256

int spm_chars_read(struct spm_chars *c, const struct tok_source *s,
                   const uint8_t *p, size_t n)
{
    size_t bytes = 0;
    for (int i = 3; i >= 0 && n >= 4; i--)
        bytes = bytes << 8 | p[i];
    if (n < 8 || bytes < 4 || bytes % 4 || bytes > n - 4)
        return tok_bad(s, "precompiled_charsmap is cut short");
    c->n_units = bytes / 4;
    c->n_text = n - 4 - bytes;
    c->unit = mem_array(c->n_units, sizeof *c->unit);
    c->text = mem_alloc(c->n_text + 1);
    if (!c->unit || !c->text)
        return err_nomem(s->e);
    for (size_t i = 0; i < c->n_units; i++) {
        const uint8_t *u = p + 4 + 4 * i;
        c->unit[i] = (uint32_t)u[0] | (uint32_t)u[1] << 8 |
                     (uint32_t)u[2] << 16 | (uint32_t)u[3] << 24;
    }
    memcpy(c->text, p + 4 + bytes, c->n_text);
    c->text[c->n_text] = 0;
    for (size_t i = 0, len; i < c->n_text; i += len + 1) {
        len = strlen(c->text + i);
        if (len > MAX_CHARS)
            return tok_bad(s, "precompiled_charsmap has a text of over 256 "
                              "bytes");
    }
    return 0;
}

/* Where a unit's children are, relative to it (darts-clone, DoubleArrayUnit).
 */
static uint32_t offset_of(uint32_t unit)
{
    return unit >> 10 << ((unit & 1u << 9) >> 6);
}

/* The longest key that s [n] begins with, or, first 1, the shortest: its length
 * and what it stands for; 0: none. */
static size_t find_chars(const struct spm_chars *c, const char *s, size_t n,
                         int first, const char **to)
{
    size_t longest = 0;
    uint32_t at = c->n_units ? offset_of(c->unit[0]) : 0;
    for (size_t i = 0; i < n && i < MAX_CHARS && s[i]; i++) {
        if (first && longest)
            break;
        uint32_t byte = (unsigned char)s[i];
        at ^= byte;
        if (at >= c->n_units || (c->unit[at] & (1u << 31 | 0xffu)) != byte)
            break;
        uint32_t unit = c->unit[at];
        at ^= offset_of(unit);
        if (unit >> 8 & 1) { /* the value is the child for NUL */
            uint32_t v = at < c->n_units ? c->unit[at] & ~(1u << 31) : 0;
            if (v < c->n_text) {
                longest = i + 1;
                *to = c->text + v;
            }
        }
    }
    return longest;
}

/* -------------------------------------------------------------------- steps */

/* A step's input and output. */
struct flow {
    const struct spm_norm *m;
    const struct uni_text *in;
    struct uni_text *out;
    struct err *e;
};

static int put(struct flow *f, uint32_t cp, size_t i)
{
    return uni_text_put(f->out, cp, f->in->at[i], f->in->end[i], f->e);
}

/* The code point at byte i; returns its length. */
static size_t take(const struct flow *f, size_t i, uint32_t *cp)
{
    int n = utf8_next(f->in->p + i, f->in->n - i, cp);
    if (n == 0) {
        *cp = 0xfffd;
        return 1;
    }
    return (size_t)n;
}

static int is_space(uint32_t cp)
{
    return (uni_mask(cp) & UNI_SPACE) != 0;
}

static int copy_range(struct flow *f, size_t from, size_t to)
{
    uint32_t cp;
    for (size_t i = from; i < to;) {
        size_t n = take(f, i, &cp);
        if (put(f, cp, i))
            return -1;
        i += n;
    }
    return 0;
}

static int run_prepend(struct flow *f, uint32_t cp)
{
    if (f->in->n > 0 && put(f, cp, 0))
        return -1;
    return copy_range(f, 0, f->in->n);
}

static int run_spaces(struct flow *f)
{
    uint32_t cp;
    for (size_t i = 0; i < f->in->n;) {
        size_t n = take(f, i, &cp);
        if (put(f, cp == ' ' ? SPM_MARK : cp, i))
            return -1;
        i += n;
    }
    return 0;
}

static int run_collapse(struct flow *f, uint32_t to)
{
    uint32_t cp;
    for (size_t i = 0; i < f->in->n;) {
        size_t n = take(f, i, &cp), k = i + n;
        while (cp == ' ' && k < f->in->n && f->in->p[k] == ' ')
            k++;
        if (put(f, k > i + n ? to : cp, k > i + n ? k - 1 : i))
            return -1;
        i = k;
    }
    return 0;
}

/* A word that begins with a mark of its own gets none of Metaspace. */
static int run_words(struct flow *f, uint32_t between)
{
    const int spare = f->m->prefix != SPM_NEVER;
    uint32_t cp;
    int any = 0, open = 0;
    for (size_t i = 0; i < f->in->n;) {
        size_t n = take(f, i, &cp);
        if (is_space(cp)) {
            open = 1;
        } else {
            if (open && any && !(spare && cp == between) && put(f, between, i))
                return -1;
            if (put(f, cp, i))
                return -1;
            any = 1;
            open = 0;
        }
        i += n;
    }
    return 0;
}

static int run_strip(struct flow *f, int left, int right)
{
    size_t from = 0, to = 0;
    uint32_t cp;
    int any = 0;
    for (size_t i = 0; i < f->in->n;) {
        size_t n = take(f, i, &cp);
        if (!is_space(cp)) {
            from = any ? from : i;
            to = i + n;
            any = 1;
        }
        i += n;
    }
    from = left ? (any ? from : f->in->n) : 0;
    to = right ? to : f->in->n;
    return copy_range(f, from, to);
}

/* The user-defined entry that begins at byte i, as one part: its length. */
static int copy_user(struct flow *f, size_t i, size_t *n)
{
    const struct tok_entry *u =
        tok_index_longest(&f->m->user, f->m->of, 0, f->in->p + i, f->in->n - i);
    uint32_t cp;
    *n = u ? u->len : 0;
    for (size_t k = 0; k < *n;) {
        size_t used = take(f, i + k, &cp);
        if (uni_text_put(f->out, cp, f->in->at[i], f->in->end[i + *n - 1],
                         f->e))
            return -1;
        k += used;
    }
    return 0;
}

static int run_chars(struct flow *f)
{
    uint32_t cp;
    for (size_t i = 0; i < f->in->n;) {
        const char *to = "";
        size_t n = 0;
        if (f->m->user.n && copy_user(f, i, &n))
            return -1;
        if (n > 0) {
            i += n;
            continue;
        }
        n = find_chars(&f->m->chars, f->in->p + i, f->in->n - i, 0, &to);
        if (n == 0) {
            n = take(f, i, &cp);
            if (put(f, cp, i))
                return -1;
        }
        size_t len = strlen(to);
        for (size_t k = 0; k < len;) {
            int used = utf8_next(to + k, len - k, &cp);
            if (put(f, used ? cp : 0xfffd, i))
                return -1;
            k += (size_t)(used ? used : 1);
        }
        i += n;
    }
    return 0;
}

/* ------------------------------------------- spaces, as sentencepiece has them
 */

/* The end of the part that begins at byte i: what one look into the table has
 * made, which is all from one place. */
static size_t part_end(const struct flow *f, size_t i)
{
    size_t j = i + 1;
    while (j < f->in->n && f->in->at[j] == f->in->at[i])
        j++;
    return j;
}

/* Of the part [i, j); spaces that it begins with go when `lead`. Returns -1, or
 * whether something was left of it and, 2, that ends with a space. */
static int put_part(struct flow *f, size_t i, size_t j, uint32_t space,
                    int lead)
{
    uint32_t cp = 0;
    int left = 0;
    while (i < j) {
        size_t n = take(f, i, &cp);
        int goes = lead && cp == ' ';
        lead = goes;
        if (!goes && put(f, cp == ' ' ? space : cp, i))
            return -1;
        left |= !goes;
        i += n;
    }
    return left + (left && cp == ' ');
}

static void drop_tail(struct uni_text *u, uint32_t space)
{
    char one[4];
    size_t n = (size_t)utf8_put(space, one);
    while (u->n >= n && memcmp(u->p + u->n - n, one, n) == 0)
        u->n -= n;
}

/* Normalizer::Normalize but for its table. Marks that a text ends with are
 * spaces to it, others are not. */
static int run_sentence(struct flow *f, uint32_t how)
{
    const uint32_t space = how & SPM_BARE ? ' ' : SPM_MARK;
    const int squeeze = (how & SPM_SQUEEZE) != 0;
    int after_space = squeeze, found;
    size_t i = 0, j;
    while (squeeze && i < f->in->n && f->in->p[i] == ' ' &&
           part_end(f, i) == i + 1)
        i++;
    if (i == f->in->n)
        return 0;
    if ((how & SPM_DUMMY) && put(f, space, i))
        return -1;
    for (; i < f->in->n; i = j) {
        j = part_end(f, i);
        if ((found = put_part(f, i, j, space, after_space)) < 0)
            return -1;
        if (squeeze && found)
            after_space = found == 2;
    }
    if (squeeze)
        drop_tail(f->out, space);
    return 0;
}

/* --------------------------------------------------- the table, by clusters */

/* Hugging Face tokenizers looks clusters up, not places of the text: the first
 * key that a cluster of less than this many bytes begins with stands for all of
 * it, in a longer one each character is looked up by itself
 * (normalizers/precompiled.rs). */
#define MAX_CLUSTER 6

/* Marks that are no part of the character before (UAX #29, SpacingMark). */
static int stands_apart(uint32_t cp)
{
    static const uint32_t range[][2] = {
        {0x102b, 0x102c},  {0x1038, 0x1038}, {0x1062, 0x1064}, {0x1067, 0x106d},
        {0x1083, 0x1083},  {0x1087, 0x108c}, {0x108f, 0x108f}, {0x109a, 0x109c},
        {0x1a61, 0x1a61},  {0x1a63, 0x1a64}, {0xaa7b, 0xaa7b}, {0xaa7d, 0xaa7d},
        {0x11720, 0x11721}};
    for (size_t i = 0; i < sizeof range / sizeof range[0]; i++)
        if (cp >= range[i][0] && cp <= range[i][1])
            return 1;
    return 0;
}

static int extends(uint32_t cp)
{
    if (uni_mask(cp) & UNI_MARK)
        return !stands_apart(cp);
    return cp == 0x200c || cp == 0x200d || cp == 0xe33 || cp == 0xeb3 ||
           cp == 0xff9e || cp == 0xff9f || (cp >= 0x1f3fb && cp <= 0x1f3ff) ||
           (cp >= 0xe0020 && cp <= 0xe007f);
}

/* Characters that the next one belongs to. */
static int is_prepended(uint32_t cp)
{
    return (cp >= 0x600 && cp <= 0x605) || cp == 0x6dd || cp == 0x70f ||
           cp == 0x890 || cp == 0x891 || cp == 0x8e2 || cp == 0xd4e ||
           cp == 0x110bd || cp == 0x110cd;
}

static int is_control(uint32_t cp)
{
    return (uni_mask(cp) &
            (UNI_CONTROL | UNI_BIT(CF) | UNI_BIT(ZL) | UNI_BIT(ZP))) &&
           !extends(cp) && !is_prepended(cp);
}

/* L, V, T of a Hangul syllable as bits: what it begins with, what it may be
 * followed by. */
static int is_syllable(uint32_t before, uint32_t cp)
{
    int lead = before - 0x1100 < 0x60 || before - 0xa960 < 0x1d;
    int whole = before - 0xac00 < 11172, open = (before - 0xac00) % 28 == 0;
    int vowel = cp - 0x1160 < 0x48 || cp - 0xd7b0 < 0x17;
    int tail = cp - 0x11a8 < 0x58 || cp - 0xd7cb < 0x31;
    int after_v = before - 0x1160 < 0x48 || before - 0xd7b0 < 0x17;
    int after_t = before - 0x11a8 < 0x58 || before - 0xd7cb < 0x31;
    if (lead)
        return vowel || cp - 0x1100 < 0x60 || cp - 0xa960 < 0x1d ||
               cp - 0xac00 < 11172;
    if (after_v || (whole && open))
        return vowel || tail;
    return (after_t || whole) && tail;
}

static int is_picture(uint32_t cp)
{
    return cp == 0xa9 || cp == 0xae || (cp >= 0x203c && cp <= 0x3299) ||
           (cp >= 0x1f000 && cp <= 0x1faff);
}

/* The end of the cluster that begins at byte i. */
static size_t cluster_end(const struct flow *f, size_t i)
{
    uint32_t first, before, cp;
    size_t j = i + take(f, i, &first);
    for (before = first; j < f->in->n; before = cp) {
        size_t n = take(f, j, &cp);
        int joins = extends(cp) || is_prepended(before) ||
                    is_syllable(before, cp) ||
                    (before == 0x200d && is_picture(first) && is_picture(cp));
        if (is_control(before) || is_control(cp))
            joins = before == '\r' && cp == '\n';
        if (!joins)
            break;
        j += n;
    }
    return j;
}

/* What is written, one behind: what goes can go with the one before. */
struct table_run {
    struct flow *f;
    struct uni_move move;
    uint32_t cp;
    int held, change;
};

static int hold(struct table_run *r, uint32_t cp, int change)
{
    if (r->held && uni_move_put(&r->move, r->cp, r->change))
        return -1;
    r->held = 1;
    r->cp = cp;
    r->change = change;
    return 0;
}

/* `to` for bytes [i, j), which are `old` characters. */
static int hold_all(struct table_run *r, const char *to, int old)
{
    size_t len = strlen(to);
    int count = 0;
    for (size_t k = 0; k < len; count++) {
        uint32_t cp;
        int used = utf8_next(to + k, len - k, &cp);
        if (hold(r, used ? cp : 0xfffd, count >= old))
            return -1;
        k += (size_t)(used ? used : 1);
    }
    if (count < old)
        r->change -= old - count;
    return 0;
}

/* The part [i, j): *hit whether there is a key. */
static int look_up(struct table_run *r, size_t i, size_t j, int *hit)
{
    const char *p = r->f->in->p, *to = "";
    *hit = find_chars(&r->f->m->chars, p + i, j - i, 1, &to) > 0;
    return *hit ? hold_all(r, to, (int)utf8_count(p + i, j - i)) : 0;
}

static int run_clusters(struct flow *f)
{
    struct table_run r = {.f = f};
    int hit;
    r.move = (struct uni_move){f->in->p, f->in->n, 0, 0, f->out, f->e};
    for (size_t i = 0; i < f->in->n;) {
        size_t end = cluster_end(f, i);
        if (end - i < MAX_CLUSTER) {
            if (look_up(&r, i, end, &hit))
                return -1;
            i = hit ? end : i;
        }
        while (i < end) {
            uint32_t cp;
            size_t n = take(f, i, &cp);
            if (look_up(&r, i, i + n, &hit) || (!hit && hold(&r, cp, 0)))
                return -1;
            i += n;
        }
    }
    if (r.held && uni_move_put(&r.move, r.cp, r.change))
        return -1;
    if (f->out->n > 0)
        uni_text_through(f->out, f->in);
    return 0;
}

static int run_step(struct flow *f, const struct spm_step *step)
{
    switch (step->kind) {
    case SPM_PREPEND:
        return run_prepend(f, step->arg);
    case SPM_SPACES:
        return run_spaces(f);
    case SPM_COLLAPSE:
        return run_collapse(f, step->arg);
    case SPM_WORDS:
        return run_words(f, step->arg);
    case SPM_LSTRIP:
        return run_strip(f, 1, 0);
    case SPM_RSTRIP:
        return run_strip(f, 0, 1);
    case SPM_SENTENCE:
        return run_sentence(f, step->arg);
    case SPM_CHARS:
        break;
    }
    return f->m->by_cluster ? run_clusters(f) : run_chars(f);
}

static int starts_with_mark(const struct uni_text *u)
{
    return u->n >= SPM_MARK_BYTES &&
           memcmp(u->p, SPM_MARK_UTF8, SPM_MARK_BYTES) == 0;
}

/* One step from *out into another text, which takes its place. */
static int apply(const struct spm_norm *m, const struct spm_step *step,
                 struct uni_text *out, struct err *e)
{
    struct uni_text next = {.max = out->max};
    struct flow f = {m, out, &next, e};
    if (run_step(&f, step) || uni_text_end(&next, out->at[out->n], e)) {
        uni_text_fini(&next);
        return -1;
    }
    uni_text_fini(out);
    *out = next;
    return 0;
}

int spm_norm_run(const struct spm_norm *m, const char *s, size_t n, int first,
                 struct uni_text *out, struct err *e)
{
    static const struct spm_step prefix = {SPM_PREPEND, SPM_MARK};
    int rc = uni_text_copy(out, s, n, e);
    for (int i = 0; i < m->n && rc == 0; i++)
        rc = apply(m, &m->step[i], out, e);
    int wanted = m->prefix == SPM_ALWAYS || (m->prefix == SPM_FIRST && first);
    if (rc == 0 && wanted && !starts_with_mark(out))
        rc = apply(m, &prefix, out, e);
    return rc;
}
