/* edit_distance: see edit_distance.h. One row of the table is kept, with a
 * column for each token of hyp.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/text/edit_distance.h"

#include <string.h>

#include "engine/base/mem.h"
#include "engine/text/tok_13a.h"

#define MAX_CELLS ((int64_t)1 << 34) /* half a minute */

struct token_row {
    struct mt_text *v;
    int64_t n;
};

/* The next token from *at on; its bytes, 0 where there is none. */
static size_t next_token(struct mt_text t, size_t *at)
{
    return tok_13a_word(t.p, t.n, at);
}

static int split(struct mt_text t, struct token_row *r, struct err *e)
{
    size_t at = 0, len;
    int64_t n = 0;
    while ((len = next_token(t, &at)) > 0) {
        at += len;
        n++;
    }
    r->v = mem_array((size_t)n + 1, sizeof *r->v);
    if (r->v == NULL)
        return err_nomem(e);
    for (at = 0; (len = next_token(t, &at)) > 0; at += len)
        r->v[r->n++] = (struct mt_text){t.p + at, len};
    return 0;
}

static int same(struct mt_text a, struct mt_text b)
{
    return a.n == b.n && memcmp(a.p, b.p, a.n) == 0;
}

/* row [hyp->n + 1] */
static int64_t fill(const struct token_row *hyp, const struct token_row *ref,
                    int64_t *row)
{
    for (int64_t j = 0; j <= hyp->n; j++)
        row[j] = j;
    for (int64_t i = 1; i <= ref->n; i++) {
        int64_t corner = row[0]; /* [i - 1][j - 1] */
        row[0] = i;
        for (int64_t j = 1; j <= hyp->n; j++) {
            int64_t changed = corner + !same(ref->v[i - 1], hyp->v[j - 1]);
            int64_t one = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            corner = row[j];
            row[j] = changed < one ? changed : one;
        }
    }
    return row[hyp->n];
}

int edit_distance(struct mt_text hyp, struct mt_text ref, int64_t *edits,
                  int64_t *tokens, struct err *e)
{
    struct token_row h = {NULL, 0}, r = {NULL, 0};
    int64_t *row = NULL;
    int rc = split(hyp, &h, e) || split(ref, &r, e) ? -1 : 0;
    if (rc == 0 && h.n * r.n > MAX_CELLS)
        rc = err_set(e, ERR_TOO_LARGE,
                     "texts of %lld and %lld tokens: too long to compare",
                     (long long)h.n, (long long)r.n);
    if (rc == 0 && (row = mem_array((size_t)h.n + 1, sizeof *row)) == NULL)
        rc = err_nomem(e);
    if (rc == 0) {
        *edits = fill(&h, &r, row);
        *tokens = r.n;
    }
    mem_free(row);
    mem_free(h.v);
    mem_free(r.v);
    return rc;
}
