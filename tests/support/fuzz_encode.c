/* fuzz_encode: see fuzz_check.h.
 *
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "engine/base/utf8.h"
#include "tests/support/fuzz_check.h"

#define MOST 1000 /* tokens that are looked at */

int fuzz_taken;

static int same(const struct token_list *a, const struct token_list *b, int n)
{
    return memcmp(a->v, b->v, (size_t)n * sizeof *a->v) == 0;
}

/* Places need not ascend: a file may have them trimmed (tokenizer.h). */
static void check_places(const struct tokenizer *t, const struct token_list *l,
                         size_t n)
{
    for (int i = 0; i < l->n; i++) {
        const struct token *k = &l->v[i];
        must(k->id >= 0 && k->id < tokenizer_size(t));
        must(k->start <= k->end && k->end <= n);
    }
}

/* The same text again, or cut to half of its tokens: a bit of its length says
 * which, one that does not choose flags. */
static void check_again(const struct tokenizer *t, const char *text, size_t n,
                        unsigned flags, const struct token_list *l)
{
    struct token_list b = {0};
    struct err e = ERR_INIT;
    if ((n & 4) && l->n > 1) {
        must(tokenizer_encode(t, text, n, flags, l->n / 2, &b, &e) == -1);
        must(e.code == ERR_TOO_LARGE && b.n == l->n / 2);
    } else {
        must(tokenizer_encode(t, text, n, flags, MOST, &b, NULL) == 0);
        must(b.n == l->n && b.n_unknown == l->n_unknown);
    }
    must(b.n == 0 || same(l, &b, b.n));
    token_list_fini(&b);
}

static void decode(const struct tokenizer *t, const struct token_list *l,
                   struct buf *out)
{
    struct detok d;
    size_t from = out->len;
    detok_init(&d);
    for (int i = 0; i < l->n; i++)
        must(detok_next(t, &d, l->v[i].id, out) == 0);
    must(detok_finish(t, &d, out) == 0);
    must(out->len == from || utf8_valid(out->p + from, out->len - from));
}

/* For what a file's own steps make of a text. */
static int is_refused(const struct err *e)
{
    return strstr(e->msg, "too many steps") ||
           strstr(e->msg, "the normalizer makes more than");
}

int fuzz_encode(const struct tokenizer *t, const char *text, size_t n,
                unsigned flags, struct buf *out)
{
    struct token_list l = {0};
    struct err e = ERR_INIT;
    struct buf own;
    int rc = tokenizer_encode(t, text, n, flags, MOST, &l, &e);
    int refused = rc && is_refused(&e);
    must(rc == 0 || refused || (e.code == ERR_TOO_LARGE && l.n == MOST));
    buf_init(&own, FUZZ_MAX_OUT);
    check_places(t, &l, n);
    if (rc == 0)
        check_again(t, text, n, flags, &l);
    decode(t, &l, out ? out : &own);
    buf_fini(&own);
    token_list_fini(&l);
    return refused ? -1 : 0;
}
