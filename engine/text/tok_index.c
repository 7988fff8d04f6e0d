/* tok_index: entries sorted by their bytes. A look at a place of a text narrows
 * the range of those that still agree byte by byte, so that it costs at most
 * the length of the longest of them, however many there are.
 *
 * SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/text/tokenizer_impl.h"

/* Of an entry. At each place of "aaa..." a look walks down all of an entry of
 * that kind. SentencePiece makes none above 16 characters unless told to; the
 * longest in use are runs of white space, below 128 bytes. */
#define MAX_BYTES 512

int tok_index_begin(struct tok_index *x, int most, struct err *e)
{
    x->v = mem_array((size_t)most + 1, sizeof *x->v);
    return x->v ? 0 : err_nomem(e);
}

void tok_index_fini(struct tok_index *x)
{
    mem_free(x->v);
}

void tok_index_add(struct tok_index *x, const struct tokenizer *t, int id,
                   uint32_t skip)
{
    x->v[x->n++] =
        (struct tok_entry){t->text[id] + skip, t->len[id] - skip, id};
}

static int by_bytes(const void *a, const void *b)
{
    const struct tok_entry *x = a, *y = b;
    int c = memcmp(x->key, y->key, x->len < y->len ? x->len : y->len);
    c = c ? c : (x->len > y->len) - (x->len < y->len);
    return c ? c : x->id - y->id;
}

int tok_index_end(struct tok_index *x, const struct tok_source *s)
{
    int k = 0;
    for (int i = 0; i < x->n; i++)
        if (x->v[i].len > MAX_BYTES)
            return err_set(s->e, ERR_UNSUPPORTED,
                           "%s: the entry '%.40s...' has %u bytes, at most %d "
                           "are supported",
                           s->label, x->v[i].key, x->v[i].len, MAX_BYTES);
    qsort(x->v, (size_t)x->n, sizeof *x->v, by_bytes);
    for (int b = 0; b < 256; b++) {
        x->first[b] = k;
        while (k < x->n && (unsigned char)x->v[k].key[0] == b)
            k++;
    }
    x->first[256] = k;
    return 0;
}

const struct tok_entry *tok_index_longest(const struct tok_index *x,
                                          const struct tokenizer *t,
                                          unsigned but, const char *s, size_t n)
{
    const struct tok_entry *v = x->v, *best = NULL;
    int lo = x->first[(unsigned char)s[0]];
    int hi = x->first[(unsigned char)s[0] + 1];
    for (uint32_t depth = 1; lo < hi; depth++) {
        if (v[lo].len == depth && !(t->attr[v[lo].id] & but))
            best = &v[lo];
        if (depth == n)
            break;
        unsigned b = (unsigned char)s[depth];
        lo = tok_index_narrow(v, lo, hi, depth, b);
        hi = tok_index_narrow(v, lo, hi, depth, b + 1);
    }
    return best;
}
