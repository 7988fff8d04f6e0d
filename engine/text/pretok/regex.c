/* regex: see regex.h. The one file that includes pcre2.h.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/text/pretok/regex.h"

#include <stdlib.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "engine/base/mem.h"
#include "engine/base/utf8.h"

#if PCRE2_MAJOR < 10 || (PCRE2_MAJOR == 10 && PCRE2_MINOR < 40)
#error "PCRE2 10.40 at least: Unicode 14, script names"
#endif

#define WORK_PER_BYTE 128
#define WORK_LEAST 100000          /* whatever the text */
#define MAX_HEAP_KIB (64 << 10)    /* of a search that is interpreted */
#define MAX_TRANSLATED (160 << 10) /* 2048 bytes of \w, 140 each, and marks */

struct regex {
    pcre2_code *code;
    uint32_t may_be_empty; /* a match */
    int starved; /* memory was refused, and not only executable memory */
};

static void *take(size_t n, void *starved)
{
    void *p = mem_alloc(n);
    if (!p && starved)
        *(int *)starved = 1;
    return p;
}

static void give(void *p, void *starved)
{
    (void)starved;
    mem_free(p);
}

static int compile(struct regex *r, const struct buf *b, int counted,
                   pcre2_compile_context *c, struct err *e)
{
    const uint32_t how = PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE |
                         (counted ? PCRE2_AUTO_CALLOUT : 0);
    int code;
    size_t at;
    pcre2_set_newline(c, PCRE2_NEWLINE_LF);
    r->code = pcre2_compile((PCRE2_SPTR)b->p, b->len, how, &code, &at, c);
    if (!r->code && r->starved)
        return err_nomem(e);
    if (!r->code) {
        unsigned char text[120];
        pcre2_get_error_message(code, text, sizeof text);
        return err_set(e, ERR_UNSUPPORTED, "%s", (const char *)text);
    }
    pcre2_pattern_info(r->code, PCRE2_INFO_MATCHEMPTY, &r->may_be_empty);
    /* No machine code, no harm: but for lack of ordinary memory. */
    pcre2_jit_compile(r->code, PCRE2_JIT_COMPLETE);
    return 0;
}

struct regex *regex_open(const char *s, size_t n, int counted, struct err *e)
{
    struct regex *r = mem_zalloc(sizeof *r);
    struct buf b;
    pcre2_general_context *g = NULL;
    pcre2_compile_context *c = NULL;
    int rc = -1;
    if (!r) {
        err_nomem(e);
        return NULL;
    }
    buf_init(&b, MAX_TRANSLATED);
    if (regex_translate(s, n, &b, e) == 0) {
        g = pcre2_general_context_create(take, give, &r->starved);
        c = g ? pcre2_compile_context_create(g) : NULL;
        rc = c ? compile(r, &b, counted, c, e) : -1;
    }
    if (r->starved)
        rc = err_nomem(e);
    pcre2_compile_context_free(c);
    pcre2_general_context_free(g);
    buf_fini(&b);
    if (rc) {
        regex_close(r);
        r = NULL;
    }
    return r;
}

void regex_close(struct regex *r)
{
    if (r)
        pcre2_code_free(r->code);
    mem_free(r);
}

/* -------------------------------------------------------------- searching */

static int count(pcre2_callout_block *b, void *arg)
{
    struct regex_work *w = arg;
    int64_t far = (int64_t)b->current_position - (int64_t)w->last;
    w->last = b->current_position;
    *w->left -= 1 + llabs(far);
    return *w->left < 0 ? PCRE2_ERROR_CALLOUT : 0;
}

void regex_work_fini(struct regex_work *w)
{
    pcre2_match_data_free(w->data);
    pcre2_match_context_free(w->context);
    w->data = w->context = NULL;
}

int64_t regex_steps(size_t n)
{
    return (int64_t)n * WORK_PER_BYTE + WORK_LEAST;
}

int regex_work_begin(struct regex_work *w, int64_t *left, struct err *e)
{
    pcre2_general_context *g;
    w->left = left;
    if (w->data)
        return 0;
    g = pcre2_general_context_create(take, give, NULL);
    if (g) {
        w->data = pcre2_match_data_create(1, g);
        w->context = pcre2_match_context_create(g);
        pcre2_general_context_free(g);
    }
    if (!w->data || !w->context) {
        regex_work_fini(w);
        return err_nomem(e);
    }
    pcre2_set_callout(w->context, count, w);
    pcre2_set_match_limit(w->context, UINT32_MAX);
    pcre2_set_depth_limit(w->context, UINT32_MAX);
    pcre2_set_heap_limit(w->context, MAX_HEAP_KIB);
    return 0;
}

/* The first match that begins at `from` or behind it. */
static int find(const struct regex *r, struct regex_work *w, const char *s,
                size_t n, size_t from, size_t at[2], struct err *e)
{
    const uint32_t how = PCRE2_NO_UTF_CHECK;
    PCRE2_SPTR p = (PCRE2_SPTR)s;
    if (from == n && !r->may_be_empty)
        return 0;
    w->last = from;
    int rc = pcre2_match(r->code, p, n, from, how, w->data, w->context);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT) /* 32 KiB: go by the heap */
        rc = pcre2_match(r->code, p, n, from, how | PCRE2_NO_JIT, w->data,
                         w->context);
    if (rc == PCRE2_ERROR_NOMATCH)
        return 0;
    if (rc == PCRE2_ERROR_NOMEMORY)
        return err_nomem(e);
    if (rc < 0)
        return err_set(e, ERR_INVALID,
                       "the text takes the tokenizer's regular expression too "
                       "many steps");
    const size_t *found = pcre2_get_ovector_pointer(w->data);
    at[0] = found[0];
    at[1] = found[1];
    return 1;
}

int regex_next(const struct regex *r, struct regex_work *w, const char *s,
               size_t n, struct regex_match *m, struct err *e)
{
    size_t from = m->at[1], at[2] = {0, 0};
    for (;;) {
        uint32_t cp;
        int len, rc = find(r, w, s, n, from, at, e);
        if (rc <= 0)
            return rc;
        if (at[0] != at[1] || !m->any || at[1] != m->at[1])
            break;
        len = utf8_next(s + from, n - from, &cp);
        if (len == 0)
            return 0;
        from += (size_t)len;
    }
    *m = (struct regex_match){{at[0], at[1]}, 1};
    return 1;
}
