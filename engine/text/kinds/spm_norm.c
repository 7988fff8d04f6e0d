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

/* The longest key that s [n] begins with: its length and what it stands for;
 * 0: none. */
static size_t find_chars(const struct spm_chars *c, const char *s, size_t n,
                         const char **to)
{
    size_t longest = 0;
    uint32_t at = c->n_units ? offset_of(c->unit[0]) : 0;
    for (size_t i = 0; i < n && i < MAX_CHARS && s[i]; i++) {
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
    return uni_text_put(f->out, cp, f->in->at[i], f->e);
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
        if (put(f, k > i + n ? to : cp, i))
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
    size_t gap = 0;
    int any = 0, open = 0;
    for (size_t i = 0; i < f->in->n;) {
        size_t n = take(f, i, &cp);
        if (is_space(cp)) {
            gap = open ? gap : i;
            open = 1;
        } else {
            if (open && any && !(spare && cp == between) &&
                put(f, between, gap))
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

static int run_chars(struct flow *f)
{
    uint32_t cp;
    for (size_t i = 0; i < f->in->n;) {
        const char *to = "";
        size_t n = find_chars(&f->m->chars, f->in->p + i, f->in->n - i, &to);
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
    case SPM_CHARS:
        break;
    }
    return run_chars(f);
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
    struct uni_text next = {0};
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
